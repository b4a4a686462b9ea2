//! What a container's streams are for RTP: a track with its conversion, or the reason why not.

use bytes::Bytes;
use ffmpeg_next::codec::Id;
use proto::rtp::jpeg::{check, rewrite};
use proto::rtp::packetize::carries;
use proto::track::{BitOrder, Codec, Kind, Law, Track};

use super::config::{Adts, ParameterSets, annex_b, av1_sequence_header};
use super::raw::Stream;

/// What happens to a packet's bytes on their way into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Nothing.
    Keep,
    /// The ADTS header is dropped.
    StripAdts,
    /// Samples are cut into pieces of 20 ms.
    Pieces(Samples),
}

/// How raw samples lie in bytes: `bytes` hold `ticks` of the RTP clock, neither less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Samples {
    /// Bytes of a unit.
    pub bytes: usize,
    /// Ticks of a unit.
    pub ticks: i64,
    /// Whether the two bytes of a sample change places.
    pub swap: bool,
}

/// The track that a stream makes, at `index` of its presentation. `first` is the stream's first packet, or empty.
/// The error is the reason in words.
pub fn track(stream: &Stream, first: &Bytes, index: u8) -> Result<(Track, Conversion), String> {
    let name = stream.codec.name();
    if stream.kind == Kind::Application {
        return Err(format!("{name}: only pictures and sound are carried"));
    }
    if stream.is_cover {
        return Err(format!("{name}: it is a cover picture"));
    }
    let (codec, conversion) = codec(stream, first).map_err(|reason| format!("{name}: {reason}"))?;
    carries(&codec).map_err(|reason| format!("{name}: {reason}"))?;
    let track = Track::new(codec, index);
    if track.clock_rate == 0 {
        return Err(format!("{name}: the sample rate is unknown"));
    }
    Ok((described(track, stream), conversion))
}

/// With what the container tells of it beside its codec.
pub fn described(track: Track, stream: &Stream) -> Track {
    Track { size: stream.size, framerate: stream.framerate, bitrate: stream.bitrate, ..track }
}

fn codec(stream: &Stream, first: &Bytes) -> Result<(Codec, Conversion), String> {
    if stream.kind == Kind::Video {
        return video(stream, first).map(|codec| (codec, Conversion::Keep));
    }
    let channels = u8::try_from(stream.channels).unwrap_or(u8::MAX);
    match stream.codec {
        Id::AAC => aac(stream, first),
        Id::OPUS if channels > 2 => Err("RTP carries Opus with one or two channels only".into()),
        Id::OPUS => Ok((Codec::Opus { channels }, Conversion::Keep)),
        Id::MP1 | Id::MP2 | Id::MP3 => Ok((Codec::MpegAudio, Conversion::Keep)),
        _ => samples(stream, channels),
    }
}

fn video(stream: &Stream, first: &Bytes) -> Result<Codec, String> {
    let none = || "its parameters cannot be read".to_owned();
    match stream.codec {
        Id::H264 => {
            let mut sets = ParameterSets::h264(&stream.extradata).ok_or_else(none)?;
            if sets.sps.is_empty() && sets.length_bytes.is_none() {
                sets = ParameterSets::from_h264_units(annex_b(first));
            }
            let framing = sets.framing();
            Ok(Codec::H264 { sps: sets.sps, pps: sets.pps, framing })
        }
        Id::HEVC => {
            let mut sets = ParameterSets::h265(&stream.extradata).ok_or_else(none)?;
            if sets.sps.is_empty() && sets.length_bytes.is_none() {
                sets = ParameterSets::from_h265_units(annex_b(first));
            }
            let framing = sets.framing();
            Ok(Codec::H265 { vps: sets.vps, sps: sets.sps, pps: sets.pps, framing })
        }
        Id::MPEG4 => Ok(Codec::Mpeg4Visual { config: stream.extradata.clone() }),
        Id::MJPEG => check(first)
            .or_else(|reason| rewrite(first).map(drop).map_err(|_| reason))
            .map_or_else(|reason| Err(reason.to_owned()), |()| Ok(Codec::Jpeg)),
        Id::VP8 => Ok(Codec::Vp8),
        Id::VP9 => Ok(Codec::Vp9 { profile: vp9_profile(stream, first) }),
        Id::AV1 => Ok(Codec::Av1 { sequence_header: av1_sequence_header(&stream.extradata) }),
        _ => Err("RTP does not carry this codec here".into()),
    }
}

/// From the container, else from the first frame's header (VP9 bitstream section 6.2).
fn vp9_profile(stream: &Stream, first: &[u8]) -> u8 {
    let of_frame = first.first().map_or(0, |byte| byte >> 5 & 1 | (byte >> 4 & 1) << 1);
    u8::try_from(stream.profile).ok().filter(|profile| *profile <= 3).unwrap_or(of_frame)
}

fn aac(stream: &Stream, first: &[u8]) -> Result<(Codec, Conversion), String> {
    if stream.extradata.len() >= 2 {
        let channels = u8::try_from(stream.channels).unwrap_or(u8::MAX);
        let config = stream.extradata.clone();
        return Ok((Codec::Aac { config, sample_rate: stream.sample_rate, channels }, Conversion::Keep));
    }
    let adts = Adts::parse(first).ok_or("it has neither a configuration nor ADTS headers")?;
    let config = adts.config().ok_or("its channels are listed in band only")?;
    let codec = Codec::Aac { config, sample_rate: adts.sample_rate(), channels: adts.channels() };
    Ok((codec, Conversion::StripAdts))
}

/// Codecs whose packets are but samples.
fn samples(stream: &Stream, channels: u8) -> Result<(Codec, Conversion), String> {
    let sample_rate = stream.sample_rate;
    let width = usize::from(channels);
    let (codec, bytes, ticks) = match stream.codec {
        Id::PCM_ALAW => (Codec::G711 { law: Law::A, sample_rate, channels }, width, 1),
        Id::PCM_MULAW => (Codec::G711 { law: Law::Mu, sample_rate, channels }, width, 1),
        Id::PCM_S16LE | Id::PCM_S16BE => (Codec::L16 { sample_rate, channels }, 2 * width, 1),
        Id::ADPCM_G722 if sample_rate != 16_000 => return Err("G.722 has 16000 samples a second".into()),
        Id::ADPCM_G722 => (Codec::G722 { channels }, width, 1),
        Id::ADPCM_G726 | Id::ADPCM_G726LE if (sample_rate, channels) != (8_000, 1) => {
            return Err("RTP carries G.726 with 8000 samples a second and one channel only".into());
        }
        Id::ADPCM_G726 | Id::ADPCM_G726LE => {
            let order =
                if stream.codec == Id::ADPCM_G726 { BitOrder::MostFirst } else { BitOrder::LeastFirst };
            let bits = match (stream.codeword_bits, stream.bitrate) {
                (bits @ 2..=5, _) => bits as u8,
                (_, Some(rate)) => u8::try_from(rate / 8_000).unwrap_or(0),
                _ => 0,
            };
            (Codec::G726 { bits, order }, usize::from(bits), 8)
        }
        _ => return Err("RTP does not carry this codec here".into()),
    };
    let swap = stream.codec == Id::PCM_S16LE;
    Ok((codec, Conversion::Pieces(Samples { bytes: bytes.max(1), ticks, swap })))
}
