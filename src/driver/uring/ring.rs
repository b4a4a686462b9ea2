//! The ring itself: entries in by batches, completions out, nothing known of what they mean.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};

use super::UringOptions;

/// Entries of one call into the kernel. A call with more costs no less, holds the core without a scheduling point, so that
/// who is to read what it brings comes late, and lends its softirq work to ksoftirqd.
pub(super) const ENTER_ENTRIES_MAX: usize = 64;

/// Places in the table of registered files.
const FILES_MAX: u32 = 256;

const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;
/// Linux 6.15: the wait does not count as waiting for a disk.
const ENTER_NO_IOWAIT: u32 = 1 << 7;

/// A descriptor as entries name it: a place in the table of registered files, or the number itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    pub(super) number: RawFd,
    pub(super) flags: squeue::Flags,
}

impl File {
    /// An entry that was built for descriptor `number`, made to name this file.
    pub(super) fn name(self, entry: squeue::Entry) -> squeue::Entry {
        entry.flags(self.flags)
    }

    pub(super) fn plain(fd: RawFd) -> File {
        File { number: fd, flags: squeue::Flags::empty() }
    }
}

/// How the ring could be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taskrun {
    /// Completions are prepared when the thread asks for them (Linux 6.1).
    Deferred,
    /// Completions are prepared at the thread's next call into the kernel (Linux 5.19).
    Cooperative,
}

/// The ring.
pub(super) struct Ring {
    ring: IoUring,
    taskrun: Taskrun,
    enabled: bool,
    no_iowait: u32,
    sends_to_addresses: bool,
    /// What did not fit the submission queue.
    spill: VecDeque<squeue::Entry>,
    /// Completions taken out of the queue and not yet acted upon.
    reaped: Vec<cqueue::Entry>,
    files_free: Vec<u32>,
    pub(super) enters: u64,
    pub(super) submitted: u64,
}

impl Ring {
    /// Sets the ring up; it runs from the first `enter`, on the thread that calls it.
    pub(super) fn new(options: &UringOptions) -> io::Result<Ring> {
        let wanted = if options.deferral { Taskrun::Deferred } else { Taskrun::Cooperative };
        let (ring, taskrun) = match build(options, wanted) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                (build(options, Taskrun::Cooperative)?, Taskrun::Cooperative)
            }
            built => (built?, wanted),
        };
        let no_iowait = if ring.params().is_feature_no_iowait() { ENTER_NO_IOWAIT } else { 0 };
        let files_free = match ring.submitter().register_files_sparse(FILES_MAX) {
            Ok(()) => (0..FILES_MAX).rev().collect(),
            Err(_) => Vec::new(),
        };
        let mut known = Probe::new();
        let is_known = ring.submitter().register_probe(&mut known).is_ok();
        // Linux 6.2 has it but tells nobody; this number came with 6.7.
        let sends_to_addresses = is_known && known.is_supported(opcode::FutexWait::CODE);
        let reaped = Vec::with_capacity(options.completions as usize);
        let spill = VecDeque::new();
        Ok(Ring {
            ring,
            taskrun,
            enabled: false,
            no_iowait,
            sends_to_addresses,
            spill,
            reaped,
            files_free,
            enters: 0,
            submitted: 0,
        })
    }

    /// Queues an entry.
    ///
    /// # Safety
    ///
    /// Whatever the entry points to stays where it is until the entry is handed to the kernel by `flush` or
    /// `enter`, and payloads and receive buffers until its completion is reaped.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        let mut queue = self.ring.submission();
        // SAFETY: the caller keeps the memory alive, as this function demands.
        if !self.spill.is_empty() || unsafe { queue.push(&entry) }.is_err() {
            self.spill.push_back(entry);
        }
    }

    /// Hands everything queued to the kernel, without waiting.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.queued() > 0 {
            self.call(0, 0, None)?;
        }
        Ok(())
    }

    /// Hands everything queued to the kernel, and waits for `want` completions or until the time is over.
    pub(super) fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        while self.queued() > ENTER_ENTRIES_MAX {
            self.call(0, 0, None)?;
        }
        self.call(want, ENTER_GETEVENTS, timeout)?;
        // A wait that ended early, or a kernel short of memory, may have left entries behind.
        self.flush()
    }

    /// Count of entries that wait for the kernel.
    pub(super) fn queued(&mut self) -> usize {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.spill.front() {
            // SAFETY: whoever pushed the entry keeps its memory alive until it is handed over.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.spill.pop_front();
        }
        queue.len() + self.spill.len()
    }

    /// Whether completions are ready.
    pub(super) fn has_completions(&mut self) -> bool {
        !self.reaped.is_empty() || !self.ring.completion().is_empty()
    }

    /// Takes every completion out of the kernel's queue; `claim` keeps those for which it returns true.
    pub(super) fn reap(&mut self, mut claim: impl FnMut(&cqueue::Entry) -> bool) {
        for completion in self.ring.completion() {
            if !claim(&completion) {
                self.reaped.push(completion);
            }
        }
    }

    /// Exchanges the list of completions to act upon for an empty one.
    pub(super) fn swap_reaped(&mut self, other: &mut Vec<cqueue::Entry>) {
        std::mem::swap(&mut self.reaped, other);
    }

    /// Registers a descriptor, if the table has room.
    pub(super) fn register_file(&mut self, fd: RawFd) -> File {
        let Some(place) = self.files_free.pop() else { return File::plain(fd) };
        match self.ring.submitter().register_files_update(place, &[fd]) {
            Ok(_) => File { number: place as RawFd, flags: squeue::Flags::FIXED_FILE },
            Err(_) => File::plain(fd),
        }
    }

    /// Takes a descriptor out of the table.
    pub(super) fn unregister_file(&mut self, file: File) {
        if !file.flags.contains(squeue::Flags::FIXED_FILE) {
            return;
        }
        let place = file.number as u32;
        if self.ring.submitter().register_files_update(place, &[-1]).is_ok() {
            self.files_free.push(place);
        }
    }

    /// Registers a ring of receive buffers.
    pub(super) fn register_buffers(&mut self, group: u16, address: u64, count: u16) -> io::Result<()> {
        let submitter = self.ring.submitter();
        // SAFETY: the caller's mapping holds count entries and is unmapped after the ring is dropped.
        unsafe { submitter.register_buf_ring_with_flags(address, count, group, 0) }
    }

    /// Whether a plain send takes a destination; a message does everywhere.
    pub(super) fn sends_to_addresses(&self) -> bool {
        self.sends_to_addresses
    }

    pub(super) fn taskrun(&self) -> Taskrun {
        self.taskrun
    }

    pub(super) fn has_registered_files(&self) -> bool {
        !self.files_free.is_empty()
    }

    pub(super) fn ring(&self) -> &IoUring {
        &self.ring
    }

    /// One call into the kernel.
    fn call(&mut self, want: u32, flags: u32, timeout: Option<Duration>) -> io::Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        let count = self.queued().min(ENTER_ENTRIES_MAX).min(self.ring.params().sq_entries() as usize);
        let timespec = Timespec::from(timeout.unwrap_or_default());
        let mut args = SubmitArgs::new();
        if timeout.is_some() {
            args = args.timespec(&timespec);
        }
        self.enters += 1;
        let flags = if want > 0 { flags | self.no_iowait } else { flags };
        let submitter = self.ring.submitter();
        // SAFETY: the argument is what IORING_ENTER_EXT_ARG asks for, and lives until the call is over.
        let result = unsafe { submitter.enter(count as u32, want, flags | ENTER_EXT_ARG, Some(&args)) };
        match result {
            Ok(submitted) => self.submitted += submitted as u64,
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR) => {}
                // The kernel has no memory for requests, or completions overflowed: reaping makes room.
                Some(libc::EAGAIN | libc::EBUSY) => self.make_room()?,
                _ => return Err(error),
            },
        }
        Ok(())
    }

    /// Lets the kernel deliver completions that did not fit, and takes them.
    fn make_room(&mut self) -> io::Result<()> {
        self.reap(|_| false);
        let submitter = self.ring.submitter();
        // SAFETY: no argument is passed.
        match unsafe { submitter.enter::<()>(0, 0, ENTER_GETEVENTS, None) } {
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Closing the ring cancels in the background; this waits until nothing writes to our buffers any more.
        let timeout = Timespec::from(Duration::from_secs(1));
        let _ = self.ring.submitter().register_sync_cancel(Some(timeout), CancelBuilder::any());
    }
}

fn build(options: &UringOptions, taskrun: Taskrun) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.dontfork().setup_clamp().setup_submit_all().setup_r_disabled().setup_single_issuer();
    builder.setup_cqsize(options.completions);
    match taskrun {
        Taskrun::Deferred => builder.setup_defer_taskrun(),
        Taskrun::Cooperative => builder.setup_coop_taskrun(),
    };
    builder.build(options.entries)
}
