//! AAC in mode AAC-hbr (RFC 3640): as many whole access units as fit a packet, a large one in fragments.

use smallvec::SmallVec;

use super::{CUT_OFF, Large, RefragmentError};
use crate::rtp::batch::BatchWriter;
use crate::rtp::depacketize::aac::unit_samples;

/// Bytes of one AU-header: 13 bits of size, 3 bits of index.
const UNIT_HEADER_BYTES: usize = 2;

/// Bytes of AU-headers-length.
const LENGTH_BYTES: usize = 2;

/// One access unit behind its header.
#[derive(Clone, Copy)]
struct Unit<'a> {
    header: [u8; UNIT_HEADER_BYTES],
    data: &'a [u8],
}

type Units<'a> = SmallVec<[Unit<'a>; 16]>;

pub(super) fn write(
    large: &Large<'_>,
    config: &[u8],
    writer: &mut BatchWriter,
) -> Result<(), RefragmentError> {
    let (bits, rest) = large.payload.split_first_chunk::<LENGTH_BYTES>().ok_or(CUT_OFF)?;
    let header_bytes = usize::from(u16::from_be_bytes(*bits)).div_ceil(8);
    let (headers, data) = rest.split_at_checked(header_bytes).ok_or(CUT_OFF)?;
    if let &[high, low] = headers
        && size_of([high, low]) > data.len()
    {
        return write_fragments(large, [high, low], data, writer);
    }
    let units = units(headers, data)?;
    let (start, ticks) = (writer.numbering().timestamp, unit_samples(config));
    let mut index = 0;
    while index < units.len() {
        writer.set_timestamp(start.wrapping_add((index as u32).wrapping_mul(ticks)));
        let together = &units[index..index + count_together(&units[index..], large.payload_max)];
        index += together.len();
        match together {
            [unit] => write_fragments(large, unit.header, unit.data, writer)?,
            _ => write_whole(together, large.marker, writer),
        }
    }
    Ok(())
}

/// Size that a header tells.
fn size_of(header: [u8; UNIT_HEADER_BYTES]) -> usize {
    usize::from(u16::from_be_bytes(header) >> 3)
}

/// All units; those that come out of their order cannot be told apart by time, and stay together.
fn units<'a>(headers: &[u8], mut data: &'a [u8]) -> Result<Units<'a>, RefragmentError> {
    let mut units = Units::new();
    for header in headers.chunks(UNIT_HEADER_BYTES) {
        let &[high, low] = header else { return Err(CUT_OFF) };
        if low & 7 != 0 {
            return Err(RefragmentError::Indivisible);
        }
        let (unit, behind) = data.split_at_checked(size_of([high, low])).ok_or(CUT_OFF)?;
        if unit.is_empty() {
            return Err(RefragmentError::Malformed("an access unit is empty"));
        }
        units.push(Unit { header: [high, low], data: unit });
        data = behind;
    }
    if units.is_empty() {
        return Err(RefragmentError::Malformed("it has no access unit"));
    }
    Ok(units)
}

/// How many of the next units share a packet.
fn count_together(units: &[Unit<'_>], payload_max: usize) -> usize {
    let mut size = LENGTH_BYTES;
    let fitting = units.iter().take_while(|unit| {
        size += UNIT_HEADER_BYTES + unit.data.len();
        size <= payload_max
    });
    fitting.count().max(1)
}

fn write_whole(units: &[Unit<'_>], marker: bool, writer: &mut BatchWriter) {
    writer.begin(marker);
    // They fit a packet, whose bytes 16 bits count; so do the bits of their headers, as they came.
    writer.put(&((units.len() * UNIT_HEADER_BYTES * 8) as u16).to_be_bytes());
    for unit in units {
        writer.put(&unit.header);
    }
    for unit in units {
        writer.put(unit.data);
    }
    writer.end();
}

/// Every fragment tells the size of the whole unit; one that fits is a single fragment.
fn write_fragments(
    large: &Large<'_>,
    [high, low]: [u8; UNIT_HEADER_BYTES],
    data: &[u8],
    writer: &mut BatchWriter,
) -> Result<(), RefragmentError> {
    let header = [0, 8 * UNIT_HEADER_BYTES as u8, high, low];
    large.cut(&header, &header, data, writer, |_, _| {})
}
