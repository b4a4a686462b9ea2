//! Loudspeakers, and decoders of what is played on them.

use ffmpeg_next::frame::Audio;
use proto::frame::Frame;
use proto::track::Track;

use super::convert::{Decoder, Resampler};
use super::loudspeakers;
use crate::media::library::MediaError;
use crate::media::playback::{CHANNELS, Decode, Loudspeaker, Loudspeakers, SAMPLE_RATE};

/// The loudspeakers of this machine.
#[derive(Debug)]
pub struct SystemLoudspeakers;

struct Decoding {
    decoder: Decoder,
    resampler: Resampler,
}

impl Loudspeakers for SystemLoudspeakers {
    fn open(&self, name: &str) -> Result<Box<dyn Loudspeaker>, MediaError> {
        loudspeakers::open(name)
    }

    fn decoder(&self, format: &Track) -> Result<Box<dyn Decode>, MediaError> {
        let (decoder, resampler) = (Decoder::open(format)?, Resampler::new(SAMPLE_RATE, CHANNELS));
        Ok(Box::new(Decoding { decoder, resampler }))
    }

    fn list(&self) -> Result<Vec<(String, String)>, String> {
        loudspeakers::list()
    }
}

impl Decode for Decoding {
    fn decode(&mut self, frame: &Frame) -> Result<Vec<i16>, MediaError> {
        let mut samples = Vec::new();
        for sound in self.decoder.push::<Audio>(frame) {
            let resampled = self.resampler.run(&sound)?;
            let whole = |sample: f32| (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
            samples.extend(resampled.into_iter().map(whole));
        }
        Ok(samples)
    }
}
