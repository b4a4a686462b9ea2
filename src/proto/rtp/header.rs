//! The fixed RTP header (RFC 3550 section 5.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |           synchronization source (SSRC) identifier            |
//! |            contributing source (CSRC) identifiers ...         |
//! ```

use std::ops::Range;

/// Bytes of a header without contributing sources and extension.
pub const HEADER_BYTES: usize = 12;

/// Bit of the first byte that tells of an extension.
pub const EXTENSION_BIT: u8 = 0x10;

/// The fields of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Last packet of a picture, first of a talk spurt: the payload format says.
    pub marker: bool,
    /// Payload type, 7 bits.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in ticks of the format's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
}

impl Header {
    /// The header as it stands on the wire.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = 0x80;
        bytes[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }

    /// Reads a packet's header and finds its payload, behind contributing sources and extension and before
    /// padding. None when the packet is not RTP version 2 or is shorter than it claims (RFC 3550 appendix A.1).
    pub fn parse(packet: &[u8]) -> Option<(Header, Range<usize>)> {
        let fixed: &[u8; HEADER_BYTES] = packet.get(..HEADER_BYTES)?.try_into().ok()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let mut start = HEADER_BYTES + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & EXTENSION_BIT != 0 {
            let words = packet.get(start + 2..start + 4)?;
            start += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        let mut end = packet.len();
        if fixed[0] & 0x20 != 0 {
            let padding = usize::from(*packet.last()?);
            if padding == 0 {
                return None;
            }
            end = end.checked_sub(padding)?;
        }
        if start > end {
            return None;
        }
        let header = Header {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        };
        Some((header, start..end))
    }

    /// The extension of a packet that [`Header::parse`] has read: its first 16 bits, and what is behind its length. None
    /// when it has none.
    pub fn extension(packet: &[u8]) -> Option<(u16, &[u8])> {
        let first = packet.first().filter(|first| *first & EXTENSION_BIT != 0)?;
        let rest = packet.get(HEADER_BYTES + 4 * usize::from(first & 0x0f)..)?;
        let (&[p1, p0, w1, w0], rest) = rest.split_first_chunk::<4>()?;
        let bytes = 4 * usize::from(u16::from_be_bytes([w1, w0]));
        Some((u16::from_be_bytes([p1, p0]), rest.get(..bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            prop_assert_eq!(Header::parse(&header.to_bytes()), Some((header, 12..12)));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            if let Some((_, payload)) = Header::parse(&bytes) {
                prop_assert!(payload.start <= payload.end && payload.end <= bytes.len());
            }
            let _ = Header::extension(&bytes);
        }
    }
}
