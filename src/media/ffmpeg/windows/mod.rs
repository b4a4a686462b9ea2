//! Screens by Desktop Duplication where FFmpeg knows it, else by GDI as windows are, and cameras by DirectShow, through FFmpeg's devices; microphones and loudspeakers by WASAPI.

pub(super) mod loudspeakers;
mod microphone;
mod sound;

use wasapi::Direction;

use self::microphone::Microphone;
use super::grabbed::Reader;
use super::raw::device::{DeviceInput, sources};
use super::screen::{Aim, Desktop, Screen, Way};
use crate::media::capture::camera::Mapped;
use crate::media::capture::wanted::Wanted;
use crate::media::capture::win32;
use crate::media::capture::{Capture, Device, Devices, Found};
use crate::media::library::MediaError;
use crate::media::transcode::plan::FRAMERATE_OF_SCREENS;

/// What names of DirectShow's microphones have in them, which are no cameras: the class of all devices that sound is taken
/// from (CLSID_AudioInputDeviceCategory).
const HEARS: &str = "{33D9A762-90C8-11D0-BD43-00A0C911CE86}";

/// The devices of this machine.
pub struct SystemDevices {
    has_pointer: bool,
    mapped: Vec<Mapped>,
}

impl SystemDevices {
    /// All devices; the pointer is seen on screens or not, and some cameras have numbers of their own.
    pub fn new(has_pointer: bool, mapped: Vec<Mapped>) -> SystemDevices {
        SystemDevices { has_pointer, mapped }
    }

    /// Cameras in the order of their numbers, with what they are called.
    fn cameras(&self) -> Result<Vec<(u32, Named)>, String> {
        let mut found = direct_show()?;
        let mut cameras = Vec::new();
        for Mapped { index, path } in &self.mapped {
            let name = path.display().to_string();
            let place = found.iter().position(|(own, title)| *own == name || *title == name);
            let camera =
                place.map_or_else(|| (name.clone(), "not there".to_owned()), |place| found.remove(place));
            cameras.push((*index, camera));
        }
        let mut free = (0..).filter(|number| self.mapped.iter().all(|mapped| mapped.index != *number));
        cameras.extend(found.into_iter().map(|camera| (free.next().unwrap_or_default(), camera)));
        cameras.sort_by_key(|(index, _)| *index);
        Ok(cameras)
    }

    fn camera(&self, index: u32, wanted: &Wanted) -> Result<Reader, MediaError> {
        let cameras = self.cameras().map_err(MediaError::Broken)?;
        let Some((_, (name, _))) = cameras.iter().find(|(number, _)| *number == index) else {
            let names: Vec<_> = cameras.iter().map(|(_, (_, title))| title.as_str()).collect();
            tracing::info!(index, "no such camera; there are {}: {}", names.len(), names.join(", "));
            return Err(MediaError::NotFound);
        };
        let mut options = Vec::new();
        if let (Some(width), Some(height)) = (wanted.video.width, wanted.video.height) {
            options.push((c"video_size", format!("{width}x{height}")));
        }
        if let Some(rate) = wanted.video.framerate {
            options.push((c"framerate", rate.to_string()));
        }
        open(&format!("video={name}"), &options)
    }

    fn microphone(index: u32) -> Result<Microphone, MediaError> {
        let found = sound::list(Direction::Capture).map_err(|error| MediaError::Broken(error.to_string()))?;
        let Some((name, _)) = found.get(index as usize) else {
            let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
            tracing::info!(index, "no such microphone; there are {}: {}", names.len(), names.join(", "));
            return Err(MediaError::NotFound);
        };
        Microphone::open(name)
    }
}

impl Devices for SystemDevices {
    fn open(&self, device: &Device, wanted: &Wanted) -> Result<Box<dyn Capture>, MediaError> {
        match device {
            Device::Screen(_) | Device::Window(_) => {
                let rate = wanted.video.framerate.unwrap_or(FRAMERATE_OF_SCREENS);
                Ok(Box::new(Screen::open(&DESKTOP, device, rate, self.has_pointer)?))
            }
            Device::Microphone(index) => Ok(Box::new(Self::microphone(*index)?)),
            Device::Camera(index) => Ok(Box::new(self.camera(*index, wanted)?)),
        }
    }

    fn list(&self) -> Vec<Result<Found, String>> {
        let mut all = DESKTOP.screens();
        all.extend(DESKTOP.seen());
        match self.cameras() {
            Ok(cameras) if cameras.is_empty() => {
                all.push(Err("cameras: DirectShow knows of none".to_owned()))
            }
            Ok(cameras) => all.extend(cameras.into_iter().map(|(index, (name, title))| {
                Ok(Found { device: Device::Camera(index), description: format!("{title} ({name})") })
            })),
            Err(error) => all.push(Err(format!("cameras: DirectShow lists none ({error})"))),
        }
        match sound::list(Direction::Capture) {
            Ok(found) if found.is_empty() => {
                all.push(Err("microphones: the sound system knows of none".to_owned()));
            }
            Ok(found) => all.extend(found.into_iter().enumerate().map(|(index, (name, description))| {
                let description = format!("{name} ({description})");
                Ok(Found { device: Device::Microphone(index as u32), description })
            })),
            Err(error) => all.push(Err(format!("microphones: {error}"))),
        }
        all
    }
}

/// The desktop that the program runs in.
static DESKTOP: Desktop = Desktop {
    areas: win32::areas,
    windows: win32::windows,
    ways: |aim| {
        let Aim { area, window, .. } = aim;
        if window.is_some() {
            return vec![aim.by(c"gdigrab", format!("title={}", area.name), Vec::new())];
        }
        let place = vec![(c"offset_x", area.x.to_string()), (c"offset_y", area.y.to_string())];
        let by_gdi = aim.by(c"gdigrab", "desktop".to_owned(), place);
        let duplicated = win32::output(&area.name).map(|output| duplication(aim, output));
        duplicated.into_iter().chain([by_gdi]).collect()
    },
};

/// Desktop Duplication of one of the graphics adapter's outputs: a filter, which FFmpeg's virtual device runs. It asks the
/// graphics processor for what has changed, where GDI copies the screen.
fn duplication(aim: &Aim, output: usize) -> Way {
    let Aim { rate, has_pointer, .. } = aim;
    let pointer = u8::from(*has_pointer);
    let filter = format!(
        "ddagrab=output_idx={output}:framerate={rate}:draw_mouse={pointer}:video_size={},hwdownload,format=bgra",
        aim.size()
    );
    Way { device: c"lavfi", name: filter, options: Vec::new() }
}

/// A name to open a device by, and what it is called.
type Named = (String, String);

/// The cameras of DirectShow.
fn direct_show() -> Result<Vec<Named>, String> {
    Ok(sources(c"dshow")?.into_iter().filter(|(name, _)| !name.to_uppercase().contains(HEARS)).collect())
}

/// Opens a device as it is asked for, else as it is.
fn open(name: &str, options: &[(&std::ffi::CStr, String)]) -> Result<Reader, MediaError> {
    let input = DeviceInput::open(c"dshow", name, options).or_else(|error| {
        tracing::debug!(name, %error, "the device is opened without options");
        DeviceInput::open(c"dshow", name, &[])
    });
    Reader::new(input.map_err(|error| MediaError::Broken(format!("{name} cannot be opened: {error}")))?)
}
