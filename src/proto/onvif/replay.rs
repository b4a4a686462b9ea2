//! The header extension of recorded media: when an access unit was recorded, and how it follows what came before (ONVIF
//! streaming specification section 6.3).
//!
//! ```text
//! |            0xABAC             |           length = 3          |
//! |                        NTP timestamp                          |
//! |                                                               |
//! |C|E|D|T|  mbz  |     CSeq      |            padding            |
//! ```
//!
//! It must stand in the first packet of every access unit, behind the fixed header, and stands in all of them: GStreamer
//! takes the time of a picture from any. That something ends (E and T) is said in the last packet alone, for GStreamer's
//! rtponvifparse stops behind it; that something jumps (D) in the first alone. Where a packet has an extension of its own,
//! such as that of large JPEG pictures, that one follows inside of this one.

use crate::rtp::batch::Batch;
use crate::rtp::header::HEADER_BYTES;
use crate::time::NtpTime;

/// What tells this extension from others (RFC 3550 section 5.3.1).
const PROFILE: u16 = 0xabac;

/// Words of its content.
const WORDS: u16 = 3;

/// Bytes that a packet becomes longer by: the extension's own head, then the content.
pub const EXTENSION_BYTES: usize = 4 + 4 * WORDS as usize;

/// In the first byte of a packet: a header extension follows.
const HAS_EXTENSION: u8 = 0x10;

/// What the extension says of an access unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// When it was recorded.
    pub ntp: NtpTime,
    /// C: decoding can begin with it.
    pub is_clean_point: bool,
    /// E: it is the last of a contiguous section of the recording; in reverse, the last that is sent of it.
    pub ends_section: bool,
    /// D: it does not follow what was sent before it.
    pub is_discontinuous: bool,
    /// T: nothing of its track is sent behind it.
    pub is_terminal: bool,
    /// Low-order byte of the `CSeq` of the PLAY that it is sent for.
    pub cseq: u8,
}

impl Extension {
    /// The extension as it stands in a packet, with its head.
    pub fn to_bytes(self) -> [u8; EXTENSION_BYTES] {
        let mut bytes = [0; EXTENSION_BYTES];
        bytes[..2].copy_from_slice(&PROFILE.to_be_bytes());
        bytes[2..4].copy_from_slice(&WORDS.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.ntp.0.to_be_bytes());
        let flags = [self.is_clean_point, self.ends_section, self.is_discontinuous, self.is_terminal];
        bytes[12] =
            flags.iter().enumerate().fold(0, |all, (place, &flag)| all | u8::from(flag) << (7 - place));
        bytes[13] = self.cseq;
        bytes
    }

    /// Reads the extension of a packet of RTP; None when it has none, or another.
    pub fn parse(packet: &[u8]) -> Option<Extension> {
        let first = *packet.first()?;
        if first & HAS_EXTENSION == 0 {
            return None;
        }
        let start = HEADER_BYTES + 4 * usize::from(first & 0x0f);
        let bytes = packet.get(start..start + EXTENSION_BYTES)?;
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        if half(0) != PROFILE || half(2) < WORDS {
            return None;
        }
        let ntp = bytes[4..12].iter().fold(0, |ntp, byte| ntp << 8 | u64::from(*byte));
        let flag = |place: u8| bytes[12] & 0x80 >> place != 0;
        Some(Extension {
            ntp: NtpTime(ntp),
            is_clean_point: flag(0),
            ends_section: flag(1),
            is_discontinuous: flag(2),
            is_terminal: flag(3),
            cseq: bytes[13],
        })
    }
}

/// A batch whose access units say when they were recorded. `extension` is that of the first; a frame that stands in
/// several access units begins where that says, and ends where the last of them does, in its last packet.
pub fn stamped(batch: &Batch, clock_rate: u32, extension: Extension) -> Batch {
    let timestamp = |packet: &[u8]| u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
    let (first, mut left) = (batch.timestamp(), batch.packets().len());
    let mut begins = true;
    batch.map(EXTENSION_BYTES, |packet, out| {
        left -= 1;
        let ahead = i64::from(timestamp(packet).wrapping_sub(first) as i32);
        let extension = Extension {
            ntp: NtpTime(extension.ntp.0.wrapping_add_signed((ahead << 32) / i64::from(clock_rate.max(1)))),
            ends_section: extension.ends_section && left == 0,
            is_terminal: extension.is_terminal && left == 0,
            is_discontinuous: extension.is_discontinuous && std::mem::take(&mut begins),
            ..extension
        };
        write(packet, extension, out);
    })
}

/// A packet with the extension in front of its payload, and of an extension that it has.
fn write(packet: &[u8], extension: Extension, out: &mut bytes::BytesMut) {
    let contributors = HEADER_BYTES + 4 * usize::from(packet[0] & 0x0f);
    let (head, rest) = packet.split_at(contributors.min(packet.len()));
    let start = out.len();
    out.extend_from_slice(head);
    out[start] |= HAS_EXTENSION;
    let mut bytes = extension.to_bytes();
    if packet[0] & HAS_EXTENSION != 0
        && let Some(own) = rest.get(2..4)
    {
        let words = u16::from_be_bytes([own[0], own[1]]).saturating_add(1 + WORDS);
        bytes[2..4].copy_from_slice(&words.to_be_bytes());
    }
    out.extend_from_slice(&bytes);
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::batch::{BatchWriter, Meta, Numbering};
    use crate::rtp::header::Header;
    use crate::time::MediaTime;

    const META: Meta = Meta { track: 0, keyframe: true, dts: MediaTime::ZERO, pts: MediaTime::ZERO };

    fn any_extension() -> impl Strategy<Value = Extension> {
        any::<(u64, bool, bool, bool, bool, u8)>().prop_map(|(ntp, c, e, d, t, cseq)| Extension {
            ntp: NtpTime(ntp),
            is_clean_point: c,
            ends_section: e,
            is_discontinuous: d,
            is_terminal: t,
            cseq,
        })
    }

    fn writer() -> BatchWriter {
        BatchWriter::new(Numbering { ssrc: 7, payload_type: 96, sequence: 1, timestamp: u32::MAX - 10 }, 0)
    }

    #[test]
    fn the_bits_lie_where_onvif_has_them() {
        let extension = Extension {
            ntp: NtpTime(0x0102_0304_0506_0708),
            is_clean_point: true,
            is_terminal: true,
            cseq: 0xfe,
            ..Extension::default()
        };
        let expected = [0xab, 0xac, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 0x90, 0xfe, 0, 0];
        assert_eq!(extension.to_bytes(), expected);
    }

    #[test]
    fn every_packet_of_a_picture_has_it_in_front_of_its_payload() {
        let mut writer = writer();
        writer.packet(false, &[&[1; 100]]);
        writer.packet(true, &[&[2; 50]]);
        let batch = writer.finish(META).unwrap();
        let extension = Extension { is_clean_point: true, cseq: 9, ..Extension::default() };
        let stamped = stamped(&batch, 90_000, extension);
        let contents: [&[u8]; 2] = [&[1; 100], &[2; 50]];
        for ((packet, content), number) in stamped.packets().iter().zip(contents).zip(1..) {
            let packet = stamped.packet(packet);
            assert_eq!(Extension::parse(packet), Some(extension));
            let (header, payload) = Header::parse(packet).unwrap();
            assert_eq!((header.sequence, &packet[payload]), (number, content));
        }
    }

    #[test]
    fn a_jump_is_in_the_first_packet_and_an_end_in_the_last() {
        let mut writer = writer();
        for marker in [false, false, true] {
            writer.packet(marker, &[&[1; 100]]);
        }
        let batch = writer.finish(META).unwrap();
        let extension = Extension {
            is_clean_point: true,
            is_discontinuous: true,
            ends_section: true,
            is_terminal: true,
            ..Extension::default()
        };
        let stamped = stamped(&batch, 90_000, extension);
        let read: Vec<_> =
            stamped.packets().iter().map(|packet| Extension::parse(stamped.packet(packet))).collect();
        let first = Extension { ends_section: false, is_terminal: false, ..extension };
        let second = Extension { is_discontinuous: false, ..first };
        let last = Extension { is_discontinuous: false, ..extension };
        assert_eq!(read, [first, second, last].map(Some));
    }

    #[test]
    fn every_access_unit_of_a_batch_tells_its_own_time() {
        let mut writer = writer();
        for timestamp in [u32::MAX - 10, 7_989] {
            writer.set_timestamp(timestamp);
            writer.packet(true, &[&[1; 10]]);
            writer.packet(true, &[&[2; 10]]);
        }
        let batch = writer.finish(META).unwrap();
        let ntp = NtpTime::from_unix(Duration::from_secs(1_767_225_600));
        let all = Extension {
            ntp,
            is_clean_point: true,
            ends_section: true,
            is_discontinuous: true,
            is_terminal: true,
            cseq: 3,
        };
        let stamped = stamped(&batch, 8_000, all);
        let read: Vec<_> =
            stamped.packets().iter().map(|packet| Extension::parse(stamped.packet(packet))).collect();
        let first = Extension { ends_section: false, is_terminal: false, ..all };
        let second = Extension { is_discontinuous: false, ..first };
        let later = ntp + Duration::from_secs(1);
        let last = Extension { ntp: later, is_discontinuous: false, ..all };
        assert_eq!(read, [first, second, Extension { ntp: later, ..second }, last].map(Some));
    }

    #[test]
    fn an_extension_of_a_packets_own_follows_inside() {
        let mut packet = vec![0x90, 26, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7];
        packet.extend([0xff, 0xd8, 0, 1, 9, 9, 9, 9, b'x']);
        let mut out = BytesMut::new();
        write(&packet, Extension { cseq: 5, ..Extension::default() }, &mut out);
        assert_eq!(out[12..16], [0xab, 0xac, 0, 5]);
        assert_eq!(out[28..], packet[12..]);
        let (_, payload) = Header::parse(&out).unwrap();
        assert_eq!(out[payload], *b"x");
        assert_eq!(Extension::parse(&out).map(|extension| extension.cseq), Some(5));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(extension in any_extension(), contributors in 0u8..16) {
            let mut packet = vec![0x90 | contributors; HEADER_BYTES + 4 * usize::from(contributors)];
            packet.extend(extension.to_bytes());
            prop_assert_eq!(Extension::parse(&packet), Some(extension));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = Extension::parse(&bytes);
        }
    }
}
