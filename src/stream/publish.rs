//! The owner's side of a live stream: frames become batches once and go to every subscribed shard.

use std::sync::Arc;

use proto::frame::Frame;
use proto::rtp::batch::{Batch, Numbering};
use proto::rtp::packetize::Packetizer;
use proto::time::NtpTime;
use proto::track::Track;
use rand::{Rng, RngExt};

use super::catalog::{Description, Notice, ShardIndex, Snapshot, StreamId, Subscriber};

/// Most bytes that are kept for viewers who come between two keyframes; beyond them they wait for the next one.
const CACHED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A subscribed shard.
struct Receiver {
    subscriber: Subscriber,
    /// Its inbox was full: nothing is of use to it before the next keyframe.
    awaits_keyframe: bool,
}

/// A live stream in the hands of the thread that receives or encodes it.
pub struct Publisher {
    description: Arc<Description>,
    packetizers: Vec<Packetizer>,
    leading: u8,
    receivers: Vec<Receiver>,
    cached: Vec<Arc<Batch>>,
    cached_bytes: usize,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.end("the source stopped");
    }
}

impl Publisher {
    /// A stream that begins now. SSRCs, first sequence numbers and timestamps are random (RFC 3550 section 5.1).
    pub fn new(
        id: StreamId,
        path: &str,
        tracks: Vec<Track>,
        origin: NtpTime,
        mtu_bytes: usize,
        random: &mut impl Rng,
    ) -> Publisher {
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
            receivers: Vec::new(),
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
        self.receivers.push(Receiver { subscriber, awaits_keyframe: false });
    }

    /// Removes a shard.
    pub fn unsubscribe(&mut self, shard: ShardIndex) {
        self.receivers.retain(|receiver| receiver.subscriber.shard != shard);
    }

    /// Tells every shard that the stream is over.
    pub fn end(&mut self, reason: &str) {
        for receiver in self.receivers.drain(..) {
            (receiver.subscriber.deliver)(Notice::Ended {
                stream: self.description.id,
                reason: reason.to_owned(),
            });
        }
    }

    /// Whether nobody receives the stream.
    pub fn is_idle(&self) -> bool {
        self.receivers.is_empty()
    }

    fn distribute(&mut self, batch: Arc<Batch>) {
        self.cache(&batch);
        let is_start = batch.meta().keyframe && batch.meta().track == self.leading;
        for receiver in &mut self.receivers {
            if receiver.awaits_keyframe && !is_start {
                continue;
            }
            let notice = Notice::Batch { stream: self.description.id, batch: batch.clone() };
            let is_delivered = (receiver.subscriber.deliver)(notice);
            if !is_delivered && !receiver.awaits_keyframe {
                let shard = receiver.subscriber.shard;
                tracing::warn!(stream = %self.description.path, shard, "a shard is behind; it skips to the next keyframe");
            }
            receiver.awaits_keyframe = !is_delivered;
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
