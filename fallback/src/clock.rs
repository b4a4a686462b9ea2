//! The clocks of a driver, read once a turn; those of both backends are of this kind.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proto::time::{NtpTime, Time};

/// The monotonic clock and the wall clock of one moment.
#[derive(Debug)]
pub struct Clock {
    now: Time,
    /// A moment on both clocks, from which the wall clock is counted on: reports that bring tracks into step must not differ
    /// by what a thread was held up between two readings.
    anchor: (Time, NtpTime),
}

/// The wall clock may be set meanwhile, and goes at a pace of its own: it is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Readings so far apart are of one moment.
const ONE_MOMENT: Duration = Duration::from_micros(20);

/// On a machine that is busy the nearest of so many pairs of readings has to do.
const TRIES: usize = 8;

impl Default for Clock {
    /// A clock that shows the present.
    fn default() -> Clock {
        let anchor = moment();
        Clock { now: sample(), anchor }
    }
}

impl Clock {
    /// Moves on to the present.
    pub fn read(&mut self) {
        self.now = sample();
        if self.now.since(self.anchor.0) >= LOOK {
            self.anchor = moment();
            self.now = sample();
        }
    }

    /// The monotonic clock at the last reading.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The wall clock at the last reading.
    pub fn wall(&self) -> NtpTime {
        self.anchor.1 + self.now.since(self.anchor.0)
    }
}

/// The present on both clocks.
fn moment() -> (Time, NtpTime) {
    let mut before = sample();
    let mut nearest = (Duration::MAX, (before, NtpTime::default()));
    for _ in 0..TRIES {
        // A wall clock before 1970 is not set; reports then carry the epoch.
        let wall = NtpTime::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let after = sample();
        let apart = after.since(before);
        if apart < nearest.0 {
            nearest = (apart, (before, wall));
        }
        if apart <= ONE_MOMENT {
            break;
        }
        before = after;
    }
    nearest.1
}

/// The present on the monotonic clock.
pub fn sample() -> Time {
    Time::from_nanos(origin().elapsed().as_nanos() as u64)
}

/// The origin that all drivers of the process share, so that times may go from one shard to another.
pub fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}
