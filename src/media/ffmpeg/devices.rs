//! Screens, windows and microphones through FFmpeg's devices, and cameras beside them.

use std::env;
use std::ffi::CStr;

use super::grabbed::Reader;
use super::raw::device::{DeviceInput, sources};
use super::screen::{self, Screen};
use crate::media::capture::camera::Cameras;
use crate::media::capture::pipewire::{Desktop, Microphones};
use crate::media::capture::wanted::Wanted;
use crate::media::capture::x11;
use crate::media::capture::{Capture, Device, Devices, Found};
use crate::media::library::MediaError;
use crate::media::transcode::plan::FRAMERATE_OF_SCREENS;

/// Samples a second of microphones, which converters bring to what is asked.
const SAMPLE_RATE: u32 = 48_000;

/// Channels of microphones, which converters mix to what is asked.
const CHANNELS: u32 = 2;

/// Samples of one packet of a microphone: 20 ms.
const PACKET_SAMPLES: u32 = SAMPLE_RATE / 50;

/// Kinds of sound devices in the order in which they are tried.
const SOUND: [&CStr; 2] = [c"pulse", c"alsa"];

/// The devices of this machine.
pub struct SystemDevices {
    has_pointer: bool,
    desktop: Desktop,
    microphones: Microphones,
    cameras: Cameras,
}

impl SystemDevices {
    /// All devices; the pointer is seen on screens or not.
    pub fn new(has_pointer: bool, cameras: Cameras) -> SystemDevices {
        let (desktop, microphones) = (Desktop::new(has_pointer), Microphones::new());
        SystemDevices { has_pointer, desktop, microphones, cameras }
    }
}

impl Devices for SystemDevices {
    fn open(&self, device: &Device, wanted: &Wanted) -> Result<Box<dyn Capture>, MediaError> {
        let rate = wanted.video.framerate.unwrap_or(FRAMERATE_OF_SCREENS);
        match device {
            Device::Screen(index) if Desktop::is_there() => self.desktop.open(*index, rate),
            Device::Screen(_) | Device::Window(_) => {
                Ok(Box::new(Screen::open(&X_SERVER, device, rate, self.has_pointer)?))
            }
            Device::Microphone(index) => match self.microphones.open(*index) {
                Some(opened) => opened,
                None => Ok(Box::new(microphone(*index)?)),
            },
            Device::Camera(index) => self.cameras.open(*index, wanted),
        }
    }

    fn list(&self) -> Vec<Result<Found, String>> {
        let mut all = match Desktop::is_there() {
            true => self.desktop.list(),
            false => X_SERVER.screens(),
        };
        all.extend(X_SERVER.seen());
        all.extend(self.cameras.list());
        match self.microphones.list().map_or_else(listed_microphones, Ok) {
            Ok(found) if found.is_empty() => {
                all.push(Err("microphones: the sound system knows of none".to_owned()));
            }
            Ok(found) => all.extend(found.into_iter().map(Ok)),
            Err(error) => all.push(Err(format!("sound: {error}"))),
        }
        all
    }
}

/// The X server that `DISPLAY` names.
static X_SERVER: screen::Desktop = screen::Desktop {
    areas: x11::areas,
    windows: x11::windows,
    ways: |aim| {
        let options = match &aim.window {
            Some(window) => vec![(c"window_id", window.id.to_string())],
            None => vec![(c"grab_x", aim.area.x.to_string()), (c"grab_y", aim.area.y.to_string())],
        };
        vec![aim.by(c"x11grab", env::var("DISPLAY").unwrap_or_default(), options)]
    },
};

/// A name to open a device by, and what it is called.
type Named = (String, String);

/// Microphones of the first kind of sound that there is: names to open them by, and what they are called.
fn microphones() -> Result<(&'static CStr, Vec<Named>), String> {
    let mut reasons = Vec::new();
    for kind in SOUND {
        match sources(kind) {
            Ok(found) => {
                // What a loudspeaker plays is no microphone, nor is ALSA's nothing.
                let is_heard = |name: &str| !name.ends_with(".monitor") && name != "null";
                let heard = found.into_iter().filter(|(name, _)| is_heard(name));
                return Ok((kind, heard.collect()));
            }
            Err(error) => reasons.push(format!("{}: {error}", kind.to_string_lossy())),
        }
    }
    Err(reasons.join("; "))
}

fn listed_microphones() -> Result<Vec<Found>, String> {
    let (_, found) = microphones()?;
    let found = found.into_iter().enumerate().map(|(index, (name, description))| {
        let description = format!("{description} ({name})");
        Found { device: Device::Microphone(index as u32), description }
    });
    Ok(found.collect())
}

fn microphone(index: u32) -> Result<Reader, MediaError> {
    let (kind, found) = microphones().map_err(MediaError::Broken)?;
    let Some((name, _)) = found.get(index as usize) else {
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        tracing::info!(index, "no such microphone; there are {}: {}", names.len(), names.join(", "));
        return Err(MediaError::NotFound);
    };
    let mut options = vec![(c"sample_rate", SAMPLE_RATE.to_string()), (c"channels", CHANNELS.to_string())];
    if kind == c"pulse" {
        options.push((c"fragment_size", (PACKET_SAMPLES * 2 * CHANNELS).to_string()));
        options.push((c"name", "rtspserver".to_owned()));
    }
    let input = DeviceInput::open(kind, name, &options)
        .map_err(|error| MediaError::Broken(format!("{name} cannot be opened: {error}")))?;
    Reader::new(input)
}
