//! Which sessions of files that are made anew run together? They share what is made, and count as one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::slots::{Full, Slot, Slots};

/// Sessions whose content is no farther apart play what is still in the cache, in nanoseconds.
const TOGETHER: u64 = 8_000_000_000;

/// Of a session that runs with nobody.
const ALONE: i64 = i64::MIN;

/// What is made anew of all files.
#[derive(Debug)]
pub struct Pipelines {
    slots: Slots,
    /// By the file's number.
    running: Mutex<HashMap<u64, Vec<Weak<Pipeline>>>>,
}

/// What is made anew for one session, or for several that run together; its place is given back when the last of them
/// drops it.
#[derive(Debug)]
pub struct Pipeline {
    /// Time of the clock less time of the content, in nanoseconds.
    offset: AtomicI64,
    _slot: Slot,
}

impl Pipelines {
    /// With the places that there are for all that is made anew.
    pub fn new(slots: Slots) -> Pipelines {
        Pipelines { slots, running: Mutex::default() }
    }

    /// Puts a session of a file in place, or elsewhere when it has one. `length` is the file's, where that is known: it may
    /// begin again. `offset` is the time of the clock less that of the session's content; None when it plays at another
    /// pace than others do. Both are in nanoseconds. After an error it has what it had.
    pub fn join(
        &self,
        file: u64,
        length: Option<i64>,
        offset: Option<i64>,
        place: &mut Option<Arc<Pipeline>>,
    ) -> Result<(), Full> {
        // What is in it is changed in steps that cannot fail.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, of_file| {
            of_file.retain(|pipeline| pipeline.strong_count() > 0);
            !of_file.is_empty()
        });
        let of_file = running.entry(file).or_default();
        let is_near = |pipeline: &Arc<Pipeline>| {
            let other = pipeline.offset.load(Ordering::Relaxed);
            offset.is_some_and(|offset| other != ALONE && are_together(other.abs_diff(offset), length))
        };
        if let Some(near) = of_file.iter().filter_map(Weak::upgrade).find(is_near) {
            *place = Some(near);
            return Ok(());
        }
        let offset = offset.unwrap_or(ALONE);
        if let Some(own) = place.as_ref().filter(|own| Arc::strong_count(own) == 1) {
            own.offset.store(offset, Ordering::Relaxed);
            return Ok(());
        }
        let made = Arc::new(Pipeline { offset: AtomicI64::new(offset), _slot: self.slots.take()? });
        of_file.push(Arc::downgrade(&made));
        *place = Some(made);
        Ok(())
    }
}

/// Whether content that is so far apart is near each other, perhaps in another play of the file.
fn are_together(apart: u64, length: Option<i64>) -> bool {
    let length = length.map_or(0, i64::unsigned_abs);
    let apart = apart.checked_rem(length).map_or(apart, |apart| apart.min(length - apart));
    apart <= TOGETHER
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn sessions_that_run_together_count_as_one() {
        let pipelines = Pipelines::new(Slots::new(2));
        let (mut first, mut second, mut third) = (None, None, None);
        pipelines.join(1, None, Some(0), &mut first).unwrap();
        pipelines.join(1, None, Some(3 * SECOND), &mut second).unwrap();
        assert!(Arc::ptr_eq(first.as_ref().unwrap(), second.as_ref().unwrap()));
        // Elsewhere in it, or in another file.
        pipelines.join(1, None, Some(60 * SECOND), &mut third).unwrap();
        assert_eq!(pipelines.join(2, None, Some(0), &mut None), Err(Full(2)));
        drop((first, second));
        pipelines.join(2, None, Some(0), &mut None).unwrap();
    }

    #[test]
    fn plays_of_a_file_that_begins_again_are_near_each_other() {
        let pipelines = Pipelines::new(Slots::new(1));
        let mut first = None;
        pipelines.join(1, Some(60 * SECOND), Some(0), &mut first).unwrap();
        pipelines.join(1, Some(60 * SECOND), Some(125 * SECOND), &mut None).unwrap();
        pipelines.join(1, Some(60 * SECOND), Some(-3 * SECOND), &mut None).unwrap();
        assert_eq!(pipelines.join(1, Some(60 * SECOND), Some(90 * SECOND), &mut None), Err(Full(1)));
    }

    #[test]
    fn a_session_that_jumps_keeps_its_place_and_what_is_refused_changes_nothing() {
        let pipelines = Pipelines::new(Slots::new(1));
        let (mut first, mut second) = (None, None);
        pipelines.join(1, None, Some(0), &mut first).unwrap();
        pipelines.join(1, None, Some(90 * SECOND), &mut first).unwrap();
        pipelines.join(1, None, Some(91 * SECOND), &mut second).unwrap();
        assert_eq!(pipelines.join(1, None, Some(0), &mut second), Err(Full(1)));
        assert!(second.is_some());
        // At a pace of its own it runs with nobody.
        assert_eq!(pipelines.join(1, None, None, &mut second), Err(Full(1)));
        drop(first);
        pipelines.join(1, None, None, &mut second).unwrap();
        assert_eq!(pipelines.join(1, None, Some(91 * SECOND), &mut None), Err(Full(1)));
    }
}
