//! FFmpeg's encoders, set up so that nothing waits.

use bytes::Bytes;
use ffmpeg_next::codec::{Flags, context::Context, encoder};
use ffmpeg_next::format::{Pixel, Sample, sample};
use ffmpeg_next::frame::{Audio, Video};
use ffmpeg_next::{ChannelLayout, Dictionary, Error, Packet, Rational};

use super::config::{ParameterSets, annex_b};
use super::raw::{hardware, silence};
use crate::media::format::{AudioCodec, VideoCodec};
use crate::media::hardware::Hardware;
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
    /// Codec.
    pub codec: VideoCodec,
    /// Pixels a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Pictures in a thousand seconds.
    pub thousandths: u32,
    /// Pictures from keyframe to keyframe, at most.
    pub gop: u32,
    /// Bits a second; zero for pictures that are all equally good.
    pub bitrate: u64,
}

/// Quantizer of pictures that are all equally good: hardly anything is seen of it.
const QUANTIZER: usize = 2;

/// Pictures, in the order and at the moment in which they come: none waits for another.
pub struct PictureEncoder {
    encoder: encoder::video::Encoder,
    settings: PictureSettings,
    pixels: Pixel,
    /// Where pictures are put for an encoder that has memory of its own.
    memory: Option<hardware::Pictures>,
    next: i64,
}

impl PictureEncoder {
    /// One beside the processor where there is one, else the processor's.
    pub fn best(settings: PictureSettings) -> Result<PictureEncoder, MediaError> {
        if let Some((kind, name)) = super::hardware::encoder_of_pictures(settings.codec) {
            match PictureEncoder::of_hardware(settings, kind, name) {
                Ok(encoder) => return Ok(encoder),
                Err(error) => tracing::debug!(name, %error, "pictures are encoded by the processor"),
            }
        }
        PictureEncoder::open(settings)
    }

    /// One beside the processor. An error when there is none, or it refuses the settings.
    pub fn of_hardware(
        settings: PictureSettings,
        kind: Hardware,
        name: &str,
    ) -> Result<PictureEncoder, MediaError> {
        let memory = match kind {
            Hardware::Vaapi => Some(hardware::Pictures::new(settings.width, settings.height)),
            Hardware::Nvenc | Hardware::Qsv | Hardware::V4l2m2m => None,
        };
        let memory = memory.transpose().map_err(MediaError::Unsupported)?;
        PictureEncoder::with(settings, name, (Pixel::NV12, memory), hardware_options(kind))
    }

    /// The processor's. An error when this FFmpeg lacks the encoder or refuses the settings.
    pub fn open(settings: PictureSettings) -> Result<PictureEncoder, MediaError> {
        let name = encoder_of_pictures(settings.codec);
        PictureEncoder::with(settings, name, (pixels_of(settings.codec), None), options_of(&settings))
    }

    /// The processor's, for JPEG pictures one by one.
    pub fn of_stills(width: u32, height: u32) -> Result<PictureEncoder, MediaError> {
        let codec = VideoCodec::Jpeg;
        PictureEncoder::open(PictureSettings {
            codec,
            width,
            height,
            thousandths: 25_000,
            gop: 1,
            bitrate: 0,
        })
    }

    fn with(
        settings: PictureSettings,
        name: &str,
        (pixels, memory): (Pixel, Option<hardware::Pictures>),
        options: Dictionary<'static>,
    ) -> Result<PictureEncoder, MediaError> {
        silence();
        let codec = encoder::find_by_name(name).ok_or_else(|| absent(name))?;
        let mut context = Context::new_with_codec(codec);
        if let Some(memory) = &memory {
            memory.attach(&mut context);
        }
        let mut video = context.encoder().video().map_err(refused)?;
        let time = Rational(1_000, settings.thousandths as i32).reduce();
        video.set_width(settings.width);
        video.set_height(settings.height);
        video.set_format(if memory.is_some() { Pixel::VAAPI } else { pixels });
        video.set_time_base(time);
        video.set_frame_rate(Some(Rational(time.1, time.0)));
        video.set_gop(settings.gop);
        video.set_max_b_frames(0);
        video.set_bit_rate(settings.bitrate as usize);
        video.set_max_bit_rate(settings.bitrate as usize);
        if settings.bitrate == 0 {
            video.set_flags(Flags::QSCALE);
            video.set_quality(QUANTIZER * LAMBDA_A_QUANTIZER);
        }
        let encoder = video.open_with(options).map_err(refused)?;
        Ok(PictureEncoder { encoder, settings, pixels, memory, next: 0 })
    }

    /// Whether it is beside the processor.
    pub fn is_of_hardware(&self) -> bool {
        self.pixels == Pixel::NV12
    }

    /// What comes of one grey picture. An error when nothing does.
    pub fn try_out(mut self) -> Result<Vec<Encoded>, MediaError> {
        let mut grey = self.blank();
        for plane in 0..grey.planes() {
            grey.data_mut(plane).fill(128);
        }
        let mut encoded = self.encode(&mut grey)?;
        encoded.extend(self.finish()?);
        if encoded.is_empty() {
            return Err(MediaError::Broken("an encoder gives nothing".to_owned()));
        }
        Ok(encoded)
    }

    /// A picture of the right size and format, to be filled.
    pub fn blank(&self) -> Video {
        Video::new(self.pixels, self.settings.width, self.settings.height)
    }

    /// Encodes a picture in planar YUV 4:2:0.
    pub fn encode_planes(&mut self, planes: [&[u8]; 3]) -> Result<Vec<Encoded>, MediaError> {
        let mut frame = self.blank();
        for (index, plane) in planes.into_iter().enumerate() {
            let stride = frame.stride(index);
            let width = frame.plane_width(index) as usize;
            let lines = frame.data_mut(index).chunks_mut(stride);
            for (line, source) in lines.zip(plane.chunks_exact(width)) {
                line[..width].copy_from_slice(source);
            }
        }
        self.encode(&mut frame)
    }

    /// Encodes a picture that [`PictureEncoder::blank`] has made.
    pub fn encode(&mut self, picture: &mut Video) -> Result<Vec<Encoded>, MediaError> {
        picture.set_pts(Some(self.next));
        self.next += 1;
        match &self.memory {
            None => self.encoder.send_frame(picture).map_err(refused)?,
            Some(memory) => {
                let copy = memory.upload(picture).map_err(MediaError::Broken)?;
                self.encoder.send_frame(&copy).map_err(refused)?;
            }
        }
        drain(&mut self.encoder)
    }

    /// What is still to come; nothing can be encoded afterwards.
    pub fn finish(&mut self) -> Result<Vec<Encoded>, MediaError> {
        self.encoder.send_eof().map_err(refused)?;
        drain(&mut self.encoder)
    }
}

/// So that nothing waits beside the processor either.
fn hardware_options(kind: Hardware) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    match kind {
        Hardware::Nvenc => {
            options.set("tune", "ull");
            options.set("zerolatency", "1");
            options.set("forced-idr", "1");
        }
        Hardware::Qsv => {
            options.set("async_depth", "1");
            options.set("forced_idr", "1");
        }
        Hardware::Vaapi => options.set("async_depth", "1"),
        Hardware::V4l2m2m => {}
    }
    options
}

/// FF_QP2LAMBDA.
const LAMBDA_A_QUANTIZER: usize = 118;

/// FFmpeg's name of the encoder.
pub fn encoder_of_pictures(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "libx264",
        VideoCodec::H265 => "libx265",
        VideoCodec::Mpeg4 => "mpeg4",
        VideoCodec::Jpeg => "mjpeg",
    }
}

fn pixels_of(codec: VideoCodec) -> Pixel {
    if codec == VideoCodec::Jpeg { Pixel::YUVJ420P } else { Pixel::YUV420P }
}

fn options_of(settings: &PictureSettings) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    options.set("threads", "1");
    // One second of the bit rate: keyframes may be as large as they are.
    options.set("bufsize", &settings.bitrate.to_string());
    match settings.codec {
        VideoCodec::H264 => {
            options.set("preset", "superfast");
            options.set("tune", "zerolatency");
            options.set("profile", "main");
            options.set("forced-idr", "1");
        }
        VideoCodec::H265 => {
            options.set("preset", "ultrafast");
            options.set("tune", "zerolatency");
            options.set("forced-idr", "1");
            // One thread, no reordering, and quiet.
            options.set("x265-params", "pools=none:frame-threads=1:bframes=0:open-gop=0:log-level=none");
        }
        VideoCodec::Mpeg4 => {}
        // The tables that RFC 2435 has.
        VideoCodec::Jpeg => options.set("huffman", "default"),
    }
    options
}

/// Sequence and picture parameter sets that stand in a keyframe.
pub fn parameter_sets(keyframe: &Bytes) -> (Vec<Bytes>, Vec<Bytes>) {
    let sets = ParameterSets::from_h264_units(annex_b(keyframe));
    (sets.sps, sets.pps)
}

/// What sound shall be like.
#[derive(Clone, Copy, Debug)]
pub struct SoundSettings {
    /// Codec.
    pub codec: AudioCodec,
    /// Samples a second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Bits a second.
    pub bitrate: u64,
}

/// Sound, a frame of samples after the other.
pub struct SoundEncoder {
    encoder: encoder::audio::Encoder,
    settings: SoundSettings,
    format: Sample,
    frame_samples: usize,
}

impl SoundEncoder {
    /// An error when this FFmpeg lacks the encoder or refuses the settings.
    pub fn open(settings: SoundSettings) -> Result<SoundEncoder, MediaError> {
        silence();
        let name = encoder_of_sound(settings.codec);
        let codec = encoder::find_by_name(name).ok_or_else(|| absent(name))?;
        let mut audio = Context::new_with_codec(codec).encoder().audio().map_err(refused)?;
        let format = match settings.codec {
            AudioCodec::Aac => Sample::F32(sample::Type::Planar),
            AudioCodec::Opus => Sample::F32(sample::Type::Packed),
            _ => Sample::I16(sample::Type::Packed),
        };
        audio.set_rate(settings.sample_rate as i32);
        audio.set_channel_layout(ChannelLayout::default(settings.channels.into()));
        audio.set_format(format);
        audio.set_bit_rate(settings.bitrate as usize);
        audio.set_time_base(Rational(1, settings.sample_rate as i32));
        let mut options = Dictionary::new();
        if settings.codec == AudioCodec::G726 {
            options.set("code_size", &(settings.bitrate / 8_000).to_string());
        }
        let encoder = audio.open_with(options).map_err(refused)?;
        let frame_samples = frame_samples(settings.codec, settings.sample_rate);
        Ok(SoundEncoder { encoder, settings, format, frame_samples })
    }

    /// Samples of each channel in a frame.
    pub fn frame_samples(&self) -> usize {
        self.frame_samples
    }

    /// Encodes a frame of samples between -1 and 1, those of one moment side by side, whose first is at `time`, in
    /// samples. What comes out may be of earlier ones: AAC begins with an access unit before the first sample, which only
    /// sets decoders up.
    pub fn encode(&mut self, time: i64, samples: &[f32]) -> Result<Vec<Encoded>, MediaError> {
        let layout = ChannelLayout::default(self.settings.channels.into());
        let mut frame = Audio::new(self.format, self.frame_samples, layout);
        frame.set_rate(self.settings.sample_rate);
        frame.set_pts(Some(time));
        let width = usize::from(self.settings.channels);
        match self.format {
            Sample::F32(sample::Type::Planar) => {
                for channel in 0..width {
                    let of_channel = samples.iter().skip(channel).step_by(width);
                    frame
                        .plane_mut::<f32>(channel)
                        .iter_mut()
                        .zip(of_channel)
                        .for_each(|(to, from)| *to = *from);
                }
            }
            Sample::F32(sample::Type::Packed) => {
                let bytes = samples.iter().flat_map(|sample| sample.to_ne_bytes());
                frame.data_mut(0).iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            }
            _ => {
                let whole = |sample: &f32| (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
                let bytes = samples.iter().flat_map(|sample| whole(sample).to_ne_bytes());
                frame.data_mut(0).iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
            }
        }
        self.encoder.send_frame(&frame).map_err(refused)?;
        drain(&mut self.encoder)
    }

    /// What is still to come; nothing can be encoded afterwards.
    pub fn finish(&mut self) -> Result<Vec<Encoded>, MediaError> {
        self.encoder.send_eof().map_err(refused)?;
        drain(&mut self.encoder)
    }
}

/// FFmpeg's name of the encoder.
pub fn encoder_of_sound(codec: AudioCodec) -> &'static str {
    match codec {
        AudioCodec::G711A => "pcm_alaw",
        AudioCodec::G711U => "pcm_mulaw",
        AudioCodec::G722 => "g722",
        AudioCodec::G726 => "g726le",
        AudioCodec::Aac => "aac",
        AudioCodec::Opus => "libopus",
    }
}

/// Samples of an access unit: what AAC has, else 20 ms.
pub fn frame_samples(codec: AudioCodec, sample_rate: u32) -> usize {
    if codec == AudioCodec::Aac { 1_024 } else { sample_rate as usize / 50 }
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
