//! `config`: what the server obeys, and whether another configuration would be right.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use proto::client::Url;
use serde::Serialize;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use super::Asking;
use super::openapi::Refusals;
use super::problem::Problem;
use super::state::App;
use crate::config::{self, Origin, Output, Overrides, Proxy, Pusher, PusherMode, User, keys};
use crate::control::lacking;

/// What the server obeys, without passwords.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Configuration {
    /// The file that was read; null when there is none.
    file: Option<String>,
    /// Settings that have one value, by name.
    settings: BTreeMap<&'static str, Setting>,
    /// `<user>`s.
    users: Vec<UserEntry>,
    /// `<output>`s.
    outputs: Vec<OutputEntry>,
    /// `<proxy>`s that are switched on.
    proxies: Vec<ProxyEntry>,
    /// `<pusher>`s.
    pushers: Vec<PusherEntry>,
}

/// One setting.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Setting {
    /// Its value as it would be typed; empty when nothing is set.
    value: String,
    /// `default`, `file`, `environment` or `command line`.
    origin: &'static str,
}

/// Somebody who may log in.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct UserEntry {
    name: String,
    /// What the user may do.
    rights: String,
}

/// A rule for the format of streams.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct OutputEntry {
    /// Pattern of the paths that it is for; null is for files and devices.
    url: Option<String>,
    /// The format, as parameters of a URL.
    format: String,
    /// Whether files that it is for are live channels.
    live: bool,
}

/// A stream that is pulled from elsewhere.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ProxyEntry {
    path: String,
    /// Where it is, without its password.
    url: String,
    /// `TCP`, `UDP` or `MULTICAST`.
    transfer: &'static str,
    /// Whether it is pulled only while somebody watches.
    on_demand: bool,
}

/// A stream that is pushed to the server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct PusherEntry {
    path: String,
    /// `TCP`, `UDP` or `RTSP`.
    mode: &'static str,
    /// Port that pictures come to; null where there is none.
    video_port: Option<u16>,
    /// Port that sound comes to; null where there is none.
    audio_port: Option<u16>,
}

/// What is to be said of a configuration.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct CheckResult {
    /// Whether nothing in it is wrong; what this machine lacks of it is among the warnings.
    valid: bool,
    /// What is wrong with it.
    errors: Vec<Finding>,
    /// What would be ignored or corrected, or is not on this machine.
    warnings: Vec<Finding>,
}

/// Something in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Finding {
    /// Line, from 1; null when it is not about a place.
    line: Option<u32>,
    /// Column, from 1; null when it is not about a place.
    column: Option<u32>,
    /// The element, as `config/output/video/codec`; null when it is about the whole.
    subject: Option<String>,
    /// What is wrong, and what is allowed.
    text: String,
}

/// Tells what the server obeys.
#[utoipa::path(get, path = "/api/v1/config", operation_id = "get_config", tag = "config", responses(
    (status = 200, description = "The configuration", body = Configuration), Refusals))]
pub(super) async fn effective(State(app): State<Arc<App>>) -> Json<Configuration> {
    let settings = app.obeyed().settings;
    let setting = |key: &'static config::Key| {
        let origin = match settings.origin(key.name) {
            Origin::Default => "default",
            Origin::File(_) => "file",
            Origin::Environment => "environment",
            Origin::CommandLine => "command line",
        };
        (key.name, Setting { value: (key.show)(&settings), origin })
    };
    Json(Configuration {
        file: app.asking.file.as_ref().map(|file| file.display().to_string()),
        settings: keys().map(setting).collect(),
        users: settings.users.iter().map(UserEntry::from).collect(),
        outputs: settings.outputs.iter().map(OutputEntry::from).collect(),
        proxies: settings.proxies.iter().map(ProxyEntry::from).collect(),
        pushers: settings.pushers.iter().map(PusherEntry::from).collect(),
    })
}

/// Says what is wrong with a configuration, in XML, without obeying it.
#[utoipa::path(post, path = "/api/v1/config/check", operation_id = "check_config", tag = "config",
    request_body(content = String, content_type = "application/xml", description = "The configuration"),
    responses((status = 200, description = "What is wrong with it, if anything", body = CheckResult),
        (status = 413, description = "It is larger than 1 MiB", body = Problem, content_type = "application/problem+json"), Refusals))]
pub(super) async fn check(
    State(app): State<Arc<App>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<CheckResult>, Problem> {
    let body = body.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(error.status(), "a configuration has 1 MiB at most"),
        _ => Problem::bad_request(error.body_text()),
    })?;
    if body.is_empty() {
        return Err(Problem::bad_request("there is no configuration in the request"));
    }
    let asking = app.asking.clone();
    // It is looked whether the folders in it are there, and names are looked up.
    let result = spawn_blocking(move || inspect(&body, asking)).await;
    result.map(Json).map_err(|error| Problem::unavailable(error.to_string()))
}

/// As if it stood in the place of the file that was read.
fn inspect(bytes: &[u8], asking: Asking) -> CheckResult {
    let file = asking.file.unwrap_or_else(|| PathBuf::from("rtspserver.xml"));
    let overrides = Overrides { is_confined: asking.is_confined, ..Overrides::default() };
    match config::load_bytes(bytes, &file, &overrides) {
        Ok(loaded) => {
            let lacking = lacking(&loaded.settings, asking.is_confined);
            let warnings = loaded.warnings.into_iter().chain(lacking).map(Finding::from).collect();
            CheckResult { valid: true, errors: Vec::new(), warnings }
        }
        Err(error) => {
            let errors = error.problems.into_iter().map(Finding::from).collect();
            CheckResult { valid: false, errors, warnings: Vec::new() }
        }
    }
}

impl Finding {
    /// About no place in the file.
    pub(super) fn of_nowhere(text: String) -> Finding {
        Finding { line: None, column: None, subject: None, text }
    }
}

impl From<config::Problem> for Finding {
    fn from(problem: config::Problem) -> Finding {
        Finding {
            line: problem.place.as_ref().map(|place| place.line),
            column: problem.place.as_ref().map(|place| place.column),
            subject: problem.subject,
            text: problem.text,
        }
    }
}

impl From<&User> for UserEntry {
    fn from(user: &User) -> UserEntry {
        UserEntry { name: user.name.clone(), rights: user.rights() }
    }
}

impl From<&Output> for OutputEntry {
    fn from(output: &Output) -> OutputEntry {
        OutputEntry { url: output.url.clone(), format: output.format.to_string(), live: output.live }
    }
}

impl From<&Proxy> for ProxyEntry {
    fn from(proxy: &Proxy) -> ProxyEntry {
        // A parsed URL shows itself without its password.
        let url = Url::parse(&proxy.url).or_else(|_| Url::parse_http(&proxy.url));
        ProxyEntry {
            path: proxy.suffix.clone(),
            url: url.map_or_else(|error| error.to_string(), |url| url.to_string()),
            transfer: proxy.transfer.name(),
            on_demand: proxy.ondemand,
        }
    }
}

impl From<&Pusher> for PusherEntry {
    fn from(pusher: &Pusher) -> PusherEntry {
        PusherEntry {
            path: pusher.suffix.clone(),
            mode: match pusher.mode {
                PusherMode::Tcp => "TCP",
                PusherMode::Udp => "UDP",
                PusherMode::Rtsp => "RTSP",
            },
            video_port: pusher.video.and_then(|video| video.port),
            audio_port: pusher.audio.as_ref().and_then(|audio| audio.port),
        }
    }
}
