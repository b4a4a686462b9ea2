//! From the owner of a live stream to every subscribed shard: each batch is one counted clone a shard.

use std::sync::Arc;

use proto::rtp::batch::Batch;

use super::catalog::{Description, Notice, ShardIndex, Snapshot, Subscriber};

/// Most bytes that are kept for viewers who come between two keyframes; beyond them they wait for the next one.
const CACHED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A subscribed shard.
struct Receiver {
    subscriber: Subscriber,
    /// Its inbox was full: nothing is of use to it before the next keyframe.
    awaits_keyframe: bool,
}

/// The receivers of one stream, and its past since the last keyframe.
pub struct Fanout {
    description: Arc<Description>,
    leading: u8,
    receivers: Vec<Receiver>,
    cached: Vec<Arc<Batch>>,
    cached_bytes: usize,
}

impl Drop for Fanout {
    fn drop(&mut self) {
        self.end("the source stopped");
    }
}

impl Fanout {
    /// A stream without receivers and without a past.
    pub fn new(description: Description) -> Fanout {
        let leading = description.leading();
        Fanout {
            description: Arc::new(description),
            leading,
            receivers: Vec::new(),
            cached: Vec::new(),
            cached_bytes: 0,
        }
    }

    /// Hands a batch to every receiver. One whose inbox is full gets nothing more before the next keyframe.
    pub fn distribute(&mut self, batch: Arc<Batch>) {
        let is_start = batch.meta().keyframe && batch.meta().track == self.leading;
        self.cache(&batch, is_start);
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

    /// Whether a receiver can begin nowhere before the next keyframe.
    pub fn awaits_keyframe(&self) -> bool {
        !self.receivers.is_empty() && self.cached.is_empty()
    }

    /// Whether nobody receives the stream.
    pub fn is_idle(&self) -> bool {
        self.receivers.is_empty()
    }

    /// What is said of the stream.
    pub fn description(&self) -> &Arc<Description> {
        &self.description
    }

    /// Says something else of the stream; only while it has no receiver.
    pub fn describe(&mut self, change: impl FnOnce(&Description) -> Description) {
        debug_assert!(self.receivers.is_empty(), "what was described stays");
        self.description = Arc::new(change(&self.description));
    }

    fn cache(&mut self, batch: &Arc<Batch>, is_start: bool) {
        if is_start {
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
