//! A recording played as ONVIF has it (streaming specification chapter 6): every access unit says when it was recorded,
//! playing may run backward, leave pictures out, and go as fast as the transport takes it.
//!
//! A session is replayed from the first request on that asks for it, by the feature tag or by a header that only ONVIF
//! has. What it gets is written for it alone: the extension in its packets is another for every viewer.

mod held;
mod order;
mod play;
mod sift;
mod walk;
mod wish;

use std::sync::Arc;
use std::time::Duration;

use proto::onvif::replay::{Extension, stamped};
use proto::rtp::batch::Batch;
use proto::rtsp::headers::date::Utc;
use proto::rtsp::headers::range::{Npt, Range, Span};
use proto::time::{MediaTime, NtpTime, Time};

pub use self::order::{Direction, Order, Unit};
pub use self::play::ReplayAbsent;
use self::walk::{Front, Item, Walk};
use super::file::{FilePlayback, LATE, Next, Pace, STRETCH_GAP, TICK, preroll, tick};
use crate::egress::numbering::TimestampMap;
use crate::media::library::{FileInfo, Ticket, Wanted};
use crate::media::segment::Segment;
use crate::media::transcode::pipelines::Pipeline;
use crate::stream::catalog::leading;

/// How far behind the point that reverse playing begins at a picture may be shown that is decoded before it.
const REORDERED: Duration = Duration::from_millis(500);

/// A recording on its way to one viewer.
#[derive(Debug)]
pub struct Replay {
    /// What is played.
    pub info: Arc<FileInfo>,
    /// The answer that is awaited; answers under other tickets are stale.
    pub asked: Option<Ticket>,
    /// While it plays, of a file that is made anew: its place among all that are.
    pub place: Option<Arc<Pipeline>>,
    /// What the latest PLAY granted.
    pub order: Order,
    /// What comes next; None before the first PLAY and behind the end.
    walk: Option<Walk>,
    /// Where it stands; None where the next PLAY begins anew.
    position: Option<MediaTime>,
    clock: Clock,
    stretch: Stretch,
    /// The latest moment of the viewer's timeline that was sent.
    sent_until: Option<MediaTime>,
    /// Tracks whose next access unit does not follow what was sent of them: a bit each.
    jumped: u32,
    /// What comes next as it leaves: a large picture leaves in several turns.
    written: Option<Arc<Batch>>,
    /// Where the transport sets the pace, when it was found that nothing more comes.
    finished: Option<Time>,
}

/// How the way through the recording and the monotonic clock belong together.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// When what is due at `walked` leaves.
    origin: Time,
    /// How far on the way that is.
    walked: MediaTime,
    /// Content seconds a second; None where the transport alone sets the pace.
    ratio: Option<f64>,
}

/// How content time and the viewer's timeline, which RTP timestamps count, belong together.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    content: MediaTime,
    timeline: MediaTime,
    /// Content seconds a second of the timeline; below zero in reverse.
    rate: f64,
}

/// Timestamps as they were recorded.
const AS_RECORDED: Stretch = Stretch { content: MediaTime::ZERO, timeline: MediaTime::ZERO, rate: 1.0 };

impl Replay {
    /// The recording that a session has played so far without asking for more, where it stands at `now`.
    pub fn of(file: &FilePlayback, is_playing: bool, now: Time) -> Replay {
        let is_underway = file.is_paused_midway();
        let position = is_underway.then(|| if is_playing { file.reached(now) } else { file.paused_at() });
        Replay {
            info: file.info.clone(),
            asked: None,
            place: file.place.clone(),
            order: Order::default(),
            walk: None,
            position,
            clock: Clock::default(),
            stretch: AS_RECORDED,
            sent_until: file.sent_until(),
            jumped: 0,
            written: None,
            finished: None,
        }
    }

    /// Drops what was read, for a jump: the first segment is the next that is to be pushed. `tracks` holds a bit for
    /// each track that was set up.
    pub fn jump(&mut self, order: Order, tracks: u32) {
        let has_sent = self.sent_until.is_some();
        self.jumped = if has_sent || order.is_immediate { tracks } else { 0 };
        self.walk = Some(Walk::new(&self.info, leading(&self.info.tracks), &order, tracks));
        (self.order, self.asked, self.written, self.finished) = (order, None, None, None);
        self.position = Some(order.from);
    }

    /// Begins at `now` with the first segment; returns the content time it begins at.
    pub fn begin(&mut self, now: Time, segment: Arc<Segment>) -> MediaTime {
        let Order { from, direction, pace, .. } = self.order;
        let start = match direction {
            Direction::Backward => from,
            Direction::Forward if self.info.is_intra => from,
            Direction::Forward => self.first_picture(&segment).map_or(from, |pts| pts.min(from)),
        };
        let start = start.max(MediaTime::ZERO);
        let ratio = pace.map(|pace| pace.scale * pace.speed);
        let before = match direction {
            Direction::Forward => preroll(&segment, start),
            Direction::Backward => REORDERED,
        };
        self.stretch = match ratio {
            None => AS_RECORDED,
            Some(ratio) => {
                let after = |sent: MediaTime| sent + STRETCH_GAP + before.div_f64(ratio);
                let rate = if direction == Direction::Backward { -ratio } else { ratio };
                Stretch { content: start, timeline: self.sent_until.map_or(start, after), rate }
            }
        };
        let walked = match direction {
            Direction::Forward => segment.entries.first().map_or(start, |entry| entry.due),
            Direction::Backward => MediaTime::ZERO,
        };
        self.clock = Clock { origin: now, walked, ratio };
        self.push(segment);
        start
    }

    /// Goes on at `now` where it was paused, for another PLAY; returns the content time.
    pub fn resume(&mut self, now: Time, cseq: u8) -> MediaTime {
        self.confirm(cseq);
        self.clock.origin = now;
        self.reached(now)
    }

    /// What is sent from now on is for another PLAY.
    pub fn confirm(&mut self, cseq: u8) {
        (self.order.cseq, self.written) = (cseq, None);
    }

    /// After the end: the next PLAY begins anew.
    pub fn rewind(&mut self) {
        (self.walk, self.position, self.written, self.place) = (None, None, None, None);
    }

    /// Whether playing can go on without a jump.
    pub fn is_underway(&self) -> bool {
        self.walk.is_some()
    }

    /// Takes a segment that was asked for.
    pub fn push(&mut self, segment: Arc<Segment>) {
        if let Some(walk) = &mut self.walk {
            walk.push(segment);
        }
    }

    /// Which segment to ask for, if there is room for one.
    pub fn wanted(&self) -> Option<Wanted> {
        self.walk.as_ref().filter(|_| self.asked.is_none())?.wanted()
    }

    /// What is to be sent at `now`, as it leaves; it stays next until [`Replay::advance`].
    pub fn peek(&mut self, now: Time) -> Next {
        let Some(walk) = &mut self.walk else { return Next::Finished(now) };
        let (item, is_last) = match walk.front() {
            Front::Starved => return Next::Starved,
            Front::Finished(walked) => {
                let shown = self.clock.time_of(walked);
                return Next::Finished(shown.unwrap_or_else(|| *self.finished.get_or_insert(now)));
            }
            Front::Item { item, is_last } => (item, is_last),
        };
        if let Some(due) = self.clock.time_of(item.due).filter(|due| *due > now + TICK) {
            return Next::At(tick(due));
        }
        if let Some(written) = &self.written {
            return Next::Due(written.clone());
        }
        let ends_section = is_last && walk.ends_section();
        let clock_rate = self.info.tracks[usize::from(item.track)].clock_rate;
        let extension = Extension {
            ntp: ntp(self.info.recorded, item.batch.meta().pts),
            is_clean_point: item.batch.meta().keyframe,
            ends_section,
            is_discontinuous: item.begins_group || self.jumped & bit(item.track) != 0,
            is_terminal: is_last,
            cseq: self.order.cseq,
        };
        let written = Arc::new(stamped(&item.batch, clock_rate, extension));
        self.written = Some(written.clone());
        Next::Due(written)
    }

    /// Moves past what [`Replay::peek`] gave.
    pub fn advance(&mut self) {
        self.written = None;
        let Some(Item { track, batch, due, .. }) = self.walk.as_mut().and_then(Walk::pop) else { return };
        self.jumped &= !bit(track);
        let pts = batch.meta().pts;
        self.sent_until = self.sent_until.max(Some(self.timeline(pts)));
        self.position = Some(match self.order.direction {
            Direction::Forward => due,
            Direction::Backward => pts,
        });
    }

    /// Whether what is next should have left a while ago; always so where only the transport sets the pace.
    pub fn is_late(&self, now: Time) -> bool {
        let next = self.walk.as_ref().and_then(Walk::peek);
        self.is_unpaced()
            || next.and_then(|item| self.clock.time_of(item.due)).is_some_and(|due| now.since(due) > LATE)
    }

    /// Whether the transport alone sets the pace.
    pub fn is_unpaced(&self) -> bool {
        self.clock.ratio.is_none()
    }

    /// Shifts the clock so that what is next is due now, for a viewer that read too slowly for a while.
    pub fn wait_for_reader(&mut self, now: Time, patience: Duration) {
        let Some(item) = self.walk.as_ref().and_then(Walk::peek) else { return };
        // In reverse the first pictures are due before the beginning.
        let due = item.due.max(self.clock.walked);
        if self.clock.time_of(due).is_some_and(|time| now.since(time) > patience) {
            (self.clock.origin, self.clock.walked) = (now, due);
        }
    }

    /// The map from canonical timestamps of a track to this viewer's, for content near a time.
    pub fn timestamp_map(&self, track: u8, near: MediaTime) -> TimestampMap {
        let index = usize::from(track);
        let (rate, base) = (self.info.tracks[index].clock_rate, self.info.timestamp_base[index]);
        let Stretch { content, timeline, rate: scale } = self.stretch;
        if scale == 1.0 {
            return TimestampMap::Offset(MediaTime(timeline.0 - content.0).to_ticks(rate) as u32);
        }
        let from = base.wrapping_add(content.to_ticks(rate) as u32);
        let to = base.wrapping_add(timeline.to_ticks(rate) as u32);
        TimestampMap::Scaled { from, to, scale, near: near.to_ticks(rate) - content.to_ticks(rate) }
    }

    /// The viewer's RTP timestamp of a content time.
    pub fn rtp_timestamp(&self, track: u8, content: MediaTime) -> u32 {
        let index = usize::from(track);
        let ticks = content.to_ticks(self.info.tracks[index].clock_rate) as u32;
        self.timestamp_map(track, content).apply(self.info.timestamp_base[index].wrapping_add(ticks))
    }

    /// The content time that is shown at `now`; where the viewer sets the pace, what comes next.
    pub fn content_at(&self, now: Time) -> MediaTime {
        match (self.order.direction, self.walked(now)) {
            (_, None) => self.position.unwrap_or_default(),
            (Direction::Forward, Some(walked)) => walked,
            (Direction::Backward, Some(walked)) => MediaTime(self.order.from.0 - walked.0),
        }
    }

    /// How much of the way is done at `now`; None where the transport sets the pace.
    fn walked(&self, now: Time) -> Option<MediaTime> {
        let elapsed = now.as_nanos() as i64 - self.clock.origin.as_nanos() as i64;
        Some(MediaTime(self.clock.walked.0 + (elapsed as f64 * self.clock.ratio?) as i64))
    }

    /// The content time that is reached at `now`: what is shown, but not beyond what was sent or the end of it all.
    pub fn reached(&self, now: Time) -> MediaTime {
        let next = self.walk.as_ref().and_then(Walk::peek);
        let content = self.content_at(now);
        let reached = match (self.order.direction, next) {
            (Direction::Forward, Some(item)) => content.min(item.due),
            (Direction::Forward, None) => content.min(self.position.unwrap_or(content)),
            (Direction::Backward, _) => content.max(self.order.until.unwrap_or_default()),
        };
        reached.max(MediaTime::ZERO)
    }

    /// Stops at `now`; returns the content time that was reached.
    pub fn pause(&mut self, now: Time) -> MediaTime {
        let reached = self.reached(now);
        if let Some(walked) = self.walked(now) {
            let next = self.walk.as_ref().and_then(Walk::peek).map_or(walked, |item| item.due);
            self.clock = Clock { origin: now, walked: walked.min(next.max(self.clock.walked)), ..self.clock };
        }
        self.position = Some(reached);
        self.place = None;
        reached
    }

    /// Where the next PLAY without a range begins; None where that is the beginning, or in reverse the end.
    pub fn position(&self) -> Option<MediaTime> {
        self.position
    }

    /// Canonical sequence number that this stretch begins with, for a track that was never sent.
    pub fn first_sequence(&self, track: u8) -> Option<u16> {
        self.walk.as_ref()?.first_sequence(track)
    }

    /// How fast it is played; as recorded where the viewer sets the pace.
    pub fn pace(&self) -> Pace {
        self.order.pace.unwrap_or_default()
    }

    /// The range from a content time on, as a reply states it.
    pub fn range(&self, start: MediaTime, unit: Unit) -> Range {
        let since = |content: MediaTime| content.since(MediaTime::ZERO);
        let until = self.order.until.map(since);
        match unit {
            Unit::Npt => Span::Npt { from: Some(Npt::At(since(start))), to: until.map(Npt::At) }.into(),
            Unit::Clock => {
                let utc = |content: Duration| Utc(self.info.recorded.0.saturating_add(content));
                Span::Clock { from: Some(utc(since(start))), to: until.map(utc) }.into()
            }
        }
    }

    fn timeline(&self, content: MediaTime) -> MediaTime {
        let elapsed = (content.0 - self.stretch.content.0) as f64 / self.stretch.rate;
        MediaTime(self.stretch.timeline.0 + elapsed as i64)
    }

    fn first_picture(&self, segment: &Segment) -> Option<MediaTime> {
        let leading = leading(&self.info.tracks);
        segment.entries.iter().find(|entry| entry.track == leading).map(|entry| entry.batch.meta().pts)
    }
}

impl Clock {
    /// When that part of the way is reached; None where the transport sets the pace.
    fn time_of(&self, walked: MediaTime) -> Option<Time> {
        let ahead = (walked.0 - self.walked.0) as f64 / self.ratio?;
        let distance = Duration::from_nanos(ahead.abs() as u64);
        Some(if ahead < 0.0 { self.origin - distance } else { self.origin + distance })
    }
}

/// When a moment of the content was recorded.
fn ntp(recorded: Utc, content: MediaTime) -> NtpTime {
    let distance = Duration::from_nanos(content.0.unsigned_abs());
    NtpTime::from_unix(match content.0 < 0 {
        true => recorded.0.saturating_sub(distance),
        false => recorded.0.saturating_add(distance),
    })
}

/// A track's bit in a set of tracks, of which there are at most 16.
fn bit(track: u8) -> u32 {
    1 << (track & 31)
}
