//! The port through which shards ask for files: questions go to media threads, answers come as messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::rtsp::headers::date::Utc;
use proto::time::MediaTime;
use proto::track::{Codec, Track};

use super::format::Format;
use super::segment::{Position, Segment};
use super::transcode::jpeg::carried;
use super::transcode::pipelines::Pipeline;
use super::transcode::slots::Full;

/// Names a question so that its answer finds whoever asked; made by the asking shard.
pub type Ticket = u64;

/// What a file offers, read once and shared. Tracks that cannot be carried are not in it.
#[derive(Debug)]
pub struct FileInfo {
    /// Names this version of this file in the library's cache.
    pub id: u64,
    /// Path below the media folder, for the log.
    pub name: String,
    /// What it was asked for in.
    pub format: Format,
    /// Playable tracks. A batch's track index points into this list. Where each stream has metadata the last one is that
    /// of the viewer's playing, of which the file has nothing.
    pub tracks: Vec<Track>,
    /// For each track the canonical synchronization source of its packets.
    pub ssrc: Vec<u32>,
    /// For each track the canonical RTP timestamp of content time zero.
    pub timestamp_base: Vec<u32>,
    /// Length of the content; None when the container does not tell.
    pub duration: Option<Duration>,
    /// When content time zero was recorded: as the container tells, else its length before the file was changed last.
    pub recorded: Utc,
    /// Whether every frame of the leading track is a keyframe.
    pub is_intra: bool,
    /// What it takes on average, by its size; None when the container does not tell its length.
    pub bits_per_second: Option<u64>,
    /// Whether other positions than the start can be reached.
    pub seekable: bool,
    /// One sentence for each track that was left out.
    pub left_out: Vec<String>,
    /// Whether some of it is made anew as it is read, which takes a processor more than a disk.
    pub is_transcoded: bool,
}

impl FileInfo {
    /// The tracks that are in the file itself.
    pub fn media(&self) -> &[Track] {
        match self.tracks.split_last() {
            Some((last, media)) if last.codec == Codec::Metadata => media,
            _ => &self.tracks,
        }
    }
}

/// Which segment is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The one with the last keyframe at or before this time (the first one if there is none).
    Seek(MediaTime),
    /// The one at a position that another segment named.
    At(Position),
}

/// Why a file cannot be played.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum MediaError {
    /// No such file, or not one that is served: 404.
    #[error("no such file")]
    NotFound,
    /// The file is outside the media folder or not readable: 403.
    #[error("{0}")]
    Forbidden(String),
    /// Nothing in it can be played: 415, with the reason.
    #[error("{0}")]
    Unsupported(String),
    /// It broke while it was read: the session ends.
    #[error("{0}")]
    Broken(String),
    /// So much is made anew already that this would be too much: 453.
    #[error("max_transcodes is {0}, and as many streams and files are made in another format already")]
    Busy(usize),
}

impl From<Full> for MediaError {
    fn from(Full(max): Full) -> MediaError {
        MediaError::Busy(max)
    }
}

/// What the library answers.
#[derive(Debug)]
pub enum Answer {
    /// To [`Library::describe`].
    Described(Ticket, Result<Arc<FileInfo>, MediaError>),
    /// To [`Library::segment`].
    Segment(Ticket, Result<Arc<Segment>, MediaError>),
    /// To [`Library::rewrite`].
    Picture(Ticket, Result<Bytes, MediaError>),
}

/// Takes an answer to the shard that asked and wakes it.
pub type ReplyTo = Arc<dyn Fn(Answer) + Send + Sync>;

/// The files that can be played. Every call returns at once.
pub trait Library: Send + Sync {
    /// Opens the file that a URL's path names, as it was written (percent-encoding and all), in the format that is asked
    /// for it: by the configuration, and by the URL's parameters in place of that.
    fn describe(&self, path: &str, parameters: &[(String, String)], ticket: Ticket, reply: &ReplyTo);

    /// Reads a segment of a file.
    fn segment(&self, file: &Arc<FileInfo>, wanted: Wanted, ticket: Ticket, reply: &ReplyTo);

    /// Puts a session of a file that is made anew where others play it, or in a place of its own; `begins` is the content
    /// time that it plays from here and now, None at a pace that is not the usual one. After an error,
    /// [`MediaError::Busy`], it has the place that it had.
    fn admit(
        &self,
        _file: &FileInfo,
        _begins: Option<MediaTime>,
        _place: &mut Option<Arc<Pipeline>>,
    ) -> Result<(), MediaError> {
        Ok(())
    }

    /// Whether viewers hold more than there is room for: then nobody should read far ahead. Costs no lock.
    fn is_short_of_memory(&self) -> bool {
        false
    }

    /// Makes a JPEG picture anew that RTP does not carry, without a loss where that can be.
    fn rewrite(&self, picture: Bytes, ticket: Ticket, reply: &ReplyTo) {
        reply(Answer::Picture(ticket, carried(&picture, None)));
    }
}
