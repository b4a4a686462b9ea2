//! A timer that is in time to some ten microseconds: trains of a paced frame leave a millisecond apart, and the
//! runtime's own timer counts whole ones.

use std::io;
use std::task::{Context, Poll};

use proto::time::Time;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::net::unix::pipe;
use tokio::runtime::{Builder, Runtime};

use crate::clock;

/// A runtime with a reactor; its timer is not needed.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().build()
}

/// A timer descriptor in the reactor, as the reading end of a pipe that carries one number an expiry: of what the
/// runtime takes by a safe call, this asks least of a descriptor.
#[derive(Debug)]
pub struct Timer {
    descriptor: pipe::Receiver,
    /// What it is set to.
    at: Option<Time>,
}

impl Timer {
    /// A timer that is not set. Needs the runtime's context.
    pub fn new() -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Timer { descriptor: pipe::Receiver::from_owned_fd_unchecked(descriptor)?, at: None })
    }

    /// Ready once `at` has come.
    pub fn poll(&mut self, at: Time, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let now = clock::sample();
            if at <= now || (self.at != Some(at) && self.set(at, now).is_err()) {
                return Poll::Ready(());
            }
            match self.descriptor.poll_read_ready(cx) {
                Poll::Ready(Ok(())) => {
                    // An expiry, or nothing where it was set anew since; either way the clock decides.
                    let _ = self.descriptor.try_read(&mut [0; 8]);
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn set(&mut self, at: Time, now: Time) -> io::Result<()> {
        let left = at.since(now);
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() },
        };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
        self.at = Some(at);
        Ok(())
    }
}
