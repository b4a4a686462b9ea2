//! What every request goes through before its method is looked at (RFC 2326 sections 7 to 12).

use proto::io::Conn;
use proto::rtsp::headers::cseq::cseq;
use proto::rtsp::headers::date::Utc;
use proto::rtsp::headers::require::{self, BACKCHANNEL, REPLAY};
use proto::rtsp::headers::session::Session as SessionHeader;
use proto::rtsp::message::{Method, Request, Response};
use proto::rtsp::status::Status;
use proto::rtsp::uri::{Target, redacted};
use proto::time::Time;

use super::client_ports::Holder;
use super::connection::{Connection, Refusal};
use super::door::Door;
use super::session::{SessionId, SessionKey};
use super::turn::Shard;
use crate::stream::catalog::ShardIndex;

/// The methods that are served, as OPTIONS lists them.
const PUBLIC: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER, \
    ANNOUNCE, RECORD";

/// Feature tags that a client may require (RFC 7826 section 11.1); whether there are the last two depends on the path.
const KNOWN_TAGS: &[&str] = &["play.basic", "play.scale", "play.speed", BACKCHANNEL, REPLAY];

/// What the `Server` header says.
pub const SERVER: &str = concat!("Ringcaster/", env!("CARGO_PKG_VERSION"));

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is answered now.
    Reply(Response),
    /// Its answer depends on something that is on its way.
    Wait,
    /// It is answered at that time, and the connection is closed behind the answer.
    Withhold(Time, Response),
    /// It names a session of another shard: the connection goes there.
    Move(ShardIndex),
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Outcome {
        Outcome::Reply(refusal.into())
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Response {
        let response = Response::new(refusal.status);
        if refusal.reason.is_empty() {
            response
        } else {
            response.body("text/plain", refusal.reason + "\r\n")
        }
    }
}

impl Shard {
    /// Answers a request, or says what it waits for. Called again for the same request when that has come.
    pub(super) fn answer(&mut self, conn: Conn, request: &Request) -> Outcome {
        if let Some(response) = refused_at_sight(request) {
            return Outcome::Reply(response);
        }
        let Ok(target) = Target::parse(&request.uri) else {
            return Refusal::new(Status::BAD_REQUEST, "the URL cannot be read").into();
        };
        if let Err(outcome) = self.let_connect(conn, &target) {
            return outcome;
        }
        let session = match self.named_session(conn, request) {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        // What is looked at again has passed.
        if !self.connections.get(conn).is_some_and(Connection::has_passed_gate)
            && let Err(outcome) = self.pass(conn, request, &target, session)
        {
            return outcome;
        }
        match session {
            Some(key) => {
                self.sessions[key].seen = self.now;
                self.adopt(conn, key);
            }
            // A keep-alive that names no session means those of its connection.
            None => self.show_life(conn),
        }
        if let Err(outcome) = self.let_play(conn, request, session) {
            return outcome;
        }
        match &request.method {
            Method::Options => Outcome::Reply(Response::new(Status::OK).header("Public", PUBLIC)),
            Method::Describe => self.describe(conn, request, &target),
            Method::Setup => self.set_up(conn, request, &target, session),
            Method::Play => self.play(conn, request, &target, session),
            Method::Pause => self.pause(&target, session),
            Method::Teardown => self.tear_down(conn, &target, session),
            Method::GetParameter => self.parameters_read(conn, request, &target, session),
            Method::SetParameter => self.parameters_set(conn, request, &target, session),
            Method::Announce => self.announce(conn, request, &target, session),
            Method::Record => self.record(conn, &target, session),
            Method::Redirect | Method::Other(_) => Outcome::Reply(not_implemented()),
        }
    }

    /// Completes a reply with what every reply carries and queues it.
    pub(super) fn reply_to_request(&mut self, conn: Conn, request: &Request, mut response: Response) {
        if let Some(cseq) = cseq(&request.headers) {
            response.headers.set("CSeq", cseq);
        }
        if let Some(timestamp) = request.headers.get("Timestamp") {
            response.headers.push("Timestamp", timestamp);
        }
        if !response.status.is_success() {
            let reason = String::from_utf8_lossy(&response.body);
            let peer = self.connections.get(conn).map(|connection| connection.peer);
            tracing::debug!(?peer, method = %request.method, uri = %redacted(&request.uri), status = %response.status,
                reason = reason.trim_end(), "refused");
        }
        self.reply(conn, response);
    }

    /// Queues a reply with `Server` and `Date`.
    pub(super) fn reply(&mut self, conn: Conn, mut response: Response) {
        response.headers.push("Server", SERVER);
        response.headers.push("Date", Utc::from(self.ports.driver.wall()).to_date());
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.reply(&response);
        self.flush_between_media(conn);
    }

    /// The session that a request names, if it names one.
    fn named_session(&mut self, conn: Conn, request: &Request) -> Result<Option<SessionKey>, Outcome> {
        let Some(value) = request.headers.get("Session") else { return Ok(None) };
        let unknown = || Outcome::from(Refusal::new(Status::SESSION_NOT_FOUND, ""));
        let id = SessionHeader::parse(value).and_then(|header| SessionId::parse(&header.id));
        let id = id.ok_or_else(unknown)?;
        // A tunnel's halves have met here already.
        let stays = self.connections.get(conn).is_none_or(|connection| {
            !connection.sessions.is_empty() || matches!(connection.door, Door::Out(_))
        });
        if id.shard() != self.index {
            let is_known_shard = usize::from(id.shard()) < self.ports.shards.len();
            return Err(if is_known_shard && !stays { Outcome::Move(id.shard()) } else { unknown() });
        }
        let key = *self.by_id.get(&id).ok_or_else(unknown)?;
        // Media on a connection belongs to that connection: nobody else can speak for it.
        if self.sessions[key].is_bound_elsewhere(conn) {
            return Err(unknown());
        }
        Ok(Some(key))
    }

    fn show_life(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get(conn) else { return };
        for key in &connection.sessions {
            if let Some(session) = self.sessions.get_mut(*key) {
                session.seen = self.now;
            }
        }
    }

    /// Makes a connection the one that speaks for a session.
    fn adopt(&mut self, conn: Conn, key: SessionKey) {
        let session = &mut self.sessions[key];
        if session.conn == Some(conn) {
            return;
        }
        match session.conn.replace(conn) {
            Some(previous) => {
                if let Some(connection) = self.connections.get_mut(previous) {
                    connection.sessions.retain(|other| *other != key);
                }
            }
            None => {
                let (holder, ports) = (Holder::of(session.id), &self.ports.client_ports);
                session.addresses().for_each(|address| ports.keep(address, holder));
            }
        }
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.sessions.push(key);
        }
    }
}

/// The refusals that need no more than the request itself.
fn refused_at_sight(request: &Request) -> Option<Response> {
    if request.version != (1, 0) {
        return Some(Response::new(Status::RTSP_VERSION_NOT_SUPPORTED));
    }
    if cseq(&request.headers).is_none() {
        return Some(Refusal::new(Status::BAD_REQUEST, "CSeq is missing or no number").into());
    }
    if matches!(request.method, Method::Other(_)) {
        return Some(not_implemented());
    }
    let unsupported = require::unsupported(&request.headers, KNOWN_TAGS)?;
    Some(Response::new(Status::OPTION_NOT_SUPPORTED).header("Unsupported", unsupported))
}

fn not_implemented() -> Response {
    Response::new(Status::NOT_IMPLEMENTED).header("Public", PUBLIC)
}
