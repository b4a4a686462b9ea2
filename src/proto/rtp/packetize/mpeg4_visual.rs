//! MPEG-4 part 2 (RFC 6416 section 5): the stream as it is, cut at packet size; no payload header.

use bytes::Bytes;
use memchr::memmem;

use super::super::batch::BatchWriter;
use super::Room;
use crate::frame::Frame;

/// Writes one picture, with the configuration in front of a keyframe that has none.
pub(super) fn write(frame: &Frame, config: &Bytes, room: Room, writer: &mut BatchWriter) {
    let config = if frame.keyframe && !has_layer_header(&frame.payload) { &config[..] } else { &[] };
    // Headers stand at the beginning of a payload, and a short configuration shares its packet with the picture.
    let whole_chunks = config.len() / room.payload_max * room.payload_max;
    let (alone, shared) = config.split_at(whole_chunks);
    for chunk in alone.chunks(room.payload_max) {
        writer.packet(false, &[chunk]);
    }
    let first_size = frame.payload.len().min(room.payload_max - shared.len());
    let (first, rest) = frame.payload.split_at(first_size);
    writer.packet(rest.is_empty(), &[shared, first]);
    let mut rest = rest.chunks(room.payload_max).peekable();
    while let Some(chunk) = rest.next() {
        writer.packet(rest.peek().is_none(), &[chunk]);
    }
}

/// Whether a video object layer header (start codes 0x20 to 0x2f) stands before the picture.
fn has_layer_header(payload: &[u8]) -> bool {
    let mut codes = memmem::find_iter(payload, &[0, 0, 1]).filter_map(|at| payload.get(at + 3));
    codes.find(|&&code| code == PICTURE || code >> 4 == 2).is_some_and(|&code| code != PICTURE)
}

/// Start code of a video object plane.
const PICTURE: u8 = 0xb6;

#[cfg(test)]
mod tests {
    use super::super::tests::{packetizer, payloads, video};
    use crate::track::Codec;
    use bytes::Bytes;

    const CONFIG: &[u8] = &[0, 0, 1, 0xb0, 1, 0, 0, 1, 0x20, 5];

    #[test]
    fn the_configuration_precedes_a_keyframe_that_has_none() {
        let picture: &[u8] = &[0, 0, 1, 0xb3, 1, 2, 3, 0, 0, 1, 0xb6, 9];
        let with_config = [CONFIG, picture].concat();
        let mut packetizer = packetizer(Codec::Mpeg4Visual { config: Bytes::from_static(CONFIG) }, 1_400);
        for (frame, keyframe, expected) in
            [(picture, true, &with_config[..]), (picture, false, picture), (&with_config, true, &with_config)]
        {
            let batch = packetizer.packetize(&video(frame, keyframe)).unwrap().unwrap();
            assert_eq!(payloads(&batch), [expected]);
        }
    }
}
