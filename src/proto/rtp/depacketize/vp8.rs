//! VP8 (RFC 7741 section 4).
//!
//! ```text
//! |X|R|N|S|R| PID (3) |    X: |I|L|T|K| reserved |    I: picture id (7 or 15)   L: TL0PICIDX   T, K: TID, KEYIDX
//! ```

use super::assembly::Assembly;
use super::{DepacketizeError, PayloadFormat};
use crate::rtp::header::Header;

#[derive(Default)]
pub(super) struct Vp8 {
    /// Whether no packet of the frame under way is missing so far.
    intact: bool,
}

impl PayloadFormat for Vp8 {
    fn handle(&mut self, _: &Header, payload: &[u8], out: &mut Assembly) -> Result<(), DepacketizeError> {
        let (starts, data) =
            parse(payload).ok_or(DepacketizeError::Malformed("a VP8 descriptor is cut off"))?;
        if starts {
            out.truncate(0);
            self.intact = true;
            if is_keyframe(data) {
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

/// Whether a key frame begins in this payload.
pub(super) fn is_keyframe_start(payload: &[u8]) -> bool {
    parse(payload).is_some_and(|(starts, data)| starts && is_keyframe(data))
}

/// The lowest bit of a frame is zero for key frames (RFC 6386 section 9.1).
fn is_keyframe(data: &[u8]) -> bool {
    data.first().is_some_and(|byte| byte & 1 == 0)
}

/// Whether a frame begins in this payload, and its bytes behind the descriptor.
pub(in crate::rtp) fn parse(payload: &[u8]) -> Option<(bool, &[u8])> {
    let (&head, mut rest) = payload.split_first()?;
    if head & 0x80 != 0 {
        let (&extension, behind) = rest.split_first()?;
        rest = behind;
        if extension & 0x80 != 0 {
            let long = rest.first()? & 0x80 != 0;
            rest = rest.get(if long { 2 } else { 1 }..)?;
        }
        let index_bytes = usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
        rest = rest.get(index_bytes..)?;
    }
    Some((head & 0x17 == 0x10, rest))
}
