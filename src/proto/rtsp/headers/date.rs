//! Calendar time: the `Date` header (RFC 2326 section 12.18, RFC 1123) and the `clock` unit of `Range` (section 3.7).

use std::fmt;
use std::time::Duration;

use crate::time::NtpTime;

/// A time of day in UTC, as the duration since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc(pub Duration);

/// Its parts.
struct Parts {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Utc {
    /// For the `Date` header: `Tue, 15 Nov 1994 08:12:31 GMT`.
    pub fn to_date(self) -> String {
        let Parts { year, month, day, hour, minute, second } = self.parts();
        // The epoch was a Thursday.
        let weekday = WEEKDAYS[(self.0.as_secs() / DAY_S + 4) as usize % 7];
        let month = MONTHS[month as usize - 1];
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    /// Reads `19961108T142300Z`, with a fraction after the seconds or without. A moment before 1970 is read as the first
    /// of that year: GStreamer counts from 1900 and means the beginning. None when it is anything else, no day of the
    /// calendar or before 1900.
    pub fn parse_clock(text: &str) -> Option<Utc> {
        let text = text.trim();
        let (date, time) = text.split_once(['T', 't'])?;
        let time = time.strip_suffix(['Z', 'z'])?;
        let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
        if date.len() != 8 || time.len() != 6 {
            return None;
        }
        let field = |text: &str, from: usize, to: usize| digits(text.get(from..to)?);
        let (year, month, day) = (field(date, 0, 4)?, field(date, 4, 6)?, field(date, 6, 8)?);
        let (hour, minute, second) = (field(time, 0, 2)?, field(time, 2, 4)?, field(time, 4, 6)?);
        // Second 60 is a leap second.
        if year < 1900 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        if day == 0 || day > month_days(year, month) {
            return None;
        }
        if year < 1970 {
            return fraction_nanos(fraction).map(|_| Utc::default());
        }
        let seconds = days_since_epoch(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second;
        Some(Utc(Duration::new(seconds, fraction_nanos(fraction)?)))
    }

    /// For XML (`xs:dateTime`): `1994-11-15T08:12:31.250Z`.
    pub fn to_xml(self) -> String {
        let Parts { year, month, day, hour, minute, second } = self.parts();
        let millis = self.0.subsec_millis();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }

    fn parts(self) -> Parts {
        let (seconds, days) = (self.0.as_secs() % DAY_S, self.0.as_secs() / DAY_S);
        let (year, month, day) = civil(days);
        Parts { year, month, day, hour: seconds / 3600, minute: seconds / 60 % 60, second: seconds % 60 }
    }
}

impl From<NtpTime> for Utc {
    fn from(ntp: NtpTime) -> Utc {
        Utc(ntp.to_unix())
    }
}

/// The form of the `clock` unit, with milliseconds unless they are zero.
impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { year, month, day, hour, minute, second } = self.parts();
        write!(f, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}")?;
        match self.0.subsec_millis() {
            0 => f.write_str("Z"),
            millis => write!(f, ".{millis:03}Z"),
        }
    }
}

/// Nanoseconds of the digits after a decimal point, of which those beyond the ninth are dropped.
pub(super) fn fraction_nanos(fraction: &str) -> Option<u32> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let places = (0..9).map(|at| fraction.as_bytes().get(at).map_or(0, |byte| u32::from(byte - b'0')));
    Some(places.fold(0, |nanos, digit| nanos * 10 + digit))
}

/// A number of digits alone.
pub(super) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from the epoch to a day of the calendar, years counted from March so that the leap day is the last.
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    // 153 days in every five months from March on.
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - EPOCH_DAYS
}

/// Year, month and day of a count of days since the epoch: the inverse of [`days_since_epoch`].
fn civil(days: u64) -> (u64, u64, u64) {
    // Beyond year 9999 the forms above have no room: stay there.
    let days = days.min(2_932_896) + EPOCH_DAYS;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

const DAY_S: u64 = 86_400;
/// Days of 400 years: 400 * 365 + 97 leap days.
const ERA_DAYS: u64 = 146_097;
/// Days from 1 March of year 0 to 1 January 1970.
const EPOCH_DAYS: u64 = 719_468;
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_those_of_the_rfc() {
        // The examples of RFC 2326 section 12.18 and 3.7.
        assert_eq!(Utc(Duration::from_secs(784_887_151)).to_date(), "Tue, 15 Nov 1994 08:12:31 GMT");
        let clock = Utc::parse_clock("19961108T142300Z").unwrap();
        assert_eq!((clock.0.as_secs(), clock.to_string().as_str()), (847_462_980, "19961108T142300Z"));
        assert_eq!(clock.to_date(), "Fri, 08 Nov 1996 14:23:00 GMT");
        assert_eq!(Utc(Duration::ZERO).to_date(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(Utc(Duration::from_secs(1_709_164_800)).to_date(), "Thu, 29 Feb 2024 00:00:00 GMT");
        assert_eq!(Utc::from(NtpTime::from_unix(Duration::from_secs(5))).0, Duration::from_secs(5));
    }

    #[test]
    fn a_fraction_is_kept() {
        let clock = Utc::parse_clock("19970101t000000.25z").unwrap();
        assert_eq!(clock.0.subsec_millis(), 250);
        assert_eq!(clock.to_string(), "19970101T000000.250Z");
        assert_eq!(clock.to_xml(), "1997-01-01T00:00:00.250Z");
    }

    #[test]
    fn what_was_before_the_epoch_is_its_beginning() {
        for text in ["19000101T000000.00Z", "19691231T235959.9Z", "19700101T000000Z"] {
            assert_eq!(Utc::parse_clock(text), Some(Utc::default()), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "T",
            "19961108T142300",
            "19960230T000000Z",
            "19961308T142300Z",
            "19961108T242300Z",
            "19961100T002300Z",
            "1996110T142300Z",
            "19961108T142300.xZ",
            "18991231T235959Z",
            "19690230T000000Z",
            "19000101T000000.xZ",
            "+9961108T142300Z",
            "1996\u{fc}108T142300Z",
        ] {
            assert_eq!(Utc::parse_clock(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0u64..253_402_300_800_000) {
            let utc = Utc(Duration::from_millis(millis));
            prop_assert_eq!(Utc::parse_clock(&utc.to_string()), Some(utc));
        }
    }
}
