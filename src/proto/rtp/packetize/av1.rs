//! AV1 (RTP Payload Format For AV1, v1.0 section 4): units without their sizes, filling packet after packet.
//!
//! ```text
//! |Z|Y| W (2) |N|0 0 0|  size (LEB128) | unit | size | unit | unit without size |
//!  Z, Y: the first unit continues one, the last unit goes on;  W: units in the packet;  N: a new coded sequence begins
//! ```

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::super::batch::BatchWriter;
use super::super::obu::{self, Obu, Obus};
use super::{PacketizeError, Room};
use crate::frame::Frame;

/// W has two bits, and up to three units spare the last one its size.
const UNITS_MAX: usize = 3;

/// Room that is not worth another unit: a size, a header with extension and a byte.
const SCRAP_BYTES: usize = 4;

/// Writes one temporal unit, with the sequence header in front of a keyframe that has none.
pub(super) fn write(
    frame: &Frame,
    sequence_header: &Bytes,
    room: Room,
    writer: &mut BatchWriter,
) -> Result<(), PacketizeError> {
    let cut = PacketizeError::Malformed("an AV1 unit is longer than its frame");
    let own = obu::obus(&frame.payload).ok_or(cut)?;
    let mut all = Obus::new();
    if frame.keyframe && !own.iter().any(|unit| unit.kind() == obu::SEQUENCE_HEADER) {
        all.extend(obu::obus(sequence_header).into_iter().flatten());
    }
    // Delimiters and tile lists must not be sent (section 5), padding is of no use.
    all.extend(
        own.into_iter()
            .filter(|unit| !matches!(unit.kind(), obu::TEMPORAL_DELIMITER | obu::TILE_LIST | obu::PADDING)),
    );
    let new_sequence = if frame.keyframe { NEW_SEQUENCE } else { 0 };
    write_units(&all, Edges { new_sequence, ..Edges::WHOLE }, room.payload_max, writer);
    Ok(())
}

/// What is written: units as they stand in a packet.
pub(in crate::rtp) trait Unit {
    /// Bytes in all.
    fn size(&self) -> usize;

    /// Writes a part of it.
    fn put(&self, part: Range<usize>, writer: &mut BatchWriter);
}

/// What the first and the last packet say of a row of units, in the bits of their headers.
#[derive(Clone, Copy)]
pub(in crate::rtp) struct Edges {
    /// Z of the first packet, or zero.
    pub(in crate::rtp) continues: u8,
    /// Y of the last packet, or zero.
    pub(in crate::rtp) goes_on: u8,
    /// N of the first packet, or zero.
    pub(in crate::rtp) new_sequence: u8,
    /// Whether the last packet has the marker.
    pub(in crate::rtp) marker: bool,
}

impl Edges {
    /// Of a whole temporal unit.
    const WHOLE: Edges = Edges { continues: 0, goes_on: 0, new_sequence: 0, marker: true };
}

/// Writes units one after another, packet by packet.
pub(in crate::rtp) fn write_units<U: Unit>(
    all: &[U],
    edges: Edges,
    payload_max: usize,
    writer: &mut BatchWriter,
) {
    let mut position = Position { unit: 0, byte: 0 };
    let mut flags = edges.continues | edges.new_sequence;
    while position.unit < all.len() {
        let (pieces, end) = fill(all, position, payload_max - 1);
        let is_last = end.unit == all.len();
        flags |= match (is_last, end.byte > 0) {
            (true, _) => edges.goes_on,
            (false, true) => GOES_ON,
            (false, false) => 0,
        };
        let header = flags | (pieces.len() as u8) << 4;
        write_packet(all, &pieces, header, edges.marker && is_last, writer);
        flags = if end.byte > 0 { CONTINUES } else { 0 };
        position = end;
    }
}

/// A place in a temporal unit.
#[derive(Clone, Copy)]
struct Position {
    unit: usize,
    byte: usize,
}

/// Bytes of one unit, header first, that stand in one packet.
struct Piece {
    unit: usize,
    start: usize,
    size: usize,
}

type Pieces = SmallVec<[Piece; UNITS_MAX]>;

/// Chooses what stands in the next packet; all pieces but the last have a size in front.
fn fill<U: Unit>(all: &[U], mut position: Position, mut room: usize) -> (Pieces, Position) {
    let mut pieces = Pieces::new();
    loop {
        let Position { unit, byte: start } = position;
        let left = all[unit].size() - start;
        let size = left.min(room);
        pieces.push(Piece { unit, start, size });
        position = if size == left {
            Position { unit: unit + 1, byte: 0 }
        } else {
            Position { unit, byte: start + size }
        };
        let sized = size + obu::leb128(size).1;
        let full = sized + SCRAP_BYTES > room || pieces.len() == UNITS_MAX;
        if full || position.unit == all.len() {
            return (pieces, position);
        }
        room -= sized;
    }
}

fn write_packet<U: Unit>(all: &[U], pieces: &[Piece], header: u8, marker: bool, writer: &mut BatchWriter) {
    writer.begin(marker);
    writer.put(&[header]);
    for (index, piece) in pieces.iter().enumerate() {
        if index + 1 < pieces.len() {
            let (size, bytes) = obu::leb128(piece.size);
            writer.put(&size[..bytes]);
        }
        all[piece.unit].put(piece.start..piece.start + piece.size, writer);
    }
    writer.end();
}

/// A unit that has lost its size.
impl Unit for Obu<'_> {
    fn size(&self) -> usize {
        self.bare_bytes()
    }

    fn put(&self, part: Range<usize>, writer: &mut BatchWriter) {
        let (header, header_bytes) = self.bare_header();
        writer.put(&header[part.start.min(header_bytes)..part.end.min(header_bytes)]);
        let payload = part.start.saturating_sub(header_bytes)..part.end.saturating_sub(header_bytes);
        writer.put(&self.payload[payload]);
    }
}

/// Z.
pub(in crate::rtp) const CONTINUES: u8 = 0x80;
/// Y.
pub(in crate::rtp) const GOES_ON: u8 = 0x40;
/// N.
pub(in crate::rtp) const NEW_SEQUENCE: u8 = 0x08;

#[cfg(test)]
mod tests {
    use super::super::tests::{packetizer, payloads, video};
    use crate::track::Codec;
    use bytes::Bytes;

    fn packetize(frame: &[u8], keyframe: bool) -> Vec<Vec<u8>> {
        let sequence_header = Bytes::from_static(&[0x0a, 2, 5, 6]);
        let mut packetizer = packetizer(Codec::Av1 { sequence_header }, 256);
        payloads(&packetizer.packetize(&video(frame, keyframe)).unwrap().unwrap())
    }

    #[test]
    fn sizes_are_stripped_and_the_sequence_header_precedes_a_keyframe() {
        let delimiter_and_frame = [0x12, 0, 0x32, 2, 8, 9];
        assert_eq!(packetize(&delimiter_and_frame, true), [[0x28, 3, 0x08, 5, 6, 0x30, 8, 9]]);
        assert_eq!(packetize(&delimiter_and_frame, false), [[0x10, 0x30, 8, 9]]);
    }

    #[test]
    fn a_large_unit_fills_packets_and_says_that_it_goes_on() {
        let frame = [&[0x32, 0xf4, 0x03][..], &[7; 500]].concat();
        let packets = packetize(&frame, false);
        let heads: Vec<_> = packets.iter().map(|packet| (packet[0], packet.len())).collect();
        assert_eq!(heads, [(0x50, 244), (0xd0, 244), (0x90, 16)]);
    }
}
