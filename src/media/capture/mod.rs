//! What the machine itself sees and hears: screens, windows, cameras and microphones.
//!
//! - [`Device`]: which one, by its name in a URL.
//! - [`Capture`]: the port to whatever takes pictures or sound of it.
//! - [`samples`]: sound as devices give it.
//! - `pipewire`: microphones of a PipeWire daemon, and screens that a Wayland desktop hands out.
//! - [`hub`]: one capture for all who want the same device, however many formats they want it in.
//! - [`wanted`]: what all these want of it together.
//! - [`camera`]: which camera is meant, and in which of its modes it is opened.
//! - [`source`]: a device, or one for pictures and one for sound, as a live stream.

#[cfg(all(feature = "ffmpeg", any(target_os = "linux", target_os = "windows")))]
pub mod area;
#[cfg(all(feature = "v4l", target_os = "linux"))]
pub mod camera;
#[cfg(not(all(feature = "v4l", target_os = "linux")))]
#[path = "camera/absent.rs"]
pub mod camera;
pub mod hub;
#[cfg(all(feature = "pipewire", target_os = "linux"))]
pub mod pipewire;
#[cfg(all(feature = "ffmpeg", not(feature = "pipewire"), target_os = "linux"))]
#[path = "no_pipewire.rs"]
pub mod pipewire;
pub mod samples;
pub mod source;
pub mod wanted;
#[cfg(all(feature = "ffmpeg", target_os = "windows"))]
pub mod win32;
#[cfg(all(feature = "ffmpeg", target_os = "linux"))]
pub mod x11;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proto::track::Track;

use super::library::MediaError;
use camera::Mapped;
use wanted::Wanted;

/// One device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// A monitor, counted from 0.
    Screen(u32),
    /// The window whose title has this in it, in any case.
    Window(String),
    /// A camera, counted from 0.
    Camera(u32),
    /// Something that hears, counted from 0.
    Microphone(u32),
}

impl Device {
    /// The devices of a path: a picture's, a sound's, or both joined by `+`. None for anything else.
    pub fn parse(path: &str) -> Option<Vec<Device>> {
        let path = path.to_lowercase();
        let mut devices: Vec<_> = path.split('+').map(Device::one).collect::<Option<_>>()?;
        // Pictures first: players begin with them.
        devices.sort_by_key(Device::is_heard);
        let sounds = devices.iter().filter(|device| device.is_heard()).count();
        (devices.len() <= 2 && sounds <= 1 && devices.len() - sounds <= 1).then_some(devices)
    }

    fn one(name: &str) -> Option<Device> {
        let index = |kind: &str| -> Option<u32> {
            let digits = name.strip_prefix(kind)?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            if digits.is_empty() { Some(0) } else { digits.parse().ok().filter(|_| is_number) }
        };
        let screen = index("screenlive").map(Device::Screen);
        let camera = || index("videodevice").map(Device::Camera);
        screen.or_else(camera).or_else(|| index("audiodevice").map(Device::Microphone))
    }

    /// The window in its place, where it is a screen.
    pub fn of_window(self, title: &str) -> Device {
        match self {
            Device::Screen(_) => Device::Window(title.to_owned()),
            other => other,
        }
    }

    /// Whether it gives sound.
    pub fn is_heard(&self) -> bool {
        matches!(self, Device::Microphone(_))
    }
}

/// By its name in a URL.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, index) = match self {
            Device::Window(title) => return write!(f, "screenlive?window={title:?}"),
            Device::Screen(index) => ("screenlive", index),
            Device::Camera(index) => ("videodevice", index),
            Device::Microphone(index) => ("audiodevice", index),
        };
        f.write_str(kind)?;
        if *index == 0 { Ok(()) } else { write!(f, "{index}") }
    }
}

/// How pixels lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pixels {
    /// Blue, green, red and a byte of nothing.
    Bgr0,
    /// Red, green, blue and a byte of nothing.
    Rgb0,
    /// Blue, green, red.
    Bgr24,
    /// Red, green, blue.
    Rgb24,
    /// Brightness and colour by turns, two pixels in four bytes.
    Yuyv422,
    /// The same, colour first.
    Uyvy422,
    /// The same as the first, the two colours the other way round.
    Yvyu422,
    /// A plane of brightness and one of both colours.
    Nv12,
    /// The same, the two colours the other way round.
    Nv21,
    /// Three planes.
    Yuv420p,
    /// Brightness alone.
    Gray8,
}

/// Pictures that are not coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// How pixels lie.
    pub pixels: Pixels,
    /// Pixels a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// What a capture gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Pictures that are not coded, line behind line without a gap.
    Pixels(Shape),
    /// Coded frames, or samples: [`proto::track::Codec::L16`].
    Track(Track),
}

/// One picture, or a stretch of sound.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What it is; another one when the device has changed.
    pub form: Form,
    /// When it was taken; of sound, its first sample.
    pub at: Instant,
    /// Whether decoding can begin with it.
    pub keyframe: bool,
    /// The bytes.
    pub payload: Bytes,
}

/// A device that is open.
pub trait Capture: Send {
    /// Waits for what comes next, for a moment; None when nothing came. An error when the device is lost, or has changed so
    /// that it has to be opened again.
    fn take(&mut self) -> Result<Option<Taken>, MediaError>;

    /// Whether it gives this from now on, which somebody more wants; else it is opened again.
    fn suits(&mut self, wanted: &Wanted) -> bool;
}

/// A device that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub device: Device,
    /// What its maker or the system calls it, and what it can do.
    pub description: String,
}

/// The devices of this machine.
pub trait Devices: Send + Sync {
    /// Opens one, as near as it can come to what a format asks for. [`MediaError::NotFound`] when there is none.
    fn open(&self, device: &Device, wanted: &Wanted) -> Result<Box<dyn Capture>, MediaError>;

    /// All that there are; the error says why a kind cannot be listed.
    fn list(&self) -> Vec<Result<Found, String>>;
}

/// The devices that this build can open: with the pointer on screens or without, and cameras that have numbers of their own.
#[cfg(all(feature = "ffmpeg", target_os = "linux"))]
pub fn system(has_pointer: bool, cameras: Vec<Mapped>) -> Arc<dyn Devices> {
    let cameras = camera::Cameras::new(cameras);
    Arc::new(super::ffmpeg::devices::SystemDevices::new(has_pointer, cameras))
}

/// The devices that this build can open: with the pointer on screens or without, and cameras that have numbers of their own.
#[cfg(all(feature = "ffmpeg", target_os = "windows"))]
pub fn system(has_pointer: bool, cameras: Vec<Mapped>) -> Arc<dyn Devices> {
    Arc::new(super::ffmpeg::devices::SystemDevices::new(has_pointer, cameras))
}

/// The devices that this build can open.
#[cfg(not(all(feature = "ffmpeg", any(target_os = "linux", target_os = "windows"))))]
pub fn system(_: bool, _: Vec<Mapped>) -> Arc<dyn Devices> {
    Arc::new(NoDevices)
}

/// A build that knows no device.
pub struct NoDevices;

impl Devices for NoDevices {
    fn open(&self, _: &Device, _: &Wanted) -> Result<Box<dyn Capture>, MediaError> {
        Err(MediaError::NotFound)
    }

    fn list(&self) -> Vec<Result<Found, String>> {
        vec![Err("this build knows no devices; it lacks the feature ffmpeg".to_owned())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_devices_with_and_without_an_index() {
        let parsed = |path: &str| Device::parse(path).map(|devices| format!("{devices:?}"));
        assert_eq!(parsed("screenlive").as_deref(), Some("[Screen(0)]"));
        assert_eq!(parsed("ScreenLive12").as_deref(), Some("[Screen(12)]"));
        assert_eq!(parsed("videodevice1+audiodevice1").as_deref(), Some("[Camera(1), Microphone(1)]"));
        assert_eq!(parsed("audiodevice+screenlive").as_deref(), Some("[Screen(0), Microphone(0)]"));
        for other in [
            "",
            "screenlive+",
            "screenlive+videodevice",
            "audiodevice+audiodevice1",
            "screen",
            "screenlive-1",
        ] {
            assert_eq!(parsed(other), None, "{other}");
        }
    }
}
