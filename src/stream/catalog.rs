//! Which live streams there are, and how a shard comes to receive one.

use std::fmt;
use std::sync::Arc;

use proto::rtp::batch::Batch;
use proto::time::NtpTime;
use proto::track::{Kind, Track};

/// Names one run of a live stream: a stream that ended and came again has another name.
pub type StreamId = u64;

/// Which shard, counted from 0.
pub type ShardIndex = u16;

/// What a live stream offers; constant while its [`StreamId`] lives.
#[derive(Clone, Debug)]
pub struct Description {
    /// The stream's name among all runs of all streams.
    pub id: StreamId,
    /// Its URL's path, without the leading slash.
    pub path: String,
    /// Its tracks. A batch's track index points into this list.
    pub tracks: Vec<Track>,
    /// For each track the synchronization source of its packets.
    pub ssrc: Vec<u32>,
    /// For each track the RTP timestamp of content time zero.
    pub timestamp_base: Vec<u32>,
    /// Wall-clock time of content time zero.
    pub origin: NtpTime,
}

impl Description {
    /// Index of the track whose keyframes a viewer starts at: the first with pictures, else the first.
    pub fn leading(&self) -> u8 {
        leading(&self.tracks)
    }
}

/// Index of the track whose keyframes playing starts at: the first with pictures, else the first.
pub fn leading(tracks: &[Track]) -> u8 {
    tracks.iter().position(|track| track.kind() == Kind::Video).unwrap_or(0) as u8
}

/// What a stream tells a shard.
#[derive(Debug)]
pub enum Notice {
    /// Answers a subscription: the stream's past as far as viewers may start in it. Later batches follow without a
    /// gap and without repeating one.
    Subscribed {
        /// The path that was asked for.
        path: Arc<str>,
        /// The stream, or why there is none.
        answer: Result<Snapshot, StreamError>,
    },
    /// One more batch.
    Batch {
        /// Of which stream.
        stream: StreamId,
        /// The packets.
        batch: Arc<Batch>,
    },
    /// The stream has ended.
    Ended {
        /// Which one.
        stream: StreamId,
        /// Why, for the log.
        reason: String,
    },
}

/// A stream as it stands when a shard subscribes.
#[derive(Debug)]
pub struct Snapshot {
    /// What it offers.
    pub description: Arc<Description>,
    /// Its batches from the last keyframe on.
    pub batches: Vec<Arc<Batch>>,
}

/// Why a live stream cannot be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// No stream has this path: 404.
    #[error("no such stream")]
    NotFound,
    /// Its source does not start: 503, with the reason.
    #[error("{0}")]
    Unavailable(String),
}

/// How notices reach one shard. False when its inbox is full: the notice was dropped, and the shard resumes at the
/// next keyframe.
#[derive(Clone)]
pub struct Subscriber {
    /// Which shard.
    pub shard: ShardIndex,
    /// Delivers and wakes.
    pub deliver: Arc<dyn Fn(Notice) -> bool + Send + Sync>,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscriber({})", self.shard)
    }
}

/// The live streams that can be watched. Every call returns at once.
pub trait Catalog: Send + Sync {
    /// Whether a live stream owns this path, running or not.
    fn owns(&self, path: &str) -> bool;

    /// Starts the stream if need be and delivers it to a shard from then on; answered by [`Notice::Subscribed`].
    fn subscribe(&self, path: &Arc<str>, subscriber: Subscriber);

    /// Delivers no more to this shard; the stream may stop when nobody is left.
    fn unsubscribe(&self, stream: StreamId, shard: ShardIndex);
}
