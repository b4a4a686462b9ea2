//! A connection of the simulated network: two ends, and a pipe towards each.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use proto::time::Time;

use super::net::Peer;
use super::pipe::Pipe;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// The one that connects.
    Client,
    /// The one that listens.
    Server,
}

impl Side {
    pub(super) fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// Who has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Whoever drives the simulation.
    Peer(Peer),
    /// A driver, and its place there.
    Host(usize, u32),
}

/// How the attempt to connect stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nobody has answered.
    Awaited,
    /// Someone listens.
    Taken,
    /// Nobody listens.
    Refused,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: End,
    pub(super) server: End,
    /// What the server has said; known to the client from `answered_at` on.
    pub(super) answer: Answer,
    pub(super) answered_at: Option<Time>,
}

/// One end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) address: SocketAddr,
    /// None before it was accepted and after it was closed.
    pub(super) holder: Option<Holder>,
    /// What arrives here.
    pub(super) input: Pipe,
    /// What a peer has written and the other pipe has no room for yet.
    pub(super) backlog: VecDeque<Bytes>,
    /// Whether a peer closes its side behind the backlog.
    pub(super) is_finishing: bool,
    /// When the other end's reset arrives.
    pub(super) reset_at: Option<Time>,
    /// Whether a driver has a send under way that waits for room.
    pub(super) is_waiting: bool,
}

impl Link {
    pub(super) fn new(client: End, server: End) -> Link {
        Link { client, server, answer: Answer::Awaited, answered_at: None }
    }

    pub(super) fn end(&self, side: Side) -> &End {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// The end that a peer has. Between two drivers no one asks.
    pub(super) fn peers_side(&self) -> Side {
        match self.client.holder {
            Some(Holder::Peer(_)) => Side::Client,
            _ => Side::Server,
        }
    }

    /// What the client has been told by now.
    pub(super) fn answer(&self, now: Time) -> Answer {
        if self.answered_at.is_some_and(|at| at <= now) { self.answer } else { Answer::Awaited }
    }
}

impl End {
    pub(super) fn new(address: SocketAddr, bound_bytes: usize) -> End {
        End {
            address,
            holder: None,
            input: Pipe::new(bound_bytes),
            backlog: VecDeque::new(),
            is_finishing: false,
            reset_at: None,
            is_waiting: false,
        }
    }
}
