//! `proxies`: the streams that are pulled from elsewhere, and the way to add others while the program runs.

mod wish;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use proto::client::Url;
use serde::Serialize;
use utoipa::ToSchema;

use self::wish::{ProxyOutput, ProxyWish};
use super::configuration::Finding;
use super::openapi::Refusals;
use super::paging::Paging;
use super::problem::Problem;
use super::state::App;
use super::streams::StreamStanding;
use crate::config::{self, Addition, ConfigError, Holder};
use crate::control::additions::{Edit, EditError};
use crate::control::proxies;
use crate::control::reload::Asked;
use crate::shard::steering::{ProxyReport, Question};

/// A stream that is pulled from elsewhere.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Proxy {
    /// Its path, without the slash before it.
    path: String,
    /// Where it comes from, without its password.
    url: String,
    /// Who asks its source; empty where nobody is named.
    user: String,
    /// The transport that is asked for first: `TCP`, `UDP` or `MULTICAST`.
    transfer: &'static str,
    /// Whether it is pulled only while somebody watches.
    ondemand: bool,
    /// Whether a source in TLS must prove who it is.
    verify: bool,
    /// Whether viewers may talk to its source.
    backchannel: bool,
    /// The format that it is sent in; null is the source's.
    output: Option<ProxyOutput>,
    /// Who has it written down, and may change it.
    origin: ProxyOrigin,
    /// Whether it is there again after a restart.
    keep: bool,
    /// `running`, `idle` (it begins with the first viewer) or `lost` (its source is away and is asked again).
    state: StreamStanding,
    /// Whether there is a connection to its source.
    connected: bool,
    /// How its packets come, or are to come with the next attempt: `TCP`, `UDP`, `MULTICAST`, or `HTTP` where pictures do.
    transport: &'static str,
    /// Why the latest attempt came to nothing; null once media comes.
    last_error: Option<String>,
}

/// Who has a proxy written down.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ProxyOrigin {
    /// The configuration.
    File,
    /// The API has added it.
    Api,
}

/// Some of the streams that are pulled.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ProxyList {
    /// In the order of their paths.
    proxies: Vec<Proxy>,
    /// How many there are in all.
    total: usize,
    /// What `after` has to be for the next part; null when this is the last.
    next: Option<String>,
}

/// Lists the streams that are pulled from elsewhere: those of the configuration, and those that were added here.
#[utoipa::path(get, path = "/api/v1/proxies", operation_id = "list_proxies", tag = "proxies", params(Paging), responses(
    (status = 200, description = "Some of them", body = ProxyList), Refusals))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<ProxyList>, Problem> {
    let paging = Paging::of(query)?;
    let answers = app.ask_all(|reply| Question::Proxies(None, reply)).await?;
    let mut reports: HashMap<_, _> =
        answers.into_iter().flatten().map(|report| (report.path.clone(), report)).collect();
    let settings = app.obeyed().settings;
    let all: Vec<_> = settings.proxies.iter().collect();
    let total = all.len();
    let (part, next) = paging.part(all, |proxy| &proxy.suffix);
    let proxies = part.into_iter().map(|proxy| Proxy::new(proxy, reports.remove(proxy.suffix.as_str())));
    Ok(Json(ProxyList { proxies: proxies.collect(), total, next }))
}

/// Tells of one of them.
#[utoipa::path(get, path = "/api/v1/proxies/{path}", operation_id = "get_proxy", tag = "proxies",
    params(("path" = String, Path, description = "Its path, slashes in it included")),
    responses((status = 200, description = "The stream", body = Proxy),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"), Refusals))]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Proxy>, Problem> {
    find(&app, &named(path)?).await.map(Json)
}

/// Adds one where there is none. It is checked as a `<proxy>` of the configuration is, and there at once; nothing else
/// notices. `keep` has it there again after a restart.
#[utoipa::path(post, path = "/api/v1/proxies/{path}", operation_id = "add_proxy", tag = "proxies",
    params(("path" = String, Path, description = "Its path, slashes in it included")), request_body = ProxyWish,
    responses((status = 201, description = "It is there", body = Proxy),
        (status = 409, description = "There is something else at this path already, or there are too many", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 1 MiB was sent", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "What was sent is no JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A setting is wrong: nothing has changed", body = Problem, content_type = "application/problem+json"), Refusals))]
pub(super) async fn add(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    wish: Result<Json<ProxyWish>, JsonRejection>,
) -> Result<(StatusCode, Json<Proxy>), Problem> {
    let path = named(path)?;
    let addition = check(&path, wish)?;
    app.ask_control(|reply| Asked::Edit(Box::new(Edit::Add(addition)), reply)).await??;
    let gone = |problem: Problem| match problem.status {
        404 => Problem::new(StatusCode::CONFLICT, "somebody else has removed it again"),
        _ => problem,
    };
    Ok((StatusCode::CREATED, Json(find(&app, &path).await.map_err(gone)?)))
}

/// Changes one that was added here: it becomes what is sent, and what is left out is as if it had never been said, the
/// password too.
#[utoipa::path(put, path = "/api/v1/proxies/{path}", operation_id = "change_proxy", tag = "proxies",
    params(("path" = String, Path, description = "Its path, slashes in it included")), request_body = ProxyWish,
    responses((status = 200, description = "It is so", body = Proxy),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not one that was added here", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 1 MiB was sent", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "What was sent is no JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A setting is wrong: nothing has changed", body = Problem, content_type = "application/problem+json"), Refusals))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    wish: Result<Json<ProxyWish>, JsonRejection>,
) -> Result<Json<Proxy>, Problem> {
    let path = named(path)?;
    let addition = check(&path, wish)?;
    app.ask_control(|reply| Asked::Edit(Box::new(Edit::Change(addition)), reply)).await??;
    find(&app, &path).await.map(Json)
}

/// Removes one that was added here: its viewers are told that it has ended.
#[utoipa::path(delete, path = "/api/v1/proxies/{path}", operation_id = "remove_proxy", tag = "proxies",
    params(("path" = String, Path, description = "Its path, slashes in it included")),
    responses((status = 204, description = "It is gone"),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not one that was added here", body = Problem, content_type = "application/problem+json"), Refusals))]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let path = named(path)?;
    app.ask_control(|reply| Asked::Edit(Box::new(Edit::Remove(path)), reply)).await??;
    Ok(StatusCode::NO_CONTENT)
}

fn named(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let Path(path) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    Ok(path.trim_matches('/').to_owned())
}

fn check(path: &str, wish: Result<Json<ProxyWish>, JsonRejection>) -> Result<Addition, Problem> {
    let Json(wish) = wish.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let (addition, _) = wish.check(path).map_err(refused)?;
    Ok(addition)
}

fn refused(error: ConfigError) -> Problem {
    let named = |problem: config::Problem| {
        // Here it is the resource itself that is wrong.
        let subject = problem.subject.map(|subject| match subject.strip_prefix("proxy/") {
            Some("suffix") => "path".to_owned(),
            Some(rest) => rest.to_owned(),
            None => subject,
        });
        Finding::from(config::Problem { subject, ..problem })
    };
    let errors: Vec<_> = error.problems.into_iter().map(named).collect();
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "nothing has changed: what is asked for cannot be had")
        .listing(errors)
}

async fn find(app: &App, path: &str) -> Result<Proxy, Problem> {
    let settings = app.obeyed().settings;
    let proxy = settings.proxies.iter().find(|proxy| proxy.suffix == *path);
    let proxy = proxy.ok_or_else(|| Problem::not_found("proxy"))?;
    let home = proxies::home(path, app.program()?.shards.len() as u16);
    let reports = app.ask(home, |reply| Question::Proxies(Some(path.to_owned()), reply)).await?;
    Ok(Proxy::new(proxy, reports.into_iter().next()))
}

impl Proxy {
    /// None where its shard has not begun with it.
    fn new(proxy: &config::Proxy, report: Option<ProxyReport>) -> Proxy {
        // A parsed URL shows itself without its password.
        let url = Url::parse(&proxy.url).or_else(|_| Url::parse_http(&proxy.url));
        let transport = match &report {
            Some(report) => report.transfer.map_or("HTTP", transfer_name),
            None => proxy.transfer.name(),
        };
        Proxy {
            path: proxy.suffix.clone(),
            url: url.map_or_else(|error| error.to_string(), |url| url.to_string()),
            user: proxy.user.clone(),
            transfer: proxy.transfer.name(),
            ondemand: proxy.ondemand,
            verify: proxy.verify,
            backchannel: proxy.backchannel,
            output: proxy.output.as_ref().map(|output| ProxyOutput::of(&output.format)),
            origin: if proxy.holder == Holder::File { ProxyOrigin::File } else { ProxyOrigin::Api },
            keep: proxy.holder != Holder::Api { is_kept: false },
            state: report.as_ref().map_or(StreamStanding::Idle, |report| (&report.state).into()),
            connected: report.as_ref().is_some_and(|report| report.is_connected),
            transport,
            last_error: report.and_then(|report| report.failure),
        }
    }
}

fn transfer_name(transfer: proto::client::Transfer) -> &'static str {
    match transfer {
        proto::client::Transfer::Tcp => "TCP",
        proto::client::Transfer::Udp => "UDP",
        proto::client::Transfer::Multicast => "MULTICAST",
    }
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Problem {
        let detail = error.to_string();
        match error {
            EditError::Absent => Problem::not_found("proxy"),
            EditError::Taken(_) | EditError::OfFile(..) | EditError::BuiltIn(_) | EditError::TooMany => {
                Problem::new(StatusCode::CONFLICT, detail)
            }
            EditError::Unkept(..) | EditError::Spoilt(_) => {
                Problem::unavailable(format!("{detail}; nothing has changed"))
            }
        }
    }
}
