//! What FFmpeg's devices give, one picture or stretch of sound after the other.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use ffmpeg_next::codec::Id;
use ffmpeg_next::format::Pixel;
use proto::track::{Codec, Track};

use super::bitmap;
use super::raw::device::DeviceInput;
use crate::media::capture::samples::push_big_endian;
use crate::media::capture::wanted::Wanted;
use crate::media::capture::{Capture, Form, Pixels, Shape, Taken};
use crate::media::library::MediaError;

/// While nothing comes of a device it is looked at this often.
const LOOK: Duration = Duration::from_millis(4);

/// A device that gives nothing for so long is let go for a moment, so that its thread sees whether anybody watches.
const SILENCE: Duration = Duration::from_millis(200);

/// Times of devices may be this far from the clock; beyond it they are of another one.
const CLOCK_SLACK: Duration = Duration::from_secs(2);

/// A device of FFmpeg's as pictures or sound.
pub(super) struct Reader {
    input: DeviceInput,
    gives: Gives,
    /// Seconds of one tick of its times.
    time_base: (i64, i64),
}

/// How it comes.
enum Gives {
    /// Pixels, and how they lie.
    Pictures(Shape),
    /// Files of pixels, each of which says how they lie.
    Bitmaps,
    /// Samples, little end first.
    Sound(Track),
}

impl Reader {
    /// What the device gives, whatever that is.
    pub(super) fn new(input: DeviceInput) -> Result<Reader, MediaError> {
        let unknown = |what: &str| MediaError::Unsupported(format!("a device gives {what}"));
        let (stream, pixel) = input.stream().ok_or_else(|| unknown("nothing"))?;
        let gives = match stream.codec {
            Id::RAWVIDEO => {
                let (width, height) = stream.size.ok_or_else(|| unknown("pictures without a size"))?;
                let pixels = pixels(pixel).ok_or_else(|| unknown("pixels that are not known"))?;
                Gives::Pictures(Shape { pixels, width, height })
            }
            Id::BMP => Gives::Bitmaps,
            Id::PCM_S16LE => {
                let channels = stream.channels.clamp(1, 8) as u8;
                Gives::Sound(Track::new(Codec::L16 { sample_rate: stream.sample_rate, channels }, 0))
            }
            other => return Err(unknown(other.name())),
        };
        Ok(Reader { input, gives, time_base: stream.time_base })
    }

    /// When something was taken whose time is that of the wall clock.
    fn moment(&self, pts: Option<i64>) -> Instant {
        let now = Instant::now();
        let age = pts.and_then(|pts| {
            let (numerator, denominator) = self.time_base;
            let nanos = i128::from(pts) * i128::from(numerator) * 1_000_000_000 / i128::from(denominator);
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos() as i128;
            u64::try_from(wall - nanos).ok().map(Duration::from_nanos)
        });
        age.filter(|age| *age < CLOCK_SLACK).and_then(|age| now.checked_sub(age)).unwrap_or(now)
    }
}

impl Gives {
    /// What a packet holds.
    fn taken(&self, bytes: Bytes) -> Result<(Form, Bytes), MediaError> {
        match self {
            Gives::Pictures(shape) => Ok((Form::Pixels(*shape), bytes)),
            Gives::Bitmaps => {
                bitmap::pixels(&bytes).map(|(shape, pixels)| (Form::Pixels(shape), pixels)).ok_or_else(|| {
                    MediaError::Unsupported("a device gives pixels that are not known".to_owned())
                })
            }
            Gives::Sound(track) => {
                let mut samples = BytesMut::new();
                push_big_endian(&mut samples, &bytes);
                Ok((Form::Track(track.clone()), samples.freeze()))
            }
        }
    }
}

impl Capture for Reader {
    fn take(&mut self) -> Result<Option<Taken>, MediaError> {
        let begin = Instant::now();
        loop {
            match self.input.read().map_err(MediaError::Broken)? {
                Some(packet) => {
                    let at = self.moment(packet.pts());
                    let (form, payload) = self.gives.taken(packet.into_bytes())?;
                    return Ok(Some(Taken { form, at, keyframe: true, payload }));
                }
                None if begin.elapsed() > SILENCE => return Ok(None),
                None => thread::sleep(LOOK),
            }
        }
    }

    fn suits(&mut self, _: &Wanted) -> bool {
        true
    }
}

fn pixels(pixel: Pixel) -> Option<Pixels> {
    Some(match pixel {
        Pixel::BGRZ | Pixel::BGRA => Pixels::Bgr0,
        Pixel::BGR24 => Pixels::Bgr24,
        Pixel::RGB24 => Pixels::Rgb24,
        Pixel::YUYV422 => Pixels::Yuyv422,
        Pixel::UYVY422 => Pixels::Uyvy422,
        Pixel::NV12 => Pixels::Nv12,
        Pixel::YUV420P => Pixels::Yuv420p,
        _ => return None,
    })
}
