//! `sessions`: who plays and who publishes, and the way to end that.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::paging::Paging;
use super::problem::Problem;
use super::state::App;
use crate::shard::steering::{Question, SessionKind, SessionReport};
use crate::shard::{SessionId, State as SessionState};

/// Sessions that a shard is asked about at once: making the answer is a fraction of a millisecond of its time.
const ASKED_AT_ONCE: usize = 128;

/// One who plays or publishes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Session {
    /// Its identifier, as RTSP has it.
    #[schema(pattern = "^[0-9A-F]{16}$")]
    id: String,
    /// `play` or `publish`.
    kind: Kind,
    /// `ready` (set up, or paused), `starting` or `playing` (media flows).
    state: SessionStanding,
    /// Path of what it plays or publishes, without the slash before it.
    path: String,
    /// The URL that its client asked for.
    url: String,
    /// The client's address and port.
    peer: String,
    /// The user; null where nobody was asked.
    user: Option<String>,
    /// How media travels: `tcp`, `udp`, `multicast`, `http` (a tunnel) or `websocket`.
    transport: &'static str,
    /// Whether its connection is in TLS; null while it has none.
    secure: Option<bool>,
    /// Seconds since it began.
    age_s: f64,
    /// Bytes of media that were sent, or received of a publisher.
    bytes: u64,
    /// Packets lost, as the viewer reports it; of a publisher those that have not come, by the gaps in their numbers.
    packets_lost: u64,
    /// Pictures and pieces of sound that were left out because the viewer was too slow.
    frames_shed: u64,
    /// Latest round trip in milliseconds; null before the viewer has reported.
    round_trip_ms: Option<f64>,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Its client watches.
    Play,
    /// Its client publishes.
    Publish,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SessionStanding {
    Ready,
    Starting,
    Playing,
}

/// Some of the sessions.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct SessionList {
    /// In the order of their identifiers.
    sessions: Vec<Session>,
    /// How many there are in all.
    total: usize,
    /// What `after` has to be for the next part; null when this is the last.
    next: Option<String>,
}

/// Lists sessions.
#[utoipa::path(get, path = "/api/v1/sessions", operation_id = "list_sessions", tag = "sessions", params(Paging), responses(
    (status = 200, description = "Some of the sessions", body = SessionList), Refusals))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<SessionList>, Problem> {
    let paging = Paging::of(query)?;
    let ids = app.ask_all(Question::SessionIds).await?.into_iter().flatten();
    let named: Vec<(String, SessionId)> = ids.map(|id| (id.to_string(), id)).collect();
    let total = named.len();
    let (part, next) = paging.part(named, |(name, _)| name);
    let mut sessions = Vec::new();
    for same_shard in part.chunk_by(|(_, a), (_, b)| a.shard() == b.shard()) {
        for some in same_shard.chunks(ASKED_AT_ONCE) {
            let ids = some.iter().map(|(_, id)| *id).collect();
            let reports = app.ask(some[0].1.shard(), |reply| Question::Sessions(ids, reply)).await?;
            sessions.extend(reports.into_iter().map(Session::from));
        }
    }
    Ok(Json(SessionList { sessions, total, next }))
}

/// Tells of one session.
#[utoipa::path(get, path = "/api/v1/sessions/{id}", operation_id = "get_session", tag = "sessions", params(("id" = String, Path, description = "Its identifier")),
    responses((status = 200, description = "The session", body = Session),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"), Refusals))]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Session>, Problem> {
    let id = id(path)?;
    let reports = app.ask(id.shard(), |reply| Question::Sessions(vec![id], reply)).await.map_err(absent)?;
    let report = reports.into_iter().next().ok_or_else(|| Problem::not_found("session"))?;
    Ok(Json(report.into()))
}

/// Ends a session: its viewer is told by BYE, and where media travels on its connection that is closed.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", operation_id = "end_session", tag = "sessions", params(("id" = String, Path, description = "Its identifier")),
    responses((status = 204, description = "It has ended"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"), Refusals))]
pub(super) async fn end(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let id = id(path)?;
    let was_there = app.ask(id.shard(), |reply| Question::End(id, reply)).await.map_err(absent)?;
    was_there.then_some(StatusCode::NO_CONTENT).ok_or_else(|| Problem::not_found("session"))
}

pub(super) fn id(path: Result<Path<String>, PathRejection>) -> Result<SessionId, Problem> {
    let Path(text) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    SessionId::parse(&text).ok_or_else(|| Problem::not_found("session"))
}

/// A shard that does not exist has no session.
pub(super) fn absent(problem: Problem) -> Problem {
    if problem.status == StatusCode::NOT_FOUND { Problem::not_found("session") } else { problem }
}

impl From<SessionReport> for Session {
    fn from(report: SessionReport) -> Session {
        Session {
            id: report.id.to_string(),
            kind: report.kind.into(),
            state: match report.state {
                SessionState::Ready => SessionStanding::Ready,
                SessionState::Starting => SessionStanding::Starting,
                SessionState::Playing => SessionStanding::Playing,
            },
            path: report.path,
            url: report.url,
            peer: report.peer.to_string(),
            user: report.user,
            transport: report.transport,
            secure: report.is_secure,
            age_s: report.age.as_millis() as f64 / 1e3,
            bytes: report.bytes,
            packets_lost: report.packets_lost,
            frames_shed: report.batches_shed,
            round_trip_ms: report.round_trip.map(|trip| trip.as_micros() as f64 / 1e3),
        }
    }
}

impl From<SessionKind> for Kind {
    fn from(kind: SessionKind) -> Kind {
        match kind {
            SessionKind::Play => Kind::Play,
            SessionKind::Publish => Kind::Publish,
        }
    }
}
