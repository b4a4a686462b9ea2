//! The owner's side of a live stream: frames become batches once and go to every subscribed shard.

use std::sync::Arc;

use proto::frame::Frame;
use proto::rtp::batch::{Batch, Numbering};
use proto::rtp::packetize::Packetizer;
use proto::time::NtpTime;
use proto::track::Track;
use rand::RngExt;

use super::catalog::{Description, Notice, ShardIndex, Snapshot, StreamId, Subscriber};

/// Most bytes that are kept for viewers who come between two keyframes; beyond them they wait for the next one.
const CACHED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A live stream in the hands of the thread that receives or encodes it.
pub struct Publisher {
    description: Arc<Description>,
    packetizers: Vec<Packetizer>,
    leading: u8,
    subscribers: Vec<Subscriber>,
    cached: Vec<Arc<Batch>>,
    cached_bytes: usize,
}

impl Publisher {
    /// A stream that begins now. SSRCs, first sequence numbers and timestamps are random (RFC 3550 section 5.1).
    pub fn new(id: StreamId, path: &str, tracks: Vec<Track>, origin: NtpTime, mtu_bytes: usize) -> Publisher {
        let mut random = rand::rng();
        let numberings: Vec<_> = tracks
            .iter()
            .map(|track| Numbering {
                ssrc: random.random(),
                payload_type: track.payload_type,
                sequence: random.random(),
                timestamp: random.random(),
            })
            .collect();
        let packetizers = (tracks.iter().zip(&numberings).enumerate())
            .map(|(index, (track, numbering))| Packetizer::new(track, index as u8, *numbering, mtu_bytes))
            .collect();
        let description = Arc::new(Description {
            id,
            path: path.to_owned(),
            ssrc: numberings.iter().map(|numbering| numbering.ssrc).collect(),
            timestamp_base: numberings.iter().map(|numbering| numbering.timestamp).collect(),
            tracks,
            origin,
        });
        let leading = description.leading();
        Publisher {
            description,
            packetizers,
            leading,
            subscribers: Vec::new(),
            cached: Vec::new(),
            cached_bytes: 0,
        }
    }

    /// Packetizes one frame and hands it to every subscribed shard. A frame that cannot be packetized is left out
    /// with a log line.
    pub fn publish(&mut self, frame: &Frame) {
        let Some(packetizer) = self.packetizers.get_mut(usize::from(frame.track)) else { return };
        match packetizer.packetize(frame) {
            Ok(Some(batch)) => self.distribute(Arc::new(batch)),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(stream = %self.description.path, track = frame.track, %error, "frame left out");
            }
        }
    }

    /// Adds a shard; its first notice is the stream with its past since the last keyframe.
    pub fn subscribe(&mut self, path: &Arc<str>, subscriber: Subscriber) {
        self.unsubscribe(subscriber.shard);
        let snapshot = Snapshot { description: self.description.clone(), batches: self.cached.clone() };
        (subscriber.deliver)(Notice::Subscribed { path: path.clone(), answer: Ok(snapshot) });
        self.subscribers.push(subscriber);
    }

    /// Removes a shard.
    pub fn unsubscribe(&mut self, shard: ShardIndex) {
        self.subscribers.retain(|subscriber| subscriber.shard != shard);
    }

    /// Tells every shard that the stream is over.
    pub fn end(&mut self, reason: &str) {
        for subscriber in self.subscribers.drain(..) {
            (subscriber.deliver)(Notice::Ended { stream: self.description.id, reason: reason.to_owned() });
        }
    }

    /// Whether nobody receives the stream.
    pub fn is_idle(&self) -> bool {
        self.subscribers.is_empty()
    }

    fn distribute(&mut self, batch: Arc<Batch>) {
        self.cache(&batch);
        for subscriber in &self.subscribers {
            let notice = Notice::Batch { stream: self.description.id, batch: batch.clone() };
            (subscriber.deliver)(notice);
        }
    }

    fn cache(&mut self, batch: &Arc<Batch>) {
        let meta = batch.meta();
        if meta.track == self.leading && meta.keyframe {
            self.cached.clear();
            self.cached_bytes = 0;
        } else if self.cached.is_empty() {
            return;
        }
        self.cached_bytes += batch.rtp().len();
        self.cached.push(batch.clone());
        if self.cached_bytes > CACHED_BYTES_MAX {
            self.cached.clear();
        }
    }
}
