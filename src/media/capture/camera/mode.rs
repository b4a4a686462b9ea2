//! In which of its modes is a camera opened: the one nearest to what is wanted.

use std::fmt;

use super::coding::Coding;
use crate::media::capture::wanted::Wanted;
use crate::media::format::{Choice, VideoCodec};
use crate::media::transcode::plan::FRAMERATE_OF_CAMERAS;

/// One way in which a camera gives pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// Its code in V4L2.
    pub code: [u8; 4],
    /// What that means.
    pub coding: Coding,
    /// Pixels a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Seconds from one picture to the next, as a fraction; None when the driver does not tell.
    pub interval: Option<(u32, u32)>,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Pixels a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Pictures in a thousand seconds.
    pub thousandths: u32,
    codec: Option<VideoCodec>,
    wanted: Wanted,
}

/// Rates that differ by less than this many thousandths of themselves are the same: intervals are whole numbers of
/// something.
const SLACK_THOUSANDTHS: u64 = 5;

/// The longest side that JPEG has in RTP (RFC 2435 section 3.1.5).
const JPEG_PIXELS_MAX: u32 = 2_040;

impl Mode {
    /// Pictures in a thousand seconds; None when the driver does not tell.
    pub fn thousandths(&self) -> Option<u32> {
        let (numerator, denominator) = self.interval?;
        let thousandths = u64::from(denominator) * 1_000 / u64::from(numerator.max(1));
        u32::try_from(thousandths).ok().filter(|thousandths| *thousandths > 0)
    }

    /// Whether pictures come in the same way.
    pub fn is_like(&self, other: &Mode) -> bool {
        let is_shape = (self.code, self.width, self.height) == (other.code, other.width, other.height);
        let is_rate = match (self.thousandths(), other.thousandths()) {
            (Some(own), Some(other)) => is_near(own, other),
            (own, _) => own.is_none(),
        };
        is_shape && is_rate
    }

    fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// As its driver calls it, with size and rate.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = String::from_utf8_lossy(&self.code);
        write!(f, "{} {}x{}", code.trim_end(), self.width, self.height)?;
        match self.thousandths() {
            Some(thousandths) => write!(f, " at {}", f64::from(thousandths) / 1_000.0),
            None => Ok(()),
        }
    }
}

impl Target {
    /// What is wanted of a camera whose pictures are as large as `usual` where nobody asks for anything.
    pub fn new(wanted: &Wanted, usual: (u32, u32)) -> Target {
        let video = &wanted.video;
        let scaled = |side: u32, asked: u32, of: u32| {
            u32::try_from(u64::from(side) * u64::from(asked) / u64::from(of.max(1))).unwrap_or(u32::MAX)
        };
        let (mut width, mut height) = match (video.width, video.height) {
            (Some(width), Some(height)) => (width, height),
            (Some(width), None) => (width, scaled(usual.1, width, usual.0)),
            (None, Some(height)) => (scaled(usual.0, height, usual.1), height),
            (None, None) => usual,
        };
        if wanted.any_size {
            (width, height) = (width.max(usual.0), height.max(usual.1));
        }
        let usual_rate = if wanted.any_rate { FRAMERATE_OF_CAMERAS.thousandths() } else { 0 };
        let codec = match video.codec {
            Choice::As(codec) => Some(codec),
            Choice::Keep => Some(VideoCodec::H264),
            Choice::Drop => None,
        };
        let thousandths = wanted.thousandths().max(usual_rate);
        Target { width, height, thousandths, codec, wanted: *wanted }
    }

    /// The nearest of some modes. One whose pictures can be passed on as they are comes first, then the size counts, then
    /// the rate, then the work.
    pub fn nearest(&self, modes: &[Mode]) -> Option<Mode> {
        modes.iter().copied().min_by_key(|mode| {
            let cost = mode.coding.cost();
            (!self.takes(mode), self.size_distance(mode), self.rate_distance(mode), cost)
        })
    }

    /// Whether a mode's pictures are what is asked for, and need not be made anew.
    fn takes(&self, mode: &Mode) -> bool {
        let video = &self.wanted.video;
        let is_sent = mode.coding != Coding::Jpeg || mode.width.max(mode.height) <= JPEG_PIXELS_MAX;
        let is_codec = mode.coding.codec().is_some_and(|codec| self.codec == Some(codec));
        let is_size = video.width.is_none_or(|width| width == mode.width)
            && video.height.is_none_or(|height| height == mode.height);
        let is_rate = video.framerate.is_none_or(|rate| {
            let (asked, own) = (rate.thousandths(), mode.thousandths());
            own.is_none_or(|own| is_near(own, asked))
        });
        is_sent && is_codec && is_size && is_rate
    }

    /// Pixels too many; what is too small in any way is farther than everything that is not.
    fn size_distance(&self, mode: &Mode) -> (bool, u64) {
        let is_short = mode.width < self.width || mode.height < self.height;
        (is_short, mode.pixels().abs_diff(u64::from(self.width) * u64::from(self.height)))
    }

    /// How far the rate is from the wanted one, twice as far where it is lower. One that is not known may be right.
    fn rate_distance(&self, mode: &Mode) -> u32 {
        match mode.thousandths() {
            None => 0,
            Some(own) if is_near(own, self.thousandths) => 0,
            Some(own) if own < self.thousandths => (self.thousandths - own).saturating_mul(2),
            Some(own) => own - self.thousandths,
        }
    }
}

fn is_near(own: u32, asked: u32) -> bool {
    u64::from(own.abs_diff(asked)) * 1_000 <= u64::from(asked) * SLACK_THOUSANDTHS
}

/// The value nearest to `wanted` in a range with steps.
pub fn in_steps(wanted: u32, min: u32, max: u32, step: u32) -> u32 {
    let step = step.max(1);
    let above = wanted.clamp(min, max.max(min)) - min;
    // Upwards: what is too large is scaled without loss.
    let up = u64::from(above.div_ceil(step)) * u64::from(step) + u64::from(min);
    match u32::try_from(up) {
        Ok(up) if up <= max => up,
        _ => min + above / step * step,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::capture::{Device, Pixels};
    use crate::media::format::Format;

    /// A mode by its code, size and rate.
    fn mode(code: &[u8; 4], width: u32, height: u32, rate: u32) -> Mode {
        Mode { code: *code, coding: Coding::of(*code).unwrap(), width, height, interval: Some((1, rate)) }
    }

    fn target(asked: &str) -> Target {
        let parameters = asked.split('&').filter_map(|part| part.split_once('='));
        let parameters: Vec<_> =
            parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let format = Format::default().with_parameters(&parameters).unwrap();
        Target::new(&Wanted::of(&Device::Camera(0), &format), (640, 480))
    }

    fn chosen(asked: &str, modes: &[Mode]) -> Mode {
        target(asked).nearest(modes).unwrap()
    }

    /// What a webcam of USB 2 has: pixels fit at low rates only.
    fn webcam() -> Vec<Mode> {
        vec![
            mode(b"YUYV", 640, 480, 30),
            mode(b"YUYV", 640, 480, 15),
            mode(b"YUYV", 1280, 720, 10),
            mode(b"MJPG", 640, 480, 30),
            mode(b"MJPG", 1280, 720, 30),
            mode(b"MJPG", 1920, 1080, 30),
        ]
    }

    #[test]
    fn the_mode_is_the_nearest_to_the_wanted_size_and_rate() {
        for (asked, expected) in [
            ("", mode(b"YUYV", 640, 480, 30)),
            ("fr=15", mode(b"YUYV", 640, 480, 15)),
            ("fr=10", mode(b"YUYV", 640, 480, 15)),
            ("w=320", mode(b"YUYV", 640, 480, 30)),
            ("w=1280&h=720&fr=10", mode(b"YUYV", 1280, 720, 10)),
            ("w=1280&h=720&fr=25", mode(b"MJPG", 1280, 720, 30)),
            ("w=1000&h=600", mode(b"MJPG", 1280, 720, 30)),
            ("w=3840&h=2160", mode(b"MJPG", 1920, 1080, 30)),
        ] {
            assert_eq!(chosen(asked, &webcam()), expected, "{asked}");
        }
        // A slower rate leaves out what a faster one has.
        assert_eq!(
            chosen("fr=25", &[mode(b"YUYV", 640, 480, 20), mode(b"YUYV", 640, 480, 30)]).interval,
            Some((1, 30))
        );
        assert_eq!(
            chosen("fr=25", &[mode(b"YUYV", 640, 480, 24), mode(b"YUYV", 640, 480, 60)]).interval,
            Some((1, 24))
        );
        assert_eq!(target("").nearest(&[]), None);
    }

    #[test]
    fn pictures_in_the_asked_codec_come_before_those_that_have_to_be_made_anew() {
        for (asked, expected) in [
            ("ve=JPEG", mode(b"MJPG", 640, 480, 30)),
            ("ve=JPEG&w=1920&h=1080&fr=30", mode(b"MJPG", 1920, 1080, 30)),
            // Another rate or size has to be made, of whatever is nearest.
            ("ve=JPEG&fr=15", mode(b"YUYV", 640, 480, 15)),
            ("ve=JPEG&w=320&h=240", mode(b"YUYV", 640, 480, 30)),
        ] {
            assert_eq!(chosen(asked, &webcam()), expected, "{asked}");
        }
        let mut coded = webcam();
        coded.extend([mode(b"H264", 1280, 720, 30), mode(b"H264", 640, 480, 30)]);
        assert_eq!(chosen("", &coded), mode(b"H264", 640, 480, 30));
        assert_eq!(chosen("w=1280&h=720&fr=30", &coded), mode(b"H264", 1280, 720, 30));
        assert_eq!(chosen("ve=H265", &coded), mode(b"YUYV", 640, 480, 30));
        // RTP has no JPEG of that size.
        let large = [mode(b"MJPG", 3840, 2160, 30), mode(b"YUYV", 3840, 2160, 30)];
        assert_eq!(chosen("ve=JPEG&w=3840&h=2160", &large), large[1]);
    }

    #[test]
    fn all_who_share_a_camera_are_content_with_its_mode() {
        let device = Device::Camera(0);
        let of = |asked: &str| target(asked).wanted;
        let mut wanted = of("w=320&fr=10");
        wanted.join(&of("w=1280&h=720&fr=30"));
        assert_eq!(Target::new(&wanted, (640, 480)).nearest(&webcam()), Some(mode(b"MJPG", 1280, 720, 30)));
        let mut wanted = of("w=320&h=240&fr=10");
        wanted.join(&Wanted::of(&device, &Format::default()));
        let both = Target::new(&wanted, (640, 480));
        assert_eq!((both.width, both.height, both.thousandths), (640, 480, 25_000));
    }

    #[test]
    fn colours_are_kept_where_there_are_any() {
        let modes = [mode(b"GREY", 640, 480, 30), mode(b"MJPG", 640, 480, 30)];
        assert_eq!(chosen("", &modes).coding, Coding::Jpeg);
        assert_eq!(chosen("", &modes[..1]).coding, Coding::Pixels(Pixels::Gray8));
    }

    #[test]
    fn steps_are_kept_within_their_range() {
        assert_eq!(in_steps(100, 48, 8_192, 2), 100);
        assert_eq!(in_steps(101, 48, 8_192, 2), 102);
        assert_eq!(in_steps(10, 48, 8_192, 2), 48);
        assert_eq!(in_steps(9_000, 48, 8_191, 16), 8_176);
        assert_eq!(in_steps(7, 1, 10, 0), 7);
        assert_eq!(in_steps(u32::MAX, 1, u32::MAX, 7), 1 + (u32::MAX - 1) / 7 * 7);
    }
}
