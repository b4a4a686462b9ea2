//! What a camera can do, as its driver tells it.

use std::io;

use v4l::format::FourCC;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture as _;
use v4l::{Device, Fraction};

use super::coding::{CODINGS, Coding};
use super::mode::{Mode, Target, in_steps};

/// Its modes; of ranges, the sizes and rates that are nearest to the target.
pub fn modes(device: &Device, target: &Target) -> io::Result<Vec<Mode>> {
    let mut modes = Vec::new();
    for (code, coding) in offered(device)? {
        let fourcc = FourCC::new(&code);
        for (width, height) in sizes(device, fourcc, target)? {
            let intervals = intervals(device, fourcc, (width, height), target);
            modes.extend(intervals.into_iter().map(|interval| Mode {
                code,
                coding,
                width,
                height,
                interval,
            }));
        }
    }
    Ok(modes)
}

/// The codes that a camera offers and that are understood, in the order of preference.
fn offered(device: &Device) -> io::Result<Vec<([u8; 4], Coding)>> {
    let formats = device.enum_formats()?;
    let is_offered = |code: [u8; 4]| formats.iter().any(|format| format.fourcc.repr == code);
    Ok(CODINGS.into_iter().filter(|(code, _)| is_offered(*code)).collect())
}

fn sizes(device: &Device, fourcc: FourCC, target: &Target) -> io::Result<Vec<(u32, u32)>> {
    let Ok(sizes) = device.enum_framesizes(fourcc) else {
        // The driver has no list: what it has now is what it has.
        return device.format().map(|format| vec![(format.width, format.height)]);
    };
    let size = |size: FrameSizeEnum| match size {
        FrameSizeEnum::Discrete(size) => (size.width, size.height),
        FrameSizeEnum::Stepwise(range) => (
            in_steps(target.width, range.min_width, range.max_width, range.step_width),
            in_steps(target.height, range.min_height, range.max_height, range.step_height),
        ),
    };
    Ok(sizes.into_iter().map(|found| size(found.size)).collect())
}

/// Seconds from picture to picture; one that is not known where the driver has no list.
fn intervals(
    device: &Device,
    fourcc: FourCC,
    (width, height): (u32, u32),
    target: &Target,
) -> Vec<Option<(u32, u32)>> {
    let Ok(intervals) = device.enum_frameintervals(fourcc, width, height) else { return vec![None] };
    let interval = |interval: FrameIntervalEnum| match interval {
        FrameIntervalEnum::Discrete(interval) => pair(interval),
        FrameIntervalEnum::Stepwise(range) => {
            within((1_000, target.thousandths), pair(range.min), pair(range.max))
        }
    };
    intervals.into_iter().map(|found| Some(interval(found.interval))).collect()
}

/// A fraction, or the end of the range that is next to it.
fn within(wanted: (u32, u32), min: (u32, u32), max: (u32, u32)) -> (u32, u32) {
    let is_below =
        |(a, b): (u32, u32), (c, d): (u32, u32)| u64::from(a) * u64::from(d) < u64::from(c) * u64::from(b);
    if is_below(wanted, min) {
        min
    } else if is_below(max, wanted) {
        max
    } else {
        wanted
    }
}

fn pair(fraction: Fraction) -> (u32, u32) {
    (fraction.numerator, fraction.denominator)
}

/// All modes for people: codes, sizes and rates, a line for those codes that have the same.
pub fn in_lines(device: &Device) -> io::Result<Vec<String>> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for (code, _) in offered(device)? {
        let fourcc = FourCC::new(&code);
        let sizes = device.enum_framesizes(fourcc).unwrap_or_default();
        let sizes: Vec<_> =
            sizes.into_iter().map(|found| size_in_words(device, fourcc, found.size)).collect();
        let (name, sizes) = (fourcc.to_string(), sizes.join(", "));
        match lines.iter_mut().find(|(_, known)| *known == sizes) {
            Some((names, _)) => *names += &format!(" {name}"),
            None => lines.push((name, sizes)),
        }
    }
    Ok(lines.into_iter().map(|(names, sizes)| format!("{names}: {sizes}")).collect())
}

fn size_in_words(device: &Device, fourcc: FourCC, size: FrameSizeEnum) -> String {
    match size {
        FrameSizeEnum::Discrete(size) => {
            let intervals = device.enum_frameintervals(fourcc, size.width, size.height).unwrap_or_default();
            let ends = intervals.into_iter().flat_map(|found| match found.interval {
                FrameIntervalEnum::Discrete(interval) => [interval, interval],
                FrameIntervalEnum::Stepwise(range) => [range.min, range.max],
            });
            let mut rates: Vec<f64> = ends.filter_map(rate).collect();
            rates.sort_by(f64::total_cmp);
            match (rates.first(), rates.last()) {
                (Some(low), Some(high)) if low < high => {
                    format!("{}x{} at {low} to {high}", size.width, size.height)
                }
                (Some(rate), _) => format!("{}x{} at {rate}", size.width, size.height),
                _ => format!("{}x{}", size.width, size.height),
            }
        }
        FrameSizeEnum::Stepwise(range) => {
            let (least, most) = ((range.min_width, range.min_height), (range.max_width, range.max_height));
            format!("{}x{} to {}x{}", least.0, least.1, most.0, most.1)
        }
    }
}

/// Pictures a second, to a hundredth.
fn rate(interval: Fraction) -> Option<f64> {
    let rate = f64::from(interval.denominator) / f64::from(interval.numerator);
    rate.is_finite().then_some((rate * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_kept_within_its_range() {
        assert_eq!(within((1_000, 25_000), (1, 60), (1, 1)), (1_000, 25_000));
        assert_eq!(within((1_000, 90_000), (1, 60), (1, 1)), (1, 60));
        assert_eq!(within((1_000, 500), (1, 60), (1, 1)), (1, 1));
    }

    #[test]
    fn rates_are_told_to_a_hundredth() {
        assert_eq!(rate(Fraction::new(1_001, 30_000)), Some(29.97));
        assert_eq!(rate(Fraction::new(0, 0)), None);
        assert_eq!(rate(Fraction::new(0, 1)), None);
    }
}
