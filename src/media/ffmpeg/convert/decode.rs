//! Decoders for the tracks that streams have, wherever these come from.

use std::borrow::Cow;

use bytes::Bytes;
use ffmpeg_next::codec::{Id, decoder::Opened};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::{Audio, Video};
use ffmpeg_next::{Error, Frame as Decoded, Packet};
use proto::frame::Frame;
use proto::track::{BitOrder, Codec, Framing, Law, Track};

use crate::media::capture::{Pixels, Shape};
use crate::media::ffmpeg::raw::{self, decoder::Setup};
use crate::media::library::MediaError;

/// Decodes one track.
pub struct Decoder {
    opened: Opened,
    framing: Option<Framing>,
    /// Whether nothing has been decoded yet, and nothing can be before a keyframe.
    awaits_keyframe: bool,
}

impl Decoder {
    /// An error where this FFmpeg cannot decode the track.
    pub fn open(track: &Track) -> Result<Decoder, MediaError> {
        raw::silence();
        let (id, extradata) = described(&track.codec)
            .ok_or_else(|| MediaError::Unsupported("what is not known cannot be decoded".to_owned()))?;
        let (sound, bits) = sound(&track.codec);
        let setup =
            Setup { id, extradata: &extradata, clock_rate: track.clock_rate, sound, pixels: None, bits };
        let opened = raw::decoder::open(setup).map_err(|error| {
            MediaError::Unsupported(format!("this FFmpeg cannot decode {}: {error}", id.name()))
        })?;
        let framing = match &track.codec {
            Codec::H264 { framing, .. } | Codec::H265 { framing, .. } => Some(*framing),
            _ => None,
        };
        Ok(Decoder { opened, framing, awaits_keyframe: true })
    }

    /// One for a track as its container describes it, in whatever codec. An error where this FFmpeg has none.
    pub fn of_container(parameters: &raw::Parameters, clock_rate: u32) -> Result<Decoder, MediaError> {
        raw::silence();
        let opened = raw::decoder::open_described(parameters, clock_rate)
            .map_err(|error| MediaError::Unsupported(format!("this FFmpeg cannot decode it: {error}")))?;
        Ok(Decoder { opened, framing: None, awaits_keyframe: true })
    }

    /// One for pictures that are not coded, whose times are in ticks of 90 kHz.
    pub fn of_pixels(shape: Shape) -> Result<Decoder, MediaError> {
        raw::silence();
        let pixels = Some((pixel(shape.pixels), shape.width, shape.height));
        let setup =
            Setup { id: Id::RAWVIDEO, extradata: &[], clock_rate: 90_000, sound: None, pixels, bits: 0 };
        let opened = raw::decoder::open(setup)
            .map_err(|error| MediaError::Unsupported(format!("pixels cannot be read: {error}")))?;
        Ok(Decoder { opened, framing: None, awaits_keyframe: true })
    }

    /// Takes an access unit; what can be shown or heard now. A unit that is damaged is left out.
    pub fn push<P: Perceived>(&mut self, frame: &Frame) -> Vec<P> {
        if self.awaits_keyframe && !frame.keyframe {
            return Vec::new();
        }
        self.awaits_keyframe = false;
        let payload: Cow<'_, [u8]> = match self.framing {
            Some(Framing::Length(size)) => Cow::Owned(with_start_codes(&frame.payload, size)),
            Some(Framing::AnnexB) | None => Cow::Borrowed(&frame.payload),
        };
        let mut packet = Packet::copy(&payload);
        packet.set_pts(Some(frame.pts));
        packet.set_dts(Some(frame.dts));
        packet.set_duration(i64::from(frame.duration));
        if let Err(error) = self.opened.send_packet(&packet) {
            tracing::debug!(%error, "an access unit cannot be decoded");
        }
        self.drain()
    }

    /// What is still to come.
    pub fn finish<P: Perceived>(&mut self) -> Vec<P> {
        let rest = if self.opened.send_eof().is_ok() { self.drain() } else { Vec::new() };
        self.reset();
        rest
    }

    /// Forgets what came.
    pub fn reset(&mut self) {
        self.opened.flush();
        self.awaits_keyframe = true;
    }

    fn drain<P: Perceived>(&mut self) -> Vec<P> {
        let mut perceived = Vec::new();
        loop {
            let mut next = P::empty();
            match self.opened.receive_frame(next.frame()) {
                Ok(()) => perceived.push(next),
                // It wants more, or has ended.
                Err(Error::Eof | Error::Other { .. }) => return perceived,
                Err(error) => {
                    tracing::debug!(%error, "an access unit cannot be decoded");
                    return perceived;
                }
            }
        }
    }
}

fn pixel(pixels: Pixels) -> Pixel {
    match pixels {
        Pixels::Bgr0 => Pixel::BGRZ,
        Pixels::Rgb0 => Pixel::RGBZ,
        Pixels::Bgr24 => Pixel::BGR24,
        Pixels::Rgb24 => Pixel::RGB24,
        Pixels::Yuyv422 => Pixel::YUYV422,
        Pixels::Uyvy422 => Pixel::UYVY422,
        Pixels::Yvyu422 => Pixel::YVYU422,
        Pixels::Nv12 => Pixel::NV12,
        Pixels::Nv21 => Pixel::NV21,
        Pixels::Yuv420p => Pixel::YUV420P,
        Pixels::Gray8 => Pixel::GRAY8,
    }
}

/// What a decoder makes.
pub trait Perceived {
    /// To be filled.
    fn empty() -> Self;

    /// The frame in it.
    fn frame(&mut self) -> &mut Decoded;
}

impl Perceived for Video {
    fn empty() -> Video {
        Video::empty()
    }

    fn frame(&mut self) -> &mut Decoded {
        self
    }
}

impl Perceived for Audio {
    fn empty() -> Audio {
        Audio::empty()
    }

    fn frame(&mut self) -> &mut Decoded {
        self
    }
}

/// FFmpeg's name of a codec, and its parameters as FFmpeg has them. None for what only passes through.
fn described(codec: &Codec) -> Option<(Id, Bytes)> {
    let described = match codec {
        Codec::H264 { sps, pps, .. } => (Id::H264, units(&[sps, pps])),
        Codec::H265 { vps, sps, pps, .. } => (Id::HEVC, units(&[vps, sps, pps])),
        Codec::Mpeg4Visual { config } => (Id::MPEG4, config.clone()),
        Codec::Jpeg => (Id::MJPEG, Bytes::new()),
        Codec::Vp8 => (Id::VP8, Bytes::new()),
        Codec::Vp9 { .. } => (Id::VP9, Bytes::new()),
        Codec::Av1 { .. } => (Id::AV1, Bytes::new()),
        Codec::Aac { config, .. } => (Id::AAC, config.clone()),
        Codec::Opus { .. } => (Id::OPUS, Bytes::new()),
        Codec::G711 { law: Law::A, .. } => (Id::PCM_ALAW, Bytes::new()),
        Codec::G711 { law: Law::Mu, .. } => (Id::PCM_MULAW, Bytes::new()),
        Codec::G722 { .. } => (Id::ADPCM_G722, Bytes::new()),
        Codec::G726 { order: BitOrder::MostFirst, .. } => (Id::ADPCM_G726, Bytes::new()),
        Codec::G726 { order: BitOrder::LeastFirst, .. } => (Id::ADPCM_G726LE, Bytes::new()),
        Codec::MpegAudio => (Id::MP3, Bytes::new()),
        Codec::L16 { .. } => (Id::PCM_S16BE, Bytes::new()),
        Codec::Metadata | Codec::Other { .. } => return None,
    };
    Some(described)
}

/// Rate and channels of sound whose access units do not tell, and bits of its samples.
fn sound(codec: &Codec) -> (Option<(u32, u8)>, u8) {
    match codec {
        Codec::Opus { channels } => (Some((48_000, *channels)), 0),
        Codec::G711 { sample_rate, channels, .. } | Codec::L16 { sample_rate, channels } => {
            (Some((*sample_rate, *channels)), 0)
        }
        Codec::G722 { channels } => (Some((16_000, *channels)), 0),
        Codec::G726 { bits, .. } => (Some((8_000, 1)), *bits),
        _ => (None, 0),
    }
}

fn units(sets: &[&Vec<Bytes>]) -> Bytes {
    let units = sets.iter().flat_map(|sets| sets.iter());
    units.flat_map(|unit| [&START_CODE[..], unit].concat()).collect()
}

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Units behind start codes in place of lengths of `size` bytes. What is left of a damaged one is left out.
fn with_start_codes(payload: &[u8], size: u8) -> Vec<u8> {
    let (mut rest, mut out) = (payload, Vec::with_capacity(payload.len() + 16));
    while let Some((length, behind)) = rest.split_at_checked(usize::from(size)) {
        let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        let Some((unit, behind)) = behind.split_at_checked(length).filter(|_| size > 0) else { break };
        out.extend_from_slice(&START_CODE);
        out.extend_from_slice(unit);
        rest = behind;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_become_start_codes() {
        assert_eq!(with_start_codes(&[0, 2, 7, 8, 0, 1, 9], 2), [0, 0, 0, 1, 7, 8, 0, 0, 0, 1, 9]);
        assert_eq!(with_start_codes(&[0, 2, 7, 8, 0, 3, 9], 2), [0, 0, 0, 1, 7, 8]);
        assert_eq!(with_start_codes(&[1], 0), Vec::<u8>::new());
    }
}
