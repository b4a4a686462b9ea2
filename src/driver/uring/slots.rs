//! A table whose places are used again under new names, so that a late completion finds nobody.

use super::token::GENERATION_MASK;

/// The name of a place: where, and which use of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl Key {
    /// Bits of the index in a packed key; the generation has the others.
    const INDEX_BITS: u32 = 18;

    /// The key in 32 bits, for names without a generation of their own; None when the index is too large.
    pub(super) fn pack(self) -> Option<u32> {
        (self.index >> Self::INDEX_BITS == 0).then_some(self.generation << Self::INDEX_BITS | self.index)
    }
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// The table.
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 1, value: None });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.value = Some(value);
        Key { index, generation: slot.generation }
    }

    /// Takes a value out; its name is gone from here on.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        self.free.push(key.index);
        Some(value)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    /// The key behind a name of 32 bits; None when the name is gone.
    pub(super) fn unpack(&self, packed: u32) -> Option<Key> {
        let index = packed & ((1 << Key::INDEX_BITS) - 1);
        let slot = self.slots.get(index as usize)?;
        let key = Key { index, generation: slot.generation };
        (slot.value.is_some() && key.pack() == Some(packed)).then_some(key)
    }

    /// All names in use.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.value.is_some())
            .map(|(index, slot)| Key { index: index as u32, generation: slot.generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_used_again_has_another_name() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!(second.index, first.index);
        assert!(slots.get(first).is_none());
        assert!(slots.remove(first).is_none());
        assert_eq!(slots.get(second), Some(&'b'));
    }

    #[test]
    fn a_packed_name_finds_only_its_own_use() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        let packed = first.pack().unwrap();
        assert_eq!(slots.unpack(packed), Some(first));
        slots.remove(first);
        assert_eq!(slots.unpack(packed), None);
        slots.insert('b');
        assert_eq!(slots.unpack(packed), None);
    }
}
