//! VP8 (RFC 7741): one byte of descriptor, without picture numbers, so that packets do not depend on what went before.
//!
//! ```text
//! |X=0|R|N|S|R| PID (3) = 0 |      S: the frame begins here
//! ```

use super::super::batch::BatchWriter;
use super::Room;

pub(super) fn write(frame: &[u8], room: Room, writer: &mut BatchWriter) {
    let mut chunks = frame.chunks(room.payload_max - 1).peekable();
    let mut descriptor = 0x10;
    while let Some(chunk) = chunks.next() {
        writer.packet(chunks.peek().is_none(), &[&[descriptor], chunk]);
        descriptor = 0;
    }
}
