//! MPEG-4 part 2 (RFC 6416): the stream as it is.

use memchr::memmem;

use super::assembly::Assembly;
use super::{DepacketizeError, PayloadFormat};
use crate::rtp::header::Header;

pub(super) struct Mpeg4Visual;

impl PayloadFormat for Mpeg4Visual {
    fn handle(&mut self, _: &Header, payload: &[u8], out: &mut Assembly) -> Result<(), DepacketizeError> {
        if is_keyframe_start(payload) {
            out.mark_keyframe();
        }
        out.put(payload)
    }
}

/// Whether an intra-coded picture begins in this payload. Headers and pictures stand at the beginning of a payload.
pub(super) fn is_keyframe_start(payload: &[u8]) -> bool {
    if !payload.starts_with(&[0, 0, 1]) {
        return false;
    }
    let mut codes = memmem::find_iter(payload, &[0, 0, 1]).map(|at| &payload[at + 3..]);
    // The two bits behind the start code are the coding type; zero is intra.
    codes
        .find(|code| code.first() == Some(&PICTURE))
        .and_then(|code| code.get(1))
        .is_some_and(|bits| bits >> 6 == 0)
}

/// Start code of a video object plane.
const PICTURE: u8 = 0xb6;
