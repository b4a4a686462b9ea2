//! A stream of PipeWire's on a thread of its own, with PipeWire's loop, for as long as somebody holds it.
//!
//! The loop is entered once and left for good: PipeWire calls back from its own threads while nobody is in it.

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use pipewire::Error;
use pipewire::channel;
use pipewire::context::ContextRc;
use pipewire::core::PW_ID_CORE;
use pipewire::keys;
use pipewire::main_loop::MainLoopRc;
use pipewire::properties::PropertiesBox;
use pipewire::spa::buffer::Data;
use pipewire::spa::param::ParamType;
use pipewire::spa::pod::Pod;
use pipewire::spa::utils::Direction;
use pipewire::stream::{Stream, StreamFlags, StreamRc, StreamState};

use crate::media::library::MediaError;

/// How long it may take until PipeWire has brought a device and us together.
const START_MAX: Duration = Duration::from_secs(5);

/// What a stream shall be connected to.
pub(super) struct Wanted {
    /// Where PipeWire is reached, in place of the daemon of this session.
    pub(super) remote: Option<OwnedFd>,
    /// What PipeWire shall know of the stream beside its name.
    pub(super) properties: Vec<(String, String)>,
    /// The node to connect to, where its number is to be used.
    pub(super) target: Option<u32>,
    /// A node without which there is nothing more to come.
    pub(super) watched: Option<u32>,
    /// Formats that are understood, as a pod.
    pub(super) format: Vec<u8>,
    /// What buffers shall be like, as a pod; empty for anything.
    pub(super) buffers: Vec<u8>,
}

/// What takes a stream's data, on the stream's thread.
pub(super) trait Taker: Send + 'static {
    /// PipeWire has decided for a format. An error ends the stream.
    fn agree(&mut self, format: &Pod) -> Result<(), String>;

    /// Takes a buffer. An error ends the stream.
    fn take(&mut self, data: &mut [Data]) -> Result<(), String>;

    /// All buffers that had come were taken.
    fn flush(&mut self) {}
}

/// A stream that runs until this is dropped.
pub(super) struct Running {
    /// Why nothing more comes, as soon as that is so.
    lost: Receiver<String>,
    end: channel::Sender<End>,
    thread: Option<JoinHandle<()>>,
}

struct End;

impl Running {
    /// Connects a stream and waits until its format is agreed on.
    pub(super) fn start(wanted: Wanted, taker: impl Taker) -> Result<Running, MediaError> {
        pipewire::init();
        let (end, ended) = channel::channel();
        let (tell_lost, lost) = bounded(1);
        let (tell_ready, ready) = bounded(1);
        let ending = end.clone();
        let spawned = thread::Builder::new().name("pipewire".to_owned()).spawn(move || {
            let told = tell_lost.clone();
            if let Err(error) = run(wanted, taker, ended, Reports { tell_lost, tell_ready, ending }) {
                let _ = told.try_send(format!("PipeWire cannot be used: {error}"));
            }
        });
        let thread =
            Some(spawned.map_err(|error| MediaError::Broken(format!("no thread for a device: {error}")))?);
        let running = Running { lost, end, thread };
        match ready.recv_timeout(START_MAX) {
            Ok(()) => Ok(running),
            Err(RecvTimeoutError::Timeout) => Err(MediaError::Broken(format!(
                "PipeWire has not connected it within {} s; does a session manager run (wireplumber)?",
                START_MAX.as_secs()
            ))),
            Err(RecvTimeoutError::Disconnected) => Err(running.reason()),
        }
    }

    /// Waits for the end of the stream; None when it still runs after this time.
    pub(super) fn lost_within(&self, time: Duration) -> Option<MediaError> {
        match self.lost.recv_timeout(time) {
            Ok(reason) => Some(MediaError::Broken(reason)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(self.reason()),
        }
    }

    /// Why the stream has ended, which must be so.
    pub(super) fn reason(&self) -> MediaError {
        // Its thread is about to end, if it has not.
        MediaError::Broken(self.lost.recv().unwrap_or_else(|_| "PipeWire has let go of it".to_owned()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end.send(End);
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Where the thread of a stream reports to.
struct Reports {
    tell_lost: Sender<String>,
    tell_ready: Sender<()>,
    ending: channel::Sender<End>,
}

/// What the callbacks of one stream share.
struct Shared {
    reports: Reports,
    is_ending: Cell<bool>,
}

impl Shared {
    /// Nothing more comes. Streams must not be destroyed in their own callbacks: the loop does it next.
    fn lose(&self, reason: &str) {
        if !self.is_ending.get() && self.reports.tell_lost.try_send(reason.to_owned()).is_ok() {
            let _ = self.reports.ending.send(End);
        }
    }
}

fn run(
    wanted: Wanted,
    taker: impl Taker,
    ended: channel::Receiver<End>,
    reports: Reports,
) -> Result<(), Error> {
    let main_loop = MainLoopRc::new(None)?;
    let context = ContextRc::new(&main_loop, None)?;
    let core = match wanted.remote {
        Some(remote) => context.connect_fd_rc(remote, None)?,
        None => context.connect_rc(None)?,
    };
    let shared = Rc::new(Shared { reports, is_ending: Cell::new(false) });
    let _errors = core
        .add_listener_local()
        .error({
            let shared = shared.clone();
            move |id, _, _, message| {
                if id == PW_ID_CORE {
                    shared.lose(&format!("PipeWire is gone: {message}"));
                }
            }
        })
        .register();
    let registry = core.get_registry_rc()?;
    let _globals = registry
        .add_listener_local()
        .global_remove({
            let shared = shared.clone();
            move |id| {
                if Some(id) == wanted.watched {
                    shared.lose("it was unplugged");
                }
            }
        })
        .register();
    let mut properties = PropertiesBox::new();
    properties.insert(*keys::NODE_NAME, "rtspserver");
    for (key, value) in wanted.properties {
        properties.insert(key, value);
    }
    let stream = StreamRc::new(core.clone(), "rtspserver", properties)?;
    let _events = listen(&stream, taker, wanted.buffers, &shared)?;
    let _ended = ended.attach(main_loop.loop_(), {
        let (main_loop, stream) = (main_loop.clone(), stream.clone());
        move |End| {
            if !shared.is_ending.replace(true) {
                // Nothing calls back from now on, whatever thread it would come from.
                let _ = stream.disconnect();
                main_loop.quit();
            }
        }
    });
    // What was serialized here is a pod.
    let format = Pod::from_bytes(&wanted.format).ok_or(Error::CreationFailed)?;
    let flags = StreamFlags::AUTOCONNECT | StreamFlags::MAP_BUFFERS;
    stream.connect(Direction::Input, wanted.target, flags, &mut [format])?;
    main_loop.run();
    Ok(())
}

/// Has the taker get what comes of a stream.
fn listen<T: Taker>(
    stream: &Stream,
    taker: T,
    buffers: Vec<u8>,
    shared: &Rc<Shared>,
) -> Result<pipewire::stream::StreamListener<T>, Error> {
    let (of_state, of_format, of_data) = (shared.clone(), shared.clone(), shared.clone());
    stream
        .add_local_listener_with_user_data(taker)
        .state_changed(move |_, _, _, state| match state {
            StreamState::Error(error) => of_state.lose(&format!("PipeWire says: {error}")),
            StreamState::Unconnected => of_state.lose("PipeWire has let go of it"),
            StreamState::Connecting | StreamState::Paused | StreamState::Streaming => {}
        })
        .param_changed(move |stream, taker: &mut T, id, param| {
            let Some(format) = param.filter(|_| id == ParamType::Format.as_raw()) else { return };
            if let Err(reason) = taker.agree(format) {
                return of_format.lose(&reason);
            }
            if let Some(buffers) = Pod::from_bytes(&buffers)
                && let Err(error) = stream.update_params(&mut [buffers])
            {
                return of_format.lose(&format!("PipeWire refuses buffers: {error}"));
            }
            let _ = of_format.reports.tell_ready.try_send(());
        })
        .process(move |stream, taker| {
            while let Some(mut buffer) = stream.dequeue_buffer() {
                if let Err(reason) = taker.take(buffer.datas_mut()) {
                    return of_data.lose(&reason);
                }
            }
            taker.flush();
        })
        .register()
}
