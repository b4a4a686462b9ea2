//! Loudspeakers, through FFmpeg's devices, and decoders of what is played on them.

use std::ffi::CStr;

use ffmpeg_next::frame::Audio;
use proto::frame::Frame;
use proto::track::Track;

use super::convert::{Decoder, Resampler};
use super::raw::device::{DeviceOutput, sinks};
use crate::media::library::MediaError;
use crate::media::playback::{CHANNELS, Decode, Loudspeaker, Loudspeakers, SAMPLE_RATE};

/// Kinds of sound devices in the order in which they are tried.
const SOUND: [&CStr; 2] = [c"pulse", c"alsa"];

/// Milliseconds of sound that wait in the system.
const BUFFER_MS: u32 = 200;

/// The loudspeakers of this machine.
#[derive(Debug)]
pub struct SystemLoudspeakers;

struct Speaker(DeviceOutput);

struct Decoding {
    decoder: Decoder,
    resampler: Resampler,
}

impl Loudspeakers for SystemLoudspeakers {
    fn open(&self, name: &str) -> Result<Box<dyn Loudspeaker>, MediaError> {
        let mut reasons = Vec::new();
        for kind in SOUND {
            let is_pulse = kind == c"pulse";
            let mut options = Vec::new();
            if is_pulse {
                options.push((c"name", "rtspserver".to_owned()));
                options.push((c"buffer_duration", BUFFER_MS.to_string()));
                if !name.is_empty() {
                    options.push((c"device", name.to_owned()));
                }
            }
            // What it is called by there, or the device itself.
            let target = match (is_pulse, name) {
                (true, _) => "talk",
                (false, "") => "default",
                (false, name) => name,
            };
            match DeviceOutput::open(kind, target, SAMPLE_RATE, CHANNELS, &options) {
                Ok(output) => return Ok(Box::new(Speaker(output))),
                Err(error) => reasons.push(format!("{}: {error}", kind.to_string_lossy())),
            }
        }
        let reasons = reasons.join("; ");
        Err(MediaError::Broken(format!("no loudspeaker can be opened ({reasons}); set backchannel/device")))
    }

    fn decoder(&self, format: &Track) -> Result<Box<dyn Decode>, MediaError> {
        let (decoder, resampler) = (Decoder::open(format)?, Resampler::new(SAMPLE_RATE, CHANNELS));
        Ok(Box::new(Decoding { decoder, resampler }))
    }

    fn list(&self) -> Result<Vec<(String, String)>, String> {
        let mut reasons = Vec::new();
        for kind in SOUND {
            match sinks(kind) {
                Ok(found) => return Ok(found),
                Err(error) => reasons.push(format!("{}: {error}", kind.to_string_lossy())),
            }
        }
        Err(reasons.join("; "))
    }
}

impl Loudspeaker for Speaker {
    fn play(&mut self, samples: &[i16]) -> Result<(), MediaError> {
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.0.write(&bytes).map_err(|error| MediaError::Broken(format!("the loudspeaker is lost: {error}")))
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
