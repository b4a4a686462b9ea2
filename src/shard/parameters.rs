//! GET_PARAMETER (RFC 2326 section 10.8): a sign of life, and a few facts.

use proto::rtsp::message::{Request, Response};
use proto::rtsp::status::Status;

use super::connection::Refusal;
use super::request::Outcome;
use super::session::{Session, SessionKey, Source, State};
use super::turn::Shard;

impl Shard {
    /// Answers GET_PARAMETER: an empty body asks for nothing but a reply.
    pub(super) fn parameters_read(&self, request: &Request, session: Option<SessionKey>) -> Outcome {
        let session = session.and_then(|key| self.sessions.get(key));
        let mut response = Response::new(Status::OK);
        if let Some(session) = session {
            response.headers.push("Session", session.id.to_string());
        }
        let asked = String::from_utf8_lossy(&request.body);
        let asked: Vec<_> = asked.lines().map(str::trim).filter(|name| !name.is_empty()).collect();
        if asked.is_empty() {
            return Outcome::Reply(response);
        }
        let mut known = String::new();
        let mut unknown = Vec::new();
        for name in asked {
            match session.and_then(|session| self.parameter(session, name)) {
                Some(value) => known += &format!("{name}: {value}\r\n"),
                None => unknown.push(name),
            }
        }
        if !unknown.is_empty() {
            return Refusal::new(Status::PARAMETER_NOT_UNDERSTOOD, unknown.join("\r\n")).into();
        }
        Outcome::Reply(response.body("text/parameters", known))
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
