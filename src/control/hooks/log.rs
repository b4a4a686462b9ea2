//! What goes wrong with web services, in few lines however often it does.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::shard::hooks::Call;

/// One line for each call within this time.
const QUIET: Duration = Duration::from_secs(5);

/// When each call last failed with a line, and how often it has without one since.
#[derive(Debug, Default)]
pub struct Complaints {
    by_call: Mutex<Vec<(Call, Instant, u64)>>,
}

impl Complaints {
    /// Says what went wrong, or counts it for the next line.
    pub fn note(&self, call: Call, reason: &str) {
        if let Some(unsaid) = self.count(call, Instant::now()) {
            tracing::warn!(call = call.name(), unsaid, reason, "a web service fails");
        }
    }

    /// How often a failure was not said since the last one that was; None when this one is not to be said either.
    fn count(&self, call: Call, now: Instant) -> Option<u64> {
        let mut by_call = self.by_call.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, said, unsaid)) = by_call.iter_mut().find(|(other, ..)| *other == call) else {
            by_call.push((call, now, 0));
            return Some(0);
        };
        if now.duration_since(*said) < QUIET {
            *unsaid += 1;
            return None;
        }
        *said = now;
        Some(std::mem::take(unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_down_fills_no_log() {
        let complaints = Complaints::default();
        let start = Instant::now();
        assert_eq!(complaints.count(Call::Play, start), Some(0));
        assert_eq!(complaints.count(Call::Done, start), Some(0));
        for _ in 0..100 {
            assert_eq!(complaints.count(Call::Play, start + QUIET / 2), None);
        }
        assert_eq!(complaints.count(Call::Play, start + QUIET), Some(100));
        assert_eq!(complaints.count(Call::Play, start + QUIET * 2), Some(0));
    }
}
