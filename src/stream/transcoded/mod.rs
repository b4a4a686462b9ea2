//! A live stream in another format: received as a shard receives it, taken apart, and made anew once for all who ask for
//! the same.
//!
//! ```text
//! batches ─▶ inbox ─▶ frames ─▶ kept, dropped or converted ─▶ frames of another stream
//! ```

mod behind;
mod feed;
mod keyframe;
mod lane;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use proto::frame::Frame;
use proto::rtp::batch::Batch;
use proto::rtp::packetize::carries;
use proto::time::NtpTime;
use proto::track::{Kind, Track};

use self::behind::{Behind, Pace};
use self::feed::{ANSWER_MAX, Feed};
pub use self::keyframe::{first_keyframe, newest_keyframe};
use self::lane::{Lane, Way};
use super::catalog::{Audience, Catalog, Notice, ShardIndex, StreamError, StreamName, leading};
use crate::media::library::MediaError;
use crate::media::source::{Demand, Source};
use crate::media::transcode::plan::{Decision, decide};
use crate::media::transcode::slots::{Slot, Slots};
use crate::media::transcode::{Keyframes, Makes};

/// How long it may take until the pictures of a stream are known.
const START_MAX: Duration = Duration::from_secs(15);

/// How long their rate may take.
const RATE_MAX: Duration = Duration::from_secs(2);

/// Between two looks at whether anybody still watches, when nothing comes.
const IDLE: Duration = Duration::from_millis(500);

/// One live stream in one format.
pub struct Transcoded {
    feed: Feed,
    lanes: Vec<Lane>,
    tracks: Vec<Track>,
    behind: Behind,
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
    /// Whether metadata that is not written here goes along.
    pub keeps_metadata: bool,
}

impl Transcoded {
    /// The stream that is asked for, once it is known what has to be done. `number` tells the receiver from shards and
    /// from others of its kind. An error where it cannot be had, or comes as it is asked for.
    pub fn begin(
        name: &StreamName,
        workshop: Workshop,
        number: ShardIndex,
    ) -> Result<(Transcoded, Slot), StreamError> {
        let Workshop { catalog, makes, keyframes, slots, keeps_metadata } = workshop;
        let mut feed = Feed::join(name, catalog, number, Instant::now() + ANSWER_MAX)?;
        let mut sources: Vec<_> = feed.description.tracks.iter().map(lane::as_received).collect();
        if keeps_metadata {
            sources.iter_mut().for_each(lane::know_metadata);
        }
        learn(&mut feed, &mut sources, name, &*makes)?;
        let decisions = sources.iter().map(|track| decide(track, &name.format));
        let decisions: Vec<_> = decisions.collect::<Result<_, _>>().map_err(StreamError::Unsupported)?;
        if decisions.iter().all(|decision| *decision == Decision::Keep) {
            return Err(StreamError::AsItComes);
        }
        let slot = slots.take().map_err(MediaError::from)?;
        let (mut lanes, mut tracks) = (Vec::new(), Vec::new());
        for (track, decision) in sources.iter().zip(&decisions) {
            let index = tracks.len() as u8;
            let way = match decision {
                Decision::Drop => Way::Drop,
                // What cannot be sent anew, such as metadata in a format that is not known.
                Decision::Keep if carries(&track.codec).is_err() => Way::Drop,
                Decision::Keep => Way::Keep(index),
                Decision::Video(target) => Way::Convert(index, makes.video(track, index, target, keyframes)?),
                Decision::Audio(target) => Way::Convert(index, makes.audio(track, index, target)?),
            };
            match &way {
                Way::Drop => {}
                Way::Keep(index) => tracks.push(track.moved_to(*index)),
                Way::Convert(_, converter) => tracks.push(converter.track().clone()),
            }
            lanes.push(Lane::new(track, way));
        }
        if tracks.iter().all(Track::is_metadata) {
            let reason = "nothing of it is asked for: both codecs are NONE";
            return Err(StreamError::Unsupported(reason.to_owned()));
        }
        let behind = Behind::new(name.clone());
        Ok((Transcoded { feed, lanes, tracks, behind }, slot))
    }

    /// Who plays the stream that this one is made of, in any format.
    pub fn audience(&self) -> Arc<Audience> {
        self.feed.description.audience.clone()
    }

    /// Makes the newest picture of the past anew, so that there is one at once, and what follows it. Where pictures stay
    /// as they are, all of it.
    fn relive(&mut self, sink: &mut Sink<'_>) -> Result<(), MediaError> {
        let past = std::mem::take(&mut self.feed.past);
        // What comes meanwhile waits, and is behind.
        let media = past.iter().filter(|batch| !self.is_metadata(batch));
        if let Some(newest) = media.map(|batch| batch.meta().dts).max() {
            self.behind.begin(self.feed.joined, newest);
        }
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

    fn is_metadata(&self, batch: &Batch) -> bool {
        let track = self.feed.description.tracks.get(usize::from(batch.meta().track));
        track.is_some_and(Track::is_metadata)
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
        let mut sink = Sink { sink, demand: Demand::More, given: 0 };
        self.relive(&mut sink)?;
        sink.ask();
        while self.obey(sink.take_demand()) {
            let was_waiting = self.feed.inbox.is_empty();
            let given = sink.given;
            match self.feed.inbox.recv_timeout(IDLE) {
                Ok(Notice::Batch { stream, batch }) if stream == self.feed.description.id => {
                    // Documents are of the present, whatever the clock of the source.
                    let pace = match self.is_metadata(&batch) {
                        true => Pace::Whole,
                        false => self.behind.pace(was_waiting, batch.meta().dts),
                    };
                    self.take(&batch, pace, &mut sink)?;
                }
                Ok(Notice::Ended { stream, reason }) if stream == self.feed.description.id => {
                    tracing::info!(path = self.feed.description.path(), %reason, "what was made anew has ended");
                    // Begun anew, it would end like this again.
                    return if sink.given > 0 { Ok(()) } else { Err(MediaError::Broken(reason)) };
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            }
            if sink.given == given {
                // Nobody waits for a picture to be heard.
                sink.ask();
            }
        }
        Ok(())
    }
}

/// Where frames go, and what was said to it meanwhile.
struct Sink<'a> {
    sink: &'a mut dyn FnMut(Option<Frame>) -> Demand,
    demand: Demand,
    given: usize,
}

impl Sink<'_> {
    fn give(&mut self, frame: Frame) {
        self.given += 1;
        let demand = (self.sink)(Some(frame));
        self.hear(demand);
    }

    fn ask(&mut self) {
        let demand = (self.sink)(None);
        self.hear(demand);
    }

    fn hear(&mut self, demand: Demand) {
        // The latest word counts: somebody may have come after nobody was there.
        if (self.demand, demand) != (Demand::Keyframe, Demand::More) {
            self.demand = demand;
        }
    }

    fn take_demand(&mut self) -> Demand {
        std::mem::replace(&mut self.demand, Demand::More)
    }
}

/// Finds out what has to be known of pictures: their size, and their rate where they are made anew.
fn learn(
    feed: &mut Feed,
    sources: &mut [Track],
    name: &StreamName,
    makes: &dyn Makes,
) -> Result<(), StreamError> {
    let until = Instant::now() + START_MAX;
    for (index, track) in sources.iter_mut().enumerate() {
        if track.kind() != Kind::Video {
            continue;
        }
        if track.size.is_none() && decide(track, &name.format).is_err() {
            track.size = Some(feed.size(index, track, makes, until)?);
        }
        let is_made = |track: &Track| matches!(decide(track, &name.format), Ok(Decision::Video(_)));
        if track.framerate.is_none() && is_made(track) {
            track.framerate = feed.framerate(index, until.min(Instant::now() + RATE_MAX))?;
        }
    }
    Ok(())
}

impl From<MediaError> for StreamError {
    fn from(error: MediaError) -> StreamError {
        match error {
            MediaError::NotFound => StreamError::NotFound,
            MediaError::Unsupported(reason) => StreamError::Unsupported(reason),
            MediaError::Busy(max) => StreamError::Busy(max),
            MediaError::Forbidden(reason) | MediaError::Broken(reason) => StreamError::Unavailable(reason),
        }
    }
}
