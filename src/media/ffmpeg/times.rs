//! When the frames of a track are decoded and shown, whatever the container leaves out.

use ffmpeg_next::codec::Id;

use super::raw::{Parser, Stream};
use super::tracks::Samples;

/// Translates a stream's time base into ticks of an RTP clock that counts from the content's first moment.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    time_base: (i64, i64),
    start_micros: i64,
    rate: u32,
}

/// Largest tick that is believed: 3,257 years at 90 kHz, far from any overflow.
const TICKS_MAX: i128 = 1 << 53;

impl Scale {
    /// `start_micros` is the content's first moment in the container's time.
    pub fn new(time_base: (i64, i64), start_micros: i64, rate: u32) -> Scale {
        Scale { time_base, start_micros, rate }
    }

    /// Ticks of a point in time, rounded to the nearest.
    pub fn ticks(&self, time: i64) -> i64 {
        let (num, den) = (i128::from(self.time_base.0), i128::from(self.time_base.1));
        let rate = i128::from(self.rate);
        // Container times are below 2^63, a factor below 2^31 * 10^6 * 2^32: the product fits 2^127 when clamped.
        let time = i128::from(time.clamp(-(1 << 60), 1 << 60));
        let above = (time * num).saturating_mul(1_000_000) - i128::from(self.start_micros) * den;
        let below = den * 1_000_000;
        let ticks = above.saturating_mul(rate).saturating_add(below / 2).div_euclid(below);
        ticks.clamp(-TICKS_MAX, TICKS_MAX) as i64
    }

    /// Ticks a second.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Ticks of a span of time.
    pub fn span(&self, duration: i64) -> u32 {
        let span = Scale { start_micros: 0, ..*self };
        u32::try_from(span.ticks(duration)).unwrap_or(0)
    }

    /// The point in the stream's time base that lies `nanos` after the content's first moment, rounded down.
    pub fn time_at(&self, nanos: i64) -> i64 {
        let (num, den) = (i128::from(self.time_base.0), i128::from(self.time_base.1));
        let nanos = i128::from(nanos) + i128::from(self.start_micros) * 1_000;
        let time = (nanos * den).div_euclid(num * 1_000_000_000);
        time.clamp(i128::from(i64::MIN / 4), i128::from(i64::MAX / 4)) as i64
    }
}

/// What a container says of a packet, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// When it is shown.
    pub pts: Option<i64>,
    /// When it is decoded.
    pub dts: Option<i64>,
    /// How long it is shown; zero when unknown.
    pub duration: u32,
    /// Whether decoding can begin here.
    pub keyframe: bool,
}

/// When a frame is shown and decoded, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it is shown.
    pub pts: i64,
    /// When it is decoded.
    pub dts: i64,
}

/// Completes the times of one track.
pub enum Times {
    /// The container tells both, or one that stands for both.
    Told {
        /// Where the last frame ended.
        end: i64,
    },
    /// The container tells when frames are shown, and pictures are reordered (Matroska).
    Shown(Shown),
    /// The container tells at most when pictures are decoded, or when some of them are shown; their order stands in the
    /// stream (H.264 and H.265 in AVI, in program streams and bare).
    Ordered(Box<Ordered>),
    /// The file is nothing but samples, which are counted.
    Counted {
        /// How samples lie in bytes.
        samples: Samples,
        /// When the next sample is heard.
        next: i64,
    },
    /// The container tells when pictures are decoded; only B pictures are shown at that time (MPEG-4 in AVI).
    Held {
        /// Ticks that everything is moved by so that the first picture is shown at zero.
        shift: i64,
    },
}

impl Times {
    /// Times of a picture or of sound.
    pub fn stamp(&mut self, told: Told, payload: &[u8]) -> Stamp {
        match self {
            Times::Told { end } => {
                let time = told.dts.or(told.pts).unwrap_or(*end);
                let stamp = Stamp { pts: told.pts.unwrap_or(time), dts: told.dts.unwrap_or(time) };
                *end = time.saturating_add(i64::from(told.duration));
                stamp
            }
            Times::Shown(shown) => shown.stamp(told),
            Times::Ordered(ordered) => ordered.stamp(told, payload),
            Times::Counted { samples, next } => {
                let time = *next;
                *next += (payload.len() / samples.bytes) as i64 * samples.ticks;
                Stamp { pts: time, dts: time }
            }
            Times::Held { shift } => {
                let dts = told.dts.or(told.pts).unwrap_or(0) - *shift;
                Stamp { pts: told.pts.map_or(dts, |pts| pts - *shift), dts }
            }
        }
    }

    /// What comes next is from elsewhere in the file.
    pub fn reset(&mut self) {
        match self {
            Times::Told { end } => *end = 0,
            Times::Shown(shown) => shown.window.clear(),
            Times::Ordered(ordered) => ordered.base = None,
            Times::Counted { next, .. } => *next = 0,
            Times::Held { .. } => {}
        }
    }
}

/// Makes decoding times: those of showing, in order, so much earlier as pictures are reordered. It begins anew at each
/// keyframe, so that the times do not depend on where reading began.
pub struct Shown {
    delay: usize,
    frame: i64,
    window: Vec<i64>,
}

impl Shown {
    /// `delay` pictures are decoded before the first is shown; a picture lasts `frame` ticks.
    pub fn new(delay: usize, frame: i64) -> Shown {
        Shown { delay, frame, window: Vec::with_capacity(delay + 1) }
    }

    /// A keyframe that is shown at `pts` comes next; `leading` pictures decoded behind it are shown before it.
    pub fn begin(&mut self, pts: i64, leading: usize) {
        self.window.clear();
        let first = (leading + self.delay) as i64;
        self.window.extend((0..self.delay as i64).map(|place| pts - (first - place) * self.frame));
    }

    /// When the picture that is shown at `pts` is decoded.
    pub fn decoded(&mut self, pts: i64) -> i64 {
        let place = self.window.partition_point(|earlier| *earlier <= pts);
        self.window.insert(place, pts);
        self.window.remove(0)
    }

    fn stamp(&self, told: Told) -> Stamp {
        let pts = told.pts.or(told.dts).or(self.window.last().copied()).unwrap_or(0);
        Stamp { pts, dts: pts }
    }
}

/// Makes times from picture order counts.
pub struct Ordered {
    parser: Parser,
    codec: Id,
    // Bytes of the length before each unit; None for start codes.
    length_bytes: Option<usize>,
    // Difference of the order counts of neighbouring pictures.
    step: i64,
    frame: i64,
    // What is taken off the container's decoding times so that they allow for reordering.
    delay: i64,
    // How long before it is shown a keyframe is decoded by the container's times.
    ahead: i64,
    // Time and order count that showing counts from; None until the first keyframe.
    base: Option<(i64, i64)>,
    // Time of the next picture, when the container does not tell.
    next: i64,
    // When the keyframe that reading goes on with is shown, where that is known.
    landed: Option<i64>,
}

impl Ordered {
    /// None when FFmpeg cannot parse the codec. `units` are the first access units of the stream.
    pub fn new<'a>(stream: &Stream, frame: i64, units: impl Iterator<Item = &'a [u8]>) -> Option<Ordered> {
        let codec = stream.codec;
        let record = if codec == Id::H264 { 4 } else { 21 };
        let is_record = stream.extradata.first() == Some(&1);
        let length_byte = stream.extradata.get(record).filter(|_| is_record);
        let length_bytes = length_byte.map(|byte| usize::from(byte & 3) + 1);
        let mut parser = Parser::new(codec, &stream.extradata)?;
        let mut orders: Vec<i64> = Vec::new();
        for unit in units {
            if is_refresh(codec, unit, length_bytes) && !orders.is_empty() {
                break;
            }
            orders.push(i64::from(parser.parse(unit).order));
        }
        orders.sort_unstable();
        let steps = orders.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step > 0);
        let step = steps.min().unwrap_or(1);
        let delay = stream.reorder as i64 * frame;
        let parser = Parser::new(codec, &stream.extradata)?;
        Some(Ordered {
            parser,
            codec,
            length_bytes,
            step,
            frame,
            delay,
            ahead: 0,
            base: None,
            next: 0,
            landed: None,
        })
    }

    /// The container tells when some pictures are shown, so that its decoding times allow for reordering.
    pub fn trust_decoding_times(&mut self) {
        (self.ahead, self.delay) = (self.delay, 0);
    }

    /// Reading goes on with the picture at `index` in decoding order, which is shown at `pts`.
    pub fn land(&mut self, index: u64, pts: i64) {
        self.next = index as i64 * self.frame;
        self.base = None;
        self.landed = Some(pts);
    }

    /// Reading goes on with the first picture.
    pub fn rewind(&mut self) {
        (self.next, self.base, self.landed) = (0, None, None);
    }

    fn stamp(&mut self, told: Told, unit: &[u8]) -> Stamp {
        let order = i64::from(self.parser.parse(unit).order);
        let time = told.dts.unwrap_or(self.next);
        self.next = time + self.frame;
        let shown = told.pts.unwrap_or(time + self.ahead);
        let (base_time, base_order) = match (self.base, self.landed.take()) {
            (None, Some(landed)) => (landed, order),
            (None, None) => (shown, order),
            (Some(_), _) if is_refresh(self.codec, unit, self.length_bytes) => (shown, order),
            (Some(base), _) => base,
        };
        self.base = Some((base_time, base_order));
        let counted = base_time + (order - base_order) * self.frame / self.step;
        let pts = told.pts.unwrap_or(counted);
        Stamp { pts, dts: (time - self.delay).min(pts) }
    }
}

/// Whether order counts begin anew with this access unit.
fn is_refresh(codec: Id, unit: &[u8], length_bytes: Option<usize>) -> bool {
    let is = |header: u8| match codec {
        Id::H264 => header & 31 == 5,
        _ => (16..=20).contains(&(header >> 1 & 63)),
    };
    let Some(length_bytes) = length_bytes else {
        let headers = unit.windows(4).filter(|window| window[..3] == [0, 0, 1]).map(|window| window[3]);
        // The first slice decides; what stands before it is short.
        return headers.take(UNITS_BEFORE_SLICE_MAX).any(is);
    };
    let mut rest = unit;
    for _ in 0..UNITS_BEFORE_SLICE_MAX {
        let Some((length, behind)) = rest.split_at_checked(length_bytes) else { return false };
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        match behind.first() {
            Some(header) if is(*header) => return true,
            _ => rest = behind.get(length..).unwrap_or(&[]),
        }
    }
    false
}

/// Parameter sets, delimiters and messages that are looked through for the first slice.
const UNITS_BEFORE_SLICE_MAX: usize = 8;

/// Whether an MPEG-4 picture is a B picture (ISO/IEC 14496-2 section 6.2.5).
pub fn is_mpeg4_b_picture(picture: &[u8]) -> bool {
    let at = picture.windows(4).position(|window| window == [0, 0, 1, 0xb6]);
    at.and_then(|at| picture.get(at + 4)).is_some_and(|byte| byte >> 6 == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_the_first_moment() {
        let scale = Scale::new((1, 90_000), 1_400_011, 90_000);
        assert_eq!(scale.ticks(126_001), 0);
        assert_eq!(scale.ticks(129_601), 3_600);
        assert_eq!(scale.time_at(0), 126_000);
        assert_eq!(Scale::new((1, 1_000), -7_000, 48_000).ticks(-7), 0);
        assert_eq!(Scale::new((1_001, 30_000), 0, 90_000).ticks(1), 3_003);
        Scale::new((i64::from(i32::MAX), 1), i64::MAX, u32::MAX).ticks(i64::MIN);
    }

    #[test]
    fn decoding_times_precede_showing_and_do_not_depend_on_the_way() {
        let decoded = |shown: &mut Shown, from: i64| -> Vec<i64> {
            shown.begin(from, 0);
            [0, 40, 20, 10, 30].iter().map(|pts| shown.decoded(from + pts)).collect()
        };
        let mut shown = Shown::new(2, 10);
        assert_eq!(decoded(&mut shown, 0), [-20, -10, 0, 10, 20]);
        let second = decoded(&mut shown, 50);
        assert_eq!(second, decoded(&mut Shown::new(2, 10), 50));
        assert_eq!(second[0], 30);
    }

    #[test]
    fn pictures_shown_before_their_keyframe_are_decoded_behind_it() {
        let mut shown = Shown::new(1, 10);
        shown.begin(30, 2);
        let decoded: Vec<_> = [30, 10, 20, 60, 40, 50].iter().map(|pts| shown.decoded(*pts)).collect();
        assert_eq!(decoded, [0, 10, 20, 30, 40, 50]);
    }

    #[test]
    fn b_pictures_are_told_by_their_header() {
        assert!(is_mpeg4_b_picture(&[0, 0, 1, 0xb6, 0x9f]));
        assert!(!is_mpeg4_b_picture(&[0, 0, 1, 0xb6, 0x5f]));
        assert!(!is_mpeg4_b_picture(&[0, 0, 1]));
    }
}
