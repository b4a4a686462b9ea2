//! What one track carries, as its source knows it and as SDP and the packetizers need it.

use bytes::Bytes;

/// One track of a presentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Codec and its parameters.
    pub codec: Codec,
    /// RTP payload type: the static one of RFC 3551 where codec, rate and channels allow it, else 96 and above.
    pub payload_type: u8,
    /// RTP clock in hertz.
    pub clock_rate: u32,
    /// Picture size in pixels; None for sound, or when unknown.
    pub size: Option<(u32, u32)>,
    /// Pictures a second; None for sound, or when unknown.
    pub framerate: Option<f64>,
    /// Average bits a second; None when unknown.
    pub bitrate: Option<u64>,
}

/// The first word of an `m=` line (RFC 8866 section 5.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Everything else, such as metadata.
    Application,
}

/// How NAL units stand in a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Start codes of 3 or 4 bytes (ITU-T H.264 annex B).
    AnnexB,
    /// A big-endian length of this many bytes (1 to 4) before each unit (ISO/IEC 14496-15).
    Length(u8),
}

/// Law of G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// PCMA.
    A,
    /// PCMU.
    Mu,
}

/// Order of G.726 codewords in an octet (RFC 3551 section 4.5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitOrder {
    /// First codeword in the least significant bits: `G726-…`.
    LeastFirst,
    /// First codeword in the most significant bits: `AAL2-G726-…`.
    MostFirst,
}

/// A codec with what a receiver must know to decode it.
#[derive(Clone, Debug, PartialEq)]
pub enum Codec {
    /// RFC 6184. Parameter sets without start code or length.
    H264 {
        /// Sequence parameter sets.
        sps: Vec<Bytes>,
        /// Picture parameter sets.
        pps: Vec<Bytes>,
        /// How units stand in a frame.
        framing: Framing,
    },
    /// RFC 7798. Parameter sets without start code or length.
    H265 {
        /// Video parameter sets.
        vps: Vec<Bytes>,
        /// Sequence parameter sets.
        sps: Vec<Bytes>,
        /// Picture parameter sets.
        pps: Vec<Bytes>,
        /// How units stand in a frame.
        framing: Framing,
    },
    /// RFC 6416, `MP4V-ES`.
    Mpeg4Visual {
        /// Visual object sequence to video object layer headers, with start codes.
        config: Bytes,
    },
    /// RFC 2435. Frames are whole JPEG files.
    Jpeg,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9 {
        /// Profile 0 to 3.
        profile: u8,
    },
    /// AOM's RTP payload for AV1. Frames are temporal units in low-overhead form (with sizes).
    Av1 {
        /// Sequence header unit with its header and size; empty when it comes in band only.
        sequence_header: Bytes,
    },
    /// RFC 3640, mode AAC-hbr. Frames are raw access units without ADTS.
    Aac {
        /// AudioSpecificConfig (ISO/IEC 14496-3).
        config: Bytes,
        /// Samples a second, which is also the RTP clock.
        sample_rate: u32,
        /// Channels.
        channels: u8,
    },
    /// RFC 7587.
    Opus {
        /// Channels of the source: 1 or 2.
        channels: u8,
    },
    /// RFC 3551 section 4.5.14.
    G711 {
        /// A-law or mu-law.
        law: Law,
        /// Samples a second.
        sample_rate: u32,
        /// Channels.
        channels: u8,
    },
    /// RFC 3551 section 4.5.2; 16 kHz sound on an 8 kHz RTP clock.
    G722 {
        /// Channels.
        channels: u8,
    },
    /// RFC 3551 section 4.5.4; 8 kHz mono.
    G726 {
        /// Bits a codeword: 2 to 5.
        bits: u8,
        /// Order of codewords on the wire; frames hold them in this order already.
        order: BitOrder,
    },
    /// RFC 2250, MPEG audio of any layer; the RTP clock is 90 kHz.
    MpegAudio,
    /// RFC 3551 section 4.5.11, big-endian 16-bit samples.
    L16 {
        /// Samples a second.
        sample_rate: u32,
        /// Channels.
        channels: u8,
    },
    /// Metadata that is written here (ONVIF streaming specification section 5.1.2.1.1). Frames are whole XML documents.
    Metadata,
    /// Any other format, such as metadata of another's; its packets are passed through as they came.
    Other {
        /// First word of its `m=` line.
        kind: Kind,
        /// Value of `a=rtpmap` behind the payload type, such as `vnd.onvif.metadata/90000`.
        rtpmap: String,
        /// Value of `a=fmtp` behind the payload type.
        fmtp: Option<String>,
    },
}

impl Codec {
    /// Whether a receiver of one can go on with the other. Parameter sets that only one of them names may come in band.
    pub fn agrees_with(&self, other: &Codec) -> bool {
        let is_same = std::mem::discriminant(self) == std::mem::discriminant(other);
        self == other || is_same && (self.lacks_parameters() || other.lacks_parameters())
    }

    fn lacks_parameters(&self) -> bool {
        match self {
            Codec::H264 { sps, pps, .. } => sps.is_empty() || pps.is_empty(),
            Codec::H265 { vps, sps, pps, .. } => vps.is_empty() || sps.is_empty() || pps.is_empty(),
            Codec::Mpeg4Visual { config } => config.is_empty(),
            Codec::Av1 { sequence_header } => sequence_header.is_empty(),
            _ => false,
        }
    }

    /// Which kind of track this codec makes.
    pub fn kind(&self) -> Kind {
        match self {
            Codec::H264 { .. }
            | Codec::H265 { .. }
            | Codec::Mpeg4Visual { .. }
            | Codec::Jpeg
            | Codec::Vp8
            | Codec::Vp9 { .. }
            | Codec::Av1 { .. } => Kind::Video,
            Codec::Aac { .. }
            | Codec::Opus { .. }
            | Codec::G711 { .. }
            | Codec::G722 { .. }
            | Codec::G726 { .. }
            | Codec::MpegAudio
            | Codec::L16 { .. } => Kind::Audio,
            Codec::Metadata => Kind::Application,
            Codec::Other { kind, .. } => *kind,
        }
    }

    /// The RTP clock in hertz.
    pub fn clock_rate(&self) -> u32 {
        match self {
            Codec::Aac { sample_rate, .. }
            | Codec::G711 { sample_rate, .. }
            | Codec::L16 { sample_rate, .. } => *sample_rate,
            Codec::Opus { .. } => 48_000,
            // RFC 3551 section 4.5.2 keeps 8000 for G722 by historical error.
            Codec::G722 { .. } | Codec::G726 { .. } => 8_000,
            Codec::Other { rtpmap, .. } => {
                rtpmap.split('/').nth(1).and_then(|rate| rate.parse().ok()).unwrap_or(90_000)
            }
            _ => 90_000,
        }
    }

    /// The static payload type of RFC 3551 section 6, where there is one for exactly these parameters.
    pub fn static_payload_type(&self) -> Option<u8> {
        match self {
            Codec::G711 { law: Law::Mu, sample_rate: 8_000, channels: 1 } => Some(0),
            Codec::G711 { law: Law::A, sample_rate: 8_000, channels: 1 } => Some(8),
            Codec::G722 { channels: 1 } => Some(9),
            Codec::L16 { sample_rate: 44_100, channels: 2 } => Some(10),
            Codec::L16 { sample_rate: 44_100, channels: 1 } => Some(11),
            Codec::MpegAudio => Some(14),
            Codec::Jpeg => Some(26),
            _ => None,
        }
    }
}

impl Track {
    /// A track at `index` of its presentation: the static payload type where there is one, else 96 + index.
    pub fn new(codec: Codec, index: u8) -> Track {
        let payload_type = codec.static_payload_type().unwrap_or(96 + index);
        let clock_rate = codec.clock_rate();
        Track { codec, payload_type, clock_rate, size: None, framerate: None, bitrate: None }
    }

    /// A track of metadata that is written here, behind the others of a presentation: under a payload type that none of
    /// them has.
    pub fn metadata_behind(others: &[Track]) -> Track {
        let is_free = |payload_type: &u8| others.iter().all(|other| other.payload_type != *payload_type);
        // Dynamic ones are 96 to 127 (RFC 3551 section 6). ONVIF's examples have 107, and lower ones are taken by what
        // a viewer may send.
        let free = (METADATA_PAYLOAD_TYPE..=127).chain((96..METADATA_PAYLOAD_TYPE).rev()).find(is_free);
        let payload_type = free.unwrap_or(METADATA_PAYLOAD_TYPE);
        Track { payload_type, ..Track::new(Codec::Metadata, others.len() as u8) }
    }

    /// The same at `index` of another presentation.
    pub fn moved_to(&self, index: u8) -> Track {
        let (size, framerate, bitrate) = (self.size, self.framerate, self.bitrate);
        Track { size, framerate, bitrate, ..Track::new(self.codec.clone(), index) }
    }

    /// Which kind of track this is.
    pub fn kind(&self) -> Kind {
        self.codec.kind()
    }

    /// Whether it carries ONVIF metadata, whoever writes it and however it is compressed.
    pub fn is_metadata(&self) -> bool {
        match &self.codec {
            Codec::Metadata => true,
            Codec::Other { rtpmap, .. } => {
                rtpmap.get(..METADATA_NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(METADATA_NAME))
            }
            _ => false,
        }
    }
}

/// What the names of all encodings of metadata begin with.
pub const METADATA_NAME: &str = "vnd.onvif.metadata";

/// The payload type of metadata that is written here, where no other track has it.
const METADATA_PAYLOAD_TYPE: u8 = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_gets_a_payload_type_that_is_free() {
        let taken = |types: &[u8]| -> Vec<Track> {
            let track =
                |payload_type: &u8| Track { payload_type: *payload_type, ..Track::new(Codec::Jpeg, 0) };
            types.iter().map(track).collect()
        };
        let of = |types: &[u8]| Track::metadata_behind(&taken(types)).payload_type;
        assert_eq!((of(&[]), of(&[96, 97]), of(&[107, 108])), (107, 107, 109));
        let from_107: Vec<u8> = (107..=127).collect();
        assert_eq!(of(&from_107), 106);
    }

    #[test]
    fn metadata_is_known_by_its_name_in_any_encoding() {
        let other = |rtpmap: &str| {
            let codec = Codec::Other { kind: Kind::Application, rtpmap: rtpmap.into(), fmtp: None };
            Track::new(codec, 0).is_metadata()
        };
        assert!(other("vnd.onvif.metadata/90000") && other("VND.ONVIF.METADATA+gzip/90000"));
        assert!(!other("vnd.onvif") && !other("smpte336m/90000"));
        assert!(Track::metadata_behind(&[]).is_metadata() && !Track::new(Codec::Jpeg, 0).is_metadata());
    }
}
