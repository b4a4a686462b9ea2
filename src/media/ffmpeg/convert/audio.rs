//! Sound in another codec, rate or number of channels.

use ffmpeg_next::frame::Audio;
use proto::frame::Frame;
use proto::time::MediaTime;
use proto::track::Track;

use super::decode::Decoder;
use super::resample::Resampler;
use crate::media::ffmpeg::encode::{Encoded, SoundEncoder, SoundSettings};
use crate::media::library::MediaError;
use crate::media::transcode::Convert;
use crate::media::transcode::plan::{AudioTarget, coded};

/// Sound whose times are off by less than this goes on without a break, as a share of a second: containers round.
const SLACK: i64 = 40;

/// Longest silence that is put where sound is missing, in seconds; beyond it all begins anew.
const SILENCE_S: i64 = 10;

/// Decodes, resamples and encodes the sound of one track.
pub struct Sound {
    decoder: Decoder,
    settings: SoundSettings,
    clock_rate: u32,
    track: Track,
    resampler: Resampler,
    encoder: Option<SoundEncoder>,
    /// Samples that wait for the rest of their frame, those of one moment side by side.
    waiting: Vec<f32>,
    /// Time of the first that waits, in samples; None before the first.
    begins: Option<i64>,
    /// Time of the first sample that the encoder was given.
    fed_from: i64,
}

impl Sound {
    /// A converter of `source`, which becomes track `index`.
    pub fn new(source: &Track, index: u8, target: &AudioTarget) -> Result<Sound, MediaError> {
        Sound::behind(Decoder::open(source)?, source.clock_rate, index, target)
    }

    /// The same behind a decoder that gets times in so many ticks a second.
    pub fn behind(
        decoder: Decoder,
        clock_rate: u32,
        index: u8,
        target: &AudioTarget,
    ) -> Result<Sound, MediaError> {
        let settings = SoundSettings {
            codec: target.codec,
            sample_rate: target.sample_rate,
            channels: target.channels,
            bitrate: target.bitrate,
        };
        // What this FFmpeg lacks is told at once.
        SoundEncoder::open(settings)?;
        let mut track = Track::new(coded(target), index);
        track.bitrate = Some(target.bitrate);
        Ok(Sound {
            decoder,
            settings,
            clock_rate,
            track,
            resampler: Resampler::new(target.sample_rate, target.channels),
            encoder: None,
            waiting: Vec::new(),
            begins: None,
            fed_from: 0,
        })
    }

    fn width(&self) -> usize {
        usize::from(self.settings.channels)
    }

    fn decoded(&mut self, sound: &Audio, pts: i64, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        let rate = i64::from(self.settings.sample_rate);
        let time = (i128::from(pts) * i128::from(rate)).div_euclid(i128::from(self.clock_rate)) as i64;
        self.place(time, out)?;
        let resampled = self.resampler.run(sound)?;
        self.waiting.extend_from_slice(&resampled);
        self.encode_whole(out)
    }

    /// Has what comes next begin at `time`: with the first, behind a gap, or where sound was said twice.
    fn place(&mut self, time: i64, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        let rate = i64::from(self.settings.sample_rate);
        if let Some(begins) = self.begins {
            let expected = begins + (self.waiting.len() / self.width()) as i64;
            let gap = time - expected;
            if gap.abs() <= rate / SLACK {
                return Ok(());
            }
            if (0..rate * SILENCE_S).contains(&gap) {
                self.waiting.resize(self.waiting.len() + gap as usize * self.width(), 0.0);
                return self.encode_whole(out);
            }
            self.close(out)?;
        }
        self.begins = Some(time);
        Ok(())
    }

    /// Encodes whole frames. Their bounds depend on their times alone, wherever decoding began.
    fn encode_whole(&mut self, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        let Some(mut begins) = self.begins else { return Ok(()) };
        let width = self.width();
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => {
                let encoder = SoundEncoder::open(self.settings)?;
                let frame = encoder.frame_samples() as i64;
                let skipped = (-begins).rem_euclid(frame);
                let waiting = self.waiting.len() / width;
                if (waiting as i64) < skipped {
                    return Ok(());
                }
                self.waiting.drain(..skipped as usize * width);
                begins += skipped;
                self.fed_from = begins;
                encoder
            }
        };
        let frame = encoder.frame_samples();
        let mut encoded = Vec::new();
        while self.waiting.len() >= frame * width {
            encoded.extend(encoder.encode(begins, &self.waiting[..frame * width])?);
            self.waiting.drain(..frame * width);
            begins += frame as i64;
        }
        self.begins = Some(begins);
        self.encoder = Some(encoder);
        self.hand_on(encoded, out);
        Ok(())
    }

    /// Encodes what waits although its frame is not whole, and begins anew.
    fn close(&mut self, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        if let Some(encoder) = &self.encoder
            && !self.waiting.is_empty()
        {
            let whole = encoder.frame_samples() * self.width();
            self.waiting.resize(self.waiting.len().next_multiple_of(whole), 0.0);
            self.encode_whole(out)?;
        }
        if let Some(mut encoder) = self.encoder.take() {
            let rest = encoder.finish()?;
            self.hand_on(rest, out);
        }
        self.waiting.clear();
        self.begins = None;
        Ok(())
    }

    fn hand_on(&mut self, encoded: Vec<Encoded>, out: &mut dyn FnMut(Frame)) {
        let rate = i64::from(self.settings.sample_rate);
        let ticks = |samples: i64| {
            (i128::from(samples) * i128::from(self.track.clock_rate)).div_euclid(i128::from(rate)) as i64
        };
        let frame =
            crate::media::ffmpeg::encode::frame_samples(self.settings.codec, self.settings.sample_rate);
        for unit in encoded {
            // What lies before the first sample only sets decoders up.
            if unit.time + frame as i64 <= self.fed_from {
                continue;
            }
            let pts = ticks(unit.time);
            let duration = ticks(frame as i64) as u32;
            out(Frame { track: 0, pts, dts: pts, duration, keyframe: true, payload: unit.payload });
        }
    }
}

impl Convert for Sound {
    fn track(&self) -> &Track {
        &self.track
    }

    fn push(&mut self, frame: &Frame, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        for sound in self.decoder.push::<Audio>(frame) {
            let pts = sound.timestamp().or(sound.pts()).unwrap_or(frame.pts);
            self.decoded(&sound, pts, out)?;
        }
        Ok(())
    }

    /// Nothing: sound that is not heard is not missed by what follows.
    fn skip(&mut self, _: &Frame) -> Result<(), MediaError> {
        Ok(())
    }

    fn want_keyframe(&mut self) {}

    fn finish(&mut self, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        for sound in self.decoder.finish::<Audio>() {
            if let Some(pts) = sound.timestamp().or(sound.pts()) {
                self.decoded(&sound, pts, out)?;
            }
        }
        self.close(out)
    }

    fn reset(&mut self, _: MediaTime) {
        self.decoder.reset();
        self.encoder = None;
        self.resampler.reset();
        self.waiting.clear();
        self.begins = None;
    }
}
