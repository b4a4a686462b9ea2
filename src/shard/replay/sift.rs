//! Which access units are sent of those that come by.

use proto::rtp::batch::Meta;
use proto::rtsp::headers::frames::Frames;
use proto::time::MediaTime;
use proto::track::{Kind, Track};
use smallvec::SmallVec;

use super::order::{Direction, Order};
use super::{bit, walk::Item};

/// Keeps what is wanted of each track.
#[derive(Debug)]
pub struct Sift {
    frames: Frames,
    has_sound: bool,
    lanes: SmallVec<[Lane; 2]>,
}

/// What is known of one track.
#[derive(Clone, Copy, Debug)]
struct Lane {
    is_video: bool,
    is_wanted: bool,
    /// The latest presentation time since the last keyframe: what is shown before that was predicted from both sides.
    latest: MediaTime,
    /// Presentation time of the picture that was kept last.
    kept: Option<MediaTime>,
}

impl Sift {
    /// Keeps what an order asks for of the tracks whose bits are set.
    pub fn new(tracks: &[Track], leading: u8, order: &Order, wanted: u32) -> Sift {
        let lanes = tracks.iter().zip(0u8..).map(|(track, index)| {
            // Sound in reverse is of no use to anybody (ONVIF streaming specification section 6.6.1).
            let is_wanted =
                wanted & bit(index) != 0 && (order.direction == Direction::Forward || index == leading);
            let is_video = track.kind() == Kind::Video;
            Lane { is_video, is_wanted, latest: MediaTime(i64::MIN), kept: None }
        });
        Sift { frames: order.frames, has_sound: order.has_sound, lanes: lanes.collect() }
    }

    /// Whether an access unit is sent. All of them have to be shown to it, in the order in which they are decoded.
    pub fn keeps(&mut self, meta: &Meta) -> bool {
        let Some(lane) = self.lanes.get_mut(usize::from(meta.track)) else { return false };
        let is_predicted_from_both = !meta.keyframe && meta.pts < lane.latest;
        lane.latest = if meta.keyframe { meta.pts } else { lane.latest.max(meta.pts) };
        if !lane.is_wanted || !lane.is_video {
            return lane.is_wanted && self.has_sound;
        }
        let keeps = match self.frames {
            Frames::All => true,
            Frames::Predicted => !is_predicted_from_both,
            Frames::Intra(interval) => {
                let distance = |kept: MediaTime| kept.max(meta.pts).since(kept.min(meta.pts));
                meta.keyframe && lane.kept.is_none_or(|kept| distance(kept) >= interval)
            }
        };
        if keeps {
            lane.kept = Some(meta.pts);
        }
        keeps
    }

    /// Takes back that a picture was kept: another stands in for it.
    pub fn forget(&mut self, item: &Item) {
        if let Some(lane) = self.lanes.get_mut(usize::from(item.track)) {
            lane.kept = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::track::Codec;

    use super::*;

    const FRAME: i64 = 40_000_000;

    /// The presentation times that are kept of pictures in the order of decoding, keyframes with an exclamation mark.
    fn kept(frames: Frames, pictures: &[&str]) -> Vec<i64> {
        let order = Order { frames, has_sound: true, ..Order::default() };
        let mut sift = Sift::new(&[Track::new(Codec::Jpeg, 0)], 0, &order, 1);
        let pts = |picture: &&&str| picture.trim_end_matches('!').parse::<i64>().unwrap();
        let meta = |picture: &&&str| Meta {
            track: 0,
            keyframe: picture.ends_with('!'),
            dts: MediaTime::ZERO,
            pts: MediaTime(pts(picture) * FRAME),
        };
        pictures.iter().filter(|picture| sift.keeps(&meta(picture))).map(|picture| pts(&picture)).collect()
    }

    #[test]
    fn what_is_predicted_from_both_sides_is_left_out() {
        // I P b B b P, then a group whose first pictures are shown before its keyframe.
        let pictures = ["0!", "4", "2", "1", "3", "5", "8!", "6", "7", "9"];
        assert_eq!(kept(Frames::Predicted, &pictures), [0, 4, 5, 8, 9]);
        assert_eq!(kept(Frames::All, &pictures).len(), 10);
        // In reverse.
        assert_eq!(kept(Frames::Predicted, &["8!", "10", "9", "4!", "6", "5"]), [8, 10, 4, 6]);
    }

    #[test]
    fn keyframes_have_an_interval_of_the_recording_whichever_way() {
        let all = ["0!", "1", "5!", "10!", "11!", "15!", "20!"];
        assert_eq!(kept(Frames::Intra(Duration::ZERO), &all), [0, 5, 10, 11, 15, 20]);
        let interval = Frames::Intra(Duration::from_nanos(10 * FRAME as u64));
        assert_eq!(kept(interval, &all), [0, 10, 20]);
        assert_eq!(kept(interval, &["20!", "15!", "11!", "10!", "5!", "0!"]), [20, 10, 0]);
    }
}
