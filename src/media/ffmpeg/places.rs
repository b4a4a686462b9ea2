//! Where frames lie in a file that has times and no index, for as long as a reader may ask for the place of a keyframe.

use std::collections::VecDeque;

use proto::frame::Frame;
use proto::time::MediaTime;

/// Frames that are remembered: some seconds of all tracks, more than a reader is ahead of what it hands out.
const FRAMES_MAX: usize = 1_024;

/// Frames of another track that are farther in front of a keyframe are from before it fell silent.
const SILENCE_NANOS: i64 = 3_000_000_000;

/// The frames that were read last without a jump, in the order of the file.
#[derive(Default)]
pub struct Places(VecDeque<Place>);

struct Place {
    track: u8,
    keyframe: bool,
    pts: MediaTime,
    dts: MediaTime,
    byte: u64,
}

impl Places {
    /// Remembers a frame whose times are ticks of `rate` hertz, and at which byte its packet begins.
    pub fn learn(&mut self, frame: &Frame, rate: u32, byte: u64) {
        if self.0.len() == FRAMES_MAX {
            self.0.pop_front();
        }
        let [pts, dts] = [frame.pts, frame.dts].map(|ticks| MediaTime::from_ticks(ticks, rate));
        self.0.push_back(Place { track: frame.track, keyframe: frame.keyframe, pts, dts, byte });
    }

    /// From where to read for a keyframe of the leading track and for all that the other tracks have since: muxers may
    /// put some of it in front of the keyframe. None where the keyframe was not read lately, or began what was.
    pub fn of_key(&self, lead: u8, key: MediaTime) -> Option<u64> {
        let is_key = |place: &&Place| place.track == lead && place.keyframe && place.pts == key;
        let found = self.0.iter().rev().find(is_key)?;
        let mut byte = found.byte;
        for track in 0..=self.0.iter().map(|place| place.track).max()? {
            let of_track = || self.0.iter().rev().filter(|place| place.track == track);
            if track != lead && of_track().next().is_some() {
                let before = of_track().find(|place| place.dts < found.dts)?;
                let is_silent = found.dts.0.saturating_sub(before.dts.0) > SILENCE_NANOS;
                byte = if is_silent { byte } else { byte.min(before.byte) };
            }
        }
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn places(frames: &[(u8, i64, bool, u64)]) -> Places {
        let mut places = Places::default();
        for (track, time, keyframe, byte) in frames.iter().copied() {
            let (pts, dts) = (time, time);
            let frame = Frame { track, pts, dts, duration: 1, keyframe, payload: Bytes::new() };
            places.learn(&frame, 1_000, byte);
        }
        places
    }

    fn key(ms: i64) -> MediaTime {
        MediaTime::from_ticks(ms, 1_000)
    }

    #[test]
    fn pictures_alone_are_read_from_their_keyframe_on() {
        let places = places(&[(0, 0, true, 10), (0, 40, false, 20), (0, 80, true, 30)]);
        assert_eq!((places.of_key(0, key(80)), places.of_key(0, key(0))), (Some(30), Some(10)));
        assert_eq!((places.of_key(0, key(40)), places.of_key(0, key(81))), (None, None));
    }

    #[test]
    fn sound_in_front_of_a_keyframe_is_read_with_it() {
        let frames =
            [(1, 20, true, 5), (1, 70, true, 10), (1, 90, true, 20), (0, 80, true, 30), (1, 110, true, 40)];
        assert_eq!(places(&frames).of_key(0, key(80)), Some(10));
        // What lies in front of it was read too long ago.
        assert_eq!(places(&frames[2..]).of_key(0, key(80)), None);
    }

    #[test]
    fn a_track_that_fell_silent_is_not_waited_for() {
        let frames = [(1, 20, true, 5), (0, 3_000, true, 30), (0, 3_040, true, 40)];
        let places = places(&frames);
        assert_eq!((places.of_key(0, key(3_000)), places.of_key(0, key(3_040))), (Some(5), Some(40)));
    }

    #[test]
    fn what_was_read_long_ago_is_forgotten() {
        let mut places = places(&[(0, 0, true, 10)]);
        for time in 1..=FRAMES_MAX as i64 {
            let frame =
                Frame { track: 0, pts: time, dts: time, duration: 1, keyframe: false, payload: Bytes::new() };
            places.learn(&frame, 1_000, 20);
        }
        assert_eq!(places.of_key(0, key(0)), None);
        assert_eq!(places.0.len(), FRAMES_MAX);
    }
}
