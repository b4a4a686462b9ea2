//! The port to whatever takes containers apart.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use proto::rtsp::headers::date::Utc;
use proto::track::Track;

use super::demux::Demux;
use super::format::Format;
use super::library::MediaError;
use super::transcode::Makes;

/// A file that was opened, at its first frame.
pub struct Opened {
    /// Its frames.
    pub demux: Box<dyn Demux>,
    /// Tracks that can be carried; never empty.
    pub tracks: Vec<Track>,
    /// Length of the content; None when the container does not tell.
    pub duration: Option<Duration>,
    /// When its first moment was recorded; None when the container does not tell.
    pub recorded: Option<Utc>,
    /// Whether other positions than the start can be reached.
    pub seekable: bool,
    /// By track, what makes it anew where RTP does not carry it; as long as the tracks, or empty.
    pub foreign: Vec<Option<Foreign>>,
    /// One sentence for each track that was left out.
    pub left_out: Vec<String>,
    /// One sentence for each track that is made anew because RTP does not carry it.
    pub made_anew: Vec<String>,
    /// Whether some of it is made anew.
    pub is_transcoded: bool,
}

/// What makes a track anew that RTP does not carry.
pub struct Foreign {
    /// Knows how to decode it.
    pub makes: Box<dyn Makes>,
    /// Why RTP does not carry it.
    pub reason: String,
}

/// Takes containers apart.
pub trait Opener: Send + Sync {
    /// Opens a file in the format that is asked for. `path` names it for containers that are known by their extension.
    fn open(&self, file: File, path: &Path, format: &Format) -> Result<Opened, MediaError>;
}

/// The opener of a build without FFmpeg.
#[cfg(not(feature = "ffmpeg"))]
pub struct Absent;

#[cfg(not(feature = "ffmpeg"))]
impl Opener for Absent {
    fn open(&self, _: File, _: &Path, _: &Format) -> Result<Opened, MediaError> {
        Err(MediaError::Unsupported("this build is without FFmpeg: files do not play".to_owned()))
    }
}
