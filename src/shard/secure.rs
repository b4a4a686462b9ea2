//! Connections in TLS: handshakes that threads look at, what comes is opened, what leaves is sealed.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proto::io::{Conn, Piece, Pieces};
use proto::time::Time;

use super::connection::{Connection, Fate};
use super::tls::{Handshake, Step, TlsSession};
use super::turn::Shard;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Handshakes of one shard that are not complete; one more ends the oldest of them, so that clients which are silent
/// keep nobody out.
const HANDSHAKES_MAX: usize = 1_024;

/// What may come while a thread looks at a handshake: no client says so much before it is answered.
const EARLY_BYTES_MAX: usize = 32 * 1024;

/// Sealed bytes behind which the kernel has its turn: it gives the buffers back while they are in a core's cache. With
/// 300 viewers of one stream a shard would otherwise write to megabytes anew for every picture.
const SEALED_A_TURN: usize = 256 * 1024;

/// Capacity of all buffers that are kept for later sends: those of one turn, and as much for viewers who take a while.
const BUFFERS_BYTES_MAX: usize = 2 * SEALED_A_TURN;

/// Capacity of what opened bytes are kept in.
const PLAIN_BYTES_MAX: usize = 40 * 1024;

/// TLS of one connection.
#[derive(Debug)]
pub(super) struct Secure {
    state: State,
    /// What leaves before anything else: words of the handshake, and the last word.
    out: BytesMut,
    /// What the send that is under way holds.
    lent: Option<Bytes>,
}

#[derive(Debug)]
enum State {
    /// The handshake is not complete.
    Shaking {
        /// None while a thread looks at it.
        handshake: Option<Box<Handshake>>,
        /// What has come meanwhile.
        early: Vec<u8>,
        /// Whether the client was answered.
        is_answered: bool,
        /// Gone with the connection: nobody looks at a handshake that nobody waits for.
        client: Arc<()>,
    },
    /// Everything is sealed.
    Open(Box<TlsSession>),
}

/// What the connections in TLS of one shard share.
#[derive(Debug, Default)]
pub(super) struct Sealing {
    /// Connections by age, those among them whose handshake is not complete.
    shaking: VecDeque<Conn>,
    /// How many of them there are.
    shaking_count: usize,
    buffers: Vec<BytesMut>,
    /// Their capacity in all.
    buffers_bytes: usize,
    /// Sealed bytes of this turn.
    sealed_bytes: usize,
    /// What was opened.
    plain: Vec<u8>,
}

impl Secure {
    /// A connection before its handshake.
    pub fn new() -> Secure {
        let state = State::Shaking {
            handshake: Some(Box::default()),
            early: Vec::new(),
            is_answered: false,
            client: Arc::default(),
        };
        Secure { state, out: BytesMut::new(), lent: None }
    }

    /// Whether its handshake is not complete.
    pub fn is_shaking(&self) -> bool {
        matches!(self.state, State::Shaking { .. })
    }

    /// Whether a thread still looks at what a client has said after it was answered: that may be all of its requests.
    pub fn awaits_last_words(&self) -> bool {
        matches!(self.state, State::Shaking { handshake: None, is_answered: true, .. })
    }

    /// Says once that nothing more will be sent, where that can be said.
    fn say_goodbye(&mut self) {
        if let State::Open(session) = &mut self.state
            && !session.has_said_goodbye()
        {
            session.say_goodbye(&mut self.out);
        }
    }

    /// Whether the client has said that it will send no more, or could not have.
    pub fn is_ended(&self) -> bool {
        match &self.state {
            State::Shaking { .. } => true,
            State::Open(session) => session.is_ended(),
        }
    }
}

impl Sealing {
    /// The kernel has been given what was sealed.
    pub fn begin_turn(&mut self) {
        self.sealed_bytes = 0;
    }

    /// Whether the kernel is to be given what was sealed before there is more.
    pub fn is_enough(&self) -> bool {
        self.sealed_bytes >= SEALED_A_TURN
    }

    /// Makes records of the pieces, behind whatever the connection has to say of its own. False when its keys are used
    /// up.
    pub fn seal(&mut self, secure: &mut Secure, pieces: &mut Pieces) -> bool {
        let State::Open(session) = &mut secure.state else {
            pieces.clear();
            pieces.push(Piece::Shared(secure.out.split().freeze()));
            return true;
        };
        let payload = pieces.iter().map(Piece::size).sum();
        let mut buffer = self.buffer(secure.out.len() + TlsSession::sealed_size_max(payload));
        buffer.extend_from_slice(&secure.out);
        // An idle connection keeps no buffer.
        secure.out = BytesMut::new();
        if !session.seal(pieces, &mut buffer) {
            return false;
        }
        self.sealed_bytes += buffer.len();
        let sealed = buffer.freeze();
        pieces.clear();
        pieces.push(Piece::Shared(sealed.clone()));
        secure.lent = Some(sealed);
        true
    }

    /// Takes the buffer of a send back that is complete.
    pub fn reclaim(&mut self, secure: &mut Secure) {
        // The kernel may still read it.
        let Some(Ok(mut buffer)) = secure.lent.take().map(Bytes::try_into_mut) else { return };
        if self.buffers_bytes + buffer.capacity() <= BUFFERS_BYTES_MAX {
            buffer.clear();
            self.buffers_bytes += buffer.capacity();
            self.buffers.push(buffer);
        }
    }

    /// An empty buffer for so many bytes: of those that are kept the last that has the room, which was used last.
    fn buffer(&mut self, bytes: usize) -> BytesMut {
        match self.buffers.iter().rposition(|buffer| buffer.capacity() >= bytes) {
            Some(place) => {
                let buffer = self.buffers.remove(place);
                self.buffers_bytes -= buffer.capacity();
                buffer
            }
            None => BytesMut::with_capacity(bytes),
        }
    }
}

impl Connection {
    /// Whether TLS has words of its own to send.
    pub(super) fn has_words_of_tls(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| !secure.out.is_empty())
    }

    /// Says once in TLS that nothing more will be sent.
    pub(super) fn say_goodbye(&mut self) {
        if let Some(secure) = &mut self.secure {
            secure.say_goodbye();
        }
    }

    /// Whether its handshake is not complete.
    pub(super) fn is_shaking(&self) -> bool {
        self.secure.as_ref().is_some_and(|secure| secure.is_shaking())
    }

    /// Whether its handshake has taken too long.
    pub(super) fn is_shaking_too_long(&self, now: Time) -> bool {
        self.is_shaking() && now.since(self.served) > HANDSHAKE_MAX
    }
}

impl Shard {
    /// Awaits the handshake of a client that has come to a port for TLS.
    pub(super) fn await_handshake(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.secure = Some(Box::new(Secure::new()));
        let connections = &self.connections;
        let is_shaking = |conn: &Conn| connections.get(*conn).is_some_and(Connection::is_shaking);
        self.sealing.shaking.push_back(conn);
        self.sealing.shaking_count += 1;
        if self.sealing.shaking.len() > 2 * HANDSHAKES_MAX {
            self.sealing.shaking.retain(is_shaking);
        }
        if self.sealing.shaking_count > HANDSHAKES_MAX {
            let oldest = std::iter::from_fn(|| self.sealing.shaking.pop_front()).find(is_shaking);
            if let Some(oldest) = oldest {
                tracing::debug!(?oldest, "too many handshakes of TLS: the oldest is ended");
                self.close(oldest);
            }
        }
    }

    /// Opens what has come on a connection in TLS and passes it on.
    pub(super) fn receive_sealed(&mut self, conn: Conn, span: proto::io::Span) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if matches!(connection.fate, Fate::Closing | Fate::Gone) {
            return;
        }
        let Some(secure) = &mut connection.secure else { return };
        let bytes = self.ports.driver.bytes(span);
        match &mut secure.state {
            State::Shaking { handshake: None, early, .. } if early.len() + bytes.len() <= EARLY_BYTES_MAX => {
                early.extend_from_slice(bytes);
            }
            State::Shaking { handshake: None, .. } => {
                self.refuse(conn, "too much before the handshake is complete");
            }
            State::Shaking { handshake: waiting @ Some(_), client, .. } => {
                let Some(mut handshake) = waiting.take() else { return };
                let client = Arc::downgrade(client);
                match handshake.handle_bytes(bytes) {
                    Ok(()) => self.shake(conn, handshake, client),
                    Err(error) => self.refuse(conn, error),
                }
            }
            State::Open(session) => {
                let opened = session.open(bytes, &mut self.sealing.plain);
                self.pass_opened(conn, opened);
            }
        }
    }

    /// A thread has looked at a handshake.
    pub(super) fn handshaken(&mut self, conn: Conn, output: &[u8], step: Step) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(secure) = &mut connection.secure else { return };
        let State::Shaking { handshake: waiting, early, is_answered, client } = &mut secure.state else {
            return;
        };
        *is_answered |= !output.is_empty();
        let is_ended = connection.is_ended;
        let (early, client) = (std::mem::take(early), Arc::downgrade(client));
        secure.out.extend_from_slice(output);
        match step {
            Step::Failed(error) => {
                self.refuse(conn, &error);
            }
            Step::Waits(mut handshake) => {
                let more =
                    if early.is_empty() { Ok(false) } else { handshake.handle_bytes(&early).map(|()| true) };
                match more {
                    Ok(true) => self.shake(conn, handshake, client),
                    Ok(false) if is_ended => return self.close(conn),
                    Ok(false) => *waiting = Some(handshake),
                    Err(error) => return self.refuse(conn, error),
                }
                self.flush(conn);
            }
            Step::Complete(session, plain) => {
                connection.is_ended = false;
                tracing::debug!(peer = %connection.peer, ?session, "in TLS");
                secure.state = State::Open(session);
                self.sealing.shaking_count -= 1;
                self.flush(conn);
                self.receive_plain(conn, &plain);
                self.open_sealed(conn, &early);
                if is_ended {
                    self.handle_end(conn);
                }
            }
        }
    }

    /// Counts a connection that is gone.
    pub(super) fn forget_handshake(&mut self, connection: &Connection) {
        if connection.is_shaking() {
            self.sealing.shaking_count -= 1;
        }
    }

    fn shake(&mut self, conn: Conn, handshake: Box<Handshake>, client: Weak<()>) {
        if let Some(server) = &self.settings.tls {
            server.advance(handshake, conn, client, self.ports.shards[usize::from(self.index)].clone());
        }
    }

    fn open_sealed(&mut self, conn: Conn, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if let Some(State::Open(session)) = connection.secure.as_mut().map(|secure| &mut secure.state) {
            let opened = session.open(bytes, &mut self.sealing.plain);
            self.pass_opened(conn, opened);
        }
    }

    /// Passes on what was opened, whatever it ended with.
    fn pass_opened(&mut self, conn: Conn, opened: Result<(), String>) {
        let mut plain = std::mem::take(&mut self.sealing.plain);
        if !plain.is_empty() {
            self.receive_plain(conn, &plain);
        }
        plain.clear();
        plain.shrink_to(PLAIN_BYTES_MAX);
        self.sealing.plain = plain;
        match opened {
            Err(error) => {
                self.serve_now(conn);
                self.refuse(conn, &error);
            }
            Ok(()) => self.heed_goodbye(conn),
        }
    }

    /// Ends what a client in TLS has said goodbye to, whether its connection ends or not.
    pub(super) fn heed_goodbye(&mut self, conn: Conn) {
        let secure = self.connections.get(conn).and_then(|connection| connection.secure.as_ref());
        if secure.is_some_and(|secure| secure.is_ended()) {
            self.handle_end(conn);
        }
    }

    /// Ends a connection that breaks the rules of TLS, or does not speak it.
    fn refuse(&mut self, conn: Conn, error: &str) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.fate == Fate::Gone {
            return;
        }
        tracing::debug!(peer = %connection.peer, error, "a connection in TLS is closed");
        self.close_when_flushed(conn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(capacity: usize) -> Secure {
        let mut secure = Secure::new();
        let mut buffer = BytesMut::with_capacity(capacity);
        buffer.extend_from_slice(b"sealed");
        secure.lent = Some(buffer.freeze());
        secure
    }

    #[test]
    fn buffers_come_back_last_first_and_are_not_more_than_two_turns_fill() {
        let mut sealing = Sealing::default();
        for capacity in [20_000, 120_000, 30_000, 120_000] {
            sealing.reclaim(&mut used(capacity));
        }
        let sizes = |sealing: &Sealing| sealing.buffers.iter().map(BytesMut::capacity).collect::<Vec<_>>();
        assert_eq!(sizes(&sealing), [20_000, 120_000, 30_000, 120_000]);
        assert_eq!((sealing.buffer(25_000).capacity(), sealing.buffer(25_000).capacity()), (120_000, 30_000));
        assert_eq!(sealing.buffer(200_000).capacity(), 200_000);
        assert_eq!((sizes(&sealing), sealing.buffers_bytes), (vec![20_000, 120_000], 140_000));
        for _ in 0..100 {
            sealing.reclaim(&mut used(60_000));
        }
        assert!(sealing.buffers_bytes <= BUFFERS_BYTES_MAX);
        assert_eq!(sealing.buffers_bytes, sizes(&sealing).iter().sum::<usize>());
        // What the kernel still reads stays its own.
        let mut secure = used(10);
        let held = secure.lent.clone();
        sealing.reclaim(&mut secure);
        assert!(sealing.buffers.iter().all(|buffer| buffer.capacity() > 10));
        drop(held);
    }
}
