//! Files through FFmpeg's demuxers.

mod bitmap;
mod config;
mod container;
pub mod convert;
#[cfg(target_os = "linux")]
pub mod devices;
#[cfg(target_os = "windows")]
#[path = "windows/mod.rs"]
pub mod devices;
pub mod encode;
mod foreign;
mod grabbed;
pub mod hardware;
#[cfg(not(target_os = "windows"))]
mod loudspeakers;
mod pieces;
mod places;
pub mod playback;
pub mod raw;
pub mod report;
mod screen;
#[cfg(test)]
mod tests;
mod times;
mod tracks;

use std::fs::File;
use std::path::Path;

use self::convert::Converters;
#[cfg(target_os = "windows")]
use self::devices::loudspeakers;
pub use self::foreign::Unsupported;
use super::format::Format;
use super::library::MediaError;
use super::opener::{Opened, Opener};
use super::transcode::Makes;
use super::transcode::demux::transcoded;

/// Opens files with FFmpeg.
pub struct Containers {
    /// What becomes of tracks that RTP does not carry.
    pub unsupported: Unsupported,
}

impl Opener for Containers {
    fn open(&self, file: File, path: &Path, format: &Format) -> Result<Opened, MediaError> {
        let still = (self.unsupported == Unsupported::MadeAnew).then(|| Converters.still());
        transcoded(container::open(file, path, self.unsupported)?, format, &Converters, still)
    }
}
