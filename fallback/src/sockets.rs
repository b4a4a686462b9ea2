//! The sockets of a driver, and what its operations do to them.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proto::io::{Conn, Detached, DriverStats, Event, Listener, Op, Udp, UdpOptions};
use proto::time::Time;
use tokio::net::TcpStream;

use crate::clock::{self, Clock};
use crate::connecting::Connecting;
use crate::connection::{Connection, Input, Output};
use crate::door::Door;
use crate::inbox::Inbox;
use crate::ready::{Ready, Token};
use crate::slots::Slots;
use crate::udp::{self, Datagrams, Outgoing};

/// Reads of one connection in one turn, each of at most 64 KiB; the others are heard too.
const READS_PER_TURN: usize = 4;

/// Connections accepted on one socket in one turn.
const ACCEPTS_PER_TURN: usize = 64;

/// Datagrams received on one socket in one turn.
const DATAGRAMS_PER_TURN: usize = 256;

/// Pause after an `accept` that found no descriptor, unless one of ours is freed before: others may free one too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Everything but the runtime.
#[derive(Debug)]
pub struct Sockets {
    /// What wakers share with us.
    pub ready: Arc<Ready>,
    /// What this turn received.
    pub inbox: Inbox,
    /// The time of this turn.
    pub clock: Clock,
    /// What was counted.
    pub stats: DriverStats,
    /// Count of events that the caller of the turn had in its list already.
    pub events_before: usize,
    connections: Slots<Line>,
    udp: Slots<Datagrams>,
    doors: Slots<Door>,
    queued: Vec<Op>,
    /// Who is to be looked at, in order.
    pending: VecDeque<Token>,
    /// Where spliced datagrams become one run of bytes.
    scratch: Vec<u8>,
    /// Whether a listener pauses or an entry of a UDP socket waits.
    has_chores: bool,
}

/// What the name of a connection stands for.
#[derive(Debug)]
enum Line {
    /// Not open yet.
    Connecting(Connecting),
    /// Open, or broken since.
    Open(Connection),
    /// Could not be opened.
    Failed,
}

impl Sockets {
    /// No sockets yet.
    pub fn new() -> Sockets {
        Sockets {
            ready: Arc::default(),
            inbox: Inbox::new(),
            clock: Clock::default(),
            stats: DriverStats::default(),
            events_before: 0,
            connections: Slots::new(Token::Connection),
            udp: Slots::new(Token::Udp),
            doors: Slots::new(Token::Door),
            queued: Vec::new(),
            pending: VecDeque::new(),
            scratch: Vec::new(),
            has_chores: false,
        }
    }

    /// Opens a listening socket.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        let (door, local) = Door::open(address)?;
        let (index, _) = self.doors.insert(door, &self.ready);
        self.pending.push_back(Token::Door(index));
        Ok((Listener(index), local))
    }

    /// Opens a UDP socket.
    pub fn bind(&mut self, address: SocketAddr, options: &UdpOptions) -> io::Result<(Udp, SocketAddr)> {
        let (datagrams, local) = Datagrams::bind(address, options)?;
        let (index, _) = self.udp.insert(datagrams, &self.ready);
        self.pending.push_back(Token::Udp(index));
        Ok((Udp(index), local))
    }

    /// Makes the socket of a connection, which the next turn opens.
    pub fn connect(&mut self, address: SocketAddr) -> io::Result<Conn> {
        Ok(self.add_line(Line::Connecting(Connecting::new(address)?)))
    }

    /// Takes over what another driver of this kind gave away.
    pub fn attach(&mut self, socket: Detached) -> io::Result<Conn> {
        let stream = socket.0.downcast::<std::net::TcpStream>().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the connection comes from a driver of another kind")
        })?;
        let connection = Connection::new(TcpStream::from_std(*stream)?);
        Ok(self.add_line(Line::Open(connection)))
    }

    /// Queues an operation.
    pub fn submit(&mut self, op: Op) {
        self.queued.push(op);
    }

    /// Forgets the last turn and does what was queued.
    pub fn begin_turn(&mut self, events: &mut Vec<Event>) {
        self.events_before = events.len();
        self.inbox.clear();
        let mut queued = mem::take(&mut self.queued);
        self.stats.submitted += queued.len() as u64;
        if !queued.is_empty() {
            self.stats.operations.note(queued.len() as u64);
        }
        for op in &mut queued {
            self.start(op, events);
        }
        queued.clear();
        self.queued = queued;
        if self.has_chores {
            // A driver that is never idle never sleeps until they are due.
            self.do_chores(self.clock.now());
        }
    }

    /// Looks once at each socket that is ready.
    pub fn poll(&mut self, events: &mut Vec<Event>) {
        self.ready.take(&mut self.pending);
        for _ in 0..self.pending.len() {
            let Some(token) = self.pending.pop_front() else { return };
            let more = match token {
                Token::Connection(index) => self.poll_connection(index, events),
                Token::Udp(index) => self.poll_udp(index, events),
                Token::Door(index) => self.poll_door(index, events),
            };
            if more {
                self.pending.push_back(token);
            }
        }
    }

    /// Whether someone is ready still.
    pub fn has_more(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When [`Sockets::do_chores`] has something to do; None for never.
    pub fn chore_at(&mut self) -> Option<Time> {
        if !self.has_chores {
            return None;
        }
        let retries = self.doors.iter_mut().filter_map(|(_, door)| door.retry_at);
        let sheds = self.udp.iter_mut().filter_map(|(_, datagrams)| datagrams.shed_at());
        let first = retries.chain(sheds).min();
        self.has_chores = first.is_some();
        first
    }

    /// Accepts again where it paused, sheds what waited too long.
    pub fn do_chores(&mut self, now: Time) {
        for (index, door) in self.doors.iter_mut() {
            if door.retry_at.is_some_and(|at| at <= now) {
                door.retry_at = None;
                self.pending.push_back(Token::Door(index));
            }
        }
        for (index, datagrams) in self.udp.iter_mut() {
            datagrams.shed(now, &mut self.stats);
            if datagrams.is_over() {
                self.pending.push_back(Token::Udp(index));
            }
        }
    }

    /// Takes of `op` what it keeps: pieces are large, and moving them whole costs as much as all else here.
    fn start(&mut self, op: &mut Op, events: &mut Vec<Event>) {
        match op {
            Op::Send { conn, pieces } => {
                if let Some((connection, generation, waker)) = self.open(conn.index)
                    && generation == conn.generation
                {
                    report(*conn, connection.send(pieces, &mut Context::from_waker(waker)), events);
                }
            }
            Op::SendTo { udp, to, piece, segment } => {
                self.send_to(*udp, Outgoing { to: *to, piece: mem::take(piece), segment: *segment });
            }
            Op::Stop(conn) => self.set_receiving(*conn, false),
            Op::Resume(conn) => {
                self.set_receiving(*conn, true);
                self.pending.push_back(Token::Connection(conn.index));
            }
            Op::Close(conn) => {
                if let Some(line) = self.take_line(*conn) {
                    if let Line::Open(connection) = line {
                        connection.close();
                    }
                    events.push(Event::Closed { conn: *conn });
                    self.retry_accepts();
                }
            }
            Op::Detach(conn) => self.detach(*conn, events),
            Op::CloseUdp(udp) => {
                if let Some((datagrams, ..)) = self.udp.get(udp.0) {
                    datagrams.closing = true;
                    self.pending.push_back(Token::Udp(udp.0));
                }
            }
            Op::CloseListener(listener) => {
                if self.doors.remove(listener.0).is_some() {
                    self.retry_accepts();
                }
            }
        }
    }

    fn send_to(&mut self, udp: Udp, out: Outgoing) {
        let now = self.clock.now();
        if let Some((datagrams, ..)) = self.udp.get(udp.0)
            && datagrams.push(out, now, &mut self.stats)
        {
            self.pending.push_back(Token::Udp(udp.0));
        }
    }

    fn detach(&mut self, conn: Conn, events: &mut Vec<Event>) {
        let Some(Line::Open(_)) = self.named(conn) else { return };
        let Some(Line::Open(connection)) = self.take_line(conn) else { return };
        debug_assert!(!connection.is_sending(), "a connection moves between two sends");
        events.push(match connection.into_std() {
            Ok(stream) => Event::Detached { conn, socket: Detached(Box::new(stream)) },
            // The reactor did not give it back, and it is closed.
            Err(_) => Event::Closed { conn },
        });
    }

    fn poll_connection(&mut self, index: u32, events: &mut Vec<Event>) -> bool {
        self.poll_sending(index, events);
        let (connection, generation, waker) = match self.connections.get(index) {
            Some((Line::Open(connection), generation, waker)) => (connection, generation, waker),
            Some((Line::Connecting(_), ..)) => return self.poll_connecting(index, events),
            Some((Line::Failed, ..)) | None => return false,
        };
        let cx = &mut Context::from_waker(waker);
        let conn = Conn { index, generation };
        for _ in 0..READS_PER_TURN {
            if !connection.is_receiving() {
                return false;
            }
            match connection.poll_receive(cx, &mut self.inbox) {
                Input::Bytes(span) => events.push(Event::Received { conn, span }),
                Input::End(error) => events.push(Event::Ended { conn, error }),
                Input::Waiting => return false,
                Input::Full => return true,
            }
        }
        true
    }

    fn poll_connecting(&mut self, index: u32, events: &mut Vec<Event>) -> bool {
        let Some((line, generation, waker)) = self.connections.get(index) else { return false };
        let Line::Connecting(connecting) = line else { return false };
        let Poll::Ready(opened) = connecting.poll(&mut Context::from_waker(waker)) else { return false };
        let conn = Conn { index, generation };
        match opened {
            Ok((stream, local)) => {
                let mut connection = Connection::new(stream);
                connection.receiving = connecting.receiving;
                *line = Line::Open(connection);
                events.push(Event::Connected { conn, local });
                true
            }
            Err(error) => {
                *line = Line::Failed;
                events.push(Event::Ended { conn, error: Some(error) });
                self.retry_accepts();
                false
            }
        }
    }

    fn poll_sending(&mut self, index: u32, events: &mut Vec<Event>) {
        let Some((connection, generation, waker)) = self.open(index) else { return };
        if !connection.is_sending() {
            return;
        }
        let conn = Conn { index, generation };
        report(conn, connection.poll_send(&mut Context::from_waker(waker)), events);
    }

    fn poll_udp(&mut self, index: u32, events: &mut Vec<Event>) -> bool {
        let Some((datagrams, _, waker)) = self.udp.get(index) else { return false };
        let cx = &mut Context::from_waker(waker);
        datagrams.poll_flush(cx, &mut self.scratch, &mut self.stats);
        self.has_chores |= datagrams.shed_at().is_some();
        if datagrams.is_over() {
            self.udp.remove(index);
            self.retry_accepts();
            return false;
        }
        if datagrams.closing {
            return false;
        }
        for _ in 0..DATAGRAMS_PER_TURN {
            match datagrams.poll_receive(cx, &mut self.inbox) {
                udp::Input::Datagram { from, span, segment } => {
                    events.push(Event::Datagram { udp: Udp(index), from, span, segment });
                }
                udp::Input::Waiting => return false,
                udp::Input::Full => return true,
            }
        }
        true
    }

    fn poll_door(&mut self, index: u32, events: &mut Vec<Event>) -> bool {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some((door, _, waker)) = self.doors.get(index) else { return false };
            if door.retry_at.is_some() {
                return false;
            }
            match door.poll_accept(&mut Context::from_waker(waker)) {
                Poll::Pending => return false,
                Poll::Ready(Ok((stream, peer))) => self.accepted(Listener(index), stream, peer, events),
                Poll::Ready(Err(error)) => {
                    door.retry_at = Some(clock::sample() + ACCEPT_PAUSE);
                    self.has_chores = true;
                    if !mem::replace(&mut door.refused, true) {
                        events.push(Event::AcceptRefused { listener: Listener(index), error });
                    }
                    return false;
                }
            }
        }
        true
    }

    fn accepted(&mut self, listener: Listener, stream: TcpStream, peer: SocketAddr, events: &mut Vec<Event>) {
        if let Some((door, ..)) = self.doors.get(listener.0) {
            door.refused = false;
        }
        // Fails where the client is gone already.
        let Ok(local) = stream.local_addr() else { return };
        let conn = self.add_line(Line::Open(Connection::new(stream)));
        events.push(Event::Accepted { listener, conn, peer, local });
    }

    fn add_line(&mut self, line: Line) -> Conn {
        let (index, generation) = self.connections.insert(line, &self.ready);
        self.pending.push_back(Token::Connection(index));
        Conn { index, generation }
    }

    fn set_receiving(&mut self, conn: Conn, receiving: bool) {
        match self.named(conn) {
            Some(Line::Connecting(connecting)) => connecting.receiving = receiving,
            Some(Line::Open(connection)) => connection.receiving = receiving,
            Some(Line::Failed) | None => {}
        }
    }

    /// The open connection at a place, with its generation and its waker.
    fn open(&mut self, index: u32) -> Option<(&mut Connection, u32, &Waker)> {
        match self.connections.get(index)? {
            (Line::Open(connection), generation, waker) => Some((connection, generation, waker)),
            _ => None,
        }
    }

    fn named(&mut self, conn: Conn) -> Option<&mut Line> {
        let (line, generation, _) = self.connections.get(conn.index)?;
        (generation == conn.generation).then_some(line)
    }

    fn take_line(&mut self, conn: Conn) -> Option<Line> {
        self.named(conn)?;
        self.connections.remove(conn.index)
    }

    /// Ends the pause of listeners: a descriptor is free.
    fn retry_accepts(&mut self) {
        if self.has_chores {
            for (index, door) in self.doors.iter_mut() {
                if door.retry_at.take().is_some() {
                    self.pending.push_back(Token::Door(index));
                }
            }
        }
    }
}

/// Tells how a send went on.
fn report(conn: Conn, output: Output, events: &mut Vec<Event>) {
    match output {
        Output::Done => events.push(Event::Sent { conn }),
        Output::Failed(error) => events.push(Event::Ended { conn, error: Some(error) }),
        Output::Waiting => {}
    }
}
