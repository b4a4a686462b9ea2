//! One track in another format, through FFmpeg: decoded, changed and encoded.

mod audio;
mod decode;
mod foreign;
mod resample;
mod still;
mod video;

use bytes::Bytes;
use ffmpeg_next::frame::Video;
use proto::frame::Frame;
use proto::track::Track;

pub use self::decode::Decoder;
pub use self::foreign::OfContainer;
pub use self::resample::Resampler;
use crate::media::capture::Shape;
use crate::media::library::MediaError;
use crate::media::transcode::plan::{AudioTarget, VideoTarget};
use crate::media::transcode::{Convert, Keyframes, Makes, Still};

/// Makes converters of FFmpeg's decoders and encoders.
pub struct Converters;

impl Makes for Converters {
    fn video(
        &self,
        track: &Track,
        index: u8,
        target: &VideoTarget,
        keyframes: Keyframes,
    ) -> Result<Box<dyn Convert>, MediaError> {
        Ok(Box::new(video::Pictures::new(track, index, target, keyframes)?))
    }

    fn audio(&self, track: &Track, index: u8, target: &AudioTarget) -> Result<Box<dyn Convert>, MediaError> {
        Ok(Box::new(audio::Sound::new(track, index, target)?))
    }

    fn pixels(
        &self,
        shape: Shape,
        index: u8,
        target: &VideoTarget,
        keyframes: Keyframes,
    ) -> Result<Box<dyn Convert>, MediaError> {
        Ok(Box::new(video::Pictures::of_pixels(shape, index, target, keyframes)?))
    }

    fn size(&self, track: &Track, frame: &Frame) -> Result<Option<(u32, u32)>, MediaError> {
        let mut decoder = decode::Decoder::open(track)?;
        let mut pictures = decoder.push::<Video>(frame);
        pictures.extend(decoder.finish::<Video>());
        Ok(pictures.first().map(|picture| (picture.width(), picture.height())))
    }

    fn picture(&self, track: &Track, frame: &Frame, width_max: u32) -> Result<Bytes, MediaError> {
        still::picture(track, frame, width_max)
    }

    fn still(&self) -> Still {
        still::still
    }
}
