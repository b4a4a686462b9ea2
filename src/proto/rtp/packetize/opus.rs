//! Opus (RFC 7587): one Opus packet a payload, never cut.

use super::super::batch::BatchWriter;
use super::super::header::HEADER_BYTES;
use super::{MTU_BYTES_MAX, PacketizeError};

/// Writes one packet. The format knows no fragments, so a packet above the budget (over 60 ms at high rates) stays
/// whole, and a path that cannot carry it loses it.
pub(super) fn write(packet: &[u8], writer: &mut BatchWriter) -> Result<(), PacketizeError> {
    if packet.len() > MTU_BYTES_MAX - HEADER_BYTES {
        return Err(PacketizeError::Unsupported("an Opus packet does not fit a datagram"));
    }
    writer.packet(false, &[packet]);
    Ok(())
}
