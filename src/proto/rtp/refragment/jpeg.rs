//! JPEG (RFC 2435): fragments know their place in the scan, and only the first has the tables.

use super::{CUT_OFF, Large, Place, RefragmentError};
use crate::rtp::batch::BatchWriter;

const MAIN_HEADER_BYTES: usize = 8;

/// Where the fragment offset of 24 bits ends.
const SCAN_BYTES_MAX: usize = 1 << 24;

pub(super) fn write(large: &Large<'_>, writer: &mut BatchWriter) -> Result<(), RefragmentError> {
    let (&[_, o2, o1, o0, kind, quality, ..], _) =
        large.payload.split_first_chunk::<MAIN_HEADER_BYTES>().ok_or(CUT_OFF)?;
    let restart_bytes = match kind {
        0..=63 => 0,
        64..=127 => 4,
        // What these types mean, their headers included, is agreed elsewhere (section 3.1.3).
        128.. => return Err(RefragmentError::Indivisible),
    };
    let start = u32::from_be_bytes([0, o2, o1, o0]) as usize;
    let header_bytes = MAIN_HEADER_BYTES + restart_bytes;
    let header = large.payload.get(..header_bytes).ok_or(CUT_OFF)?;
    let tables_bytes = match (start, quality) {
        (0, 128..) => {
            let head = large.payload[header_bytes..].first_chunk::<4>().ok_or(CUT_OFF)?;
            4 + usize::from(u16::from_be_bytes([head[2], head[3]]))
        }
        _ => 0,
    };
    let (first_header, data) = large.payload.split_at_checked(header_bytes + tables_bytes).ok_or(CUT_OFF)?;
    if start + data.len() > SCAN_BYTES_MAX {
        return Err(RefragmentError::Malformed("its scan is longer than 16 MiB"));
    }
    large.cut(first_header, header, data, writer, |own, place| {
        let [_, high, middle, low] = ((start + place.offset) as u32).to_be_bytes();
        own[1..4].copy_from_slice(&[high, middle, low]);
        if restart_bytes > 0 {
            own[10] = restart_flags(header[10], header[11], place);
        }
    })
}

/// F, L and the high bits of the count (section 3.1.7): in the first piece restart intervals begin, in the last they
/// end. A count of all ones says that only the whole picture can be decoded, whatever the flags.
fn restart_flags(high: u8, low: u8, place: Place) -> u8 {
    if (high & 0x3f, low) == (0x3f, 0xff) {
        return high;
    }
    let begins = if place.offset == 0 { high & 0x80 } else { 0 };
    let ends = if place.is_last { high & 0x40 } else { 0 };
    begins | ends | high & 0x3f
}
