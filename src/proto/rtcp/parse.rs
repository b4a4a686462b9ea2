//! A compound packet to its packets, checked as a whole first (RFC 3550 appendix A.2), without allocation.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |V=2|P|  count  |  packet type  |  length in words, less one    |
//! ```

use thiserror::Error;

use super::report::{ReportBlock, SenderInfo};
use super::{CNAME, feedback_format, packet_type};
use crate::time::NtpTime;

/// Why a datagram is no RTCP. Positions are in bytes from its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtcpError {
    /// A header is not of version 2, or its type is none of RTCP's (192 to 223).
    #[error("no RTCP header at byte {position}")]
    Header {
        /// Of the packet.
        position: usize,
    },
    /// A packet ends behind the datagram's end, or padding is elsewhere than at the end.
    #[error("the RTCP packet at byte {position} has a wrong length")]
    Length {
        /// Of the packet.
        position: usize,
    },
    /// A packet is shorter than what it says to hold.
    #[error("the RTCP packet at byte {position} is cut short")]
    Content {
        /// Of the packet.
        position: usize,
    },
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A sender's report (section 6.4.1).
    SenderReport {
        /// Of its own stream.
        info: SenderInfo,
        /// Of those it receives.
        blocks: Blocks<'a>,
    },
    /// A receiver's report (section 6.4.2).
    ReceiverReport {
        /// The receiver.
        ssrc: u32,
        /// Of those it receives.
        blocks: Blocks<'a>,
    },
    /// Names (section 6.5).
    SourceDescription(Descriptions<'a>),
    /// Sources that end (section 6.6).
    Bye {
        /// Which.
        ssrcs: Words<'a>,
        /// Why; None when not said. Text, if the peer keeps to the RFC.
        reason: Option<&'a [u8]>,
    },
    /// A decoder lost its picture (RFC 4585 section 6.3.1).
    PictureLossIndication {
        /// Who asks.
        sender: u32,
        /// For a keyframe of whom.
        media: u32,
    },
    /// A decoder needs a keyframe (RFC 5104 section 4.3.1).
    FullIntraRequest {
        /// Who asks.
        sender: u32,
        /// For keyframes of whom.
        entries: IntraRequests<'a>,
    },
    /// Packets that did not arrive (RFC 4585 section 6.2.1).
    Nack {
        /// Who asks.
        sender: u32,
        /// For packets of whom.
        media: u32,
        /// Which.
        lost: LostPackets<'a>,
    },
    /// Any other.
    Other {
        /// Packet type.
        packet_type: u8,
        /// Count or format: the lower five bits of the first byte.
        count: u8,
    },
}

/// A datagram of one or more packets, each of which is well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compound<'a>(&'a [u8]);

impl<'a> Compound<'a> {
    /// Checks a datagram as a whole. A compound ought to begin with a report, but feedback may come alone
    /// (RFC 5506) and some players send a description alone to open their NAT.
    pub fn parse(bytes: &'a [u8]) -> Result<Compound<'a>, RtcpError> {
        let mut position = 0;
        // An empty datagram has no header either.
        while position < bytes.len() || bytes.is_empty() {
            let (packet, size) = split(bytes, position)?;
            content(packet).ok_or(RtcpError::Content { position })?;
            position += size;
        }
        Ok(Compound(bytes))
    }

    /// The packets in order.
    pub fn iter(&self) -> impl Iterator<Item = Packet<'a>> + use<'a> {
        let bytes = self.0;
        let mut position = 0;
        std::iter::from_fn(move || {
            // Neither fails: parse has been here before.
            let (packet, size) = split(bytes, position).ok()?;
            position += size;
            content(packet)
        })
    }
}

/// One packet without its padding.
struct Raw<'a> {
    count: u8,
    packet_type: u8,
    /// Behind the header.
    body: &'a [u8],
}

/// The packet at a position and its size in bytes.
fn split(bytes: &[u8], position: usize) -> Result<(Raw<'_>, usize), RtcpError> {
    let rest = bytes.get(position..).unwrap_or_default();
    let Some(&[first, packet_type, high, low]) = rest.first_chunk::<4>() else {
        return Err(RtcpError::Header { position });
    };
    if first >> 6 != 2 || !(192..224).contains(&packet_type) {
        return Err(RtcpError::Header { position });
    }
    let size = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
    let mut body = rest.get(4..size).ok_or(RtcpError::Length { position })?;
    if first & 0x20 != 0 {
        // Padding counts itself in its last byte and ends the datagram.
        let padding = usize::from(body.last().copied().unwrap_or(0));
        let unpadded = body.len().checked_sub(padding).filter(|_| padding != 0 && size == rest.len());
        body = &body[..unpadded.ok_or(RtcpError::Length { position })?];
    }
    Ok((Raw { count: first & 0x1f, packet_type, body }, size))
}

/// What is in a packet; None when it is shorter than what it says to hold.
fn content(Raw { count, packet_type, body }: Raw<'_>) -> Option<Packet<'_>> {
    let items = usize::from(count);
    Some(match (packet_type, count) {
        (packet_type::SENDER_REPORT, _) => {
            let (info, rest) = body.split_at_checked(24)?;
            Packet::SenderReport {
                info: sender_info(info),
                blocks: Blocks(rest.get(..items * ReportBlock::BYTES)?),
            }
        }
        (packet_type::RECEIVER_REPORT, _) => {
            let (ssrc, rest) = body.split_first_chunk()?;
            let blocks = Blocks(rest.get(..items * ReportBlock::BYTES)?);
            Packet::ReceiverReport { ssrc: u32::from_be_bytes(*ssrc), blocks }
        }
        (packet_type::SOURCE_DESCRIPTION, _) => {
            let descriptions = Descriptions { bytes: body, count };
            // Each chunk must be whole.
            (descriptions.iter().count() == items).then_some(Packet::SourceDescription(descriptions))?
        }
        (packet_type::BYE, _) => {
            let (ssrcs, rest) = body.split_at_checked(items * 4)?;
            let reason = match rest.split_first() {
                Some((&size, text)) if size > 0 => Some(text.get(..usize::from(size))?),
                _ => None,
            };
            Packet::Bye { ssrcs: Words(ssrcs), reason }
        }
        (packet_type::PAYLOAD_FEEDBACK, feedback_format::PICTURE_LOSS_INDICATION) => {
            Packet::PictureLossIndication { sender: word(body, 0)?, media: word(body, 4)? }
        }
        (packet_type::PAYLOAD_FEEDBACK, feedback_format::FULL_INTRA_REQUEST) => {
            Packet::FullIntraRequest { sender: word(body, 0)?, entries: IntraRequests(body.get(8..)?) }
        }
        (packet_type::TRANSPORT_FEEDBACK, feedback_format::NACK) => {
            let lost = LostPackets(body.get(8..)?);
            Packet::Nack { sender: word(body, 0)?, media: word(body, 4)?, lost }
        }
        _ => Packet::Other { packet_type, count },
    })
}

/// Of 24 bytes.
fn sender_info(bytes: &[u8]) -> SenderInfo {
    let word = |at| word(bytes, at).unwrap_or_default();
    let ntp = NtpTime(u64::from(word(4)) << 32 | u64::from(word(8)));
    SenderInfo { ssrc: word(0), ntp, rtp: word(12), packets: word(16), octets: word(20) }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Report blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl<'a> Blocks<'a> {
    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        self.0.as_chunks::<{ ReportBlock::BYTES }>().0.iter().map(ReportBlock::parse)
    }
}

/// Sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words<'a>(&'a [u8]);

impl<'a> Words<'a> {
    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.0.as_chunks::<4>().0.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// Who is asked for a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntraRequests<'a>(&'a [u8]);

impl<'a> IntraRequests<'a> {
    /// Source and number of the request: a repetition of the same request has the same number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u8)> + use<'a> {
        let entries = self.0.as_chunks::<8>().0.iter();
        entries.map(|entry| (u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]), entry[4]))
    }
}

/// Sequence numbers of lost packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostPackets<'a>(&'a [u8]);

impl<'a> LostPackets<'a> {
    /// In order. An entry is one number and a bit for each of the sixteen behind it.
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.0.as_chunks::<4>().0.iter().flat_map(|entry| {
            let first = u16::from_be_bytes([entry[0], entry[1]]);
            let behind = u16::from_be_bytes([entry[2], entry[3]]);
            let others = (0..16).filter(move |bit| behind >> bit & 1 == 1);
            std::iter::once(first).chain(others.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }
}

/// The chunks of a source description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptions<'a> {
    bytes: &'a [u8],
    count: u8,
}

impl<'a> Descriptions<'a> {
    /// Each source with its canonical name; None when the chunk has none. Text, if the peer keeps to the RFC.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| {
            let (chunk, behind) = description(rest)?;
            rest = behind;
            Some(chunk)
        })
    }
}

/// One chunk and what follows it: a source, items of type, length and text, and a zero up to the next word.
type Chunk<'a> = (u32, Option<&'a [u8]>);

fn description(bytes: &[u8]) -> Option<(Chunk<'_>, &[u8])> {
    let ssrc = word(bytes, 0)?;
    let (mut at, mut cname) = (4, None);
    loop {
        match *bytes.get(at)? {
            0 => break,
            kind => {
                let size = usize::from(*bytes.get(at + 1)?);
                let text = bytes.get(at + 2..at + 2 + size)?;
                if kind == CNAME {
                    cname = cname.or(Some(text));
                }
                at += 2 + size;
            }
        }
    }
    // At least one zero, then up to the word's end.
    let rest = bytes.get((at + 4) & !3..)?;
    Some(((ssrc, cname), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(bytes: &[u8]) -> RtcpError {
        Compound::parse(bytes).unwrap_err()
    }

    fn packets(bytes: &[u8]) -> Vec<Packet<'_>> {
        Compound::parse(bytes).unwrap().iter().collect()
    }

    #[test]
    fn a_receivers_compound_is_read() {
        // A receiver report with one block and a description, as ffmpeg 5.1 sends it.
        let bytes = [
            &[0x81, 201, 0, 7, 0, 0, 0, 9, 0, 0, 0, 1, 64, 0xff, 0xff, 0xfe, 0, 1, 0, 5][..],
            &[0, 0, 0, 90, 1, 2, 3, 4, 0, 1, 0, 0],
            &[0x81, 202, 0, 4, 0, 0, 0, 9, 1, 6, b'f', b'f', b'm', b'p', b'e', b'g', 0, 0, 0, 0],
        ]
        .concat();
        let got = packets(&bytes);
        let [Packet::ReceiverReport { ssrc: 9, blocks }, Packet::SourceDescription(names)] = got[..] else {
            panic!("{got:?}")
        };
        let expected = ReportBlock {
            ssrc: 1,
            fraction_lost: 64,
            cumulative_lost: -2,
            highest_sequence: 0x1_0005,
            jitter: 90,
            last_sr: 0x0102_0304,
            delay_since_last_sr: 0x1_0000,
        };
        assert_eq!(blocks.iter().collect::<Vec<_>>(), [expected]);
        assert_eq!(names.iter().collect::<Vec<_>>(), [(9, Some(&b"ffmpeg"[..]))]);
    }

    #[test]
    fn feedback_is_read() {
        let bytes = [
            &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2][..],
            &[0x84, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 3, 0, 0, 0],
            &[0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0x80, 0x01],
            &[0x8f, 206, 0, 0],
        ]
        .concat();
        let got = packets(&bytes);
        assert_eq!(got[0], Packet::PictureLossIndication { sender: 1, media: 2 });
        let Packet::FullIntraRequest { sender: 1, entries } = got[1] else { panic!() };
        assert_eq!(entries.iter().collect::<Vec<_>>(), [(7, 3)]);
        let Packet::Nack { sender: 1, media: 2, lost } = got[2] else { panic!() };
        assert_eq!(lost.iter().collect::<Vec<_>>(), [0xffff, 0, 15]);
        assert_eq!(got[3], Packet::Other { packet_type: 206, count: 15 });
    }

    #[test]
    fn a_bye_is_read_with_and_without_reason() {
        let got = packets(&[0x82, 203, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 2, b'o', b'k', 0]);
        let [Packet::Bye { ssrcs, reason }] = got[..] else { panic!("{got:?}") };
        assert_eq!((ssrcs.iter().collect::<Vec<_>>(), reason), (vec![1, 2], Some(&b"ok"[..])));
        let got = packets(&[0x80, 203, 0, 0]);
        assert!(matches!(got[..], [Packet::Bye { reason: None, .. }]));
    }

    #[test]
    fn padding_ends_the_datagram() {
        let padded = [0xa0, 203, 0, 1, 0, 0, 0, 4];
        assert!(matches!(packets(&padded)[..], [Packet::Bye { reason: None, .. }]));
        assert_eq!(error(&[padded, padded].concat()), RtcpError::Length { position: 0 });
        assert_eq!(error(&[0xa0, 203, 0, 1, 0, 0, 0, 0]), RtcpError::Length { position: 0 });
        assert_eq!(error(&[0xa0, 203, 0, 1, 0, 0, 0, 5]), RtcpError::Length { position: 0 });
        assert_eq!(error(&[0xa0, 203, 0, 0]), RtcpError::Length { position: 0 });
    }

    #[test]
    fn what_is_no_rtcp_is_refused_with_its_position() {
        assert_eq!(error(&[]), RtcpError::Header { position: 0 });
        assert_eq!(error(&[0x80, 96, 0, 0]), RtcpError::Header { position: 0 });
        assert_eq!(error(&[0x40, 200, 0, 0]), RtcpError::Header { position: 0 });
        let bye = [0x80, 203, 0, 0];
        assert_eq!(error(&[&bye[..], &[0x80, 203]].concat()), RtcpError::Header { position: 4 });
        assert_eq!(error(&[&bye[..], &[0x80, 203, 0, 1]].concat()), RtcpError::Length { position: 4 });
        // A report block, a source and a description that are not there.
        assert_eq!(error(&[0x81, 201, 0, 1, 0, 0, 0, 0]), RtcpError::Content { position: 0 });
        assert_eq!(error(&[0x81, 203, 0, 0]), RtcpError::Content { position: 0 });
        assert_eq!(error(&[0x81, 202, 0, 1, 0, 0, 0, 0]), RtcpError::Content { position: 0 });
        assert_eq!(error(&[0x80, 200, 0, 0]), RtcpError::Content { position: 0 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            kind in 200u8..208,
            honest: bool,
        ) {
            if honest && bytes.len() >= 4 {
                bytes.truncate(bytes.len() & !3);
                bytes[0] = bytes[0] & 0x3f | 0x80;
                bytes[1] = kind;
                bytes[2] = 0;
                bytes[3] = (bytes.len() / 4 - 1) as u8;
            }
            let Ok(compound) = Compound::parse(&bytes) else { return Ok(()) };
            for packet in compound.iter() {
                match packet {
                    Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => {
                        prop_assert!(blocks.iter().count() < 32);
                    }
                    Packet::SourceDescription(names) => prop_assert!(names.iter().count() < 32),
                    Packet::Bye { ssrcs, .. } => prop_assert!(ssrcs.iter().count() < 32),
                    Packet::FullIntraRequest { entries, .. } => prop_assert!(entries.iter().count() <= bytes.len()),
                    Packet::Nack { lost, .. } => prop_assert!(lost.iter().count() <= bytes.len() * 17),
                    _ => {}
                }
            }
        }
    }
}
