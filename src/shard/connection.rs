//! One RTSP connection: what was received and not yet answered, and what waits to leave.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};
use proto::io::{Conn, Piece, Pieces};
use proto::proxy_protocol::HeaderReader;
use proto::rtsp::message::{Request, Response};
use proto::rtsp::parse::{Limits, Parser};
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;
use proto::time::Time;
use smallvec::SmallVec;
use std::sync::Arc;

use super::announce::Announced;
use super::door::Door;
use super::gate::Login;
use super::hooks::Visit;
use super::limits::Place;
use super::multicast;
use super::protect::ToldKeys;
use super::secure::Secure;
use super::session::SessionKey;
use super::settings::PortKind;
use super::talk::Asked;
use crate::media::library::{FileInfo, Ticket};
use crate::stream::catalog::{Description, ShardIndex};

/// Input beyond this waits in the kernel until the request before it is answered.
pub const PENDING_BYTES_MAX: usize = 64 * 1024;

/// Replies and reports beyond this stop the reading of further requests.
pub const OUT_BYTES_MAX: usize = 64 * 1024;

/// Pieces of one send that are not media.
const PIECES_MAX: usize = 16;

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Its name at the driver.
    pub conn: Conn,
    /// The client's address.
    pub peer: SocketAddr,
    /// The proxy that it came by; None when the client itself connected.
    pub forwarder: Option<SocketAddr>,
    /// Reads on whose behalf a proxy connects; None when that is known.
    pub preface: Option<Box<HeaderReader>>,
    /// Its place among all connections.
    pub place: Option<Place>,
    /// What it is to the web services; None where there are none.
    pub visit: Option<Box<Visit>>,
    /// The address it connected to: datagrams of its sessions leave from there.
    pub local: SocketAddr,
    /// Which of our ports that is.
    pub port: PortKind,
    /// How RTSP travels on it.
    pub door: Door,
    /// Its keys; None on a plain port.
    pub(super) secure: Option<Box<Secure>>,
    /// The keys of SRTP that it was told.
    pub keys: Option<Box<ToldKeys>>,
    /// Reads requests and `$` frames.
    pub parser: Parser,
    /// Whether anything of RTSP has come: HTTP is told by the first bytes of a connection, and by no others.
    pub is_rtsp: bool,
    /// The request that waits for an answer from elsewhere.
    pub pending: Option<Box<Request>>,
    /// The answer that is kept back, the last on this connection.
    pub withheld: Option<Box<Withheld>>,
    /// What it has proven; None until it is asked.
    pub login: Option<Box<Login>>,
    /// Whether the pending request is being looked at again because an answer has come.
    pub is_retrying: bool,
    /// What the awaited answer brought.
    pub resolved: Option<Resolved>,
    /// What the client said it would publish.
    pub announced: Option<Box<Announced>>,
    /// What it knows of whoever takes sound under the path that it asked for.
    pub talk: Option<Box<Asked>>,
    /// The groups that it has asked for.
    pub groups: Option<multicast::Asked>,
    /// Sessions that came in by this connection.
    pub sessions: SmallVec<[SessionKey; 1]>,
    /// When it was opened, last asked something in full, or last lost a session.
    pub served: Time,
    /// Whether the driver has a send under way.
    pub is_sending: bool,
    /// Whether the client has said its last; what it asked is still answered.
    pub is_ended: bool,
    /// Whether receiving was stopped until pending input is worked off.
    pub is_stopped: bool,
    /// Whether it waits in the shard's list of those whose input is to be worked off.
    pub awaits_turn: bool,
    /// What becomes of it.
    pub fate: Fate,
    out: VecDeque<Bytes>,
    out_bytes: usize,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It serves requests.
    Open,
    /// It is closed when what waits has left.
    Closing,
    /// It goes to another shard when what waits has left.
    Moving(ShardIndex),
    /// The driver was told to close it or give it away.
    Gone,
}

/// An answer that comes later than it is known: whoever guesses passwords waits.
#[derive(Debug)]
pub struct Withheld {
    /// When it is sent.
    pub at: Time,
    /// What it answers.
    pub request: Request,
    /// The answer.
    pub response: Response,
}

/// What a path names, as far as this connection asked.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What the client asked for.
    pub target: Target,
    /// The reading of its path that names something.
    pub name: String,
    /// The answer.
    pub mount: Result<Mount, Refusal>,
    /// The question to the library that is still open, and which reading of the path it was about.
    pub asked: Option<(Ticket, usize)>,
}

/// What can be played under a path.
#[derive(Clone, Debug)]
pub enum Mount {
    /// A file.
    File(Arc<FileInfo>),
    /// A live stream.
    Live(Arc<Description>),
}

/// A status with the sentence that explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: Status,
    /// Why; goes to the log and into the body.
    pub reason: String,
}

impl Refusal {
    /// A refusal with its reason.
    pub fn new(status: Status, reason: impl Into<String>) -> Refusal {
        Refusal { status, reason: reason.into() }
    }
}

impl Connection {
    /// A fresh connection.
    pub fn new(conn: Conn, peer: SocketAddr, local: SocketAddr, port: PortKind, now: Time) -> Connection {
        Connection {
            conn,
            peer,
            forwarder: None,
            preface: None,
            place: None,
            visit: None,
            local,
            port,
            door: Door::Plain,
            secure: None,
            keys: None,
            parser: Parser::new(Limits::default()),
            is_rtsp: false,
            pending: None,
            withheld: None,
            login: None,
            is_retrying: false,
            resolved: None,
            announced: None,
            talk: None,
            groups: None,
            sessions: SmallVec::new(),
            served: now,
            is_sending: false,
            is_ended: false,
            is_stopped: false,
            awaits_turn: false,
            fate: Fate::Open,
            out: VecDeque::new(),
            out_bytes: 0,
        }
    }

    /// Queues a reply.
    pub fn reply(&mut self, response: &Response) {
        let mut bytes = BytesMut::new();
        response.write(&mut bytes);
        self.push(bytes.freeze());
    }

    /// Queues bytes that stand between two `$` frames.
    pub fn push(&mut self, bytes: Bytes) {
        self.out_bytes += bytes.len();
        self.out.push_back(bytes);
    }

    /// Moves what waits into a send.
    pub fn take_out(&mut self, pieces: &mut Pieces) {
        while pieces.len() < PIECES_MAX {
            let Some(bytes) = self.out.pop_front() else { break };
            self.out_bytes -= bytes.len();
            pieces.push(Piece::Shared(bytes));
        }
        if self.out.is_empty() {
            // An idle connection keeps no queue.
            self.out = VecDeque::new();
        }
    }

    /// Whether requests must wait until an earlier one is answered.
    pub fn is_waiting(&self) -> bool {
        self.pending.is_some() || self.withheld.is_some()
    }

    /// Whether the client is on this machine. A proxy that does not name its client vouches for nobody, and the loopback
    /// of one elsewhere is that machine's.
    pub fn is_local(&self) -> bool {
        let (peer, own) = (self.peer.ip(), self.local.ip());
        let is_here = |ip: IpAddr| ip == own || ip.is_loopback();
        let is_named = self.forwarder != Some(self.peer);
        let is_loopback_ours = self.forwarder.is_none_or(|proxy| is_here(proxy.ip()));
        is_named && (peer == own || peer.is_loopback() && is_loopback_ours)
    }

    /// Whether the request that is being served has passed the gate before.
    pub fn has_passed_gate(&self) -> bool {
        self.is_retrying || self.visit.as_ref().is_some_and(|visit| visit.has_passed_gate())
    }

    /// Whether it is only to be refused, because there are as many as there may be.
    pub fn is_surplus(&self) -> bool {
        self.place.as_ref().is_some_and(Place::is_surplus)
    }

    /// Whether replies or reports wait that are older than any media that is due.
    pub fn has_waiting(&self) -> bool {
        !self.out.is_empty()
    }

    /// Bytes of replies that are in no send yet.
    pub fn waiting_bytes(&self) -> usize {
        self.out_bytes
    }

    /// Whether more may be done for it once something has left.
    pub fn has_unserved(&self) -> bool {
        self.parser.buffered() > 0 || self.is_stopped || self.is_ended
    }

    /// Whether no more requests come: of a tunnel its POST has them.
    pub fn has_said_all(&self) -> bool {
        self.is_ended && !matches!(&self.door, Door::Out(way) if way.into.is_some())
    }

    /// Whether it has sent more than may wait until earlier requests are answered and their replies have left.
    pub fn is_full(&self) -> bool {
        self.parser.buffered() > PENDING_BYTES_MAX && (self.is_waiting() || self.is_clogged())
    }

    /// Whether the client does not read its replies.
    pub fn is_clogged(&self) -> bool {
        self.out_bytes > OUT_BYTES_MAX
    }
}

/// All connections of a shard, by the driver's index.
#[derive(Debug, Default)]
pub struct Connections {
    table: Vec<Option<Box<Connection>>>,
    count: usize,
}

impl Connections {
    /// Adds a connection under its name.
    pub fn insert(&mut self, connection: Connection) {
        let index = connection.conn.index as usize;
        if self.table.len() <= index {
            self.table.resize_with(index + 1, || None);
        }
        if self.table[index].replace(Box::new(connection)).is_none() {
            self.count += 1;
        }
    }

    /// A connection; None when the name is gone.
    pub fn get(&self, conn: Conn) -> Option<&Connection> {
        self.table.get(conn.index as usize)?.as_deref().filter(|connection| connection.conn == conn)
    }

    /// A connection to change; None when the name is gone.
    pub fn get_mut(&mut self, conn: Conn) -> Option<&mut Connection> {
        self.table.get_mut(conn.index as usize)?.as_deref_mut().filter(|connection| connection.conn == conn)
    }

    /// Takes a connection out.
    pub fn remove(&mut self, conn: Conn) -> Option<Box<Connection>> {
        self.get(conn)?;
        self.count -= 1;
        self.table[conn.index as usize].take()
    }

    /// Every connection.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.table.iter().filter_map(Option::as_deref)
    }

    /// Every connection, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.table.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }
}
