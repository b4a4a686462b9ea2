//! A build that knows no PipeWire: microphones come by other doors, screens from X servers.

use super::{Capture, Found};
use crate::media::format::Framerate;
use crate::media::library::MediaError;

/// No microphones.
#[derive(Debug, Default)]
pub struct Microphones;

/// No screens.
#[derive(Debug)]
pub struct Desktop;

impl Microphones {
    /// Nothing.
    pub fn new() -> Microphones {
        Microphones
    }

    /// None: another door may have one.
    pub fn open(&self, _: u32) -> Option<Result<Box<dyn Capture>, MediaError>> {
        None
    }

    /// None: other doors may have some.
    pub fn list(&self) -> Option<Vec<Found>> {
        None
    }
}

impl Desktop {
    /// Nothing.
    pub fn new(_: bool) -> Desktop {
        Desktop
    }

    /// Never.
    pub fn is_there() -> bool {
        false
    }

    /// Says what is missing.
    pub fn open(&self, _: u32, _: Framerate) -> Result<Box<dyn Capture>, MediaError> {
        Err(MediaError::Unsupported("this build lacks the feature pipewire".to_owned()))
    }

    /// None of them.
    pub fn list(&self) -> Vec<Result<Found, String>> {
        Vec::new()
    }
}
