//! One track of a stream or file.

use proto::track::{Codec, Kind, Law, Track as Source};
use serde::Serialize;
use utoipa::ToSchema;

/// What one track carries.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Track {
    /// `video`, `audio` or `application`.
    kind: &'static str,
    /// The codec, by its name in SDP.
    codec: String,
    /// Pixels a line; null for sound and where it is not known.
    width: Option<u32>,
    /// Lines; null for sound and where it is not known.
    height: Option<u32>,
    /// Pictures a second; null for sound and where it is not known.
    framerate: Option<f64>,
    /// Samples a second; null for pictures and where it is not known.
    sample_rate: Option<u32>,
    /// Channels of sound; null for pictures and where it is not known.
    channels: Option<u8>,
    /// Average bits a second; null where it is not known.
    bits_per_second: Option<u64>,
    /// Payload type of its RTP packets.
    payload_type: u8,
    /// Clock of its RTP packets, in hertz.
    clock_rate: u32,
}

impl From<&Source> for Track {
    fn from(track: &Source) -> Track {
        let (sample_rate, channels) = sound(&track.codec);
        Track {
            kind: match track.kind() {
                Kind::Video => "video",
                Kind::Audio => "audio",
                Kind::Application => "application",
            },
            codec: codec(&track.codec),
            width: track.size.map(|(width, _)| width),
            height: track.size.map(|(_, height)| height),
            framerate: track.framerate.filter(|rate| rate.is_finite()),
            sample_rate,
            channels,
            bits_per_second: track.bitrate,
            payload_type: track.payload_type,
            clock_rate: track.clock_rate,
        }
    }
}

fn codec(codec: &Codec) -> String {
    let name = match codec {
        Codec::H264 { .. } => "H264",
        Codec::H265 { .. } => "H265",
        Codec::Mpeg4Visual { .. } => "MP4V-ES",
        Codec::Jpeg => "JPEG",
        Codec::Vp8 => "VP8",
        Codec::Vp9 { .. } => "VP9",
        Codec::Av1 { .. } => "AV1",
        Codec::Aac { .. } => "MPEG4-GENERIC",
        Codec::Opus { .. } => "OPUS",
        Codec::G711 { law: Law::A, .. } => "PCMA",
        Codec::G711 { law: Law::Mu, .. } => "PCMU",
        Codec::G722 { .. } => "G722",
        Codec::G726 { .. } => "G726",
        Codec::MpegAudio => "MPA",
        Codec::L16 { .. } => "L16",
        Codec::Metadata => "VND.ONVIF.METADATA",
        Codec::Other { rtpmap, .. } => {
            return rtpmap.split('/').next().unwrap_or_default().to_ascii_uppercase();
        }
    };
    name.to_owned()
}

fn sound(codec: &Codec) -> (Option<u32>, Option<u8>) {
    match codec {
        Codec::Aac { sample_rate, channels, .. }
        | Codec::G711 { sample_rate, channels, .. }
        | Codec::L16 { sample_rate, channels } => (Some(*sample_rate), Some(*channels)),
        Codec::Opus { channels } => (Some(48_000), Some(*channels)),
        Codec::G722 { channels } => (Some(16_000), Some(*channels)),
        Codec::G726 { .. } => (Some(8_000), Some(1)),
        _ => (None, None),
    }
}
