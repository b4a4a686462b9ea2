//! The live streams of this program: started by the first shard that wants one, stopped after the last.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::live::{Command, Live};
use super::threads;
use crate::config::is_device;
use crate::media::capture::hub::Hub;
use crate::media::capture::source::Captured;
use crate::media::capture::{Device, NoDevices};
use crate::media::documents::Documents;
use crate::media::library::MediaError;
use crate::media::source::Source;
use crate::media::transcode::slots::{Slot, Slots};
use crate::media::transcode::{Absent, Keyframes, Makes};
use crate::stream::catalog::{
    Audience, Catalog, Claim, ClaimError, Grant, Notice, Reserved, ShardIndex, StreamError, StreamId,
    StreamName, Subscriber, Want,
};
use crate::stream::registry::{OnRepublish, Registry};
use crate::stream::transcoded::{Transcoded, Workshop};
use crate::stream::window::WindowLimits;

/// Makes a source; called each time its stream starts.
pub type MakeSource = Box<dyn Fn() -> Box<dyn Source> + Send>;

/// Makes the source of a file that is a live channel, by its name; None when it is none.
pub type MakeChannel = Box<dyn Fn(&str) -> Option<Box<dyn Source>> + Send>;

/// Makes a source on the thread that is to run it.
type Begin = Box<dyn FnOnce() -> Result<Begun, StreamError> + Send>;

/// A source, and of one that is made anew its place among those.
struct Begun {
    source: Box<dyn Source>,
    /// Who plays it, where that is counted with those who play what it is made of.
    audience: Option<Arc<Audience>>,
    _slot: Option<Slot>,
}

/// What streams can be made of.
pub struct Sources {
    /// Those that are always there, by path.
    pub built_in: HashMap<String, MakeSource>,
    /// Files.
    pub channels: Option<MakeChannel>,
    /// Screens, cameras and microphones.
    pub hub: Arc<Hub>,
    /// What makes streams anew in another format.
    pub makes: Arc<dyn Makes + Send + Sync>,
    /// Where their keyframes stand.
    pub keyframes: Keyframes,
    /// The places that there are for all that is made anew.
    pub slots: Slots,
    /// What others say of streams, where each has metadata; None where none is added.
    pub metadata: Option<Arc<Documents>>,
}

impl Default for Sources {
    fn default() -> Sources {
        Sources {
            built_in: HashMap::new(),
            channels: None,
            hub: Arc::new(Hub::new(Arc::new(NoDevices))),
            makes: Arc::new(Absent),
            keyframes: Keyframes::OnGrid,
            slots: Slots::new(0),
            metadata: None,
        }
    }
}

/// What another configuration changes of the streams.
pub struct Changed {
    /// Those that are always there, by path.
    pub built_in: HashMap<String, MakeSource>,
    /// Files.
    pub channels: Option<MakeChannel>,
    /// Where keyframes of what is made anew stand.
    pub keyframes: Keyframes,
    /// How much of its past a stream keeps.
    pub cache: WindowLimits,
    /// What becomes of a publisher when another one wants its path.
    pub on_republish: OnRepublish,
    /// The paths of proxies and pushers.
    pub reserved: Vec<Reserved>,
}

/// Streams with a source here that run at once: each has a thread. One more is refused.
const RUNNING_MAX: usize = 256;

/// Receivers that are no shards have numbers above this.
const FIRST_NUMBER: ShardIndex = 1 << 12;

/// Streams that may be finding out what there is to be made anew, beyond those that are.
const BEGINNING_MAX: usize = 16;

/// The catalog's front, shared by all shards. A thread of its own owns what is behind it.
#[derive(Clone, Debug)]
pub struct Streams {
    paths: Arc<RwLock<HashSet<String>>>,
    questions: Sender<Question>,
}

enum Question {
    /// With the way to say that it was heard.
    Attend(Subscriber, Sender<()>),
    Claim(Box<Claim>),
    Release(Grant),
    Subscribe {
        name: StreamName,
        subscriber: Subscriber,
    },
    Want {
        path: String,
        stream: StreamId,
        want: Want,
    },
    Unsubscribe {
        path: String,
        stream: StreamId,
        shard: ShardIndex,
    },
    /// With the way to say that it was obeyed.
    Change(Box<Changed>, Sender<()>),
    /// With the commands that came too late, and the way in for more of them until this is read.
    Ended {
        stream: StreamId,
        unserved: Receiver<Command>,
    },
}

impl Streams {
    /// Starts the owner of these streams.
    pub fn start(
        sources: Sources,
        mtu_bytes: usize,
        cache: WindowLimits,
        on_republish: OnRepublish,
        reserved: Vec<Reserved>,
    ) -> std::io::Result<Streams> {
        let (questions, received) = unbounded();
        let paths = Arc::new(RwLock::new(owned(&sources.built_in, &reserved)));
        let streams = Streams { paths, questions };
        let workshop = Workshop {
            catalog: Arc::new(streams.clone()),
            makes: sources.makes.clone(),
            keyframes: sources.keyframes,
            slots: sources.slots.clone(),
            keeps_metadata: sources.metadata.is_some(),
        };
        let owner = Owner {
            sources,
            workshop,
            running: HashMap::new(),
            registry: Registry::new(on_republish, reserved),
            questions: streams.questions.clone(),
            paths: streams.paths.clone(),
            last_number: FIRST_NUMBER,
            mtu_bytes,
            cache,
        };
        thread::Builder::new().name("streams".into()).spawn(move || owner.run(&received))?;
        Ok(streams)
    }

    /// Obeys another configuration: streams that run go on, but for those that are there no more. Returns when everybody
    /// who asks is sent to what is new.
    pub fn change(&self, changed: Changed) {
        let (obeyed, told) = unbounded();
        // The owner lives as long as the program.
        let _ = self.questions.send(Question::Change(Box::new(changed), obeyed));
        let _ = told.recv();
    }
}

impl Catalog for Streams {
    fn owns(&self, path: &str) -> bool {
        self.paths.read().unwrap_or_else(PoisonError::into_inner).contains(path) || is_device(path)
    }

    fn subscribe(&self, name: &StreamName, subscriber: Subscriber) {
        // The owner lives as long as the program.
        let _ = self.questions.send(Question::Subscribe { name: name.clone(), subscriber });
    }

    fn unsubscribe(&self, path: &str, stream: StreamId, shard: ShardIndex) {
        let _ = self.questions.send(Question::Unsubscribe { path: path.to_owned(), stream, shard });
    }

    fn want(&self, path: &str, stream: StreamId, want: Want) {
        let _ = self.questions.send(Question::Want { path: path.to_owned(), stream, want });
    }

    fn attend(&self, subscriber: Subscriber) {
        // Awaited: a shard that accepts connections knows every path.
        let (heard, told) = unbounded();
        let _ = self.questions.send(Question::Attend(subscriber, heard));
        let _ = told.recv();
    }

    fn claim(&self, claim: Claim) {
        let _ = self.questions.send(Question::Claim(Box::new(claim)));
    }

    fn release(&self, grant: Grant) {
        let _ = self.questions.send(Question::Release(grant));
    }

    fn name_stream(&self) -> StreamId {
        next_id()
    }
}

struct Owner {
    sources: Sources,
    workshop: Workshop,
    running: HashMap<StreamName, Running>,
    registry: Registry,
    questions: Sender<Question>,
    /// What [`Catalog::owns`] knows beside devices.
    paths: Arc<RwLock<HashSet<String>>>,
    last_number: ShardIndex,
    mtu_bytes: usize,
    cache: WindowLimits,
}

struct Running {
    id: StreamId,
    commands: Sender<Command>,
    /// As a receiver of the stream that it makes anew.
    number: Option<ShardIndex>,
}

impl Owner {
    fn run(mut self, received: &Receiver<Question>) {
        for question in received {
            match question {
                Question::Attend(subscriber, heard) => {
                    self.registry.attend(subscriber);
                    let _ = heard.send(());
                }
                Question::Claim(claim) => self.claim(*claim),
                Question::Release(grant) => self.registry.release(grant),
                Question::Subscribe { name, subscriber } => self.subscribe(name, subscriber),
                Question::Want { path, stream, want } => match self.running(stream) {
                    Some(running) => drop(running.commands.send(Command::Want(want))),
                    None => self.registry.want(&path, stream, want),
                },
                Question::Unsubscribe { path, stream, shard } => match self.running(stream) {
                    Some(running) => drop(running.commands.send(Command::Unsubscribe(shard))),
                    None => self.registry.unsubscribe(&path, stream, shard),
                },
                Question::Change(changed, obeyed) => {
                    self.change(*changed);
                    let _ = obeyed.send(());
                }
                Question::Ended { stream, unserved } => {
                    let ended = self.running.extract_if(|_, running| running.id == stream).next();
                    let Some((name, _)) = ended else { continue };
                    for command in unserved.try_iter() {
                        if let Command::Subscribe(subscriber) = command {
                            self.subscribe(name.clone(), subscriber);
                        }
                    }
                }
            }
        }
    }

    fn change(&mut self, changed: Changed) {
        let Changed { built_in, channels, keyframes, cache, on_republish, reserved } = changed;
        let ours = owned(&built_in, &reserved);
        self.paths.write().unwrap_or_else(PoisonError::into_inner).clone_from(&ours);
        self.registry.change(on_republish, reserved, &ours);
        let was_here = |path: &str| self.sources.built_in.contains_key(path) && !built_in.contains_key(path);
        for (name, running) in self.running.iter().filter(|(name, _)| was_here(&name.path)) {
            tracing::info!(stream = %name, "the configuration has it no more");
            let _ = running.commands.send(Command::End);
        }
        (self.sources.built_in, self.sources.channels) = (built_in, channels);
        (self.sources.keyframes, self.workshop.keyframes) = (keyframes, keyframes);
        self.cache = cache;
    }

    fn running(&self, stream: StreamId) -> Option<&Running> {
        self.running.values().find(|running| running.id == stream)
    }

    fn claim(&mut self, claim: Claim) {
        if self.sources.built_in.contains_key(&*claim.path) || is_device(&claim.path) {
            let (ticket, answer) = (claim.ticket, Err(ClaimError::Owned));
            (claim.owner.deliver)(Notice::Claimed { ticket, answer });
            return;
        }
        self.registry.claim(claim, next_id);
    }

    fn subscribe(&mut self, name: StreamName, subscriber: Subscriber) {
        let subscriber = if name.is_plain() && Device::parse(&name.path).is_none() {
            let Err(subscriber) = self.registry.subscribe(&name.path, subscriber) else { return };
            subscriber
        } else {
            subscriber
        };
        if !self.running.contains_key(&name)
            && let Err(error) = self.start(&name)
        {
            (subscriber.deliver)(Notice::Subscribed { name, answer: Err(error) });
            return;
        }
        let _ = self.running[&name].commands.send(Command::Subscribe(subscriber));
    }

    fn start(&mut self, name: &StreamName) -> Result<(), StreamError> {
        let (begin, number) = self.begin(name)?;
        let of_kind = self.running.values().filter(|running| running.number.is_some() == number.is_some());
        let count = of_kind.count();
        if number.is_some() && count >= self.sources.slots.max() + BEGINNING_MAX {
            return Err(StreamError::Busy(self.sources.slots.max()));
        }
        if count >= RUNNING_MAX {
            return Err(StreamError::Unavailable(format!(
                "{RUNNING_MAX} streams run, as many as there may be"
            )));
        }
        let (commands, received) = unbounded();
        let id = next_id();
        let live = Live {
            id,
            name: name.clone(),
            received,
            mtu_bytes: self.mtu_bytes,
            cache: self.cache,
            metadata: self.sources.metadata.clone(),
            waiting: RefCell::default(),
        };
        let questions = self.questions.clone();
        let spawned = thread::Builder::new().name(format!("source {}", name.path)).spawn(move || {
            let run = catch_unwind(AssertUnwindSafe(|| match begin() {
                Ok(begun) => live.run(begun.source, begun.audience),
                Err(error) => live.refuse(&error),
            }));
            if run.is_err() {
                // It has said so; who asked for it must not wait, and another try might end like this again.
                live.refuse(&StreamError::Unavailable("its source has a fault".to_owned()));
            }
            // Nobody listens any more only when the program is over.
            let _ = questions.send(Question::Ended { stream: id, unserved: live.received });
        });
        if let Err(error) = spawned {
            tracing::error!(stream = %name, %error, "no thread for a source");
            return Err(StreamError::Unavailable("no thread for its source".to_owned()));
        }
        self.running.insert(name.clone(), Running { id, commands, number });
        Ok(())
    }

    /// How a stream begins; for one that is made anew, its number as a receiver of the one that it is made of.
    fn begin(&mut self, name: &StreamName) -> Result<(Begin, Option<ShardIndex>), StreamError> {
        if let Some(devices) = Device::parse(&name.path) {
            let devices = devices.into_iter().map(|device| match &name.window {
                Some(title) => device.of_window(title),
                None => device,
            });
            return Ok((self.begin_captured(devices.collect(), name), None));
        }
        if name.is_plain() {
            let path = &name.path;
            let channel = || self.sources.channels.as_ref().and_then(|make| make(path));
            let source = self.sources.built_in.get(&**path).map(|make| make()).or_else(channel);
            let source = source.ok_or(StreamError::NotFound)?;
            let begun = Begun { source, audience: None, _slot: None };
            return Ok((Box::new(move || Ok(begun)), None));
        }
        let number = self.next_number();
        let (name, workshop) = (name.clone(), self.workshop.clone());
        let begin: Begin = Box::new(move || {
            threads::step_back();
            let (transcoded, slot) = Transcoded::begin(&name, workshop, number)?;
            let audience = Some(transcoded.audience());
            Ok(Begun { source: Box::new(transcoded), audience, _slot: Some(slot) })
        });
        Ok((begin, Some(number)))
    }

    /// A number that no receiver has. One that was given back comes last: what was said to its owner may be on the way.
    fn next_number(&mut self) -> ShardIndex {
        let taken: HashSet<_> = self.running.values().filter_map(|running| running.number).collect();
        loop {
            // Shards are counted from below.
            self.last_number = self.last_number.wrapping_sub(1).max(FIRST_NUMBER);
            if self.last_number == FIRST_NUMBER {
                self.last_number = ShardIndex::MAX;
            }
            if !taken.contains(&self.last_number) {
                return self.last_number;
            }
        }
    }

    /// Devices are encoded in whatever format they are asked for.
    fn begin_captured(&self, devices: Vec<Device>, name: &StreamName) -> Begin {
        let Sources { hub, makes, keyframes, .. } = &self.sources;
        let captured = Captured::new(hub.clone(), makes.clone(), *keyframes, devices, name.format);
        let slots = self.workshop.slots.clone();
        Box::new(move || {
            threads::step_back();
            let slot = slots.take().map_err(MediaError::from)?;
            Ok(Begun { source: Box::new(captured), audience: None, _slot: Some(slot) })
        })
    }
}

/// The paths that nobody can publish under.
fn owned(built_in: &HashMap<String, MakeSource>, reserved: &[Reserved]) -> HashSet<String> {
    let reserved = reserved.iter().filter(|reserved| !reserved.is_published);
    built_in.keys().cloned().chain(reserved.map(|reserved| reserved.path.to_string())).collect()
}

/// Names one run of a stream.
fn next_id() -> StreamId {
    static LAST_ID: AtomicU64 = AtomicU64::new(0);
    LAST_ID.fetch_add(1, Ordering::Relaxed) + 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::source::Demand;
    use proto::frame::Frame;
    use proto::track::Track;

    /// A source whose camera is unplugged before its first frame, or that has a fault.
    struct Broken {
        panics: bool,
    }

    impl Source for Broken {
        fn tracks(&mut self) -> Result<Vec<Track>, MediaError> {
            Ok(Vec::new())
        }

        fn run(self: Box<Self>, _: &mut dyn FnMut(Option<Frame>) -> Demand) -> Result<(), MediaError> {
            // Whoever asks meanwhile is answered as well.
            thread::sleep(Duration::from_millis(20));
            assert!(!self.panics, "a fault on purpose");
            Err(MediaError::Broken("unplugged".into()))
        }
    }

    fn camera(make: MakeSource) -> Streams {
        let built_in = HashMap::from([("camera".to_owned(), make)]);
        let sources = Sources { built_in, ..Sources::default() };
        Streams::start(sources, 1_400, WindowLimits::default(), OnRepublish::Stale, Vec::new()).unwrap()
    }

    #[test]
    fn every_subscriber_of_a_source_that_fails_is_answered() {
        let make: MakeSource = Box::new(|| Box::new(Broken { panics: false }));
        let streams = camera(make);
        let (sender, notices) = unbounded();
        const ASKED: u16 = 200;
        for shard in 0..ASKED {
            let sender = sender.clone();
            let deliver = Arc::new(move |notice| sender.send(notice).is_ok());
            streams.subscribe(&StreamName::plain("camera".into()), Subscriber { shard, deliver });
            thread::sleep(Duration::from_micros(300));
        }
        for _ in 0..ASKED {
            let notice = notices.recv_timeout(Duration::from_secs(5)).expect("everyone is answered");
            assert!(matches!(notice, Notice::Subscribed { answer: Err(StreamError::Unavailable(_)), .. }));
        }
    }

    #[test]
    fn who_asks_for_a_source_that_panics_is_answered_and_it_can_be_started_again() {
        static STARTS: AtomicU64 = AtomicU64::new(0);
        let make: MakeSource =
            Box::new(|| Box::new(Broken { panics: STARTS.fetch_add(1, Ordering::Relaxed) == 0 }));
        let streams = camera(make);
        let (sender, notices) = unbounded();
        for start in 1..=2 {
            let sender = sender.clone();
            let deliver = Arc::new(move |notice| sender.send(notice).is_ok());
            streams.subscribe(&StreamName::plain("camera".into()), Subscriber { shard: 0, deliver });
            assert!(matches!(
                notices.recv_timeout(Duration::from_secs(5)),
                Ok(Notice::Subscribed { answer: Err(StreamError::Unavailable(_)), .. })
            ));
            assert_eq!(STARTS.load(Ordering::Relaxed), start);
            // It is forgotten a moment later.
            thread::sleep(Duration::from_millis(50));
        }
    }
}
