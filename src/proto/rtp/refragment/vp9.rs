//! VP9 (RFC 9628 section 4.2): only the first piece begins what the packet began and has the structure, only the last
//! ends it.

use super::{CUT_OFF, Large, RefragmentError};
use crate::rtp::batch::BatchWriter;
use crate::rtp::depacketize::vp9::{BEGIN, END, STRUCTURE, parse_references, skip_structure};

pub(super) fn write(large: &Large<'_>, writer: &mut BatchWriter) -> Result<(), RefragmentError> {
    let (head, rest) = parse_references(large.payload).ok_or(CUT_OFF)?;
    let data = if head & STRUCTURE == 0 { rest } else { skip_structure(rest).ok_or(CUT_OFF)? };
    let before = |rest: &[u8]| &large.payload[..large.payload.len() - rest.len()];
    large.cut(before(data), before(rest), data, writer, |own, place| {
        let first = if place.offset == 0 { head } else { head & !(BEGIN | STRUCTURE) };
        own[0] = if place.is_last { first } else { first & !END };
    })
}
