//! How many streams and files may be made anew at once?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All places, of which whatever is made anew takes one.
#[derive(Clone, Debug)]
pub struct Slots {
    taken: Arc<AtomicUsize>,
    max: usize,
}

/// All places are taken: how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full(pub usize);

/// One place; given back when it is dropped.
#[derive(Debug)]
pub struct Slot(Arc<AtomicUsize>);

impl Slots {
    /// So many places.
    pub fn new(max: usize) -> Slots {
        Slots { taken: Arc::default(), max }
    }

    /// How many there are.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Takes a place. An error where all are taken.
    pub fn take(&self) -> Result<Slot, Full> {
        let one_more = |taken: usize| (taken < self.max).then_some(taken + 1);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(Slot(self.taken.clone())),
            Err(_) => Err(Full(self.max)),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_can_be_taken_again_when_it_was_given_back() {
        let slots = Slots::new(2);
        let (first, _second) = (slots.take().unwrap(), slots.take().unwrap());
        assert_eq!(slots.take().unwrap_err(), Full(2));
        drop(first);
        assert!(slots.take().is_ok());
    }
}
