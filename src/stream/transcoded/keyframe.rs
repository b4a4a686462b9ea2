//! One picture that stands alone: the newest of a live stream, or the first of a stretch of a file.

use std::sync::Arc;
use std::time::Instant;

use proto::frame::Frame;
use proto::rtp::batch::Batch;
use proto::track::{Kind, Track};

use super::behind::Pace;
use super::feed::Feed;
use super::lane::{Lane, Way, as_received};
use crate::stream::catalog::{Catalog, ShardIndex, StreamError, StreamName, leading};

/// The picture and the track that it is of, from what the stream keeps for its viewers or, where that is nothing, from what
/// comes until then. Starts a stream that begins with its first viewer. `number` tells the receiver from shards and others.
///
/// Errors: there is no such stream, it has no pictures, or none comes in time.
pub fn newest_keyframe(
    path: &str,
    catalog: Arc<dyn Catalog>,
    number: ShardIndex,
    until: Instant,
) -> Result<(Track, Frame), StreamError> {
    let mut feed = Feed::join(&StreamName::plain(path.into()), catalog, number, until)?;
    let index = leading(&feed.description.tracks);
    let pictures =
        feed.description.tracks.get(usize::from(index)).filter(|track| track.kind() == Kind::Video);
    let Some(track) = pictures.map(as_received) else {
        return Err(StreamError::Unsupported("the stream has no pictures".to_owned()));
    };
    let mut lane = Lane::new(&track, Way::Keep(0));
    let mut waiting = std::mem::take(&mut feed.past);
    loop {
        let of_track = waiting.drain(..).filter(|batch| batch.meta().track == index);
        let found: Vec<_> = of_track.flat_map(|batch| keyframes(&mut lane, &batch)).collect();
        if let Some(frame) = found.into_iter().next_back() {
            return Ok((track, frame));
        }
        feed.ask_keyframe();
        waiting.push(feed.wait(until)?);
    }
}

/// The first picture of a track that stands alone, with the track as it is of; None when there is none in these batches.
pub fn first_keyframe<'a>(
    track: &Track,
    batches: impl IntoIterator<Item = &'a Batch>,
) -> Option<(Track, Frame)> {
    let track = as_received(track);
    let mut lane = Lane::new(&track, Way::Keep(0));
    let frame = batches.into_iter().find_map(|batch| keyframes(&mut lane, batch).into_iter().next())?;
    Some((track, frame))
}

fn keyframes(lane: &mut Lane, batch: &Batch) -> Vec<Frame> {
    let mut found = Vec::new();
    // What is kept as it is cannot fail.
    let _ = lane.take(batch, Pace::Whole, &mut |frame: Frame| found.extend(frame.keyframe.then_some(frame)));
    found
}
