//! A viewer who starts at a cached keyframe and is live a moment later: cached pictures get timestamps that lie close
//! together, so that a player shows them at once, and sound begins with the present.

use std::time::Duration;

use proto::rtp::batch::Batch;
use proto::time::MediaTime;
use proto::track::Kind;

use super::live::LiveStream;
use crate::egress::numbering::TimestampMap;

/// What the cached pictures are squeezed into.
const SQUEEZED: Duration = Duration::from_millis(250);

/// How a viewer catches up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CatchUp {
    /// Index of the first batch that is live.
    until: u64,
    /// Content time that is live.
    live: MediaTime,
    /// Content seconds a second.
    scale: f64,
    /// Tracks with pictures, a bit each.
    pictures: u64,
}

impl CatchUp {
    /// For a viewer who starts at the batch `first`; None when there is nothing to catch up with.
    pub fn new(stream: &LiveStream, first: u64) -> Option<CatchUp> {
        let tracks = stream.description.tracks.iter().enumerate();
        let pictures: u64 = (tracks.take(64))
            .filter(|(_, track)| track.kind() == Kind::Video)
            .map(|(index, _)| 1 << index)
            .sum();
        let until = stream.window.end();
        let batches = (first..until).filter_map(|index| stream.window.get(index));
        let shown: Vec<_> = (batches.map(|batch| batch.meta()))
            .filter(|meta| is_in(pictures, meta.track))
            .map(|meta| meta.pts)
            .collect();
        let (start, live) = (*shown.iter().min()?, *shown.iter().max()?);
        let scale = live.since(start).as_secs_f64() / SQUEEZED.as_secs_f64();
        (scale > 1.0).then_some(CatchUp { until, live, scale, pictures })
    }

    /// Where on the stream's own timeline a content time is shown.
    pub fn shown_at(&self, content: MediaTime) -> MediaTime {
        let before = (self.live.0 - content.0).max(0) as f64 / self.scale;
        MediaTime(self.live.0 - before as i64)
    }

    /// How the timestamps of the batch at `index` are mapped; None when it is not sent.
    pub fn map(&self, index: u64, batch: &Batch, clock_rate: u32) -> Option<TimestampMap> {
        let meta = batch.meta();
        if index >= self.until {
            return Some(TimestampMap::Offset(0));
        }
        if !is_in(self.pictures, meta.track) {
            return None;
        }
        let ahead = MediaTime(self.live.0 - meta.pts.0).to_ticks(clock_rate);
        let live = batch.timestamp().wrapping_add(ahead as u32);
        Some(TimestampMap::Scaled { from: live, to: live, scale: self.scale, near: -ahead })
    }
}

fn is_in(tracks: u64, track: u8) -> bool {
    1u64.checked_shl(track.into()).is_some_and(|bit| tracks & bit != 0)
}
