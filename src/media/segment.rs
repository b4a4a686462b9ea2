//! A stretch of a file, packetized once and shared by everyone who plays it.

use std::sync::Arc;

use proto::rtp::batch::Batch;
use proto::time::MediaTime;
use smallvec::SmallVec;

/// Most payload bytes of a segment: a whole group of pictures would be 1 MB at 4 Mbit/s.
pub const SEGMENT_BYTES_MAX: usize = 256 * 1024;

/// Longest stretch of a segment, in nanoseconds of content.
pub const SEGMENT_NANOS_MAX: i64 = 500_000_000;

/// Where a segment begins: the same position always yields the same segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Decoding time of the keyframe that decoding begins with.
    pub keyframe: MediaTime,
    /// How many segments after that keyframe's first one.
    pub part: u32,
}

/// A stretch of a file: at most [`SEGMENT_BYTES_MAX`] or [`SEGMENT_NANOS_MAX`], never across a keyframe of the
/// leading track; the other tracks by decoding time.
#[derive(Debug)]
pub struct Segment {
    /// Where it begins.
    pub position: Position,
    /// Where the following one begins; None at the end of the file.
    pub next: Option<Position>,
    /// Batches of all tracks in decoding order.
    pub entries: Vec<Entry>,
    /// For each track the canonical numbers of its first packet in this segment (or of the next one when it has
    /// none here), so that a viewer's own numbering can be continued across segments.
    pub first: SmallVec<[Canonical; 4]>,
    /// Presentation end of the latest frame so far; at the end of the file its true length.
    pub end: MediaTime,
    /// Bytes of memory it holds, for the cache's budget.
    pub bytes: usize,
}

/// One batch and when it leaves.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Decoding time: when it is due at normal speed.
    pub due: MediaTime,
    /// The track that it belongs to.
    pub track: u8,
    /// The packets.
    pub batch: Arc<Batch>,
}

/// Canonical numbers of one track at the start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// Sequence number of the track's next packet.
    pub sequence: u16,
    /// Packets of this track in the segment.
    pub packets: u32,
}
