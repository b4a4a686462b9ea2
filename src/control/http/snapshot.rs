//! `snapshot`: one picture of a stream or file, in JPEG.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use proto::frame::Frame;
use proto::time::MediaTime;
use proto::track::{Codec, Kind, Track};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::openapi::Refusals;
use super::problem::Problem;
use super::state::App;
use super::streams::{self, StreamStanding};
use super::{ATTENDANT, files};
use crate::config::is_device;
use crate::control::threads;
use crate::media::library::{FileInfo, MediaError};
use crate::media::transcode::Makes;
use crate::stream::catalog::{Catalog, ShardIndex, StreamError, leading};
use crate::stream::transcoded::{first_keyframe, newest_keyframe};

/// Pictures that are made at once: each keeps a processor busy for some milliseconds.
const MADE_AT_ONCE: usize = 2;

/// Keyframes that are waited for at once: each keeps a thread, which does nothing.
const WAITING_MAX: usize = 64;

/// How long a picture may wait for its turn.
const TURN_MAX: Duration = Duration::from_secs(10);

/// How long a keyframe may take to come; sources that have to start take a while.
const KEYFRAME_MAX: Duration = Duration::from_secs(12);

/// How long a picture is given to others who ask for the same.
const FRESH: Duration = Duration::from_secs(1);

/// Pictures that are kept so.
const KEPT_MAX: usize = 64;

/// Numbers of receivers of streams below the catalog's attendant: no shard has one, and one that was given back is given
/// again after all the others.
const NUMBERS: u16 = 1_024;

/// Pixels a line at least and at most, where a width is asked for.
const WIDTHS: std::ops::RangeInclusive<u32> = 16..=8_192;

/// Seconds of a file: more than thirty years, which no file has.
const SECONDS: std::ops::RangeInclusive<f64> = 0.0..=1e9;

/// Which picture is wanted.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Pixels a line at most; the picture keeps its shape and is not made larger. Absent is the size that it has.
    #[param(minimum = 16, maximum = 8192)]
    w: Option<u32>,
    /// Of a file, the second that it is of: the last keyframe before it.
    #[param(minimum = 0, maximum = 1000000000)]
    t: Option<f64>,
    /// 1 starts a stream that nobody watches, as a viewer would.
    #[param(minimum = 0, maximum = 1)]
    start: Option<u8>,
}

/// What a picture is asked for by.
type Name = (String, Option<u32>, Option<u64>);

/// Pictures that were made a moment ago, and the turns of those that are to be made.
pub(super) struct Album {
    kept: Mutex<HashMap<Name, (Instant, Bytes)>>,
    turns: Arc<Semaphore>,
    /// Places for those that wait for a keyframe.
    waiting: Arc<Semaphore>,
    numbers: AtomicU16,
}

/// Gives one picture: of a live stream the last keyframe, of a file the first or the one at `t`. A stream that nobody watches
/// is left alone unless `start` is 1. A picture is given again for a second to whoever asks for the same.
#[utoipa::path(get, path = "/api/v1/snapshot/{path}.jpg", operation_id = "get_snapshot", tag = "streams",
    params(("path" = String, Path, description = "Path of the stream or file, slashes in it included"), Wanted),
    responses((status = 200, description = "The picture", body = Vec<u8>, content_type = "image/jpeg"),
        (status = 404, description = "There is no such stream or file", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is no picture at this moment", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "It has no pictures", body = Problem, content_type = "application/problem+json"),
        (status = 501, description = "This build cannot decode it", body = Problem, content_type = "application/problem+json"),
        Refusals))]
pub(super) async fn still(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let Path(path) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    let Query(wanted) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    wanted.check()?;
    let path = path.strip_suffix(".jpg").ok_or_else(|| Problem::not_found("picture"))?;
    let name: Name = (path.to_owned(), wanted.w, wanted.t.map(f64::to_bits));
    if let Some(picture) = app.album.find(&name) {
        return Ok(answer(picture));
    }
    let (track, frame) = frame(&app, path, &wanted).await?;
    let turn = app.album.turn().await?;
    // Whoever was before may have wanted the same.
    if let Some(picture) = app.album.find(&name) {
        return Ok(answer(picture));
    }
    let makes = app.program()?.makes.clone();
    let made = spawn_blocking(move || {
        let _turn = turn;
        threads::step_back();
        make(&track, frame, &*makes, wanted.w)
    });
    let picture = made.await.map_err(|_| Problem::unavailable("the picture cannot be decoded"))??;
    app.album.keep(name, picture.clone());
    Ok(answer(picture))
}

/// Whether a question for a picture starts a stream that nobody watches, which is more than a look. It is read as it is answered:
/// letters may be escaped.
pub(super) fn may_start(uri: &Uri) -> bool {
    Query::<Wanted>::try_from_uri(uri).is_ok_and(|Query(wanted)| wanted.start == Some(1))
}

fn answer(picture: Bytes) -> Response {
    ([(CONTENT_TYPE, "image/jpeg")], picture).into_response()
}

/// The picture as its source has it.
async fn frame(app: &App, path: &str, wanted: &Wanted) -> Result<(Track, Frame), Problem> {
    let program = app.program()?;
    let standing = match streams::find(app, path).await? {
        Some(stream) => Some(stream.state),
        None if is_device(path) || program.catalog.owns(path) => Some(StreamStanding::Idle),
        None => None,
    };
    match standing {
        Some(StreamStanding::Lost) => Err(none_now("the stream's source is lost")),
        Some(StreamStanding::Idle) if wanted.start != Some(1) => {
            Err(none_now("nobody watches the stream, so there is no picture; start=1 starts it"))
        }
        Some(StreamStanding::Running | StreamStanding::Idle) => {
            of_live(app, path.to_owned(), program.catalog.clone()).await
        }
        None => {
            let info = files::describe(app, path).await?;
            of_file(app, &info, wanted.t.unwrap_or(0.0)).await
        }
    }
}

/// The newest keyframe of a live stream. It may be long in coming, and only the thread that waits for it is kept.
async fn of_live(app: &App, path: String, catalog: Arc<dyn Catalog>) -> Result<(Track, Frame), Problem> {
    let Ok(seat) = app.album.waiting.clone().try_acquire_owned() else {
        return Err(Problem::unavailable("too many pictures are waited for"));
    };
    let (number, until) = (app.album.number(), Instant::now() + KEYFRAME_MAX);
    let found = spawn_blocking(move || {
        let _seat = seat;
        newest_keyframe(&path, catalog, number, until)
    });
    found.await.map_err(|_| Problem::unavailable("the stream cannot be read"))?.map_err(of_stream)
}

/// The keyframe of a file at or before a second.
async fn of_file(app: &App, info: &Arc<FileInfo>, second: f64) -> Result<(Track, Frame), Problem> {
    let index = leading(&info.tracks);
    let pictures = info.tracks.get(usize::from(index)).filter(|track| track.kind() == Kind::Video);
    let track = pictures.ok_or_else(|| no_pictures("the file has no pictures"))?;
    let segment = files::segment(app, info, MediaTime::from_secs_f64(second)).await?;
    let batches = segment.entries.iter().filter(|entry| entry.track == index).map(|entry| &*entry.batch);
    first_keyframe(track, batches).ok_or_else(|| no_pictures("there is no picture that stands alone"))
}

/// Makes it, which may keep the thread busy.
fn make(track: &Track, frame: Frame, makes: &dyn Makes, width: Option<u32>) -> Result<Bytes, Problem> {
    let is_small = width.is_none_or(|width| track.size.is_some_and(|size| size.0 <= width));
    if track.codec == Codec::Jpeg && is_small {
        return Ok(frame.payload);
    }
    makes.picture(track, &frame, width.unwrap_or(u32::MAX)).map_err(|error| match error {
        MediaError::Unsupported(reason) => Problem::new(StatusCode::NOT_IMPLEMENTED, reason),
        error => Problem::unavailable(error.to_string()),
    })
}

fn of_stream(error: StreamError) -> Problem {
    match error {
        StreamError::NotFound => Problem::not_found("stream"),
        StreamError::Unsupported(reason) => no_pictures(reason),
        StreamError::Unavailable(reason) => none_now(reason),
        _ => Problem::unavailable(error.to_string()),
    }
}

/// There is no picture at this moment, through no fault of the server's.
fn none_now(reason: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, reason)
}

fn no_pictures(reason: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason)
}

impl Wanted {
    fn check(&self) -> Result<(), Problem> {
        if self.w.is_some_and(|width| !WIDTHS.contains(&width)) {
            let (least, most) = (WIDTHS.start(), WIDTHS.end());
            return Err(Problem::bad_request(format!("w is {least} to {most}")));
        }
        if self.t.is_some_and(|second| !SECONDS.contains(&second)) {
            let (least, most) = (SECONDS.start(), SECONDS.end());
            return Err(Problem::bad_request(format!("t is {least} to {most}")));
        }
        if self.start.is_some_and(|start| start > 1) {
            return Err(Problem::bad_request("start is 0 or 1"));
        }
        Ok(())
    }
}

impl Album {
    /// A turn to make one; given back when it is dropped.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        match timeout(TURN_MAX, self.turns.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Problem::unavailable("too many pictures are asked for at once")),
        }
    }

    /// Who receives the stream for a picture.
    fn number(&self) -> ShardIndex {
        ATTENDANT - 1 - self.numbers.fetch_add(1, Ordering::Relaxed) % NUMBERS
    }

    fn find(&self, name: &Name) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, picture) = kept.get(name)?;
        (made.elapsed() <= FRESH).then(|| picture.clone())
    }

    fn keep(&self, name: Name, picture: Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (made, _)| made.elapsed() <= FRESH);
        if kept.len() < KEPT_MAX {
            kept.insert(name, (Instant::now(), picture));
        }
    }
}

impl Default for Album {
    fn default() -> Album {
        let [turns, waiting] = [MADE_AT_ONCE, WAITING_MAX].map(|count| Arc::new(Semaphore::new(count)));
        Album { kept: Mutex::default(), turns, waiting, numbers: AtomicU16::new(0) }
    }
}
