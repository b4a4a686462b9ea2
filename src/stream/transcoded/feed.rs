//! A live stream as it comes, received as a shard receives it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TrySendError, bounded};
use proto::frame::Frame;
use proto::rtp::batch::Batch;
use proto::track::Track;

use super::behind::Pace;
use super::lane::{Lane, Way};
use crate::media::transcode::Makes;
use crate::stream::catalog::{
    Catalog, Description, Notice, ShardIndex, StreamError, StreamName, Subscriber, Want,
};
use crate::stream::window::memory_bytes;

/// Notices that wait at most. What comes beyond is lost, and the stream goes on at its next keyframe.
const INBOX_MAX: usize = 512;

/// A source answers within `source_start_ms`, which is a minute at the most.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(75);

/// The stream is asked for a keyframe at most this often.
const KEYFRAME_ASKED_MIN: Duration = Duration::from_secs(1);

/// Bytes of the past that are kept until the stream is made anew; beyond them it begins at the next keyframe.
const PAST_BYTES_MAX: usize = 64 << 20;

/// Keyframes that are decoded for their size at most.
const LOOKED_AT_MAX: usize = 20;

/// So many pictures tell their rate, where nothing else does.
const PICTURES_FOR_A_RATE: usize = 10;

/// The stream. Left when this is dropped.
pub struct Feed {
    catalog: Arc<dyn Catalog>,
    pub description: Arc<Description>,
    pub inbox: Receiver<Notice>,
    /// What came since the last keyframe; taken out when it is made anew.
    pub past: Vec<Arc<Batch>>,
    past_bytes: usize,
    /// When the past was the present.
    pub joined: Instant,
    number: ShardIndex,
    keyframe_asked: Option<Instant>,
}

impl Feed {
    /// Subscribes to the stream, which has to begin until then.
    pub fn join(
        name: &StreamName,
        catalog: Arc<dyn Catalog>,
        number: ShardIndex,
        until: Instant,
    ) -> Result<Feed, StreamError> {
        let (sender, inbox) = bounded(INBOX_MAX);
        let (back, path) = (catalog.clone(), name.path.clone());
        let deliver = Arc::new(move |notice| match sender.try_send(notice) {
            Ok(()) => true,
            // Nobody waits for the answer any more.
            Err(TrySendError::Disconnected(Notice::Subscribed { answer: Ok(snapshot), .. })) => {
                back.unsubscribe(&path, snapshot.description.id, number);
                false
            }
            Err(_) => false,
        });
        catalog.subscribe(&StreamName::plain(name.path.clone()), Subscriber { shard: number, deliver });
        let Ok(Notice::Subscribed { answer, .. }) = inbox.recv_deadline(until) else {
            return Err(StreamError::Unavailable("the stream does not begin".to_owned()));
        };
        let snapshot = answer?;
        let mut feed = Feed {
            catalog,
            description: snapshot.description,
            inbox,
            past: Vec::new(),
            past_bytes: 0,
            joined: Instant::now(),
            number,
            keyframe_asked: None,
        };
        snapshot.batches.into_iter().for_each(|batch| feed.keep(batch));
        Ok(feed)
    }

    /// Size of the pictures of a track, by the first of them that can be decoded.
    pub fn size(
        &mut self,
        index: usize,
        track: &Track,
        makes: &dyn Makes,
        until: Instant,
    ) -> Result<(u32, u32), StreamError> {
        let mut lane = Lane::new(track, Way::Keep(0));
        let (mut size, mut looked_at) = (Ok(None), 0);
        let mut waiting = self.past.clone();
        loop {
            for batch in waiting.drain(..).filter(|batch| usize::from(batch.meta().track) == index) {
                lane.take(&batch, Pace::Whole, &mut |frame: Frame| {
                    if matches!(size, Ok(None)) && frame.keyframe {
                        looked_at += 1;
                        size = makes.size(track, &frame);
                    }
                })?;
            }
            if let Some(size) = size.clone()? {
                return Ok(size);
            }
            if looked_at >= LOOKED_AT_MAX {
                return Err(StreamError::Unavailable("its pictures cannot be decoded".to_owned()));
            }
            self.ask_keyframe();
            waiting.push(self.wait(until)?);
        }
    }

    /// Pictures a second of a track, by those that came last: what most of them lie apart. None when too few come.
    pub fn framerate(&mut self, index: usize, until: Instant) -> Result<Option<f64>, StreamError> {
        let is_of_track = |batch: &&Arc<Batch>| usize::from(batch.meta().track) == index;
        let latest = self.past.iter().rev().filter(is_of_track).take(3 * PICTURES_FOR_A_RATE);
        let mut times: Vec<_> = latest.map(|batch| batch.meta().pts.0).collect();
        loop {
            times.sort_unstable();
            times.dedup();
            if times.len() >= PICTURES_FOR_A_RATE {
                let mut apart: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
                apart.sort_unstable();
                return Ok(Some(1e9 / apart[apart.len() / 2] as f64));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            let batch = self.wait(until + ANSWER_MAX)?;
            if is_of_track(&&batch) {
                times.push(batch.meta().pts.0);
            }
        }
    }

    /// What comes next; it is kept. An error when that is the end, or nothing comes in time.
    pub fn wait(&mut self, until: Instant) -> Result<Arc<Batch>, StreamError> {
        loop {
            // Looked at here: a channel that is never empty does not.
            if Instant::now() >= until {
                break;
            }
            match self.inbox.recv_deadline(until) {
                Ok(Notice::Batch { stream, batch }) if stream == self.description.id => {
                    self.keep(batch.clone());
                    return Ok(batch);
                }
                Ok(Notice::Ended { stream, reason }) if stream == self.description.id => {
                    return Err(StreamError::Unavailable(reason));
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Err(StreamError::Unavailable("no picture has come that can be decoded".to_owned()))
    }

    fn keep(&mut self, batch: Arc<Batch>) {
        let meta = batch.meta();
        if meta.keyframe && meta.track == self.description.leading() || self.past_bytes > PAST_BYTES_MAX {
            self.past.clear();
            self.past_bytes = 0;
        }
        self.past_bytes += memory_bytes(&batch);
        self.past.push(batch);
        self.joined = Instant::now();
    }

    /// Asks for a keyframe, now and then.
    pub fn ask_keyframe(&mut self) {
        if self.keyframe_asked.is_none_or(|asked| asked.elapsed() >= KEYFRAME_ASKED_MIN) {
            self.keyframe_asked = Some(Instant::now());
            self.catalog.want(self.description.path(), self.description.id, Want::Keyframe);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.catalog.unsubscribe(self.description.path(), self.description.id, self.number);
    }
}
