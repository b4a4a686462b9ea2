//! `files`: what the media folder holds.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use proto::rtsp::uri::percent_encode;
use proto::time::MediaTime;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use super::openapi::Refusals;
use super::paging::Paging;
use super::problem::Problem;
use super::state::App;
use super::tracks::Track;
use crate::media::folder::Folder;
use crate::media::library::{Answer, FileInfo, MediaError, ReplyTo, Wanted};
use crate::media::segment::Segment;

/// A file that can be played.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct File {
    /// Its name below the media folder.
    path: String,
    /// Its size; null when it has vanished meanwhile.
    bytes: Option<u64>,
}

/// Some of the files.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct FileList {
    /// In the order of their names.
    files: Vec<File>,
    /// How many there are in all.
    total: usize,
    /// What `after` has to be for the next part; null when this is the last.
    next: Option<String>,
}

/// What is in a file.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct FileDetails {
    /// Its name below the media folder.
    path: String,
    /// What can be played of it.
    tracks: Vec<Track>,
    /// Its length in seconds; null when it does not tell.
    duration_s: Option<f64>,
    /// Bits a second on average; null when it does not tell its length.
    bits_per_second: Option<u64>,
    /// Whether other positions than its start can be reached.
    seekable: bool,
    /// Whether some of it is made anew as it is played.
    transcoded: bool,
    /// One sentence for each track that cannot be played.
    left_out: Vec<String>,
}

/// Lists the files that can be played.
#[utoipa::path(get, path = "/api/v1/files", operation_id = "list_files", tag = "files", params(Paging), responses(
    (status = 200, description = "Some of the files", body = FileList), Refusals))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<Paging>, QueryRejection>,
) -> Result<Json<FileList>, Problem> {
    let paging = Paging::of(query)?;
    let settings = app.obeyed().settings;
    let folder = Folder::new(settings.media_dir.clone(), settings.follow_symlinks);
    let read = spawn_blocking(move || {
        let (names, _) = folder.list(usize::MAX)?;
        let total = names.len();
        let (part, next) = paging.part(names, |name| name);
        let size = |name: &str| Some(folder.find(&percent_encode(name)).ok()?.path.metadata().ok()?.len());
        let files = part.into_iter().map(|path| File { bytes: size(&path), path }).collect();
        Ok::<_, std::io::Error>(FileList { files, total, next })
    });
    let list = read.await.map_err(|error| Problem::unavailable(error.to_string()))?;
    list.map(Json).map_err(|error| Problem::unavailable(format!("media_dir cannot be read: {error}")))
}

/// Tells what is in a file.
#[utoipa::path(get, path = "/api/v1/files/{path}", operation_id = "get_file", tag = "files",
    params(("path" = String, Path, description = "Its name below the media folder, slashes in it included")),
    responses((status = 200, description = "The file", body = FileDetails),
        (status = 404, description = "There is none", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Nothing in it can be played", body = Problem, content_type = "application/problem+json"),
        Refusals))]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<FileDetails>, Problem> {
    let Path(path) = path.map_err(|error| Problem::bad_request(error.body_text()))?;
    let info = describe(&app, &path).await?;
    Ok(Json(FileDetails::from(&*info)))
}

/// What there is to say of a file by its name.
pub(super) async fn describe(app: &App, path: &str) -> Result<Arc<FileInfo>, Problem> {
    let (reply, answer) = reply(|answer| match answer {
        Answer::Described(_, answer) => Some(answer),
        _ => None,
    });
    app.program()?.library.describe(&percent_encode(path), &[], 0, &reply);
    heard(answer).await
}

/// The stretch of a file with the last keyframe at or before a time.
pub(super) async fn segment(
    app: &App,
    file: &Arc<FileInfo>,
    time: MediaTime,
) -> Result<Arc<Segment>, Problem> {
    let (reply, answer) = reply(|answer| match answer {
        Answer::Segment(_, answer) => Some(answer),
        _ => None,
    });
    app.program()?.library.segment(file, Wanted::Seek(time), 0, &reply);
    heard(answer).await
}

/// What the library answers.
type Heard<T> = oneshot::Receiver<Result<T, MediaError>>;

/// Where the library's answer goes, and comes from.
fn reply<T: Send + 'static>(meant: fn(Answer) -> Option<Result<T, MediaError>>) -> (ReplyTo, Heard<T>) {
    let (sender, answer) = oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let reply: ReplyTo = Arc::new(move |answer| {
        let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(sender), Some(answer)) = (sender, meant(answer)) {
            // Who has given up waiting needs no answer.
            let _ = sender.send(answer);
        }
    });
    (reply, answer)
}

async fn heard<T>(answer: Heard<T>) -> Result<T, Problem> {
    let answer = answer.await.map_err(|_| Problem::unavailable("the file cannot be looked at now"))?;
    answer.map_err(refusal)
}

fn refusal(error: MediaError) -> Problem {
    use axum::http::StatusCode;
    match error {
        MediaError::NotFound => Problem::not_found("file"),
        MediaError::Forbidden(reason) => Problem::forbidden(reason),
        MediaError::Unsupported(_) => Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string()),
        _ => Problem::unavailable(error.to_string()),
    }
}

impl From<&FileInfo> for FileDetails {
    fn from(info: &FileInfo) -> FileDetails {
        FileDetails {
            path: info.name.clone(),
            tracks: info.media().iter().map(Track::from).collect(),
            duration_s: info.duration.map(|duration| duration.as_secs_f64()),
            bits_per_second: info.bits_per_second,
            seekable: info.seekable,
            transcoded: info.is_transcoded,
            left_out: info.left_out.clone(),
        }
    }
}
