//! SETUP of the track that a viewer sends.

use std::sync::Arc;

use proto::io::Conn;
use proto::rtsp::headers::require::{self, BACKCHANNEL};
use proto::rtsp::headers::transport::Mode;
use proto::rtsp::message::{Request, Response};
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;
use proto::track::Track;
use rand::RngExt;

use super::track::Reporting;
use super::{SinkAddress, TalkIn, ToSink};
use crate::media::library::Ticket;
use crate::shard::connection::{Mount, Refusal};
use crate::shard::inflow::WayIn;
use crate::shard::ingest::{Arriving, Sender};
use crate::shard::request::Outcome;
use crate::shard::session::{Carrier, SessionId, SessionKey};
use crate::shard::turn::Shard;

impl Shard {
    /// Answers a SETUP that names the backchannel of a mount; None when it names something else. Without the tag that
    /// track is there only for a client that was shown it.
    pub(in crate::shard) fn set_up_talk(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
        mount: &Mount,
    ) -> Option<Outcome> {
        let sink = self.sink_of(mount)?;
        let track = target.track.filter(|track| usize::from(*track) == mount.tracks_for(request).len())?;
        if !require::has(&request.headers, BACKCHANNEL) && !self.was_offered(conn, sink) {
            return None;
        }
        let formats = match self.talk_formats(conn, mount) {
            None => return Some(Outcome::Wait),
            Some(Err(error)) => return Some(error.into()),
            Some(Ok(formats)) => formats,
        };
        // What is refused in any case takes nobody's place.
        if let Err(refusal) = self.may_set_up_talk(conn, request, target, session, mount) {
            return Some(refusal.into());
        }
        let ticket = match self.claim_place(conn) {
            None => return Some(Outcome::Wait),
            Some(Err(error)) => return Some(error.into()),
            Some(Ok(ticket)) => ticket,
        };
        let sink = self.taker(conn, sink);
        let seat = Seat { track, sink, ticket, formats };
        Some(match self.take_seat(conn, request, target, session, mount, seat) {
            Ok(response) => Outcome::Reply(response),
            Err(refusal) => {
                self.tell_sink(sink, ToSink::End(self.talker(ticket)));
                refusal.into()
            }
        })
    }

    fn may_set_up_talk(
        &self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
        mount: &Mount,
    ) -> Result<(), Refusal> {
        if let Some(key) = session {
            self.may_add_track(key, target, mount)?;
            if self.sessions[key].talk.is_some() {
                return Err(Refusal::new(Status::BAD_REQUEST, "the track is set up already"));
            }
        }
        self.routes(conn, request, session).map(|_| ())
    }

    fn take_seat(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
        mount: &Mount,
        Seat { track, sink, ticket, formats }: Seat,
    ) -> Result<Response, Refusal> {
        let granted = self.way_in(conn, request, session, Mode::Play)?;
        let begun = match session {
            Some(key) => Ok(key),
            None => self.begin_session(conn, target, mount, granted.carrier),
        };
        let key = match begun {
            Ok(key) => key,
            Err(refusal) => {
                self.release_way_in(&granted.way);
                return Err(refusal);
            }
        };
        if let WayIn::Datagrams { pair, .. } = &granted.way {
            let sender = Sender::Talker(key);
            self.udp.register_sender(pair, Arriving { sender, track, is_media: true });
        }
        let reporting = Reporting::new(self.ports.random.random(), self.interval());
        let talk = TalkIn::new(self.now, track, (sink, ticket), formats, granted.way, reporting);
        self.sessions[key].talk = Some(Box::new(talk));
        let id = self.session_header(key);
        Ok(Response::new(Status::OK).header("Session", id).header("Transport", granted.transport.to_string()))
    }

    fn begin_session(
        &mut self,
        conn: Conn,
        target: &Target,
        mount: &Mount,
        carrier: Carrier,
    ) -> Result<SessionKey, Refusal> {
        let peer = self.may_begin_session(conn)?;
        let id = SessionId::new(self.index, self.ports.random.random());
        let source = self.source_of(mount);
        Ok(self.make_session(conn, id, peer, target, source, carrier))
    }
}

/// A place at a sink, and the track that leads there.
struct Seat {
    track: u8,
    sink: SinkAddress,
    ticket: Ticket,
    formats: Arc<[Track]>,
}
