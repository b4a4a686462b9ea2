//! One viewer's position in a file: pulled, paced by decoding time, with numbers of its own after a seek.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proto::rtp::batch::Batch;
use proto::time::{MediaTime, NtpTime, Time};

use super::file_metadata::{FileMetadata, Standing};
use super::step::{group, in_group, in_step, step};
use crate::egress::numbering::TimestampMap;
use crate::media::library::{FileInfo, Ticket, Wanted};
use crate::media::segment::{Entry, Segment};
use crate::media::transcode::pipelines::Pipeline;
use crate::stream::catalog::leading;

/// Segments held beside the current one; the media threads are asked this far ahead.
const AHEAD_MAX: usize = 2;

/// Where memory is short, the next segment is asked for when so much is left of the current one.
const AHEAD_AT_LEAST: Duration = Duration::from_millis(250);

/// Batches leave in ticks of this length: what is due in one tick leaves together.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Datagrams that are later than this leave as a backlog does, in parts.
pub(super) const LATE: Duration = Duration::from_millis(100);

/// Nothing leaves early for so long after the start: players tell times by reports that have come by then.
const SETTLING: Duration = Duration::from_secs(1);

/// Above this speed only keyframes are sent, and no sound.
pub(super) const SCALE_ALL_FRAMES_MAX: f64 = 2.0;

/// Timestamps of a new stretch begin this long after the last one sent, so that none is used twice.
pub(super) const STRETCH_GAP: Duration = Duration::from_millis(20);

/// A file on its way to one viewer.
#[derive(Debug)]
pub struct FilePlayback {
    /// What is played.
    pub info: Arc<FileInfo>,
    /// The answer that is awaited; answers under other tickets are stale.
    pub asked: Option<Ticket>,
    /// Plays left after the one that `current` belongs to; None = endless.
    pub plays_left: Option<u32>,
    /// Where playing stops; None = at the end.
    pub until: Option<MediaTime>,
    /// While it plays, of a file that is made anew: its place among all that are.
    pub place: Option<Arc<Pipeline>>,
    /// What there is to say of the playing; None where the viewer does not want to hear it.
    pub metadata: Option<Box<FileMetadata>>,
    current: Option<Arc<Segment>>,
    index: usize,
    /// What is next in the current segment; None behind its end.
    upcoming: Option<Upcoming>,
    ahead: VecDeque<Ahead>,
    /// Whether it has waited for a segment: then it asks as early as it may.
    has_starved: bool,
    clock: Clock,
    leading: u8,
    /// How often something of the leading track is due; other tracks are sent so much early, with it.
    step: Duration,
    /// How much earlier than its time everything is sent, to be in step with other viewers. The clock knows nothing of
    /// it: reports tell players the true times.
    lead: Duration,
    /// How it leaves, and on a connection how often: then everything that is due until the next time leaves at once.
    way: Way,
    group: Duration,
    /// When the first group leaves; the others follow that one.
    phase: Time,
    /// From when on anything is sent early.
    settles: Time,
    has_played: bool,
    sent_until: MediaTime,
    /// Content time at the last pause.
    stood: MediaTime,
}

/// How a file leaves to its viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// On a connection.
    Stream,
    /// As datagrams, each picture at its time: what comes at once may be too much for a viewer's network.
    Datagrams,
}

/// What is known of a batch that is not due yet. Kept beside the session: most of what is asked of a segment is this, and
/// each viewer's segment has left the cache when it is asked.
#[derive(Clone, Copy, Debug)]
struct Upcoming {
    due: MediaTime,
    is_leading: bool,
}

#[derive(Debug)]
struct Ahead {
    segment: Arc<Segment>,
    /// Whether it is the first of another play.
    is_rewound: bool,
}

/// How content time, the viewer's timeline and the monotonic clock belong together in the present stretch.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// When content time `content` is due.
    origin: Time,
    /// Content time at `origin`.
    content: MediaTime,
    /// Content time where the stretch began.
    stretch_content: MediaTime,
    /// The viewer's timeline at that moment: RTP timestamps count on from here.
    stretch_timeline: MediaTime,
    /// Content seconds a second of the viewer's timeline.
    scale: f64,
    /// Timeline seconds a second of real time.
    speed: f64,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// This batch is due.
    Due(Arc<Batch>),
    /// The next batch is due then.
    At(Time),
    /// The next segment is on its way.
    Starved,
    /// Everything asked for was sent; it is all shown at this time.
    Finished(Time),
}

impl FilePlayback {
    /// A file at its start, `plays` times in all (None = endless).
    pub fn new(info: Arc<FileInfo>, plays: Option<u32>) -> FilePlayback {
        let clock = Clock {
            origin: Time::ZERO,
            content: MediaTime::ZERO,
            stretch_content: MediaTime::ZERO,
            stretch_timeline: MediaTime::ZERO,
            scale: 1.0,
            speed: 1.0,
        };
        FilePlayback {
            leading: leading(&info.tracks),
            step: Duration::ZERO,
            lead: Duration::ZERO,
            way: Way::Datagrams,
            group: Duration::ZERO,
            phase: Time::ZERO,
            settles: Time::ZERO,
            info,
            asked: None,
            plays_left: plays.map(|plays| plays.saturating_sub(1)),
            until: None,
            place: None,
            metadata: None,
            current: None,
            index: 0,
            upcoming: None,
            ahead: VecDeque::new(),
            has_starved: false,
            clock,
            has_played: false,
            sent_until: MediaTime::ZERO,
            stood: MediaTime::ZERO,
        }
    }

    /// Begins a stretch at `now` with its first segment; returns the content time it begins at.
    pub fn begin(
        &mut self,
        now: Time,
        asked: MediaTime,
        segment: Arc<Segment>,
        pace: Pace,
        way: Way,
    ) -> MediaTime {
        let first_of_leading =
            segment.entries.iter().find(|entry| entry.track == self.leading).map(|e| e.batch.meta().pts);
        let start = match first_of_leading {
            Some(pts) if asked > MediaTime::ZERO => pts.min(asked).max(MediaTime::ZERO),
            _ => MediaTime::ZERO,
        };
        let first_due = segment.entries.first().map_or(start, |entry| entry.due);
        let preroll = preroll(&segment, start).div_f64(pace.scale);
        let timeline = if self.has_played { self.sent_until + STRETCH_GAP + preroll } else { start };
        self.way = way;
        self.fall_in_step(now, step(&segment, self.leading, pace));
        self.clock = Clock {
            origin: now,
            content: first_due,
            stretch_content: start,
            stretch_timeline: timeline,
            scale: pace.scale,
            speed: pace.speed,
        };
        self.has_played = true;
        self.ahead.clear();
        self.open(segment);
        if let Some(metadata) = &mut self.metadata {
            metadata.begin_stretch();
        }
        start
    }

    /// Goes on at `now` where it was paused, possibly at another pace; returns the content time.
    pub fn resume(&mut self, now: Time, pace: Pace) -> MediaTime {
        let content = self.next_due().unwrap_or(self.clock.content);
        if pace.scale != self.clock.scale {
            self.clock.stretch_timeline = self.timeline(content);
            self.clock.stretch_content = content;
        }
        let current = self.current.as_ref();
        self.fall_in_step(now, current.map_or(self.step, |current| step(current, self.leading, pace)));
        self.clock = Clock { origin: now, content, scale: pace.scale, speed: pace.speed, ..self.clock };
        content.max(MediaTime::ZERO)
    }

    /// Whether playing can go on without a new segment.
    pub fn is_paused_midway(&self) -> bool {
        self.current.is_some()
    }

    /// After the end: the next PLAY starts anew.
    pub fn rewind(&mut self, plays: Option<u32>) {
        let info = self.info.clone();
        let sent_until = self.sent_until;
        *self = FilePlayback { sent_until, has_played: true, ..FilePlayback::new(info, plays) };
    }

    /// Takes a segment that was asked for.
    pub fn push(&mut self, segment: Arc<Segment>, is_rewound: bool) {
        self.ahead.push_back(Ahead { segment, is_rewound });
    }

    /// Which segment to ask for at `now`, if there is room for one, and whether it begins another play; where memory
    /// `is_short`, when it will soon be needed.
    pub fn wanted(&self, now: Time, is_short: bool) -> Option<(Wanted, bool)> {
        let is_thrifty = is_short && !self.has_starved;
        if self.asked.is_some() || self.ahead.len() >= AHEAD_MAX || (is_thrifty && self.has_enough(now)) {
            return None;
        }
        self.following()
    }

    /// Whether what is held lasts for a while after the next look at it.
    fn has_enough(&self, now: Time) -> bool {
        let next = self.upcoming.map_or(now, |upcoming| self.due(upcoming.due).max(now));
        let last = self.current.as_ref().and_then(|current| current.entries.last());
        !self.ahead.is_empty() || last.is_some_and(|last| self.due(last.due) > next + AHEAD_AT_LEAST)
    }

    /// The segment that comes behind those that are held, and whether it begins another play.
    fn following(&self) -> Option<(Wanted, bool)> {
        let last = self.ahead.back().map(|ahead| &ahead.segment).or(self.current.as_ref())?;
        if let Some(position) = last.next {
            return Some((Wanted::At(position), false));
        }
        let coming = self.ahead.iter().filter(|ahead| ahead.is_rewound).count();
        let has_more = self.plays_left.is_none_or(|left| left as usize > coming);
        // An empty file would be asked for again without end.
        (has_more && last.end > MediaTime::ZERO).then_some((Wanted::Seek(MediaTime::ZERO), true))
    }

    /// Has the metadata of the playing told, where it is due.
    pub fn tell(&mut self, now: Time, wall: NtpTime) {
        let standing = Standing { position: self.reached(now), pace: self.pace() };
        if let Some(metadata) = &mut self.metadata {
            metadata.look(now, wall, &self.info, standing);
        }
    }

    /// What is to be sent at `now`; the batch stays next until [`FilePlayback::advance`].
    pub fn peek(&mut self, now: Time) -> Next {
        if self.metadata.is_none() {
            return self.peek_media(now);
        }
        let content = self.content_at(now);
        let document = self.metadata.as_mut().and_then(|metadata| metadata.show(content));
        let mut next = document.map_or_else(|| self.peek_media(now), Next::Due);
        if let Some(metadata) = &mut self.metadata {
            metadata.note(&mut next);
        }
        next
    }

    fn peek_media(&mut self, now: Time) -> Next {
        loop {
            if let Some(Upcoming { due, is_leading }) = self.upcoming {
                if let Some(until) = self.until.filter(|until| due >= *until) {
                    return Next::Finished(self.due(until));
                }
                if self.is_skipped() {
                    self.go_on();
                    continue;
                }
                let due = self.due(due);
                let (leaves, early) = match self.way {
                    _ if now < self.settles => (due, TICK),
                    Way::Stream => (in_group(due, self.phase, self.group), TICK),
                    Way::Datagrams if is_leading => (due - self.lead, TICK),
                    Way::Datagrams => (due - self.lead, TICK.max(self.step)),
                };
                if leaves > now + early {
                    return Next::At(tick(leaves));
                }
                return self.entry().map_or(Next::Starved, |entry| Next::Due(entry.batch.clone()));
            }
            let Some(current) = &self.current else { return Next::Starved };
            let end = current.end;
            // Up to then the clock is still that of this play: it may be paused, or asked where it stands.
            if let Some(begins) = self.next_play_begins(end).filter(|begins| *begins > now + TICK) {
                return Next::At(tick(begins));
            }
            match self.ahead.pop_front() {
                Some(ahead) => self.enter(ahead, end),
                None if self.asked.is_some() || self.following().is_some() => {
                    self.has_starved = true;
                    return Next::Starved;
                }
                None => return Next::Finished(self.due(end)),
            }
        }
    }

    /// Moves past the batch that [`FilePlayback::peek`] gave.
    pub fn advance(&mut self) {
        if self.metadata.as_mut().is_some_and(|metadata| metadata.advance()) {
            return;
        }
        if let Some(entry) = self.entry() {
            self.sent_until = self.sent_until.max(self.timeline(entry.batch.meta().pts));
            self.go_on();
        }
    }

    /// Whether what is next should have left a while ago: the disk or this thread stood still.
    pub fn is_late(&self, now: Time) -> bool {
        self.next_due().is_some_and(|content| now.since(self.due(content)) > LATE)
    }

    /// Shifts the clock so that what is next is due now: for a viewer that read too slowly for a while, or whose file
    /// came too slowly: it does not get all at once what it should have had.
    pub fn wait_for_reader(&mut self, now: Time, patience: Duration) {
        let Some(content) = self.next_due() else { return };
        if now.since(self.due(content)) > patience {
            self.clock.origin = now;
            self.lead = now.since(in_step(now, self.step));
            self.clock.content = content;
        }
    }

    /// Drops what was read, for a jump: `plays` times to the end (None = endless), or once to a content time.
    pub fn jump(&mut self, plays: Option<u32>, until: Option<MediaTime>) {
        self.current = None;
        self.upcoming = None;
        self.ahead.clear();
        self.asked = None;
        self.index = 0;
        self.until = until;
        self.plays_left = if until.is_some() { Some(0) } else { plays.map(|plays| plays.saturating_sub(1)) };
    }

    /// Sets another end without a jump; None leaves the one that is set.
    pub fn play_until(&mut self, until: Option<MediaTime>) {
        if until.is_some() {
            self.until = until;
            self.plays_left = Some(0);
        }
    }

    /// The map from canonical timestamps of a track to this viewer's in the present stretch, for content near a time.
    pub fn timestamp_map(&self, track: u8, near: MediaTime) -> TimestampMap {
        let index = usize::from(track);
        let rate = self.info.tracks[index].clock_rate;
        let base = self.info.timestamp_base[index];
        let Clock { stretch_content, stretch_timeline, scale, .. } = self.clock;
        if scale == 1.0 {
            let shift = MediaTime(stretch_timeline.0 - stretch_content.0);
            return TimestampMap::Offset(shift.to_ticks(rate) as u32);
        }
        let from = base.wrapping_add(stretch_content.to_ticks(rate) as u32);
        let to = base.wrapping_add(stretch_timeline.to_ticks(rate) as u32);
        let near = near.to_ticks(rate) - stretch_content.to_ticks(rate);
        TimestampMap::Scaled { from, to, scale, near }
    }

    /// The viewer's RTP timestamp of a content time.
    pub fn rtp_timestamp(&self, track: u8, content: MediaTime) -> u32 {
        let index = usize::from(track);
        let ticks = content.to_ticks(self.info.tracks[index].clock_rate) as u32;
        self.timestamp_map(track, content).apply(self.info.timestamp_base[index].wrapping_add(ticks))
    }

    /// The content time that is due at `now`.
    pub fn content_at(&self, now: Time) -> MediaTime {
        // The clock of another play of the file is set a moment before that play begins.
        let elapsed = now.as_nanos() as i64 - self.clock.origin.as_nanos() as i64;
        let elapsed = elapsed as f64 * self.clock.scale * self.clock.speed;
        MediaTime(self.clock.content.0 + elapsed as i64)
    }

    /// The content time that is reached at `now`: what is due, but not beyond what comes next or the end of it all.
    pub fn reached(&self, now: Time) -> MediaTime {
        let next = self.next_due().unwrap_or(MediaTime::ZERO);
        let end = self.until.map_or(next, |until| next.min(until));
        self.content_at(now).min(end).max(MediaTime::ZERO)
    }

    /// Stops at `now`; returns the content time that was reached.
    pub fn pause(&mut self, now: Time) -> MediaTime {
        self.stood = self.reached(now);
        self.place = None;
        self.stood
    }

    /// The content time that playing would go on at.
    pub fn paused_at(&self) -> MediaTime {
        if self.skips_frames() && self.current.is_some() {
            return self.stood;
        }
        self.next_due().unwrap_or(MediaTime::ZERO).max(MediaTime::ZERO)
    }

    /// Canonical sequence number that this stretch begins with, for a track that was never sent.
    pub fn first_sequence(&self, track: u8) -> Option<u16> {
        let first = self.current.as_ref()?.first.get(usize::from(track))?;
        Some(first.sequence)
    }

    /// The latest moment of the viewer's timeline that was sent; None before the first.
    pub fn sent_until(&self) -> Option<MediaTime> {
        self.has_played.then_some(self.sent_until)
    }

    /// How fast it is played, as granted.
    pub fn pace(&self) -> Pace {
        Pace { scale: self.clock.scale, speed: self.clock.speed }
    }

    /// Whether frames were skipped that another pace would send.
    pub fn has_skipped(&self, pace: Pace) -> bool {
        self.skips_frames() && pace.scale <= SCALE_ALL_FRAMES_MAX
    }

    /// Whether only keyframes are sent.
    fn skips_frames(&self) -> bool {
        self.clock.scale > SCALE_ALL_FRAMES_MAX
    }

    fn enter(&mut self, ahead: Ahead, end: MediaTime) {
        if ahead.is_rewound {
            let preroll = preroll(&ahead.segment, MediaTime::ZERO).div_f64(self.clock.scale);
            self.clock = Clock {
                origin: self.due(end) + preroll.div_f64(self.clock.speed),
                content: MediaTime::ZERO,
                stretch_content: MediaTime::ZERO,
                stretch_timeline: self.timeline(end) + preroll,
                ..self.clock
            };
            self.plays_left = self.plays_left.map(|left| left.saturating_sub(1));
        }
        self.open(ahead.segment);
    }

    /// Sends with others from now on whose pictures come as often.
    fn fall_in_step(&mut self, now: Time, step: Duration) {
        self.step = step;
        self.phase = in_step(now, step);
        self.lead = now.since(self.phase);
        self.group = group(step);
        self.settles = now + SETTLING;
    }

    fn open(&mut self, segment: Arc<Segment>) {
        self.current = Some(segment);
        self.index = 0;
        self.look();
    }

    fn go_on(&mut self) {
        self.let_go();
        self.index += 1;
        self.look();
    }

    /// Holds the batch that was sent no longer, where the segment is this viewer's alone because the cache has no room
    /// for it: the one behind it takes its place.
    fn let_go(&mut self) {
        let entries = self.current.as_mut().and_then(Arc::get_mut).map(|current| &mut current.entries);
        if let Some([sent, next, ..]) = entries.and_then(|entries| entries.get_mut(self.index..)) {
            sent.batch = next.batch.clone();
        }
    }

    fn look(&mut self) {
        let upcoming = |entry: &Entry| Upcoming { due: entry.due, is_leading: entry.track == self.leading };
        self.upcoming = self.entry().map(upcoming);
    }

    fn entry(&self) -> Option<&Entry> {
        self.current.as_ref()?.entries.get(self.index)
    }

    /// When the first batch of another play is due, where that play is what comes next.
    fn next_play_begins(&self, end: MediaTime) -> Option<Time> {
        let ahead = self.ahead.front().filter(|ahead| ahead.is_rewound)?;
        // Pictures may be decoded before the first moment.
        let first = ahead.segment.entries.first().map_or(0, |entry| entry.due.0);
        Some(self.due(MediaTime(end.0 + first)))
    }

    fn is_skipped(&self) -> bool {
        let is_sent = |entry: &Entry| entry.batch.meta().keyframe && entry.track == self.leading;
        self.skips_frames() && !self.entry().is_some_and(is_sent)
    }

    fn next_due(&self) -> Option<MediaTime> {
        if let Some(upcoming) = self.upcoming {
            return Some(upcoming.due);
        }
        let current = self.current.as_ref()?;
        let ahead = self.ahead.front().filter(|ahead| !ahead.is_rewound).map(|ahead| &ahead.segment.entries);
        // A segment ends when its last picture was shown; what follows may be decoded before that.
        Some(ahead.and_then(|entries| entries.first()).map_or(current.end, |entry| entry.due))
    }

    fn due(&self, content: MediaTime) -> Time {
        let ahead = (content.0 - self.clock.content.0) as f64 / (self.clock.scale * self.clock.speed);
        if ahead < 0.0 {
            self.clock.origin - Duration::from_nanos(-ahead as u64)
        } else {
            self.clock.origin + Duration::from_nanos(ahead as u64)
        }
    }

    fn timeline(&self, content: MediaTime) -> MediaTime {
        let elapsed = (content.0 - self.clock.stretch_content.0) as f64 / self.clock.scale;
        MediaTime(self.clock.stretch_timeline.0 + elapsed as i64)
    }
}

/// How long before `start` the first of a segment is shown or heard: sound may begin before the picture, with what an
/// encoder put in front of it, and pictures may be shown before the keyframe. None of them may come under a timestamp
/// that was sent before.
pub(super) fn preroll(segment: &Segment, start: MediaTime) -> Duration {
    let earliest = segment.entries.iter().map(|entry| entry.batch.meta().pts).min();
    earliest.map_or(Duration::ZERO, |earliest| start.since(earliest))
}

/// The tick in which something due is sent: ticks are the same for all viewers, so that one turn serves many.
pub(super) fn tick(due: Time) -> Time {
    let nanos = TICK.as_nanos() as u64;
    Time::from_nanos(due.as_nanos() / nanos * nanos)
}

/// How fast a file is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Content seconds a second of the viewer's timeline (RFC 2326 section 12.34).
    pub scale: f64,
    /// Timeline seconds a second of real time (RFC 2326 section 12.35).
    pub speed: f64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { scale: 1.0, speed: 1.0 }
    }
}

#[cfg(test)]
mod tests;
