//! What FFmpeg's devices give, one picture or stretch of sound after the other.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use ffmpeg_next::codec::Id;
use ffmpeg_next::codec::decoder::Opened;
use ffmpeg_next::codec::packet::Ref;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::util::frame::Video;
use proto::track::{Codec, Track};

use super::bitmap;
use super::raw::Packet;
use super::raw::decoder::{self, Setup};
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
    /// What filters hand on, which a decoder opens.
    Frames(Opened),
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
            Id::WRAPPED_AVFRAME => Gives::Frames(unwrapper()?),
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
    fn taken(&mut self, packet: Packet) -> Result<(Form, Bytes), MediaError> {
        let unknown = || MediaError::Unsupported("a device gives pixels that are not known".to_owned());
        match self {
            Gives::Pictures(shape) => Ok((Form::Pixels(*shape), packet.into_bytes())),
            Gives::Bitmaps => {
                let (shape, pixels) = bitmap::pixels(&packet.into_bytes()).ok_or_else(unknown)?;
                Ok((Form::Pixels(shape), pixels))
            }
            Gives::Frames(decoder) => {
                let frame =
                    unwrapped(decoder, &packet).map_err(|error| MediaError::Broken(error.to_string()))?;
                let (shape, pixels) = lines(&frame).ok_or_else(unknown)?;
                Ok((Form::Pixels(shape), pixels))
            }
            Gives::Sound(track) => {
                let mut samples = BytesMut::new();
                push_big_endian(&mut samples, &packet.into_bytes());
                Ok((Form::Track(track.clone()), samples.freeze()))
            }
        }
    }
}

/// What opens frames that stand in packets as they are.
fn unwrapper() -> Result<Opened, MediaError> {
    let setup = Setup {
        id: Id::WRAPPED_AVFRAME,
        extradata: &[],
        clock_rate: 90_000,
        sound: None,
        pixels: None,
        bits: 0,
    };
    decoder::open(setup).map_err(|error| MediaError::Broken(error.to_string()))
}

fn unwrapped(decoder: &mut Opened, packet: &impl Ref) -> Result<Video, ffmpeg_next::Error> {
    let mut frame = Video::empty();
    decoder.send_packet(packet)?;
    decoder.receive_frame(&mut frame)?;
    Ok(frame)
}

/// The pixels of a frame of one plane, line behind line without a gap. None where they are of another kind.
fn lines(frame: &Video) -> Option<(Shape, Bytes)> {
    if !matches!(frame.format(), Pixel::BGRA | Pixel::BGRZ) {
        return None;
    }
    let shape = Shape { pixels: Pixels::Bgr0, width: frame.width(), height: frame.height() };
    let line = 4 * shape.width as usize;
    let mut pixels = BytesMut::with_capacity(line * shape.height as usize);
    let rows = frame.data(0).chunks(frame.stride(0)).take(shape.height as usize);
    rows.for_each(|row| pixels.extend_from_slice(&row[..line]));
    Some((shape, pixels.freeze()))
}

impl Capture for Reader {
    fn take(&mut self) -> Result<Option<Taken>, MediaError> {
        let begin = Instant::now();
        loop {
            match self.input.read().map_err(MediaError::Broken)? {
                Some(packet) => {
                    let at = self.moment(packet.pts());
                    let (form, payload) = self.gives.taken(packet)?;
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

#[cfg(test)]
mod tests {
    use ffmpeg_next::codec::{self, Context};

    use super::*;

    #[test]
    fn a_filter_is_a_device_that_gives_pictures() {
        let graph = "color=c=0x102030:size=34x18:rate=50,format=bgra";
        let mut reader = Reader::new(DeviceInput::open(c"lavfi", graph, &[]).unwrap()).unwrap();
        for _ in 0..3 {
            let taken = reader.take().unwrap().unwrap();
            assert_eq!(taken.form, Form::Pixels(Shape { pixels: Pixels::Bgr0, width: 34, height: 18 }));
            assert_eq!(taken.payload.len(), 34 * 18 * 4);
            let is_colour =
                |pixel: &[u8]| pixel.iter().zip([0x30_u8, 0x20, 0x10]).all(|(a, b)| a.abs_diff(b) < 4);
            assert!(taken.payload.chunks(4).all(is_colour), "{:?}", &taken.payload[..4]);
        }
    }

    #[test]
    fn a_filter_that_there_is_not_is_told_of() {
        let error = DeviceInput::open(c"lavfi", "nothinggrab=output_idx=0", &[]).err().unwrap();
        assert!(!error.is_empty());
    }

    #[test]
    fn frames_that_stand_in_packets_are_opened() {
        let mut frame = Video::new(Pixel::BGRA, 6, 4);
        let stride = frame.stride(0);
        for (index, row) in frame.data_mut(0).chunks_mut(stride).enumerate() {
            row.fill(index as u8);
        }
        let codec = codec::encoder::find(Id::WRAPPED_AVFRAME).unwrap();
        let mut context = Context::new_with_codec(codec).encoder().video().unwrap();
        context.set_format(Pixel::BGRA);
        context.set_width(6);
        context.set_height(4);
        context.set_time_base((1, 25));
        let mut encoder = context.open().unwrap();
        frame.set_pts(Some(0));
        encoder.send_frame(&frame).unwrap();
        let mut packet = ffmpeg_next::Packet::empty();
        encoder.receive_packet(&mut packet).unwrap();
        // As devices mark it (AV_PKT_FLAG_TRUSTED): a pointer stands in it.
        packet.set_flags(codec::packet::Flags::from_bits_retain(8));
        let frame = unwrapped(&mut unwrapper().unwrap(), &packet).unwrap();
        let (shape, pixels) = lines(&frame).unwrap();
        assert_eq!(shape, Shape { pixels: Pixels::Bgr0, width: 6, height: 4 });
        let expected: Vec<u8> = (0..4_u8).flat_map(|row| [row; 24]).collect();
        assert_eq!(pixels, expected);
    }
}
