//! The port of everything live: a source runs on a thread of its own and hands out frames as they come.

use std::thread;
use std::time::{Duration, Instant};

use proto::frame::Frame;
use proto::time::NtpTime;
use proto::track::Track;

use super::library::MediaError;

/// Something that makes frames in real time.
pub trait Source: Send {
    /// What it offers. Opens whatever has to be opened for that.
    fn tracks(&mut self) -> Result<Vec<Track>, MediaError>;

    /// Wall-clock time of time zero, once it is opened; None where it is now.
    fn origin(&self) -> Option<NtpTime> {
        None
    }

    /// Hands out frames, each when it is due, until `sink` says stop; None only asks. Their times count from zero.
    fn run(self: Box<Self>, sink: &mut dyn FnMut(Option<Frame>) -> Demand) -> Result<(), MediaError>;
}

/// What is wanted of a source after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// More.
    More,
    /// More, soon with a keyframe, where it can choose.
    Keyframe,
    /// Nothing.
    Nothing,
}

/// Says when the frames of a computed source are due, without drift.
pub struct Pace {
    start: Instant,
}

impl Pace {
    /// Longest delay that is caught up with; a machine that slept goes on from where it is.
    const LATE_MAX: Duration = Duration::from_secs(1);

    /// The clock starts.
    pub fn start() -> Pace {
        Pace { start: Instant::now() }
    }

    /// Sleeps until `offset` after the start.
    pub fn wait_until(&mut self, offset: Duration) {
        let due = self.start + offset;
        let now = Instant::now();
        match due.checked_duration_since(now) {
            Some(wait) => thread::sleep(wait),
            None if now - due > Pace::LATE_MAX => self.start += now - due,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_does_not_drift() {
        let begin = Instant::now();
        let mut pace = Pace::start();
        for step in 1..=20 {
            pace.wait_until(Duration::from_millis(5 * step));
        }
        let passed = begin.elapsed();
        assert!(passed >= Duration::from_millis(100), "{passed:?}");
    }

    #[test]
    fn a_long_delay_is_not_caught_up_with() {
        let mut pace = Pace { start: Instant::now() - Duration::from_secs(60) };
        pace.wait_until(Duration::from_secs(10));
        let begin = Instant::now();
        pace.wait_until(Duration::from_secs(10) + Duration::from_millis(30));
        assert!(begin.elapsed() >= Duration::from_millis(25));
    }
}
