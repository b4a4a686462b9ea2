//! Screens and windows as FFmpeg grabs them, until they have another place or size.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use super::grabbed::Reader;
use super::raw::device::DeviceInput;
use crate::media::capture::area::{Area, Window, titled};
use crate::media::capture::wanted::Wanted;
use crate::media::capture::{Capture, Device, Found, Taken};
use crate::media::format::Framerate;
use crate::media::library::MediaError;

/// A screen's place and size are looked at this often.
const LAYOUT: Duration = Duration::from_secs(1);

/// An option of one of FFmpeg's devices.
type Setting = (&'static CStr, String);

/// How a system tells where its screens and windows are, and what FFmpeg grabs them with.
pub(super) struct Desktop {
    /// The monitors.
    pub areas: fn() -> Result<Vec<Area>, MediaError>,
    /// The windows that can be seen.
    pub windows: fn() -> Result<Vec<Window>, MediaError>,
    /// How something can be grabbed; the first way that FFmpeg knows is taken.
    pub ways: fn(&Aim) -> Vec<Way>,
}

/// What is to be grabbed.
pub(super) struct Aim {
    /// Where it is.
    pub area: Area,
    /// The window, where it is one.
    pub window: Option<Window>,
    /// Pictures a second.
    pub rate: Framerate,
    /// Whether the pointer is seen on it.
    pub has_pointer: bool,
}

impl Aim {
    /// Width and height as FFmpeg takes them. Sides that are odd cannot be encoded, and one line more is not missed.
    pub fn size(&self) -> String {
        format!("{}x{}", self.area.width & !1, self.area.height & !1)
    }

    /// A device of FFmpeg's with options that say where to look, beside those that all of them have.
    pub fn by(&self, device: &'static CStr, name: String, mut options: Vec<Setting>) -> Way {
        options.push((c"framerate", self.rate.to_string()));
        options.push((c"draw_mouse", u8::from(self.has_pointer).to_string()));
        options.push((c"video_size", self.size()));
        Way { device, name, options }
    }
}

/// A device of FFmpeg's that grabs something.
pub(super) struct Way {
    /// The kind of device.
    pub device: &'static CStr,
    /// What it is to be opened by.
    pub name: String,
    /// Where to look, and how.
    pub options: Vec<Setting>,
}

impl Way {
    fn open(&self) -> Result<Reader, String> {
        let input = DeviceInput::open(self.device, &self.name, &self.options)?;
        Reader::new(input).map_err(|error| error.to_string())
    }
}

impl Desktop {
    /// Its monitors, or why there are none.
    pub fn screens(&self) -> Vec<Result<Found, String>> {
        let areas = match (self.areas)() {
            Ok(areas) => areas,
            Err(error) => return vec![Err(format!("screens: {error}"))],
        };
        let found = areas.into_iter().enumerate().map(|(index, area)| {
            let Area { name, x, y, width, height } = area;
            let description = format!("{name}, {width}x{height} at {x},{y}");
            Ok(Found { device: Device::Screen(index as u32), description })
        });
        found.collect()
    }

    /// Its windows.
    pub fn seen(&self) -> impl Iterator<Item = Result<Found, String>> + use<> {
        (self.windows)().into_iter().flatten().map(|window| {
            let description = "a window".to_owned();
            Ok(Found { device: Device::Window(window.title), description })
        })
    }

    /// Where a screen or a window is.
    fn place(&self, device: &Device) -> Result<(Area, Option<Window>), MediaError> {
        match device {
            Device::Screen(index) => {
                let areas = (self.areas)()?;
                let area = areas.get(*index as usize).cloned().ok_or_else(|| {
                    let names: Vec<_> = areas.iter().map(|area| area.name.as_str()).collect();
                    tracing::info!(%device, "no such screen; there are {}: {}", names.len(), names.join(", "));
                    MediaError::NotFound
                })?;
                Ok((area, None))
            }
            Device::Window(title) => {
                let window = titled((self.windows)()?, title)?;
                Ok((window.area.clone(), Some(window)))
            }
            Device::Camera(_) | Device::Microphone(_) => Err(MediaError::NotFound),
        }
    }
}

/// A screen or a window that is grabbed.
pub(super) struct Screen {
    desktop: &'static Desktop,
    device: Device,
    area: Area,
    rate: Framerate,
    input: Reader,
    looked: Instant,
}

impl Screen {
    /// Begins to grab it; the pointer is seen on it or not.
    pub fn open(
        desktop: &'static Desktop,
        device: &Device,
        rate: Framerate,
        has_pointer: bool,
    ) -> Result<Screen, MediaError> {
        let (area, window) = desktop.place(device)?;
        let aim = Aim { area, window, rate, has_pointer };
        let mut refusals = Vec::new();
        for way in (desktop.ways)(&aim) {
            match way.open() {
                Ok(input) => {
                    tracing::debug!(%device, by = way.name, refusals = refusals.join("; "), "grabbed");
                    let (device, looked) = (device.clone(), Instant::now());
                    return Ok(Screen { desktop, device, area: aim.area, rate, input, looked });
                }
                Err(error) => refusals.push(error),
            }
        }
        Err(MediaError::Broken(format!("{device} cannot be grabbed: {}", refusals.join("; "))))
    }
}

impl Capture for Screen {
    fn take(&mut self) -> Result<Option<Taken>, MediaError> {
        if self.looked.elapsed() >= LAYOUT {
            self.looked = Instant::now();
            let (mut area, window) = self.desktop.place(&self.device)?;
            if window.is_some() {
                // It is grabbed wherever it is.
                (area.x, area.y) = (self.area.x, self.area.y);
            }
            if area != self.area {
                let Area { x, y, width, height, .. } = area;
                return Err(MediaError::Broken(format!("it is {width}x{height} at {x},{y} now")));
            }
        }
        self.input.take()
    }

    fn suits(&mut self, wanted: &Wanted) -> bool {
        wanted.thousandths() <= self.rate.thousandths()
    }
}
