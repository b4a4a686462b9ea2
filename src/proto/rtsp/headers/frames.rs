//! `Frames` (ONVIF streaming specification section 6.5.3).

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::date::digits;

/// Which pictures of a recording are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frames {
    /// All of them.
    #[default]
    All,
    /// Those that can be decoded alone, none of them sooner in the recording than this after the one before.
    Intra(Duration),
    /// Those, and what is predicted from pictures before it.
    Predicted,
}

/// The value is none of the three, or has an interval where none is allowed: refuse with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("Frames is all, intra, intra/MILLISECONDS or predicted")]
pub struct FramesError;

impl Frames {
    /// Reads the header's value.
    pub fn parse(value: &str) -> Result<Frames, FramesError> {
        let (mode, interval) = match value.split_once('/') {
            Some((mode, interval)) => (mode, Some(interval)),
            None => (value, None),
        };
        let mode = mode.trim();
        match interval {
            None if mode.eq_ignore_ascii_case("all") => Ok(Frames::All),
            None if mode.eq_ignore_ascii_case("predicted") => Ok(Frames::Predicted),
            None if mode.eq_ignore_ascii_case("intra") => Ok(Frames::Intra(Duration::ZERO)),
            Some(interval) if mode.eq_ignore_ascii_case("intra") => {
                let millis = digits(interval.trim()).ok_or(FramesError)?;
                Ok(Frames::Intra(Duration::from_millis(millis.min(INTERVAL_MS_MAX))))
            }
            _ => Err(FramesError),
        }
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frames::All => f.write_str("all"),
            Frames::Predicted => f.write_str("predicted"),
            Frames::Intra(interval) if interval.is_zero() => f.write_str("intra"),
            Frames::Intra(interval) => write!(f, "intra/{}", interval.as_millis()),
        }
    }
}

/// 285 years, whose nanoseconds fit 63 bits: a longer interval is read as this one.
const INTERVAL_MS_MAX: u64 = 9_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_modes_are_read_and_written() {
        let cases = [
            ("all", Frames::All, "all"),
            (" Intra ", Frames::Intra(Duration::ZERO), "intra"),
            ("intra/4000", Frames::Intra(Duration::from_secs(4)), "intra/4000"),
            ("INTRA / 0", Frames::Intra(Duration::ZERO), "intra"),
            ("predicted", Frames::Predicted, "predicted"),
        ];
        for (text, frames, written) in cases {
            assert_eq!(Frames::parse(text), Ok(frames), "{text}");
            assert_eq!(frames.to_string(), written);
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for text in ["", "none", "all/1", "predicted/1", "intra/", "intra/-1", "intra/1.5", "intra/1/2", "/1"]
        {
            assert_eq!(Frames::parse(text), Err(FramesError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0..=INTERVAL_MS_MAX) {
            let frames = Frames::Intra(Duration::from_millis(millis));
            prop_assert_eq!(Frames::parse(&frames.to_string()), Ok(frames));
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*", number in "[0-9]{0,30}") {
            let _ = Frames::parse(&text);
            let _ = Frames::parse(&format!("intra/{number}"));
        }
    }
}
