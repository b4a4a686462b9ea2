//! AV1 (RTP Payload Format For AV1, v1.0 section 4).

use super::assembly::Assembly;
use super::{DepacketizeError, FRAME_BYTES_MAX, PayloadFormat};
use crate::rtp::header::Header;
use crate::rtp::obu::{self, Obu};
use crate::rtp::packetize::av1::{CONTINUES, GOES_ON, NEW_SEQUENCE};

const CUT: DepacketizeError = DepacketizeError::Malformed("an AV1 packet is cut off");

#[derive(Default)]
pub(super) struct Av1 {
    /// The unit whose end has not come; empty when there is none.
    open: Vec<u8>,
    scratch: Vec<u8>,
}

impl PayloadFormat for Av1 {
    fn handle(&mut self, _: &Header, payload: &[u8], out: &mut Assembly) -> Result<(), DepacketizeError> {
        let (&head, rest) = payload.split_first().ok_or(CUT)?;
        if head & NEW_SEQUENCE != 0 {
            out.mark_keyframe();
        }
        if head & CONTINUES == 0 {
            self.abandon(out);
        }
        let mut elements = elements(head, rest).peekable();
        let mut continues = head & CONTINUES != 0;
        while let Some(element) = elements.next() {
            let goes_on = elements.peek().is_none() && head & GOES_ON != 0;
            self.put_element(element.ok_or(CUT)?, continues, goes_on, out)?;
            continues = false;
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

/// The units of a packet behind its first byte; None, and then the end, where one is cut off.
pub(in crate::rtp) fn elements(head: u8, mut rest: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    // W; zero when every unit has a size.
    let mut unsized_in = usize::from(head >> 4 & 3).checked_sub(1);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let split = match unsized_in {
            Some(0) => Some((rest, &[][..])),
            _ => obu::read_leb128(rest).and_then(|(size, rest)| rest.split_at_checked(size)),
        };
        unsized_in = unsized_in.and_then(|units| units.checked_sub(1));
        let (element, behind) = split.map_or((None, &[][..]), |(element, behind)| (Some(element), behind));
        rest = behind;
        Some(element)
    })
}

/// Whether a new coded video sequence begins in this payload.
pub(super) fn is_keyframe_start(payload: &[u8]) -> bool {
    payload.first().is_some_and(|head| head & NEW_SEQUENCE != 0)
}
