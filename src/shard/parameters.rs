//! GET_PARAMETER and SET_PARAMETER (RFC 2326 sections 10.8 and 10.9): a sign of life, a few facts, and keys.

use proto::io::Conn;
use proto::rtsp::message::{Request, Response};
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;

use super::connection::Refusal;
use super::protect::failure;
use super::rekey;
use super::request::Outcome;
use super::session::{Session, SessionKey, Source, State};
use super::turn::Shard;

/// Parameters that one request is told: there are not so many.
const NAMES_MAX: usize = 32;

impl Shard {
    /// Answers GET_PARAMETER: an empty body asks for nothing but a reply.
    pub(super) fn parameters_read(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
    ) -> Outcome {
        let response = self.named(session, Response::new(Status::OK));
        let asked = String::from_utf8_lossy(&request.body);
        let mut names: Vec<&str> = Vec::new();
        for name in asked.lines().map(str::trim).filter(|name| !name.is_empty()) {
            if !names.contains(&name) && names.len() < NAMES_MAX {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Outcome::Reply(response);
        }
        let mut known = String::new();
        let mut unknown = Vec::new();
        for name in names {
            let lines = session.and_then(|key| match name {
                rekey::PARAMETER => self.keys_read(conn, target, key),
                _ => Some(format!("{name}: {}\r\n", self.parameter(self.sessions.get(key)?, name)?)),
            });
            match lines {
                Some(lines) => known += &lines,
                None => unknown.push(name),
            }
        }
        if !unknown.is_empty() {
            return Refusal::new(Status::PARAMETER_NOT_UNDERSTOOD, unknown.join("\r\n")).into();
        }
        Outcome::Reply(response.body("text/parameters", known))
    }

    /// Answers SET_PARAMETER: nothing but keys can be set, and setting none is a sign of life.
    pub(super) fn parameters_set(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
    ) -> Outcome {
        let asked = String::from_utf8_lossy(&request.body);
        let asked = asked.lines().filter(|line| !line.trim().is_empty());
        let asked = asked.map(|line| line.split_once(':').unwrap_or((line, "")));
        let (keys, unknown): (Vec<_>, Vec<_>) =
            asked.partition(|(name, _)| name.trim().eq_ignore_ascii_case(rekey::PARAMETER));
        if !unknown.is_empty() {
            let names: Vec<_> = unknown.iter().map(|(name, _)| name.trim()).collect();
            return Refusal::new(Status::PARAMETER_NOT_UNDERSTOOD, names.join("\r\n")).into();
        }
        match (&keys[..], session) {
            ([], _) => {}
            (_, None) => return Refusal::new(Status::SESSION_NOT_FOUND, "").into(),
            ([(_, value)], Some(key)) => {
                if let Err(refusal) = self.renew_keys(conn, target, key, value) {
                    return refusal.into();
                }
            }
            _ => return failure("one key at a time").into(),
        }
        Outcome::Reply(self.named(session, Response::new(Status::OK)))
    }

    /// A response that names the session.
    fn named(&self, session: Option<SessionKey>, response: Response) -> Response {
        match session.and_then(|key| self.sessions.get(key)) {
            Some(session) => response.header("Session", session.id.to_string()),
            None => response,
        }
    }

    fn parameter(&self, session: &Session, name: &str) -> Option<String> {
        match name {
            "position" => match &session.source {
                Source::File(file) => {
                    let position = match session.state {
                        State::Playing => file.content_at(self.now),
                        State::Ready | State::Starting => file.paused_at(),
                    };
                    Some(format!("npt={:.3}", position.as_secs_f64().max(0.0)))
                }
                Source::Replay(replay) => {
                    let position = match session.state {
                        State::Playing => replay.reached(self.now),
                        State::Ready | State::Starting => replay.position().unwrap_or_default(),
                    };
                    Some(format!("npt={:.3}", position.as_secs_f64()))
                }
                Source::Live(_) | Source::Ingest(_) | Source::Member(_) => Some("npt=now".to_owned()),
            },
            "packets_sent" => {
                Some(session.tracks.iter().map(|t| u64::from(t.sent.packets)).sum::<u64>().to_string())
            }
            "packets_lost" => Some(session.lost().to_string()),
            "jitter" => {
                let jitter = session.tracks.iter().map(|track| track.heard.jitter_time(track.clock_rate));
                Some(format!("{:.6}", jitter.max().unwrap_or_default().as_secs_f64()))
            }
            _ => None,
        }
    }
}
