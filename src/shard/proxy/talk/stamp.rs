//! One RTP source towards the camera, whoever talks.

use proto::rtp::header::Header;
use proto::time::Time;

/// Renumbers what talkers send: one synchronization source, sequence numbers without a gap between two talkers, and
/// timestamps that go on by the time that lies between them. What is lost on a talker's way stays missing.
#[derive(Clone, Debug)]
pub struct Stamp {
    ssrc: u32,
    /// The packet that is furthest on, and when it came; None before the first.
    last: Option<Last>,
    /// From the numbers of the talker to ours; None before its first packet.
    shift: Option<Shift>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence: u16,
    timestamp: u32,
    at: Time,
}

#[derive(Clone, Copy, Debug)]
struct Shift {
    /// The source that it is for.
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Stamp {
    /// Under that synchronization source; the first packets keep their numbers.
    pub fn new(ssrc: u32) -> Stamp {
        Stamp { ssrc, last: None, shift: None }
    }

    /// Somebody else talks from now on.
    pub fn change_talker(&mut self) {
        self.shift = None;
    }

    /// The header that a packet gets which has come now, of a format with that clock.
    pub fn stamp(&mut self, now: Time, header: Header, clock_rate: u32) -> Header {
        let known = self.shift.filter(|shift| shift.ssrc == header.ssrc);
        let shift = known.unwrap_or_else(|| self.anchor(now, &header, clock_rate));
        self.shift = Some(shift);
        let stamped = Header {
            // The first packet behind silence (RFC 3551 section 4.1).
            marker: header.marker || known.is_none(),
            sequence: header.sequence.wrapping_add(shift.sequence),
            timestamp: header.timestamp.wrapping_add(shift.timestamp),
            ssrc: self.ssrc,
            ..header
        };
        // Half of the numbers lie ahead.
        let is_ahead = |last: Last| stamped.sequence.wrapping_sub(last.sequence) < 1 << 15;
        if self.last.is_none_or(is_ahead) {
            self.last = Some(Last { sequence: stamped.sequence, timestamp: stamped.timestamp, at: now });
        }
        stamped
    }

    fn anchor(&self, now: Time, header: &Header, clock_rate: u32) -> Shift {
        let ssrc = header.ssrc;
        let Some(last) = self.last else { return Shift { ssrc, sequence: 0, timestamp: 0 } };
        let elapsed = now.since(last.at).as_micros() * u128::from(clock_rate) / 1_000_000;
        let next = last.timestamp.wrapping_add(elapsed as u32);
        Shift {
            ssrc,
            sequence: last.sequence.wrapping_add(1).wrapping_sub(header.sequence),
            timestamp: next.wrapping_sub(header.timestamp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(ssrc: u32, sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc }
    }

    /// Sequence number, timestamp and marker of a packet that has come at that time.
    fn stamp(stamp: &mut Stamp, at_ms: u64, header: Header) -> (u16, u32, bool) {
        let stamped = stamp.stamp(Time::from_millis(at_ms), header, 8_000);
        assert_eq!((stamped.ssrc, stamped.payload_type), (99, 0));
        (stamped.sequence, stamped.timestamp, stamped.marker)
    }

    #[test]
    fn talkers_follow_each_other_without_a_gap() {
        let mut ours = Stamp::new(99);
        assert_eq!(stamp(&mut ours, 0, header(1, 65_534, 1_000)), (65_534, 1_000, true));
        assert_eq!(stamp(&mut ours, 20, header(1, 65_535, 1_160)), (65_535, 1_160, false));
        // Three seconds later, and with the number of the one before.
        ours.change_talker();
        assert_eq!(stamp(&mut ours, 3_020, header(1, 7, u32::MAX)), (0, 25_160, true));
        assert_eq!(stamp(&mut ours, 3_040, header(1, 8, 159)), (1, 25_320, false));
        // A talker that begins anew by itself.
        assert_eq!(stamp(&mut ours, 3_060, header(2, 500, 0)), (2, 25_480, true));
    }

    #[test]
    fn what_is_missing_or_late_stays_where_it_belongs() {
        let mut ours = Stamp::new(99);
        for (sequence, timestamp) in [(10, 0), (13, 480), (11, 160)] {
            let (stamped, ..) = stamp(&mut ours, 0, header(1, sequence, timestamp));
            assert_eq!(stamped, sequence);
        }
        ours.change_talker();
        assert_eq!(stamp(&mut ours, 20, header(1, 900, 5)), (14, 640, true));
    }
}
