//! The keyframes of a file as far as they were seen, for containers that have no index of their own.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::time::MediaTime;

/// Most keyframes that are remembered of one file: 36 hours at one every 2 s. Further ones are found by reading.
const KEYS_MAX: usize = 65_536;

/// Presentation times of the leading track's keyframes. Learned by every reader of a file, shared by all of them.
#[derive(Debug, Default)]
pub struct Keys {
    known: Mutex<BTreeMap<MediaTime, MediaTime>>,
}

impl Keys {
    /// Remembers that `next` is the keyframe that follows `key`.
    pub fn learn(&self, key: MediaTime, next: MediaTime) {
        let mut known = self.lock();
        if known.len() < KEYS_MAX || known.contains_key(&key) {
            known.insert(key, next);
        }
    }

    /// The last keyframe at or before `time`; None when it is not known for sure.
    pub fn find(&self, time: MediaTime) -> Option<MediaTime> {
        let known = self.lock();
        let (key, next) = known.range(..=time).next_back()?;
        (*next > time).then_some(*key)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<MediaTime, MediaTime>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_is_known_once_its_successor_is() {
        let keys = Keys::default();
        keys.learn(MediaTime(0), MediaTime(20));
        assert_eq!(keys.find(MediaTime(19)), Some(MediaTime(0)));
        assert_eq!(keys.find(MediaTime(20)), None);
        keys.learn(MediaTime(20), MediaTime(40));
        assert_eq!(keys.find(MediaTime(20)), Some(MediaTime(20)));
        assert_eq!(keys.find(MediaTime(-1)), None);
    }
}
