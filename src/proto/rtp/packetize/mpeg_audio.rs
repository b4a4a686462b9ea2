//! MPEG audio, layers 1 to 3 (RFC 2250 section 3.5): one frame, or a fragment of one, a packet.
//!
//! ```text
//! | must be zero (16) | offset of the fragment in its frame (16) | frame ...
//! ```

use super::super::batch::BatchWriter;
use super::{PacketizeError, Room};

const HEADER_BYTES: usize = 4;

pub(super) fn write(frame: &[u8], room: Room, writer: &mut BatchWriter) -> Result<(), PacketizeError> {
    if frame.len() > usize::from(u16::MAX) {
        return Err(PacketizeError::Malformed("an MPEG audio frame is longer than 65535 bytes"));
    }
    let mut offset = 0u16;
    for fragment in frame.chunks(room.payload_max - HEADER_BYTES) {
        let [high, low] = offset.to_be_bytes();
        writer.packet(false, &[&[0, 0, high, low], fragment]);
        // Not beyond the frame, whose size fits 16 bits.
        offset = offset.wrapping_add(fragment.len() as u16);
    }
    Ok(())
}
