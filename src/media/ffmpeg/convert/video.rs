//! Pictures in another codec, size or rate.

use std::collections::VecDeque;

use bytes::Bytes;
use ffmpeg_next::frame::Video;
use ffmpeg_next::picture;
use proto::frame::Frame;
use proto::time::MediaTime;
use proto::track::{Codec, Framing, Track};

use super::decode::Decoder;
use crate::media::capture::Shape;
use crate::media::ffmpeg::config::{ParameterSets, annex_b};
use crate::media::ffmpeg::encode::{Encoded, PictureEncoder, PictureSettings};
use crate::media::ffmpeg::hardware;
use crate::media::ffmpeg::raw::Scaler;
use crate::media::format::VideoCodec;
use crate::media::library::MediaError;
use crate::media::transcode::plan::VideoTarget;
use crate::media::transcode::{Convert, KEYFRAME_NANOS, Keyframes};

/// A picture is repeated for so long at the most where others are missing, in ticks.
const STILL_MAX: i64 = 2 * CLOCK_RATE as i64;

/// Ticks a second of pictures.
const CLOCK_RATE: u32 = 90_000;

/// Start code of a picture in MPEG-4 part 2 (ISO/IEC 14496-2 table 6-3).
const VOP: [u8; 4] = [0, 0, 1, 0xb6];

/// Decodes, scales and encodes the pictures of one track.
pub struct Pictures {
    decoder: Decoder,
    settings: PictureSettings,
    track: Track,
    scaler: Option<Scaler>,
    encoder: Option<PictureEncoder>,
    keyframes: Keyframes,
    /// Where keyframes stand on a grid, which stretch of the content the encoder is in: each begins with an encoder that
    /// remembers nothing.
    stretch: i64,
    /// Where they do not, the time that needs one; None when one is wanted at once.
    keyframe_due: Option<MediaTime>,
    /// Times and durations of pictures that are with the encoder.
    inside: VecDeque<(i64, u32)>,
    /// Nothing before this is wanted.
    from: MediaTime,
    pace: Option<Pace>,
    /// What failed, to be told once.
    error: Option<MediaError>,
}

/// Pictures at another rate than they came: each moment shows the one that was shown then.
struct Pace {
    thousandths: u32,
    /// Number of the next moment; None before the first picture.
    next: Option<i64>,
    shown: Option<(i64, u32, Video)>,
}

impl Pictures {
    /// A converter of `source`, which becomes track `index`.
    pub fn new(
        source: &Track,
        index: u8,
        target: &VideoTarget,
        keyframes: Keyframes,
    ) -> Result<Pictures, MediaError> {
        Pictures::behind(Decoder::open(source)?, index, target, keyframes)
    }

    /// A converter of pictures that are not coded.
    pub fn of_pixels(
        shape: Shape,
        index: u8,
        target: &VideoTarget,
        keyframes: Keyframes,
    ) -> Result<Pictures, MediaError> {
        Pictures::behind(Decoder::of_pixels(shape)?, index, target, keyframes)
    }

    /// The same behind a decoder that gets times in ticks of 90 kHz.
    pub fn behind(
        decoder: Decoder,
        index: u8,
        target: &VideoTarget,
        keyframes: Keyframes,
    ) -> Result<Pictures, MediaError> {
        let settings = PictureSettings {
            codec: target.codec,
            width: target.width,
            height: target.height,
            thousandths: target.thousandths,
            gop: gop(target.thousandths, keyframes),
            bitrate: target.bitrate,
        };
        let mut track = Track::new(coded(settings)?, index);
        track.size = Some((target.width, target.height));
        track.framerate = Some(f64::from(target.thousandths) / 1_000.0);
        track.bitrate = Some(target.bitrate);
        let pace =
            target.framerate.map(|rate| Pace { thousandths: rate.thousandths(), next: None, shown: None });
        Ok(Pictures {
            decoder,
            settings,
            track,
            scaler: None,
            encoder: None,
            keyframes,
            stretch: 0,
            keyframe_due: None,
            inside: VecDeque::new(),
            from: MediaTime(i64::MIN),
            pace,
            error: None,
        })
    }

    fn decoded(&mut self, picture: Video, pts: i64, duration: u32, out: &mut dyn FnMut(Frame)) {
        let Some(pace) = &mut self.pace else { return self.emit(&picture, pts, duration, out) };
        let next = pace.next.unwrap_or_else(|| pace.moment_at(pts));
        pace.next = Some(next);
        let Some((begins, _, before)) = pace.shown.replace((pts, duration, picture)) else { return };
        if (0..=STILL_MAX).contains(&(pts - begins)) {
            self.show(&before, pts, out);
        } else {
            // Nothing came for a while, or the clock was set.
            pace.next = Some(pace.moment_at(pts));
        }
    }

    /// Emits a picture for each moment until `ends`.
    fn show(&mut self, picture: &Video, ends: i64, out: &mut dyn FnMut(Frame)) {
        loop {
            let Some(pace) = &mut self.pace else { return };
            let Some(next) = pace.next else { return };
            let (time, after) = (pace.time_of(next), pace.time_of(next + 1));
            if time >= ends {
                return;
            }
            pace.next = Some(next + 1);
            self.emit(picture, time, (after - time) as u32, out);
        }
    }

    fn emit(&mut self, picture: &Video, pts: i64, duration: u32, out: &mut dyn FnMut(Frame)) {
        let time = MediaTime::from_ticks(pts, CLOCK_RATE);
        if time < self.from || self.error.is_some() {
            return;
        }
        if let Err(error) = self.encode(picture, time, pts, duration, out) {
            self.error = Some(error);
        }
    }

    fn encode(
        &mut self,
        picture: &Video,
        time: MediaTime,
        pts: i64,
        duration: u32,
        out: &mut dyn FnMut(Frame),
    ) -> Result<(), MediaError> {
        if self.keyframes == Keyframes::OnGrid {
            let stretch = time.0.max(0) / KEYFRAME_NANOS;
            if self.encoder.is_some() && stretch != self.stretch {
                self.close(out)?;
            }
            self.stretch = stretch;
        }
        let mut kind = picture::Type::None;
        if let Keyframes::Every(interval) = self.keyframes
            && self.keyframe_due.is_none_or(|due| time >= due || due > time + interval)
        {
            kind = picture::Type::I;
            self.keyframe_due = Some(time + interval);
        }
        let encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => PictureEncoder::best(self.settings)?,
        };
        self.inside.push_back((pts, duration));
        let is_of_hardware = encoder.is_of_hardware();
        let encoded = match self.encode_with(encoder, picture, kind) {
            Err(error) if is_of_hardware => {
                hardware::give_up(&error);
                self.inside.clear();
                self.inside.push_back((pts, duration));
                self.encode_with(PictureEncoder::open(self.settings)?, picture, kind)?
            }
            encoded => encoded?,
        };
        self.hand_on(encoded, out);
        Ok(())
    }

    fn encode_with(
        &mut self,
        mut encoder: PictureEncoder,
        picture: &Video,
        kind: picture::Type,
    ) -> Result<Vec<Encoded>, MediaError> {
        let mut scaled = encoder.blank();
        self.scale(picture, &mut scaled)?;
        scaled.set_kind(kind);
        let encoded = encoder.encode(&mut scaled)?;
        self.encoder = Some(encoder);
        Ok(encoded)
    }

    fn scale(&mut self, picture: &Video, scaled: &mut Video) -> Result<(), MediaError> {
        let shape = (picture.format(), picture.width(), picture.height());
        let failed = |error| MediaError::Broken(format!("pictures cannot be scaled: {error}"));
        let wanted = (scaled.format(), scaled.width(), scaled.height());
        let mut scaler = match self.scaler.take().filter(|scaler| scaler.shapes() == (shape, wanted)) {
            Some(scaler) => scaler,
            None => Scaler::new(shape, wanted).map_err(failed)?,
        };
        let result = scaler.run(picture, scaled).map_err(failed);
        self.scaler = Some(scaler);
        result
    }

    fn close(&mut self, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        if let Some(mut encoder) = self.encoder.take() {
            let rest = encoder.finish()?;
            self.hand_on(rest, out);
        }
        self.inside.clear();
        Ok(())
    }

    fn hand_on(&mut self, encoded: Vec<Encoded>, out: &mut dyn FnMut(Frame)) {
        for unit in encoded {
            let Some((pts, duration)) = self.inside.pop_front() else { return };
            out(Frame { track: 0, pts, dts: pts, duration, keyframe: unit.is_key, payload: unit.payload });
        }
    }
}

impl Pace {
    /// When a moment is, in ticks.
    fn time_of(&self, moment: i64) -> i64 {
        let ticks = i128::from(moment) * i128::from(CLOCK_RATE) * 1_000;
        ticks.div_euclid(i128::from(self.thousandths)) as i64
    }

    /// The first moment that is not before a time in ticks.
    fn moment_at(&self, ticks: i64) -> i64 {
        let thousandths = i128::from(ticks) * i128::from(self.thousandths);
        let moment = thousandths.div_euclid(i128::from(CLOCK_RATE) * 1_000) as i64;
        if self.time_of(moment) < ticks { moment + 1 } else { moment }
    }
}

impl Convert for Pictures {
    fn track(&self) -> &Track {
        &self.track
    }

    fn push(&mut self, frame: &Frame, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        for picture in self.decoder.push::<Video>(frame) {
            let pts = picture.timestamp().or(picture.pts()).unwrap_or(frame.pts);
            self.decoded(picture, pts, frame.duration, out);
        }
        self.error.take().map_or(Ok(()), Err)
    }

    fn skip(&mut self, frame: &Frame) -> Result<(), MediaError> {
        for picture in self.decoder.push::<Video>(frame) {
            let pts = picture.timestamp().or(picture.pts()).unwrap_or(frame.pts);
            if let Some(pace) = &mut self.pace {
                (pace.next, pace.shown) = (None, Some((pts, frame.duration, picture)));
            }
        }
        Ok(())
    }

    fn want_keyframe(&mut self) {
        self.keyframe_due = None;
    }

    fn finish(&mut self, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        let usual = 90_000_000 / self.settings.thousandths;
        for picture in self.decoder.finish::<Video>() {
            if let Some(pts) = picture.timestamp().or(picture.pts()) {
                self.decoded(picture, pts, usual, out);
            }
        }
        if let Some((begins, duration, picture)) = self.pace.as_mut().and_then(|pace| pace.shown.take()) {
            self.show(&picture, begins + i64::from(duration.max(1)), out);
        }
        self.close(out)?;
        self.error.take().map_or(Ok(()), Err)
    }

    fn reset(&mut self, from: MediaTime) {
        self.decoder.reset();
        self.encoder = None;
        self.inside.clear();
        self.from = from;
        if let Some(pace) = &mut self.pace {
            (pace.next, pace.shown) = (None, None);
        }
    }
}

/// More than there are from one keyframe to the next: they stand where they are told to.
fn gop(thousandths: u32, keyframes: Keyframes) -> u32 {
    let nanos = match keyframes {
        Keyframes::OnGrid => KEYFRAME_NANOS as u128,
        Keyframes::Every(interval) => interval.as_nanos(),
    };
    let pictures = u128::from(thousandths) * nanos / 1_000_000_000_000;
    pictures.saturating_mul(2).clamp(2, 100_000) as u32
}

/// The codec with the parameters that the encoder gives it, which stand in its first picture.
fn coded(settings: PictureSettings) -> Result<Codec, MediaError> {
    if settings.codec == VideoCodec::Jpeg {
        PictureEncoder::open(settings)?;
        return Ok(Codec::Jpeg);
    }
    let encoder = PictureEncoder::best(settings)?;
    let is_of_hardware = encoder.is_of_hardware();
    let encoded = match encoder.try_out() {
        Err(error) if is_of_hardware => {
            hardware::give_up(&error);
            PictureEncoder::open(settings)?.try_out()?
        }
        encoded => encoded?,
    };
    let first = encoded.first().map_or(Bytes::new(), |unit| unit.payload.clone());
    let framing = Framing::AnnexB;
    Ok(match settings.codec {
        VideoCodec::H264 => {
            let sets = ParameterSets::from_h264_units(annex_b(&first));
            Codec::H264 { sps: sets.sps, pps: sets.pps, framing }
        }
        VideoCodec::H265 => {
            let sets = ParameterSets::from_h265_units(annex_b(&first));
            Codec::H265 { vps: sets.vps, sps: sets.sps, pps: sets.pps, framing }
        }
        VideoCodec::Mpeg4 | VideoCodec::Jpeg => {
            let head = first.windows(VOP.len()).position(|code| code == VOP).unwrap_or(first.len());
            Codec::Mpeg4Visual { config: first.slice(..head) }
        }
    })
}
