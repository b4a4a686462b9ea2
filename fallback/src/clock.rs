//! The clocks of a driver, read once a turn.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use proto::time::{NtpTime, Time};

/// The monotonic clock and the wall clock of one moment.
#[derive(Debug)]
pub struct Clock {
    now: Time,
    wall: NtpTime,
}

impl Clock {
    /// A clock that shows the present.
    pub fn new() -> Clock {
        let mut clock = Clock { now: Time::ZERO, wall: NtpTime::default() };
        clock.read();
        clock
    }

    /// Moves on to the present.
    pub fn read(&mut self) {
        self.now = sample();
        // A wall clock before 1970 is not set; reports then carry the epoch.
        self.wall = NtpTime::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    }

    /// The monotonic clock at the last reading.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The wall clock at the last reading.
    pub fn wall(&self) -> NtpTime {
        self.wall
    }
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
