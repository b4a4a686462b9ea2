//! Loudspeakers through FFmpeg's devices.

use std::ffi::CStr;

use super::raw::device::{DeviceOutput, sinks};
use crate::media::library::MediaError;
use crate::media::playback::{CHANNELS, Loudspeaker, SAMPLE_RATE};

/// Kinds of sound devices in the order in which they are tried.
const SOUND: [&CStr; 2] = [c"pulse", c"alsa"];

/// Milliseconds of sound that wait in the system.
const BUFFER_MS: u32 = 200;

struct Speaker(DeviceOutput);

/// Opens one by its name; empty is the system's own choice.
pub(super) fn open(name: &str) -> Result<Box<dyn Loudspeaker>, MediaError> {
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

/// Names and descriptions of all.
pub(super) fn list() -> Result<Vec<(String, String)>, String> {
    let mut reasons = Vec::new();
    for kind in SOUND {
        match sinks(kind) {
            Ok(found) => return Ok(found),
            Err(error) => reasons.push(format!("{}: {error}", kind.to_string_lossy())),
        }
    }
    Err(reasons.join("; "))
}

impl Loudspeaker for Speaker {
    fn play(&mut self, samples: &[i16]) -> Result<(), MediaError> {
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        self.0.write(&bytes).map_err(|error| MediaError::Broken(format!("the loudspeaker is lost: {error}")))
    }
}
