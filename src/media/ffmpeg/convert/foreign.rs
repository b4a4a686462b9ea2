//! Tracks that RTP does not carry: decoded as their containers describe them.

use bytes::Bytes;
use proto::frame::Frame;
use proto::track::Track;

use super::Converters;
use super::audio::Sound;
use super::decode::Decoder;
use super::video::Pictures;
use crate::media::capture::Shape;
use crate::media::ffmpeg::raw::Parameters;
use crate::media::library::MediaError;
use crate::media::transcode::plan::{AudioTarget, VideoTarget};
use crate::media::transcode::{Convert, Keyframes, Makes, Still};

/// Makes converters of one track.
pub struct OfContainer(Parameters);

impl OfContainer {
    /// An error where this FFmpeg cannot decode it.
    pub fn new(parameters: Parameters) -> Result<OfContainer, MediaError> {
        Decoder::of_container(&parameters, 90_000)?;
        Ok(OfContainer(parameters))
    }
}

impl Makes for OfContainer {
    fn video(
        &self,
        track: &Track,
        index: u8,
        target: &VideoTarget,
        keyframes: Keyframes,
    ) -> Result<Box<dyn Convert>, MediaError> {
        let decoder = Decoder::of_container(&self.0, track.clock_rate)?;
        Ok(Box::new(Pictures::behind(decoder, index, target, keyframes)?))
    }

    fn audio(&self, track: &Track, index: u8, target: &AudioTarget) -> Result<Box<dyn Convert>, MediaError> {
        let decoder = Decoder::of_container(&self.0, track.clock_rate)?;
        Ok(Box::new(Sound::behind(decoder, track.clock_rate, index, target)?))
    }

    fn pixels(
        &self,
        shape: Shape,
        index: u8,
        target: &VideoTarget,
        keyframes: Keyframes,
    ) -> Result<Box<dyn Convert>, MediaError> {
        Converters.pixels(shape, index, target, keyframes)
    }

    fn size(&self, track: &Track, _: &Frame) -> Result<Option<(u32, u32)>, MediaError> {
        Ok(track.size)
    }

    fn picture(&self, track: &Track, frame: &Frame, width_max: u32) -> Result<Bytes, MediaError> {
        Converters.picture(track, frame, width_max)
    }

    fn still(&self) -> Still {
        Converters.still()
    }
}
