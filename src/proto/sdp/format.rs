//! What `a=rtpmap` and `a=fmtp` say of each codec.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use crate::track::{BitOrder, Codec, Law};

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
        Codec::Other { rtpmap, .. } => rtpmap.clone(),
    }
}

/// The value of `a=fmtp` behind the payload type; None when there is nothing to say.
pub(super) fn fmtp(codec: &Codec) -> Option<String> {
    match codec {
        Codec::H264 { sps, pps, .. } => Some(h264(sps, pps)),
        Codec::H265 { vps, sps, pps, .. } => h265(vps, sps, pps),
        Codec::Mpeg4Visual { config } => mpeg4_visual(config),
        Codec::Vp9 { profile } => Some(format!("profile-id={profile}")),
        Codec::Aac { config, .. } => Some(format!(
            "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}",
            hex(config)
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
