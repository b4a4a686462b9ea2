//! TEARDOWN (RFC 2326 section 10.7), and every other way a session ends.

use std::net::SocketAddr;

use proto::io::Conn;
use proto::rtsp::message::Response;
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;

use super::client_ports::Holder;
use super::connection::Refusal;
use super::file::Next;
use super::ingest::Ingest;
use super::request::Outcome;
use super::session::{Carrier, Session, SessionId, SessionKey, Source, State};
use super::turn::Shard;
use crate::egress::track::TrackOut;

/// Why a session ends that its client ended.
const TORN_DOWN: &str = "torn down";

impl Shard {
    /// Answers TEARDOWN: of one track when others remain, else of the session.
    pub(super) fn tear_down(&mut self, conn: Conn, target: &Target, session: Option<SessionKey>) -> Outcome {
        let Some(key) = session else {
            return Refusal::new(Status::SESSION_NOT_FOUND, "").into();
        };
        let session = &mut self.sessions[key];
        let is_talk = target.track.is_some_and(|index| session.is_talk(index));
        if is_talk && !session.tracks.is_empty() {
            let id = session.id;
            if let Some(talk) = session.talk.take() {
                self.end_talk(talk);
            }
            return Outcome::Reply(Response::new(Status::OK).header("Session", id.to_string()));
        }
        let slot =
            target.track.and_then(|index| session.tracks.iter().position(|track| track.track == index));
        match slot {
            None if target.track.is_some() && !is_talk => {
                Refusal::new(Status::NOT_FOUND, "the track is not set up").into()
            }
            Some(slot) if session.tracks.len() > 1 || session.talk.is_some() => {
                let track = session.tracks.remove(slot);
                let id = session.id;
                self.release(key, id, &track);
                self.listen(key);
                Outcome::Reply(Response::new(Status::OK).header("Session", id.to_string()))
            }
            _ => {
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.resolved = None;
                }
                self.end_session(key, TORN_DOWN);
                Outcome::Reply(Response::new(Status::OK))
            }
        }
    }

    /// Ends a session: BYE on every track (RFC 3550 section 6.6), its ports are free again, one line in the log.
    pub(super) fn end_session(&mut self, key: SessionKey, reason: &str) {
        self.send_bye(key);
        self.drop_session(key, reason);
    }

    /// Ends a session whose address a newcomer has. Without BYE: it would reach the newcomer, who may get the same
    /// synchronization source.
    pub(super) fn give_way(&mut self, address: SocketAddr, holder: Holder) {
        let Some(viewer) = self.udp.viewer(address) else { return };
        if self.sessions.get(viewer.session).is_some_and(|session| Holder::of(session.id) == holder) {
            self.drop_session(viewer.session, "its viewer has vanished and another has its address");
        }
    }

    /// Ends a session without a word to its viewer.
    pub(super) fn drop_session(&mut self, key: SessionKey, reason: &str) {
        let Some(mut session) = self.sessions.remove(key) else { return };
        if let Some(talk) = session.talk.take() {
            self.end_talk(talk);
        }
        self.by_id.remove(&session.id);
        let has_client = !matches!(session.carrier, Carrier::Groups(_));
        if has_client {
            self.settings.limits.end(session.peer.ip());
        }
        match &session.source {
            Source::File(_) | Source::Replay(_) => {}
            Source::Member(member) => self.leave_groups(member, session.id),
            Source::Live(cursor) => self.live.end(self.now, cursor.stream, key),
            Source::Ingest(ingest) => self.end_ingest(ingest, key, reason),
        }
        for track in &session.tracks {
            self.release(key, session.id, track);
        }
        let is_torn_down = reason == TORN_DOWN;
        if let Some(connection) = session.conn.and_then(|conn| self.connections.get_mut(conn)) {
            connection.sessions.retain(|other| *other != key);
        }
        for conn in &session.awaited_by {
            // A PLAY that waited for its first segment is answered all the same.
            self.retry(*conn);
        }
        if let Some(connection) = session.conn.and_then(|conn| self.connections.get_mut(conn)) {
            connection.served = self.now;
            // What was bound to the connection has no use for it any more; a client that said goodbye may go on.
            let is_last = connection.sessions.is_empty();
            if session.carrier == Carrier::Interleaved && is_last && !is_torn_down {
                let conn = connection.conn;
                self.close_when_flushed(conn);
            }
        }
        let duration = self.now.since(session.began);
        match session.carrier {
            Carrier::Groups(transmission) => {
                tracing::info!(path = %session.path, duration_s = duration.as_millis() as f64 / 1e3,
                    bytes = session.numbers.bytes, reason, "multicast ended");
                self.sender_ended(transmission, reason);
            }
            _ => {
                log_end(&session, duration, reason);
                self.counted.sessions_ended += 1;
                self.accounts.end(&session);
                self.tell_end(&session, reason);
            }
        }
    }

    /// The connection of a session is gone. Media on it ends; datagrams go on until the session's time is over.
    pub(super) fn connection_lost(&mut self, key: SessionKey, conn: Conn) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.conn != Some(conn) {
            return;
        }
        session.conn = None;
        let (holder, ports) = (Holder::of(session.id), &self.ports.client_ports);
        session.addresses().for_each(|address| ports.abandon(address, holder));
        if session.carrier == Carrier::Interleaved {
            self.end_session(key, "connection closed");
        }
    }

    /// All was sent: BYE. The session of a file is paused, a further PLAY begins anew under a new SSRC; of a live stream
    /// it ends.
    pub(super) fn finish(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Source::Live(cursor) = &session.source {
            let finished = self.live.get(cursor.stream).and_then(|stream| stream.finished.as_ref());
            let reason = finished.map_or("the stream has ended", |(_, reason)| reason).to_owned();
            // The goodbyes still tell where the stream's clocks stand.
            return self.end_session(key, &reason);
        }
        if matches!(session.carrier, Carrier::Groups(_)) {
            return self.end_session(key, "there is nothing in it to play");
        }
        // A batch may have come in the meantime.
        let next = match &mut session.source {
            Source::File(file) => Some(file.peek(self.now)),
            Source::Replay(replay) => Some(replay.peek(self.now)),
            Source::Live(_) | Source::Ingest(_) | Source::Member(_) => None,
        };
        if next.is_some_and(|next| !matches!(next, Next::Finished(_))) {
            self.make_ready(key);
            return;
        }
        tracing::info!(session = %session.id, url = %session.url, "played to the end");
        session.state = State::Ready;
        session.wake_at = None;
        session.give_back_promise();
        self.send_bye(key);
        self.renew_sources(key);
    }

    /// A publisher that says goodbye ends its stream; one that is lost may come back.
    fn end_ingest(&mut self, ingest: &Ingest, key: SessionKey, reason: &str) {
        for track in &ingest.inflow.tracks {
            self.release_way_in(&track.way);
        }
        let publication = self.publications.get_mut(ingest.tenure);
        match publication.is_some_and(|publication| publication.is_recorded_by(key)) && reason != TORN_DOWN {
            true => self.orphan_publication(ingest.tenure),
            false => self.end_publication(ingest.tenure, "the publisher has ended it"),
        }
    }

    /// Frees what a track of a session took; the session's other tracks keep theirs.
    fn release(&mut self, key: SessionKey, id: SessionId, track: &TrackOut) {
        for address in track.addresses() {
            self.udp.forget(address, key);
            self.ports.client_ports.release(address, Holder::of(id));
            let others = self.sessions.get(key).into_iter().flat_map(Session::addresses);
            if !others.map(|other| other.ip()).any(|ip| ip == address.ip()) {
                self.udp.leave(address.ip(), key);
            }
        }
    }
}

fn log_end(session: &Session, duration: std::time::Duration, reason: &str) {
    let numbers = &session.numbers;
    let transport = session.transport;
    tracing::info!(
        session = %session.id,
        peer = %session.peer,
        url = %session.url,
        transport,
        duration_s = duration.as_millis() as f64 / 1e3,
        bytes = numbers.bytes,
        lost = session.lost(),
        skipped = numbers.skipped,
        malformed = numbers.malformed,
        round_trip_ms = session.round_trip().map(|trip| trip.as_millis() as u64),
        reason,
        "session ended"
    );
}
