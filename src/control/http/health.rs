//! `/healthz` and `/readyz`, for whoever restarts or chooses servers.

use std::sync::Arc;

use axum::extract::State;

use super::problem::Problem;
use super::state::App;
use crate::shard::steering::Question;

/// Says that every shard answers: the program works.
#[utoipa::path(get, path = "/healthz", operation_id = "is_healthy", tag = "health", security(()), responses(
    (status = 200, description = "It works", body = String, content_type = "text/plain"),
    (status = 503, description = "A shard does not answer", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn healthz(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    app.ask_all(Question::Totals).await?;
    Ok("ok\n")
}

/// Says that clients are let in.
#[utoipa::path(get, path = "/readyz", operation_id = "is_ready", tag = "health", security(()), responses(
    (status = 200, description = "Clients are let in", body = String, content_type = "text/plain"),
    (status = 503, description = "Not yet", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    app.program()?;
    Ok("ready\n")
}
