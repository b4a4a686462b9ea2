//! A driver in memory: sockets, clocks and faults that a seed decides, for the simulation of whole shards.
//!
//! [`Net`] is the world's side: it moves the clock, opens connections and sends datagrams as peers do. Each shard
//! gets a [`SimDriver`] of it. [`SimDriver`]'s turn never waits; it notes until when it would have waited, and
//! [`Net::wants_turn`] tells whether that time has come.
//!
//! What a driver's owner may not do ends in a panic: a second send on a connection that has one under way, a span of
//! an earlier turn, a connection given away in the middle of a send.

mod driver;
mod link;
mod net;
mod pipe;
mod random;
#[cfg(test)]
mod tests;
mod weather;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use proto::time::Time;

pub use driver::SimDriver;
use link::{Answer, Holder};
pub use net::{Departure, Peer};
use net::{Host, Owner, Socket, State};
pub use random::Random;
pub use weather::{Counts, Weather};

/// The network, shared by its drivers and by whoever plays the peers.
#[derive(Clone, Debug)]
pub struct Net(Rc<RefCell<State>>);

/// Names a connection that a peer opened or took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wire(usize);

/// What becomes of connections to an address of a peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The peer takes them: [`Net::accept`].
    Open(Peer),
    /// Nobody ever answers, as where a host is down.
    Silent,
    /// They are refused, as everywhere where nobody listens.
    Shut,
}

/// How a connection stands, as its peer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is there, or on its way.
    Open,
    /// Nobody listens at its address.
    Refused,
    /// The other end has closed it and everything before that was read.
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
        let mut state = self.0.borrow_mut();
        let link = state.open(client, server);
        state.links[link].client.holder = Some(Holder::Peer(peer));
        state.send_connect(link);
        Wire(link)
    }

    /// Says what becomes of connections to `address` from here on; a listener of a driver there gets none before it is shut.
    pub fn set_door(&self, address: SocketAddr, door: Door) {
        self.0.borrow_mut().doors.insert(address, door);
    }

    /// The next connection that a door of the peer has taken, with the address that it comes from.
    pub fn accept(&self, peer: Peer) -> Option<(Wire, SocketAddr)> {
        let mut state = self.0.borrow_mut();
        let index = state.taken.iter().position(|(by, _)| *by == peer)?;
        let (_, wire) = state.taken.remove(index)?;
        Some((wire, state.links[wire.0].client.address))
    }

    /// Writes to the driver. What the connection cannot hold waits at the peer.
    pub fn write(&self, wire: Wire, bytes: Bytes) {
        let mut state = self.0.borrow_mut();
        let side = state.links[wire.0].peers_side();
        state.links[wire.0].end_mut(side).backlog.push_back(bytes);
        state.push_backlog(wire.0, side);
    }

    /// Reads at most `size_max` bytes of what has arrived; None when nothing has.
    pub fn read(&self, wire: Wire, size_max: usize) -> Option<Bytes> {
        let mut state = self.0.borrow_mut();
        let side = state.links[wire.0].peers_side();
        state.read(wire.0, side, size_max)
    }

    /// How a connection stands.
    pub fn status(&self, wire: Wire) -> Status {
        let state = self.0.borrow();
        let link = &state.links[wire.0];
        if link.answer(state.now) == Answer::Refused {
            Status::Refused
        } else if link.end(link.peers_side()).input.has_ended(state.now) {
            Status::Ended
        } else {
            Status::Open
        }
    }

    /// Closes the peer's side behind what was written.
    pub fn finish(&self, wire: Wire) {
        let mut state = self.0.borrow_mut();
        let side = state.links[wire.0].peers_side();
        state.links[wire.0].end_mut(side).is_finishing = true;
        state.push_backlog(wire.0, side);
    }

    /// Breaks the connection: the driver sees a reset.
    pub fn reset(&self, wire: Wire) {
        let mut state = self.0.borrow_mut();
        let side = state.links[wire.0].peers_side();
        state.reset(wire.0, side);
    }

    /// How many UDP sockets the drivers have open.
    pub fn sockets_of_drivers(&self) -> usize {
        let state = self.0.borrow();
        state.sockets.values().filter(|socket| matches!(socket.owner, Owner::Host(..))).count()
    }

    /// Whether the driver has let go of a connection.
    pub fn is_released(&self, wire: Wire) -> bool {
        let link = &self.0.borrow().links[wire.0];
        link.end(link.peers_side().other()).holder.is_none()
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
