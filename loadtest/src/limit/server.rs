//! The loop: what viewers ask, and a picture to all of them when it is due.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::rtp::batch::Batch;
use proto::rtsp::parse::{Item, Limits, Parser};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::time::Timespec;

use super::dialogue::{Dialogue, Step, Way};
use super::fan::{Loop, Rest, TcpFan, UdpFan};
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
}

/// Serves for ever; `ready` is called with the address on which it listens.
pub fn serve(options: &Options, ready: impl FnOnce(SocketAddr)) -> io::Result<()> {
    let mut server = Server::new(options)?;
    ready(server.listener.local_addr()?);
    loop {
        server.turn()?;
    }
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    /// Connections that do not play, or play over UDP.
    callers: HashMap<u64, Caller>,
    /// Connections that play over TCP: what is sent to them is bounded by what they take.
    streams: HashMap<u64, (TcpStream, Rest)>,
    next: u64,
    udp: UdpFan,
    udp_port: u16,
    tcp: TcpFan,
    source: Source,
    description: String,
    began: Instant,
    last: Option<Batch>,
    scratch: Vec<u8>,
}

/// What belongs to a connection beside its socket.
struct Caller {
    stream: Option<TcpStream>,
    parser: Parser,
    dialogue: Dialogue,
    datagrams: Option<SocketAddr>,
}

impl Server {
    fn new(options: &Options) -> io::Result<Server> {
        let listener = bare::sys::tcp(options.listen)?;
        listener.set_nonblocking(true)?;
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
            description: source.description(options.listen.ip()),
            source,
            began: Instant::now(),
            last: None,
            scratch: vec![0; 16 * 1024],
        })
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
            let caller = Caller { stream: Some(stream), parser, dialogue, datagrams: None };
            self.callers.insert(number, caller);
        }
    }

    fn handle(&mut self, number: u64, flags: EventFlags) -> io::Result<()> {
        if let Some((stream, rest)) =
            self.streams.get_mut(&number).filter(|_| flags.contains(EventFlags::OUT))
        {
            rest.flush(stream);
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
            if let Some(caller) = self.callers.get_mut(&number) {
                caller.parser.handle_bytes(&scratch[..size]);
            }
            self.scratch = scratch;
            if size == 0 || !self.answer(number)? {
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
                let Some(stream) = caller.stream.take() else { return Ok(()) };
                self.streams.insert(number, (stream, Rest::default()));
                if let Some(bytes) = self.last.as_ref().map(Batch::interleaved) {
                    self.write(number, bytes);
                }
            }
        }
        Ok(())
    }

    /// A viewer is no longer served.
    fn stop(&mut self, number: u64) -> io::Result<()> {
        if let (Some(caller), Some((stream, _))) =
            (self.callers.get_mut(&number), self.streams.remove(&number))
        {
            caller.stream = Some(stream);
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
        let playing = self.streams.get(&number).map(|(stream, _)| stream);
        playing.or_else(|| self.callers.get(&number)?.stream.as_ref())
    }

    /// Sends beside pictures: behind what a viewer has still to take, or at once.
    fn write(&mut self, number: u64, bytes: Bytes) {
        if let Some((stream, rest)) = self.streams.get_mut(&number) {
            rest.push(bytes);
            rest.flush(stream);
        } else if let Some(mut stream) = self.stream(number) {
            // An answer fits an empty buffer; where the connection is broken its end will be read.
            let _ = stream.write(&bytes);
        }
    }
}

/// What the listener's events are known by.
const LISTENER: u64 = 0;

/// Events of one wait.
const EVENTS_A_TURN: usize = 256;
