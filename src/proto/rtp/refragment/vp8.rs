//! VP8 (RFC 7741 section 4.2): only the first piece begins what the packet began.

use super::{CUT_OFF, Large, RefragmentError};
use crate::rtp::batch::BatchWriter;
use crate::rtp::depacketize::vp8::parse;

/// S.
const STARTS: u8 = 0x10;

pub(super) fn write(large: &Large<'_>, writer: &mut BatchWriter) -> Result<(), RefragmentError> {
    let (_, data) = parse(large.payload).ok_or(CUT_OFF)?;
    let descriptor = &large.payload[..large.payload.len() - data.len()];
    large.cut(descriptor, descriptor, data, writer, |own, place| {
        if place.offset > 0 {
            own[0] &= !STARTS;
        }
    })
}
