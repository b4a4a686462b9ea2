//! The loop: what viewers ask, and a picture to all of them when it is due.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::rtp::batch::Batch;
use proto::rtsp::parse::{Item, Limits, Parser};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::Timespec;
use socket2::{Domain, Protocol, Socket, Type};

use super::dialogue::{Dialogue, Step, Way};
use super::fan::{Loop, Rest, Stream, TcpFan, UdpFan};
use super::tls::{Config, Talk};
use crate::source::{Content, Source};

/// What the bare server shall do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 is any.
    pub listen: SocketAddr,
    /// How pictures leave.
    pub by: Loop,
    /// What they are.
    pub content: Content,
    /// Threads, each with its own viewers: as many as the server under test has, or the loop pays for wake-ups of
    /// viewers that run beside it.
    pub threads: usize,
}

/// Serves for ever; `ready` is called with the address on which it listens.
pub fn serve(options: &Options, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    // A picture is there for all viewers at the same moment, whichever thread has them.
    let began = Instant::now();
    let mut first = Server::new(options, options.listen, began)?;
    let address = first.listener.local_addr()?;
    let processors = processors()?;
    for index in 1..options.threads.max(1) {
        let options = options.clone();
        let processors = processors.clone();
        // A thread that fails takes the process with it: a limit that some viewers miss is none.
        thread::spawn(move || {
            pin(&processors, index);
            if Server::new(&options, address, began).and_then(|mut server| server.run()).is_err() {
                process::exit(1);
            }
        });
    }
    pin(&processors, 0);
    ready(address);
    first.run()
}

/// The processors that this process may use.
fn processors() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).collect())
}

/// Ties the calling thread to a processor, as the shards of the server under test are: who floats sends with one processor
/// while viewers keep the other, and is no measure of two.
fn pin(processors: &[usize], index: usize) {
    let mut own = CpuSet::new();
    own.set(processors[index % processors.len()]);
    let _ = sched_setaffinity(None, &own);
}

/// A listener among others of the same address; the kernel shares connections out.
fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener = socket.into();
    bare::sys::set_stream_options(&listener)?;
    Ok(listener)
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    /// Connections that do not play, or play over UDP.
    callers: HashMap<u64, Caller>,
    /// Connections that play over TCP: what is sent to them is bounded by what they take.
    streams: HashMap<u64, Stream>,
    next: u64,
    udp: UdpFan,
    udp_port: u16,
    tcp: TcpFan,
    /// None where connections are plain.
    tls: Option<Config>,
    source: Source,
    description: String,
    began: Instant,
    last: Option<Batch>,
    scratch: Vec<u8>,
}

/// What belongs to a connection beside its socket.
struct Caller {
    stream: Option<TcpStream>,
    shield: Shield,
    parser: Parser,
    dialogue: Dialogue,
    datagrams: Option<SocketAddr>,
}

/// What is around that which a caller says.
enum Shield {
    /// Nothing.
    Plain,
    /// TLS.
    Tls(Talk),
    /// TLS that is not looked into any more: the viewer plays.
    Opaque,
}

impl Server {
    fn new(options: &Options, address: SocketAddr, began: Instant) -> io::Result<Server> {
        let listener = listener(address)?;
        let socket = bare::sys::udp(SocketAddr::new(options.listen.ip(), 0))?;
        let udp_port = socket.local_addr()?.port();
        let source = Source::new(&options.content)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Server {
            epoll,
            listener,
            callers: HashMap::new(),
            streams: HashMap::new(),
            next: LISTENER + 1,
            udp: UdpFan::new(socket, options.by)?,
            udp_port,
            tcp: TcpFan::new(options.by)?,
            tls: (options.by == Loop::AesGcm).then(Config::new).transpose()?,
            description: source.description(options.listen.ip()),
            source,
            began,
            last: None,
            scratch: vec![0; 16 * 1024],
        })
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            self.turn()?;
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        let due = self.began + self.source.due(self.source.number());
        let left = due.saturating_duration_since(Instant::now());
        for event in self.wait(left)? {
            match event.data.u64() {
                LISTENER => self.accept()?,
                number => self.handle(number, event.flags)?,
            }
        }
        if Instant::now() >= due {
            let batch = self.source.next_batch();
            self.udp.send(&batch)?;
            if !self.streams.is_empty() {
                self.tcp.send(&mut self.streams, &batch.interleaved())?;
            }
            self.last = Some(batch);
        }
        Ok(())
    }

    fn wait(&self, left: Duration) -> io::Result<Vec<Event>> {
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let mut events = Vec::with_capacity(EVENTS_A_TURN);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(events),
            Err(error) => Err(error.into()),
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The peer may have gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            let number = self.next;
            self.next += 1;
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            epoll::add(&self.epoll, &stream, EventData::new_u64(number), flags)?;
            let (parser, dialogue) = (Parser::new(Limits::default()), Dialogue::new(peer, number));
            let shield = match &self.tls {
                Some(config) => Shield::Tls(Talk::new(config)?),
                None => Shield::Plain,
            };
            let caller = Caller { stream: Some(stream), shield, parser, dialogue, datagrams: None };
            self.callers.insert(number, caller);
        }
    }

    fn handle(&mut self, number: u64, flags: EventFlags) -> io::Result<()> {
        if let Some(stream) = self.streams.get_mut(&number).filter(|_| flags.contains(EventFlags::OUT)) {
            stream.rest.flush(&stream.socket);
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            let lives = self.read(number)?;
            if !lives {
                self.close(number)?;
            }
        }
        Ok(())
    }

    /// Reads all that has come and answers it; false when the connection is over.
    fn read(&mut self, number: u64) -> io::Result<bool> {
        loop {
            let mut scratch = std::mem::take(&mut self.scratch);
            let Some(read) = self.stream(number).map(|mut stream| stream.read(&mut scratch)) else {
                self.scratch = scratch;
                return Ok(true);
            };
            let size = match read {
                Ok(size) => size,
                Err(error) => {
                    self.scratch = scratch;
                    return Ok(error.kind() == io::ErrorKind::WouldBlock);
                }
            };
            let understood = self.callers.get_mut(&number).map(|caller| caller.hear(&scratch[..size]));
            self.scratch = scratch;
            match understood {
                Some(Ok(words)) if size > 0 => self.write_raw(number, words.into()),
                _ => return Ok(false),
            }
            if !self.answer(number)? {
                return Ok(false);
            }
        }
    }

    /// Answers every request that is complete; false when the peer does not speak RTSP.
    fn answer(&mut self, number: u64) -> io::Result<bool> {
        loop {
            let Some(caller) = self.callers.get_mut(&number) else { return Ok(true) };
            let request = match caller.parser.poll() {
                Ok(Some(Item::Request(request))) => request,
                Ok(Some(_)) => continue,
                Ok(None) => return Ok(true),
                Err(_) => return Ok(false),
            };
            let (response, step) = caller.dialogue.answer(&request, &self.description, self.udp_port);
            if step == Step::Ends {
                self.stop(number)?;
            }
            self.write(number, response.to_bytes());
            if let Step::Plays(way) = step {
                self.play(number, way)?;
            }
        }
    }

    /// A viewer is served from here on, and has the last picture at once.
    fn play(&mut self, number: u64, way: Way) -> io::Result<()> {
        let Some(caller) = self.callers.get_mut(&number) else { return Ok(()) };
        match way {
            Way::Datagrams(address) => {
                caller.datagrams = Some(address);
                self.set_viewers()?;
                // To the others it is a repetition, which they need not get: it goes alone.
                if let Some(batch) = &self.last {
                    self.udp.set_viewers(vec![address])?;
                    self.udp.send(batch)?;
                    self.set_viewers()?;
                }
            }
            Way::Connection => {
                let Some(socket) = caller.stream.take() else { return Ok(()) };
                let sealer = match std::mem::replace(&mut caller.shield, Shield::Plain) {
                    Shield::Tls(talk) => {
                        caller.shield = Shield::Opaque;
                        Some(talk.into_sealer()?)
                    }
                    shield => {
                        caller.shield = shield;
                        None
                    }
                };
                let mut stream = Stream { socket, rest: Rest::default(), sealer };
                if let Some(bytes) = self.last.as_ref().map(Batch::interleaved) {
                    match stream.sealer {
                        Some(_) => stream.send_sealed(&bytes, &mut Vec::new())?,
                        None => stream.send(bytes),
                    }
                }
                self.streams.insert(number, stream);
            }
        }
        Ok(())
    }

    /// A viewer is no longer served.
    fn stop(&mut self, number: u64) -> io::Result<()> {
        if let (Some(caller), Some(stream)) = (self.callers.get_mut(&number), self.streams.remove(&number)) {
            caller.stream = Some(stream.socket);
        }
        let datagrams = self.callers.get_mut(&number).and_then(|caller| caller.datagrams.take());
        if datagrams.is_some() { self.set_viewers() } else { Ok(()) }
    }

    fn close(&mut self, number: u64) -> io::Result<()> {
        self.stop(number)?;
        self.callers.remove(&number);
        Ok(())
    }

    fn set_viewers(&mut self) -> io::Result<()> {
        self.udp.set_viewers(self.callers.values().filter_map(|caller| caller.datagrams).collect())
    }

    fn stream(&self, number: u64) -> Option<&TcpStream> {
        let playing = self.streams.get(&number).map(|stream| &stream.socket);
        playing.or_else(|| self.callers.get(&number)?.stream.as_ref())
    }

    /// Sends an answer.
    fn write(&mut self, number: u64, bytes: Bytes) {
        let Some(caller) = self.callers.get_mut(&number) else { return };
        match &mut caller.shield {
            Shield::Plain => self.write_raw(number, bytes),
            Shield::Tls(talk) => match talk.write(&bytes) {
                Ok(sealed) => self.write_raw(number, sealed.into()),
                Err(_) => caller.shield = Shield::Opaque,
            },
            Shield::Opaque => {}
        }
    }

    /// Sends beside pictures: behind what a viewer has still to take, or at once.
    fn write_raw(&mut self, number: u64, bytes: Bytes) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.send(bytes);
        } else if let Some(mut stream) = self.stream(number) {
            // An answer fits an empty buffer; where the connection is broken its end will be read.
            let _ = stream.write(&bytes);
        }
    }
}

impl Caller {
    /// Takes what has come; what TLS has to say to it at once.
    fn hear(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match &mut self.shield {
            Shield::Plain => {
                self.parser.handle_bytes(bytes);
                Ok(Vec::new())
            }
            Shield::Tls(talk) => {
                let (plain, words) = talk.read(bytes)?;
                self.parser.handle_bytes(&plain);
                Ok(words)
            }
            Shield::Opaque => Ok(Vec::new()),
        }
    }
}

/// What the listener's events are known by.
const LISTENER: u64 = 0;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4_096;

/// Events of one wait.
const EVENTS_A_TURN: usize = 256;
