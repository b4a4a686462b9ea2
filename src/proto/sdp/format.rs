//! What `a=rtpmap` and `a=fmtp` say of each codec.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::av1;
use crate::aac::without_absent_extension;
use crate::track::{BitOrder, Codec, Framing, Kind, Law};

/// Written with padding, read with and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The value of `a=rtpmap` behind the payload type: encoding name, clock and, for sound, channels when not one.
pub(super) fn rtpmap(codec: &Codec) -> String {
    let clock_rate = codec.clock_rate();
    let sound = |name: &str, channels: u8| match channels {
        0 | 1 => format!("{name}/{clock_rate}"),
        _ => format!("{name}/{clock_rate}/{channels}"),
    };
    match codec {
        Codec::H264 { .. } => "H264/90000".into(),
        Codec::H265 { .. } => "H265/90000".into(),
        Codec::Mpeg4Visual { .. } => "MP4V-ES/90000".into(),
        Codec::Jpeg => "JPEG/90000".into(),
        Codec::Vp8 => "VP8/90000".into(),
        Codec::Vp9 { .. } => "VP9/90000".into(),
        Codec::Av1 { .. } => "AV1/90000".into(),
        Codec::Aac { channels, .. } => format!("mpeg4-generic/{clock_rate}/{channels}"),
        // RFC 7587 section 7: always 48000 and 2, whatever the source has.
        Codec::Opus { .. } => "opus/48000/2".into(),
        Codec::G711 { law: Law::A, channels, .. } => sound("PCMA", *channels),
        Codec::G711 { law: Law::Mu, channels, .. } => sound("PCMU", *channels),
        Codec::G722 { channels } => sound("G722", *channels),
        Codec::G726 { bits, order } => {
            let prefix = if *order == BitOrder::MostFirst { "AAL2-" } else { "" };
            // Codewords of 2 to 5 bits 8000 times a second.
            format!("{prefix}G726-{}/8000", u32::from(*bits) * 8)
        }
        Codec::MpegAudio => "MPA/90000".into(),
        Codec::L16 { channels, .. } => sound("L16", *channels),
        Codec::Metadata => "vnd.onvif.metadata/90000".into(),
        Codec::Other { rtpmap, .. } => rtpmap.clone(),
    }
}

/// The value of `a=fmtp` behind the payload type; None when there is nothing to say.
pub(super) fn fmtp(codec: &Codec) -> Option<String> {
    match codec {
        Codec::H264 { sps, pps, .. } => Some(h264(sps, pps)),
        Codec::H265 { vps, sps, pps, .. } => h265(vps, sps, pps),
        Codec::Mpeg4Visual { config } => mpeg4_visual(config),
        Codec::Av1 { sequence_header } => av1::fmtp(sequence_header),
        Codec::Vp9 { profile } => Some(format!("profile-id={profile}")),
        Codec::Aac { config, .. } => Some(format!(
            "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}",
            hex(without_absent_extension(config))
        )),
        Codec::Opus { channels } => Some(format!("sprop-stereo={}", u8::from(*channels > 1))),
        Codec::Other { fmtp, .. } => fmtp.clone(),
        _ => None,
    }
}

/// RFC 6184 section 8.1: the profile is that of the first set's bytes 1 to 3.
fn h264(sps: &[Bytes], pps: &[Bytes]) -> String {
    let mut out = String::from("packetization-mode=1");
    if let Some(profile) = sps.first().and_then(|set| set.get(1..4)) {
        let _ = write!(out, ";profile-level-id={}", hex(profile));
    }
    if !sps.is_empty() && !pps.is_empty() {
        let sets: Vec<String> = sps.iter().chain(pps).map(|set| BASE64.encode(set)).collect();
        let _ = write!(out, ";sprop-parameter-sets={}", sets.join(","));
    }
    out
}

/// RFC 7798 section 7.1.
fn h265(vps: &[Bytes], sps: &[Bytes], pps: &[Bytes]) -> Option<String> {
    let named = [("sprop-vps", vps), ("sprop-sps", sps), ("sprop-pps", pps)];
    let present = named.into_iter().filter(|(_, sets)| !sets.is_empty());
    let words: Vec<String> = present
        .map(|(name, sets)| {
            let sets: Vec<String> = sets.iter().map(|set| BASE64.encode(set)).collect();
            format!("{name}={}", sets.join(","))
        })
        .collect();
    (!words.is_empty()).then(|| words.join(";"))
}

/// RFC 6416 section 7.1: the profile stands behind the visual object sequence's start code.
fn mpeg4_visual(config: &Bytes) -> Option<String> {
    if config.is_empty() {
        return None;
    }
    let at = config.windows(4).position(|code| code == [0, 0, 1, 0xb0]);
    let profile = at.and_then(|at| config.get(at + 4)).copied().unwrap_or(1);
    Some(format!("profile-level-id={profile};config={}", hex(config)))
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02X}");
    }
    out
}

/// What an encoding name and its parameters mean, with the RTP clock. Everything that is not known, or known but of
/// another mode, is [`Codec::Other`].
pub(super) fn read(kind: Kind, rtpmap: &str, fmtp: Option<&str>) -> (Codec, u32) {
    let mut words = rtpmap.trim().split('/').map(str::trim);
    let name = words.next().unwrap_or_default().to_ascii_uppercase();
    let clock_rate = words.next().and_then(|rate| rate.parse::<u32>().ok()).filter(|&rate| rate > 0);
    let channels = words.next().and_then(|count| count.parse::<u8>().ok()).filter(|&count| count > 0);
    let parameters = Parameters(fmtp.unwrap_or_default());
    let sound = Sound { sample_rate: clock_rate.unwrap_or(8_000), channels: channels.unwrap_or(1) };
    let codec = read_video(&name, &parameters).or_else(|| read_audio(&name, sound, &parameters));
    let codec = codec.unwrap_or_else(|| {
        let fmtp = fmtp.map(|value| value.trim().to_owned());
        Codec::Other { kind, rtpmap: rtpmap.trim().to_owned(), fmtp }
    });
    let clock_rate = clock_rate.unwrap_or_else(|| codec.clock_rate());
    (codec, clock_rate)
}

/// The `a=rtpmap` of a static payload type (RFC 3551 section 6), for descriptions that have none.
pub(super) fn static_rtpmap(payload_type: u8) -> Option<&'static str> {
    Some(match payload_type {
        0 => "PCMU/8000",
        // Once G721, which is G.726 at 32 kbit/s.
        2 => "G726-32/8000",
        3 => "GSM/8000",
        4 => "G723/8000",
        8 => "PCMA/8000",
        9 => "G722/8000",
        10 => "L16/44100/2",
        11 => "L16/44100/1",
        14 => "MPA/90000",
        26 => "JPEG/90000",
        32 => "MPV/90000",
        33 => "MP2T/90000",
        34 => "H263/90000",
        _ => return None,
    })
}

#[derive(Clone, Copy)]
struct Sound {
    sample_rate: u32,
    channels: u8,
}

fn read_video(name: &str, parameters: &Parameters<'_>) -> Option<Codec> {
    Some(match name {
        "H264" => {
            let sets = parameters.sets("sprop-parameter-sets");
            let of = |kind: u8| sets.iter().filter(|set| set[0] & 0x1f == kind).cloned().collect();
            Codec::H264 { sps: of(7), pps: of(8), framing: Framing::AnnexB }
        }
        "H265" | "HEVC" => Codec::H265 {
            vps: parameters.sets("sprop-vps"),
            sps: parameters.sets("sprop-sps"),
            pps: parameters.sets("sprop-pps"),
            framing: Framing::AnnexB,
        },
        "MP4V-ES" => Codec::Mpeg4Visual { config: parameters.config() },
        "JPEG" => Codec::Jpeg,
        "VP8" => Codec::Vp8,
        "VP9" => Codec::Vp9 { profile: parameters.number("profile-id").unwrap_or(0) },
        "AV1" => Codec::Av1 { sequence_header: Bytes::new() },
        _ => return None,
    })
}

fn read_audio(name: &str, sound: Sound, parameters: &Parameters<'_>) -> Option<Codec> {
    let Sound { sample_rate, channels } = sound;
    Some(match name {
        "MPEG4-GENERIC" if parameters.is_aac_hbr() => {
            Codec::Aac { config: parameters.config(), sample_rate, channels }
        }
        // The channels in rtpmap are always 2; RFC 7587 section 6.1 takes mono for granted.
        "OPUS" => Codec::Opus { channels: if parameters.number("sprop-stereo") == Some(1) { 2 } else { 1 } },
        "PCMA" => Codec::G711 { law: Law::A, sample_rate, channels },
        "PCMU" => Codec::G711 { law: Law::Mu, sample_rate, channels },
        "G722" => Codec::G722 { channels },
        "MPA" => Codec::MpegAudio,
        "L16" => Codec::L16 { sample_rate, channels },
        _ => return read_g726(name),
    })
}

fn read_g726(name: &str) -> Option<Codec> {
    let (order, name) = match name.strip_prefix("AAL2-") {
        Some(name) => (BitOrder::MostFirst, name),
        None => (BitOrder::LeastFirst, name),
    };
    let bits = match name.strip_prefix("G726-")? {
        "16" => 2,
        "24" => 3,
        "32" => 4,
        "40" => 5,
        _ => return None,
    };
    Some(Codec::G726 { bits, order })
}

/// The value of `a=fmtp`: names and values, separated by semicolons.
struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let pairs = self.0.split(';').filter_map(|pair| pair.split_once('='));
        let mut named = pairs.filter(|(own, _)| own.trim().eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }

    fn number(&self, name: &str) -> Option<u8> {
        self.get(name)?.parse().ok()
    }

    /// Parameter sets in base64, separated by commas; at most [`SETS_MAX`]. What is no base64 is left out, and so is
    /// a start code that some devices leave in front.
    fn sets(&self, name: &str) -> Vec<Bytes> {
        let words = self.get(name).unwrap_or_default().split(',');
        let decode = |word: &str| {
            let set = BASE64.decode(without_blanks(word)).ok()?;
            let zeros = set.iter().take_while(|&&byte| byte == 0).count();
            let start = if zeros >= 2 && set.get(zeros) == Some(&1) { zeros + 1 } else { 0 };
            (set.len() > start).then(|| Bytes::from(set).slice(start..))
        };
        words.filter_map(decode).take(SETS_MAX).collect()
    }

    /// The parameter `config`, bytes in hexadecimal; empty when it is absent or none.
    fn config(&self) -> Bytes {
        let text = without_blanks(self.get("config").unwrap_or_default());
        let pairs = text.as_bytes().chunks(2).map(|pair| {
            let pair = std::str::from_utf8(pair).ok()?;
            u8::from_str_radix(pair, 16).ok()
        });
        pairs.collect::<Option<Vec<u8>>>().unwrap_or_default().into()
    }

    /// Whether the mode is the one that is read: sizes of 13 and indices of 3 bits.
    fn is_aac_hbr(&self) -> bool {
        let is = |name: &str, bits: u8| self.get(name).is_none_or(|value| value.parse() == Ok(bits));
        self.get("mode").is_none_or(|mode| mode.eq_ignore_ascii_case("AAC-hbr"))
            && is("sizelength", 13)
            && is("indexlength", 3)
            && is("indexdeltalength", 3)
    }
}

fn without_blanks(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_whitespace()).collect()
}

/// The most parameter sets of one kind that are read; what is beyond is left out.
const SETS_MAX: usize = 32;
