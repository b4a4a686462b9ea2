//! A driver with a memory of what it reported, and plain sockets of the standard library as its peers.

use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::io::{Conn, Detached, Driver, Event, Listener, Op, Piece, Pieces, Udp};
use proto::rtp::batch::{Batch, BatchWriter, Meta, Numbering};
use proto::time::MediaTime;

/// Makes one more driver of the backend under test.
pub type Make<'a> = &'a mut dyn FnMut() -> Box<dyn Driver>;

/// What all waiting in a scenario takes at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one wait takes at most.
const STEP_PATIENCE: Duration = Duration::from_secs(20);

/// Runs a scenario on a thread of its own and gives up on it when it hangs. `name` is the path of the test.
pub fn run(name: &'static str, make: fn() -> Option<Box<dyn Driver>>, scenario: fn(Make<'_>)) {
    let (done, finished) = channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        match make() {
            Some(_) => scenario(&mut || make().expect("a backend that is there stays")),
            None => eprintln!("{name}: skipped, for this system lacks the backend"),
        }
        done.send(()).unwrap();
    });
    let thread = thread.unwrap();
    match finished.recv_timeout(PATIENCE) {
        Err(RecvTimeoutError::Timeout) => panic!("{name} hangs"),
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// An event with a copy of its bytes.
pub enum Seen {
    Accepted { listener: Listener, conn: Conn, peer: SocketAddr, local: SocketAddr },
    Connected(Conn, SocketAddr),
    Refused(Listener),
    Received(Conn, Vec<u8>),
    Ended(Conn, Option<ErrorKind>),
    Sent(Conn),
    Closed(Conn),
    Detached(Conn, Option<Detached>),
    Datagram { udp: Udp, from: SocketAddr, bytes: Vec<u8>, segment: usize },
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Accepted { conn, peer, .. } => write!(f, "accepted {conn:?} from {peer}"),
            Seen::Connected(conn, local) => write!(f, "connected {conn:?} from {local}"),
            Seen::Refused(listener) => write!(f, "refused on {listener:?}"),
            Seen::Received(conn, bytes) => write!(f, "received {} bytes on {conn:?}", bytes.len()),
            Seen::Ended(conn, error) => write!(f, "ended {conn:?} {error:?}"),
            Seen::Sent(conn) => write!(f, "sent {conn:?}"),
            Seen::Closed(conn) => write!(f, "closed {conn:?}"),
            Seen::Detached(conn, _) => write!(f, "detached {conn:?}"),
            Seen::Datagram { udp, from, bytes, .. } => {
                write!(f, "datagram of {} bytes on {udp:?} from {from}", bytes.len())
            }
        }
    }
}

/// A driver and all that it reported.
pub struct Rig {
    pub driver: Box<dyn Driver>,
    pub seen: Vec<Seen>,
    events: Vec<Event>,
}

impl Rig {
    pub fn new(driver: Box<dyn Driver>) -> Rig {
        Rig { driver, seen: Vec::new(), events: Vec::new() }
    }

    /// One turn of at most `wait`.
    pub fn turn(&mut self, wait: Duration) {
        let until = self.driver.now() + wait;
        self.driver.turn(Some(until), &mut self.events).unwrap();
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let seen = self.keep(event);
            self.seen.push(seen);
        }
        self.events = events;
    }

    /// Turns until `done` finds what it looks for.
    #[track_caller]
    pub fn until<T>(&mut self, mut done: impl FnMut(&mut Rig) -> Option<T>) -> T {
        let end = Instant::now() + STEP_PATIENCE;
        loop {
            if let Some(found) = done(self) {
                return found;
            }
            let tail = self.seen.len().saturating_sub(20);
            assert!(Instant::now() < end, "did not happen; last seen: {:?}", &self.seen[tail..]);
            self.turn(Duration::from_millis(20));
        }
    }

    /// Turns for a while in which something must not happen.
    pub fn idle(&mut self) {
        for _ in 0..5 {
            self.turn(Duration::from_millis(10));
        }
    }

    pub fn listen(&mut self, address: &str) -> (Listener, SocketAddr) {
        self.driver.listen(address.parse().unwrap()).unwrap()
    }

    /// Our address on a connection that was opened, once it is.
    pub fn connected(&self, conn: Conn) -> Option<SocketAddr> {
        self.seen.iter().find_map(|seen| match seen {
            Seen::Connected(of, local) if *of == conn => Some(*local),
            _ => None,
        })
    }

    /// A client of a new listener, and the driver's name for it.
    #[track_caller]
    pub fn connect(&mut self) -> (Conn, TcpStream) {
        let (_, address) = self.listen("127.0.0.1:0");
        self.connect_to(address)
    }

    #[track_caller]
    pub fn connect_to(&mut self, address: SocketAddr) -> (Conn, TcpStream) {
        let client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(STEP_PATIENCE)).unwrap();
        client.set_write_timeout(Some(STEP_PATIENCE)).unwrap();
        let ours = client.local_addr().unwrap();
        let conn = self.until(|rig| {
            rig.seen.iter().find_map(|seen| match seen {
                Seen::Accepted { conn, peer, .. } if *peer == ours => Some(*conn),
                _ => None,
            })
        });
        (conn, client)
    }

    pub fn send(&mut self, conn: Conn, bytes: impl Into<Bytes>) {
        self.send_pieces(conn, [Piece::Shared(bytes.into())]);
    }

    pub fn send_pieces(&mut self, conn: Conn, pieces: impl IntoIterator<Item = Piece>) {
        self.driver.submit(Op::Send { conn, pieces: Pieces::from_iter(pieces) });
    }

    pub fn send_to(&mut self, udp: Udp, to: SocketAddr, bytes: impl Into<Bytes>, segment: usize) {
        let piece = Piece::Shared(bytes.into());
        self.driver.submit(Op::SendTo { udp, to, piece, segment: segment as u16 });
    }

    #[track_caller]
    pub fn close(&mut self, conn: Conn) {
        self.driver.submit(Op::Close(conn));
        self.until(|rig| (rig.count_closed(conn) > 0).then_some(()));
    }

    /// All bytes received on a connection.
    pub fn received(&self, conn: Conn) -> Vec<u8> {
        let runs = self.seen.iter().filter_map(|seen| match seen {
            Seen::Received(of, bytes) if *of == conn => Some(&bytes[..]),
            _ => None,
        });
        runs.flatten().copied().collect()
    }

    #[track_caller]
    pub fn until_received(&mut self, conn: Conn, bytes: &[u8]) {
        self.until(|rig| (rig.received(conn).len() >= bytes.len()).then_some(()));
        assert_eq!(self.received(conn), bytes);
    }

    pub fn count_sent(&self, conn: Conn) -> usize {
        self.seen.iter().filter(|seen| matches!(seen, Seen::Sent(of) if *of == conn)).count()
    }

    pub fn count_closed(&self, conn: Conn) -> usize {
        self.seen.iter().filter(|seen| matches!(seen, Seen::Closed(of) if *of == conn)).count()
    }

    /// How each end of a connection was reported.
    pub fn ends(&self, conn: Conn) -> Vec<Option<ErrorKind>> {
        let ends = self.seen.iter().filter_map(|seen| match seen {
            Seen::Ended(of, error) if *of == conn => Some(*error),
            _ => None,
        });
        ends.collect()
    }

    /// All datagrams received on a socket, merged ones apart.
    pub fn datagrams(&self, udp: Udp) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut datagrams = Vec::new();
        for seen in &self.seen {
            if let Seen::Datagram { udp: on, from, bytes, segment } = seen
                && *on == udp
            {
                datagrams.extend(bytes.chunks(*segment).map(|datagram| (*from, datagram.to_vec())));
            }
        }
        datagrams
    }

    fn keep(&self, event: Event) -> Seen {
        match event {
            Event::Accepted { listener, conn, peer, local } => Seen::Accepted { listener, conn, peer, local },
            Event::Connected { conn, local } => Seen::Connected(conn, local),
            Event::AcceptRefused { listener, .. } => Seen::Refused(listener),
            Event::Received { conn, span } => Seen::Received(conn, self.driver.bytes(span).to_vec()),
            Event::Ended { conn, error } => Seen::Ended(conn, error.map(|error| error.kind())),
            Event::Sent { conn } => Seen::Sent(conn),
            Event::Closed { conn } => Seen::Closed(conn),
            Event::Detached { conn, socket } => Seen::Detached(conn, Some(socket)),
            Event::Datagram { udp, from, span, segment } => {
                let bytes = self.driver.bytes(span).to_vec();
                Seen::Datagram { udp, from, bytes, segment: usize::from(segment).max(1) }
            }
        }
    }
}

/// Bytes that tell where they belong.
pub fn pattern(size: usize, seed: u8) -> Vec<u8> {
    (0..size).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ seed).collect()
}

/// A batch of packets with the given sizes, headers included.
pub fn batch(sizes: &[usize]) -> Arc<Batch> {
    let numbering = Numbering { ssrc: 7, payload_type: 96, sequence: 1, timestamp: 9 };
    let mut writer = BatchWriter::new(numbering, 0);
    for (index, size) in sizes.iter().enumerate() {
        writer.packet(index + 1 == sizes.len(), &[&pattern(size - 12, index as u8)]);
    }
    let meta = Meta { track: 0, keyframe: true, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
    Arc::new(writer.finish(meta).unwrap())
}

/// All packets of a batch with heads of `head` bytes in place of their headers, and the bytes that this is.
pub fn spliced(batch: &Arc<Batch>, head: usize) -> (Piece, Vec<u8>) {
    let count = batch.packets().len();
    let heads = pattern(head * count, 0xa5);
    let mut bytes = Vec::new();
    for (packet, head) in batch.packets().iter().zip(heads.chunks(head)) {
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(&batch.packet(packet)[12..]);
    }
    let piece = Piece::Spliced { heads: heads.into(), batch: batch.clone(), first: 0, count: count as u32 };
    assert_eq!(piece.size(), bytes.len());
    (piece, bytes)
}
