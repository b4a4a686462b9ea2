//! Segments that were made, under one budget; those that were asked for longest ago go first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::media::segment::{Position, Segment};

/// A file's version and a position in it.
pub type Key = (u64, Position);

/// The segments of all files.
#[derive(Debug)]
pub struct Cache {
    budget_bytes: usize,
    held_bytes: usize,
    clock: u64,
    segments: HashMap<Key, Held>,
    by_age: BTreeMap<u64, Key>,
}

#[derive(Debug)]
struct Held {
    segment: Arc<Segment>,
    bytes: usize,
    asked: u64,
}

impl Cache {
    /// An empty cache. The segment asked for last is kept even when it alone exceeds the budget.
    pub fn new(budget_bytes: usize) -> Cache {
        Cache { budget_bytes, held_bytes: 0, clock: 0, segments: HashMap::new(), by_age: BTreeMap::new() }
    }

    /// A segment, when it is there; it counts as asked for now.
    pub fn get(&mut self, key: &Key) -> Option<Arc<Segment>> {
        let held = self.segments.get_mut(key)?;
        self.clock += 1;
        self.by_age.remove(&held.asked);
        held.asked = self.clock;
        self.by_age.insert(held.asked, *key);
        // What was rendered for interleaved viewers since belongs to it as well.
        let bytes = size(&held.segment);
        self.held_bytes = self.held_bytes - held.bytes + bytes;
        held.bytes = bytes;
        let segment = held.segment.clone();
        self.shrink();
        Some(segment)
    }

    /// Whether a segment is there.
    pub fn contains(&self, key: &Key) -> bool {
        self.segments.contains_key(key)
    }

    /// Adds a segment, and drops others for it.
    pub fn insert(&mut self, key: Key, segment: Arc<Segment>) {
        self.remove(&key);
        self.clock += 1;
        let held = Held { bytes: size(&segment), segment, asked: self.clock };
        self.held_bytes += held.bytes;
        self.by_age.insert(held.asked, key);
        self.segments.insert(key, held);
        self.shrink();
    }

    /// Whether more than three quarters of the budget are used.
    pub fn is_pressed(&self) -> bool {
        self.held_bytes > self.budget_bytes / 4 * 3
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
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(held) = self.segments.remove(key) {
            self.held_bytes -= held.bytes;
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
    use proto::time::MediaTime;

    use super::*;

    fn segment(part: u32, bytes: usize) -> Arc<Segment> {
        let position = Position { keyframe: MediaTime::ZERO, part };
        let first = smallvec::SmallVec::new();
        Arc::new(Segment { position, next: None, entries: Vec::new(), first, end: MediaTime::ZERO, bytes })
    }

    fn key(part: u32) -> Key {
        (1, Position { keyframe: MediaTime::ZERO, part })
    }

    #[test]
    fn the_budget_holds_and_the_longest_unasked_goes_first() {
        let mut cache = Cache::new(1_000);
        for part in 0..10 {
            cache.insert(key(part), segment(part, 100));
        }
        assert_eq!(cache.held_bytes, 1_000);
        assert!(cache.get(&key(0)).is_some());
        cache.insert(key(10), segment(10, 150));
        assert!(cache.contains(&key(0)) && !cache.contains(&key(1)) && !cache.contains(&key(2)));
        assert_eq!(cache.held_bytes, 950);
        assert!(cache.is_pressed());
        cache.insert(key(11), segment(11, 5_000));
        assert!(cache.contains(&key(11)));
        assert_eq!(cache.held_bytes, 5_000);
    }

    #[test]
    fn a_segment_made_twice_counts_once() {
        let mut cache = Cache::new(1_000);
        cache.insert(key(0), segment(0, 100));
        cache.insert(key(0), segment(0, 200));
        assert_eq!(cache.held_bytes, 200);
        cache.forget(1);
        assert_eq!((cache.held_bytes, cache.segments.len(), cache.by_age.len()), (0, 0, 0));
    }
}
