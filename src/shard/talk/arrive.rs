//! What a viewer says, on its way to the sink, and our reports to the viewer.

use std::net::SocketAddr;

use bytes::Bytes;
use proto::io::Span;
use proto::rtcp::{is_rtcp, write};
use rand::RngExt;
use smallvec::SmallVec;

use super::track::{Place, Taken};
use super::{SinkAddress, TalkError, TalkIn, ToSink};
use crate::media::library::Ticket;
use crate::shard::reports::CNAME;
use crate::shard::session::{SessionKey, State};
use crate::shard::turn::{Asker, Shard};

impl Shard {
    /// Takes a packet of a session's talk: sound, or a report about it.
    pub(in crate::shard) fn handle_talk(&mut self, key: SessionKey, is_sound: bool, bytes: &[u8]) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.seen = now;
        let is_playing = session.state == State::Playing;
        let Some(talk) = &mut session.talk else { return };
        // Some clients send both to one port (RFC 5761).
        if !is_sound || is_rtcp(bytes) {
            return talk.handle_reports(now, bytes);
        }
        if !is_playing {
            return;
        }
        let sink = talk.sink;
        match talk.take(now, bytes) {
            Taken::Passed(ticket, on_road) => {
                let (talker, packet) = (self.talker(ticket), Bytes::copy_from_slice(bytes));
                self.tell_sink(sink, ToSink::Packet { talker, packet, on_road });
            }
            Taken::WantsPlace if talk.may_claim(now) => self.resume_talk(key),
            Taken::WantsPlace | Taken::Lost => {}
        }
        self.report_to_talker(key);
    }

    /// Takes what came to the sockets of a session's talk.
    pub(in crate::shard) fn talk_datagrams(
        &mut self,
        key: SessionKey,
        is_sound: bool,
        from: SocketAddr,
        span: Span,
        segment: u16,
    ) {
        let talk = self.sessions.get_mut(key).and_then(|session| session.talk.as_mut());
        if !talk.is_some_and(|talk| talk.way.is_from(is_sound, from)) {
            self.udp.strangers += 1;
            return;
        }
        // A copy frees the driver for what the packets cause.
        let bytes: SmallVec<[u8; 2_048]> = self.ports.driver.bytes(span).into();
        for datagram in bytes.chunks(usize::from(segment.max(1))) {
            self.handle_talk(key, is_sound, datagram);
        }
    }

    /// Sends the talker the report that is due.
    pub(in crate::shard) fn report_to_talker(&mut self, key: SessionKey) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(talk) = &mut session.talk else { return };
        if let Some((reporter, block)) = talk.poll_report(now, self.ports.random.random()) {
            let bytes = self.heads.own(|out| write::receiver_report(out, reporter, &[block], CNAME));
            let report = talk.way.report(bytes, &mut self.heads);
            let conn = session.conn;
            self.report_to_sender(conn, report);
            if let Some(conn) = conn {
                self.flush_between_media(conn);
            }
        }
        if let Some(at) = self.sessions.get(key).and_then(|session| session.talk.as_ref()?.report_at()) {
            self.wake_session_at(key, at);
        }
    }

    /// PLAY has let tracks flow; of a session that has no place any more the place is asked for. If it was only just
    /// asked for, that is left to the first packet.
    pub(in crate::shard) fn begin_talk(&mut self, key: SessionKey) {
        let now = self.now;
        let talk = self.sessions.get_mut(key).and_then(|session| session.talk.as_mut());
        if talk.is_some_and(|talk| talk.enabled && talk.may_claim(now)) {
            self.resume_talk(key);
        }
    }

    /// PAUSE of one track, or of all: the place is free for others.
    pub(in crate::shard) fn pause_talk(&mut self, key: SessionKey, track: Option<u8>) {
        let talk = self.sessions.get_mut(key).and_then(|session| session.talk.as_mut());
        let talk = talk.filter(|talk| track.is_none_or(|track| track == talk.track));
        let Some(talk) = talk else { return };
        talk.enabled &= track.is_none();
        let sink = talk.sink;
        if let Some(ticket) = talk.leave_place() {
            self.give_place_back(sink, ticket);
        }
    }

    /// Gives back all that a talk took.
    pub(in crate::shard) fn end_talk(&mut self, mut talk: Box<TalkIn>) {
        if let Some(ticket) = talk.leave_place() {
            self.give_place_back(talk.sink, ticket);
        }
        self.release_way_in(&talk.way);
        tracing::debug!(lost = talk.lost(), "a viewer's track to talk ends");
    }

    /// The place that a session has asked for again is granted, or not.
    pub(super) fn talk_resumed(
        &mut self,
        key: SessionKey,
        sink: SinkAddress,
        ticket: Ticket,
        answer: Result<(), TalkError>,
    ) {
        let session = self.sessions.get_mut(key);
        let talk = session.and_then(|session| Some((session.id, session.talk.as_mut()?)));
        match talk.filter(|(_, talk)| talk.place == Place::Asked(ticket)) {
            Some((_, talk)) if answer.is_ok() => talk.place = Place::Held(ticket),
            Some((session, talk)) => {
                talk.place = Place::Free;
                let reason = answer.err().map(|error| error.to_string());
                tracing::info!(%session, reason, "viewer cannot talk");
            }
            None if answer.is_ok() => self.tell_sink(sink, ToSink::End(self.talker(ticket))),
            None => {}
        }
    }

    /// The sink has taken a place back.
    pub(super) fn talk_ended(&mut self, ticket: Ticket, reason: &str) {
        for session in self.sessions.values_mut() {
            if let Some(talk) = &mut session.talk
                && talk.place == Place::Held(ticket)
            {
                talk.place = Place::Free;
                tracing::debug!(session = %session.id, reason, "viewer's place to talk is free");
            }
        }
    }

    /// A place that is only asked for is given back as well: the sink then answers no more.
    fn give_place_back(&mut self, sink: SinkAddress, ticket: Ticket) {
        self.waiting.remove(&ticket);
        self.tell_sink(sink, ToSink::End(self.talker(ticket)));
    }

    fn resume_talk(&mut self, key: SessionKey) {
        let ticket = self.next_ticket(Asker::Talker(key));
        let Some(talk) = self.sessions.get_mut(key).and_then(|session| session.talk.as_mut()) else { return };
        talk.place = Place::Asked(ticket);
        let sink = talk.sink;
        self.tell_sink(sink, ToSink::Begin(self.talker(ticket)));
    }
}
