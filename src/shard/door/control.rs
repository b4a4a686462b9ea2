//! Connections that ask for the API: what they bring goes to who serves it, and what that answers leaves by them.

use bytes::{Bytes, BytesMut};
use proto::io::Conn;
use proto::rtsp::message::Request;
use proto::tunnel::http::{Code, put_head};

use super::Door;
use crate::shard::steering::{Heard, WayIn};
use crate::shard::turn::Shard;

/// What may have come and not be taken yet. At the bound receiving stops; the driver may still bring what was on its way.
const UNTAKEN_BYTES_MAX: usize = 64 * 1024;

/// What a message costs beside its bytes: who sends one byte after the other fills the bound with messages.
const MESSAGE_BYTES: usize = 256;

/// Paths that are served elsewhere.
const PATHS: [&str; 4] = ["/api", "/metrics", "/healthz", "/readyz"];

/// Whatever lies below these is served there as well.
const BELOW: [&str; 2] = ["/api/", "/page/"];

/// The page, to whoever gets it: other methods are refused here, and clients of tunnels send them.
const PAGE: [&str; 2] = ["/", "/index.html"];

/// One of these connections.
#[derive(Debug)]
pub struct Pipe {
    way: Box<dyn WayIn>,
    /// What was passed on and is not taken yet, messages counted in.
    untaken: usize,
    /// Bytes of answers that have not left, or of which that is not told yet.
    queued: usize,
}

impl Pipe {
    /// Passes bytes on; false when nobody listens any more.
    pub(super) fn hear(&mut self, bytes: Bytes) -> bool {
        self.untaken += cost(bytes.len());
        self.way.hear(Heard::Bytes(bytes))
    }

    /// The client has said all.
    pub(in crate::shard) fn end(&self) {
        self.way.hear(Heard::End);
    }

    /// So much of what was passed on, in one message, is taken.
    pub(in crate::shard) fn took(&mut self, bytes: usize) {
        self.untaken = self.untaken.saturating_sub(cost(bytes));
    }

    /// So many bytes of an answer wait to leave.
    pub(in crate::shard) fn queue(&mut self, bytes: usize) {
        self.queued += bytes;
    }

    /// Tells how much has left, of which so much still waits.
    pub(in crate::shard) fn note_left(&mut self, waiting: usize) {
        let left = self.queued.saturating_sub(waiting);
        if left > 0 {
            self.queued = waiting;
            self.way.hear(Heard::Left(left));
        }
    }

    /// Whether no more is to be received.
    pub(in crate::shard) fn is_full(&self) -> bool {
        self.untaken >= UNTAKEN_BYTES_MAX
    }

    /// Whether more may be received again: not for each byte that is taken.
    pub(in crate::shard) fn has_room(&self) -> bool {
        self.untaken <= UNTAKEN_BYTES_MAX / 2
    }
}

impl Shard {
    /// Makes a connection one of these, if its request is for them; gives the head back if not.
    pub(super) fn become_control(&mut self, conn: Conn, head: Request) -> Result<(), Request> {
        let path = head.uri.split(['?', '#']).next().unwrap_or_default();
        let is_gotten = matches!(head.method.as_str(), "GET" | "HEAD");
        let is_meant = PATHS.contains(&path)
            || BELOW.iter().any(|above| path.starts_with(above))
            || PAGE.contains(&path) && is_gotten;
        if !is_meant || self.settings.steering.is_none() {
            return Err(head);
        }
        let Some(way) = self.caller_taken(conn) else {
            self.refuse_http(conn, &head, Code::Unavailable, "too many connections ask for the API");
            return Ok(());
        };
        let Some(connection) = self.connections.get_mut(conn) else { return Ok(()) };
        let mut pipe = Box::new(Pipe { way, untaken: 0, queued: 0 });
        let mut bytes = BytesMut::new();
        put_head(&mut bytes, &head);
        bytes.extend_from_slice(&connection.parser.take_buffered());
        pipe.hear(bytes.freeze());
        if connection.is_ended {
            pipe.end();
        }
        tracing::debug!(peer = %connection.peer, method = %head.method, uri = %head.uri, "control");
        connection.door = Door::Control(pipe);
        self.throttle_control(conn);
        Ok(())
    }
}

/// What a message of so many bytes takes of the bound.
fn cost(bytes: usize) -> usize {
    bytes + MESSAGE_BYTES
}
