//! What is counted while packets come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// One viewer's counts.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// RTP packets.
    pub packets: u64,
    /// Bytes of RTP packets.
    pub bytes: u64,
    /// Sequence numbers that have not come.
    pub missing: u64,
    /// Packets that came behind a later one.
    pub reordered: u64,
    /// Pictures with a stamp.
    pub pictures: u64,
    /// Numbers of the first and of the last picture with a stamp.
    pub numbers: Option<(u32, u32)>,
    /// From sending PLAY to the first RTP packet; None when none has come.
    pub first_packet: Option<Duration>,
    /// From sending PLAY to the last packet of the first keyframe; None when none has come whole.
    pub first_keyframe: Option<Duration>,
    /// From the begin of connecting to the answer to PLAY, or to SETUP where nothing is played.
    pub set_up: Option<Duration>,
    /// From the begin of the run to that answer.
    pub ready: Option<Duration>,
    /// Why sessions of such a client have failed, with how many did so.
    pub session_failures: BTreeMap<String, usize>,
    /// Why the viewer ended early; None when it played to the end.
    pub failure: Option<String>,
}

impl Tally {
    /// Pictures between the first and the last one that have not come.
    pub fn pictures_missing(&self) -> u64 {
        let Some((first, last)) = self.numbers else { return 0 };
        (u64::from(last.wrapping_sub(first)) + 1).saturating_sub(self.pictures)
    }
}

/// The sequence of one track.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence {
    next: Option<u16>,
    timestamp: u32,
}

/// What a packet is to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first one of an access unit; so many packets are missing in front of it.
    Begins(u16),
    /// A further one; so many packets are missing in front of it.
    Continues(u16),
    /// It should have come earlier.
    Late,
}

impl Sequence {
    /// Takes a packet's head.
    pub fn take(&mut self, head: &[u8; 12], tally: &mut Tally) -> Place {
        let sequence = u16::from_be_bytes([head[2], head[3]]);
        let timestamp = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let Some(next) = self.next else {
            self.next = Some(sequence.wrapping_add(1));
            self.timestamp = timestamp;
            return Place::Begins(0);
        };
        let ahead = sequence.wrapping_sub(next) as i16;
        if ahead < 0 {
            tally.reordered += 1;
            tally.missing = tally.missing.saturating_sub(1);
            return Place::Late;
        }
        tally.missing += u64::from(ahead.unsigned_abs());
        self.next = Some(sequence.wrapping_add(1));
        let begins = timestamp != self.timestamp;
        self.timestamp = timestamp;
        if begins { Place::Begins(ahead.unsigned_abs()) } else { Place::Continues(ahead.unsigned_abs()) }
    }

    /// Takes packets that follow the last one and were not looked at.
    pub fn skip(&mut self, packets: u16) {
        self.next = self.next.map(|next| next.wrapping_add(packets));
    }
}

/// Times that all clients of a thread share, in microseconds.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Between the begins of two access units of one viewer's pictures.
    pub gaps: Histogram<u64>,
    /// From PLAY to the first packet.
    pub first_packets: Histogram<u64>,
    /// From PLAY to the last packet of the first keyframe.
    pub first_keyframes: Histogram<u64>,
    /// From connect to the answer to PLAY.
    pub set_ups: Histogram<u64>,
    /// From the sender's stamp to the viewer, of pictures that are no keyframes.
    pub latencies: Histogram<u64>,
    /// The same of keyframes.
    pub keyframe_latencies: Histogram<u64>,
    /// From connect to the answer to TEARDOWN.
    pub sessions: Histogram<u64>,
    /// How late this thread comes to what is due on it.
    pub lags: Histogram<u64>,
}

impl Default for Meter {
    fn default() -> Meter {
        Meter {
            gaps: histogram(),
            first_packets: histogram(),
            first_keyframes: histogram(),
            set_ups: histogram(),
            latencies: histogram(),
            keyframe_latencies: histogram(),
            sessions: histogram(),
            lags: histogram(),
        }
    }
}

impl Meter {
    /// Adds what another thread has measured.
    pub fn add(&mut self, other: &Meter) {
        for (ours, theirs) in [
            (&mut self.gaps, &other.gaps),
            (&mut self.first_packets, &other.first_packets),
            (&mut self.first_keyframes, &other.first_keyframes),
            (&mut self.set_ups, &other.set_ups),
            (&mut self.latencies, &other.latencies),
            (&mut self.keyframe_latencies, &other.keyframe_latencies),
            (&mut self.sessions, &other.sessions),
            (&mut self.lags, &other.lags),
        ] {
            // Both were made with the same bounds, so that nothing is out of range.
            let _ = ours.add(theirs);
        }
    }
}

/// A histogram of up to ten minutes in microseconds, to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3)
        .expect("the bounds are in order and the digits at most five")
}

/// Records a time.
pub fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
}

/// Counts of one thread that others look at while it runs; only their own thread writes them.
#[derive(Debug, Default)]
pub struct Live {
    /// Bytes of RTP packets of viewers that are measured.
    pub bytes: AtomicU64,
    /// Clients that play, hold or publish.
    pub ready: AtomicU64,
    /// Clients that have failed.
    pub failed: AtomicU64,
    /// Sessions from connect to TEARDOWN.
    pub sessions: AtomicU64,
}

impl Live {
    /// Adds to a count.
    pub fn count(count: &AtomicU64, more: u64) {
        count.fetch_add(more, Ordering::Relaxed);
    }
}

/// When the last access unit of a track began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pulse(Option<Instant>);

impl Pulse {
    /// The time since the last unit began; None for the first one.
    pub fn beat(&mut self, now: Instant) -> Option<Duration> {
        self.0.replace(now).map(|last| now - last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: u16, timestamp: u32) -> [u8; 12] {
        let mut head = [0; 12];
        head[2..4].copy_from_slice(&sequence.to_be_bytes());
        head[4..8].copy_from_slice(&timestamp.to_be_bytes());
        head
    }

    #[test]
    fn gaps_reordering_and_wrapping_are_told_apart() {
        let (mut sequence, mut tally) = (Sequence::default(), Tally::default());
        let places = [(65_534, 1), (65_535, 1), (0, 2), (3, 2), (2, 2), (4, 3)]
            .map(|(number, timestamp)| sequence.take(&head(number, timestamp), &mut tally));
        let expected = [
            Place::Begins(0),
            Place::Continues(0),
            Place::Begins(0),
            Place::Continues(2),
            Place::Late,
            Place::Begins(0),
        ];
        assert_eq!(places, expected);
        assert_eq!((tally.missing, tally.reordered), (1, 1));
    }

    #[test]
    fn packets_that_were_not_looked_at_are_not_missing() {
        let (mut sequence, mut tally) = (Sequence::default(), Tally::default());
        sequence.take(&head(65_530, 1), &mut tally);
        sequence.skip(10);
        assert_eq!(sequence.take(&head(5, 2), &mut tally), Place::Begins(0));
        assert_eq!(tally.missing, 0);
    }

    #[test]
    fn histograms_of_threads_are_added() {
        let mut sum = Meter::default();
        for times in [[1, 2], [3, 40]] {
            let mut meter = Meter::default();
            times.iter().for_each(|ms| record(&mut meter.latencies, Duration::from_millis(*ms)));
            sum.add(&meter);
        }
        assert_eq!(sum.latencies.len(), 4);
        assert!(sum.latencies.max().abs_diff(40_000) < 40);
        assert!(sum.latencies.value_at_quantile(0.5).abs_diff(2_000) < 4);
    }

    #[test]
    fn pictures_are_missed_by_their_numbers() {
        let tally = Tally { pictures: 7, numbers: Some((u32::MAX, 8)), ..Tally::default() };
        assert_eq!(tally.pictures_missing(), 3);
        assert_eq!(Tally::default().pictures_missing(), 0);
    }
}
