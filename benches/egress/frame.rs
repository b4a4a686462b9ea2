//! The frame that everybody sends: 11 packets of 1,400 bytes and one of 1,210, as 16.6 kB of H.264 become.

use bytes::Bytes;
use proto::rtp::batch::{Batch, BatchWriter, Meta, Numbering, Train};
use proto::time::MediaTime;

/// Bytes of every packet but the last.
pub const SEGMENT: u16 = 1400;

const SIZES: [usize; 12] = [1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400, 1400, 1210];

/// The frame in both its forms.
pub struct Frame {
    batch: Batch,
    interleaved: Bytes,
}

impl Frame {
    /// A frame of bytes that do not compress.
    pub fn new() -> Frame {
        let numbering = Numbering { ssrc: 1, payload_type: 96, sequence: 0, timestamp: 0 };
        let mut writer = BatchWriter::new(numbering, SIZES.iter().sum());
        for (index, size) in SIZES.iter().enumerate() {
            let payload: Vec<u8> = (12..*size).map(|byte| (byte * 31 + index) as u8).collect();
            writer.packet(index + 1 == SIZES.len(), &[&payload]);
        }
        let meta = Meta { track: 0, keyframe: false, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
        let batch = writer.finish(meta).expect("a frame has packets");
        let interleaved = batch.interleaved();
        Frame { batch, interleaved }
    }

    /// Packets back to back.
    pub fn rtp(&self) -> &Bytes {
        self.batch.rtp()
    }

    /// The one train that the packets make.
    pub fn train(&self) -> &Train {
        &self.batch.trains()[0]
    }

    /// Packets with their `$` heads.
    pub fn interleaved(&self) -> &Bytes {
        &self.interleaved
    }

    /// The bytes of one train, as a shard takes them.
    pub fn train_bytes(&self) -> Bytes {
        self.batch.train_bytes(self.train())
    }
}
