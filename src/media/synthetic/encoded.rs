//! The test channel as viewers expect it: 720p H.264 and AAC, from one encoder for all of them.

use std::f32::consts::TAU;
use std::time::Duration;

use bytes::Bytes;
use proto::frame::Frame;
use proto::track::{Codec, Framing, Track};

use super::canvas::Canvas;
use crate::media::ffmpeg::encode::{
    Encoded, PictureEncoder, PictureSettings, SoundEncoder, SoundSettings, parameter_sets,
};
use crate::media::format::{AudioCodec, VideoCodec};
use crate::media::library::MediaError;
use crate::media::source::{Demand, Pace, Source};

/// The picture: a keyframe each second, so that a viewer without instant start waits no longer.
const PICTURE: PictureSettings = PictureSettings {
    codec: VideoCodec::H264,
    width: 1280,
    height: 720,
    thousandths: FRAMERATE * 1_000,
    gop: FRAMERATE,
    bitrate: 2_000_000,
};

/// Pictures a second.
const FRAMERATE: u32 = 25;

/// Samples a second.
const SOUND_RATE: u32 = 48_000;

/// AAC-LC, mono.
const SOUND: SoundSettings =
    SoundSettings { codec: AudioCodec::Aac, sample_rate: SOUND_RATE, channels: 1, bitrate: 64_000 };

/// Samples of an access unit.
const SOUND_FRAME: u64 = 1_024;

/// Hertz of the tone, and of the pip that begins every second of the clock.
const TONE: f32 = 440.0;
const PIP: f32 = 880.0;

/// Samples of a pip: 100 ms.
const PIP_SAMPLES: u64 = SOUND_RATE as u64 / 10;

/// The source of the encoded test channel.
pub struct EncodedSource {
    picture: PictureEncoder,
    sound: SoundEncoder,
    canvas: Canvas,
    pictures: u64,
    sounds: u64,
    // The first picture, which tells the parameter sets.
    first: Vec<Encoded>,
}

impl EncodedSource {
    /// An error when this FFmpeg lacks an encoder.
    pub fn open() -> Result<EncodedSource, MediaError> {
        let picture = PictureEncoder::open(PICTURE)?;
        let sound = SoundEncoder::open(SOUND)?;
        let canvas = Canvas::new(PICTURE.width as usize, PICTURE.height as usize);
        let mut source = EncodedSource { picture, sound, canvas, pictures: 0, sounds: 0, first: Vec::new() };
        source.first = source.encode_picture()?;
        Ok(source)
    }

    fn encode_picture(&mut self) -> Result<Vec<Encoded>, MediaError> {
        self.canvas.draw(picture_time(self.pictures));
        self.pictures += 1;
        self.picture.encode_planes([&self.canvas.luma, &self.canvas.blue, &self.canvas.red])
    }

    fn encode_sound(&mut self) -> Result<Vec<Encoded>, MediaError> {
        let first = self.sounds * SOUND_FRAME;
        let samples: [f32; SOUND_FRAME as usize] = std::array::from_fn(|place| {
            // Both tones repeat every second, so that the argument stays small.
            let sample = (first + place as u64) % u64::from(SOUND_RATE);
            let hertz = if sample < PIP_SAMPLES { PIP } else { TONE };
            (sample as f32 / SOUND_RATE as f32 * hertz * TAU).sin() * 0.25
        });
        self.sounds += 1;
        self.sound.encode(first as i64, &samples)
    }

    /// What is due next, and when.
    fn step(&mut self, pace: &mut Pace) -> Result<Vec<Frame>, MediaError> {
        let sound_due = sound_time(self.sounds);
        if picture_time(self.pictures) <= sound_due {
            pace.wait_until(picture_time(self.pictures));
            let encoded = self.encode_picture()?;
            return Ok(encoded.into_iter().map(picture_frame).collect());
        }
        pace.wait_until(sound_due);
        let encoded = self.encode_sound()?;
        Ok(encoded.into_iter().filter(|unit| unit.time >= 0).map(sound_frame).collect())
    }
}

impl Source for EncodedSource {
    fn tracks(&mut self) -> Result<Vec<Track>, MediaError> {
        let keyframe = self.first.first().map_or(Bytes::new(), |unit| unit.payload.clone());
        let (sps, pps) = parameter_sets(&keyframe);
        let mut picture = Track::new(Codec::H264 { sps, pps, framing: Framing::AnnexB }, 0);
        picture.size = Some((PICTURE.width, PICTURE.height));
        picture.framerate = Some(f64::from(FRAMERATE));
        picture.bitrate = Some(PICTURE.bitrate);
        // AAC-LC, 48 kHz, mono.
        let config = Bytes::from_static(&[0x11, 0x88]);
        let mut sound = Track::new(Codec::Aac { config, sample_rate: SOUND_RATE, channels: 1 }, 1);
        sound.bitrate = Some(SOUND.bitrate);
        Ok(vec![picture, sound])
    }

    fn run(mut self: Box<Self>, sink: &mut dyn FnMut(Option<Frame>) -> Demand) -> Result<(), MediaError> {
        let mut pace = Pace::start();
        let mut frames: Vec<Frame> = self.first.drain(..).map(picture_frame).collect();
        loop {
            for frame in frames {
                if sink(Some(frame)) == Demand::Nothing {
                    return Ok(());
                }
            }
            frames = self.step(&mut pace)?;
        }
    }
}

fn picture_time(index: u64) -> Duration {
    Duration::from_millis(index * 1_000 / u64::from(FRAMERATE))
}

/// When the samples of a sound frame have all been heard.
fn sound_time(index: u64) -> Duration {
    let samples = (index + 1) * SOUND_FRAME;
    Duration::from_micros(samples * 1_000_000 / u64::from(SOUND_RATE))
}

fn picture_frame(unit: Encoded) -> Frame {
    let ticks = 90_000 / FRAMERATE;
    let pts = unit.time * i64::from(ticks);
    Frame { track: 0, pts, dts: pts, duration: ticks, keyframe: unit.is_key, payload: unit.payload }
}

fn sound_frame(unit: Encoded) -> Frame {
    let duration = SOUND_FRAME as u32;
    Frame { track: 1, pts: unit.time, dts: unit.time, duration, keyframe: true, payload: unit.payload }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// Frames of the channel's first `seconds`; None without the encoders.
    fn record(seconds: i64) -> Option<(Vec<Track>, Vec<Frame>)> {
        let mut source = match EncodedSource::open() {
            Ok(source) => Box::new(source),
            Err(reason) => {
                eprintln!("skipped: {reason}");
                return None;
            }
        };
        let tracks = source.tracks().unwrap();
        let mut frames = Vec::new();
        let mut sink = |frame: Option<Frame>| {
            let frame = frame.expect("it never only asks");
            let is_over = frame.track == 0 && frame.pts >= seconds * 90_000;
            frames.push(frame);
            if is_over { Demand::Nothing } else { Demand::More }
        };
        source.run(&mut sink).unwrap();
        Some((tracks, frames))
    }

    #[test]
    fn it_begins_with_a_keyframe_and_keeps_time() {
        let Some((tracks, frames)) = record(2) else { return };
        let Codec::H264 { sps, pps, .. } = &tracks[0].codec else { panic!("the first track is H.264") };
        assert_eq!((sps.len(), pps.len()), (1, 1));
        let of = |track| frames.iter().filter(move |frame| frame.track == track);
        assert!(of(0).enumerate().all(|(index, frame)| frame.pts == index as i64 * 3_600));
        assert!(of(0).enumerate().all(|(index, frame)| frame.keyframe == (index % 25 == 0)));
        assert!(of(1).enumerate().all(|(index, frame)| frame.pts == index as i64 * 1_024));
        assert_eq!(of(0).count(), 51);
        assert!(of(1).count() > 80);
    }

    #[test]
    fn a_decoder_shows_every_picture() {
        let Some((_, frames)) = record(1) else { return };
        let stream: Vec<u8> =
            frames.iter().filter(|frame| frame.track == 0).flat_map(|frame| frame.payload.to_vec()).collect();
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "h264", "-i", "-", "-f", "rawvideo", "-pix_fmt", "gray", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: there is no ffmpeg program");
            return;
        };
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || input.write_all(&stream));
        let decoded = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap().unwrap();
        let picture_size = 1280 * 720;
        assert_eq!(decoded.len(), 26 * picture_size);
        assert_ne!(decoded[..picture_size], decoded[25 * picture_size..]);
    }
}
