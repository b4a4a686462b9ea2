//! ANNOUNCE (RFC 2326 section 10.3): a client says what it is going to publish.

use std::sync::Arc;

use proto::io::Conn;
use proto::rtsp::message::{Request, Response};
use proto::rtsp::status::Status;
use proto::rtsp::uri::{Target, percent_decode};
use proto::sdp;
use proto::track::Track;

use super::connection::{Connection, Refusal};
use super::hooks::Admission;
use super::request::Outcome;
use super::session::SessionKey;
use super::settings::MayPublish;
use super::turn::{Asker, Shard};
use crate::media::library::Ticket;
use crate::stream::catalog::{Claim, ClaimError, Grant, Pulse};

/// The longest path that can be published to, in bytes.
const PATH_BYTES_MAX: usize = 512;

/// What a connection has announced.
#[derive(Debug)]
pub struct Announced {
    /// The URL, as the log tells it.
    pub url: String,
    /// The path, decoded, without the leading slash.
    pub path: Arc<str>,
    /// The tracks, by the order of their sections.
    pub tracks: Vec<Track>,
    /// The URL that SETUP uses for each of them.
    pub controls: Vec<String>,
    /// Whether the path may be used.
    pub claim: ClaimState,
    /// What a web service has admitted, until a session has it.
    pub admission: Option<Box<Admission>>,
    pulse: Arc<Pulse>,
}

/// What a client wants to publish.
struct Wanted {
    path: Arc<str>,
    tracks: Vec<Track>,
    controls: Vec<String>,
}

/// How far a claim is.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimState {
    /// The library was asked whether a file has the path.
    LooksForFile,
    /// The catalog was asked.
    Asked,
    /// The path is this connection's.
    Granted(Grant),
    /// It is not.
    Refused(Refusal),
}

impl Shard {
    /// Answers ANNOUNCE once it is known that the path is free.
    pub(super) fn announce(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
    ) -> Outcome {
        if session.is_some() {
            let reason = "a session cannot change what it was set up for";
            return Refusal::new(Status::METHOD_NOT_VALID_IN_THIS_STATE, reason).into();
        }
        let Some(connection) = self.connections.get(conn) else { return Outcome::Wait };
        if !connection.is_retrying {
            let wanted = match self.may_announce(conn, request, target) {
                Ok(wanted) => wanted,
                Err(refusal) => return refusal.into(),
            };
            let admission = match self.let_publish(conn, target, &wanted.path) {
                Ok(admission) => admission,
                Err(outcome) => return outcome,
            };
            self.begin_announcement(conn, target, wanted, admission);
        }
        self.go_on_with_announcement(conn, target)
    }

    /// Takes the catalog's answer to a claim.
    pub(super) fn claimed(&mut self, ticket: Ticket, answer: Result<Grant, ClaimError>) {
        let Some(Asker::Connection(conn)) = self.waiting.remove(&ticket) else { return };
        let peer = self.connections.get(conn).map(|connection| connection.peer);
        let announced = self.connections.get_mut(conn).and_then(|connection| connection.announced.as_mut());
        match (announced, answer) {
            (Some(announced), Ok(grant)) if announced.claim == ClaimState::Asked => {
                announced.claim = ClaimState::Granted(grant);
                let (path, tracks) = (announced.path.clone(), announced.tracks.clone());
                let pulse = announced.pulse.clone();
                self.begin_publication(conn, grant, path, tracks, pulse);
            }
            (Some(announced), Err(error)) => {
                tracing::warn!(?peer, url = %announced.url, %error, "a publisher is refused");
                announced.claim = ClaimState::Refused(Refusal::new(status_of(error), error.to_string()));
            }
            // The connection is gone: nobody will publish.
            (_, Ok(grant)) => self.ports.catalog.release(grant),
            (None, Err(_)) => {}
        }
        self.retry(conn);
    }

    /// Forgets what a connection announced and did not begin to send.
    pub(super) fn forget_announcement(&mut self, conn: Conn) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(announced) = connection.announced.take() else { return };
        if let ClaimState::Granted(grant) = announced.claim
            && let Some(publication) = self.publications.get_mut(grant.tenure)
            && publication.is_announced_by(conn)
        {
            self.end_publication(grant.tenure, "the publisher did not begin");
        }
    }

    /// What a client wants to publish, if it may. What it announced before is forgotten in any case.
    fn may_announce(&mut self, conn: Conn, request: &Request, target: &Target) -> Result<Wanted, Refusal> {
        self.forget_announcement(conn);
        let is_allowed = match self.settings.may_publish {
            MayPublish::Nobody => false,
            MayPublish::Local => self.connections.get(conn).is_some_and(Connection::is_local),
            // Whoever passed the gate is one.
            MayPublish::Users => self.settings.access.is_some(),
            MayPublish::Everybody => true,
        };
        if !is_allowed {
            return Err(Refusal::new(
                Status::FORBIDDEN,
                "publishing is not allowed here: see the setting publish",
            ));
        }
        let path = legal_path(target)?;
        if self.ports.catalog.owns(&path) {
            return Err(Refusal::new(Status::METHOD_NOT_ALLOWED, ClaimError::Owned.to_string()));
        }
        let (tracks, controls) = described(request)?;
        Ok(Wanted { path, tracks, controls })
    }

    fn begin_announcement(
        &mut self,
        conn: Conn,
        target: &Target,
        wanted: Wanted,
        admission: Option<Box<Admission>>,
    ) {
        let Wanted { path, tracks, controls } = wanted;
        let is_known = self.publications.has_path(&path);
        // A path that is published to has no file: that was looked for when its first publisher came.
        let claim = if is_known { ClaimState::Asked } else { ClaimState::LooksForFile };
        let url = target.content_base().trim_end_matches('/').to_owned();
        let announced = Announced { url, path, tracks, controls, claim, admission, pulse: Arc::default() };
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.announced = Some(Box::new(announced));
        }
        if is_known {
            self.ask_catalog(conn);
        } else {
            self.ask_library(conn, target, 0);
        }
    }

    fn go_on_with_announcement(&mut self, conn: Conn, target: &Target) -> Outcome {
        let Some(connection) = self.connections.get_mut(conn) else { return Outcome::Wait };
        let Some(announced) = &mut connection.announced else { return Outcome::Wait };
        match &announced.claim {
            ClaimState::Asked => Outcome::Wait,
            ClaimState::LooksForFile => match &connection.resolved {
                Some(resolved)
                    if resolved.asked.is_none() && resolved.target.is_same_presentation(target) =>
                {
                    // What is there and cannot be played is a file as well.
                    let reason = match &resolved.mount {
                        Ok(_) => "the path is a file's".to_owned(),
                        Err(refusal) if refusal.status != Status::NOT_FOUND => refusal.reason.clone(),
                        Err(_) => {
                            announced.claim = ClaimState::Asked;
                            connection.resolved = None;
                            self.ask_catalog(conn);
                            return Outcome::Wait;
                        }
                    };
                    connection.announced = None;
                    Refusal::new(Status::METHOD_NOT_ALLOWED, reason).into()
                }
                _ => Outcome::Wait,
            },
            ClaimState::Granted(_) => Outcome::Reply(Response::new(Status::OK)),
            ClaimState::Refused(refusal) => {
                let refusal = refusal.clone();
                connection.announced = None;
                refusal.into()
            }
        }
    }

    fn ask_catalog(&mut self, conn: Conn) {
        let (ticket, _) = self.ticket(Asker::Connection(conn));
        let owner = self.ports.shards[usize::from(self.index)].subscriber();
        let Some(connection) = self.connections.get(conn) else { return };
        let Some(announced) = &connection.announced else { return };
        self.ports.catalog.claim(Claim {
            ticket,
            path: announced.path.clone(),
            tracks: announced.tracks.clone(),
            peer: connection.peer.ip(),
            now: self.now,
            pulse: announced.pulse.clone(),
            owner,
        });
    }
}

/// The path of a URL as viewers will ask for it, decoded. It must name something, and nothing outside.
fn legal_path(target: &Target) -> Result<Arc<str>, Refusal> {
    let refused = |reason: &str| Err(Refusal::new(Status::BAD_REQUEST, reason));
    let Ok(path) = percent_decode(target.path.trim_matches('/')) else {
        return refused("the path is not UTF-8");
    };
    if target.is_server() || path.is_empty() {
        return refused("ANNOUNCE needs a path to publish under");
    }
    if path.len() > PATH_BYTES_MAX {
        return refused("the path is too long");
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..")
        || path.chars().any(char::is_control)
    {
        return refused("the path cannot be published to");
    }
    Ok(path.into())
}

/// What a request announces: tracks, and the URL of each.
fn described(request: &Request) -> Result<(Vec<Track>, Vec<String>), Refusal> {
    let content_type = request.headers.get("Content-Type").unwrap_or("application/sdp");
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/sdp") {
        return Err(Refusal::new(Status::UNSUPPORTED_MEDIA_TYPE, "only application/sdp is read"));
    }
    let bad = |reason: String| Refusal::new(Status::BAD_REQUEST, reason);
    if request.body.is_empty() {
        return Err(bad("ANNOUNCE needs a description".into()));
    }
    let text = String::from_utf8_lossy(&request.body);
    let session = sdp::parse(&text).map_err(|error| bad(error.to_string()))?;
    let base = request.headers.get("Content-Base").unwrap_or(&request.uri);
    let (tracks, controls): (Vec<_>, Vec<_>) = (session.media.iter())
        .filter_map(|media| Some((media.track()?.clone(), session.control_url(base, media))))
        .unzip();
    if tracks.iter().any(|track: &Track| track.clock_rate == 0) {
        return Err(bad("a media has a clock of 0 hertz".into()));
    }
    if tracks.is_empty() {
        return Err(bad("the description has no media that could be published".into()));
    }
    Ok((tracks, controls))
}

fn status_of(error: ClaimError) -> Status {
    match error {
        ClaimError::Busy => Status::FORBIDDEN,
        ClaimError::Full => Status::NOT_ENOUGH_BANDWIDTH,
        ClaimError::Owned => Status::METHOD_NOT_ALLOWED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_viewers_can_ask_for_are_legal_and_no_others() {
        let path = |url: &str| legal_path(&Target::parse(url).unwrap()).ok().map(|path| path.to_string());
        let found = |path: &str| Some(path.to_owned());
        assert_eq!(path("rtsp://h/live/cam%201/"), found("live/cam 1"));
        assert_eq!(path("rtsp://h/a?token=1"), found("a"));
        for bad in [
            "rtsp://h",
            "rtsp://h/",
            "*",
            "rtsp://h/a/../b",
            "rtsp://h/./a",
            "rtsp://h/a//b",
            "rtsp://h/%0a",
            "rtsp://h/%ff",
        ] {
            assert_eq!(path(bad), None, "{bad}");
        }
        assert_eq!(path(&format!("rtsp://h/{}", "a".repeat(600))), None);
    }
}
