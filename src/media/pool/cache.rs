//! Segments that were made, under one budget; those that were asked for longest ago go first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::media::segment::{Position, Segment};

/// A file's version and a position in it.
pub type Key = (u64, Position);

/// Segments that are weighed anew whenever one comes.
const WEIGHED_AT_ONCE: usize = 4;

/// Segments that go while nothing is read ahead: as many as a hundred viewers need in some seconds.
const REST: usize = 1_024;

/// The segments of all files.
#[derive(Debug)]
pub struct Cache {
    budget_bytes: usize,
    held_bytes: usize,
    clock: u64,
    segments: HashMap<Key, Held>,
    by_age: BTreeMap<u64, Key>,
    /// Of those that nobody has asked for yet.
    ahead_bytes: usize,
    /// The age of the one that was weighed last.
    weighed: u64,
    is_short: Arc<AtomicBool>,
    /// Segments that must go before one is read ahead again, since one that had been went in vain.
    rest: usize,
}

#[derive(Debug)]
struct Held {
    segment: Arc<Segment>,
    bytes: usize,
    asked: u64,
    is_ahead: bool,
}

/// Whether somebody asks for a segment that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Somebody does.
    Asked,
    /// It was read ahead of those who will.
    Ahead,
}

impl Cache {
    /// An empty cache. The segment asked for last is kept even when it alone exceeds the budget.
    pub fn new(budget_bytes: usize) -> Cache {
        Cache {
            budget_bytes,
            held_bytes: 0,
            clock: 0,
            segments: HashMap::new(),
            by_age: BTreeMap::new(),
            ahead_bytes: 0,
            weighed: 0,
            is_short: Arc::default(),
            rest: 0,
        }
    }

    /// Whether the segment that went last was still in use: viewers hold more than the budget then.
    pub fn is_short(&self) -> &Arc<AtomicBool> {
        &self.is_short
    }

    /// A segment, when it is there; it counts as asked for now.
    pub fn get(&mut self, key: &Key) -> Option<Arc<Segment>> {
        let held = self.segments.get_mut(key)?;
        self.clock += 1;
        if std::mem::take(&mut held.is_ahead) {
            self.ahead_bytes -= held.bytes;
        }
        self.by_age.remove(&held.asked);
        held.asked = self.clock;
        self.by_age.insert(held.asked, *key);
        Some(held.segment.clone())
    }

    /// Whether a segment is there.
    pub fn contains(&self, key: &Key) -> bool {
        self.segments.contains_key(key)
    }

    /// Adds a segment, and drops others for it.
    pub fn insert(&mut self, key: Key, segment: Arc<Segment>, need: Need) {
        self.remove(&key);
        self.clock += 1;
        let is_ahead = need == Need::Ahead;
        let held = Held { bytes: size(&segment), segment, asked: self.clock, is_ahead };
        self.held_bytes += held.bytes;
        self.ahead_bytes += if is_ahead { held.bytes } else { 0 };
        self.by_age.insert(held.asked, key);
        self.segments.insert(key, held);
        self.weigh();
        self.shrink();
    }

    /// Finds out what some segments have become: what was rendered of them for interleaved viewers since belongs to them
    /// as well. All are looked at in turns, so that none that comes waits for a look at all.
    fn weigh(&mut self) {
        let mut next = (self.weighed + 1)..;
        for _ in 0..WEIGHED_AT_ONCE.min(self.by_age.len()) {
            let Some((age, key)) = self.by_age.range(next).next() else {
                next = 0..;
                continue;
            };
            self.weighed = *age;
            next = (age + 1)..;
            if let Some(held) = self.segments.get_mut(key) {
                let bytes = size(&held.segment);
                self.held_bytes = self.held_bytes - held.bytes + bytes;
                if held.is_ahead {
                    self.ahead_bytes = self.ahead_bytes - held.bytes + bytes;
                }
                held.bytes = bytes;
            }
        }
    }

    /// Whether more may be read ahead: what nobody has asked for yet takes less than half of the budget, and it is not
    /// driven out before anybody does. What was asked for long ago makes room for it.
    pub fn has_room_ahead(&self) -> bool {
        self.rest == 0 && self.ahead_bytes < self.budget_bytes / 2
    }

    /// Drops everything of one version of a file.
    pub fn forget(&mut self, file: u64) {
        let keys: Vec<_> = self.segments.keys().filter(|(id, _)| *id == file).copied().collect();
        keys.iter().for_each(|key| self.remove(key));
    }

    fn shrink(&mut self) {
        while self.held_bytes > self.budget_bytes && self.segments.len() > 1 {
            let Some((_, key)) = self.by_age.first_key_value() else { return };
            let key = *key;
            let held = self.segments.get(&key);
            let is_used = held.is_some_and(|held| Arc::strong_count(&held.segment) > 1);
            self.is_short.store(is_used, Ordering::Relaxed);
            let is_in_vain = held.is_some_and(|held| held.is_ahead);
            self.rest = if is_in_vain { REST } else { self.rest.saturating_sub(1) };
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(held) = self.segments.remove(key) {
            self.held_bytes -= held.bytes;
            self.ahead_bytes -= if held.is_ahead { held.bytes } else { 0 };
            self.by_age.remove(&held.asked);
        }
    }
}

fn size(segment: &Segment) -> usize {
    let batches: usize = segment.entries.iter().map(|entry| entry.batch.memory_bytes()).sum();
    segment.bytes.max(batches)
}

#[cfg(test)]
mod tests {
    use proto::rtp::batch::{BatchWriter, Meta, Numbering};
    use proto::time::MediaTime;

    use super::*;
    use crate::media::segment::Entry;

    fn plain(part: u32, bytes: usize) -> Segment {
        let position = Position { keyframe: MediaTime::ZERO, part };
        let first = smallvec::SmallVec::new();
        Segment { position, next: None, entries: Vec::new(), first, end: MediaTime::ZERO, bytes }
    }

    fn segment(part: u32, bytes: usize) -> Arc<Segment> {
        Arc::new(plain(part, bytes))
    }

    fn key(part: u32) -> Key {
        (1, Position { keyframe: MediaTime::ZERO, part })
    }

    #[test]
    fn the_budget_holds_and_the_longest_unasked_goes_first() {
        let mut cache = Cache::new(1_000);
        for part in 0..10 {
            cache.insert(key(part), segment(part, 100), Need::Asked);
        }
        assert_eq!(cache.held_bytes, 1_000);
        assert!(cache.get(&key(0)).is_some());
        cache.insert(key(10), segment(10, 150), Need::Asked);
        assert!(cache.contains(&key(0)) && !cache.contains(&key(1)) && !cache.contains(&key(2)));
        assert_eq!(cache.held_bytes, 950);
        cache.insert(key(11), segment(11, 5_000), Need::Asked);
        assert!(cache.contains(&key(11)));
        assert_eq!(cache.held_bytes, 5_000);
    }

    #[test]
    fn what_viewers_have_rendered_of_a_segment_counts_once_all_were_looked_at() {
        let mut cache = Cache::new(1_000_000);
        let numbering = Numbering { ssrc: 1, payload_type: 96, sequence: 0, timestamp: 0 };
        let mut writer = BatchWriter::new(numbering, 0);
        writer.packet(true, &[&[1; 1_000]]);
        let (due, track) = (MediaTime::ZERO, 0);
        let batch = writer.finish(Meta { track, keyframe: true, dts: due, pts: due }).unwrap();
        let played = Segment { entries: vec![Entry { due, track, batch: Arc::new(batch) }], ..plain(0, 0) };
        let played = Arc::new(played);
        cache.insert(key(0), played.clone(), Need::Asked);
        let before = cache.held_bytes;
        let rendered = played.entries[0].batch.interleaved().len();
        for part in 1..20 {
            cache.insert(key(part), segment(part, 0), Need::Asked);
        }
        assert_eq!(cache.held_bytes, before + rendered);
    }

    #[test]
    fn memory_is_short_when_what_goes_is_still_in_use() {
        let mut cache = Cache::new(1_000);
        let used: Vec<_> = (0..10).map(|part| segment(part, 100)).collect();
        for (part, segment) in (0..).zip(&used) {
            cache.insert(key(part), segment.clone(), Need::Asked);
        }
        let is_short = cache.is_short().clone();
        assert!(!is_short.load(Ordering::Relaxed));
        cache.insert(key(10), segment(10, 100), Need::Asked);
        assert!(is_short.load(Ordering::Relaxed));
        drop(used);
        cache.insert(key(11), segment(11, 100), Need::Asked);
        assert!(!is_short.load(Ordering::Relaxed));
    }

    #[test]
    fn what_is_read_ahead_has_half_of_the_budget_however_much_was_played() {
        let mut cache = Cache::new(1_000);
        for part in 0..20 {
            cache.insert(key(part), segment(part, 100), Need::Asked);
        }
        for part in 20..25 {
            assert!(cache.has_room_ahead(), "{part}");
            cache.insert(key(part), segment(part, 100), Need::Ahead);
        }
        assert!(!cache.has_room_ahead());
        // Asked for once or twice, it no longer lies ahead.
        assert!(cache.get(&key(20)).is_some() && cache.get(&key(20)).is_some());
        assert!(cache.has_room_ahead());
        cache.insert(key(20), segment(20, 100), Need::Ahead);
        assert_eq!((cache.ahead_bytes, cache.held_bytes), (500, 1_000));
        cache.forget(1);
        assert_eq!((cache.ahead_bytes, cache.held_bytes), (0, 0));
    }

    #[test]
    fn nothing_more_is_read_ahead_while_it_goes_before_anybody_asks() {
        let mut cache = Cache::new(1_000);
        cache.insert(key(0), segment(0, 100), Need::Ahead);
        for part in 1..10 {
            cache.insert(key(part), segment(part, 100), Need::Asked);
        }
        assert!(cache.has_room_ahead());
        cache.insert(key(10), segment(10, 100), Need::Asked);
        assert!(!cache.contains(&key(0)) && !cache.has_room_ahead());
        for part in 11..11 + REST as u32 {
            assert!(!cache.has_room_ahead(), "{part}");
            cache.insert(key(part), segment(part, 100), Need::Asked);
        }
        assert!(cache.has_room_ahead());
    }

    #[test]
    fn a_segment_made_twice_counts_once() {
        let mut cache = Cache::new(1_000);
        cache.insert(key(0), segment(0, 100), Need::Asked);
        cache.insert(key(0), segment(0, 200), Need::Asked);
        assert_eq!(cache.held_bytes, 200);
        cache.forget(1);
        assert_eq!((cache.held_bytes, cache.segments.len(), cache.by_age.len()), (0, 0, 0));
    }
}
