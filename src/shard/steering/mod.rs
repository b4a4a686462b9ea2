//! What lies between a shard and those who see and steer the server: connections that it only passes on, questions, and
//! what it tells of its own accord.

mod answer;
mod survey;
mod tap;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use proto::io::Conn;

pub use super::accounts::Account;
use super::inbox::{Message, Outside};
use super::session::SessionId;
pub use survey::{
    ProxyReport, PublicationReport, Question, Reply, SessionKind, SessionReport, ShardStreams, StreamState,
    Totals,
};

/// Bytes of answers that one connection may have on their way to its client: further ones wait with who makes them.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Who serves the API and metrics. Every call returns at once.
pub trait Steering: Send + Sync + fmt::Debug {
    /// Takes a connection over that asks for one of these; None when there are as many as there may be.
    fn take(&self, caller: Caller, back: WayBack) -> Option<Box<dyn WayIn>>;

    /// Whether anybody wants to hear what happens.
    fn is_heard(&self) -> bool;

    /// Tells what has happened.
    fn tell(&self, happening: Happening);
}

/// How what a client says reaches who serves it. Dropped when the connection is gone.
pub trait WayIn: Send + fmt::Debug {
    /// Passes on what has come; false when nobody listens any more.
    fn hear(&self, heard: Heard) -> bool;
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The client's address.
    pub peer: SocketAddr,
    /// Whether the client is on this machine.
    pub is_local: bool,
    /// Whether nobody on the way can read what is said.
    pub is_private: bool,
}

/// What is heard of a client.
#[derive(Debug)]
pub enum Heard {
    /// The next bytes of its requests. Whoever has taken them says so by [`Said::Took`].
    Bytes(Bytes),
    /// So many bytes of answers have left.
    Left(usize),
    /// It has said all; it may still read.
    End,
}

/// What is said to a client.
#[derive(Debug)]
pub enum Said {
    /// The next bytes of answers: with those that have not left yet [`ANSWER_BYTES_MAX`] at most.
    Bytes(Bytes),
    /// So many bytes of what it said are taken.
    Took(usize),
    /// That is all: the connection is closed when it has left.
    End,
}

/// The way to one client.
#[derive(Clone, Debug)]
pub struct WayBack {
    outside: Outside,
    conn: Conn,
}

impl WayBack {
    /// To a client of that shard.
    pub fn new(outside: Outside, conn: Conn) -> WayBack {
        WayBack { outside, conn }
    }

    /// Says something to it. Of a client that is gone, or whose shard has ended, nobody hears.
    pub fn say(&self, said: Said) {
        self.outside.send(Message::Said(self.conn, said));
    }
}

/// Something that those who watch the server want to know.
#[derive(Clone, Debug)]
pub enum Happening {
    /// A session has begun.
    SessionBegan {
        /// Which one.
        id: SessionId,
        /// The client.
        peer: SocketAddr,
        /// The mount's path, without the slash before it.
        path: String,
        /// How its media travels.
        transport: &'static str,
        /// Whether its client publishes.
        kind: SessionKind,
    },
    /// A session has ended.
    SessionEnded {
        /// Which one.
        id: SessionId,
        /// The client.
        peer: SocketAddr,
        /// The mount's path, without the slash before it.
        path: String,
        /// How long it was there.
        duration: Duration,
        /// Bytes of media that were sent, or received.
        bytes: u64,
        /// Why, for people.
        reason: String,
    },
    /// A client publishes under a path from now on, or does no longer.
    Published {
        /// The path, without the slash before it.
        path: String,
        /// Whether it is there.
        is_there: bool,
    },
    /// A stream that is pulled has come, or is gone.
    Proxy {
        /// The path, without the slash before it.
        path: String,
        /// Why it is not there; None when it is.
        failure: Option<String>,
    },
    /// A device has come, or is gone.
    Device {
        /// The path that it is streamed under, as it stands in a URL.
        path: String,
        /// What the system calls it.
        description: String,
        /// Whether it is there.
        is_there: bool,
    },
}
