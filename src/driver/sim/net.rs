//! The simulated network: a clock that stands until it is moved, connections, datagrams, and what is on its way.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proto::io::Listener;
use proto::time::Time;

use super::link::{Answer, End, Holder, Link, Side};
use super::random::Random;
use super::weather::{Counts, Weather};
use super::{Door, Wire};

/// Ports for those who ask for any.
pub(super) const FREE_PORTS: std::ops::Range<u16> = 49_152..65_535;

/// Everything between the drivers and their peers.
#[derive(Debug)]
pub(super) struct State {
    pub(super) now: Time,
    pub(super) random: Random,
    pub(super) weather: Weather,
    pub(super) counts: Counts,
    pub(super) hosts: Vec<Host>,
    pub(super) links: Vec<Link>,
    pub(super) sockets: HashMap<SocketAddr, Socket>,
    pub(super) departures: Option<Vec<Departure>>,
    pub(super) touched: VecDeque<Peer>,
    /// Addresses of peers that take connections, or never answer.
    pub(super) doors: HashMap<SocketAddr, Door>,
    /// Connections that peers' doors have taken and no one has asked for.
    pub(super) taken: VecDeque<(Peer, Wire)>,
    next_port: u16,
    schedule: BinaryHeap<Reverse<(Time, u64, Arrival)>>,
    datagrams: Vec<Option<Datagram>>,
    free: Vec<usize>,
    last_arrivals: HashMap<(SocketAddr, SocketAddr), Time>,
    order: u64,
}

/// A peer of the drivers: whoever drives the simulation numbers them.
pub type Peer = u32;

/// What a driver shares with the network.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) listeners: Vec<Option<SocketAddr>>,
    pub(super) ready: VecDeque<Token>,
    pub(super) called: Arc<Called>,
    /// When the driver's owner wants its next turn; None for never.
    pub(super) until: Option<Time>,
    /// Whether nothing happened in the last turn, so that `until` holds.
    pub(super) rests: bool,
}

/// Where a driver must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Accept(Listener, usize),
    Connection(u32),
    Udp(u32),
    Closed(u32),
}

/// Whether a waker was used.
#[derive(Debug, Default)]
pub(super) struct Called(AtomicBool);

impl Called {
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl std::task::Wake for Called {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A UDP socket of a driver or of a peer.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) owner: Owner,
    pub(super) inbox: VecDeque<(SocketAddr, Bytes)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    Host(usize, u32),
    Peer(Peer),
}

/// Something that a driver's owner sent, at the moment of sending.
#[derive(Clone, Debug)]
pub enum Departure {
    /// A datagram.
    Datagram {
        /// The driver's socket.
        from: SocketAddr,
        /// The target.
        to: SocketAddr,
        /// All of it.
        bytes: Bytes,
        /// Whether the network loses it.
        is_lost: bool,
    },
    /// Bytes on a connection, of one piece of a send.
    Bytes {
        /// Which connection.
        wire: Wire,
        /// The piece.
        bytes: Bytes,
    },
    /// The close of a connection.
    Close {
        /// Which one.
        wire: Wire,
    },
}

#[derive(Debug)]
struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Arrival {
    Connect(usize),
    Answer(usize),
    At(usize, Side),
    Datagram(usize),
}

impl State {
    pub(super) fn new(seed: u64, weather: Weather) -> State {
        State {
            now: Time::from_millis(1_000),
            random: Random::new(seed),
            weather,
            counts: Counts::default(),
            hosts: Vec::new(),
            links: Vec::new(),
            sockets: HashMap::new(),
            departures: None,
            touched: VecDeque::new(),
            doors: HashMap::new(),
            taken: VecDeque::new(),
            next_port: FREE_PORTS.start,
            schedule: BinaryHeap::new(),
            datagrams: Vec::new(),
            free: Vec::new(),
            last_arrivals: HashMap::new(),
            order: 0,
        }
    }

    /// When the next thing arrives.
    pub(super) fn next_arrival(&self) -> Option<Time> {
        self.schedule.peek().map(|Reverse((at, ..))| *at)
    }

    /// Moves the clock and lands what arrives by then.
    pub(super) fn advance_to(&mut self, to: Time) {
        while let Some(Reverse((at, _, arrival))) = self.schedule.peek().copied() {
            if at > to {
                break;
            }
            self.schedule.pop();
            self.now = self.now.max(at);
            self.arrive(arrival);
        }
        self.now = self.now.max(to);
    }

    /// Whether a driver's turn would do something.
    pub(super) fn is_busy(&self, host: usize) -> bool {
        let host = &self.hosts[host];
        !host.rests
            || host.called.is_set()
            || !host.ready.is_empty()
            || host.until.is_some_and(|until| until <= self.now)
    }

    /// A connection that is not on its way yet.
    pub(super) fn open(&mut self, client: SocketAddr, server: SocketAddr) -> usize {
        let bound_bytes = self.weather.pipe_bytes;
        self.links.push(Link::new(End::new(client, bound_bytes), End::new(server, bound_bytes)));
        self.links.len() - 1
    }

    /// Sends a connection on its way.
    pub(super) fn send_connect(&mut self, link: usize) {
        let at = self.arrival_time();
        self.schedule(at, Arrival::Connect(link));
    }

    /// A port for a driver that connects. They come round again after 16,000 connections.
    pub(super) fn next_port(&mut self) -> u16 {
        let port = self.next_port;
        self.next_port = if port + 1 < FREE_PORTS.end { port + 1 } else { FREE_PORTS.start };
        port
    }

    /// Writes what a peer at one end has in store, and its end behind it.
    pub(super) fn push_backlog(&mut self, link: usize, from: Side) {
        let to = from.other();
        while let Some(mut bytes) = self.links[link].end_mut(from).backlog.pop_front() {
            let room = self.links[link].end(to).input.room();
            if room == 0 {
                self.links[link].end_mut(from).backlog.push_front(bytes);
                return;
            }
            if bytes.len() > room {
                self.links[link].end_mut(from).backlog.push_front(bytes.split_off(room));
            }
            for part in self.parts(bytes) {
                let at = self.arrival_time();
                let at = self.links[link].end_mut(to).input.write(at, part);
                self.schedule(at, Arrival::At(link, to));
            }
        }
        if self.links[link].end(from).is_finishing {
            self.finish(link, from);
        }
    }

    /// Writes as much as there is room for; what is left stays in `bytes`. True when all of it was written.
    pub(super) fn push(&mut self, link: usize, from: Side, bytes: &mut VecDeque<Bytes>) -> bool {
        let to = from.other();
        let mut at = self.arrival_time();
        let mut scheduled = None;
        while let Some(mut first) = bytes.pop_front() {
            let room = self.links[link].end(to).input.room();
            if room == 0 {
                bytes.push_front(first);
                break;
            }
            if first.len() > room {
                bytes.push_front(first.split_off(room));
            }
            for (index, part) in self.parts(first).enumerate() {
                if index > 0 {
                    at = self.arrival_time();
                }
                at = self.links[link].end_mut(to).input.write(at, part);
                if scheduled != Some(at) {
                    self.schedule(at, Arrival::At(link, to));
                    scheduled = Some(at);
                }
            }
        }
        let is_written = bytes.is_empty();
        let end = self.links[link].end_mut(from);
        if !is_written && !end.is_waiting {
            self.counts.waited += 1;
        }
        end.is_waiting = !is_written;
        is_written
    }

    /// Reads at most `size_max` bytes of what has arrived at an end, and lets the other end write again; None when
    /// nothing has arrived.
    pub(super) fn read(&mut self, link: usize, side: Side, size_max: usize) -> Option<Bytes> {
        let bytes = self.links[link].end_mut(side).input.read(size_max)?;
        let other = self.links[link].end(side.other());
        match other.holder {
            Some(Holder::Host(host, place)) if other.is_waiting => {
                self.make_ready(host, Token::Connection(place));
            }
            Some(Holder::Peer(_)) => self.push_backlog(link, side.other()),
            _ => {}
        }
        Some(bytes)
    }

    /// Ends what one end writes, behind all that it has written.
    pub(super) fn finish(&mut self, link: usize, from: Side) {
        let at = self.arrival_time();
        let at = self.links[link].end_mut(from.other()).input.finish(at);
        self.schedule(at, Arrival::At(link, from.other()));
    }

    pub(super) fn reset(&mut self, link: usize, from: Side) {
        let at = self.arrival_time();
        self.links[link].end_mut(from.other()).reset_at = Some(at);
        self.counts.reset += 1;
        self.schedule(at, Arrival::At(link, from.other()));
    }

    /// Sends a datagram; true when the network loses it.
    pub(super) fn send_datagram(&mut self, from: SocketAddr, to: SocketAddr, bytes: &Bytes) -> bool {
        let is_lost = self.random.chance(self.weather.loss);
        if is_lost {
            self.counts.lost += 1;
            return true;
        }
        let is_doubled = self.random.chance(self.weather.duplication);
        self.counts.duplicated += u64::from(is_doubled);
        for _ in 0..=u8::from(is_doubled) {
            let at = self.arrival_time();
            let last = self.last_arrivals.entry((from, to)).or_default();
            self.counts.reordered += u64::from(at < *last);
            *last = at.max(*last);
            let datagram = Datagram { from, to, bytes: bytes.clone() };
            let place = match self.free.pop() {
                Some(place) => place,
                None => {
                    self.datagrams.push(None);
                    self.datagrams.len() - 1
                }
            };
            self.datagrams[place] = Some(datagram);
            self.schedule(at, Arrival::Datagram(place));
        }
        false
    }

    /// Notes what a driver's owner has sent, if anyone wants to know.
    pub(super) fn note(&mut self, departure: impl FnOnce() -> Departure) {
        if let Some(departures) = &mut self.departures {
            departures.push(departure());
        }
    }

    /// Tells a driver to look at something.
    pub(super) fn make_ready(&mut self, host: usize, token: Token) {
        let ready = &mut self.hosts[host].ready;
        if !ready.contains(&token) {
            ready.push_back(token);
        }
    }

    fn touch(&mut self, peer: Peer) {
        if !self.touched.contains(&peer) {
            self.touched.push_back(peer);
        }
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Connect(link) => self.take(link),
            Arrival::Answer(link) => self.tell(link, Side::Client),
            Arrival::At(link, side) => {
                self.links[link].end_mut(side).input.land(now);
                self.tell(link, side);
            }
            Arrival::Datagram(place) => {
                let Some(datagram) = self.datagrams[place].take() else { return };
                self.free.push(place);
                self.deliver(datagram);
            }
        }
    }

    /// Has whoever has an end look at it.
    fn tell(&mut self, link: usize, side: Side) {
        match self.links[link].end(side).holder {
            Some(Holder::Host(host, place)) => self.make_ready(host, Token::Connection(place)),
            Some(Holder::Peer(peer)) => self.touch(peer),
            None => {}
        }
    }

    /// A peer's door, or a listener of any driver, takes a connection, as the kernel spreads them.
    fn take(&mut self, index: usize) {
        if self.links[index].client.holder.is_none() {
            // Closed while it was on its way.
            return;
        }
        let server = self.links[index].server.address;
        match self.doors.get(&server).copied() {
            Some(Door::Silent) => {
                self.counts.unanswered += 1;
                return;
            }
            Some(Door::Open(peer)) => {
                self.links[index].server.holder = Some(Holder::Peer(peer));
                self.taken.push_back((peer, Wire(index)));
                self.touch(peer);
                return self.answer(index, Answer::Taken);
            }
            Some(Door::Shut) | None => {}
        }
        let mut listeners = Vec::new();
        for (host, state) in self.hosts.iter().enumerate() {
            let own = state.listeners.iter().enumerate().filter(|(_, address)| **address == Some(server));
            listeners.extend(own.map(|(place, _)| (host, Listener(place as u32))));
        }
        if listeners.is_empty() {
            return self.answer(index, Answer::Refused);
        }
        let (host, listener) = *self.random.pick(&listeners);
        self.make_ready(host, Token::Accept(listener, index));
        self.answer(index, Answer::Taken);
    }

    /// Sends the client its answer. A peer knows it at once, and needs none where it may write at once.
    fn answer(&mut self, index: usize, answer: Answer) {
        self.links[index].answer = answer;
        match self.links[index].client.holder {
            Some(Holder::Peer(peer)) => {
                self.links[index].answered_at = Some(self.now);
                if answer == Answer::Refused {
                    self.touch(peer);
                }
            }
            _ => {
                let at = self.arrival_time();
                self.links[index].answered_at = Some(at);
                self.schedule(at, Arrival::Answer(index));
            }
        }
    }

    fn deliver(&mut self, datagram: Datagram) {
        let Some(socket) = self.sockets.get_mut(&datagram.to) else {
            self.counts.unreachable += 1;
            return;
        };
        socket.inbox.push_back((datagram.from, datagram.bytes));
        match socket.owner {
            Owner::Host(host, place) => self.make_ready(host, Token::Udp(place)),
            Owner::Peer(peer) => self.touch(peer),
        }
    }

    fn parts(&mut self, mut bytes: Bytes) -> impl Iterator<Item = Bytes> + use<> {
        let is_split = bytes.len() > 1 && self.random.chance(self.weather.split);
        self.counts.split += u64::from(is_split);
        let rest = is_split.then(|| bytes.split_off(self.random.within(1..bytes.len())));
        std::iter::once(bytes).chain(rest)
    }

    fn arrival_time(&mut self) -> Time {
        let mut latency = self.random.time(&self.weather.latency);
        if self.weather.delay > 0.0 && self.random.chance(self.weather.delay) {
            latency += self.random.time(&self.weather.hold);
            self.counts.delayed += 1;
        }
        self.now + latency
    }

    fn schedule(&mut self, at: Time, arrival: Arrival) {
        self.order += 1;
        self.schedule.push(Reverse((at, self.order, arrival)));
    }
}
