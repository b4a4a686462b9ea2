//! Reads a file from a keyframe on, in stretches whose bounds depend on the position alone and not on the way there.
//!
//! ```text
//! leading track   K . . . | . . . . | K . . .      K keyframe, | bound of a stretch
//! other tracks     a a a a|a a a a a|a a a a       by decoding time, wherever the file has them
//! position        (K,0)    (K,1)     (K',0)
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proto::frame::Frame;
use proto::time::MediaTime;
use proto::track::{Codec, Kind, Track};

use super::demux::Demux;
use super::keys::Keys;
use super::library::MediaError;
use super::segment::{Position, SEGMENT_BYTES_MAX, SEGMENT_NANOS_MAX};

/// How far ahead in the file a track's frames are looked for, in nanoseconds of content: more than muxers interleave.
const SKEW_NANOS_MAX: i64 = 3_000_000_000;

/// Most bytes that wait for frames of another track; beyond it they go without.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Leading frames that are looked at to see whether all of them are keyframes.
const INTRA_SAMPLE: usize = 8;

/// Sound frames behind a jump that may be made of the rest of a frame, with times that are off (MPEG program streams).
const UNSURE_FRAMES: usize = 4;

/// Before every frame.
const NOWHERE: MediaTime = MediaTime(i64::MIN);

/// How a file is cut; found once, shared by all readers of the file.
#[derive(Debug)]
pub struct Plan {
    rates: Vec<u32>,
    lead: usize,
    // Every frame is a keyframe (sound, JPEG): stretches begin at multiples of SEGMENT_NANOS_MAX.
    grid: bool,
    // No keyframe was found, so decoding begins with whatever comes first.
    keyless: bool,
    first: MediaTime,
    duration: Option<Duration>,
    keys: Keys,
}

/// The frames between two bounds, in decoding order.
#[derive(Debug)]
pub struct Stretch {
    /// Where it begins.
    pub position: Position,
    /// Where the following one begins; None at the end of the file.
    pub next: Option<Position>,
    /// Frames of all tracks.
    pub frames: Vec<Frame>,
}

/// An open file with the frames that were read and not yet taken.
pub struct Reader {
    demux: Box<dyn Demux>,
    plan: Arc<Plan>,
    waiting: Vec<VecDeque<Frame>>,
    waiting_bytes: usize,
    ended: bool,
    next: Option<Position>,
    // Decoding time that the next stretch begins with.
    start: MediaTime,
    // Frames of other tracks before this belong to a stretch in front of the one that was sought.
    floor: MediaTime,
    // For each track the earliest time that its frames in front of the first one read can end at, since the last jump.
    begun: Vec<Option<MediaTime>>,
    // For each track the decoding time of the frame read last, in ticks.
    last: Vec<i64>,
    // Latest presentation end of what was passed over since the last jump.
    passed: MediaTime,
}

impl Plan {
    fn nanos(&self, track: u8, ticks: i64) -> MediaTime {
        MediaTime::from_ticks(ticks, self.rates[usize::from(track)])
    }

    fn dts(&self, frame: &Frame) -> MediaTime {
        self.nanos(frame.track, frame.dts)
    }

    fn pts(&self, frame: &Frame) -> MediaTime {
        self.nanos(frame.track, frame.pts)
    }

    /// Whether every frame of the leading track is a keyframe.
    pub fn is_intra(&self) -> bool {
        self.grid
    }

    /// The first position, when a jump to `time` leads there whatever else is in the file.
    pub fn start_for(&self, time: MediaTime) -> Option<Position> {
        let is_start = self.keyless || time <= self.first.max(MediaTime::ZERO);
        is_start.then_some(Position { keyframe: self.first, part: 0 })
    }

    /// Whether a stretch begins at the keyframe `key` when `previous` is the one before it.
    fn is_cut(&self, previous: MediaTime, key: MediaTime) -> bool {
        if self.grid { bucket(previous) != bucket(key) } else { previous != key }
    }
}

/// Sound that only sets the decoder up has times before zero; it goes with what follows.
fn bucket(time: MediaTime) -> i64 {
    time.0.max(0) / SEGMENT_NANOS_MAX
}

impl Reader {
    /// Reads as much of a file as is needed to know how it is cut. The reader stands at its first frame.
    pub fn open(
        demux: Box<dyn Demux>,
        tracks: &[Track],
        duration: Option<Duration>,
    ) -> Result<Reader, MediaError> {
        let lead = tracks.iter().position(|track| track.kind() == Kind::Video).unwrap_or(0);
        let plan = Plan {
            rates: tracks.iter().map(|track| track.clock_rate).collect(),
            lead,
            grid: tracks.get(lead).is_some_and(|track| is_intra(&track.codec)),
            keyless: false,
            first: MediaTime::ZERO,
            duration,
            keys: Keys::default(),
        };
        let mut reader = Reader::with_plan(demux, Arc::new(plan));
        reader.discover()?;
        Ok(reader)
    }

    /// Another reader of a file whose plan is known. It stands nowhere yet.
    pub fn with_plan(demux: Box<dyn Demux>, plan: Arc<Plan>) -> Reader {
        let waiting = plan.rates.iter().map(|_| VecDeque::new()).collect();
        let begun = vec![None; plan.rates.len()];
        let last = vec![i64::MIN; plan.rates.len()];
        let start = MediaTime::ZERO;
        Reader {
            demux,
            plan,
            waiting,
            waiting_bytes: 0,
            ended: false,
            next: None,
            start,
            floor: NOWHERE,
            begun,
            last,
            passed: MediaTime(i64::MIN),
        }
    }

    /// How the file is cut, for further readers.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.clone()
    }

    /// The position that is read without going elsewhere; None at the end or before the first use.
    pub fn next(&self) -> Option<Position> {
        self.next
    }

    /// The first frame that waits for `track`, when it was read already.
    pub fn peek(&self, track: u8) -> Option<&Frame> {
        self.waiting.get(usize::from(track))?.front()
    }

    /// Goes to the stretch with the last keyframe at or before `time`, or to the first one. The content's first moment
    /// means the file's first frame, also when that lies before it, as the priming of an encoder does.
    pub fn seek(&mut self, time: MediaTime) -> Result<Position, MediaError> {
        if let Some(start) = self.plan.start_for(time).filter(|start| self.next == Some(*start)) {
            return Ok(start);
        }
        let key = self.go_to_key(time)?;
        let mut position = Position { keyframe: key, part: 0 };
        self.next = Some(position);
        let first_dts = self.waiting.iter().filter_map(|queue| queue.front());
        self.start = first_dts.map(|frame| self.plan.dts(frame)).min().unwrap_or(MediaTime::ZERO);
        // Sound that begins long before the first picture fills stretches of its own.
        while time >= key && self.key_lies_behind()? {
            let stretch = self.stretch()?;
            self.pass(stretch.as_ref());
            match stretch.and_then(|stretch| stretch.next) {
                Some(next) => position = next,
                None => break,
            }
        }
        Ok(position)
    }

    /// Goes to a position that a stretch named.
    pub fn go_to(&mut self, position: Position) -> Result<(), MediaError> {
        if self.next == Some(position) {
            return Ok(());
        }
        let key = self.go_to_key(position.keyframe)?;
        if key != position.keyframe {
            return Err(MediaError::Broken("the file changed while it was read".into()));
        }
        self.next = Some(Position { keyframe: key, part: 0 });
        let first_dts = self.waiting.iter().filter_map(|queue| queue.front());
        self.start = first_dts.map(|frame| self.plan.dts(frame)).min().unwrap_or(MediaTime::ZERO);
        while self.next != Some(position) {
            let stretch = self.stretch()?;
            self.pass(stretch.as_ref());
            if stretch.is_none_or(|stretch| stretch.next.is_none_or(|next| next.keyframe != key)) {
                return Err(MediaError::Broken("the file changed while it was read".into()));
            }
        }
        Ok(())
    }

    /// Takes the stretch at the reader's position and stands at the following one. None at the end.
    pub fn stretch(&mut self) -> Result<Option<Stretch>, MediaError> {
        let Some(position) = self.next else { return Ok(None) };
        let (count, end, cut) = self.leading(position)?;
        self.read_past(end)?;
        let mut frames = Vec::with_capacity(count * 3);
        for track in 0..self.waiting.len() {
            let queue = &mut self.waiting[track];
            let take = if track == self.plan.lead {
                count
            } else {
                queue.iter().take_while(|frame| self.plan.dts(frame) < end).count()
            };
            // The frames of a track keep the order of the file, whatever their times say.
            let mut latest = NOWHERE;
            for frame in queue.drain(..take) {
                latest = latest.max(self.plan.dts(&frame));
                frames.push((latest, frame));
            }
        }
        frames.sort_by_key(|(dts, _)| *dts);
        let frames: Vec<_> = frames.into_iter().map(|(_, frame)| frame).collect();
        self.waiting_bytes -= frames.iter().map(|frame| frame.payload.len()).sum::<usize>();
        let next = self.following(position, cut, end);
        self.next = next;
        Ok(Some(Stretch { position, next, frames }))
    }

    /// Latest presentation end of what was passed over on the way to a position: pictures are shown in another order
    /// than they come.
    pub fn passed(&self) -> MediaTime {
        self.passed
    }

    fn pass(&mut self, stretch: Option<&Stretch>) {
        for frame in stretch.iter().flat_map(|stretch| &stretch.frames) {
            let end = frame.pts.saturating_add(i64::from(frame.duration));
            self.passed = self.passed.max(self.plan.nanos(frame.track, end));
        }
    }

    /// How many leading frames the stretch takes, where it ends, and the keyframe that ended it.
    fn leading(&mut self, position: Position) -> Result<(usize, MediaTime, Option<MediaTime>), MediaError> {
        let mut end = MediaTime(self.start.0.saturating_add(SEGMENT_NANOS_MAX));
        let (mut count, mut bytes) = (0, 0);
        while self.read_leading(count, end)? {
            let frame = &self.waiting[self.plan.lead][count];
            let (dts, pts) = (self.plan.dts(frame), self.plan.pts(frame));
            if frame.keyframe && self.plan.is_cut(position.keyframe, pts) && dts < end {
                return Ok((count, dts, Some(pts)));
            }
            if dts >= end {
                break;
            }
            if count > 0 && bytes + frame.payload.len() > SEGMENT_BYTES_MAX {
                end = dts;
                break;
            }
            bytes += frame.payload.len();
            count += 1;
        }
        Ok((count, end, None))
    }

    /// The position behind a stretch that ended at `end`; None when nothing is left.
    fn following(&mut self, position: Position, cut: Option<MediaTime>, end: MediaTime) -> Option<Position> {
        let fronts = self.waiting.iter().filter_map(|queue| queue.front());
        let rest = fronts.map(|frame| self.plan.dts(frame)).min()?;
        if let Some(key) = cut {
            self.learn(position.keyframe, key);
            self.start = end;
            return Some(Position { keyframe: key, part: 0 });
        }
        self.start = end.max(rest);
        // A keyframe exactly at the bound begins a stretch of its own, as any other does.
        let lead = self.waiting[self.plan.lead].front();
        if let Some(frame) = lead.filter(|frame| frame.keyframe && self.plan.dts(frame) <= self.start) {
            let key = self.plan.pts(frame);
            if self.plan.is_cut(position.keyframe, key) {
                self.learn(position.keyframe, key);
                return Some(Position { keyframe: key, part: 0 });
            }
        }
        Some(Position { part: position.part + 1, ..position })
    }

    fn learn(&self, key: MediaTime, next: MediaTime) {
        self.plan.keys.learn(key, next);
        if let Some(byte) = self.demux.place(next) {
            self.plan.keys.learn_place(next, byte);
        }
    }

    /// Whether the keyframe that the position names lies behind the next stretch.
    fn key_lies_behind(&mut self) -> Result<bool, MediaError> {
        let end = MediaTime(self.start.0.saturating_add(SEGMENT_NANOS_MAX));
        if !self.read_leading(0, end)? {
            return Ok(self.waiting.iter().any(|queue| !queue.is_empty()) && !self.ended);
        }
        Ok(self.waiting[self.plan.lead].front().is_some_and(|frame| self.plan.dts(frame) >= end))
    }

    /// Reads until leading frame `index` waits. False at the end, or when the other tracks are far past `end`.
    fn read_leading(&mut self, index: usize, end: MediaTime) -> Result<bool, MediaError> {
        loop {
            if self.waiting[self.plan.lead].len() > index {
                return Ok(true);
            }
            let latest = self.waiting.iter().filter_map(|queue| queue.back());
            let latest = latest.map(|frame| self.plan.dts(frame)).max();
            let far = latest.is_some_and(|dts| dts.0 > end.0.saturating_add(SKEW_NANOS_MAX));
            if self.ended || far || self.waiting_bytes > WAITING_BYTES_MAX {
                return Ok(false);
            }
            self.read()?;
        }
    }

    /// Reads until every track has a frame at or behind `end`, or the file has none in reach.
    fn read_past(&mut self, end: MediaTime) -> Result<(), MediaError> {
        let limit = MediaTime(end.0.saturating_add(SKEW_NANOS_MAX));
        loop {
            let last = |queue: &VecDeque<Frame>| queue.back().map(|frame| self.plan.dts(frame));
            let complete = self.waiting.iter().all(|queue| last(queue).is_some_and(|dts| dts >= end));
            let far = self.waiting.iter().any(|queue| last(queue).is_some_and(|dts| dts > limit));
            if complete || far || self.ended || self.waiting_bytes > WAITING_BYTES_MAX {
                return Ok(());
            }
            self.read()?;
        }
    }

    /// Takes one frame from the file; None at its end.
    fn read(&mut self) -> Result<Option<usize>, MediaError> {
        let Some(mut frame) = self.demux.next_frame()? else {
            self.ended = true;
            return Ok(None);
        };
        let track = usize::from(frame.track);
        if let Some(last) = self.last.get_mut(track) {
            // Damaged times must not change the order of decoding.
            frame.dts = frame.dts.max(*last);
            *last = frame.dts;
        }
        if let Some(begun @ None) = self.begun.get_mut(track) {
            let before = frame.dts.saturating_sub(i64::from(frame.duration));
            *begun = Some(self.plan.nanos(frame.track, before));
        }
        let is_passed = track != self.plan.lead && self.plan.dts(&frame) < self.floor;
        let Some(queue) = self.waiting.get_mut(track).filter(|_| !is_passed) else { return Ok(Some(track)) };
        self.waiting_bytes += frame.payload.len();
        queue.push_back(frame);
        Ok(Some(track))
    }

    fn clear(&mut self) {
        self.passed = MediaTime(i64::MIN);
        self.waiting.iter_mut().for_each(VecDeque::clear);
        self.waiting_bytes = 0;
        self.ended = false;
        self.next = None;
        self.floor = NOWHERE;
        self.begun.fill(None);
        self.last.fill(i64::MIN);
    }

    fn rewind(&mut self) -> Result<(), MediaError> {
        self.clear();
        self.demux.rewind()
    }
}

/// Finding keyframes.
impl Reader {
    /// Learns from the file's beginning where decoding begins and whether every frame is a keyframe.
    fn discover(&mut self) -> Result<(), MediaError> {
        while self.waiting[self.plan.lead].len() < INTRA_SAMPLE {
            let has_key = self.waiting[self.plan.lead].iter().any(|frame| frame.keyframe);
            if self.ended || (has_key && self.waiting_bytes > SEGMENT_BYTES_MAX * 8) {
                break;
            }
            if self.waiting_bytes > WAITING_BYTES_MAX {
                break;
            }
            self.read()?;
        }
        let lead = &self.waiting[self.plan.lead];
        let Some(front) = lead.front() else {
            return Err(MediaError::Unsupported("there is no frame in it".into()));
        };
        let key = lead.iter().find(|frame| frame.keyframe);
        let first = self.plan.pts(key.unwrap_or(front));
        let keyless = key.is_none();
        let intra = lead.len() >= INTRA_SAMPLE && lead.iter().all(|frame| frame.keyframe);
        let plan = Arc::get_mut(&mut self.plan)
            .ok_or_else(|| MediaError::Broken("the plan is shared before it is made".into()))?;
        (plan.first, plan.keyless, plan.grid) = (first, keyless, plan.grid || intra);
        self.settle_at_start();
        self.next = Some(Position { keyframe: first, part: 0 });
        let fronts = self.waiting.iter().filter_map(|queue| queue.front());
        self.start = fronts.map(|frame| self.plan.dts(frame)).min().unwrap_or(MediaTime::ZERO);
        Ok(())
    }

    /// At the file's beginning: drops what precedes the first keyframe of the leading track.
    fn settle_at_start(&mut self) {
        let lead = &mut self.waiting[self.plan.lead];
        if self.plan.keyless
            && let Some(front) = lead.front_mut()
        {
            front.keyframe = true;
        }
        while lead.front().is_some_and(|frame| !frame.keyframe) {
            let dropped = lead.pop_front().map_or(0, |frame| frame.payload.len());
            self.waiting_bytes -= dropped;
        }
    }

    /// Stands at the last keyframe at or before `time`, or at the first one, and says which it is.
    fn go_to_key(&mut self, time: MediaTime) -> Result<MediaTime, MediaError> {
        let plan = self.plan.clone();
        let time = match plan.duration {
            // Lying durations exist: a second of grace costs nothing.
            Some(duration) => time.min(MediaTime::ZERO + duration + Duration::from_secs(1)),
            None => time,
        };
        let known = plan.keys.find(time);
        if plan.start_for(time).is_some() || known == Some(plan.first) {
            self.go_to_start()?;
            return Ok(plan.first);
        }
        let mut target = known.unwrap_or(time);
        if plan.grid {
            target = MediaTime(bucket(target).saturating_sub(1).saturating_mul(SEGMENT_NANOS_MAX));
        }
        let (mut back, mut nudge) = (1_000_000_000_i64, 10_000_i64);
        let mut patience = 2;
        // Tried once: what lies there may be something else by now.
        let mut place = plan.keys.place(target);
        while target > plan.first {
            self.clear();
            // A place that cannot be reached is looked for from an earlier one.
            let placed = place.take();
            let sought = match placed {
                Some(byte) => self.demux.seek_place(byte),
                None => self.demux.seek(target),
            };
            let landed = match sought {
                Ok(()) => self.look_for_key(time, known, Landing::Anywhere)?,
                Err(_) => Looked::Missed(None),
            };
            if placed.is_some() && !matches!(landed, Looked::Found(key) if key == target) {
                continue;
            }
            match landed {
                Looked::Found(key) if key == plan.first => break,
                Looked::Found(key) if patience == 0 || self.has_all_since_key()? => return Ok(key),
                Looked::Found(key) => {
                    patience -= 1;
                    target = MediaTime(key.0.min(target.0).saturating_sub(back));
                }
                Looked::Missed(later) => {
                    let before = later.map_or(target, |dts| MediaTime(dts.0.saturating_sub(1)));
                    let earlier = MediaTime(time.0.saturating_sub(back));
                    let is_exact = plan_exact(&plan, self.demux.as_ref()) && later.is_some();
                    // The container rounds to its own ticks: just before a keyframe may be that keyframe.
                    let nudged = MediaTime(target.0.saturating_sub(nudge));
                    target = if is_exact { before.min(nudged) } else { target.min(before).min(earlier) };
                    nudge = nudge.saturating_mul(2);
                    back = back.saturating_mul(2);
                }
            }
        }
        self.rewind()?;
        match self.look_for_key(time, known, Landing::Start)? {
            Looked::Found(key) if key != plan.first => Ok(key),
            _ => self.go_to_start().map(|()| plan.first),
        }
    }

    /// Whether reading began early enough to see every frame of the other tracks that is decoded behind the keyframe.
    /// Muxers may put them in front of it.
    fn has_all_since_key(&mut self) -> Result<bool, MediaError> {
        let floor = self.floor;
        if self.demux.has_exact_index() {
            return Ok(true);
        }
        self.read_past(floor)?;
        let mut others = self.begun.iter().enumerate().filter(|(track, _)| *track != self.plan.lead);
        Ok(others.all(|(_, begun)| begun.is_some_and(|begun| begun < floor)))
    }

    fn go_to_start(&mut self) -> Result<(), MediaError> {
        self.rewind()?;
        while self.waiting[self.plan.lead].is_empty() || !self.begins_with_key() {
            if self.read()?.is_none() {
                break;
            }
            self.settle_at_start();
        }
        Ok(())
    }

    fn begins_with_key(&self) -> bool {
        self.waiting[self.plan.lead].front().is_some_and(|frame| frame.keyframe)
    }

    /// Reads on to the last keyframe at or before `time` and keeps what follows it.
    fn look_for_key(
        &mut self,
        time: MediaTime,
        known: Option<MediaTime>,
        landing: Landing,
    ) -> Result<Looked, MediaError> {
        let plan = self.plan.clone();
        let mut found: Option<MediaTime> = None;
        let mut previous: Option<MediaTime> = None;
        let mut missed = None;
        let mut seen = 0;
        while let Some(track) = self.read()? {
            if track != plan.lead {
                continue;
            }
            let Some(frame) = self.waiting[track].back() else { continue };
            let (dts, pts, keyframe) = (plan.dts(frame), plan.pts(frame), frame.keyframe);
            if dts > time || (keyframe && pts > time) {
                missed = Some(dts);
                if let (Some(found), true) = (found, keyframe && plan.is_cut(previous.unwrap_or(pts), pts)) {
                    plan.keys.learn(found, pts);
                }
                break;
            }
            seen += 1;
            if keyframe {
                let begins = match previous {
                    Some(previous) if plan.grid && landing == Landing::Anywhere => {
                        seen > UNSURE_FRAMES && plan.is_cut(previous, pts)
                    }
                    Some(previous) => plan.is_cut(previous, pts),
                    None => !plan.grid || landing == Landing::Start,
                };
                previous = Some(pts);
                if begins {
                    if let Some(found) = found {
                        plan.keys.learn(found, pts);
                    }
                    found = Some(pts);
                    self.drop_before(dts);
                    if known == found || plan_exact(&plan, self.demux.as_ref()) {
                        break;
                    }
                }
            }
            if found.is_none() {
                self.drop_leading();
            }
        }
        Ok(found.map_or(Looked::Missed(missed), Looked::Found))
    }

    /// Drops all but the leading frame read last, and the other tracks' frames before it.
    fn drop_before(&mut self, dts: MediaTime) {
        let plan = self.plan.clone();
        self.floor = dts;
        for (track, queue) in self.waiting.iter_mut().enumerate() {
            if track == plan.lead {
                let last = queue.pop_back();
                queue.clear();
                queue.extend(last);
            } else {
                queue.retain(|frame| plan.dts(frame) >= dts);
            }
        }
        self.waiting_bytes = self.waiting.iter().flatten().map(|frame| frame.payload.len()).sum();
    }

    fn drop_leading(&mut self) {
        let dropped: usize = self.waiting[self.plan.lead].drain(..).map(|frame| frame.payload.len()).sum();
        self.waiting_bytes -= dropped;
    }
}

/// Where reading began.
#[derive(Clone, Copy, PartialEq)]
enum Landing {
    Start,
    Anywhere,
}

/// What reading on to a time found.
enum Looked {
    Found(MediaTime),
    /// No keyframe at or before it; with the decoding time of the first leading frame behind it.
    Missed(Option<MediaTime>),
}

fn plan_exact(plan: &Plan, demux: &dyn Demux) -> bool {
    demux.has_exact_index() && !plan.grid
}

/// Whether every frame of this codec is a keyframe.
fn is_intra(codec: &Codec) -> bool {
    codec.kind() != Kind::Video || *codec == Codec::Jpeg
}
