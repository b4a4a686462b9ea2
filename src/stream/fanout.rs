//! From the owner of a live stream to every subscribed shard: each batch is one counted clone a shard.

use std::sync::Arc;

use proto::rtp::batch::Batch;

use super::catalog::{Description, Notice, ShardIndex, Snapshot, StreamName, Subscriber};
use super::window::{WindowLimits, memory_bytes};

/// A subscribed shard.
struct Receiver {
    subscriber: Subscriber,
    /// Its inbox was full: nothing is of use to it before the next keyframe.
    awaits_keyframe: bool,
    /// There was no past to give it: its viewers can begin nowhere before the next keyframe.
    lacks_start: bool,
}

/// The receivers of one stream, and its past since the last keyframe. Where that goes beyond the limits it is let go,
/// and viewers who come later wait for the next keyframe.
pub struct Fanout {
    description: Arc<Description>,
    leading: u8,
    receivers: Vec<Receiver>,
    /// Whether a viewer of some shard can go on with a keyframe alone.
    is_keyframe_wanted: bool,
    cached: Vec<Arc<Batch>>,
    cached_bytes: usize,
    limits: WindowLimits,
    /// Whether the past went beyond the limits once; that was said.
    was_overrun: bool,
    distributed: Distributed,
}

/// How much of a stream there has been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distributed {
    /// Batches.
    pub batches: u64,
    /// Bytes of RTP.
    pub bytes: u64,
}

impl Drop for Fanout {
    fn drop(&mut self) {
        self.end("the source stopped");
    }
}

impl Fanout {
    /// A stream without receivers and without a past.
    pub fn new(description: Description, limits: WindowLimits) -> Fanout {
        let leading = description.leading();
        Fanout {
            description: Arc::new(description),
            leading,
            receivers: Vec::new(),
            is_keyframe_wanted: false,
            cached: Vec::new(),
            cached_bytes: 0,
            limits,
            was_overrun: false,
            distributed: Distributed::default(),
        }
    }

    /// Hands a batch to every receiver. One whose inbox is full gets nothing more before the next keyframe.
    pub fn distribute(&mut self, batch: Arc<Batch>) {
        let is_start = batch.meta().keyframe && batch.meta().track == self.leading;
        self.distributed.batches += 1;
        self.distributed.bytes += batch.rtp().len() as u64;
        self.cache(&batch, is_start);
        self.is_keyframe_wanted &= !is_start;
        for receiver in &mut self.receivers {
            if receiver.awaits_keyframe && !is_start {
                continue;
            }
            let notice = Notice::Batch { stream: self.description.id, batch: batch.clone() };
            let is_delivered = (receiver.subscriber.deliver)(notice);
            if !is_delivered && !receiver.awaits_keyframe {
                let shard = receiver.subscriber.shard;
                tracing::warn!(stream = %self.description.name, shard, "a shard is behind; it skips to the next keyframe");
            }
            receiver.awaits_keyframe = !is_delivered;
            receiver.lacks_start &= !(is_start && is_delivered);
        }
    }

    /// Adds a shard; its first notice is the stream with its past since the last keyframe.
    pub fn subscribe(&mut self, path: &Arc<str>, subscriber: Subscriber) {
        self.unsubscribe(subscriber.shard);
        let snapshot = Snapshot { description: self.description.clone(), batches: self.cached.clone() };
        let name = StreamName { path: path.clone(), ..self.description.name.clone() };
        (subscriber.deliver)(Notice::Subscribed { name, answer: Ok(snapshot) });
        let lacks_start = self.cached.is_empty();
        self.receivers.push(Receiver { subscriber, awaits_keyframe: false, lacks_start });
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

    /// Somebody's decoder needs a keyframe.
    pub fn want_keyframe(&mut self) {
        self.is_keyframe_wanted = true;
    }

    /// Whether a receiver can begin nowhere before the next keyframe, or somebody has asked for one.
    pub fn awaits_keyframe(&self) -> bool {
        self.is_keyframe_wanted || self.receivers.iter().any(|receiver| receiver.lacks_start)
    }

    /// Whether there is something that who comes now begins with.
    pub fn has_past(&self) -> bool {
        !self.cached.is_empty()
    }

    /// Whether nobody receives the stream.
    pub fn is_idle(&self) -> bool {
        self.receivers.is_empty()
    }

    /// How much was handed out so far, whether or not somebody received it.
    pub fn distributed(&self) -> Distributed {
        self.distributed
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
        self.cached_bytes += memory_bytes(batch);
        self.cached.push(batch.clone());
        let age = batch.meta().dts.since(self.cached[0].meta().dts);
        if self.cached_bytes > self.limits.bytes || age > self.limits.age {
            // The list goes as well: a stream whose keyframes are far apart would keep its length.
            self.cached = Vec::new();
            if !std::mem::replace(&mut self.was_overrun, true) {
                let name = &self.description.name;
                tracing::info!(stream = %name, "its keyframes are farther apart than gop_cache_s and gop_cache_mb allow: new viewers may wait for the next one");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use proto::rtp::batch::{BatchWriter, Meta, Numbering};
    use proto::time::{MediaTime, NtpTime};

    use super::*;

    fn fanout(limits: WindowLimits) -> Fanout {
        let description = Description {
            id: 1,
            name: StreamName::plain("a".into()),
            tracks: Vec::new(),
            ssrc: Vec::new(),
            timestamp_base: Vec::new(),
            origin: NtpTime::default(),
            audience: Arc::default(),
        };
        Fanout::new(description, limits)
    }

    fn batch(ms: i64, size: usize, keyframe: bool) -> Arc<Batch> {
        let numbering = Numbering { ssrc: 1, payload_type: 96, sequence: 0, timestamp: 0 };
        let mut writer = BatchWriter::new(numbering, size);
        writer.packet(true, &[&vec![0; size]]);
        let time = MediaTime(ms * 1_000_000);
        Arc::new(writer.finish(Meta { track: 0, keyframe, dts: time, pts: time }).unwrap())
    }

    /// Subscribes a shard; how many batches it gets at once.
    fn past(fanout: &mut Fanout, shard: ShardIndex) -> usize {
        let count = Arc::new(Mutex::new(None));
        let deliver = {
            let count = count.clone();
            Arc::new(move |notice| {
                if let Notice::Subscribed { answer: Ok(snapshot), .. } = notice {
                    *count.lock().unwrap() = Some(snapshot.batches.len());
                }
                true
            })
        };
        fanout.subscribe(&"a".into(), Subscriber { shard, deliver });
        count.lock().unwrap().expect("a subscriber is answered")
    }

    #[test]
    fn a_past_beyond_its_age_is_let_go_up_to_the_next_keyframe() {
        let limits = WindowLimits { age: Duration::from_secs(1), ..WindowLimits::default() };
        let mut fanout = fanout(limits);
        for ms in (0..3_000).step_by(100) {
            fanout.distribute(batch(ms, 100, ms == 0));
            let expected = if ms <= 1_000 { ms / 100 + 1 } else { 0 };
            assert_eq!(fanout.cached.len() as i64, expected);
        }
        assert_eq!(fanout.cached.capacity(), 0);
        fanout.distribute(batch(3_000, 100, true));
        fanout.distribute(batch(3_100, 100, false));
        assert_eq!(past(&mut fanout, 0), 2);
    }

    #[test]
    fn a_past_beyond_its_bytes_is_let_go_up_to_the_next_keyframe() {
        let mut fanout = fanout(WindowLimits { bytes: 100_000, ..WindowLimits::default() });
        let mut held = Vec::new();
        for index in 0..200 {
            let batch = batch(index, 5_000, index % 100 == 0);
            held.push(Arc::downgrade(&batch));
            fanout.distribute(batch);
            let alive = held.iter().filter(|batch| batch.strong_count() > 0).count();
            assert!(alive * 10_000 <= 100_000, "{alive} batches are held");
            assert_eq!(alive, if index % 100 < 9 { index as usize % 100 + 1 } else { 0 });
        }
    }

    #[test]
    fn a_keyframe_is_asked_for_only_by_those_who_got_none() {
        let mut fanout = fanout(WindowLimits { age: Duration::from_secs(1), ..WindowLimits::default() });
        past(&mut fanout, 0);
        assert!(fanout.awaits_keyframe());
        fanout.distribute(batch(0, 100, false));
        assert!(fanout.awaits_keyframe());
        fanout.distribute(batch(100, 100, true));
        assert!(!fanout.awaits_keyframe());
        // The past has gone, and those who watch need it no more.
        fanout.distribute(batch(2_000, 100, false));
        assert!(!fanout.awaits_keyframe());
        assert_eq!(past(&mut fanout, 1), 0);
        assert!(fanout.awaits_keyframe());
        fanout.distribute(batch(2_100, 100, true));
        assert!(!fanout.awaits_keyframe());
    }
}
