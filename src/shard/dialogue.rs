//! One connection's dialogue: requests served in step, replies that leave between media, and how it is closed or moved.

use proto::io::{Conn, Op};
use proto::rtsp::message::Response;
use proto::rtsp::parse::Item;
use proto::rtsp::status::Status;

use super::connection::{Connection, Fate, PENDING_BYTES_MAX, Withheld};
use super::door::Door;
use super::inbox::{Message, Moved};
use super::request::Outcome;
use super::session::{Carrier, SessionKey, Source};
use super::turn::{Alarm, Shard};

/// Connections whose requests are served in one turn: those of 1,000 who come at once are 10 ms of work, which the
/// pictures of all others would wait for. Of fewer a turn they would be in the way for longer.
const SERVED_A_TURN: usize = 64;

impl Shard {
    /// Has what a connection has sent worked off when its turn comes. What a publisher sends is due at once.
    pub(super) fn serve_in_turn(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let is_ingest = |key: &SessionKey| {
            self.sessions.get(*key).is_some_and(|session| matches!(session.source, Source::Ingest(_)))
        };
        if connection.sessions.iter().any(is_ingest) {
            return self.advance(conn);
        }
        if !std::mem::replace(&mut connection.awaits_turn, true) {
            self.unserved.push_back(conn);
        }
        self.throttle(conn);
    }

    /// Works off what some connections have sent, those first that have waited longest.
    pub(super) fn serve_some(&mut self) {
        let mut left = SERVED_A_TURN;
        while left > 0
            && let Some(conn) = self.unserved.pop_front()
        {
            left -= usize::from(self.serve_now(conn));
        }
    }

    /// Works off what a connection has sent, if that waits for its turn; whether it did.
    pub(super) fn serve_now(&mut self, conn: Conn) -> bool {
        let waits = self.connections.get(conn).is_some_and(|connection| connection.awaits_turn);
        if waits {
            self.advance(conn);
        }
        waits
    }

    /// Works off what a connection has sent, up to the first request whose answer must be awaited.
    pub(super) fn advance(&mut self, conn: Conn) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.awaits_turn = false;
            if connection.door.is_control() {
                return;
            }
        }
        loop {
            let Some(connection) = self.connections.get_mut(conn) else { return };
            if connection.is_waiting() || connection.fate != Fate::Open || connection.is_clogged() {
                break;
            }
            let polled = connection.parser.poll();
            connection.is_rtsp |= !matches!(polled, Ok(None | Some(Item::Http { .. })));
            match polled {
                Ok(None) => break,
                Ok(Some(Item::Request(request))) if connection.is_surplus() => {
                    self.refuse_surplus(conn, &request);
                }
                Ok(Some(Item::Request(request))) => {
                    connection.served = self.now;
                    self.serve(conn, request);
                }
                Ok(Some(Item::Interleaved { channel, payload })) => {
                    self.handle_interleaved(conn, channel, &payload)
                }
                Ok(Some(Item::Response(_))) => {}
                Ok(Some(Item::BadRequest { cseq, reason, .. })) => {
                    tracing::debug!(peer = %connection.peer, %reason, "bad request");
                    let mut response = Response::new(Status::BAD_REQUEST);
                    if let Some(cseq) = cseq {
                        response.headers.push("CSeq", cseq);
                    }
                    self.reply(conn, response);
                }
                Ok(Some(Item::Http { head, fault })) => return self.open_door(conn, head, fault),
                Err(error) => {
                    tracing::debug!(peer = %connection.peer, %error, "not RTSP");
                    self.reply(conn, Response::new(error.status()));
                    self.close_when_flushed(conn);
                }
            }
        }
        match self.connections.get_mut(conn) {
            Some(connection)
                if connection.has_said_all() && !connection.is_waiting() && !connection.is_clogged() =>
            {
                self.close_when_flushed(conn)
            }
            _ => self.throttle(conn),
        }
    }

    /// Closes a connection once what waits has left.
    pub(super) fn close_when_flushed(&mut self, conn: Conn) {
        if let Some(connection) = self.connections.get_mut(conn)
            && connection.fate != Fate::Gone
        {
            connection.fate = Fate::Closing;
            connection.served = self.now;
        }
        self.flush(conn);
    }

    /// Serves the pending request again: what it waited for has come.
    pub(super) fn retry(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if let Some(request) = connection.pending.take() {
            connection.is_retrying = true;
            self.serve(conn, *request);
            if let Some(connection) = self.connections.get_mut(conn) {
                connection.is_retrying = false;
            }
            self.advance(conn);
        }
    }

    /// Serves the pending request as if it had just come: what let it wait has let it pass.
    pub(super) fn serve_pending(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if let Some(request) = connection.pending.take() {
            self.serve(conn, *request);
            self.advance(conn);
        }
    }

    /// Sends what waits on a connection that carries no media at the moment, and carries out its fate.
    pub(super) fn flush(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.is_sending || connection.fate == Fate::Gone {
            return;
        }
        let mut pieces = Default::default();
        connection.take_out(&mut pieces);
        let is_leaving = connection.fate == Fate::Closing && pieces.is_empty();
        // A WebSocket says goodbye inside TLS, and then TLS does.
        let has_more = connection.door.has_own() || is_leaving && connection.door.take_leave();
        if is_leaving && !has_more {
            connection.say_goodbye();
        }
        if !pieces.is_empty() || has_more || connection.has_words_of_tls() {
            return self.transmit(conn, pieces);
        }
        match connection.fate {
            Fate::Closing => self.close(conn),
            Fate::Moving(_) => self.ports.driver.submit(Op::Detach(conn)),
            Fate::Open | Fate::Gone => {}
        }
    }

    fn serve(&mut self, conn: Conn, request: proto::rtsp::message::Request) {
        match self.answer(conn, &request) {
            Outcome::Reply(response) => self.reply_to_request(conn, &request, response),
            Outcome::Wait => {
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.pending = Some(Box::new(request));
                }
            }
            Outcome::Withhold(at, response) => {
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.withheld = Some(Box::new(Withheld { at, request, response }));
                    self.set_alarm(at, Alarm::Connection(conn));
                }
            }
            Outcome::Move(shard) => {
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.pending = Some(Box::new(request));
                    connection.fate = Fate::Moving(shard);
                }
                self.flush(conn);
            }
        }
    }

    /// The client has closed its side. Where media flows that means that it is gone; else it may still read replies.
    pub(super) fn handle_end(&mut self, conn: Conn) {
        self.serve_now(conn);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if matches!(connection.fate, Fate::Moving(_)) {
            // What it has asked is served where it goes, and the end is seen there as well.
            return;
        }
        if connection.secure.as_ref().is_some_and(|secure| secure.awaits_last_words()) {
            connection.is_ended = true;
            return;
        }
        let is_cut_off = connection.secure.as_ref().is_some_and(|secure| !secure.is_ended());
        if is_cut_off && !connection.is_ended {
            let sessions = connection.sessions.len();
            tracing::info!(peer = %connection.peer, sessions, "TLS was cut off without a goodbye");
        }
        match &connection.door {
            Door::In(way) => {
                let out = way.out;
                self.close(conn);
                // Of a client that has closed both the last words may come behind the end of its GET.
                return match out {
                    Some(out) if self.connections.get(out).is_some_and(|out| out.is_ended) => {
                        self.handle_end(out)
                    }
                    _ => {}
                };
            }
            Door::Out(way) if way.into.is_some() => {
                connection.is_ended = true;
                return;
            }
            // Who has asked may still read the answer.
            Door::Control(pipe) => {
                pipe.end();
                connection.is_ended = true;
                return;
            }
            _ => connection.is_ended = true,
        }
        let carries_media = connection.sessions.iter().any(|key| {
            self.sessions.get(*key).is_some_and(|session| session.carrier == Carrier::Interleaved)
        });
        if carries_media { self.close(conn) } else { self.advance(conn) }
    }

    pub(super) fn handle_sent(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.is_sending = false;
        if let Some(secure) = &mut connection.secure {
            self.sealing.reclaim(secure);
        }
        let waiting = connection.waiting_bytes();
        if let Door::Control(pipe) = &mut connection.door {
            // Another sign of life of who reads.
            connection.served = self.now;
            pipe.note_left(waiting);
        }
        let sessions =
            if connection.fate == Fate::Open { connection.sessions.clone() } else { Default::default() };
        for key in &sessions {
            // A viewer that takes its media is alive, even if it never sends a word; of a publisher that proves nothing.
            if let Some(session) = self.sessions.get_mut(*key)
                && !matches!(session.source, Source::Ingest(_))
            {
                session.seen = self.now;
            }
            self.make_ready(*key);
        }
        if sessions.is_empty() {
            self.flush(conn);
        } else {
            self.flush_between_media(conn);
        }
        // Requests that replies had to make room for are served now.
        if self.connections.get(conn).is_some_and(|it| it.has_unserved() && !it.awaits_turn) {
            self.advance(conn);
        }
    }

    /// Stops or resumes receiving, by what is still to be worked off.
    fn throttle(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let is_late = connection.awaits_turn && connection.parser.buffered() > PENDING_BYTES_MAX;
        let is_full = is_late || connection.is_full();
        let Some(source) = connection.door.source(conn) else { return };
        if is_full && !connection.is_stopped {
            connection.is_stopped = true;
            self.ports.driver.submit(Op::Stop(source));
        } else if !is_full && connection.is_stopped {
            connection.is_stopped = false;
            self.ports.driver.submit(Op::Resume(source));
        }
    }

    /// Closes a connection at once: sessions whose media it carried end with it.
    pub(super) fn close(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.fate == Fate::Gone {
            return;
        }
        connection.fate = Fate::Gone;
        let sessions = std::mem::take(&mut connection.sessions);
        self.ports.driver.submit(Op::Close(conn));
        for key in sessions {
            self.connection_lost(key, conn);
        }
        self.forget_announcement(conn);
        self.leave_door(conn);
    }

    pub(super) fn forget(&mut self, conn: Conn) {
        if let Some(connection) = self.connections.remove(conn) {
            self.forget_handshake(&connection);
        }
    }

    pub(super) fn hand_over(&mut self, conn: Conn, socket: proto::io::Detached) {
        // What was announced stays here, and nobody will send it.
        self.forget_announcement(conn);
        let Some(mut connection) = self.connections.remove(conn) else { return };
        let Fate::Moving(shard) = connection.fate else { return };
        let mut unread = bytes::BytesMut::new();
        if let Some(request) = connection.pending.take() {
            request.write(&mut unread);
        }
        unread.extend_from_slice(&connection.parser.take_buffered());
        let moved = Moved {
            socket,
            peer: connection.peer,
            local: connection.local,
            port: connection.port,
            door: connection.door,
            login: connection.login,
            access: self.settings.access.clone(),
            forwarder: connection.forwarder,
            visit: connection.visit,
            place: connection.place,
            secure: connection.secure,
            unread: unread.freeze(),
        };
        match self.ports.shards.get(usize::from(shard)) {
            Some(outside) if outside.send(Message::Moved(moved)) => {}
            _ => tracing::warn!(peer = %connection.peer, shard, "a connection could not be moved"),
        }
    }

    pub(super) fn take_over(&mut self, mut moved: Moved) {
        self.renumber_moved(&mut moved);
        match self.ports.driver.attach(moved.socket) {
            Ok(conn) => {
                let mut connection = Connection::new(conn, moved.peer, moved.local, moved.port, self.now);
                connection.login = moved.login;
                connection.forwarder = moved.forwarder;
                connection.visit = moved.visit;
                connection.place = moved.place;
                connection.secure = moved.secure;
                connection.parser.handle_bytes(&moved.unread);
                let head = match moved.door {
                    Door::Leaving(head) => Some(head),
                    door => {
                        connection.is_rtsp = true;
                        connection.door = door;
                        None
                    }
                };
                self.connections.insert(connection);
                match head {
                    Some(head) => self.open_door(conn, *head, None),
                    None => self.advance(conn),
                }
                self.heed_goodbye(conn);
                if !self.settings.visitors.admits(moved.peer.ip()) {
                    self.close_when_flushed(conn);
                }
            }
            Err(error) => tracing::warn!(peer = %moved.peer, %error, "a moved connection was lost"),
        }
    }
}
