//! Waking a driver that sleeps in the kernel, from any thread.
//!
//! A wake while the driver runs costs one atomic exchange; only a sleeping driver costs a write.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Wake;

/// The driver is at work, and looks at `state` before it sleeps.
const RUNNING: u8 = 0;
/// The driver is in the kernel, or about to enter it.
const SLEEPING: u8 = 1;
/// Somebody wants the driver to run.
const NOTIFIED: u8 = 2;

/// The shared half: an eventfd whose counter nobody reads, as a multishot poll reports every write.
#[derive(Debug)]
pub(super) struct Bell {
    state: AtomicU8,
    eventfd: File,
}

impl Bell {
    pub(super) fn new() -> io::Result<Arc<Bell>> {
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was made above and has no other owner.
        let eventfd = unsafe { File::from_raw_fd(fd) };
        Ok(Arc::new(Bell { state: AtomicU8::new(RUNNING), eventfd }))
    }

    /// Announces that the driver is about to sleep; false when somebody called since it last ran.
    pub(super) fn may_sleep(&self) -> bool {
        let exchange = self.state.compare_exchange(RUNNING, SLEEPING, Ordering::AcqRel, Ordering::Acquire);
        exchange.is_ok()
    }

    /// Announces that the driver runs; whatever was handed over before a wake is visible after this. Wakes that
    /// come later find the driver running and are seen before it sleeps again.
    pub(super) fn run(&self) {
        self.state.swap(RUNNING, Ordering::AcqRel);
    }

    pub(super) fn fd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == SLEEPING {
            // The only error is a counter at its end, 2^64 - 2; then the poll has long fired.
            let _ = (&self.eventfd).write(&1u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_sleep_keeps_the_driver_awake_once() {
        let bell = Bell::new().unwrap();
        bell.wake_by_ref();
        assert!(!bell.may_sleep());
        bell.run();
        assert!(bell.may_sleep());
    }
}
