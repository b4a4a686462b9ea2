//! AV1 (RTP Payload Format For AV1, v1.0 section 4): units fill packet after packet.

use std::ops::Range;

use smallvec::SmallVec;

use super::{CUT_OFF, Large, RefragmentError};
use crate::rtp::batch::BatchWriter;
use crate::rtp::depacketize::av1::elements;
use crate::rtp::packetize::av1::{CONTINUES, Edges, GOES_ON, NEW_SEQUENCE, Unit, write_units};

pub(super) fn write(large: &Large<'_>, writer: &mut BatchWriter) -> Result<(), RefragmentError> {
    let head = large.payload[0];
    let units: Option<SmallVec<[&[u8]; 8]>> = elements(head, &large.payload[1..]).collect();
    let units = units.ok_or(CUT_OFF)?;
    if units.is_empty() || units.iter().any(|unit| unit.is_empty()) {
        return Err(RefragmentError::Malformed("a unit is empty"));
    }
    let edges = Edges {
        continues: head & CONTINUES,
        goes_on: head & GOES_ON,
        new_sequence: head & NEW_SEQUENCE,
        marker: large.marker,
    };
    write_units(&units, edges, large.payload_max, writer);
    Ok(())
}

/// A unit or a part of one as it came.
impl Unit for &[u8] {
    fn size(&self) -> usize {
        self.len()
    }

    fn put(&self, part: Range<usize>, writer: &mut BatchWriter) {
        writer.put(&self[part]);
    }
}
