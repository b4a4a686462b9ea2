//! The moments at which a web service is asked: a client's first request, PLAY of a session, ANNOUNCE.

use std::sync::Arc;

use proto::io::Conn;
use proto::rtsp::message::{Method, Request};
use proto::rtsp::status::Status;
use proto::rtsp::uri::{Target, percent_decode};
use rand::RngExt;

use super::{Admission, Answer, Call, ClientId, Facts, Hooks, Question, Verdict, Visit};
use crate::media::library::Ticket;
use crate::shard::connection::{Fate, Refusal};
use crate::shard::inbox::Message;
use crate::shard::request::Outcome;
use crate::shard::session::{SessionKey, Source};
use crate::shard::turn::{Asker, Shard};

impl Shard {
    /// Lets a connection's first request pass, or says what becomes of it instead. Who is refused is told and closed.
    pub(in crate::shard) fn let_connect(&mut self, conn: Conn, target: &Target) -> Result<(), Outcome> {
        let Some(hooks) = self.settings.hooks.clone() else { return Ok(()) };
        let Some(visit) = self.visit(conn) else { return Err(Outcome::Wait) };
        if visit.is_let_in || !hooks.is_called(Call::Connect) {
            return Ok(());
        }
        let name = if target.is_server() { String::new() } else { decoded(&target.path) };
        let now = self.now;
        self.ask_service(conn, &hooks, Call::Connect, target.to_web(), name).map_err(
            |outcome| match outcome {
                Outcome::Reply(response) => Outcome::Withhold(now, response),
                other => other,
            },
        )?;
        if let Some(visit) = self.visit(conn) {
            visit.is_let_in = true;
        }
        Ok(())
    }

    /// Lets the first PLAY of a session pass, or says what becomes of it instead.
    pub(in crate::shard) fn let_play(
        &mut self,
        conn: Conn,
        request: &Request,
        session: Option<SessionKey>,
    ) -> Result<(), Outcome> {
        let (Some(hooks), Some(key)) = (self.settings.hooks.clone(), session) else { return Ok(()) };
        let session = &self.sessions[key];
        if request.method != Method::Play || session.admission.is_some() {
            return Ok(());
        }
        let name = match &session.source {
            Source::File(file) => file.info.name.clone(),
            Source::Replay(replay) => replay.info.name.clone(),
            Source::Live(cursor) => match self.live.get(cursor.stream) {
                Some(stream) => stream.description.path().to_owned(),
                None => decoded(&session.path),
            },
            Source::Member(member) => member.offer.mount.name().to_owned(),
            // It was asked about when it was announced.
            Source::Ingest(_) => return Ok(()),
        };
        // The URL that was set up: PLAY may leave its parameters out.
        let url = Target::parse(&session.url).map_or_else(|_| session.url.clone(), |url| url.to_web());
        let admission = self.ask_service(conn, &hooks, Call::Play, url, name)?;
        self.sessions[key].admission = admission;
        Ok(())
    }

    /// Lets an announcement pass, or says what becomes of it instead.
    pub(in crate::shard) fn let_publish(
        &mut self,
        conn: Conn,
        target: &Target,
        path: &str,
    ) -> Result<Option<Box<Admission>>, Outcome> {
        let Some(hooks) = self.settings.hooks.clone() else { return Ok(None) };
        self.ask_service(conn, &hooks, Call::Publish, target.to_web(), path.to_owned())
    }

    /// Takes the answer of a web service. A client that is gone has been admitted all the same: dropping the answer tells
    /// so.
    pub(in crate::shard) fn service_answered(&mut self, ticket: Ticket, answer: Answer) {
        let Some(Asker::Connection(conn)) = self.waiting.remove(&ticket) else { return };
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let is_open = connection.fate == Fate::Open;
        let Some(visit) = connection.visit.as_mut().filter(|_| is_open) else { return };
        let Question::Asked(asked, call) = visit.question else { return };
        if asked != ticket {
            return;
        }
        if let Err(refusal) = &answer {
            let peer = connection.peer;
            tracing::info!(%peer, call = call.name(), reason = refusal.reason, "refused by the web service");
        }
        visit.question = Question::Answered(call, answer);
        self.serve_pending(conn);
        // It was for this request alone.
        if let Some(visit) = self.connections.get_mut(conn).and_then(|connection| connection.visit.as_mut())
            && matches!(visit.question, Question::Answered(..))
        {
            visit.question = Question::None;
        }
    }

    /// What a web service has said to the request that is being served; an outcome to wait with until it has, or to
    /// refuse with. Where nobody is to be asked, everything is allowed.
    fn ask_service(
        &mut self,
        conn: Conn,
        hooks: &Arc<dyn Hooks>,
        call: Call,
        url: String,
        name: String,
    ) -> Result<Option<Box<Admission>>, Outcome> {
        let Some(visit) = self.visit(conn) else { return Err(Outcome::Wait) };
        match std::mem::take(&mut visit.question) {
            Question::Answered(answered, answer) if answered == call => {
                return answer.map_err(Outcome::from);
            }
            asked @ Question::Asked(..) => {
                visit.question = asked;
                return Err(Outcome::Wait);
            }
            Question::Answered(..) | Question::None => {}
        }
        let client = visit.client;
        let Some(connection) = self.connections.get(conn) else { return Err(Outcome::Wait) };
        let facts = Facts { address: connection.peer.ip().to_canonical(), url, name, client };
        if !hooks.is_called(call) {
            return Ok(admission(hooks, call, facts));
        }
        let ticket = self.next_ticket(Asker::Connection(conn));
        if let Some(visit) = self.visit(conn) {
            visit.question = Question::Asked(ticket, call);
        }
        let outside = self.ports.shards[usize::from(self.index)].clone();
        let (service, told) = (hooks.clone(), facts.clone());
        let reply = Box::new(move |verdict| {
            let answer = match verdict {
                Verdict::Allowed => Ok(admission(&service, call, told)),
                Verdict::Refused => {
                    Err(Refusal::new(Status::FORBIDDEN, "the web service of this server refuses it"))
                }
                Verdict::Unanswered => {
                    let reason = "the web service of this server does not answer";
                    Err(Refusal::new(Status::SERVICE_UNAVAILABLE, reason))
                }
            };
            // A shard that has ended takes its clients along, and with the answer goes what it admits.
            outside.send(Message::ServiceAnswered(ticket, answer));
        });
        hooks.ask(call, &facts, reply);
        Err(Outcome::Wait)
    }

    /// What a connection is to the web services.
    fn visit(&mut self, conn: Conn) -> Option<&mut Visit> {
        let random = &mut self.ports.random;
        let visit = self.connections.get_mut(conn)?.visit.get_or_insert_with(|| {
            let client = ClientId::new(random.random());
            Box::new(Visit { client, is_let_in: false, question: Question::None })
        });
        Some(visit)
    }
}

/// What is to be ended later of what is allowed now.
fn admission(hooks: &Arc<dyn Hooks>, call: Call, facts: Facts) -> Option<Box<Admission>> {
    match call {
        Call::Play | Call::Publish => Some(Box::new(Admission { facts, hooks: hooks.clone() })),
        Call::Connect | Call::Done => None,
    }
}

/// A path as people name it.
fn decoded(path: &str) -> String {
    let path = path.trim_matches('/');
    percent_decode(path).unwrap_or_else(|_| path.to_owned())
}
