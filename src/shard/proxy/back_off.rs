//! How long to wait before the next attempt: short while viewers are waiting for a picture, then longer and longer.

use std::time::Duration;

/// The steps; the last one is repeated.
const STEPS_MS: [u64; 14] =
    [250, 500, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000];

/// Attempts in a row that failed.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackOff {
    failures: usize,
}

impl BackOff {
    /// The time until the next attempt. `random` is uniform in 0..1: so that many proxies of one server that
    /// restarts do not come at once, a step is a fifth shorter at most.
    pub fn next(&mut self, random: f64) -> Duration {
        let step = STEPS_MS[self.failures.min(STEPS_MS.len() - 1)];
        self.failures += 1;
        Duration::from_millis(step).mul_f64(1.0 - random / 5.0)
    }

    /// How many attempts have failed in a row.
    pub fn failures(&self) -> usize {
        self.failures
    }

    /// It works.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_are_tried_every_second_and_then_ever_less_often() {
        let mut back_off = BackOff::default();
        let waits: Vec<_> = (0..20).map(|_| back_off.next(0.0)).collect();
        let early = waits.iter().scan(Duration::ZERO, |at, wait| {
            *at += *wait;
            Some((*at, *wait))
        });
        for (at, wait) in early.take_while(|(at, _)| *at <= Duration::from_secs(7)) {
            assert!(wait <= Duration::from_secs(1), "{at:?}: {wait:?}");
        }
        assert_eq!(waits[19], Duration::from_secs(30));
        back_off.reset();
        assert_eq!(back_off.next(1.0), Duration::from_millis(200));
    }
}
