//! One track of a live stream on its way into another format.

use proto::frame::Frame;
use proto::rtp::batch::Batch;
use proto::rtp::depacketize::Depacketizer;
use proto::time::MediaTime;
use proto::track::{Codec, Framing, Kind, Track};

use super::behind::Pace;
use crate::media::library::MediaError;
use crate::media::transcode::Convert;

/// One track of the stream as it comes.
pub struct Lane {
    depacketizer: Depacketizer,
    clock_rate: u32,
    /// RTP timestamp of content time zero.
    base: u32,
    pub is_video: bool,
    pub way: Way,
    /// Whether nothing can be decoded before a keyframe.
    awaits_keyframe: bool,
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
    pub fn new(track: &Track, base: u32, way: Way) -> Lane {
        Lane {
            depacketizer: Depacketizer::new(track),
            clock_rate: track.clock_rate,
            base,
            is_video: track.kind() == Kind::Video,
            way,
            awaits_keyframe: false,
        }
    }

    /// Whether pictures were lost, and one is needed that stands alone.
    pub fn awaits_keyframe(&self) -> bool {
        self.awaits_keyframe
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
                let meta = batch.meta();
                let pts = unwrapped(received.timestamp.wrapping_sub(self.base), meta.pts, self.clock_rate);
                let dts = meta.dts.to_ticks(self.clock_rate).min(pts);
                let (keyframe, payload) = (received.keyframe, received.payload);
                let frame = Frame { track: 0, pts, dts, duration: 0, keyframe, payload };
                self.pass(frame, received.lost, pace, out)?;
            }
        }
        Ok(())
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
            self.awaits_keyframe = true;
        }
        if self.awaits_keyframe {
            if !frame.keyframe || pace == Pace::Nothing {
                return Ok(());
            }
            self.awaits_keyframe = false;
            converter.reset(MediaTime(i64::MIN));
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

/// A track that stays as it is, in its new place.
pub fn kept(track: &Track, index: u8) -> Track {
    let mut kept = Track::new(track.codec.clone(), index);
    (kept.size, kept.framerate, kept.bitrate) = (track.size, track.framerate, track.bitrate);
    kept
}

/// The ticks behind content time zero that an RTP timestamp stands for, of all that it may the nearest to a time.
fn unwrapped(timestamp: u32, near: MediaTime, clock_rate: u32) -> i64 {
    let near = near.to_ticks(clock_rate);
    near.wrapping_add(i64::from(timestamp.wrapping_sub(near as u32) as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_those_nearest_to_their_time() {
        let wrap = 1_i64 << 32;
        for ticks in [0, -3_000, 90_000, wrap - 10, wrap + 10, 5 * wrap + 7] {
            for off in [-20_000, 0, 20_000] {
                let near = MediaTime::from_ticks(ticks + off, 90_000);
                assert_eq!(unwrapped(ticks as u32, near, 90_000), ticks, "{ticks} {off}");
            }
        }
    }
}
