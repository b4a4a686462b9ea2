//! `streams`: what can be watched at this moment.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::paging::Paging;
use super::problem::Problem;
use super::state::{App, Rate};
use super::tracks::Track;
use crate::config::{Settings, is_device};
use crate::shard::steering::{PublicationReport, Question, ShardStreams, StreamState};
use crate::stream::catalog::Description;

/// From one measurement of a stream's rate to the next, at least.
const MEASURED_EVERY: Duration = Duration::from_secs(1);

/// A live stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Stream {
    /// Its path, without the slash before it.
    pub(super) path: String,
    /// Where it comes from.
    pub(super) source: Origin,
    /// `running`, `idle` (it begins with the first viewer) or `lost` (its source is away and may come back).
    pub(super) state: StreamStanding,
    /// What it carries; empty as long as that is not known.
    tracks: Vec<Track>,
    /// Sessions that play it, in whatever format.
    pub(super) viewers: u32,
    /// What comes of it; null while that is not known.
    bits_per_second: Option<u64>,
    /// Bytes that its source has sent since it began; null of streams that are made here.
    pub(super) received_bytes: Option<u64>,
    /// Packets of its source that have not come, by the gaps in their numbers, since it was last connected; null where
    /// nobody numbers them.
    pub(super) packets_lost: Option<u64>,
    /// Address of who sends it; null where nobody does.
    sender: Option<String>,
    /// The other formats that it is made anew in.
    formats: Vec<Variant>,
}

/// A format that a stream is made anew in.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Variant {
    /// The format, as parameters of a URL.
    format: String,
    /// What it carries.
    tracks: Vec<Track>,
    /// What comes of it; null while that is not known.
    bits_per_second: Option<u64>,
}

/// Where a stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Origin {
    /// The built-in test picture.
    Test,
    /// A screen, a camera or a microphone.
    Device,
    /// Another server, by `<proxy>`.
    Proxy,
    /// A sender of RTP, by `<pusher>`.
    Pusher,
    /// A client that publishes.
    Publisher,
    /// A file that is a live channel, or that is made anew for all its viewers.
    File,
}

/// Where a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StreamStanding {
    /// It runs.
    Running,
    /// It begins with the first viewer.
    Idle,
    /// Its source is away.
    Lost,
}

/// Some of the streams.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct StreamList {
    /// In the order of their paths.
    streams: Vec<Stream>,
    /// How many there are in all.
    total: usize,
    /// What `after` has to be for the next part; null when this is the last.
    next: Option<String>,
}

/// Lists live streams: those that run, and those of the configuration that begin when they are asked for. Files and devices
/// that nobody watches are told elsewhere.
#[utoipa::path(get, path = "/api/v1/streams", operation_id = "list_streams", tag = "streams", params(Paging), responses(
    (status = 200, description = "Some of the streams", body = StreamList), Refusals))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<StreamList>, Problem> {
    let paging = Paging::of(query)?;
    let all = all(&app).await?;
    let total = all.len();
    let (streams, next) = paging.part(all, |stream| &stream.path);
    Ok(Json(StreamList { streams, total, next }))
}

/// Tells of one stream.
#[utoipa::path(get, path = "/api/v1/streams/{path}", operation_id = "get_stream", tag = "streams",
    params(("path" = String, Path, description = "Its path, slashes in it included")),
    responses((status = 200, description = "The stream", body = Stream),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"), Refusals))]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<Stream>, Problem> {
    let Path(path) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    find(&app, &path).await?.map(Json).ok_or_else(|| Problem::not_found("stream"))
}

/// Every stream, as all shards see it together.
pub(super) async fn all(app: &App) -> Result<Vec<Stream>, Problem> {
    asked(app, None).await
}

/// One of them.
pub(super) async fn find(app: &App, path: &str) -> Result<Option<Stream>, Problem> {
    Ok(asked(app, Some(path.to_owned())).await?.pop())
}

async fn asked(app: &App, only: Option<String>) -> Result<Vec<Stream>, Problem> {
    let answers = app.ask_all(|reply| Question::Streams(only.clone(), reply)).await?;
    let is_asked = |path: &str| only.as_ref().is_none_or(|only| only == path);
    let mut streams = BTreeMap::new();
    let settings = app.obeyed().settings;
    if settings.test && is_asked("test") {
        streams.insert("test".to_owned(), Stream::idle("test", Origin::Test));
    }
    let pushed = settings.pushers.iter().map(|pusher| pusher.suffix.trim_matches('/'));
    for path in pushed.filter(|path| is_asked(path)) {
        streams.insert(path.to_owned(), Stream::idle(path, Origin::Pusher));
    }
    for report in answers.iter().flat_map(|answer| &answer.taken_in) {
        add_taken_in(&mut streams, report, &settings);
    }
    measure(app, &mut streams, &answers, only.is_none());
    for (description, rate) in answers.iter().flat_map(|answer| &answer.live) {
        add_live(&mut streams, description, *rate, &settings);
    }
    Ok(streams.into_values().collect())
}

fn add_taken_in(streams: &mut BTreeMap<String, Stream>, report: &PublicationReport, settings: &Settings) {
    let origin = origin(&report.path, settings, Origin::Publisher);
    let stream = streams.entry(report.path.to_string());
    let stream = stream.or_insert_with(|| Stream::idle(&report.path, origin));
    stream.state = (&report.state).into();
    stream.tracks = report.tracks.iter().map(Track::from).collect();
    stream.viewers = report.viewers;
    stream.received_bytes = Some(report.bytes);
    stream.packets_lost = report.missing;
    stream.sender = report.sender.map(|sender| sender.to_string());
}

fn add_live(
    streams: &mut BTreeMap<String, Stream>,
    description: &Description,
    rate: Option<u64>,
    settings: &Settings,
) {
    let path = description.path();
    let origin = origin(path, settings, Origin::File);
    let stream = streams.entry(path.to_owned()).or_insert_with(|| Stream::idle(path, origin));
    if stream.state == StreamStanding::Idle {
        stream.state = StreamStanding::Running;
    }
    stream.viewers = stream.viewers.max(description.audience.count());
    let tracks = || description.tracks.iter().map(Track::from).collect();
    if description.name.is_plain() {
        if stream.tracks.is_empty() {
            stream.tracks = tracks();
        }
        stream.bits_per_second = rate.or(stream.bits_per_second);
        return;
    }
    let format = description.name.to_string();
    let format = format.strip_prefix(path).unwrap_or(&format).trim().trim_matches(['(', ')']).to_owned();
    match stream.formats.iter_mut().find(|variant| variant.format == format) {
        Some(variant) => variant.bits_per_second = variant.bits_per_second.or(rate),
        None => stream.formats.push(Variant { format, tracks: tracks(), bits_per_second: rate }),
    }
}

/// How fast streams come that nobody may be watching: from one time that is asked to another. Where `are_all` is set the
/// others are gone.
fn measure(app: &App, streams: &mut BTreeMap<String, Stream>, answers: &[ShardStreams], are_all: bool) {
    let mut rates = app.rates.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let mut there = HashSet::new();
    for report in answers.iter().flat_map(|answer| &answer.taken_in) {
        there.insert(report.path.clone());
        let fresh = Rate { at: now, bytes: report.bytes, bits_per_second: None };
        let rate = rates.entry(report.path.clone()).or_insert(fresh);
        let span = now - rate.at;
        if report.bytes < rate.bytes {
            // Another run of the stream.
            *rate = fresh;
        } else if span >= MEASURED_EVERY {
            let bits = (report.bytes - rate.bytes) as f64 * 8.0;
            *rate = Rate { bits_per_second: Some((bits / span.as_secs_f64()) as u64), ..fresh };
        }
        if let Some(stream) = streams.get_mut(&*report.path) {
            stream.bits_per_second = rate.bits_per_second;
        }
    }
    rates.retain(|path, _| !are_all || there.contains(path));
}

fn origin(path: &str, settings: &Settings, other: Origin) -> Origin {
    let is_of = |suffix: &str| suffix.trim_matches('/') == path;
    if path == "test" && settings.test {
        Origin::Test
    } else if is_device(path) {
        Origin::Device
    } else if settings.proxies.iter().any(|proxy| is_of(&proxy.suffix)) {
        Origin::Proxy
    } else if settings.pushers.iter().any(|pusher| is_of(&pusher.suffix)) {
        Origin::Pusher
    } else {
        other
    }
}

impl From<&StreamState> for StreamStanding {
    fn from(state: &StreamState) -> StreamStanding {
        match state {
            StreamState::Running => StreamStanding::Running,
            StreamState::Idle => StreamStanding::Idle,
            StreamState::Lost => StreamStanding::Lost,
        }
    }
}

impl Stream {
    fn idle(path: &str, source: Origin) -> Stream {
        Stream {
            path: path.to_owned(),
            source,
            state: StreamStanding::Idle,
            tracks: Vec::new(),
            viewers: 0,
            bits_per_second: None,
            received_bytes: None,
            packets_lost: None,
            sender: None,
            formats: Vec::new(),
        }
    }
}
