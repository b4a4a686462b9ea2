//! Receive buffers that the kernel takes from a ring, lends to us with a completion and gets back a turn later.

use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::ring::Ring;

/// One group of buffers of one size.
pub(super) struct Buffers {
    group: u16,
    count: u16,
    size: u32,
    entries: Mapping,
    data: Mapping,
    tail: u16,
    /// Buffers whose bytes the turn's events name.
    lent: Vec<u16>,
    is_lent: Box<[bool]>,
}

impl Buffers {
    /// Registers `count` buffers of `size` bytes as `group`; `count` is a power of two. Memory is touched as it is used.
    pub(super) fn register(ring: &mut Ring, group: u16, count: u16, size: u32) -> io::Result<Buffers> {
        let entries = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let data = Mapping::new(usize::from(count) * size as usize)?;
        let is_lent = vec![false; usize::from(count)].into();
        let lent = Vec::with_capacity(usize::from(count));
        let mut buffers = Buffers { group, count, size, entries, data, tail: 0, lent, is_lent };
        ring.register_buffers(group, buffers.entries.address.as_ptr() as u64, count)?;
        for buffer in 0..count {
            buffers.give(buffer);
        }
        buffers.publish();
        Ok(buffers)
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    /// Notes that the kernel has handed over a buffer.
    pub(super) fn take(&mut self, buffer: u16) {
        if let Some(is_lent) = self.is_lent.get_mut(usize::from(buffer))
            && !std::mem::replace(is_lent, true)
        {
            self.lent.push(buffer);
        }
    }

    /// Gives back every buffer that was handed over.
    pub(super) fn recycle(&mut self) {
        if self.lent.is_empty() {
            return;
        }
        while let Some(buffer) = self.lent.pop() {
            self.is_lent[usize::from(buffer)] = false;
            self.give(buffer);
        }
        self.publish();
    }

    /// Bytes of a buffer that is handed over; nothing when it is not, or has not that many.
    pub(super) fn bytes(&self, buffer: u16, offset: u32, size: u32) -> &[u8] {
        let within = offset.checked_add(size).is_some_and(|end| end <= self.size);
        if !within || self.is_lent.get(usize::from(buffer)) != Some(&true) {
            return &[];
        }
        let start = usize::from(buffer) * self.size as usize + offset as usize;
        // SAFETY: start lies in the mapping, as buffer < count and offset <= size.
        let first = unsafe { self.data.address.as_ptr().add(start) };
        // SAFETY: the bytes lie in the mapping, which lives as long as self; the kernel writes to a buffer only
        // while it is not lent, and lending ends through &mut self.
        unsafe { slice::from_raw_parts(first, size as usize) }
    }

    /// Writes one ring entry; the kernel sees it after `publish`.
    fn give(&mut self, buffer: u16) {
        let place = usize::from(self.tail & (self.count - 1));
        let entries = self.entries.address.as_ptr().cast::<BufRingEntry>();
        // SAFETY: place < count, and the mapping holds count entries.
        let entry = unsafe { entries.add(place) };
        // SAFETY: the mapping is zeroed memory aligned to a page, for which every bit pattern is an entry; the
        // kernel reads entries between its head and the published tail only, and this one lies behind the tail.
        let entry = unsafe { &mut *entry };
        entry.set_addr(self.data.address.as_ptr() as u64 + u64::from(buffer) * u64::from(self.size));
        entry.set_len(self.size);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        let entries = self.entries.address.as_ptr().cast::<BufRingEntry>();
        // SAFETY: entries is the first entry of the ring, in mapped memory.
        let tail = unsafe { BufRingEntry::tail(entries) };
        // SAFETY: the tail lies in the mapping, is aligned, and only this thread writes it.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// Zeroed pages.
struct Mapping {
    address: NonNull<u8>,
    size: usize,
}

// SAFETY: the pages belong to the mapping alone and no thread's state is tied to them.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(size: usize) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping touches no memory in use.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(address.cast()) {
            Some(address) => Ok(Mapping { address, size }),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: address and size are those of the mapping, and the ring that could write to it is dropped before.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.size) };
    }
}
