//! `Range` (RFC 2326 sections 3.5 to 3.7 and 12.29).

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::date::{Utc, digits, fraction_nanos};
use crate::rtsp::status::Status;

/// Which part of a presentation to play, and when to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The part, in one of the three units.
    pub span: Span,
    /// When the operation is to take effect; None = at once.
    pub time: Option<Utc>,
}

/// A half-open part of a presentation: the end is no longer in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Normal play time. At least one of both is there.
    Npt {
        /// None = from the beginning, or whatever the end allows (`-30`).
        from: Option<Npt>,
        /// None = to the end.
        to: Option<Npt>,
    },
    /// Frames of a tape.
    Smpte {
        /// How frames are counted.
        count: FrameCount,
        /// Begin.
        from: Timecode,
        /// None = to the end.
        to: Option<Timecode>,
    },
    /// Time of day. At least one of both is there.
    Clock {
        /// None = from the beginning (`-19961108T143520Z`, which ONVIF allows).
        from: Option<Utc>,
        /// None = to the end.
        to: Option<Utc>,
    },
}

/// A point of normal play time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Npt {
    /// The live edge.
    Now,
    /// Since the beginning.
    At(Duration),
}

/// How SMPTE frames are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameCount {
    /// `smpte`, which RFC 2326 defines to be the same as the next.
    Default,
    /// `smpte-30-drop`: 30000/1001 frames a second, numbers 0 and 1 left out in each minute but the tenth.
    Drop30,
    /// `smpte-25`: 25 frames a second.
    Count25,
}

/// Hours, minutes, seconds, frames and hundredths of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timecode {
    /// Whole seconds as the time code shows them: hours * 3600 + minutes * 60 + seconds.
    pub seconds: u32,
    /// Frame within the second.
    pub frames: u8,
    /// Hundredths of a frame.
    pub subframes: u8,
}

/// Why a range is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RangeError {
    /// The unit is none of the three.
    #[error("the range's unit is not known")]
    UnknownUnit,
    /// The unit is known, what follows is not of its form.
    #[error("the range is malformed")]
    Syntax,
}

impl RangeError {
    /// 501 for an unknown unit (RFC 2326 section 12.29), 400 for the rest.
    pub fn status(self) -> Status {
        match self {
            RangeError::UnknownUnit => Status::NOT_IMPLEMENTED,
            RangeError::Syntax => Status::BAD_REQUEST,
        }
    }
}

impl Range {
    /// Reads the header's value.
    pub fn parse(value: &str) -> Result<Range, RangeError> {
        let mut parameters = value.split(';');
        let span = Span::parse(parameters.next().unwrap_or_default())?;
        let mut time = None;
        for parameter in parameters {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("time")
            {
                time = Some(Utc::parse_clock(value).ok_or(RangeError::Syntax)?);
            }
        }
        Ok(Range { span, time })
    }

    /// From one point of normal play time to another or, with None, to the end.
    pub fn npt(from: Duration, to: Option<Duration>) -> Range {
        Span::Npt { from: Some(Npt::At(from)), to: to.map(Npt::At) }.into()
    }
}

impl From<Span> for Range {
    fn from(span: Span) -> Range {
        Range { span, time: None }
    }
}

impl Span {
    /// Reads `unit=from-to`, as the header and the `range` attribute of a description have it.
    pub fn parse(text: &str) -> Result<Span, RangeError> {
        let (unit, ends) = text.split_once('=').ok_or(RangeError::Syntax)?;
        match unit.trim().to_ascii_lowercase().as_str() {
            "npt" => parse_npt(ends),
            "smpte" => parse_smpte(FrameCount::Default, ends),
            "smpte-30-drop" => parse_smpte(FrameCount::Drop30, ends),
            "smpte-25" => parse_smpte(FrameCount::Count25, ends),
            "clock" => parse_clock(ends),
            _ => Err(RangeError::UnknownUnit),
        }
    }
}

impl Timecode {
    /// The time code of a moment; part of a frame is rounded down to a hundredth.
    pub fn from_duration(count: FrameCount, moment: Duration) -> Timecode {
        let nanos = moment.as_nanos();
        if count == FrameCount::Count25 {
            let hundredths = nanos * 2500 / 1_000_000_000;
            return Timecode::from_hundredths(hundredths, 25);
        }
        let hundredths = nanos * 30_000 * 100 / (1001 * 1_000_000_000);
        let frames = hundredths / 100;
        // 17982 frames in ten minutes; 1800 in the first of them, 1798 in each other.
        let (tens, rest) = (frames / 17_982, frames % 17_982);
        let minute = if rest < 1800 { 0 } else { (rest - 1800) / 1798 + 1 };
        let shown = frames + 18 * tens + 2 * minute;
        Timecode::from_hundredths(shown * 100 + hundredths % 100, 30)
    }

    /// The moment that a time code means.
    pub fn to_duration(self, count: FrameCount) -> Duration {
        let (seconds, frames) = (u64::from(self.seconds), u64::from(self.frames));
        let subframes = u64::from(self.subframes);
        if count == FrameCount::Count25 {
            return Duration::from_nanos((seconds * 2500 + frames * 100 + subframes) * 400_000);
        }
        let minutes = seconds / 60;
        let frames = (seconds * 30 + frames).saturating_sub(2 * (minutes - minutes / 10));
        let hundredths = u128::from(frames * 100 + subframes);
        // Rounded up, so that the same time code comes back.
        Duration::from_nanos((hundredths * 1001 * 10_000_000).div_ceil(30_000) as u64)
    }

    fn from_hundredths(hundredths: u128, rate: u128) -> Timecode {
        let frames = hundredths / 100;
        Timecode {
            seconds: u32::try_from(frames / rate).unwrap_or(u32::MAX),
            frames: (frames % rate) as u8,
            subframes: (hundredths % 100) as u8,
        }
    }

    /// `hh:mm:ss[:frames[.subframes]]`.
    fn parse(count: FrameCount, text: &str) -> Result<Timecode, RangeError> {
        let mut parts = text.split(':');
        let mut next = || parts.next().and_then(digits).ok_or(RangeError::Syntax);
        let (hours, minutes, seconds) = (next()?, next()?, next()?);
        let (frames, subframes) = match parts.next() {
            None => (0, 0),
            Some(frame) => {
                let (frames, hundredths) = frame.split_once('.').unwrap_or((frame, "0"));
                let nanos = fraction_nanos(hundredths).filter(|_| !hundredths.is_empty());
                let frames = digits(frames).ok_or(RangeError::Syntax)?;
                (frames, nanos.ok_or(RangeError::Syntax)? / 10_000_000)
            }
        };
        let rate = if count == FrameCount::Count25 { 25 } else { 30 };
        if parts.next().is_some() || hours > HOURS_MAX || minutes > 59 || seconds > 59 || frames >= rate {
            return Err(RangeError::Syntax);
        }
        let seconds = (hours * 3600 + minutes * 60 + seconds) as u32;
        Ok(Timecode { seconds, frames: frames as u8, subframes: subframes as u8 })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.span)?;
        self.time.map_or(Ok(()), |time| write!(f, ";time={time}"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Span::Npt { from, to } => {
                f.write_str("npt=")?;
                from.map_or(Ok(()), |from| from.fmt(f))?;
                f.write_str("-")?;
                to.map_or(Ok(()), |to| to.fmt(f))
            }
            Span::Smpte { count, from, to } => {
                write!(f, "{count}={from}-")?;
                to.map_or(Ok(()), |to| to.fmt(f))
            }
            Span::Clock { from, to } => {
                f.write_str("clock=")?;
                from.map_or(Ok(()), |from| write!(f, "{from}"))?;
                f.write_str("-")?;
                to.map_or(Ok(()), |to| to.fmt(f))
            }
        }
    }
}

/// Seconds with three decimals, six where the moment needs them.
impl fmt::Display for Npt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Npt::At(moment) = self else { return f.write_str("now") };
        let (seconds, micros) = (moment.as_secs(), moment.subsec_micros());
        if micros.is_multiple_of(1000) {
            write!(f, "{seconds}.{:03}", micros / 1000)
        } else {
            write!(f, "{seconds}.{micros:06}")
        }
    }
}

impl fmt::Display for FrameCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrameCount::Default => "smpte",
            FrameCount::Drop30 => "smpte-30-drop",
            FrameCount::Count25 => "smpte-25",
        })
    }
}

impl fmt::Display for Timecode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60);
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}")?;
        match (self.frames, self.subframes) {
            (0, 0) => Ok(()),
            (frames, 0) => write!(f, ":{frames:02}"),
            (frames, subframes) => write!(f, ":{frames:02}.{subframes:02}"),
        }
    }
}

fn parse_npt(ends: &str) -> Result<Span, RangeError> {
    let (from, to) = ends.split_once('-').ok_or(RangeError::Syntax)?;
    let point = |text: &str| if text.is_empty() { Ok(None) } else { parse_npt_point(text).map(Some) };
    let (from, to) = (point(from.trim())?, point(to.trim())?);
    if from.is_none() && to.is_none() {
        return Err(RangeError::Syntax);
    }
    Ok(Span::Npt { from, to })
}

/// `now`, seconds with a fraction, or `hh:mm:ss` with one.
fn parse_npt_point(text: &str) -> Result<Npt, RangeError> {
    if text.eq_ignore_ascii_case("now") {
        return Ok(Npt::Now);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':').map(|part| digits(part).map(|number| number.min(SECONDS_MAX)));
    let mut next = || parts.next().flatten().ok_or(RangeError::Syntax);
    let mut seconds = next()?;
    if whole.contains(':') {
        let (minutes, rest) = (next()?, next()?);
        if minutes > 59 || rest > 59 || parts.next().is_some() {
            return Err(RangeError::Syntax);
        }
        seconds = seconds * 3600 + minutes * 60 + rest;
    }
    let nanos = fraction_nanos(fraction).ok_or(RangeError::Syntax)?;
    Ok(Npt::At(Duration::new(seconds.min(SECONDS_MAX), nanos)))
}

fn parse_smpte(count: FrameCount, ends: &str) -> Result<Span, RangeError> {
    let (from, to) = ends.split_once('-').ok_or(RangeError::Syntax)?;
    let from = Timecode::parse(count, from.trim())?;
    let to = Some(to.trim()).filter(|to| !to.is_empty()).map(|to| Timecode::parse(count, to)).transpose()?;
    Ok(Span::Smpte { count, from, to })
}

fn parse_clock(ends: &str) -> Result<Span, RangeError> {
    let (from, to) = ends.split_once('-').ok_or(RangeError::Syntax)?;
    let point = |text: &str| match text.trim() {
        "" => Ok(None),
        text => Utc::parse_clock(text).map(Some).ok_or(RangeError::Syntax),
    };
    let (from, to) = (point(from)?, point(to)?);
    if from.is_none() && to.is_none() {
        return Err(RangeError::Syntax);
    }
    Ok(Span::Clock { from, to })
}

/// 285 years: the most whose nanoseconds fit 63 bits. A later point is read as this one, beyond any content.
const SECONDS_MAX: u64 = 9_000_000_000;
/// As many hours as still fit the seconds of a [`Timecode`].
const HOURS_MAX: u64 = 999_999;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: f64) -> Option<Npt> {
        Some(Npt::At(Duration::from_secs_f64(seconds)))
    }

    #[test]
    fn normal_play_time_in_every_form() {
        let cases = [
            ("npt=10-", at(10.0), None),
            ("NPT = 0.000 - 34.5", at(0.0), at(34.5)),
            ("npt=-20", None, at(20.0)),
            ("npt=now-", Some(Npt::Now), None),
            ("npt=01:02:03.25-12:00:00", at(3723.25), at(43200.0)),
            ("npt=5.-6", at(5.0), at(6.0)),
            ("npt=99999999999-9999999999:00:00", at(9e9), at(9e9)),
        ];
        for (text, from, to) in cases {
            assert_eq!(Range::parse(text), Ok(Span::Npt { from, to }.into()), "{text}");
        }
    }

    #[test]
    fn other_units_are_read() {
        let got = Range::parse("smpte=10:07:00-10:07:33:05.01;time=19970123T153600Z").unwrap();
        let Span::Smpte { count, from, to } = got.span else { panic!() };
        assert_eq!((count, from.seconds), (FrameCount::Default, 36_420));
        assert_eq!(to, Some(Timecode { seconds: 36_453, frames: 5, subframes: 1 }));
        assert_eq!(got.time, Utc::parse_clock("19970123T153600Z"));
        assert_eq!(got.to_string(), "smpte=10:07:00-10:07:33:05.01;time=19970123T153600Z");

        let text = "clock=19961108T142300Z-19961108T143520Z";
        assert_eq!(Range::parse(text).unwrap().to_string(), text);
        for text in ["clock=19961108T142300Z-", "clock=-19961108T142300Z"] {
            assert_eq!(Range::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_unknown_unit_is_501_and_bad_syntax_400() {
        for text in ["bytes=0-5", "x=", "smpte-60=00:00:00-"] {
            assert_eq!(Range::parse(text).unwrap_err().status(), Status::NOT_IMPLEMENTED, "{text}");
        }
        for text in [
            "",
            "npt",
            "npt=",
            "npt=-",
            "npt=5",
            "npt=x-",
            "npt=1:2-",
            "npt=1:60:00-",
            "npt=1.x-",
            "npt=-5-6",
            "npt=1e5-",
            "npt=+5-",
            "npt=99999999999999999999-",
            "smpte=1-2",
            "smpte-25=00:00:00:25-",
            "smpte=00:00:00:00.-",
            "clock=x-",
            "clock=-",
            "clock=-x",
            "clock=19961108T142300Z",
            "npt=0-;time=x",
        ] {
            assert_eq!(Range::parse(text).map_err(RangeError::status), Err(Status::BAD_REQUEST), "{text}");
        }
    }

    #[test]
    fn drop_frames_leave_two_numbers_out_in_nine_of_ten_minutes() {
        let code = |seconds, frames| Timecode { seconds, frames, subframes: 0 };
        let frame = Duration::from_nanos(1_001_000_000_000 / 30_000);
        let first = code(60, 2).to_duration(FrameCount::Drop30);
        assert_eq!(first - code(59, 29).to_duration(FrameCount::Drop30), frame);
        assert_eq!(Timecode::from_duration(FrameCount::Drop30, first), code(60, 2));
        // Ten minutes on the clock are ten minutes less 0.6 ms.
        let ten = code(600, 0).to_duration(FrameCount::Drop30);
        assert_eq!(ten, Duration::from_nanos(17_982 * 1_001_000_000 / 30));
        assert_eq!(code(3600, 0).to_duration(FrameCount::Count25), Duration::from_secs(3600));
    }

    #[test]
    fn points_are_written_with_as_many_decimals_as_they_need() {
        let range = Range::npt(Duration::from_millis(1500), Some(Duration::from_micros(2_000_001)));
        assert_eq!(range.to_string(), "npt=1.500-2.000001");
        assert_eq!(Range::npt(Duration::ZERO, None).to_string(), "npt=0.000-");
    }

    fn any_span() -> impl Strategy<Value = Span> {
        let moment = || (0u64..1_000_000_000_000).prop_map(Duration::from_micros);
        let point = move || prop_oneof![Just(Npt::Now), moment().prop_map(Npt::At)];
        let utc = || (0u64..253_402_300_800_000).prop_map(|millis| Utc(Duration::from_millis(millis)));
        let count = prop::sample::select(vec![FrameCount::Default, FrameCount::Drop30, FrameCount::Count25]);
        let smpte = (count, moment(), prop::option::of(moment())).prop_map(|(count, from, to)| Span::Smpte {
            count,
            from: Timecode::from_duration(count, from),
            to: to.map(|to| Timecode::from_duration(count, to)),
        });
        prop_oneof![
            (point(), prop::option::of(point())).prop_map(|(from, to)| Span::Npt { from: Some(from), to }),
            point().prop_map(|to| Span::Npt { from: None, to: Some(to) }),
            smpte,
            (utc(), prop::option::of(utc())).prop_map(|(from, to)| Span::Clock { from: Some(from), to }),
            utc().prop_map(|to| Span::Clock { from: None, to: Some(to) }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(span in any_span()) {
            prop_assert_eq!(Span::parse(&span.to_string()), Ok(span));
        }

        #[test]
        fn a_timecode_survives_the_way_through_time(micros in 0u64..100_000_000_000, drop: bool) {
            let count = if drop { FrameCount::Drop30 } else { FrameCount::Count25 };
            let code = Timecode::from_duration(count, Duration::from_micros(micros));
            prop_assert_eq!(Timecode::from_duration(count, code.to_duration(count)), code);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*", tail in "[-0-9.:TZnow;=ime]{0,40}") {
            let _ = Range::parse(&text);
            for unit in ["npt", "smpte", "smpte-25", "clock"] {
                if let Ok(Range { span: Span::Smpte { count, from, .. }, .. }) = Range::parse(&format!("{unit}={tail}")) {
                    from.to_duration(count);
                }
            }
        }
    }
}
