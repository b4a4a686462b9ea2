//! What a PLAY asks for by the words of ONVIF (streaming specification section 6.5), and whether it can be had.

use std::time::Duration;

use proto::rtsp::headers::cseq::cseq;
use proto::rtsp::headers::date::Utc;
use proto::rtsp::headers::frames::Frames;
use proto::rtsp::headers::range::{Npt, Range, Span};
use proto::rtsp::headers::rate_control::is_yes;
use proto::rtsp::headers::require::{self, REPLAY};
use proto::rtsp::headers::scale::{Scale, Speed};
use proto::rtsp::message::Headers;
use proto::rtsp::status::Status;
use proto::time::MediaTime;

use super::order::{Direction, Order, Standing, Unit};
use crate::media::library::FileInfo;
use crate::shard::connection::Refusal;
use crate::shard::file::{Pace, SCALE_ALL_FRAMES_MAX};
use crate::shard::play::{BEHIND_END_GRANTED, SCALE_GRANTED, SPEED_GRANTED};

/// What a PLAY asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    from: Option<Point>,
    until: Option<Point>,
    /// In what its range is told; None when it has none.
    pub unit: Option<Unit>,
    /// How fast the content passes, and which way.
    pub scale: Option<Scale>,
    /// How fast it is delivered.
    pub speed: Option<Speed>,
    /// Which pictures.
    pub frames: Option<Frames>,
    /// Whether the server sets the pace.
    pub rate_control: Option<bool>,
    immediate: Option<bool>,
    /// Low-order byte of its `CSeq`.
    pub cseq: u8,
}

/// A place in a recording.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// Since its first moment.
    Npt(Duration),
    /// When it was recorded.
    Clock(Utc),
}

/// Whether a request asks for a recording by the words of ONVIF. GStreamer says them without the feature tag.
pub fn asks_replay(headers: &Headers) -> bool {
    let has_words = ["Rate-Control", "Frames", "Immediate"].iter().any(|name| headers.get(name).is_some());
    has_words || require::has(headers, REPLAY)
}

impl Wish {
    /// Reads the headers of a PLAY.
    pub fn read(headers: &Headers) -> Result<Wish, Refusal> {
        let refused = |reason: String| Refusal::new(Status::BAD_REQUEST, reason);
        let scale = headers.get("Scale").map(Scale::parse).transpose();
        let speed = headers.get("Speed").map(Speed::parse).transpose();
        let frames = headers.get("Frames").map(Frames::parse).transpose();
        let yes_or_no = |name| is_yes(headers, name).map_err(|error| refused(format!("{name}: {error}")));
        let range = headers.get("Range").map(Range::parse).transpose();
        let range = range.map_err(|error| Refusal::new(error.status(), format!("Range: {error}")))?;
        let (from, until, unit) = match range.map(|range| range.span) {
            None => (None, None, None),
            Some(Span::Npt { from, to }) => (from.and_then(at), to.and_then(at), Some(Unit::Npt)),
            Some(Span::Clock { from, to }) => {
                (from.map(Point::Clock), to.map(Point::Clock), Some(Unit::Clock))
            }
            Some(Span::Smpte { .. }) => {
                let reason = "a recording is replayed by its times of day: use clock or npt";
                return Err(Refusal::new(Status::INVALID_RANGE, reason));
            }
        };
        Ok(Wish {
            from,
            until,
            unit,
            scale: scale.map_err(|_| refused("Scale is not a number above or below zero".to_owned()))?,
            speed: speed.map_err(|_| refused("Speed is not a number above zero".to_owned()))?,
            frames: frames.map_err(|error| refused(error.to_string()))?,
            rate_control: yes_or_no("Rate-Control")?,
            immediate: yes_or_no("Immediate")?,
            cseq: cseq(headers).and_then(|value| value.parse::<u128>().ok()).unwrap_or_default() as u8,
        })
    }

    /// Whether it asks for nothing but that playing goes on as it does.
    pub fn is_sign_of_life(&self) -> bool {
        let says_how = self.scale.is_some() || self.speed.is_some() || self.frames.is_some();
        self.unit.is_none() && !says_how && self.rate_control.is_none() && self.immediate.is_none()
    }

    /// What is granted of a recording that stands so.
    pub fn order(&self, info: &FileInfo, standing: Standing) -> Result<Order, Refusal> {
        let invalid = |reason| Refusal::new(Status::INVALID_RANGE, reason);
        let is_backward = self.scale.is_some_and(|scale| scale.ratio() < 0.0);
        let direction = if is_backward { Direction::Backward } else { Direction::Forward };
        let end = info.duration.map(|duration| MediaTime::ZERO + duration);
        let from = self.begins(info, standing.at, direction)?;
        if !info.seekable && (is_backward || from > MediaTime::ZERO) {
            return Err(invalid("this file can only be played from its start"));
        }
        let is_behind = |until: &MediaTime| if is_backward { *until < from } else { *until > from };
        let until = match self.unit {
            Some(_) => self.until.map(|point| point.content(info)),
            // Who changes how it is played has not said that it is to end elsewhere.
            None => standing.until.filter(|until| standing.direction == direction && is_behind(until)),
        };
        if until.is_some_and(|until| !is_behind(&until)) {
            return Err(invalid("Range ends before it begins, in the direction of Scale"));
        }
        let is_the_end = |until: &MediaTime| match direction {
            Direction::Backward => *until <= MediaTime::ZERO,
            // Ranges are told in milliseconds.
            Direction::Forward => end.is_some_and(|end| *until + Duration::from_millis(1) >= end),
        };
        let pace = self.pace();
        let is_slow = pace.is_none_or(|pace| pace.scale <= SCALE_ALL_FRAMES_MAX);
        Ok(Order {
            from,
            until: until.filter(|until| !is_the_end(until)),
            direction,
            frames: self.frames.unwrap_or(if is_slow { Frames::All } else { Frames::Intra(Duration::ZERO) }),
            has_sound: self.frames.is_some() || is_slow,
            pace,
            cseq: self.cseq,
            is_immediate: self.immediate == Some(true),
        })
    }

    /// Where it begins, in a recording that stands at `here`.
    fn begins(
        &self,
        info: &FileInfo,
        here: Option<MediaTime>,
        direction: Direction,
    ) -> Result<MediaTime, Refusal> {
        let invalid = |reason| Refusal::new(Status::INVALID_RANGE, reason);
        let end = info.duration.map(|duration| MediaTime::ZERO + duration);
        let asked = self.from.map(|point| point.content(info)).or(here);
        match direction {
            Direction::Forward => {
                let from = asked.unwrap_or_default().max(MediaTime::ZERO);
                if end.is_some_and(|end| from > end + BEHIND_END_GRANTED) {
                    return Err(invalid("Range begins behind the end"));
                }
                Ok(from)
            }
            Direction::Backward if asked.is_some_and(|asked| asked < MediaTime::ZERO) => {
                Err(invalid("Range begins before the recording does"))
            }
            // Where the length is not told it is found when that is read.
            Direction::Backward => {
                let end = end.unwrap_or(MediaTime(FAR));
                Ok(asked.map_or(end, |asked| asked.min(end)))
            }
        }
    }

    /// How fast it is played, whichever way; None where the viewer sets the pace.
    pub fn pace(&self) -> Option<Pace> {
        if self.rate_control == Some(false) {
            return None;
        }
        let scale = self.scale.map_or(1.0, |scale| scale.ratio().abs());
        let speed = self.speed.map_or(1.0, Speed::ratio);
        Some(Pace {
            scale: scale.clamp(SCALE_GRANTED.0, SCALE_GRANTED.1),
            speed: speed.clamp(SPEED_GRANTED.0, SPEED_GRANTED.1),
        })
    }
}

impl Point {
    /// The content time of a place; below zero when it lies before the recording.
    fn content(self, info: &FileInfo) -> MediaTime {
        match self {
            Point::Npt(time) => MediaTime::ZERO + time,
            Point::Clock(Utc(time)) => {
                let distance = time.as_nanos() as i128 - info.recorded.0.as_nanos() as i128;
                MediaTime(distance.clamp(i128::from(-FAR), i128::from(FAR)) as i64)
            }
        }
    }
}

fn at(npt: Npt) -> Option<Point> {
    match npt {
        Npt::Now => None,
        Npt::At(time) => Some(Point::Npt(time)),
    }
}

/// 146 years: a place beyond it is taken for one there.
const FAR: i64 = i64::MAX / 2;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::media::library::{Answer, Library};
    use crate::media::memory::{MemoryLibrary, Presentation, asked};

    /// Ten seconds from 2026-01-01T00:00:00Z on.
    fn info() -> Arc<FileInfo> {
        let library = MemoryLibrary::new(1_400);
        library.add("film", Presentation::default());
        let answer = asked(|reply| library.describe("/film", &[], 1, reply));
        let Answer::Described(_, Ok(info)) = answer else { panic!("described") };
        info
    }

    fn granted(headers: &[(&str, &str)]) -> Result<Order, Status> {
        let mut all = Headers::new();
        headers.iter().for_each(|(name, value)| all.push(name.to_string(), *value));
        Wish::read(&all)
            .and_then(|wish| wish.order(&info(), Standing::default()))
            .map_err(|refusal| refusal.status)
    }

    fn range(scale: &str, range: &str) -> Result<(f64, Option<f64>), Status> {
        let order = granted(&[("Scale", scale), ("Range", range)])?;
        Ok((order.from.as_secs_f64(), order.until.map(MediaTime::as_secs_f64)))
    }

    #[test]
    fn times_of_day_are_places_in_the_recording() {
        assert_eq!(range("1", "clock=20260101T000002.5Z-20260101T000004Z"), Ok((2.5, Some(4.0))));
        assert_eq!(range("1", "clock=19000101T000000.00Z-"), Ok((0.0, None)));
        assert_eq!(range("1", "clock=-20260101T000004Z"), Ok((0.0, Some(4.0))));
        assert_eq!(range("1", "clock=20260101T000004Z-20260101T000010Z"), Ok((4.0, None)));
        assert_eq!(range("1", "npt=1-2"), Ok((1.0, Some(2.0))));
        assert_eq!(range("1", "clock=20260101T000011Z-"), Err(Status::INVALID_RANGE));
        assert_eq!(range("1", "clock=20260101T000004Z-20260101T000002Z"), Err(Status::INVALID_RANGE));
        assert_eq!(range("1", "smpte=00:00:01-"), Err(Status::INVALID_RANGE));
    }

    #[test]
    fn in_reverse_a_range_falls() {
        assert_eq!(range("-1", "clock=20260101T000004Z-20260101T000002Z"), Ok((4.0, Some(2.0))));
        assert_eq!(range("-1.0", "clock=20260101T000004Z-20260101T000000Z"), Ok((4.0, None)));
        assert_eq!(range("-1.0", "clock=20270101T000000Z-"), Ok((10.0, None)));
        assert_eq!(range("-1.0", "npt=now-"), Ok((10.0, None)));
        assert_eq!(range("-1", "clock=20251231T235959Z-"), Err(Status::INVALID_RANGE));
        assert_eq!(range("-1", "clock=20260101T000002Z-20260101T000004Z"), Err(Status::INVALID_RANGE));
    }

    #[test]
    fn the_pace_is_the_servers_or_the_viewers() {
        let pace = |headers: &[(&str, &str)]| granted(headers).map(|order| (order.pace, order.frames));
        let at = |scale, speed| Some(Pace { scale, speed });
        assert_eq!(pace(&[("Scale", "-1.5"), ("Speed", "2")]), Ok((at(1.5, 2.0), Frames::All)));
        assert_eq!(pace(&[("Scale", "-99")]), Ok((at(16.0, 1.0), Frames::Intra(Duration::ZERO))));
        assert_eq!(pace(&[("Scale", "8"), ("Frames", "all")]), Ok((at(8.0, 1.0), Frames::All)));
        assert_eq!(pace(&[("Scale", "-4"), ("Rate-Control", "no")]), Ok((None, Frames::All)));
        for (name, value) in
            [("Rate-Control", "maybe"), ("Immediate", ""), ("Frames", "some"), ("Scale", "0")]
        {
            assert_eq!(granted(&[(name, value)]), Err(Status::BAD_REQUEST), "{name}: {value}");
        }
    }

    #[test]
    fn the_number_of_a_request_is_told_by_its_last_byte() {
        for (value, cseq) in [("7", 7), ("256", 0), ("99999999999999999999", 255)] {
            assert_eq!(granted(&[("CSeq", value)]).map(|order| order.cseq), Ok(cseq), "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_read_without_panic(
            name in prop::sample::select(vec!["Range", "Scale", "Speed", "Frames", "Rate-Control", "Immediate", "CSeq"]),
            value in "(clock=|npt=)?[-0-9.:TZnow;=/intra]{0,40}",
            scale in prop::sample::select(vec!["1", "-1", "-0.1", "99"]),
        ) {
            let _ = granted(&[("Scale", scale), (name, &value)]);
        }
    }
}
