//! AAC in mode AAC-hbr (RFC 3640 sections 3.2 and 3.3.6): one access unit, or a fragment of one, a packet.
//!
//! ```text
//! |AU-headers-length (16) = 16 bits| AU-size (13) |AU-Index (3) = 0| access unit ...
//! ```

use super::super::batch::BatchWriter;
use super::{PacketizeError, Room};

/// What 13 bits of AU-size can say.
const UNIT_BYTES_MAX: usize = 0x1fff;

/// Bytes in front of the access unit.
const HEADER_BYTES: usize = 4;

pub(super) fn write(unit: &[u8], room: Room, writer: &mut BatchWriter) -> Result<(), PacketizeError> {
    if unit.len() > UNIT_BYTES_MAX {
        return Err(PacketizeError::Unsupported("an AAC access unit is longer than 8191 bytes"));
    }
    // The size is that of the whole unit in every fragment.
    let [high, low] = ((unit.len() as u16) << 3).to_be_bytes();
    let header = [0, 16, high, low];
    let fragment_max = room.payload_max - HEADER_BYTES;
    let last = unit.len().div_ceil(fragment_max) - 1;
    for (index, fragment) in unit.chunks(fragment_max).enumerate() {
        writer.packet(index == last, &[&header, fragment]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{packetizer, payloads, video};
    use crate::track::Codec;
    use bytes::Bytes;

    #[test]
    fn a_unit_stands_behind_its_size_and_a_long_one_is_cut() {
        let codec =
            Codec::Aac { config: Bytes::from_static(&[0x11, 0x90]), sample_rate: 48_000, channels: 2 };
        let mut packetizer = packetizer(codec, 300);
        let short = packetizer.packetize(&video(&[5; 100], true)).unwrap().unwrap();
        assert_eq!(payloads(&short)[0][..5], [0, 16, 3, 0x20, 5]);
        let long = packetizer.packetize(&video(&[5; 500], true)).unwrap().unwrap();
        let sizes: Vec<_> = payloads(&long).iter().map(Vec::len).collect();
        assert_eq!(sizes, [288, 220]);
        assert!(packetizer.packetize(&video(&[5; 8_192], true)).is_err());
    }
}
