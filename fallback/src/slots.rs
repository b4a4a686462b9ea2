//! Tables whose places are used again, each time under a new generation.

use std::sync::Arc;
use std::task::Waker;

use crate::ready::{Ready, Token};

/// Sockets of one kind, by place.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    token: fn(u32) -> Token,
}

/// One place. Its waker outlives its occupants: a late wake-up looks at the next one in vain.
#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    waker: Waker,
    occupant: Option<T>,
}

impl<T> Slots<T> {
    /// An empty table whose places are called by `token` on the ready list.
    pub fn new(token: fn(u32) -> Token) -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new(), token }
    }

    /// Puts `occupant` into a free place; its index and generation.
    pub fn insert(&mut self, occupant: T, ready: &Arc<Ready>) -> (u32, u32) {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.slots.len() as u32;
            let waker = ready.member((self.token)(index));
            self.slots.push(Slot { generation: 0, waker, occupant: None });
            index
        });
        let slot = &mut self.slots[index as usize];
        slot.occupant = Some(occupant);
        (index, slot.generation)
    }

    /// Empties a place; its next occupant has another generation.
    pub fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        let occupant = slot.occupant.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        Some(occupant)
    }

    /// The occupant of a place, its generation and its waker.
    pub fn get(&mut self, index: u32) -> Option<(&mut T, u32, &Waker)> {
        let slot = self.slots.get_mut(index as usize)?;
        Some((slot.occupant.as_mut()?, slot.generation, &slot.waker))
    }

    /// The places that are occupied.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.slots.iter_mut().zip(0..).filter_map(|(slot, index)| Some((index, slot.occupant.as_mut()?)))
    }
}
