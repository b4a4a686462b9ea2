//! Packet heads of viewers whose numbers or channels are their own, in one slab a shard.

use bytes::{BufMut, Bytes, BytesMut};
use proto::io::Piece;
use proto::rtp::batch::{Batch, INTERLEAVED_HEAD_BYTES, Train, interleaved_head};
use proto::rtp::header::{HEADER_BYTES, Header};
use std::sync::Arc;

use super::numbering::Numbering;

/// One allocation serves this many bytes of heads: about 5,000 packets.
const SLAB_BYTES: usize = 64 * 1024;

/// Makes heads; their memory is shared slabs that are freed when the last send of a slab is complete.
#[derive(Debug, Default)]
pub struct Heads {
    slab: BytesMut,
}

impl Heads {
    /// What one train sends to a UDP viewer.
    pub fn datagrams(&mut self, batch: &Arc<Batch>, train: &Train, numbering: &Numbering) -> Piece {
        if numbering.is_identity_for(batch) {
            return Piece::Shared(batch.train_bytes(train));
        }
        let first = train.first as usize;
        let packets = &batch.packets()[first..first + train.count as usize];
        self.reserve(packets.len() * HEADER_BYTES);
        for packet in packets {
            self.slab.put_slice(&renumbered(batch.packet(packet), numbering));
        }
        let heads = self.slab.split().freeze();
        Piece::Spliced { heads, batch: batch.clone(), first: train.first, count: train.count }
    }

    /// What one batch sends to a viewer on an interleaved channel; where others may send it too it is rendered for all
    /// of them, where nobody does its payload stays where it is.
    pub fn interleaved(
        &mut self,
        batch: &Arc<Batch>,
        channel: u8,
        numbering: &Numbering,
        is_shared: bool,
    ) -> Piece {
        if is_shared && channel == batch.channel() && numbering.is_identity_for(batch) {
            return Piece::Shared(batch.interleaved());
        }
        let packets = batch.packets();
        self.reserve(packets.len() * (INTERLEAVED_HEAD_BYTES + HEADER_BYTES));
        for packet in packets {
            self.slab.put_slice(&interleaved_head(channel, packet.size));
            self.slab.put_slice(&renumbered(batch.packet(packet), numbering));
        }
        let heads = self.slab.split().freeze();
        Piece::Spliced { heads, batch: batch.clone(), first: 0, count: packets.len() as u32 }
    }

    /// Other bytes of one viewer, such as a report behind its `$` head.
    pub fn own(&mut self, write: impl FnOnce(&mut BytesMut)) -> Bytes {
        self.reserve(256);
        write(&mut self.slab);
        self.slab.split().freeze()
    }

    fn reserve(&mut self, bytes: usize) {
        if self.slab.capacity() < bytes {
            self.slab = BytesMut::with_capacity(SLAB_BYTES.max(bytes));
        }
    }
}

/// A packet's header with one viewer's numbers. What else stands before the payload, such as an extension, stays.
pub(super) fn renumbered(bytes: &[u8], numbering: &Numbering) -> [u8; HEADER_BYTES] {
    let header = Header {
        marker: bytes[1] & 0x80 != 0,
        payload_type: bytes[1] & 0x7f,
        sequence: u16::from_be_bytes([bytes[2], bytes[3]]).wrapping_add(numbering.sequence_delta),
        timestamp: numbering.timestamp.apply(u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])),
        ssrc: numbering.ssrc,
    };
    let mut head = header.to_bytes();
    head[0] = bytes[0];
    head
}

#[cfg(test)]
mod tests {
    use super::super::numbering::TimestampMap;
    use super::*;
    use proto::rtp::batch::{BatchWriter, Meta, Numbering as Canonical};
    use proto::time::MediaTime;

    fn batch() -> Arc<Batch> {
        let canonical = Canonical { ssrc: 1, payload_type: 96, sequence: 10, timestamp: 1_000 };
        let mut writer = BatchWriter::new(canonical, 0);
        writer.packet(false, &[&[1; 50]]);
        writer.packet(true, &[&[2; 20]]);
        let meta = Meta { track: 0, keyframe: true, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
        Arc::new(writer.finish(meta).unwrap())
    }

    fn joined(piece: &Piece) -> Vec<u8> {
        piece.slices().flatten().copied().collect()
    }

    #[test]
    fn the_identity_shares_the_bytes() {
        let batch = batch();
        let piece = Heads::default().datagrams(&batch, &batch.trains()[0], &Numbering::identity(1));
        assert!(matches!(&piece, Piece::Shared(bytes) if bytes.as_ptr() == batch.rtp().as_ptr()));
    }

    #[test]
    fn what_nobody_else_sends_is_the_same_and_not_copied() {
        let batch = batch();
        let piece = |is_shared| Heads::default().interleaved(&batch, 0, &Numbering::identity(1), is_shared);
        let alone = piece(false);
        assert!(matches!(&alone, Piece::Spliced { .. }));
        let before = batch.memory_bytes();
        assert_eq!(joined(&alone), joined(&piece(true)));
        assert!(batch.memory_bytes() > before, "it was rendered for one viewer");
    }

    #[test]
    fn own_numbers_stand_before_the_shared_payload() {
        let batch = batch();
        let numbering = Numbering { ssrc: 9, sequence_delta: 5, timestamp: TimestampMap::Offset(7) };
        let bytes = joined(&Heads::default().interleaved(&batch, 6, &numbering, true));
        assert_eq!(bytes[..4], [b'$', 6, 0, 62]);
        let (header, payload) = Header::parse(&bytes[4..66]).unwrap();
        assert_eq!((header.ssrc, header.sequence, header.timestamp), (9, 15, 1_007));
        assert_eq!(bytes[4..66][payload], [1; 50]);
        let (second, _) = Header::parse(&bytes[70..]).unwrap();
        assert_eq!((second.sequence, second.marker), (16, true));
    }
}
