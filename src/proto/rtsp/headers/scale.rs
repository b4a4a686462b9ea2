//! `Scale` and `Speed` (RFC 2326 sections 12.34 and 12.35).

use std::fmt;

use thiserror::Error;

/// The value is no number, zero, or negative where only forward is possible: refuse with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("scale or speed is not a usable number")]
pub struct ScaleError;

/// Content time per playing time: 1 is normal, 2 fast forward, negative reverse. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Scale(f64);

/// Rate of delivery against the content's own. Above zero.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Speed(f64);

impl Scale {
    /// Normal playing.
    pub const NORMAL: Scale = Scale(1.0);

    /// That ratio; None for zero and for what is no number.
    pub fn new(ratio: f64) -> Option<Scale> {
        (ratio.is_finite() && ratio != 0.0).then_some(Scale(ratio))
    }

    /// Reads the header's value.
    pub fn parse(value: &str) -> Result<Scale, ScaleError> {
        decimal(value).and_then(Scale::new).ok_or(ScaleError)
    }

    /// The ratio.
    pub fn ratio(self) -> f64 {
        self.0
    }
}

impl Speed {
    /// The content's own rate.
    pub const NORMAL: Speed = Speed(1.0);

    /// That ratio; None for zero, below it and for what is no number.
    pub fn new(ratio: f64) -> Option<Speed> {
        (ratio.is_finite() && ratio > 0.0).then_some(Speed(ratio))
    }

    /// Reads the header's value.
    pub fn parse(value: &str) -> Result<Speed, ScaleError> {
        decimal(value).and_then(Speed::new).ok_or(ScaleError)
    }

    /// The ratio.
    pub fn ratio(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_ratio(f, self.0)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_ratio(f, self.0)
    }
}

fn write_ratio(f: &mut fmt::Formatter<'_>, ratio: f64) -> fmt::Result {
    if ratio.fract() == 0.0 { write!(f, "{ratio:.1}") } else { write!(f, "{ratio}") }
}

/// Digits with a sign and a point; Rust's parser alone would also read `inf`, `nan` and exponents.
fn decimal(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_read_and_written() {
        for (text, ratio, written) in [("1", 1.0, "1.0"), (" 2.50 ", 2.5, "2.5"), ("+16.", 16.0, "16.0")] {
            assert_eq!(Scale::parse(text).map(Scale::ratio), Ok(ratio));
            assert_eq!(Scale::parse(text).unwrap().to_string(), written);
            assert_eq!(Speed::parse(text).unwrap().to_string(), written);
        }
        assert_eq!(Scale::parse("-0.5").map(Scale::ratio), Ok(-0.5));
    }

    #[test]
    fn zero_and_garbage_are_refused() {
        for text in ["0", "-0.0", "x", "", "1e3", "inf", "NaN", "1 2", "--1", ".", "0.0000"] {
            assert_eq!(Scale::parse(text), Err(ScaleError), "{text}");
            assert_eq!(Speed::parse(text), Err(ScaleError), "{text}");
        }
        assert_eq!(Speed::parse("-2"), Err(ScaleError));
        let long = "9".repeat(400);
        assert_eq!(Scale::parse(&long), Err(ScaleError));
    }
}
