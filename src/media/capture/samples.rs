//! Samples of sound as devices give them, on their way into packets.

use std::time::{Duration, Instant};

use bytes::BytesMut;

/// Sound that seems to be off by more than this is: the machine slept, or samples were lost.
const OFF_MAX: Duration = Duration::from_millis(100);

/// Which part of what sound seems to be off by is corrected with each stretch.
const CORRECTED: u32 = 32;

/// Appends samples of 16 bits as RTP has them (RFC 3551 section 4.5.11). Half a sample at the end is left out.
pub fn push_big_endian(out: &mut BytesMut, samples: &[u8]) {
    out.reserve(samples.len());
    for sample in samples.as_chunks::<2>().0 {
        out.extend_from_slice(&[sample[1], sample[0]]);
    }
}

/// Times of samples by their count, which follow the clock slowly: what came late on a busy machine was heard in time.
#[derive(Debug, Default)]
pub struct SampleClock {
    /// When the sample is heard that comes next.
    next: Option<Instant>,
}

impl SampleClock {
    /// When the first of some samples was heard that have come at `now` and last so long.
    pub fn place(&mut self, now: Instant, length: Duration) -> Instant {
        let seems = now.checked_sub(length).unwrap_or(now);
        let at = match self.next {
            Some(next) if seems >= next && seems - next <= OFF_MAX => next + (seems - next) / CORRECTED,
            Some(next) if seems < next && next - seems <= OFF_MAX => next - (next - seems) / CORRECTED,
            _ => seems,
        };
        self.next = Some(at + length);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRETCH: Duration = Duration::from_millis(20);

    #[test]
    fn what_comes_late_was_heard_in_time() {
        let (begin, mut clock) = (Instant::now(), SampleClock::default());
        let mut place = |late_ms: u64, index: u32| {
            clock.place(begin + STRETCH * (index + 1) + Duration::from_millis(late_ms), STRETCH)
        };
        for (index, late_ms) in [0, 0, 30, 10, 0, 50, 30, 10, 0].into_iter().enumerate() {
            let at = place(late_ms, index as u32);
            let off = at.saturating_duration_since(begin + STRETCH * index as u32);
            assert!(off < Duration::from_millis(5), "{index}: {off:?}");
        }
    }

    #[test]
    fn a_clock_that_runs_faster_is_followed_and_a_gap_is_a_gap() {
        let (begin, mut clock) = (Instant::now(), SampleClock::default());
        // A device that is slower by one part in a thousand than it says.
        let real = STRETCH + Duration::from_micros(20);
        for index in 0..2_000 {
            let at = clock.place(begin + real * (index + 1), STRETCH);
            let off = (begin + real * index).saturating_duration_since(at);
            assert!(off < Duration::from_millis(2), "{index}: {off:?}");
        }
        let later = begin + real * 2_000 + Duration::from_secs(1);
        assert_eq!(clock.place(later, STRETCH), later - STRETCH);
    }

    #[test]
    fn samples_are_turned_around() {
        let mut out = BytesMut::new();
        push_big_endian(&mut out, &[1, 2, 3, 4, 5]);
        assert_eq!(&out[..], [2, 1, 4, 3]);
    }
}
