//! When the next report is due (RFC 3550 sections 6.2 and 6.3.1).

use std::time::Duration;

/// Least time between reports before it is randomised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Minimum {
    /// 5 s.
    Fixed,
    /// 360 divided by the session's kilobits a second, in seconds: faster than 5 s above 72 kbit/s.
    Reduced,
}

/// Who is in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Members {
    /// Count of all, ourselves included.
    pub count: u32,
    /// Count of those that send.
    pub senders: u32,
    /// Whether we are one of them.
    pub we_send: bool,
}

impl Members {
    /// A server and one viewer.
    pub const UNICAST: Members = Members { count: 2, senders: 1, we_send: true };
}

/// The interval of one participant.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    minimum: Minimum,
    /// Bits a second of the whole session.
    bandwidth: u64,
    /// Average size of compound packets with their UDP and IP headers.
    average_bytes: f32,
    first: bool,
}

impl Interval {
    /// For a session of that many bits a second.
    pub fn new(bandwidth: u64, minimum: Minimum) -> Interval {
        Interval { minimum, bandwidth: bandwidth.max(1), average_bytes: FIRST_PACKET_BYTES, first: true }
    }

    /// Takes the size of a compound packet that was sent or received, in bytes without UDP and IP headers.
    pub fn handle_packet(&mut self, size: usize) {
        let size = size as f32 + LOWER_HEADERS_BYTES;
        self.average_bytes += (size - self.average_bytes) / 16.0;
    }

    /// How long to wait for the next report. The first is due at once, so that a player can align its tracks; a
    /// unicast session may do so. `random` is uniform from 0 to 1.
    pub fn next(&mut self, members: Members, random: f32) -> Duration {
        if std::mem::replace(&mut self.first, false) {
            return Duration::ZERO;
        }
        let interval = self.deterministic_s(members) * (random.clamp(0.0, 1.0) + 0.5);
        Duration::from_secs_f32((interval / COMPENSATION).min(INTERVAL_S_MAX))
    }

    /// Interval before it is randomised, in seconds: also how the time-out of a silent receiver is counted (five
    /// of these, section 6.3.5).
    pub fn deterministic_s(&self, members: Members) -> f32 {
        // A twentieth of the session for reports, of that a quarter for senders while they are fewer than a quarter.
        let bytes_per_second = self.bandwidth as f32 / 8.0 * 0.05;
        let Members { count, senders, we_send } = members;
        let (sharing, share) = match (senders * 4 <= count, we_send) {
            (true, true) => (senders, 0.25),
            (true, false) => (count.saturating_sub(senders), 0.75),
            (false, _) => (count, 1.0),
        };
        let minimum = match self.minimum {
            Minimum::Fixed => 5.0,
            Minimum::Reduced => 360_000.0 / self.bandwidth as f32,
        };
        (sharing as f32 * self.average_bytes / (bytes_per_second * share)).max(minimum)
    }
}

/// A sender report and a name of some 20 bytes.
const FIRST_PACKET_BYTES: f32 = 28.0 + 32.0 + LOWER_HEADERS_BYTES;
/// IPv4 and UDP.
const LOWER_HEADERS_BYTES: f32 = 28.0;
/// e - 3/2: randomising converges below the wanted interval by that much.
const COMPENSATION: f32 = std::f32::consts::E - 1.5;
/// Sessions of a few bits a second would wait for hours.
const INTERVAL_S_MAX: f32 = 600.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_report_is_due_at_once_and_the_next_around_five_seconds() {
        let mut interval = Interval::new(4_000_000, Minimum::Fixed);
        assert_eq!(interval.next(Members::UNICAST, 0.7), Duration::ZERO);
        let millis = |duration: Duration| duration.as_millis();
        assert_eq!(millis(interval.next(Members::UNICAST, 0.0)), 2052);
        assert_eq!(millis(interval.next(Members::UNICAST, 0.5)), 4104);
        assert_eq!(millis(interval.next(Members::UNICAST, 1.0)), 6156);
    }

    #[test]
    fn the_reduced_minimum_follows_the_bandwidth() {
        assert_eq!(Interval::new(720_000, Minimum::Reduced).deterministic_s(Members::UNICAST), 0.5);
        assert_eq!(Interval::new(72_000, Minimum::Reduced).deterministic_s(Members::UNICAST), 5.0);
    }

    #[test]
    fn many_members_share_the_bandwidth_of_reports() {
        let mut interval = Interval::new(64_000, Minimum::Fixed);
        for _ in 0..200 {
            interval.handle_packet(72);
        }
        // 100 bytes each, 400 bytes a second, three quarters of them for 1000 receivers.
        let receivers = Members { count: 1001, senders: 1, we_send: false };
        assert!((interval.deterministic_s(receivers) - 333.3).abs() < 0.5);
        assert_eq!(interval.deterministic_s(Members { we_send: true, ..receivers }), 5.0);
        let all_send = Members { count: 100, senders: 100, we_send: true };
        assert!((interval.deterministic_s(all_send) - 25.0).abs() < 0.1);
    }

    #[test]
    fn no_bandwidth_is_no_reason_to_wait_for_ever() {
        let mut interval = Interval::new(0, Minimum::Reduced);
        interval.next(Members::UNICAST, 0.0);
        assert_eq!(interval.next(Members::UNICAST, 1.0), Duration::from_secs(600));
    }
}
