//! What a URL's path names: a live stream, or a file that the media threads look for.

use std::sync::Arc;

use proto::io::Conn;
use proto::rtsp::status::Status;
use proto::rtsp::uri::{Target, percent_decode};

use super::announce::ClaimState;
use super::connection::{Mount, Refusal, Resolved};
use super::live::{self, LiveStreams, Lookup};
use super::turn::{Asker, Shard};
use crate::media::capture::Device;
use crate::media::format::Format;
use crate::media::library::{FileInfo, MediaError, Ticket};
use crate::stream::catalog::{Description, StreamError, StreamName};

/// The state of a question.
pub(super) enum Resolution {
    /// Answered.
    Found(Mount),
    /// Answered: there is nothing, or nothing that can be played.
    Refused(Refusal),
    /// The connection will be told.
    Waiting,
}

impl Shard {
    /// Finds out what a path names. Remembered for the connection until it asks for another path.
    pub(super) fn resolve(&mut self, conn: Conn, target: &Target) -> Resolution {
        let Some(connection) = self.connections.get_mut(conn) else { return Resolution::Waiting };
        match &connection.resolved {
            Some(Resolved { asked: Some(_), .. }) => return Resolution::Waiting,
            Some(resolved)
                if resolved.target.is_same_presentation(target)
                    && is_current(resolved, connection.is_retrying, &self.live) =>
            {
                return match &resolved.mount {
                    Ok(mount) => Resolution::Found(mount.clone()),
                    Err(refusal) => Resolution::Refused(refusal.clone()),
                };
            }
            _ => {}
        }
        let live_path = target.path.trim_matches('/');
        let live_path = canonical(percent_decode(live_path).unwrap_or_else(|_| live_path.to_owned()));
        if self.ports.catalog.owns(&live_path) || self.publications.has_path(&live_path) {
            let format = self.settings.rules.live_format(&live_path).with_parameters(&target.parameters);
            return match format.and_then(|format| named(&live_path, format, target)) {
                Ok(name) => self.resolve_live(conn, target, &name),
                Err(reason) => Resolution::Refused(Refusal::new(Status::UNSUPPORTED_MEDIA_TYPE, reason)),
            };
        }
        self.ask_library(conn, target, 0);
        Resolution::Waiting
    }

    /// Forgets what a connection knows of a path, so that a file that changed is seen.
    pub(super) fn forget_resolved(&mut self, conn: Conn) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.resolved = None;
        }
    }

    /// Takes the library's answer to the question what a path names.
    pub(super) fn described(&mut self, ticket: Ticket, answer: Result<Arc<FileInfo>, MediaError>) {
        let Some(Asker::Connection(conn)) = self.waiting.remove(&ticket) else { return };
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(resolved) = &mut connection.resolved else { return };
        let Some((_, reading)) = resolved.asked.take_if(|(asked, _)| *asked == ticket) else { return };
        let target = resolved.target.clone();
        if answer.as_ref().is_err_and(|error| *error == MediaError::NotFound) {
            // A name that exists wins: the raw name is tried before the one cut at its parameters.
            if target.readings().nth(reading + 1).is_some() {
                self.ask_library(conn, &target, reading + 1);
                return;
            }
        }
        let is_announcing = (connection.announced.as_ref())
            .is_some_and(|announced| announced.claim == ClaimState::LooksForFile);
        if let Ok(file) = &answer
            && self.settings.rules.is_live_file(&file.name)
            && !is_announcing
        {
            return self.tune_in(conn, &target, reading, Arc::from(file.name.as_str()));
        }
        resolved.mount =
            answer.map(Mount::File).map_err(|error| Refusal::new(status_of(&error), error.to_string()));
        if let Err(refusal) = &resolved.mount
            && connection.announced.is_none()
        {
            tracing::info!(peer = %connection.peer, path = %target.raw_path, status = %refusal.status, reason = %refusal.reason,
                "not played");
        }
        self.retry(conn);
    }

    /// Goes on with the live channel of the file that a reading of the path was found to name.
    fn tune_in(&mut self, conn: Conn, target: &Target, reading: usize, path: Arc<str>) {
        // Parts of a file's name may look like parameters.
        let Some((name, parameters)) = target.readings().nth(reading) else { return };
        let found = match self.settings.rules.file_format(&path).with_parameters(&parameters) {
            Ok(format) => self.resolve_live(conn, target, &StreamName::new(path, format)),
            Err(reason) => Resolution::Refused(Refusal::new(Status::UNSUPPORTED_MEDIA_TYPE, reason)),
        };
        let connection = self.connections.get_mut(conn);
        if let Some(resolved) = connection.and_then(|connection| connection.resolved.as_mut()) {
            name.clone_into(&mut resolved.name);
            if let Resolution::Refused(refusal) = &found {
                resolved.mount = Err(refusal.clone());
            }
        }
        if !matches!(found, Resolution::Waiting) {
            self.retry(conn);
        }
    }

    /// Takes a live stream's answer for one connection.
    pub(super) fn live_answered(
        &mut self,
        conn: Conn,
        name: &StreamName,
        answer: &Result<Arc<Description>, StreamError>,
    ) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(resolved) = &mut connection.resolved else { return };
        if resolved.asked.take().is_none() {
            return;
        }
        if !name.is_plain() && matches!(answer, Err(StreamError::AsItComes)) {
            self.live.note_agreement(name.clone());
            let (target, shown) = (resolved.target.clone(), resolved.name.clone());
            let found = self.resolve_live(conn, &target, &StreamName::plain(name.path.clone()));
            let connection = self.connections.get_mut(conn);
            if let Some(resolved) = connection.and_then(|connection| connection.resolved.as_mut()) {
                resolved.name = shown;
            }
            if !matches!(found, Resolution::Waiting) {
                self.retry(conn);
            }
            return;
        }
        resolved.mount = answer.clone().map(Mount::Live).map_err(|error| {
            tracing::warn!(stream = %name, %error, "stream not available");
            Refusal::of_stream(&error)
        });
        self.retry(conn);
    }

    fn resolve_live(&mut self, conn: Conn, target: &Target, stream: &StreamName) -> Resolution {
        let as_it_comes = StreamName::plain(stream.path.clone());
        let stream = if self.live.agrees(stream) { &as_it_comes } else { stream };
        let lookup = self.live.look_up(stream, live::Asker::Connection(conn));
        let (mount, asked) = match lookup {
            Lookup::Running(description) => (Ok(Mount::Live(description)), None),
            Lookup::Subscribe => {
                let subscriber = self.ports.shards[usize::from(self.index)].subscriber();
                self.ports.catalog.subscribe(stream, subscriber);
                (Err(unanswered()), Some((0, 0)))
            }
            Lookup::Wait => (Err(unanswered()), Some((0, 0))),
        };
        let Some(connection) = self.connections.get_mut(conn) else { return Resolution::Waiting };
        let (target, name) = (target.clone(), stream.path.to_string());
        connection.resolved = Some(Resolved { target, name, mount: mount.clone(), asked });
        match mount {
            Ok(mount) => Resolution::Found(mount),
            Err(_) => Resolution::Waiting,
        }
    }

    pub(super) fn ask_library(&mut self, conn: Conn, target: &Target, reading: usize) {
        let Some((name, parameters)) = target.readings().nth(reading) else { return };
        let (ticket, reply) = self.ticket(Asker::Connection(conn));
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.resolved = Some(Resolved {
                target: target.clone(),
                name: name.to_owned(),
                mount: Err(unanswered()),
                asked: Some((ticket, reading)),
            });
        }
        self.ports.library.describe(name, &parameters, ticket, &reply);
    }
}

/// Whether an answer still holds: a stream that is no longer received here may run on under another name, and what
/// was refused to an earlier request may be there by now.
fn is_current(resolved: &Resolved, is_retrying: bool, live: &LiveStreams) -> bool {
    match &resolved.mount {
        Ok(Mount::Live(stream)) => live.get(stream.id).is_some(),
        Ok(Mount::File(_)) => true,
        Err(_) => is_retrying,
    }
}

/// The path of devices in the one spelling that they have here; any other as it is.
fn canonical(path: String) -> String {
    let Some(devices) = Device::parse(&path) else { return path };
    devices.iter().map(Device::to_string).collect::<Vec<_>>().join("+")
}

/// What a path, a format and other parameters of a URL ask for. An error names the parameter that makes no sense.
fn named(path: &str, format: Format, target: &Target) -> Result<StreamName, String> {
    let mut name = StreamName::new(path.into(), format);
    let devices = Device::parse(path).unwrap_or_default();
    let window = target.parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("window"));
    if let Some((_, title)) =
        window.filter(|_| devices.iter().any(|device| matches!(device, Device::Screen(_))))
    {
        if title.is_empty() || title.len() > TITLE_MAX || title.chars().any(char::is_control) {
            return Err("window= is not the title of a window".to_owned());
        }
        name.window = Some(title.to_lowercase().into());
    }
    Ok(name)
}

/// Bytes of the longest title that a window is looked for by.
const TITLE_MAX: usize = 200;

fn unanswered() -> Refusal {
    Refusal::new(Status::INTERNAL_SERVER_ERROR, "the answer has not come yet")
}

impl Refusal {
    /// Why a live stream cannot be watched.
    pub(super) fn of_stream(error: &StreamError) -> Refusal {
        let status = match error {
            StreamError::NotFound => Status::NOT_FOUND,
            StreamError::Unsupported(_) => Status::UNSUPPORTED_MEDIA_TYPE,
            StreamError::Busy(_) => Status::NOT_ENOUGH_BANDWIDTH,
            StreamError::Unavailable(_) | StreamError::AsItComes => Status::SERVICE_UNAVAILABLE,
        };
        Refusal::new(status, error.to_string())
    }
}

/// Whose fault it is, as a status.
pub(super) fn status_of(error: &MediaError) -> Status {
    match error {
        MediaError::NotFound => Status::NOT_FOUND,
        MediaError::Forbidden(_) => Status::FORBIDDEN,
        MediaError::Unsupported(_) => Status::UNSUPPORTED_MEDIA_TYPE,
        MediaError::Broken(_) => Status::INTERNAL_SERVER_ERROR,
        MediaError::Busy(_) => Status::NOT_ENOUGH_BANDWIDTH,
    }
}
