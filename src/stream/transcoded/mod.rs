//! A live stream in another format: received as a shard receives it, taken apart, and made anew once for all who ask for
//! the same.
//!
//! ```text
//! batches ─▶ inbox ─▶ frames ─▶ kept, dropped or converted ─▶ frames of another stream
//! ```

mod behind;
mod lane;
mod slots;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use proto::frame::Frame;
use proto::rtp::batch::Batch;
use proto::time::NtpTime;
use proto::track::{Kind, Track};

use self::behind::{Behind, Pace};
use self::lane::{Lane, Way};
use self::slots::Slot;
pub use self::slots::Slots;
use super::catalog::{
    Catalog, Description, Notice, ShardIndex, StreamError, StreamName, Subscriber, Want, leading,
};
use crate::media::library::MediaError;
use crate::media::source::{Demand, Source};
use crate::media::transcode::plan::{Decision, decide};
use crate::media::transcode::{Keyframes, Makes};

/// Notices that wait at most. What comes beyond is lost, and the stream goes on at its next keyframe.
const INBOX_MAX: usize = 512;

/// How long the stream may take to be known, and to its first picture where its size is not.
const START_MAX: Duration = Duration::from_secs(15);

/// So many pictures tell their rate, where nothing else does.
const PICTURES_FOR_A_RATE: usize = 10;

/// Between two looks at whether anybody still watches, when nothing comes.
const IDLE: Duration = Duration::from_millis(500);

/// The stream is asked for a keyframe at most this often.
const KEYFRAME_ASKED_MIN: Duration = Duration::from_secs(1);

/// One live stream in one format.
pub struct Transcoded {
    feed: Feed,
    lanes: Vec<Lane>,
    tracks: Vec<Track>,
    /// What came before the first of it was made anew.
    past: Vec<Arc<Batch>>,
    behind: Behind,
    _slot: Slot,
}

/// What it takes to make streams anew.
#[derive(Clone)]
pub struct Workshop {
    /// The streams as they come.
    pub catalog: Arc<dyn Catalog>,
    /// What makes them anew.
    pub makes: Arc<dyn Makes + Send + Sync>,
    /// Where their keyframes stand.
    pub keyframes: Keyframes,
    /// How many there may be.
    pub slots: Slots,
}

/// The stream as it comes. Left when this is dropped.
struct Feed {
    catalog: Arc<dyn Catalog>,
    description: Arc<Description>,
    inbox: Receiver<Notice>,
    number: ShardIndex,
    keyframe_asked: Option<Instant>,
}

impl Transcoded {
    /// The stream that is asked for, once it is known what has to be done. `number` tells the receiver from shards and
    /// from others of its kind. An error where it cannot be had, or comes as it is asked for.
    pub fn begin(
        name: &StreamName,
        workshop: Workshop,
        number: ShardIndex,
    ) -> Result<Transcoded, StreamError> {
        let Workshop { catalog, makes, keyframes, slots } = workshop;
        let (feed, mut past) = Feed::join(name, catalog, number)?;
        let mut sources: Vec<_> = feed.description.tracks.iter().map(lane::as_received).collect();
        for (index, track) in sources.iter_mut().enumerate() {
            let is_sized = |track: &Track| decide(track, &name.format).is_ok();
            if track.kind() != Kind::Video {
                continue;
            }
            if !is_sized(track) {
                track.size = feed.size(index, track, &*makes, &mut past);
            }
            if track.framerate.is_none() && name.format.video.framerate.is_some() {
                track.framerate = feed.framerate(index, &mut past);
            }
        }
        let decisions = sources.iter().map(|track| decide(track, &name.format));
        let decisions: Vec<_> = decisions.collect::<Result<_, _>>().map_err(StreamError::Unsupported)?;
        if decisions.iter().all(|decision| *decision == Decision::Keep) {
            return Err(StreamError::AsItComes);
        }
        let slot = slots.take()?;
        let (mut lanes, mut tracks) = (Vec::new(), Vec::new());
        for (track, decision) in sources.iter().zip(&decisions) {
            let base = feed.description.timestamp_base.get(lanes.len()).copied().unwrap_or_default();
            let index = tracks.len() as u8;
            let way = match decision {
                Decision::Drop => Way::Drop,
                Decision::Keep => Way::Keep(index),
                Decision::Video(target) => Way::Convert(index, makes.video(track, index, target, keyframes)?),
                Decision::Audio(target) => Way::Convert(index, makes.audio(track, index, target)?),
            };
            match &way {
                Way::Drop => {}
                Way::Keep(index) => tracks.push(lane::kept(track, *index)),
                Way::Convert(_, converter) => tracks.push(converter.track().clone()),
            }
            lanes.push(Lane::new(track, base, way));
        }
        if tracks.is_empty() {
            let reason = "nothing of it is asked for: both codecs are NONE";
            return Err(StreamError::Unsupported(reason.to_owned()));
        }
        let behind = Behind::new(name.clone());
        Ok(Transcoded { feed, lanes, tracks, past, behind, _slot: slot })
    }

    /// Makes the newest picture of the past anew, so that there is one at once, and what follows it. Where pictures stay
    /// as they are, all of it.
    fn relive(&mut self, sink: &mut Sink<'_>) -> Result<(), MediaError> {
        let past = std::mem::take(&mut self.past);
        let leading = leading(&self.feed.description.tracks);
        let is_made =
            matches!(self.lanes.get(usize::from(leading)), Some(Lane { way: Way::Convert(..), .. }));
        let newest = past.iter().rposition(|batch| batch.meta().track == leading);
        let Some(newest) = newest.filter(|_| is_made) else {
            return past.iter().try_for_each(|batch| self.take(batch, Pace::Whole, sink));
        };
        let from = past[newest].meta().dts;
        for (index, batch) in past.iter().enumerate() {
            if batch.meta().track == leading {
                let pace = if index < newest { Pace::Unseen } else { Pace::Whole };
                self.take(batch, pace, sink)?;
            } else if batch.meta().dts >= from {
                self.take(batch, Pace::Whole, sink)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, batch: &Batch, pace: Pace, sink: &mut Sink<'_>) -> Result<(), MediaError> {
        let Some(lane) = self.lanes.get_mut(usize::from(batch.meta().track)) else { return Ok(()) };
        lane.take(batch, pace, &mut |frame| sink.give(frame))?;
        if lane.awaits_keyframe() {
            self.feed.ask_keyframe();
        }
        Ok(())
    }

    /// Does what those who watch want. False when nobody does.
    fn obey(&mut self, demand: Demand) -> bool {
        if demand == Demand::Keyframe {
            for lane in &mut self.lanes {
                match &mut lane.way {
                    Way::Convert(_, converter) => converter.want_keyframe(),
                    Way::Keep(_) if lane.is_video => self.feed.ask_keyframe(),
                    Way::Keep(_) | Way::Drop => {}
                }
            }
        }
        demand != Demand::Nothing
    }
}

impl Source for Transcoded {
    fn tracks(&mut self) -> Result<Vec<Track>, MediaError> {
        Ok(self.tracks.clone())
    }

    fn origin(&self) -> Option<NtpTime> {
        Some(self.feed.description.origin)
    }

    fn run(mut self: Box<Self>, sink: &mut dyn FnMut(Option<Frame>) -> Demand) -> Result<(), MediaError> {
        let mut sink = Sink { sink, demand: Demand::More };
        self.relive(&mut sink)?;
        loop {
            let was_waiting = self.feed.inbox.is_empty();
            let notice = match self.feed.inbox.recv_timeout(IDLE) {
                Ok(notice) => Some(notice),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            match notice {
                Some(Notice::Batch { stream, batch }) if stream == self.feed.description.id => {
                    let pace = self.behind.pace(was_waiting, batch.meta().dts);
                    self.take(&batch, pace, &mut sink)?;
                }
                Some(Notice::Ended { stream, reason }) if stream == self.feed.description.id => {
                    tracing::info!(path = self.feed.description.path(), %reason, "what was made anew has ended");
                    return Ok(());
                }
                Some(_) => {}
                None => sink.ask(),
            }
            if !self.obey(sink.take_demand()) {
                return Ok(());
            }
        }
    }
}

/// Where frames go, and what was said to it meanwhile.
struct Sink<'a> {
    sink: &'a mut dyn FnMut(Option<Frame>) -> Demand,
    demand: Demand,
}

impl Sink<'_> {
    fn give(&mut self, frame: Frame) {
        let demand = (self.sink)(Some(frame));
        self.hear(demand);
    }

    fn ask(&mut self) {
        let demand = (self.sink)(None);
        self.hear(demand);
    }

    fn hear(&mut self, demand: Demand) {
        if demand != Demand::More {
            self.demand = demand;
        }
    }

    fn take_demand(&mut self) -> Demand {
        std::mem::replace(&mut self.demand, Demand::More)
    }
}

impl Feed {
    /// Subscribes to the stream; it, and its past.
    fn join(
        name: &StreamName,
        catalog: Arc<dyn Catalog>,
        number: ShardIndex,
    ) -> Result<(Feed, Vec<Arc<Batch>>), StreamError> {
        let (sender, inbox) = bounded(INBOX_MAX);
        let deliver = Arc::new(move |notice| sender.try_send(notice).is_ok());
        catalog.subscribe(&StreamName::plain(name.path.clone()), Subscriber { shard: number, deliver });
        let Ok(Notice::Subscribed { answer, .. }) = inbox.recv_timeout(START_MAX) else {
            return Err(StreamError::Unavailable("the stream does not begin".to_owned()));
        };
        let snapshot = answer?;
        let feed = Feed { catalog, description: snapshot.description, inbox, number, keyframe_asked: None };
        Ok((feed, snapshot.batches))
    }

    /// Size of the pictures of a track, by the first of them that can be decoded.
    fn size(
        &self,
        index: usize,
        track: &Track,
        makes: &dyn Makes,
        past: &mut Vec<Arc<Batch>>,
    ) -> Option<(u32, u32)> {
        let until = Instant::now() + START_MAX;
        let mut lane = Lane::new(track, 0, Way::Keep(0));
        let (mut size, mut next) = (None, 0);
        self.catalog.want(self.description.path(), self.description.id, Want::Keyframe);
        loop {
            for batch in past.iter().skip(next).filter(|batch| usize::from(batch.meta().track) == index) {
                let look = &mut |frame: Frame| {
                    if size.is_none() && frame.keyframe {
                        size = makes.size(track, &frame);
                    }
                };
                lane.take(batch, Pace::Whole, look).ok()?;
            }
            next = past.len();
            if size.is_some() {
                return size;
            }
            match self.inbox.recv_deadline(until) {
                Ok(Notice::Batch { stream, batch }) if stream == self.description.id => past.push(batch),
                // That it has ended is found out again.
                Ok(Notice::Ended { .. }) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Pictures a second of a track, by those that came last: what most of them lie apart.
    fn framerate(&self, index: usize, past: &mut Vec<Arc<Batch>>) -> Option<f64> {
        let until = Instant::now() + START_MAX;
        loop {
            let pictures = past.iter().filter(|batch| usize::from(batch.meta().track) == index);
            let mut times: Vec<_> = pictures.map(|batch| batch.meta().pts.0).collect();
            times.sort_unstable();
            times.dedup();
            if times.len() >= PICTURES_FOR_A_RATE {
                let mut apart: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
                apart.sort_unstable();
                return Some(1e9 / apart[apart.len() / 2] as f64);
            }
            match self.inbox.recv_deadline(until) {
                Ok(Notice::Batch { stream, batch }) if stream == self.description.id => past.push(batch),
                Ok(Notice::Ended { .. }) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    fn ask_keyframe(&mut self) {
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

impl From<MediaError> for StreamError {
    fn from(error: MediaError) -> StreamError {
        match error {
            MediaError::NotFound => StreamError::NotFound,
            MediaError::Unsupported(reason) => StreamError::Unsupported(reason),
            MediaError::Forbidden(reason) | MediaError::Broken(reason) => StreamError::Unavailable(reason),
        }
    }
}
