//! One track of a live stream on its way into another format.

use std::time::{Duration, Instant};

use proto::frame::Frame;
use proto::rtp::batch::Batch;
use proto::rtp::depacketize::Depacketizer;
use proto::time::MediaTime;
use proto::track::{Codec, Framing, Kind, Track};

use super::behind::Pace;
use crate::media::library::MediaError;
use crate::media::transcode::Convert;

/// How long a keyframe is waited for where pictures are missing.
const KEYFRAME_MAX: Duration = Duration::from_secs(1);

/// Clocks that are off by less than this share of a second are left alone.
const SLACK: i64 = 50;

/// One track of the stream as it comes.
pub struct Lane {
    depacketizer: Depacketizer,
    clock_rate: u32,
    /// The RTP timestamp that came last, and the content time it is, in ticks.
    latest: Option<(u32, i64)>,
    pub is_video: bool,
    pub way: Way,
    /// Since when pictures are missing, so that one is needed that stands alone.
    lost: Option<Instant>,
}

/// What becomes of a track; which one of the new stream it is.
pub enum Way {
    /// It stays as it is.
    Keep(u8),
    /// It is left out.
    Drop,
    /// It is made anew.
    Convert(u8, Box<dyn Convert>),
}

impl Lane {
    pub fn new(track: &Track, way: Way) -> Lane {
        Lane {
            depacketizer: Depacketizer::new(track),
            clock_rate: track.clock_rate,
            latest: None,
            is_video: track.kind() == Kind::Video,
            way,
            lost: None,
        }
    }

    /// Whether pictures were lost, and one is needed that stands alone.
    pub fn awaits_keyframe(&self) -> bool {
        self.lost.is_some()
    }

    /// Takes what came and hands on what it makes of it, perhaps of what came earlier.
    pub fn take(&mut self, batch: &Batch, pace: Pace, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        if matches!(self.way, Way::Drop) {
            return Ok(());
        }
        for packet in batch.packets() {
            if let Err(error) = self.depacketizer.handle_packet(batch.packet(packet)) {
                tracing::trace!(%error, "a packet that is to be made anew is left out");
            }
            while let Some(received) = self.depacketizer.poll_frame() {
                let pts = self.time(received.timestamp, batch);
                let dts = batch.meta().dts.to_ticks(self.clock_rate).min(pts);
                let (keyframe, payload) = (received.keyframe, received.payload);
                let frame = Frame { track: 0, pts, dts, duration: 0, keyframe, payload };
                self.pass(frame, received.lost, pace, out)?;
            }
        }
        Ok(())
    }

    /// The content time of a frame that a batch brought, in ticks. Sources' clocks are corrected while they run; frames
    /// follow each other as their timestamps say until that is off by more than is heard.
    fn time(&mut self, timestamp: u32, batch: &Batch) -> i64 {
        let apart = |later: u32, earlier: u32| i64::from(later.wrapping_sub(earlier) as i32);
        let content = batch.meta().pts.to_ticks(self.clock_rate) + apart(timestamp, batch.timestamp());
        let ticks = match self.latest {
            Some((before, ticks)) => {
                let expected = ticks + apart(timestamp, before);
                let slack = i64::from(self.clock_rate) / SLACK;
                if (expected - content).abs() <= slack { expected } else { content }
            }
            None => content,
        };
        self.latest = Some((timestamp, ticks));
        ticks
    }

    fn pass(
        &mut self,
        frame: Frame,
        is_behind_loss: bool,
        pace: Pace,
        out: &mut dyn FnMut(Frame),
    ) -> Result<(), MediaError> {
        let (index, converter) = match &mut self.way {
            Way::Drop => return Ok(()),
            Way::Keep(index) => {
                out(Frame { track: *index, ..frame });
                return Ok(());
            }
            Way::Convert(index, converter) => (*index, converter),
        };
        let mut hand_on = |made: Frame| out(Frame { track: index, ..made });
        if !self.is_video {
            return converter.push(&frame, &mut hand_on);
        }
        if is_behind_loss && !frame.keyframe || pace == Pace::Nothing {
            self.lost.get_or_insert_with(Instant::now);
        }
        if let Some(lost) = self.lost {
            // Not every source can be asked for one: damage is seen rather than nothing.
            if pace == Pace::Nothing || !frame.keyframe && lost.elapsed() < KEYFRAME_MAX {
                return Ok(());
            }
            self.lost = None;
            if frame.keyframe {
                converter.reset(MediaTime(i64::MIN));
            }
        }
        match pace {
            Pace::Whole => converter.push(&frame, &mut hand_on),
            Pace::Unseen => converter.skip(&frame),
            Pace::Nothing => Ok(()),
        }
    }
}

/// A track as the depacketizer gives its frames.
pub fn as_received(track: &Track) -> Track {
    let mut track = track.clone();
    if let Codec::H264 { framing, .. } | Codec::H265 { framing, .. } = &mut track.codec {
        *framing = Framing::AnnexB;
    }
    track
}

/// Takes documents of others for what they are, as far as they are no more than XML: then they can be sent on.
pub fn know_metadata(track: &mut Track) {
    if let Codec::Other { rtpmap, .. } = &track.codec
        && rtpmap.eq_ignore_ascii_case("vnd.onvif.metadata/90000")
    {
        track.codec = Codec::Metadata;
    }
}

#[cfg(test)]
mod tests {
    use proto::rtp::batch::{BatchWriter, Meta, Numbering};

    use super::*;

    fn batch(timestamp: u32, pts_ms: i64) -> Batch {
        let numbering = Numbering { ssrc: 1, payload_type: 96, sequence: 1, timestamp };
        let pts = MediaTime(pts_ms * 1_000_000);
        let mut writer = BatchWriter::new(numbering, 10);
        writer.packet(true, &[&[0; 10]]);
        writer.finish(Meta { track: 0, keyframe: true, dts: pts, pts }).unwrap()
    }

    #[test]
    fn frames_follow_each_other_as_their_timestamps_say_until_their_clock_is_set() {
        let mut lane = Lane::new(&Track::new(Codec::Jpeg, 0), Way::Keep(0));
        let first = u32::MAX - 1_000;
        let mut at = |timestamp: u32, pts_ms| lane.time(timestamp, &batch(timestamp, pts_ms));
        assert_eq!(at(first, 500), 45_000);
        // Over the wrap, and a little off.
        assert_eq!(at(first.wrapping_add(3_600), 545), 48_600);
        assert_eq!(at(first.wrapping_add(7_200), 580), 52_200);
        // A report has moved the clock.
        assert_eq!(at(first.wrapping_add(10_800), 900), 81_000);
        assert_eq!(at(first.wrapping_add(14_400), 940), 84_600);
    }
}
