//! `log`: the last lines of the log.

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::openapi::Refusals;
use super::problem::Problem;
use crate::control::tail;

/// Lines of one answer at most, and where nobody says how many.
const LINES_MAX: usize = 1_000;

/// Which lines are wanted.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The `count` of the answer before: only what came since is told.
    after: Option<u64>,
    /// How many lines, 1 to 1000: the last of them.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<usize>,
}

/// Some lines of the log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct LogTail {
    /// The lines, oldest first, as they are written; what is longer than 1 KiB is cut.
    lines: Vec<String>,
    /// How many lines there have been since the start: what `after` has to be for those that follow.
    count: u64,
}

/// Tells the last lines of the log. The server keeps a thousand; none where `log_enable` is 0.
#[utoipa::path(get, path = "/api/v1/log", operation_id = "get_log", tag = "log", params(Wanted), responses(
    (status = 200, description = "The lines", body = LogTail), Refusals))]
pub(super) async fn tail(query: Result<Query<Wanted>, QueryRejection>) -> Result<Json<LogTail>, Problem> {
    let Query(wanted) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let limit = wanted.limit.unwrap_or(LINES_MAX);
    if !(1..=LINES_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is 1 to {LINES_MAX}")));
    }
    if wanted.after.is_some_and(|after| i64::try_from(after).is_err()) {
        return Err(Problem::bad_request("after is the count of an answer before"));
    }
    let part = tail::since(wanted.after.unwrap_or(0), limit);
    Ok(Json(LogTail { lines: part.lines, count: part.count }))
}
