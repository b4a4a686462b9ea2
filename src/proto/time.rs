//! The three clocks: the monotonic one that schedules, the wall clock that reports carry, and media time.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point on the monotonic clock, in nanoseconds since an origin that the driver chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The driver's origin.
    pub const ZERO: Time = Time(0);

    /// The point `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// The point `millis` milliseconds after the origin.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis * 1_000_000)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, rhs: Duration) -> Time {
        Time(self.0.saturating_add(rhs.as_nanos() as u64))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, rhs: Duration) -> Time {
        Time(self.0.saturating_sub(rhs.as_nanos() as u64))
    }
}

/// Wall-clock time as an NTP timestamp: seconds since 1900 in the upper, fraction in the lower 32 bits
/// (RFC 3550 section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Seconds between 1900 and 1970: 70 years with 17 leap days.
    const UNIX_OFFSET_S: u64 = (70 * 365 + 17) * 86_400;

    /// The NTP timestamp of a time given as the duration since the Unix epoch.
    pub fn from_unix(since_epoch: Duration) -> NtpTime {
        let seconds = since_epoch.as_secs() + Self::UNIX_OFFSET_S;
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        NtpTime(seconds << 32 | fraction)
    }

    /// The duration since the Unix epoch; zero for times before it.
    pub fn to_unix(self) -> Duration {
        let seconds = (self.0 >> 32).saturating_sub(Self::UNIX_OFFSET_S);
        let nanos = ((self.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
        Duration::new(seconds, nanos as u32)
    }

    /// How much later it is than another moment; 68 years at most, either way.
    pub fn since(self, earlier: NtpTime) -> MediaTime {
        let difference = self.0.wrapping_sub(earlier.0) as i64;
        MediaTime(((i128::from(difference) * 1_000_000_000) >> 32) as i64)
    }

    /// The middle 32 bits, as receiver reports quote them (LSR, RFC 3550 section 6.4.1).
    pub fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

impl Add<Duration> for NtpTime {
    type Output = NtpTime;

    fn add(self, rhs: Duration) -> NtpTime {
        let fraction = (u64::from(rhs.subsec_nanos()) << 32) / 1_000_000_000;
        NtpTime(self.0.wrapping_add(rhs.as_secs() << 32).wrapping_add(fraction))
    }
}

/// A point in the content, in nanoseconds; zero is the content's first moment. Decoding times may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(pub i64);

impl MediaTime {
    /// The content's first moment.
    pub const ZERO: MediaTime = MediaTime(0);

    /// From ticks of a clock that runs at `rate` hertz.
    pub fn from_ticks(ticks: i64, rate: u32) -> MediaTime {
        MediaTime((i128::from(ticks) * 1_000_000_000 / i128::from(rate.max(1))) as i64)
    }

    /// From seconds, as a `Range` header or a URL gives them.
    pub fn from_secs_f64(seconds: f64) -> MediaTime {
        MediaTime((seconds * 1e9).round() as i64)
    }

    /// In ticks of a clock that runs at `rate` hertz, rounded to the nearest.
    pub fn to_ticks(self, rate: u32) -> i64 {
        let scaled = i128::from(self.0) * i128::from(rate);
        (scaled + 500_000_000).div_euclid(1_000_000_000) as i64
    }

    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The time from `earlier` to this one; zero when it lies ahead.
    pub fn since(self, earlier: MediaTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl Add<Duration> for MediaTime {
    type Output = MediaTime;

    fn add(self, rhs: Duration) -> MediaTime {
        MediaTime(self.0.saturating_add(rhs.as_nanos() as i64))
    }
}

impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_and_unix_agree_on_the_epoch() {
        assert_eq!(NtpTime::from_unix(Duration::ZERO).0 >> 32, 2_208_988_800);
        let moment = Duration::new(1_700_000_000, 500_000_000);
        assert_eq!(NtpTime::from_unix(moment).to_unix(), moment);
    }

    #[test]
    fn ticks_survive_the_way_through_nanoseconds() {
        for rate in [8_000, 11_025, 44_100, 48_000, 90_000] {
            for ticks in [-3_003, 0, 1, 1_024, 3_003, 123_456_789] {
                assert_eq!(MediaTime::from_ticks(ticks, rate).to_ticks(rate), ticks, "{ticks} at {rate}");
            }
        }
    }
}
