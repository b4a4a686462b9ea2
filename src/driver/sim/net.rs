//! The simulated network: a clock that stands until it is moved, connections, datagrams, and what is on its way.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proto::io::Listener;
use proto::time::Time;

use super::Wire;
use super::pipe::Pipe;
use super::random::Random;
use super::weather::{Counts, Weather};

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

/// A connection from a peer to a driver.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) to_server: Pipe,
    pub(super) to_client: Pipe,
    /// What the client has written and the pipe has no room for yet.
    pub(super) backlog: VecDeque<Bytes>,
    /// Whether the client closes its side behind the backlog.
    pub(super) is_finishing: bool,
    /// The driver that has it and its place there.
    pub(super) place: Option<(usize, u32)>,
    pub(super) is_refused: bool,
    /// When the client's reset arrives.
    pub(super) reset_at: Option<Time>,
    /// Whether the driver has a send under way that waits for room.
    pub(super) is_waiting: bool,
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
    AtServer(usize),
    AtClient(usize),
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

    pub(super) fn connect(&mut self, peer: Peer, client: SocketAddr, server: SocketAddr) -> usize {
        let bound = self.weather.pipe_bytes;
        self.links.push(Link {
            peer,
            client,
            server,
            to_server: Pipe::new(bound),
            to_client: Pipe::new(bound),
            backlog: VecDeque::new(),
            is_finishing: false,
            place: None,
            is_refused: false,
            reset_at: None,
            is_waiting: false,
        });
        let link = self.links.len() - 1;
        let at = self.arrival_time();
        self.schedule(at, Arrival::Connect(link));
        link
    }

    /// Writes what the client has in store, and its end behind it.
    pub(super) fn push_to_server(&mut self, link: usize) {
        while let Some(mut bytes) = self.links[link].backlog.pop_front() {
            let room = self.links[link].to_server.room();
            if room == 0 {
                self.links[link].backlog.push_front(bytes);
                return;
            }
            if bytes.len() > room {
                self.links[link].backlog.push_front(bytes.split_off(room));
            }
            for part in self.parts(bytes) {
                let at = self.arrival_time();
                let at = self.links[link].to_server.write(at, part);
                self.schedule(at, Arrival::AtServer(link));
            }
        }
        if self.links[link].is_finishing {
            let at = self.arrival_time();
            let at = self.links[link].to_server.finish(at);
            self.schedule(at, Arrival::AtServer(link));
        }
    }

    /// Writes as much as there is room for; what is left stays in `bytes`. True when all of it was written.
    pub(super) fn push_to_client(&mut self, link: usize, bytes: &mut VecDeque<Bytes>) -> bool {
        let mut at = self.arrival_time();
        let mut scheduled = None;
        while let Some(mut first) = bytes.pop_front() {
            let room = self.links[link].to_client.room();
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
                at = self.links[link].to_client.write(at, part);
                if scheduled != Some(at) {
                    self.schedule(at, Arrival::AtClient(link));
                    scheduled = Some(at);
                }
            }
        }
        let is_written = bytes.is_empty();
        if !is_written && !self.links[link].is_waiting {
            self.counts.waited += 1;
        }
        self.links[link].is_waiting = !is_written;
        is_written
    }

    pub(super) fn finish_to_client(&mut self, link: usize) {
        let at = self.arrival_time();
        let at = self.links[link].to_client.finish(at);
        self.schedule(at, Arrival::AtClient(link));
    }

    pub(super) fn reset_by_client(&mut self, link: usize) {
        let at = self.arrival_time();
        self.links[link].reset_at = Some(at);
        self.counts.reset += 1;
        self.schedule(at, Arrival::AtServer(link));
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
            Arrival::Connect(link) => self.accept(link),
            Arrival::AtServer(index) => {
                let link = &mut self.links[index];
                link.to_server.land(now);
                if let Some((host, place)) = link.place {
                    self.make_ready(host, Token::Connection(place));
                }
            }
            Arrival::AtClient(index) => {
                let link = &mut self.links[index];
                link.to_client.land(now);
                let peer = link.peer;
                self.touch(peer);
            }
            Arrival::Datagram(place) => {
                let Some(datagram) = self.datagrams[place].take() else { return };
                self.free.push(place);
                self.deliver(datagram);
            }
        }
    }

    /// A listener of any driver takes a connection, as the kernel spreads them.
    fn accept(&mut self, index: usize) {
        let server = self.links[index].server;
        let mut listeners = Vec::new();
        for (host, state) in self.hosts.iter().enumerate() {
            let own = state.listeners.iter().enumerate().filter(|(_, address)| **address == Some(server));
            listeners.extend(own.map(|(place, _)| (host, Listener(place as u32))));
        }
        if listeners.is_empty() {
            self.links[index].is_refused = true;
            self.touch(self.links[index].peer);
            return;
        }
        let (host, listener) = *self.random.pick(&listeners);
        self.make_ready(host, Token::Accept(listener, index));
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
