//! A viewer who starts at a cached keyframe and is live a moment later: cached pictures get timestamps that lie close
//! together, so that a player shows them at once, and sound begins with the present.

use std::iter;
use std::time::Duration;

use proto::rtp::batch::Batch;
use proto::time::MediaTime;
use proto::track::Kind;

use super::live::LiveStream;
use crate::egress::numbering::TimestampMap;

/// What the cached pictures are squeezed into.
const SQUEEZED: Duration = Duration::from_millis(250);

/// Tracks with pictures that are squeezed; those of further ones begin with the present, as sound does.
const PICTURES_MAX: usize = 4;

/// How a viewer catches up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CatchUp {
    /// Index of the first batch that is live.
    until: u64,
    /// Content time that is live.
    live: MediaTime,
    /// Content seconds a second.
    scale: f64,
    /// Tracks with pictures, and the RTP timestamp of each that is live: content times may be another's by then, for
    /// reports of the source move them.
    pictures: [Option<(u8, u32)>; PICTURES_MAX],
}

impl CatchUp {
    /// For a viewer who starts at the batch `first`; None when there is nothing to catch up with.
    pub fn new(stream: &LiveStream, first: u64) -> Option<CatchUp> {
        let tracks = stream.description.tracks.iter().zip(0u8..);
        let mut tracks = tracks.filter(|(track, _)| track.kind() == Kind::Video);
        let until = stream.window.end();
        let mut pictures = [None; PICTURES_MAX];
        let (mut live, mut longest): (Option<MediaTime>, f64) = (None, 0.0);
        for place in &mut pictures {
            let Some((track, index)) = tracks.next() else { break };
            let batches = (first..until).filter_map(|at| stream.window.get(at));
            let mut batches = batches.filter(|batch| batch.meta().track == index);
            let Some(start) = batches.next() else { continue };
            // Timestamps wrap, and so they are compared with the first.
            let ahead = |batch: &Batch| batch.timestamp().wrapping_sub(start.timestamp()) as i32;
            let shown: Vec<_> = iter::once(start).chain(batches).map(|it| (ahead(it), it)).collect();
            let settled = settled(shown.iter().map(|(ticks, _)| *ticks));
            let last = shown.iter().filter(|(ticks, _)| *ticks <= settled).max_by_key(|(ticks, _)| *ticks);
            let Some((ticks, last)) = last else { continue };
            *place = Some((index, last.timestamp()));
            live = live.max(Some(last.meta().pts));
            longest = longest.max(f64::from(*ticks) / f64::from(track.clock_rate));
        }
        let scale = longest / SQUEEZED.as_secs_f64();
        (scale > 1.0).then_some(CatchUp { until, live: live?, scale, pictures })
    }

    /// Where on the stream's own timeline a content time is shown.
    pub fn shown_at(&self, content: MediaTime) -> MediaTime {
        let before = (self.live.0 - content.0).max(0) as f64 / self.scale;
        MediaTime(self.live.0 - before as i64)
    }

    /// How the timestamps of the batch at `index` are mapped; None when it is not sent.
    pub fn map(&self, index: u64, batch: &Batch) -> Option<TimestampMap> {
        if index >= self.until {
            return Some(TimestampMap::Offset(0));
        }
        let mut pictures = self.pictures.iter().flatten();
        let (_, live) = *pictures.find(|(track, _)| *track == batch.meta().track)?;
        let near = i64::from(batch.timestamp().wrapping_sub(live) as i32);
        // What is shown between pictures that are still to come keeps its distance to them.
        Some(if near < 0 {
            TimestampMap::Scaled { from: live, to: live, scale: self.scale, near }
        } else {
            TimestampMap::Offset(0)
        })
    }
}

/// The latest of the times of pictures, in decoding order, that nothing still to come is shown before, as far as those that
/// have come tell: pictures that are shown before one that came earlier lie behind it by no more than they did so far.
fn settled(times: impl Iterator<Item = i32>) -> i32 {
    let (mut latest, mut behind) = (i32::MIN, 0);
    for time in times {
        latest = latest.max(time);
        behind = behind.max(latest.saturating_sub(time));
    }
    latest.saturating_sub(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_pictures_come_in_order_the_last_is_settled() {
        assert_eq!(settled([0, 40, 80, 120].into_iter()), 120);
    }

    #[test]
    fn what_is_shown_before_a_picture_that_came_earlier_may_still_come() {
        // I P B B P: two more B pictures are to come, at 160 and 200.
        assert_eq!(settled([0, 120, 40, 80, 240].into_iter()), 160);
        // Open groups begin with pictures that are shown before their keyframe.
        assert_eq!(settled([0, -80, -40, 120].into_iter()), 40);
    }
}
