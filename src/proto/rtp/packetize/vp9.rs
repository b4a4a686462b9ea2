//! VP9 (RFC 9628) in non-flexible mode without layers and picture numbers: one byte of descriptor.
//!
//! ```text
//! |I=0|P|L=0|F=0|B|E|V=0|Z=0|      P: predicted from other pictures; B, E: the frame begins, ends here
//! ```

use super::super::batch::BatchWriter;
use super::Room;
use crate::frame::Frame;

pub(super) fn write(frame: &Frame, room: Room, writer: &mut BatchWriter) {
    let predicted = if frame.keyframe { 0 } else { 0x40 };
    let mut chunks = frame.payload.chunks(room.payload_max - 1).peekable();
    let mut begin = 0x08;
    while let Some(chunk) = chunks.next() {
        let last = chunks.peek().is_none();
        writer.packet(last, &[&[predicted | begin | u8::from(last) << 2], chunk]);
        begin = 0;
    }
}
