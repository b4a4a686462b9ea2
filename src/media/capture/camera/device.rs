//! One camera that is open: set to its mode, and its pictures taken with their times.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use v4l::buffer::{Flags, Metadata};
use v4l::format::{Format, FourCC};
use v4l::video::Capture as _;
use v4l::video::capture::Parameters;
use v4l::{Device, Fraction};

use super::buffers::{Buffers, is_passing};
use super::coded::Coded;
use super::coding::{Coding, tightened};
use super::mode::{Mode, Target};
use super::modes::modes;
use super::numbers::Node;
use super::scan::{in_use, opened};
use super::{GONE, guarded};
use crate::media::capture::wanted::Wanted;
use crate::media::capture::{Capture, Form, Shape, Taken};
use crate::media::library::MediaError;

/// While nothing comes, the thread sees this often whether anybody watches.
const SILENCE: Duration = Duration::from_millis(200);

/// A camera that gives nothing for so long is lost, and is opened again.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A camera that is in use is asked again for so long: who had it last may be closing it.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// Between two tries.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Times of pictures may be this far from the clock; beyond it they are of another one.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// A camera that is open.
pub struct Camera {
    // Dropped before the device.
    buffers: Buffers,
    device: Device,
    mode: Mode,
    /// Size that it has where nobody asks for one.
    usual: (u32, u32),
    pictures: Pictures,
    heard: Instant,
}

/// How its pictures are made ready.
enum Pictures {
    /// They are not coded; bytes from line to line.
    Plain(Shape, u32),
    Coded(Box<Coded>),
}

impl Camera {
    /// Opens a camera in the mode nearest to what is wanted. Its size where nobody asks for one is `usual`, or what it is set
    /// to, which is returned.
    pub fn open(
        node: &Node,
        wanted: &Wanted,
        usual: Option<(u32, u32)>,
    ) -> Result<(Camera, (u32, u32)), MediaError> {
        let path = &node.path;
        let device = opened(path)?;
        let usual = match usual {
            Some(usual) => usual,
            None => guarded(path, || device.format()).map(|format| (format.width, format.height))?,
        };
        let target = Target::new(wanted, usual);
        let modes = guarded(path, || modes(&device, &target))?;
        let mode = target.nearest(&modes).ok_or_else(|| {
            let path = path.display();
            MediaError::Broken(format!(
                "{path} gives no pictures that are understood; see rtspserver devices"
            ))
        })?;
        let ((mode, stride), buffers) = while_busy(path, || {
            let set = set(&device, mode)?;
            Ok((set, Buffers::new(&device)?))
        })?;
        tracing::info!(camera = %node, mode = %mode, "camera opened");
        let (size, thousandths) = ((mode.width, mode.height), mode.thousandths());
        let coded = mode.coding.codec().and_then(|codec| Coded::new(codec, size, thousandths));
        let pictures = match (mode.coding, coded) {
            (_, Some(coded)) => Pictures::Coded(Box::new(coded)),
            (Coding::Pixels(pixels), None) => {
                Pictures::Plain(Shape { pixels, width: mode.width, height: mode.height }, stride)
            }
            (_, None) => return Err(MediaError::Broken(format!("{mode} is not understood"))),
        };
        Ok((Camera { buffers, device, mode, usual, pictures, heard: Instant::now() }, usual))
    }
}

impl Capture for Camera {
    fn take(&mut self) -> Result<Option<Taken>, MediaError> {
        let (bytes, about) = match self.buffers.next(SILENCE) {
            Ok(Some(picture)) => picture,
            Ok(None) if self.heard.elapsed() > SILENCE_MAX => {
                return Err(MediaError::Broken(format!(
                    "it gave no picture for {} s",
                    SILENCE_MAX.as_secs()
                )));
            }
            Ok(None) => return Ok(None),
            Err(error) if is_passing(&error) => return Ok(None),
            Err(error) if error.raw_os_error() == Some(GONE) => {
                return Err(MediaError::Broken("it was unplugged".to_owned()));
            }
            Err(error) => return Err(MediaError::Broken(format!("it gives no more pictures: {error}"))),
        };
        if bytes.is_empty() || about.flags.contains(Flags::ERROR) {
            return Ok(None);
        }
        self.heard = Instant::now();
        let at = moment(&about);
        Ok(self.pictures.make(bytes).map(|(form, keyframe, payload)| Taken { form, at, keyframe, payload }))
    }

    /// What is coded may pass to viewers as it is, and another mode would be another stream.
    fn suits(&mut self, wanted: &Wanted) -> bool {
        let target = Target::new(wanted, self.usual);
        let modes = guarded(Path::new(""), || modes(&self.device, &target));
        let nearest = modes.ok().and_then(|modes| target.nearest(&modes));
        matches!(self.pictures, Pictures::Coded(_))
            || nearest.is_none_or(|nearest| nearest.is_like(&self.mode))
    }
}

impl Pictures {
    /// What a picture is, whether decoding can begin with it, and its bytes. None for one that is not whole.
    fn make(&mut self, bytes: &[u8]) -> Option<(Form, bool, Bytes)> {
        match self {
            Pictures::Plain(shape, stride) => {
                let Shape { pixels, width, height } = *shape;
                let payload = tightened(pixels, width, height, *stride, bytes)?;
                Some((Form::Pixels(*shape), true, Bytes::from(payload)))
            }
            Pictures::Coded(coded) => {
                let picture = coded.take(bytes)?;
                Some((Form::Track(coded.track().clone()), picture.keyframe, picture.payload))
            }
        }
    }
}

/// Sets a camera to a mode; what has become of that, and its bytes from line to line.
fn set(device: &Device, mode: Mode) -> io::Result<(Mode, u32)> {
    // Without a line's length: drivers keep to one that they are told.
    let format = device.set_format(&Format::new(mode.width, mode.height, FourCC::new(&mode.code)))?;
    let code = format.fourcc.repr;
    let coding = Coding::of(code).ok_or_else(|| {
        let text = format!("it was set to {mode} and gives {} instead", format.fourcc);
        io::Error::new(io::ErrorKind::InvalidData, text)
    })?;
    let asked = mode.interval.map(|(numerator, denominator)| Fraction::new(numerator, denominator));
    // Cameras that have one rate alone refuse to be set to any.
    let set = asked.and_then(|asked| device.set_params(&Parameters::new(asked)).ok());
    let interval = set.or_else(|| device.params().ok()).map(|set| set.interval);
    let interval = interval.map(|interval| (interval.numerator, interval.denominator));
    let interval = interval.filter(|(numerator, denominator)| *numerator > 0 && *denominator > 0);
    let interval = interval.or(mode.interval);
    Ok((Mode { code, coding, width: format.width, height: format.height, interval }, format.stride))
}

/// Does something with a camera, again while it is in use.
fn while_busy<T>(path: &Path, mut act: impl FnMut() -> io::Result<T>) -> Result<T, MediaError> {
    let end = Instant::now() + BUSY_MAX;
    loop {
        let mut is_busy = false;
        let done = guarded(path, || {
            act().inspect_err(|error| is_busy = error.kind() == io::ErrorKind::ResourceBusy)
        });
        if !is_busy {
            return done;
        }
        if Instant::now() >= end {
            return Err(MediaError::Broken(in_use(path)));
        }
        thread::sleep(BUSY_PAUSE);
    }
}

/// When a picture was taken, whose time is that of the clock that is never set.
fn moment(about: &Metadata) -> Instant {
    let (now, clock) = (Instant::now(), clock_gettime(ClockId::Monotonic));
    let nanos = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
    let taken = nanos(about.timestamp.sec, about.timestamp.usec.saturating_mul(1_000));
    let age = u64::try_from(nanos(clock.tv_sec, clock.tv_nsec) - taken).ok().map(Duration::from_nanos);
    age.filter(|age| *age < CLOCK_SLACK).and_then(|age| now.checked_sub(age)).unwrap_or(now)
}
