//! Decoded sound at one rate, in one number of channels.

use ffmpeg_next::format::{Sample, sample};
use ffmpeg_next::frame::Audio;
use ffmpeg_next::software::resampling::Context;
use ffmpeg_next::{ChannelLayout, Error};

use crate::media::library::MediaError;

/// Samples that one call may yield beyond those that went in, at the most.
const SPARE_SAMPLES: usize = 4_096;

/// Brings sound to a rate and a number of channels, whatever it comes in.
pub struct Resampler {
    rate: u32,
    channels: u8,
    current: Option<(Shape, Context)>,
}

/// Format, layout and rate of decoded sound.
type Shape = (Sample, ChannelLayout, u32);

impl Resampler {
    /// To so many samples a second, in 1 or 2 channels.
    pub fn new(rate: u32, channels: u8) -> Resampler {
        Resampler { rate, channels, current: None }
    }

    /// Samples between -1 and 1, those of one moment side by side.
    pub fn run(&mut self, sound: &Audio) -> Result<Vec<f32>, MediaError> {
        let failed = |error: Error| MediaError::Broken(format!("sound cannot be resampled: {error}"));
        let layout = match sound.channel_layout() {
            layout if layout.is_empty() => ChannelLayout::default(sound.channels().into()),
            layout => layout,
        };
        let shape = (sound.format(), layout, sound.rate());
        let own = ChannelLayout::default(self.channels.into());
        if self.current.as_ref().is_none_or(|(before, _)| *before != shape) {
            let packed = Sample::F32(sample::Type::Packed);
            let made = Context::get(shape.0, shape.1, shape.2, packed, own, self.rate);
            self.current = Some((shape, made.map_err(failed)?));
        }
        let Some((_, context)) = &mut self.current else { return Ok(Vec::new()) };
        let room = sound.samples() as u64 * u64::from(self.rate) / u64::from(shape.2.max(1));
        let mut resampled = Audio::new(Sample::F32(sample::Type::Packed), room as usize + SPARE_SAMPLES, own);
        context.run(sound, &mut resampled).map_err(failed)?;
        let bytes = resampled.samples() * usize::from(self.channels) * size_of::<f32>();
        let bytes = resampled.data(0).get(..bytes).unwrap_or_default();
        Ok(bytes.as_chunks::<4>().0.iter().map(|sample| f32::from_ne_bytes(*sample)).collect())
    }

    /// Forgets what came.
    pub fn reset(&mut self) {
        self.current = None;
    }
}
