//! What H.264 and H.265 share: small units of a frame together in one packet, large ones cut into a train.
//!
//! Fragments fill the packet and only the last is shorter, so that one large unit is one segmented send.

use super::super::batch::BatchWriter;

/// How a payload format writes its aggregation packets and its fragments.
pub(in crate::rtp) trait UnitFormat {
    /// Bytes of a unit's own header, which is also the size of an aggregation packet's header.
    const HEADER_BYTES: usize;

    /// Header of a packet that holds `units`; [`Self::HEADER_BYTES`] of it count.
    fn aggregation_header(units: &[&[u8]]) -> [u8; 2];

    /// Headers in front of a fragment of `unit`; one byte more than [`Self::HEADER_BYTES`] of it counts.
    fn fragment_header(unit: &[u8], part: Part) -> [u8; 3];
}

/// Which part of its unit a fragment is. A unit has at least two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::rtp) enum Part {
    First,
    Middle,
    Last,
}

/// Bytes of the size in front of each unit of an aggregation packet.
const SIZE_BYTES: usize = 2;

/// Writes packets that hold `units`; the last one carries the marker. `payload_max` is the room behind the RTP header.
pub(in crate::rtp) fn write<F: UnitFormat>(
    units: &[&[u8]],
    marker: bool,
    payload_max: usize,
    writer: &mut BatchWriter,
) {
    let mut rest = units;
    while let Some((&unit, behind)) = rest.split_first() {
        if unit.len() > payload_max {
            write_fragments::<F>(unit, payload_max, marker && behind.is_empty(), writer);
            rest = behind;
            continue;
        }
        let count = aggregate_count::<F>(rest, payload_max);
        let (together, behind) = rest.split_at(count);
        write_whole::<F>(together, marker && behind.is_empty(), writer);
        rest = behind;
    }
}

/// How many of the next units share a packet; the first one fits.
fn aggregate_count<F: UnitFormat>(units: &[&[u8]], payload_max: usize) -> usize {
    let mut size = F::HEADER_BYTES;
    let fitting = units.iter().take_while(|unit| {
        size += SIZE_BYTES + unit.len();
        size <= payload_max
    });
    fitting.count().max(1)
}

fn write_whole<F: UnitFormat>(units: &[&[u8]], marker: bool, writer: &mut BatchWriter) {
    if let [unit] = units {
        return writer.packet(marker, &[unit]);
    }
    writer.begin(marker);
    writer.put(&F::aggregation_header(units)[..F::HEADER_BYTES]);
    for unit in units {
        // A unit fits a packet here, and a packet a datagram.
        writer.put(&(unit.len() as u16).to_be_bytes());
        writer.put(unit);
    }
    writer.end();
}

fn write_fragments<F: UnitFormat>(unit: &[u8], payload_max: usize, marker: bool, writer: &mut BatchWriter) {
    let header_bytes = F::HEADER_BYTES + 1;
    let mut rest = &unit[F::HEADER_BYTES..];
    let mut part = Part::First;
    while !rest.is_empty() {
        let size = rest.len().min(payload_max - header_bytes);
        let (fragment, behind) = rest.split_at(size);
        if behind.is_empty() {
            part = Part::Last;
        }
        let header = F::fragment_header(unit, part);
        writer.packet(marker && behind.is_empty(), &[&header[..header_bytes], fragment]);
        part = Part::Middle;
        rest = behind;
    }
}
