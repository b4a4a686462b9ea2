//! The ring beneath all rows, and what it was told about bytes that it was lent.

use std::io;

use io_uring::{IoUring, cqueue, squeue};
use ringcaster_benches::frame::Frame;

/// Completions of one ring: a send and a notification for each of 1,000 viewers, twice.
const COMPLETIONS: u32 = 4096;

/// Submissions of one ring.
const SUBMISSIONS: u32 = 1024;

/// Asks for word on whether the bytes were copied after all (IORING_SEND_ZC_REPORT_USAGE).
pub const REPORT_USAGE: u16 = 1 << 3;

/// That word (IORING_NOTIF_USAGE_ZC_COPIED).
const COPIED: u32 = 1 << 31;

/// Whose bytes the network works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// Its own copy.
    Copied,
    /// Ours, until it says that it has done with them.
    Lent,
    /// The same, of memory that was registered before.
    LentRegistered,
}

/// A ring as the server's driver has it.
pub struct Ring {
    ring: IoUring,
    /// Notifications that are still to come.
    owed: usize,
    notified: usize,
    copied: usize,
    has_registered: bool,
}

impl Ring {
    pub fn new() -> io::Result<Ring> {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(COMPLETIONS);
        let ring = builder.build(SUBMISSIONS)?;
        Ok(Ring { ring, owed: 0, notified: 0, copied: 0, has_registered: false })
    }

    /// Puts descriptors into the ring's table, in order.
    pub fn register_files(&self, files: &[i32]) -> io::Result<()> {
        self.ring.submitter().register_files(files)
    }

    /// Registers the bytes of a frame as buffer 0 and those with `$` heads as buffer 1, once: one ring sends one frame.
    pub fn register(&mut self, frame: &Frame) -> io::Result<()> {
        if self.has_registered {
            return Ok(());
        }
        self.has_registered = true;
        let list = [frame.rtp(), frame.interleaved()]
            .map(|bytes| libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        // SAFETY: the pages are pinned, and the frame outlives every variant of its comparison.
        unsafe { self.ring.submitter().register_buffers(&list) }
    }

    /// Queues an entry.
    ///
    /// # Safety
    ///
    /// What the entry points to stays until `settle` has returned; bytes that are lent, until the ring is dropped.
    pub unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the caller keeps what this function demands.
        unsafe { self.ring.submission().push(entry) }.map_err(io::Error::other)
    }

    /// Hands over `count` entries, each of which has to send `size` bytes, and waits until they have. Notifications come
    /// when they come: those that were late are counted with later frames.
    pub fn settle(&mut self, count: usize, size: usize) -> io::Result<()> {
        let mut rest = count;
        while rest > 0 {
            self.ring.submit_and_wait(1)?;
            for completion in self.ring.completion() {
                if cqueue::notif(completion.flags()) {
                    self.owed -= 1;
                    self.notified += 1;
                    self.copied += usize::from(completion.result() as u32 & COPIED != 0);
                    continue;
                }
                rest -= 1;
                self.owed += usize::from(cqueue::more(completion.flags()));
                match completion.result() {
                    result if result == size as i32 => {}
                    result if result < 0 => return Err(io::Error::from_raw_os_error(-result)),
                    result => return Err(io::Error::other(format!("{result} of {size} bytes left"))),
                }
            }
        }
        Ok(())
    }

    /// How much of what was lent the kernel copied.
    pub fn remark(&self) -> String {
        match self.notified {
            0 => String::new(),
            notified => format!("{} % copied after all", self.copied * 100 / notified),
        }
    }
}
