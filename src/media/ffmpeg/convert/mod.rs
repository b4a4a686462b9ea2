//! One track in another format, through FFmpeg: decoded, changed and encoded.

mod audio;
mod decode;
mod video;

use proto::track::Track;

use crate::media::library::MediaError;
use crate::media::transcode::plan::{AudioTarget, VideoTarget};
use crate::media::transcode::{Convert, Makes};

/// Makes converters of FFmpeg's decoders and encoders.
pub struct Converters;

impl Makes for Converters {
    fn video(&self, track: &Track, index: u8, target: &VideoTarget) -> Result<Box<dyn Convert>, MediaError> {
        Ok(Box::new(video::Pictures::new(track, index, target)?))
    }

    fn audio(&self, track: &Track, index: u8, target: &AudioTarget) -> Result<Box<dyn Convert>, MediaError> {
        Ok(Box::new(audio::Sound::new(track, index, target)?))
    }
}
