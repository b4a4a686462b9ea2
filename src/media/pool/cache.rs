//! Segments that were read, under one budget; the least recently used goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::media::segment::{Position, Segment};

/// Names a segment of a version of a file.
pub type Key = (u64, Position);

/// The cache.
#[derive(Debug)]
pub struct Cache {
    segments: HashMap<Key, (u64, Arc<Segment>)>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
    bytes_max: usize,
}

impl Cache {
    /// An empty cache that holds up to `bytes_max` bytes; the latest segment stays even if it is larger.
    pub fn new(bytes_max: usize) -> Cache {
        Cache { segments: HashMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0, bytes_max }
    }

    /// A segment that was read before.
    pub fn get(&mut self, key: Key) -> Option<Arc<Segment>> {
        let (used, segment) = self.segments.get_mut(&key)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(segment.clone())
    }

    /// Keeps a segment.
    pub fn insert(&mut self, key: Key, segment: Arc<Segment>) {
        self.uses += 1;
        self.bytes += segment.bytes;
        if let Some((used, old)) = self.segments.insert(key, (self.uses, segment)) {
            self.by_use.remove(&used);
            self.bytes -= old.bytes;
        }
        self.by_use.insert(self.uses, key);
        while self.bytes > self.bytes_max && self.segments.len() > 1 {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            if let Some((_, segment)) = self.segments.remove(&oldest) {
                self.bytes -= segment.bytes;
            }
        }
    }

    /// Drops everything of one version of a file.
    pub fn forget(&mut self, file: u64) {
        let keys: Vec<_> = self.segments.keys().filter(|(id, _)| *id == file).copied().collect();
        for key in keys {
            if let Some((used, segment)) = self.segments.remove(&key) {
                self.by_use.remove(&used);
                self.bytes -= segment.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::time::MediaTime;

    fn segment(part: u32) -> (Key, Arc<Segment>) {
        let position = Position { keyframe: MediaTime::ZERO, part };
        let segment = Segment {
            position,
            next: None,
            entries: Vec::new(),
            first: Default::default(),
            end: MediaTime::ZERO,
            bytes: 100,
        };
        ((1, position), Arc::new(segment))
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut cache = Cache::new(250);
        for part in 0..2 {
            let (key, segment) = segment(part);
            cache.insert(key, segment);
        }
        assert!(cache.get(segment(0).0).is_some());
        let (key, third) = segment(2);
        cache.insert(key, third);
        assert!(cache.get(segment(1).0).is_none());
        assert!(cache.get(segment(0).0).is_some());
        cache.forget(1);
        assert_eq!((cache.bytes, cache.segments.len(), cache.by_use.len()), (0, 0, 0));
    }
}
