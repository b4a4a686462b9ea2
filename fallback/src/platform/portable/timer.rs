//! A timer that is in time to a millisecond. The reactor of Windows wakes at the system's tick, 15.6 ms apart, and trains of a
//! paced frame leave a millisecond apart. `std::thread::sleep` is in time there: it has a timer of high resolution. So the
//! runtime waits for the most, and a thread for the rest.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use proto::time::Time;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Sleep, sleep};

use crate::clock;

/// What the runtime may be late: a tick, and the millisecond that its own timer counts in.
const LATE: Duration = Duration::from_millis(17);

/// The thread looks so often whether an earlier time was asked for meanwhile.
const STEP: Duration = Duration::from_millis(1);

/// A runtime with a reactor and a timer.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().enable_time().build()
}

/// A timer of the runtime, and a thread that is in time.
#[derive(Debug)]
pub struct Timer {
    coarse: Pin<Box<Sleep>>,
    fine: Arc<Fine>,
}

/// What the thread is asked for.
#[derive(Debug, Default)]
struct Fine {
    asked: Mutex<Asked>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Asked {
    alarm: Option<(Instant, Waker)>,
    is_over: bool,
}

impl Timer {
    /// A timer that is not set. Needs the runtime's context.
    pub fn new() -> io::Result<Timer> {
        let fine = Arc::new(Fine::default());
        let asked = fine.clone();
        thread::Builder::new().name("timer".into()).spawn(move || asked.run())?;
        Ok(Timer { coarse: Box::pin(sleep(Duration::ZERO)), fine })
    }

    /// Ready once `at` has come.
    pub fn poll(&mut self, at: Time, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = clock::origin().checked_add(at.since(Time::ZERO)) else {
            // Beyond what the system's clock can tell.
            return Poll::Pending;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        if left > LATE {
            let early = tokio::time::Instant::from_std(deadline - LATE);
            if self.coarse.deadline() != early {
                self.coarse.as_mut().reset(early);
            }
            if self.coarse.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.fine.ask(deadline, cx.waker());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.fine.lock().is_over = true;
        self.fine.changed.notify_one();
    }
}

impl Fine {
    /// Has the waker called at a time, in place of what was asked before.
    fn ask(&self, at: Instant, waker: &Waker) {
        let mut asked = self.lock();
        if asked.alarm.as_ref().is_none_or(|(other, known)| *other != at || !known.will_wake(waker)) {
            asked.alarm = Some((at, waker.clone()));
            self.changed.notify_one();
        }
    }

    fn run(&self) {
        let mut asked = self.lock();
        while !asked.is_over {
            let Some((at, _)) = &asked.alarm else {
                asked = self.changed.wait(asked).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let alarm = asked.alarm.take();
                drop(asked);
                alarm.into_iter().for_each(|(_, waker)| waker.wake());
            } else {
                drop(asked);
                thread::sleep(left.min(STEP));
            }
            asked = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        // What is asked is whole at every moment.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
