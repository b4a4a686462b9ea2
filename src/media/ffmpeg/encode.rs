//! FFmpeg's encoders for what this server draws itself: H.264 pictures and AAC sound, without delay.

use bytes::Bytes;
use ffmpeg_next::codec::{context::Context, encoder};
use ffmpeg_next::format::{Pixel, Sample, sample};
use ffmpeg_next::frame::{Audio, Video};
use ffmpeg_next::{ChannelLayout, Dictionary, Error, Packet, Rational};

use super::config::{ParameterSets, annex_b};
use super::raw::silence;
use crate::media::library::MediaError;

/// An access unit as it leaves an encoder.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Its time, in pictures or samples.
    pub time: i64,
    /// Whether decoding can begin here.
    pub is_key: bool,
    /// The coded bytes: units behind start codes, or a raw AAC access unit.
    pub payload: Bytes,
}

/// What pictures shall be like.
#[derive(Clone, Copy, Debug)]
pub struct PictureSettings {
    /// Pixels a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Pictures a second.
    pub framerate: u32,
    /// Pictures from keyframe to keyframe.
    pub gop: u32,
    /// Bits a second.
    pub bitrate: usize,
}

/// H.264 by libx264.
pub struct PictureEncoder {
    encoder: encoder::video::Encoder,
    settings: PictureSettings,
    next: i64,
}

impl PictureEncoder {
    /// An error when this FFmpeg has no libx264 or refuses the settings.
    pub fn open(settings: PictureSettings) -> Result<PictureEncoder, MediaError> {
        silence();
        let codec = encoder::find_by_name("libx264").ok_or_else(|| absent("libx264"))?;
        let mut video = Context::new_with_codec(codec).encoder().video().map_err(refused)?;
        let rate = settings.framerate as i32;
        video.set_width(settings.width);
        video.set_height(settings.height);
        video.set_format(Pixel::YUV420P);
        video.set_time_base(Rational(1, rate));
        video.set_frame_rate(Some(Rational(rate, 1)));
        video.set_gop(settings.gop);
        video.set_max_b_frames(0);
        video.set_bit_rate(settings.bitrate);
        video.set_max_bit_rate(settings.bitrate);
        let mut options = Dictionary::new();
        options.set("preset", "superfast");
        options.set("tune", "zerolatency");
        options.set("profile", "main");
        options.set("threads", "1");
        // One second of the bit rate: keyframes may be as large as they are.
        options.set("bufsize", &settings.bitrate.to_string());
        let encoder = video.open_with(options).map_err(refused)?;
        Ok(PictureEncoder { encoder, settings, next: 0 })
    }

    /// Encodes a picture in planar YUV 4:2:0.
    pub fn encode(&mut self, planes: [&[u8]; 3]) -> Result<Vec<Encoded>, MediaError> {
        let PictureSettings { width, height, .. } = self.settings;
        let mut frame = Video::new(Pixel::YUV420P, width, height);
        for (index, plane) in planes.into_iter().enumerate() {
            let stride = frame.stride(index);
            let width = if index == 0 { width } else { width.div_ceil(2) } as usize;
            let lines = frame.data_mut(index).chunks_mut(stride);
            for (line, source) in lines.zip(plane.chunks_exact(width)) {
                line[..width].copy_from_slice(source);
            }
        }
        frame.set_pts(Some(self.next));
        self.next += 1;
        self.encoder.send_frame(&frame).map_err(refused)?;
        drain(&mut self.encoder)
    }
}

/// Sequence and picture parameter sets that stand in a keyframe.
pub fn parameter_sets(keyframe: &Bytes) -> (Vec<Bytes>, Vec<Bytes>) {
    let sets = ParameterSets::from_h264_units(annex_b(keyframe));
    (sets.sps, sets.pps)
}

/// AAC-LC, mono, by FFmpeg's own encoder.
pub struct SoundEncoder {
    encoder: encoder::audio::Encoder,
    rate: u32,
    next: i64,
}

impl SoundEncoder {
    /// Samples of one access unit.
    pub const FRAME_SAMPLES: usize = 1024;

    /// `rate` is the sampling rate in hertz, `bitrate` the bits a second. An error when this FFmpeg has no AAC.
    pub fn open(rate: u32, bitrate: usize) -> Result<SoundEncoder, MediaError> {
        silence();
        let codec = encoder::find_by_name("aac").ok_or_else(|| absent("aac"))?;
        let mut audio = Context::new_with_codec(codec).encoder().audio().map_err(refused)?;
        audio.set_rate(rate as i32);
        audio.set_channel_layout(ChannelLayout::MONO);
        audio.set_format(Sample::F32(sample::Type::Planar));
        audio.set_bit_rate(bitrate);
        audio.set_time_base(Rational(1, rate as i32));
        let encoder = audio.open().map_err(refused)?;
        Ok(SoundEncoder { encoder, rate, next: 0 })
    }

    /// Encodes [`SoundEncoder::FRAME_SAMPLES`] samples between -1 and 1. What comes out is one call behind; the first
    /// access unit only sets the decoder up and has a negative time.
    pub fn encode(&mut self, samples: &[f32; Self::FRAME_SAMPLES]) -> Result<Vec<Encoded>, MediaError> {
        let mut frame =
            Audio::new(Sample::F32(sample::Type::Planar), Self::FRAME_SAMPLES, ChannelLayout::MONO);
        frame.set_rate(self.rate);
        frame.plane_mut::<f32>(0).copy_from_slice(samples);
        frame.set_pts(Some(self.next));
        self.next += Self::FRAME_SAMPLES as i64;
        self.encoder.send_frame(&frame).map_err(refused)?;
        drain(&mut self.encoder)
    }
}

fn drain(encoder: &mut encoder::Encoder) -> Result<Vec<Encoded>, MediaError> {
    let mut encoded = Vec::new();
    loop {
        let mut packet = Packet::empty();
        match encoder.receive_packet(&mut packet) {
            Ok(()) => encoded.push(Encoded {
                time: packet.pts().unwrap_or(0),
                is_key: packet.is_key(),
                payload: Bytes::copy_from_slice(packet.data().unwrap_or(&[])),
            }),
            Err(Error::Other { errno }) if errno == ffmpeg_next::error::EAGAIN => return Ok(encoded),
            Err(Error::Eof) => return Ok(encoded),
            Err(error) => return Err(refused(error)),
        }
    }
}

fn absent(encoder: &str) -> MediaError {
    MediaError::Unsupported(format!("this FFmpeg has no encoder {encoder}"))
}

fn refused(error: Error) -> MediaError {
    MediaError::Broken(format!("an encoder failed: {error}"))
}
