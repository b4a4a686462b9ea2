//! `sessions/{id}/dump`: what a session sends and receives for some seconds, for tcpdump and Wireshark.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi::Refusals;
use super::pipe::Parting;
use super::problem::Problem;
use super::sessions;
use super::state::App;
use crate::shard::SessionId;
use crate::shard::steering::{Question, Reply};

/// Seconds that a dump may last: less than a request may take.
const SECONDS_MAX: u64 = 15;

const PCAP: &str = "application/vnd.tcpdump.pcap";

/// How long it lasts.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Length {
    /// Seconds, 1 to 15.
    #[param(minimum = 1, maximum = 15)]
    #[serde(default = "Length::usual")]
    seconds: u64,
}

impl Length {
    fn usual() -> u64 {
        5
    }
}

/// What is kept for a client, and goes when that hangs up.
struct Tap {
    app: Arc<App>,
    id: SessionId,
    is_there: bool,
}

impl Drop for Tap {
    fn drop(&mut self) {
        if self.is_there {
            tracing::info!(session = %self.id, "what was kept for a dump goes: whoever asked is gone");
            self.app.order(self.id.shard(), Question::Untap(self.id, Reply::new(drop)));
        }
    }
}

/// Keeps the packets of a session from now on, 16 MiB at most, and answers when the time is over. Connections in TLS are
/// seen as they are on the wire.
#[utoipa::path(post, path = "/api/v1/sessions/{id}/dump", operation_id = "dump_session", tag = "sessions",
    params(("id" = String, Path, description = "Its identifier"), Length),
    responses((status = 200, description = "A file of packets (pcap)", body = String, content_type = "application/vnd.tcpdump.pcap"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is dumped already, or as many others as can be", body = Problem, content_type = "application/problem+json"),
        Refusals))]
pub(super) async fn dump(
    State(app): State<Arc<App>>,
    Extension(parting): Extension<Parting>,
    path: Result<Path<String>, PathRejection>,
    length: Result<Query<Length>, QueryRejection>,
) -> Result<impl IntoResponse, Problem> {
    let id = sessions::id(path)?;
    let Query(Length { seconds }) = length.map_err(|error| Problem::bad_request(error.body_text()))?;
    if !(1..=SECONDS_MAX).contains(&seconds) {
        return Err(Problem::bad_request(format!("seconds is {seconds}: it is 1 to {SECONDS_MAX}")));
    }
    let duration = Duration::from_secs(seconds);
    let enough = |what| Problem::new(StatusCode::CONFLICT, format!("{what}: wait until it is over"));
    let Ok(_place) = app.dumps.try_acquire() else {
        return Err(enough("as many sessions as can be are dumped"));
    };
    let mut tap = Tap { app: app.clone(), id, is_there: true };
    let begun = app.ask(id.shard(), |reply| Question::Tap(id, duration, reply)).await;
    // A shard that has not answered yet may still begin.
    let begun = begun.map_err(sessions::absent)?;
    tap.is_there = begun == Some(true);
    match begun {
        None => return Err(Problem::not_found("session")),
        Some(false) => return Err(enough("the session is dumped already")),
        Some(true) => {}
    }
    tracing::info!(session = %id, seconds, "packets are kept for a dump");
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = parting.seen() => return Err(Problem::unavailable("whoever asked is gone")),
    }
    let kept = app.ask(id.shard(), |reply| Question::Untap(id, reply)).await?;
    tap.is_there = false;
    let kept = kept.ok_or_else(|| Problem::unavailable("what was kept is gone"))?;
    let name = format!("attachment; filename=\"{id}.pcap\"");
    Ok(([(CONTENT_TYPE, PCAP.to_owned()), (CONTENT_DISPOSITION, name)], kept))
}
