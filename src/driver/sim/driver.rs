//! The driver interface over the simulated network.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proto::io::{
    Conn, Detached, Driver, DriverStats, Event, Listener, Op, Piece, Pieces, Span, Udp, UdpOptions,
};
use proto::time::{NtpTime, Time};

use super::link::{Answer, Holder, Side};
use super::net::{Called, Departure, FREE_PORTS, Owner, Socket, State, Token};
use super::{Net, Wire};

/// Wall-clock time at the clock's origin: 14 November 2023.
const ORIGIN: Duration = Duration::from_secs(1_700_000_000);

/// Where drivers connect from that listen nowhere (RFC 5737).
const ANY_HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The same (RFC 3849).
const ANY_HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Reads of one connection in one turn.
const READS_A_TURN: usize = 4;

/// A driver on a simulated network.
#[derive(Debug)]
pub struct SimDriver {
    net: Net,
    host: usize,
    called: Arc<Called>,
    now: Time,
    queued: Vec<Op>,
    /// Connections that the next turn sends on their way.
    to_connect: Vec<usize>,
    connections: Vec<Slot>,
    udp: Vec<Option<SocketAddr>>,
    received: Vec<Bytes>,
    /// Name of the first buffer of this turn: names run on, so that a span of an earlier turn is found out.
    first_buffer: u32,
    stats: DriverStats,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    link: usize,
    side: Side,
    is_connecting: bool,
    /// Whether it could not be opened.
    has_failed: bool,
    is_receiving: bool,
    has_ended: bool,
    /// The send under way, as far as there was no room for it.
    sending: Option<VecDeque<Bytes>>,
    is_closed: bool,
}

/// A connection between two drivers, and the end that moves.
struct Loose(usize, Side);

impl SimDriver {
    pub(super) fn new(net: Net, host: usize, called: Arc<Called>) -> SimDriver {
        let now = net.now();
        SimDriver {
            net,
            host,
            called,
            now,
            queued: Vec::new(),
            to_connect: Vec::new(),
            connections: Vec::new(),
            udp: Vec::new(),
            received: Vec::new(),
            first_buffer: 0,
            stats: DriverStats::default(),
        }
    }

    fn start(&mut self, state: &mut State, op: Op, events: &mut Vec<Event>) {
        match op {
            Op::Send { conn, pieces } => self.send(state, conn, pieces, events),
            Op::SendTo { udp, to, piece, segment } => self.send_to(state, udp, to, &piece, segment),
            Op::Stop(conn) => {
                if let Some(connection) = self.named(conn) {
                    connection.is_receiving = false;
                }
            }
            Op::Resume(conn) => {
                if let Some(connection) = self.named(conn) {
                    connection.is_receiving = true;
                    state.make_ready(self.host, Token::Connection(conn.index));
                }
            }
            Op::Close(conn) => self.close(state, conn, events),
            Op::Detach(conn) => self.detach(state, conn, events),
            Op::CloseUdp(udp) => {
                if let Some(address) = self.udp.get_mut(udp.0 as usize).and_then(Option::take) {
                    state.sockets.remove(&address);
                }
            }
            Op::CloseListener(listener) => {
                if let Some(address) = state.hosts[self.host].listeners.get_mut(listener.0 as usize) {
                    *address = None;
                }
            }
        }
    }

    fn send(&mut self, state: &mut State, conn: Conn, pieces: Pieces, events: &mut Vec<Event>) {
        let Some(connection) = self.named(conn) else { return };
        assert!(!connection.is_connecting, "a send on {conn:?}, which is not open yet");
        assert!(connection.sending.is_none(), "one send at a time on {conn:?}");
        if connection.has_failed {
            return;
        }
        let bytes: VecDeque<_> = pieces.iter().map(joined).filter(|bytes| !bytes.is_empty()).collect();
        let wire = Wire(connection.link);
        for bytes in &bytes {
            state.note(|| Departure::Bytes { wire, bytes: bytes.clone() });
        }
        connection.sending = Some(bytes);
        self.go_on_sending(state, conn, events);
    }

    fn go_on_sending(&mut self, state: &mut State, conn: Conn, events: &mut Vec<Event>) {
        let Some(connection) = self.named(conn) else { return };
        let (link, side) = (connection.link, connection.side);
        let Some(bytes) = &mut connection.sending else { return };
        if state.links[link].end(side).reset_at.is_some_and(|at| at <= state.now) {
            connection.sending = None;
            if !mem::replace(&mut connection.has_ended, true) {
                events.push(Event::Ended { conn, error: Some(io::ErrorKind::BrokenPipe.into()) });
            }
            return;
        }
        if state.push(link, side, bytes) {
            connection.sending = None;
            events.push(Event::Sent { conn });
        }
    }

    fn send_to(&mut self, state: &mut State, udp: Udp, to: SocketAddr, piece: &Piece, segment: u16) {
        let Some(Some(from)) = self.udp.get(udp.0 as usize).copied() else { return };
        let mut bytes = joined(piece);
        assert!(segment > 0 || bytes.is_empty(), "datagrams of a train have a size");
        while !bytes.is_empty() {
            let datagram = bytes.split_to(usize::from(segment).min(bytes.len()));
            self.stats.datagrams += 1;
            let is_lost = state.send_datagram(from, to, &datagram);
            state.note(|| Departure::Datagram { from, to, bytes: datagram, is_lost });
        }
    }

    fn close(&mut self, state: &mut State, conn: Conn, events: &mut Vec<Event>) {
        let Some(connection) = self.named(conn) else { return };
        connection.is_closed = true;
        let (link, side) = (connection.link, connection.side);
        let end = state.links[link].end_mut(side);
        end.holder = None;
        end.is_waiting = false;
        state.note(|| Departure::Close { wire: Wire(link) });
        state.finish(link, side);
        if state.random.chance(state.weather.late_close) {
            state.make_ready(self.host, Token::Closed(conn.index));
        } else {
            self.closed(conn.index, events);
        }
    }

    fn closed(&mut self, index: u32, events: &mut Vec<Event>) {
        let slot = &mut self.connections[index as usize];
        events.push(Event::Closed { conn: Conn { index, generation: slot.generation } });
        slot.connection = None;
        slot.generation += 1;
    }

    fn detach(&mut self, state: &mut State, conn: Conn, events: &mut Vec<Event>) {
        let Some(connection) = self.named(conn) else { return };
        assert!(connection.sending.is_none(), "{conn:?} moves between two sends");
        assert!(!connection.is_connecting, "{conn:?} moves before it is open");
        if connection.has_failed {
            return;
        }
        let (link, side) = (connection.link, connection.side);
        let slot = &mut self.connections[conn.index as usize];
        slot.connection = None;
        slot.generation += 1;
        state.links[link].end_mut(side).holder = None;
        state.counts.moved += 1;
        events.push(Event::Detached { conn, socket: Detached(Box::new(Loose(link, side))) });
    }

    fn look(&mut self, state: &mut State, token: Token, events: &mut Vec<Event>) {
        match token {
            Token::Accept(listener, link) => self.accept(state, listener, link, events),
            Token::Connection(index) => {
                let generation = self.connections[index as usize].generation;
                let conn = Conn { index, generation };
                self.go_on_connecting(state, conn, events);
                self.go_on_sending(state, conn, events);
                self.receive(state, conn, events);
            }
            Token::Udp(index) => self.receive_datagrams(state, index, events),
            Token::Closed(index) => self.closed(index, events),
        }
    }

    fn accept(&mut self, state: &mut State, listener: Listener, link: usize, events: &mut Vec<Event>) {
        if state.random.chance(state.weather.refusal) {
            state.counts.refused += 1;
            events.push(Event::AcceptRefused { listener, error: io::Error::other("no descriptor is free") });
            state.make_ready(self.host, Token::Accept(listener, link));
            return;
        }
        let conn = self.add(state, link, Side::Server);
        let (peer, local) = (state.links[link].client.address, state.links[link].server.address);
        events.push(Event::Accepted { listener, conn, peer, local });
    }

    fn go_on_connecting(&mut self, state: &mut State, conn: Conn, events: &mut Vec<Event>) {
        let Some(connection) = self.named(conn).filter(|connection| connection.is_connecting) else { return };
        let link = &state.links[connection.link];
        let answer = link.answer(state.now);
        connection.is_connecting = answer == Answer::Awaited;
        match answer {
            Answer::Awaited => {}
            Answer::Taken => events.push(Event::Connected { conn, local: link.client.address }),
            Answer::Refused => {
                connection.has_ended = true;
                connection.has_failed = true;
                events.push(Event::Ended { conn, error: Some(io::ErrorKind::ConnectionRefused.into()) });
            }
        }
    }

    fn add(&mut self, state: &mut State, link: usize, side: Side) -> Conn {
        let free = self.connections.iter().position(|slot| slot.connection.is_none());
        let index = free.unwrap_or_else(|| {
            self.connections.push(Slot::default());
            self.connections.len() - 1
        });
        let slot = &mut self.connections[index];
        slot.connection = Some(Connection {
            link,
            side,
            is_connecting: false,
            has_failed: false,
            is_receiving: true,
            has_ended: false,
            sending: None,
            is_closed: false,
        });
        let conn = Conn { index: index as u32, generation: slot.generation };
        state.links[link].end_mut(side).holder = Some(Holder::Host(self.host, conn.index));
        state.make_ready(self.host, Token::Connection(conn.index));
        conn
    }

    fn receive(&mut self, state: &mut State, conn: Conn, events: &mut Vec<Event>) {
        let SimDriver { connections, received, first_buffer, host, .. } = self;
        let slot = connections.get_mut(conn.index as usize);
        let Some(connection) = slot.and_then(|slot| slot.connection.as_mut()) else { return };
        if connection.is_closed
            || connection.is_connecting
            || connection.has_ended
            || !connection.is_receiving
        {
            return;
        }
        let (now, link, side) = (state.now, connection.link, connection.side);
        if state.links[link].end(side).reset_at.is_some_and(|at| at <= now) {
            connection.has_ended = true;
            connection.sending = None;
            events.push(Event::Ended { conn, error: Some(io::ErrorKind::ConnectionReset.into()) });
            return;
        }
        for _ in 0..READS_A_TURN {
            let size_max = if state.random.chance(state.weather.split) {
                state.random.within(1..2_000)
            } else {
                64 * 1024
            };
            let Some(bytes) = state.read(link, side, size_max) else { break };
            let (buffer, size) = (*first_buffer + received.len() as u32, bytes.len() as u32);
            received.push(bytes);
            events.push(Event::Received { conn, span: Span { buffer, offset: 0, size } });
        }
        let pipe = &state.links[link].end(side).input;
        if pipe.is_readable() {
            state.make_ready(*host, Token::Connection(conn.index));
        } else if pipe.has_ended(now) {
            connection.has_ended = true;
            events.push(Event::Ended { conn, error: None });
        }
    }

    fn receive_datagrams(&mut self, state: &mut State, index: u32, events: &mut Vec<Event>) {
        let Some(Some(address)) = self.udp.get(index as usize) else { return };
        let Some(socket) = state.sockets.get_mut(address) else { return };
        while let Some((from, first)) = socket.inbox.pop_front() {
            let segment = first.len();
            let mut merged = BytesMut::from(&first[..]);
            // As the kernel does: those of one size that follow each other, and a shorter last one.
            while let Some((next_from, next)) = socket.inbox.front()
                && *next_from == from
                && next.len() <= segment
                && !next.is_empty()
                && merged.len() % segment.max(1) == 0
            {
                merged.extend_from_slice(next);
                socket.inbox.pop_front();
            }
            let buffer = self.first_buffer + self.received.len() as u32;
            let span = Span { buffer, offset: 0, size: merged.len() as u32 };
            self.received.push(merged.freeze());
            events.push(Event::Datagram { udp: Udp(index), from, span, segment: segment as u16 });
        }
    }

    /// The address that the driver connects from: its first listener's, so that it is one of the world's.
    fn own_ip(&self, state: &State, is_ipv4: bool) -> IpAddr {
        let mut listeners = state.hosts[self.host].listeners.iter().flatten().map(SocketAddr::ip);
        let own = listeners.find(|ip| ip.is_ipv4() == is_ipv4 && !ip.is_unspecified());
        own.unwrap_or(if is_ipv4 { ANY_HOST_V4 } else { ANY_HOST_V6 })
    }

    /// The connection of that name; None when it is gone or was closed.
    fn named(&mut self, conn: Conn) -> Option<&mut Connection> {
        let slot = self.connections.get_mut(conn.index as usize)?;
        if slot.generation != conn.generation {
            return None;
        }
        slot.connection.as_mut().filter(|connection| !connection.is_closed)
    }
}

impl Driver for SimDriver {
    fn name(&self) -> &'static str {
        "simulation"
    }

    fn now(&self) -> Time {
        self.now
    }

    fn wall(&self) -> NtpTime {
        NtpTime::from_unix(ORIGIN) + self.now.since(Time::ZERO)
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
        let listeners = &mut self.net.0.borrow_mut().hosts[self.host].listeners;
        listeners.push(Some(address));
        Ok((Listener(listeners.len() as u32 - 1), address))
    }

    fn bind(&mut self, address: SocketAddr, options: &UdpOptions) -> io::Result<(Udp, SocketAddr)> {
        if options.membership.is_some() {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the simulation has no multicast"));
        }
        let mut state = self.net.0.borrow_mut();
        let port = match address.port() {
            0 => FREE_PORTS.into_iter().find(|port| {
                let candidate = SocketAddr::new(address.ip(), *port);
                !state.sockets.contains_key(&candidate)
            }),
            port => Some(port),
        };
        let address = SocketAddr::new(address.ip(), port.ok_or(io::ErrorKind::AddrInUse)?);
        if state.sockets.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let index = self.udp.len() as u32;
        self.udp.push(Some(address));
        let socket = Socket { owner: Owner::Host(self.host, index), inbox: VecDeque::new() };
        state.sockets.insert(address, socket);
        Ok((Udp(index), address))
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<Conn> {
        let net = self.net.clone();
        let state = &mut *net.0.borrow_mut();
        let local = SocketAddr::new(self.own_ip(state, address.is_ipv4()), state.next_port());
        let link = state.open(local, address);
        let conn = self.add(state, link, Side::Client);
        if let Some(connection) = self.named(conn) {
            connection.is_connecting = true;
        }
        self.to_connect.push(link);
        Ok(conn)
    }

    fn attach(&mut self, socket: Detached) -> io::Result<Conn> {
        let loose = socket.0.downcast::<Loose>().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the connection comes from a driver of another kind")
        })?;
        let net = self.net.clone();
        Ok(self.add(&mut net.0.borrow_mut(), loose.0, loose.1))
    }

    fn submit(&mut self, op: Op) {
        self.queued.push(op);
    }

    fn turn(&mut self, until: Option<Time>, events: &mut Vec<Event>) -> io::Result<()> {
        let net = self.net.clone();
        let state = &mut *net.0.borrow_mut();
        self.now = state.now;
        self.first_buffer = self.first_buffer.wrapping_add(self.received.len() as u32);
        self.received.clear();
        self.stats.enters += 1;
        let before = events.len();
        let was_called = self.called.take();
        let ops = mem::take(&mut self.queued);
        let had_ops = !ops.is_empty() || !self.to_connect.is_empty();
        self.to_connect.drain(..).for_each(|link| state.send_connect(link));
        self.stats.submitted += ops.len() as u64;
        for op in ops {
            self.start(state, op, events);
        }
        for token in mem::take(&mut state.hosts[self.host].ready) {
            self.look(state, token, events);
        }
        let host = &mut state.hosts[self.host];
        host.until = until;
        host.rests =
            !had_ops && !was_called && events.len() == before && until.is_none_or(|until| until > state.now);
        Ok(())
    }

    fn bytes(&self, span: Span) -> &[u8] {
        let place = span.buffer.wrapping_sub(self.first_buffer) as usize;
        assert!(place < self.received.len(), "{span:?} is of an earlier turn");
        let start = span.offset as usize;
        &self.received[place][start..start + span.size as usize]
    }

    fn waker(&self) -> Waker {
        self.called.clone().into()
    }

    fn stats(&self) -> DriverStats {
        self.stats
    }
}

/// All bytes of a piece; a shared one is not copied.
fn joined(piece: &Piece) -> Bytes {
    match piece {
        Piece::Shared(bytes) => bytes.clone(),
        spliced => {
            let mut all = BytesMut::with_capacity(spliced.size());
            spliced.slices().for_each(|run| all.extend_from_slice(run));
            all.freeze()
        }
    }
}
