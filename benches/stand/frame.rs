//! The frame that everybody sends: 11 packets of 1,400 bytes and one of 1,210, as 16.6 kB of H.264 become; and one as
//! large as a train can be.

use bytes::Bytes;
use proto::rtp::batch::{Batch, BatchWriter, Meta, Numbering, Train};
use proto::time::MediaTime;

/// Bytes of every packet but the last.
pub const SEGMENT: u16 = 1400;

/// Full packets of the usual frame, and bytes of the one behind them.
const USUAL: (usize, usize) = (11, 1210);

/// The same of one as large as a datagram of 65,507 bytes allows: 64.4 kB.
const LARGE: (usize, usize) = (45, 1400);

/// The frame in both its forms.
pub struct Frame {
    batch: Batch,
    interleaved: Bytes,
}

impl Frame {
    /// The usual one, of bytes that do not compress.
    pub fn usual() -> Frame {
        Frame::of(USUAL)
    }

    /// A large one.
    pub fn large() -> Frame {
        Frame::of(LARGE)
    }

    fn of((full, last): (usize, usize)) -> Frame {
        let mut sizes = vec![usize::from(SEGMENT); full];
        sizes.push(last);
        let numbering = Numbering { ssrc: 1, payload_type: 96, sequence: 0, timestamp: 0 };
        let mut writer = BatchWriter::new(numbering, sizes.iter().sum());
        for (index, size) in sizes.iter().enumerate() {
            let payload: Vec<u8> = (12..*size).map(|byte| (byte * 31 + index) as u8).collect();
            writer.packet(index == full, &[&payload]);
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
