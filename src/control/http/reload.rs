//! `config/reload`: the configuration is read again, as on SIGHUP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::configuration::Finding;
use super::openapi::Refusals;
use super::problem::Problem;
use super::state::App;
use crate::config::{Count, Difference};
use crate::control::changes::Changes;
use crate::control::reload::{Asked, ReloadError};

/// What another configuration has changed, and what it will.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Reload {
    /// Settings that are obeyed as the file has them now and were others before: their names, and `output`, `backchannel`
    /// and `http_notify` for those nodes.
    settings: Vec<&'static str>,
    /// `<user>`s.
    users: Counts,
    /// `<proxy>`s.
    proxies: Counts,
    /// `<pusher>`s.
    pushers: Counts,
    /// Ports that were opened.
    ports_opened: Vec<u16>,
    /// Ports that were closed; connections on them stay.
    ports_closed: Vec<u16>,
    /// Settings that take effect at the next start.
    at_next_start: Vec<&'static str>,
    /// What was ignored or corrected.
    warnings: Vec<Finding>,
}

/// How many nodes of one kind are others than before.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(super) struct Counts {
    added: usize,
    removed: usize,
    changed: usize,
}

/// Reads the configuration again and obeys it, if all of it is right.
#[utoipa::path(post, path = "/api/v1/config/reload", operation_id = "reload_config", tag = "config", responses(
    (status = 200, description = "What has changed, and what waits for the next start", body = Reload),
    (status = 409, description = "There is no configuration file", body = Problem,
        content_type = "application/problem+json"),
    (status = 422, description = "It is wrong, or names what cannot be had: nothing has changed", body = Problem,
        content_type = "application/problem+json"), Refusals))]
pub(super) async fn reload(State(app): State<Arc<App>>) -> Result<Json<Reload>, Problem> {
    let changes = app.ask_control(Asked::Reload).await?;
    changes.map(|changes| Json(changes.into())).map_err(|error| Problem::from(&*error))
}

impl From<Changes> for Reload {
    fn from(changes: Changes) -> Reload {
        let Changes { difference, opened, closed, waiting, warnings } = changes;
        let Difference { settings, users, proxies, pushers } = difference;
        Reload {
            settings,
            users: users.into(),
            proxies: proxies.into(),
            pushers: pushers.into(),
            ports_opened: opened,
            ports_closed: closed,
            at_next_start: waiting,
            warnings: warnings.into_iter().map(Finding::from).collect(),
        }
    }
}

impl From<Count> for Counts {
    fn from(Count { added, removed, changed }: Count) -> Counts {
        Counts { added, removed, changed }
    }
}

impl From<&ReloadError> for Problem {
    fn from(error: &ReloadError) -> Problem {
        let errors = match error {
            ReloadError::NoFile => return Problem::new(StatusCode::CONFLICT, error.to_string()),
            ReloadError::Busy => return Problem::unavailable(error.to_string()),
            ReloadError::Configuration(error) => error.problems.iter().cloned().map(Finding::from).collect(),
            error => vec![Finding::of_nowhere(error.to_string())],
        };
        let detail = "the configuration stays as it was: what is written cannot be had";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).listing(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, ConfigError};

    #[test]
    fn who_is_at_fault_is_the_status_and_every_error_is_listed() {
        let none = Problem::from(&ReloadError::NoFile);
        assert_eq!((none.status, none.errors.len()), (409, 0));
        assert!(none.detail.contains("-c FILE"));
        let problems = ["a", "b"].map(|text| config::Problem::outside(text, "wrong")).to_vec();
        let wrong = Problem::from(&ReloadError::Configuration(ConfigError { problems }));
        assert_eq!((wrong.status, wrong.errors.len()), (422, 2));
    }
}
