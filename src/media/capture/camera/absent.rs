//! A build that opens no camera.

use std::path::PathBuf;

use super::wanted::Wanted;
use super::{Capture, Found};
use crate::media::library::MediaError;

/// A camera that the configuration gives a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The number.
    pub index: u32,
    /// Its device file, or a link to it.
    pub path: PathBuf,
}

/// No cameras.
pub struct Cameras(());

impl Cameras {
    /// None, whatever is mapped.
    pub fn new(_: Vec<Mapped>) -> Cameras {
        Cameras(())
    }

    /// There is none.
    pub fn open(&self, _: u32, _: &Wanted) -> Result<Box<dyn Capture>, MediaError> {
        tracing::info!("cameras are not opened: this build lacks the feature v4l");
        Err(MediaError::NotFound)
    }

    /// Says so.
    pub fn list(&self) -> Vec<Result<Found, String>> {
        vec![Err("cameras: this build lacks the feature v4l".to_owned())]
    }
}

/// Whether FFmpeg may look for an encoder among the devices of Video4Linux: nobody knows better.
pub fn coder() -> Result<(), String> {
    Ok(())
}
