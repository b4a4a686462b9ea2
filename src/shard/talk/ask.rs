//! What a connection asks a sink: what it takes, and for the place.

use std::sync::Arc;

use proto::io::Conn;
use proto::rtsp::headers::require::{self, BACKCHANNEL};
use proto::rtsp::message::{Request, Response};
use proto::rtsp::status::Status;
use proto::track::Track;

use super::{Formats, FromSink, SinkAddress, TalkError, ToSink};
use crate::media::library::Ticket;
use crate::shard::connection::{Mount, Refusal};
use crate::shard::request::Outcome;
use crate::shard::session::{SessionKey, Source};
use crate::shard::turn::{Asker, Shard};
use crate::stream::catalog::Description;

/// What a connection knows of a sink.
#[derive(Debug)]
pub struct Asked {
    sink: SinkAddress,
    /// The source of a proxy that takes nothing: the loudspeaker does in its place.
    instead_of: Option<SinkAddress>,
    formats: Answer<Arc<[Track]>>,
    /// Whether the place is its; None when it has not asked, or a session has taken the place over.
    place: Option<Answer<Ticket>>,
}

#[derive(Debug)]
enum Answer<T> {
    Awaited(Ticket),
    Known(Result<T, TalkError>),
}

impl Asked {
    fn is_of(&self, sink: SinkAddress) -> bool {
        self.sink == sink || self.instead_of == Some(sink)
    }
}

impl<T> Answer<T> {
    fn is_awaited(&self, ticket: Ticket) -> bool {
        matches!(self, Answer::Awaited(awaited) if *awaited == ticket)
    }
}

impl From<TalkError> for Outcome {
    fn from(error: TalkError) -> Outcome {
        let status = match error {
            TalkError::Absent => {
                let response = Response::new(Status::OPTION_NOT_SUPPORTED);
                return Outcome::Reply(response.header("Unsupported", BACKCHANNEL));
            }
            TalkError::Busy => Status::NOT_ENOUGH_BANDWIDTH,
            TalkError::Unavailable(_) => Status::SERVICE_UNAVAILABLE,
        };
        Refusal::new(status, error.to_string()).into()
    }
}

impl Shard {
    /// What a description is to offer beside its tracks: nothing to a client that does not ask by the tag. Else an
    /// outcome to wait with, or to refuse with.
    pub(in crate::shard) fn offered_backchannel(
        &mut self,
        conn: Conn,
        request: &Request,
        mount: &Mount,
    ) -> Result<Arc<[Track]>, Outcome> {
        if !require::has(&request.headers, BACKCHANNEL) {
            return Ok(Arc::from([]));
        }
        self.talk_formats(conn, mount).ok_or(Outcome::Wait)?.map_err(Outcome::from)
    }

    /// Whether a request asks for the backchannel of what has none.
    pub(in crate::shard) fn lacks_backchannel(&self, request: &Request, mount: &Mount) -> bool {
        require::has(&request.headers, BACKCHANNEL) && self.sink_of(mount).is_none()
    }

    /// Whether a request asks for the backchannel of a session that cannot have one.
    pub(in crate::shard) fn lacks_talk(&self, request: &Request, key: SessionKey) -> bool {
        if !require::has(&request.headers, BACKCHANNEL) {
            return false;
        }
        let mount = match &self.sessions[key].source {
            // A stream that is gone is refused for that.
            Source::Live(cursor) => self.live.get(cursor.stream).map(|stream| &stream.description),
            Source::Member(member) => match &member.offer.mount {
                Mount::Live(stream) => Some(stream),
                Mount::File(_) => return self.own_sink().is_none(),
            },
            Source::File(_) | Source::Replay(_) => return self.own_sink().is_none(),
            Source::Ingest(_) => return true,
        };
        mount.is_some_and(|stream| self.lacks_backchannel(request, &Mount::Live(stream.clone())))
    }

    /// Forgets what a connection knows of a sink; a place that is granted later is given back.
    pub(in crate::shard) fn forget_talk(&mut self, conn: Conn) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.talk = None;
        }
    }

    /// Takes what a sink says.
    pub(in crate::shard) fn hear_sink(&mut self, sink: SinkAddress, ticket: Ticket, what: FromSink) {
        match (what, self.waiting.remove(&ticket)) {
            (FromSink::Described(answer), Some(Asker::Connection(conn))) => {
                if let Some(asked) = self.asked(conn)
                    && asked.formats.is_awaited(ticket)
                {
                    asked.formats = Answer::Known(answer);
                    self.retry(conn);
                }
            }
            (FromSink::Begun(answer), Some(Asker::Connection(conn))) => {
                self.place_answered(conn, sink, ticket, answer);
            }
            (FromSink::Begun(answer), Some(Asker::Talker(key))) => {
                self.talk_resumed(key, sink, ticket, answer);
            }
            (FromSink::Ended(reason), _) => self.talk_ended(ticket, &reason),
            (FromSink::Described(_) | FromSink::Begun(_), _) => {}
        }
    }

    /// The sink behind a mount, as far as the configuration tells: the source of a proxy, else the machine's loudspeaker.
    pub(super) fn sink_of(&self, mount: &Mount) -> Option<SinkAddress> {
        let of_path = |stream: &Description| {
            let mut proxies = self.settings.proxies.iter();
            let spec = proxies.find(|spec| spec.backchannel && *spec.path == *stream.path())?;
            Some(SinkAddress { home: spec.home, tenure: spec.tenure })
        };
        let own = match mount {
            Mount::Live(stream) => of_path(stream),
            Mount::File(_) => None,
        };
        own.or_else(|| self.own_sink())
    }

    /// What the sink behind a mount takes. None while it is being asked: the connection is served again then.
    pub(super) fn talk_formats(&mut self, conn: Conn, mount: &Mount) -> Option<Formats> {
        let Some(sink) = self.sink_of(mount) else { return Some(Err(TalkError::Absent)) };
        let own = self.own_sink();
        if let Some(asked) = self.asked(conn).filter(|asked| asked.is_of(sink)) {
            match &asked.formats {
                Answer::Awaited(_) => return None,
                Answer::Known(Err(TalkError::Absent)) if own.is_some_and(|own| own != asked.sink) => {}
                Answer::Known(answer) => return Some(answer.clone()),
            }
            let own = own?;
            self.ask_formats(conn, own, Some(sink));
        } else {
            self.ask_formats(conn, sink, None);
        }
        None
    }

    fn ask_formats(&mut self, conn: Conn, sink: SinkAddress, instead_of: Option<SinkAddress>) {
        self.forget_talk(conn);
        let ticket = self.next_ticket(Asker::Connection(conn));
        if let Some(connection) = self.connections.get_mut(conn) {
            let formats = Answer::Awaited(ticket);
            connection.talk = Some(Box::new(Asked { sink, instead_of, formats, place: None }));
        }
        self.tell_sink(sink, ToSink::Describe(self.talker(ticket)));
    }

    /// Who really takes what is said on a connection to that sink, as far as it has been asked.
    pub(super) fn taker(&mut self, conn: Conn, sink: SinkAddress) -> SinkAddress {
        self.asked(conn).filter(|asked| asked.is_of(sink)).map_or(sink, |asked| asked.sink)
    }

    /// Whether the description that a connection was given had a backchannel of that sink.
    pub(super) fn was_offered(&mut self, conn: Conn, sink: SinkAddress) -> bool {
        let asked = self.asked(conn).filter(|asked| asked.is_of(sink));
        asked.is_some_and(|asked| matches!(&asked.formats, Answer::Known(Ok(_))))
    }

    /// The place at the sink that a connection has asked: it is the caller's then. None while the answer is on its way.
    pub(super) fn claim_place(&mut self, conn: Conn) -> Option<Result<Ticket, TalkError>> {
        let asked = self.asked(conn)?;
        let sink = asked.sink;
        match asked.place.take() {
            Some(Answer::Known(answer)) => return Some(answer),
            Some(awaited) => asked.place = Some(awaited),
            None => {
                let ticket = self.next_ticket(Asker::Connection(conn));
                self.asked(conn)?.place = Some(Answer::Awaited(ticket));
                self.tell_sink(sink, ToSink::Begin(self.talker(ticket)));
            }
        }
        None
    }

    fn place_answered(
        &mut self,
        conn: Conn,
        sink: SinkAddress,
        ticket: Ticket,
        answer: Result<(), TalkError>,
    ) {
        let asked = self.asked(conn);
        let place = asked.and_then(|asked| asked.place.as_mut()).filter(|place| place.is_awaited(ticket));
        let Some(place) = place else {
            if answer.is_ok() {
                self.tell_sink(sink, ToSink::End(self.talker(ticket)));
            }
            return;
        };
        *place = Answer::Known(answer.map(|()| ticket));
        self.retry(conn);
        // Whoever has asked has taken it, unless the request is gone.
        let is_left = |place: &mut Answer<Ticket>| matches!(place, Answer::Known(_));
        let left = self.asked(conn).and_then(|asked| asked.place.take_if(is_left));
        if let Some(Answer::Known(Ok(ticket))) = left {
            self.tell_sink(sink, ToSink::End(self.talker(ticket)));
        }
    }

    fn asked(&mut self, conn: Conn) -> Option<&mut Asked> {
        self.connections.get_mut(conn)?.talk.as_deref_mut()
    }
}
