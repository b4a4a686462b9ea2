//! A driver in memory: sockets, clocks and faults that a seed decides, for the simulation of whole shards.
//!
//! [`Net`] is the world's side: it moves the clock, opens connections and sends datagrams as peers do. Each shard
//! gets a [`SimDriver`] of it. [`SimDriver`]'s turn never waits; it notes until when it would have waited, and
//! [`Net::wants_turn`] tells whether that time has come.
//!
//! What a driver's owner may not do ends in a panic: a second send on a connection that has one under way, a span of
//! an earlier turn, a connection given away in the middle of a send.

mod driver;
mod net;
mod pipe;
mod random;
mod weather;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use proto::time::Time;

pub use driver::SimDriver;
pub use net::{Departure, Peer};
use net::{Host, Owner, Socket, State, Token};
pub use random::Random;
pub use weather::{Counts, Weather};

/// The network, shared by its drivers and by whoever plays the peers.
#[derive(Clone, Debug)]
pub struct Net(Rc<RefCell<State>>);

/// Names a connection that a peer opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wire(usize);

/// How a connection stands, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is there, or on its way.
    Open,
    /// Nobody listens at its address.
    Refused,
    /// The server has closed it and everything before that was read.
    Ended,
}

impl Net {
    /// A network whose faults follow from `seed`.
    pub fn new(seed: u64, weather: Weather) -> Net {
        Net(Rc::new(RefCell::new(State::new(seed, weather))))
    }

    /// A driver on this network.
    pub fn driver(&self) -> SimDriver {
        let (host, called) = {
            let hosts = &mut self.0.borrow_mut().hosts;
            let host = Host::default();
            let called = host.called.clone();
            hosts.push(host);
            (hosts.len() - 1, called)
        };
        SimDriver::new(self.clone(), host, called)
    }

    /// The clock.
    pub fn now(&self) -> Time {
        self.0.borrow().now
    }

    /// Moves the clock forward and lets arrive what was under way until then.
    pub fn advance_to(&self, to: Time) {
        self.0.borrow_mut().advance_to(to);
    }

    /// When the next bytes or datagrams arrive somewhere; None when nothing is under way.
    pub fn next_arrival(&self) -> Option<Time> {
        self.0.borrow().next_arrival()
    }

    /// Whether a turn of the driver that was made as number `host`, counted from 0, would do something.
    pub fn wants_turn(&self, host: usize) -> bool {
        self.0.borrow().is_busy(host)
    }

    /// When that driver's owner wants a turn at the latest; None for never.
    pub fn turn_due(&self, host: usize) -> Option<Time> {
        self.0.borrow().hosts[host].until
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        self.0.borrow_mut().weather = weather;
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.0.borrow().counts
    }

    /// The peers that have something to read since they were last asked for, one after the other.
    pub fn next_touched(&self) -> Option<Peer> {
        self.0.borrow_mut().touched.pop_front()
    }

    /// Keeps what drivers' owners send from here on for [`Net::take_departures`].
    pub fn keep_departures(&self) {
        self.0.borrow_mut().departures.get_or_insert_default();
    }

    /// What drivers' owners sent since the last call, in the order of sending.
    pub fn take_departures(&self) -> Vec<Departure> {
        self.0.borrow_mut().departures.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// What peers do on connections.
impl Net {
    /// Opens a connection from `client` to `server`; writing is possible at once.
    pub fn connect(&self, peer: Peer, client: SocketAddr, server: SocketAddr) -> Wire {
        Wire(self.0.borrow_mut().connect(peer, client, server))
    }

    /// Writes to the server. What the connection cannot hold waits at the client.
    pub fn write(&self, wire: Wire, bytes: Bytes) {
        let mut state = self.0.borrow_mut();
        state.links[wire.0].backlog.push_back(bytes);
        state.push_to_server(wire.0);
    }

    /// Reads at most `size_max` bytes of what has arrived; None when nothing has.
    pub fn read(&self, wire: Wire, size_max: usize) -> Option<Bytes> {
        let mut state = self.0.borrow_mut();
        let link = &mut state.links[wire.0];
        let bytes = link.to_client.read(size_max)?;
        if let (true, Some((host, place))) = (link.is_waiting, link.place) {
            state.make_ready(host, Token::Connection(place));
        }
        Some(bytes)
    }

    /// How a connection stands.
    pub fn status(&self, wire: Wire) -> Status {
        let state = self.0.borrow();
        let link = &state.links[wire.0];
        if link.is_refused {
            Status::Refused
        } else if link.to_client.has_ended(state.now) {
            Status::Ended
        } else {
            Status::Open
        }
    }

    /// Closes the client's side behind what was written.
    pub fn finish(&self, wire: Wire) {
        let mut state = self.0.borrow_mut();
        state.links[wire.0].is_finishing = true;
        state.push_to_server(wire.0);
    }

    /// Breaks the connection: the server sees a reset.
    pub fn reset(&self, wire: Wire) {
        self.0.borrow_mut().reset_by_client(wire.0);
    }

    /// How many UDP sockets the drivers have open.
    pub fn sockets_of_drivers(&self) -> usize {
        let state = self.0.borrow();
        state.sockets.values().filter(|socket| matches!(socket.owner, Owner::Host(..))).count()
    }

    /// Whether the server has let go of a connection.
    pub fn is_released(&self, wire: Wire) -> bool {
        self.0.borrow().links[wire.0].place.is_none()
    }
}

/// What peers do with datagrams.
impl Net {
    /// Opens a UDP socket; false when the address is taken.
    pub fn bind(&self, peer: Peer, address: SocketAddr) -> bool {
        let mut state = self.0.borrow_mut();
        if state.sockets.contains_key(&address) {
            return false;
        }
        state.sockets.insert(address, Socket { owner: Owner::Peer(peer), inbox: Default::default() });
        true
    }

    /// Closes a UDP socket: what comes for it is unreachable.
    pub fn unbind(&self, address: SocketAddr) {
        self.0.borrow_mut().sockets.remove(&address);
    }

    /// Sends a datagram to a driver; whether the network loses it.
    pub fn send_to(&self, from: SocketAddr, to: SocketAddr, bytes: Bytes) -> bool {
        self.0.borrow_mut().send_datagram(from, to, &bytes)
    }

    /// The next datagram that has come for a peer's socket, with its sender.
    pub fn receive(&self, address: SocketAddr) -> Option<(SocketAddr, Bytes)> {
        self.0.borrow_mut().sockets.get_mut(&address)?.inbox.pop_front()
    }
}
