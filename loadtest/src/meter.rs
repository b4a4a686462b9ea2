//! What is counted while packets come.

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
    /// From sending PLAY to the first RTP packet; None when none has come.
    pub first_packet: Option<Duration>,
    /// From the begin of connecting to the answer to PLAY.
    pub set_up: Option<Duration>,
    /// Why the viewer ended early; None when it played to the end.
    pub failure: Option<String>,
}

/// The sequence of one track.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence {
    next: Option<u16>,
    timestamp: u32,
}

impl Sequence {
    /// Takes a packet's head; true when it begins a new access unit.
    pub fn take(&mut self, head: &[u8; 12], tally: &mut Tally) -> bool {
        let sequence = u16::from_be_bytes([head[2], head[3]]);
        let timestamp = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let Some(next) = self.next else {
            self.next = Some(sequence.wrapping_add(1));
            self.timestamp = timestamp;
            return true;
        };
        let ahead = sequence.wrapping_sub(next) as i16;
        if ahead < 0 {
            tally.reordered += 1;
            tally.missing = tally.missing.saturating_sub(1);
            return false;
        }
        tally.missing += u64::from(ahead.unsigned_abs());
        self.next = Some(sequence.wrapping_add(1));
        let begins = timestamp != self.timestamp;
        self.timestamp = timestamp;
        begins
    }
}

/// Times that all viewers of a thread share, in microseconds.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Between the begins of two access units of one viewer's pictures.
    pub gaps: Histogram<u64>,
    /// From PLAY to the first packet.
    pub first_packets: Histogram<u64>,
    /// From connect to the answer to PLAY.
    pub set_ups: Histogram<u64>,
}

impl Default for Meter {
    fn default() -> Meter {
        Meter { gaps: histogram(), first_packets: histogram(), set_ups: histogram() }
    }
}

impl Meter {
    /// Adds what another thread has measured.
    pub fn add(&mut self, other: &Meter) {
        for (ours, theirs) in [
            (&mut self.gaps, &other.gaps),
            (&mut self.first_packets, &other.first_packets),
            (&mut self.set_ups, &other.set_ups),
        ] {
            // Both were made with the same bounds, so that nothing is out of range.
            let _ = ours.add(theirs);
        }
    }
}

/// A histogram of up to ten minutes in microseconds, to three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3)
        .expect("the bounds are in order and the digits at most five")
}

/// Records a time.
pub fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
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
        let begins: Vec<bool> = [(65_534, 1), (65_535, 1), (0, 2), (3, 2), (2, 2), (4, 3)]
            .map(|(number, timestamp)| sequence.take(&head(number, timestamp), &mut tally))
            .to_vec();
        assert_eq!(begins, [true, false, true, false, false, true]);
        assert_eq!((tally.missing, tally.reordered), (1, 1));
    }
}
