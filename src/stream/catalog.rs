//! Which live streams there are, and how a shard comes to receive one.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use proto::rtp::batch::Batch;
use proto::time::{NtpTime, Time};
use proto::track::{Kind, Track};

use super::relay::Relay;
use crate::media::format::Format;

/// Names one run of a live stream: a stream that ended and came again has another name.
pub type StreamId = u64;

/// Paths that clients publish to at once, those whose publisher is lost and may come back among them; one more is
/// refused. A session bounds nothing here: who publishes, vanishes and publishes again under another name has one.
pub const PUBLICATIONS_MAX: usize = 4_096;

/// Which shard, counted from 0.
pub type ShardIndex = u16;

/// What is asked for: the stream of a path, as it comes or made anew in another format.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamName {
    /// The path, without the leading slash.
    pub path: Arc<str>,
    /// The format; what it does not say is as it comes.
    pub format: Format,
    /// Of a screen, the window whose title has this in it.
    pub window: Option<Arc<str>>,
}

impl StreamName {
    /// The stream of a path as it comes.
    pub fn plain(path: Arc<str>) -> StreamName {
        StreamName::new(path, Format::default())
    }

    /// The stream of a path in a format.
    pub fn new(path: Arc<str>, format: Format) -> StreamName {
        StreamName { path, format, window: None }
    }

    /// Whether it is asked for as it comes.
    pub fn is_plain(&self) -> bool {
        self.format == Format::default() && self.window.is_none()
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(window) = &self.window {
            write!(f, " of {window:?}")?;
        }
        if self.format == Format::default() { Ok(()) } else { write!(f, " ({})", self.format) }
    }
}

/// What a live stream offers; constant while its [`StreamId`] lives.
#[derive(Clone, Debug)]
pub struct Description {
    /// The stream's name among all runs of all streams.
    pub id: StreamId,
    /// What it is asked for by.
    pub name: StreamName,
    /// Its tracks. A batch's track index points into this list.
    pub tracks: Vec<Track>,
    /// For each track the synchronization source of its packets.
    pub ssrc: Vec<u32>,
    /// For each track the RTP timestamp of content time zero.
    pub timestamp_base: Vec<u32>,
    /// Wall-clock time of content time zero.
    pub origin: NtpTime,
    /// Who plays it.
    pub audience: Arc<Audience>,
}

impl Description {
    /// Its URL's path, without the leading slash.
    pub fn path(&self) -> &str {
        &self.name.path
    }

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
        /// What was asked for.
        name: StreamName,
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
    /// A client publishes under this path from now on, or does no longer.
    Published {
        /// The path.
        path: Arc<str>,
        /// Whether it is there.
        is_there: bool,
    },
    /// Answers a claim.
    Claimed {
        /// The claim's own number.
        ticket: u64,
        /// What was granted.
        answer: Result<Grant, ClaimError>,
    },
    /// What the shard that a stream is published on is to do for others.
    Order {
        /// By which grant it publishes.
        tenure: u64,
        /// What.
        order: Order,
    },
    /// The stream that a claimant goes on with; None when it had ended meanwhile.
    HandedOver {
        /// The grant that it goes on under.
        tenure: u64,
        /// What there is of it.
        relay: Option<Box<Relay>>,
    },
}

/// What is asked of the shard that a stream is published on.
#[derive(Debug)]
pub enum Order {
    /// Deliver it to one more shard.
    Subscribe {
        /// The path that was asked for.
        path: Arc<str>,
        /// Who asks.
        subscriber: Subscriber,
    },
    /// Deliver no more.
    Unsubscribe {
        /// Which run of the stream: another may have taken its place.
        stream: StreamId,
        /// To which shard.
        shard: ShardIndex,
    },
    /// A viewer needs something of it.
    Want(StreamId, Want),
    /// Another publisher has the path now: it goes on with the stream, or the stream ends when its tracks are others.
    Yield {
        /// Who goes on, and by which grant.
        to: Option<(Subscriber, u64)>,
    },
}

/// What a viewer may need of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A keyframe.
    Keyframe,
    /// Packets that fit into datagrams when they are encrypted. They are so from then on, for all viewers.
    SmallPackets,
}

/// A wish to publish under a path.
#[derive(Debug)]
pub struct Claim {
    /// The claimant's number for it.
    pub ticket: u64,
    /// The path, without the leading slash.
    pub path: Arc<str>,
    /// What would be published.
    pub tracks: Vec<Track>,
    /// Who wants to.
    pub peer: IpAddr,
    /// When, on the clock of [`Pulse`].
    pub now: Time,
    /// Told by the publisher's shard when it last heard of it.
    pub pulse: Arc<Pulse>,
    /// The shard that the publisher is on.
    pub owner: Subscriber,
}

/// A path, granted to a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The stream's name.
    pub stream: StreamId,
    /// Names this grant among all: the same stream may have been granted before, also to the same shard.
    pub tenure: u64,
    /// Whether the stream runs already and is handed over.
    pub inherits: bool,
    /// The name of another stream, in case that one ended before it could be handed over: its viewers are gone.
    pub renewed: StreamId,
}

/// A path that the configuration gives to a stream of one shard.
#[derive(Clone, Debug)]
pub struct Reserved {
    /// The path, without the leading slash.
    pub path: Arc<str>,
    /// Its name in orders.
    pub tenure: u64,
    /// The shard that the stream comes to.
    pub home: ShardIndex,
    /// Whether a client publishes it, on whatever shard; meanwhile those who ask for it wait at the home shard.
    pub is_published: bool,
}

/// Why nobody may publish under a path now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else does: 403.
    #[error("the path is published to from elsewhere; on_republish says when another publisher takes over")]
    Busy,
    /// There are as many published paths as there may be: 453.
    #[error("{PUBLICATIONS_MAX} paths are published to, which is as many as there may be")]
    Full,
    /// The configuration or the server itself has a stream for this path: 405.
    #[error("the path belongs to a stream of the server")]
    Owned,
}

/// How many sessions play a stream, on all shards together.
#[derive(Debug, Default)]
pub struct Audience(AtomicU32);

impl Audience {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// On one shard there were so many, and are so many now.
    pub fn change(&self, before: usize, after: usize) {
        // What is added wraps, so that it may be less than nothing.
        self.0.fetch_add((after as u32).wrapping_sub(before as u32), Ordering::Relaxed);
    }
}

/// When a publisher was last heard, for the question whether another may take its place.
#[derive(Debug, Default)]
pub struct Pulse(AtomicU64);

impl Pulse {
    /// Heard at `now`.
    pub fn beat(&self, now: Time) {
        self.0.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// Gone: anybody may take its place.
    pub fn stop(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// How long it has been silent; for ever when it is gone.
    pub fn silence(&self, now: Time) -> Duration {
        match self.0.load(Ordering::Relaxed) {
            0 => Duration::MAX,
            heard => now.since(Time::from_nanos(heard)),
        }
    }
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
    /// It cannot be had in this format: 415, with the reason.
    #[error("{0}")]
    Unsupported(String),
    /// So much is made anew already that this would be too much: 453.
    #[error("max_transcodes is {0}, and as many streams and files are made in another format already")]
    Busy(usize),
    /// It comes in this format: it is to be asked for as it comes.
    #[error("the stream has this format already")]
    AsItComes,
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
    fn subscribe(&self, name: &StreamName, subscriber: Subscriber);

    /// Delivers no more to this shard; the stream may stop when nobody is left.
    fn unsubscribe(&self, path: &str, stream: StreamId, shard: ShardIndex);

    /// Asks for something that a viewer needs of a stream, if it can be had.
    fn want(&self, path: &str, stream: StreamId, want: Want);

    /// Tells a shard of every path that is published to, by [`Notice::Published`], from now on.
    fn attend(&self, subscriber: Subscriber);

    /// Asks for a path to publish under; answered by [`Notice::Claimed`].
    fn claim(&self, claim: Claim);

    /// Gives a path back: its stream has ended.
    fn release(&self, grant: Grant);

    /// A name for a run of a stream that a shard pulls or receives by its configuration.
    fn name_stream(&self) -> StreamId;
}
