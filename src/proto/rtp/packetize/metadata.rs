//! ONVIF metadata (ONVIF streaming specification section 5.1.2.1.1): an XML document, cut where a packet is full.

use super::super::batch::BatchWriter;
use super::Room;

/// Writes one document. The marker is on its last packet, and says that the document is closed.
pub(super) fn write(document: &[u8], room: Room, writer: &mut BatchWriter) {
    let mut parts = document.chunks(room.payload_max).peekable();
    while let Some(part) = parts.next() {
        writer.packet(parts.peek().is_none(), &[part]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{packetizer, payloads, video};
    use crate::rtp::header::Header;
    use crate::track::Codec;

    #[test]
    fn a_document_is_cut_where_a_packet_is_full_and_its_last_packet_has_the_marker() {
        for (bytes, sizes) in [(1, vec![1]), (244, vec![244]), (600, vec![244, 244, 112])] {
            let document: Vec<u8> = (0..bytes).map(|index| index as u8).collect();
            let batch = packetizer(Codec::Metadata, 256).packetize(&video(&document, true)).unwrap().unwrap();
            let parts = payloads(&batch);
            assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
            assert_eq!(parts.concat(), document);
            let markers: Vec<_> =
                batch.packets().iter().map(|it| Header::parse(batch.packet(it)).unwrap().0.marker).collect();
            assert!(markers.iter().enumerate().all(|(at, marker)| *marker == (at + 1 == sizes.len())));
        }
    }
}
