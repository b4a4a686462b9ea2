//! The runtime's timer: it counts whole milliseconds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use proto::time::Time;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, Sleep, sleep};

use crate::clock;

/// A runtime with a reactor and a timer.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().enable_time().build()
}

/// A timer of the runtime.
#[derive(Debug)]
pub struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// A timer that is not set. Needs the runtime's context.
    pub fn new() -> io::Result<Timer> {
        Ok(Timer(Box::pin(sleep(Duration::ZERO))))
    }

    /// Ready once `at` has come.
    pub fn poll(&mut self, at: Time, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = clock::origin().checked_add(at.since(Time::ZERO)) else {
            // Beyond what the system's clock can tell.
            return Poll::Pending;
        };
        let deadline = Instant::from_std(deadline);
        if self.0.deadline() != deadline {
            self.0.as_mut().reset(deadline);
        }
        self.0.as_mut().poll(cx)
    }
}
