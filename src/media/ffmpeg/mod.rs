//! Files through FFmpeg's demuxers.

mod config;
mod container;
pub mod encode;
mod pieces;
pub mod raw;
pub mod report;
#[cfg(test)]
mod tests;
mod times;
mod tracks;

use std::fs::File;
use std::path::Path;

use super::library::MediaError;
use super::opener::{Opened, Opener};

/// Opens files with FFmpeg.
pub struct Containers;

impl Opener for Containers {
    fn open(&self, file: File, path: &Path) -> Result<Opened, MediaError> {
        container::open(file, path)
    }
}
