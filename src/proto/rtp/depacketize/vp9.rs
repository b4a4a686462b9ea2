//! VP9 (RFC 9628 section 4.2).
//!
//! ```text
//! |I|P|L|F|B|E|V|Z|  I: picture id (7 or 15)  L: layer indices  F and P: up to three differences  V: structure
//! ```

use super::assembly::Assembly;
use super::{DepacketizeError, PayloadFormat};
use crate::rtp::header::Header;

const PICTURE_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
pub(in crate::rtp) const BEGIN: u8 = 0x08;
pub(in crate::rtp) const END: u8 = 0x04;
pub(in crate::rtp) const STRUCTURE: u8 = 0x02;

#[derive(Default)]
pub(super) struct Vp9 {
    /// Whether no packet of the frame under way is missing so far.
    intact: bool,
}

impl PayloadFormat for Vp9 {
    fn handle(&mut self, _: &Header, payload: &[u8], out: &mut Assembly) -> Result<(), DepacketizeError> {
        let (head, data) =
            parse(payload).ok_or(DepacketizeError::Malformed("a VP9 descriptor is cut off"))?;
        if head & BEGIN != 0 {
            self.intact = true;
            // Of several layers the lowest comes first and decides.
            if head & PREDICTED == 0 && is_key_frame(data) && out.bytes().is_empty() {
                out.mark_keyframe();
            }
        }
        if !self.intact {
            out.mark_lost();
            return Ok(());
        }
        out.put(data)
    }

    fn abandon(&mut self, _: &mut Assembly) {
        self.intact = false;
    }
}

/// Whether a frame that is predicted from no other begins in this payload.
pub(super) fn is_keyframe_start(payload: &[u8]) -> bool {
    parse(payload).is_some_and(|(head, data)| head & (BEGIN | PREDICTED) == BEGIN && is_key_frame(data))
}

/// Whether a frame says so itself (VP9 bitstream specification section 6.2): FFmpeg never sets P. What is no frame
/// header, as of an encrypted one, is believed.
///
/// ```text
/// |1 0|profile (2)|show existing|frame type| ...        profile 3 has a reserved bit behind the profile
/// ```
fn is_key_frame(data: &[u8]) -> bool {
    let Some(&first) = data.first().filter(|first| *first >> 6 == 0b10) else { return true };
    let flags = if first >> 4 & 0b11 == 0b11 { first >> 1 } else { first >> 2 };
    flags & 0b11 == 0
}

/// The first byte of the descriptor, and the frame's bytes behind it.
fn parse(payload: &[u8]) -> Option<(u8, &[u8])> {
    let (head, rest) = parse_references(payload)?;
    Some((head, if head & STRUCTURE == 0 { rest } else { skip_structure(rest)? }))
}

/// The first byte of the descriptor, and what is behind picture id, layers and differences: the structure where there
/// is one, else the frame.
pub(in crate::rtp) fn parse_references(payload: &[u8]) -> Option<(u8, &[u8])> {
    let (&head, mut rest) = payload.split_first()?;
    if head & PICTURE_ID != 0 {
        let long = rest.first()? & 0x80 != 0;
        rest = rest.get(if long { 2 } else { 1 }..)?;
    }
    if head & LAYERS != 0 {
        rest = rest.get(if head & FLEXIBLE == 0 { 2 } else { 1 }..)?;
    }
    if head & FLEXIBLE != 0 && head & PREDICTED != 0 {
        let mut more = true;
        for _ in 0..3 {
            if more {
                let (&difference, behind) = rest.split_first()?;
                more = difference & 1 != 0;
                rest = behind;
            }
        }
    }
    Some((head, rest))
}

/// Skips `|N_S (3)|Y|G|0 0 0|`, N_S + 1 sizes where Y is set, and a picture group where G is set.
pub(in crate::rtp) fn skip_structure(bytes: &[u8]) -> Option<&[u8]> {
    let (&head, mut rest) = bytes.split_first()?;
    if head & 0x10 != 0 {
        rest = rest.get(4 * (usize::from(head >> 5) + 1)..)?;
    }
    if head & 0x08 != 0 {
        let (&pictures, behind) = rest.split_first()?;
        rest = behind;
        for _ in 0..pictures {
            let references = usize::from(rest.first()? >> 2 & 3);
            rest = rest.get(1 + references..)?;
        }
    }
    Some(rest)
}
