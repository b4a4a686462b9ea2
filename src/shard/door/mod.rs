//! What a connection speaks before RTSP: nothing, the halves of an HTTP tunnel, or WebSocket. For whoever speaks none of
//! them the way to who serves the page and the API.

mod control;
mod enter;
mod tunnel;
mod websocket;

use bytes::Bytes;
use proto::io::{Conn, Pieces};
use proto::rtsp::message::Request;

pub(super) use self::control::Pipe;
pub(super) use self::tunnel::{WayIn, WayOut};
pub(super) use self::websocket::Frames;
use super::connection::{Connections, Fate, PENDING_BYTES_MAX};
use super::turn::Shard;
use crate::egress::heads::Heads;

/// How RTSP travels on a connection.
#[derive(Debug, Default)]
pub enum Door {
    /// As it is. Every connection begins so; the head of an HTTP request makes it another.
    #[default]
    Plain,
    /// The head of a tunnel's half, on its way to the shard where both halves meet.
    Leaving(Box<Request>),
    /// The GET of a tunnel. This is the connection that requests are served on and media leaves by.
    Out(Box<WayOut>),
    /// The POST of a tunnel. What it brings is the GET's.
    In(Box<WayIn>),
    /// Both ways in frames.
    WebSocket(Box<Frames>),
    /// No RTSP: HTTP that others serve.
    Control(Box<Pipe>),
}

impl Door {
    /// Its name in the log.
    pub fn name(&self) -> &'static str {
        match self {
            Door::Plain | Door::Leaving(_) => "tcp",
            Door::Out(_) | Door::In(_) | Door::Control(_) => "http",
            Door::WebSocket(_) => "websocket",
        }
    }

    /// Whether RTSP is in a stream of another protocol, and media has to be there too.
    pub fn is_tunnel(&self) -> bool {
        !matches!(self, Door::Plain | Door::Leaving(_))
    }

    /// Whether others serve it, who keep watch over its silence as well.
    pub fn is_control(&self) -> bool {
        matches!(self, Door::Control(_))
    }

    /// Whether it is the POST of a tunnel, which lives and ends with its GET.
    pub fn is_led_by_another(&self) -> bool {
        matches!(self, Door::In(into) if into.out.is_some())
    }

    /// Puts around the bytes of a send what belongs there.
    pub(super) fn wrap(&mut self, pieces: &mut Pieces, heads: &mut Heads) {
        if let Door::WebSocket(frames) = self {
            frames.wrap(pieces, heads);
        }
    }

    /// Whether something of its own waits to leave.
    pub fn has_own(&self) -> bool {
        matches!(self, Door::WebSocket(frames) if frames.has_own())
    }

    /// Prepares its last words, to be sent behind everything else. False when it has none or has said them.
    pub(super) fn take_leave(&mut self) -> bool {
        if let Door::WebSocket(frames) = self { frames.take_leave() } else { false }
    }

    /// The connection whose bytes are requests to `conn`; None while there is none.
    pub fn source(&self, conn: Conn) -> Option<Conn> {
        match self {
            Door::Out(out) => out.into,
            _ => Some(conn),
        }
    }
}

/// What received bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Of no use now.
    Nothing,
    /// Input of that connection's parser, and perhaps something to answer without it.
    Input(Conn),
    /// No base64: the tunnel of that GET is of no use any more.
    NotBase64(Conn, u8),
    /// Behind a GET, where nothing may be, or more before it than a client has to say.
    Misplaced(Conn),
    /// The end of a WebSocket, or its breach.
    Leave(Conn),
    /// Passed on to who serves it; whether somebody does.
    PassedOn(Conn, bool),
}

/// Takes bytes as they came to `conn`: whatever of RTSP is in them goes to the parser that it is for.
pub(super) fn take_in(connections: &mut Connections, conn: Conn, bytes: &[u8]) -> Taken {
    let Some(connection) = connections.get_mut(conn) else { return Taken::Nothing };
    if matches!(connection.fate, Fate::Closing | Fate::Gone) {
        return Taken::Nothing;
    }
    match &mut connection.door {
        Door::Plain | Door::Leaving(_) => {
            connection.parser.handle_bytes(bytes);
            Taken::Input(conn)
        }
        Door::Out(_) if bytes.iter().all(u8::is_ascii_whitespace) => Taken::Nothing,
        Door::Out(_) => Taken::Misplaced(conn),
        Door::In(into) => {
            let Some(out) = into.out else {
                // Receiving is stopped meanwhile: this is what was on its way. Clients wait for the answer to their GET.
                into.unread.extend_from_slice(bytes);
                let is_too_much = into.unread.len() > PENDING_BYTES_MAX;
                return if is_too_much { Taken::Misplaced(conn) } else { Taken::Nothing };
            };
            let mut reader = into.reader;
            let Some(target) = connections.get_mut(out) else { return Taken::Nothing };
            if matches!(target.fate, Fate::Closing | Fate::Gone) {
                return Taken::Nothing;
            }
            let read = target.parser.handle_with(|buffer| reader.read(bytes, buffer));
            if let Some(Door::In(into)) = connections.get_mut(conn).map(|connection| &mut connection.door) {
                into.reader = reader;
            }
            match read {
                Some(Err(error)) => Taken::NotBase64(out, error.0),
                Some(Ok(())) | None => Taken::Input(out),
            }
        }
        Door::WebSocket(frames) => match frames.take_in(bytes, &mut connection.parser, connection.peer) {
            true => Taken::Input(conn),
            false => Taken::Leave(conn),
        },
        Door::Control(pipe) => Taken::PassedOn(conn, pipe.hear(Bytes::copy_from_slice(bytes))),
    }
}

impl Shard {
    /// Acts on received bytes.
    pub(super) fn act_on(&mut self, taken: Taken) {
        match taken {
            Taken::Nothing => {}
            Taken::Input(conn) => {
                if self.connections.get(conn).is_some_and(|connection| connection.door.has_own()) {
                    self.flush_between_media(conn);
                }
                self.serve_in_turn(conn);
            }
            Taken::NotBase64(conn, byte) => {
                if let Some(connection) = self.connections.get(conn) {
                    tracing::debug!(peer = %connection.peer, byte, "no base64 in a tunnel's POST");
                }
                self.refuse_rtsp(conn);
            }
            Taken::Misplaced(conn) => {
                if let Some(connection) = self.connections.get(conn) {
                    tracing::debug!(peer = %connection.peer, "bytes on one half of a tunnel that no other half can take");
                }
                self.close_when_flushed(conn);
            }
            Taken::PassedOn(conn, true) => self.throttle_control(conn),
            Taken::PassedOn(conn, false) => self.close_when_flushed(conn),
            Taken::Leave(conn) => {
                // What came before the end is answered.
                self.advance(conn);
                self.close_when_flushed(conn);
            }
        }
    }

    /// A connection is gone: what its door shared with others goes with it.
    pub(super) fn leave_door(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let (cookie, led) = match &mut connection.door {
            Door::Out(out) => (out.cookie.clone(), None),
            Door::In(into) => (into.cookie.clone(), into.out.take()),
            Door::Plain | Door::Leaving(_) | Door::WebSocket(_) | Door::Control(_) => return,
        };
        if let Some(out) = led.and_then(|out| self.connections.get_mut(out))
            && let Door::Out(way) = &mut out.door
            && way.into == Some(conn)
        {
            way.into = None;
            out.is_stopped = false;
        }
        if let Some(other) = self.tunnels.handle_end(&cookie, conn) {
            self.close(other);
        }
    }
}
