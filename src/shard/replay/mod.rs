//! A recording played as ONVIF has it (streaming specification chapter 6): every access unit says when it was recorded,
//! playing may run backward, leave pictures out, and go as fast as the transport takes it.
//!
//! A session is replayed from the first request on that asks for it, by the feature tag or by a header that only ONVIF
//! has. What it gets is written for it alone: the extension in its packets is another for every viewer.

mod begin;
mod clock;
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
use proto::track::{Kind, Track};

pub use self::begin::Begun;
use self::clock::{AS_RECORDED, Clock, Stretch};
pub use self::order::{Direction, Order, Standing, Unit};
pub use self::play::ReplayAbsent;
use self::walk::{Front, Item, Walk};
use super::file::{FilePlayback, LATE, Next, Pace, TICK, tick};
use crate::egress::numbering::TimestampMap;
use crate::media::library::{FileInfo, Ticket, Wanted};
use crate::media::segment::Segment;
use crate::media::transcode::pipelines::Pipeline;
use crate::stream::catalog::leading;

/// How much of its share leaves at once.
const SHARE_AHEAD: Duration = Duration::from_millis(20);

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
    /// The tracks that it was made for: a bit each.
    tracks: u32,
    /// In reverse, of a file that does not tell its length: whether its end is looked for.
    seeks_end: bool,
    /// Whether all of it was sent, and it was not paused since: the next PLAY begins anew.
    has_ended: bool,
    /// Where it stands; None where the next PLAY begins anew.
    position: Option<MediaTime>,
    clock: Clock,
    stretch: Stretch,
    /// The content time that the latest PLAY begins with, if it jumped.
    start: MediaTime,
    /// The latest moment of the viewer's timeline that was sent.
    sent_until: Option<MediaTime>,
    /// Tracks whose next access unit does not follow what was sent of them: a bit each.
    jumped: u32,
    /// What comes next as it leaves: a large picture leaves in several turns.
    written: Option<Arc<Batch>>,
    /// Where the transport sets the pace and a bound slows it down: when its share is used up by what was sent.
    share_until: Time,
    /// Where the transport sets the pace, when it was found that nothing more comes.
    finished: Option<Time>,
}

impl Replay {
    /// The recording that a session has played so far without asking for more, where it stands at `now`.
    pub fn of(file: &FilePlayback, is_playing: bool, now: Time) -> Replay {
        let is_underway = file.is_paused_midway();
        let position = is_underway.then(|| if is_playing { file.reached(now) } else { file.paused_at() });
        Replay {
            info: file.info.clone(),
            asked: None,
            place: file.place.clone(),
            order: Order { until: file.until.filter(|_| is_underway), ..Order::default() },
            walk: None,
            tracks: 0,
            seeks_end: false,
            has_ended: false,
            position,
            clock: Clock::default(),
            stretch: AS_RECORDED,
            start: MediaTime::ZERO,
            sent_until: file.sent_until(),
            jumped: 0,
            written: None,
            share_until: Time::ZERO,
            finished: None,
        }
    }

    /// Drops what was read, for a jump: the first segment is the next that is to begin it. `tracks` holds a bit for
    /// each track that was set up.
    pub fn jump(&mut self, order: Order, tracks: u32) {
        let has_sent = self.sent_until.is_some();
        self.jumped = if has_sent || order.is_immediate { tracks } else { 0 };
        self.walk = Some(Walk::new(&self.info, leading(&self.info.tracks), &order, tracks));
        (self.order, self.asked, self.written, self.finished) = (order, None, None, None);
        (self.tracks, self.has_ended) = (tracks, false);
        self.seeks_end = self.info.duration.is_none() && self.order.direction == Direction::Backward;
        self.position = Some(order.from);
    }

    /// Goes on at `now` where it was paused, for another PLAY; returns the content time.
    pub fn resume(&mut self, now: Time, cseq: u8) -> MediaTime {
        self.confirm(cseq);
        self.clock.resume(now);
        self.reached(now)
    }

    /// What is sent from now on is for another PLAY.
    pub fn confirm(&mut self, cseq: u8) {
        (self.order.cseq, self.written) = (cseq, None);
    }

    /// After the end: the next PLAY begins anew, behind a range that has an end where that ends, for there it is paused
    /// (RFC 2326 section 10.5).
    pub fn end(&mut self) {
        (self.position, self.has_ended) = (self.order.until, true);
        (self.written, self.place) = (None, None);
    }

    /// Drops what could not begin: the next PLAY begins where this one was to.
    pub fn fail(&mut self) {
        (self.walk, self.written, self.place) = (None, None, None);
    }

    /// Whether playing can go on without a jump, for these tracks.
    pub fn is_underway(&self, tracks: u32) -> bool {
        self.walk.is_some() && !self.has_ended && self.tracks == tracks
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
        self.clock.note_sent(due);
        let pts = batch.meta().pts;
        self.sent_until = self.sent_until.max(Some(self.stretch.timeline(pts)));
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
        self.clock.is_unpaced()
    }

    /// Notes what was sent at `now` of a share of so many bits a second.
    pub fn note_share(&mut self, now: Time, bytes: usize, bits_per_second: u64) {
        if self.is_unpaced() {
            let nanos = bytes as u64 * 8 * 1_000_000_000 / bits_per_second.max(1);
            self.share_until = self.share_until.max(now) + Duration::from_nanos(nanos);
        }
    }

    /// Until when it waits for its share.
    pub fn waits_for_share(&self, now: Time) -> Option<Time> {
        (self.is_unpaced() && self.share_until > now + SHARE_AHEAD).then_some(self.share_until)
    }

    /// Shifts the clock so that what is next is due now, for a viewer that read too slowly for a while.
    pub fn wait_for_reader(&mut self, now: Time, patience: Duration) {
        if let Some(item) = self.walk.as_ref().and_then(Walk::peek) {
            self.clock.wait(now, item.due, patience);
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
        match (self.order.direction, self.clock.walked_at(now)) {
            (_, None) => self.position.unwrap_or_default(),
            (Direction::Forward, Some(walked)) => walked,
            (Direction::Backward, Some(walked)) => MediaTime(self.order.from.0 - walked.0),
        }
    }

    /// The content time that is reached at `now`: what is shown, but not beyond what was sent or the end of it all.
    pub fn reached(&self, now: Time) -> MediaTime {
        let next = self.walk.as_ref().and_then(Walk::peek);
        let content = self.content_at(now);
        let reached = match (self.order.direction, next) {
            // Pictures are decoded before they are shown, the first of them before the beginning.
            (Direction::Forward, Some(item)) => content.min(item.due).max(self.start),
            (Direction::Forward, None) => content.min(self.position.unwrap_or(content)).max(self.start),
            (Direction::Backward, _) => content.max(self.order.until.unwrap_or_default()),
        };
        reached.max(MediaTime::ZERO)
    }

    /// Stops at `now`; returns the content time that was reached.
    pub fn pause(&mut self, now: Time) -> MediaTime {
        let reached = self.reached(now);
        self.clock.stand(now, self.walk.as_ref().and_then(Walk::peek).map(|item| item.due));
        self.position = Some(reached);
        self.place = None;
        reached
    }

    /// Stays where it stands. Behind the end too: nothing comes then until there is another range. Returns the place, if
    /// it has begun.
    pub fn stay(&mut self) -> Option<MediaTime> {
        if let Some(walk) = self.walk.as_ref().filter(|_| self.has_ended) {
            let walked = walk.finish();
            self.clock = self.clock.moved_to(walked);
            self.has_ended = false;
            self.position = Some(match self.order.direction {
                Direction::Forward => walked,
                Direction::Backward => self.order.until.unwrap_or_default(),
            });
        }
        self.position
    }

    /// Where the next PLAY without a range begins; None where that is the beginning, or in reverse the end.
    pub fn position(&self) -> Option<MediaTime> {
        self.position
    }

    /// What the next PLAY without a range goes on with.
    pub fn standing(&self, is_playing: bool, now: Time) -> Standing {
        let at = if is_playing { Some(self.reached(now)) } else { self.position };
        let until = self.order.until.filter(|_| !self.has_ended);
        Standing { at, until, direction: self.order.direction }
    }

    /// Canonical sequence number that this stretch begins with, for a track that was never sent.
    pub fn first_sequence(&self, track: u8) -> Option<u16> {
        self.walk.as_ref()?.first_sequence(track)
    }

    /// Whether anything of a track is sent.
    pub fn sends(&self, track: u8) -> bool {
        let is_leading = track == leading(&self.info.tracks);
        let is_sent = |of: &Track| match self.order.direction {
            Direction::Backward => is_leading,
            Direction::Forward => self.order.has_sound || of.kind() == Kind::Video,
        };
        self.info.media().get(usize::from(track)).is_some_and(is_sent)
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
