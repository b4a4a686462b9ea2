//! AV1 (RTP Payload Format For AV1, v1.0 section 4).

use super::assembly::Assembly;
use super::{DepacketizeError, FRAME_BYTES_MAX, PayloadFormat};
use crate::rtp::header::Header;
use crate::rtp::obu::{self, Obu};

const CONTINUES: u8 = 0x80;
const GOES_ON: u8 = 0x40;
const NEW_SEQUENCE: u8 = 0x08;
const CUT: DepacketizeError = DepacketizeError::Malformed("an AV1 packet is cut off");

#[derive(Default)]
pub(super) struct Av1 {
    /// The unit whose end has not come; empty when there is none.
    open: Vec<u8>,
    scratch: Vec<u8>,
}

impl PayloadFormat for Av1 {
    fn handle(&mut self, _: &Header, payload: &[u8], out: &mut Assembly) -> Result<(), DepacketizeError> {
        let (&head, mut rest) = payload.split_first().ok_or(CUT)?;
        if head & NEW_SEQUENCE != 0 {
            out.mark_keyframe();
        }
        if head & CONTINUES == 0 {
            self.abandon(out);
        }
        let count = usize::from(head >> 4 & 3);
        let mut index = 0;
        while !rest.is_empty() {
            index += 1;
            let (element, behind) = if index == count { (rest, &[][..]) } else { split_sized(rest)? };
            rest = behind;
            self.put_element(
                element,
                index == 1 && head & CONTINUES != 0,
                rest.is_empty() && head & GOES_ON != 0,
                out,
            )?;
        }
        Ok(())
    }

    fn abandon(&mut self, out: &mut Assembly) {
        if !self.open.is_empty() {
            self.open.clear();
            out.mark_lost();
        }
    }
}

impl Av1 {
    fn put_element(
        &mut self,
        element: &[u8],
        continues: bool,
        goes_on: bool,
        out: &mut Assembly,
    ) -> Result<(), DepacketizeError> {
        if continues && self.open.is_empty() {
            out.mark_lost();
            return Ok(());
        }
        if !continues && !goes_on {
            return put_unit(element, &mut self.scratch, out);
        }
        if self.open.len() + element.len() > FRAME_BYTES_MAX {
            self.open = Vec::new();
            return Err(DepacketizeError::FrameTooLarge);
        }
        self.open.extend_from_slice(element);
        if goes_on {
            return Ok(());
        }
        let result = put_unit(&self.open, &mut self.scratch, out);
        self.open.clear();
        result
    }
}

fn put_unit(element: &[u8], scratch: &mut Vec<u8>, out: &mut Assembly) -> Result<(), DepacketizeError> {
    if element.is_empty() {
        return Ok(());
    }
    let (unit, _) = Obu::parse(element).ok_or(CUT)?;
    scratch.clear();
    unit.put_sized_header(scratch);
    out.put(scratch)?;
    out.put(unit.payload)
}

fn split_sized(bytes: &[u8]) -> Result<(&[u8], &[u8]), DepacketizeError> {
    let (size, rest) = obu::read_leb128(bytes).ok_or(CUT)?;
    rest.split_at_checked(size).ok_or(CUT)
}

/// Whether a new coded video sequence begins in this payload.
pub(super) fn is_keyframe_start(payload: &[u8]) -> bool {
    payload.first().is_some_and(|head| head & NEW_SEQUENCE != 0)
}
