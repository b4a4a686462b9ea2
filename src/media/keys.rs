//! The keyframes of a file as far as they were seen, and where they lie, for containers that have no index of their own.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::time::MediaTime;

/// Most keyframes that are remembered of one file: 36 hours at one every 2 s. Further ones are found by reading.
const KEYS_MAX: usize = 65_536;

/// Presentation times of the leading track's keyframes. Learned by every reader of a file, shared by all of them.
#[derive(Debug, Default)]
pub struct Keys {
    known: Mutex<BTreeMap<MediaTime, MediaTime>>,
    places: Mutex<BTreeMap<MediaTime, u64>>,
}

impl Keys {
    /// Remembers that `next` is the keyframe that follows `key`.
    pub fn learn(&self, key: MediaTime, next: MediaTime) {
        remember(&mut lock(&self.known), key, next);
    }

    /// Remembers at which byte a keyframe lies.
    pub fn learn_place(&self, key: MediaTime, byte: u64) {
        remember(&mut lock(&self.places), key, byte);
    }

    /// The byte of the keyframe at exactly this time; None when it was not seen.
    pub fn place(&self, key: MediaTime) -> Option<u64> {
        lock(&self.places).get(&key).copied()
    }

    /// The last keyframe at or before `time`; None when it is not known for sure.
    pub fn find(&self, time: MediaTime) -> Option<MediaTime> {
        let known = lock(&self.known);
        let (key, next) = known.range(..=time).next_back()?;
        (*next > time).then_some(*key)
    }
}

fn remember<T>(known: &mut BTreeMap<MediaTime, T>, key: MediaTime, value: T) {
    if known.len() < KEYS_MAX || known.contains_key(&key) {
        known.insert(key, value);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn a_place_is_that_of_one_keyframe_and_of_no_other_time() {
        let keys = Keys::default();
        keys.learn_place(MediaTime(20), 4_000);
        assert_eq!((keys.place(MediaTime(20)), keys.place(MediaTime(21))), (Some(4_000), None));
    }
}
