//! The way through a recording, forward or backward, one segment after the other.
//!
//! ```text
//! forward    (K,0) (K,1) (K',0) (K',1)                 as they lie
//! backward   (K',0) (K',1)  (K,0) (K,1)                groups of pictures from the last, each of them forward
//! backward   (K',1) (K',0)  (K,1) (K,0)  group by group where every picture is a group of its own
//! ```
//!
//! What was found is kept until it is known whether more of its track follows: the last access unit of a track says that
//! it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proto::rtp::batch::Batch;
use proto::rtsp::headers::frames::Frames;
use proto::time::MediaTime;
use smallvec::{SmallVec, smallvec};

use super::held::{Carried, Held, Looked};
use super::order::{Direction, Order};
use super::sift::Sift;
use crate::media::library::{FileInfo, Wanted};
use crate::media::segment::{Entry, Position, Segment};

/// Segments held; the media threads are asked this far ahead.
const HELD_MAX: usize = 2;

/// Content that is looked through for more of a track, and bytes that wait for that. Beyond it goes without saying that
/// the track goes on.
const REACH: Duration = Duration::from_secs(30);
const REACH_BYTES_MAX: usize = 1024 * 1024;

/// Pictures that may wait for one that needs them: four times as many as a decoder of H.264 reorders. Where more would, the
/// times of presentation run far ahead of those of decoding, and all are sent.
const OUTSIDE_MAX: usize = 64;

/// One access unit that is sent.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its packets.
    pub batch: Arc<Batch>,
    /// Whose it is.
    pub track: u8,
    /// How far on the way it is due: forward its decoding time, backward what lies between it and the beginning.
    pub due: MediaTime,
    /// Whether it begins a group of pictures in reverse.
    pub begins_group: bool,
}

/// What comes next.
#[derive(Debug)]
pub enum Front {
    /// This, and whether nothing of its track follows.
    Item {
        /// What is sent.
        item: Item,
        /// Whether it is the last of its track.
        is_last: bool,
    },
    /// The next segment is on its way.
    Starved,
    /// Nothing; all is shown when that part of the way is done.
    Finished(MediaTime),
}

/// A walk through a recording.
#[derive(Debug)]
pub struct Walk {
    direction: Direction,
    from: MediaTime,
    until: Option<MediaTime>,
    leading: u8,
    is_intra: bool,
    /// Whether no more than keyframes is looked at.
    only_keyframes: bool,
    sift: Sift,
    held: VecDeque<Held>,
    carried: Carried,
    next: Step,
    /// Keyframe of the segments that came last.
    key: Option<MediaTime>,
    /// Keyframe of the group that is looked at, and where that group ends.
    group: Option<(MediaTime, MediaTime)>,
    /// Pictures that are shown outside of what was asked for: they are sent if one is predicted from them that is not.
    outside: Vec<Item>,
    found: VecDeque<Item>,
    found_bytes: usize,
    /// For each track, how many of those are its.
    waiting: SmallVec<[usize; 2]>,
    /// What was looked at last.
    looked: MediaTime,
    /// Presentation end of what came last.
    end: MediaTime,
    first: SmallVec<[u16; 4]>,
}

/// Which segment comes next.
#[derive(Debug)]
enum Step {
    /// The one that a jump leads to, or in reverse the group before.
    Seek(MediaTime),
    /// The one that follows.
    Follow(Position),
    /// The one that follows, to see whether it still belongs there; this one else.
    Scan(Position, Arc<Segment>),
    /// In reverse, the one before.
    Descend(Position),
    /// None.
    Nothing {
        /// Whether the recording ends there.
        is_footage: bool,
    },
}

impl Walk {
    /// A walk as an order has it, over the tracks whose bits are set.
    pub fn new(info: &FileInfo, leading: u8, order: &Order, wanted: u32) -> Walk {
        Walk {
            direction: order.direction,
            from: order.from,
            until: order.until,
            leading,
            is_intra: info.is_intra,
            only_keyframes: matches!(order.frames, Frames::Intra(_)),
            sift: Sift::new(&info.tracks, leading, order, wanted),
            held: VecDeque::new(),
            carried: Carried::default(),
            next: Step::Seek(order.from),
            key: None,
            group: None,
            outside: Vec::new(),
            found: VecDeque::new(),
            found_bytes: 0,
            waiting: smallvec![0; info.tracks.len()],
            looked: order.from,
            end: MediaTime::ZERO,
            first: SmallVec::new(),
        }
    }

    /// Which segment to ask for, if there is room for one.
    pub fn wanted(&self) -> Option<Wanted> {
        if self.held.len() >= HELD_MAX {
            return None;
        }
        match &self.next {
            Step::Seek(time) => Some(Wanted::Seek(*time)),
            Step::Follow(position) | Step::Scan(position, _) | Step::Descend(position) => {
                Some(Wanted::At(*position))
            }
            Step::Nothing { .. } => None,
        }
    }

    /// Takes the segment that was asked for.
    pub fn push(&mut self, segment: Arc<Segment>) {
        if matches!(self.next, Step::Nothing { .. }) {
            // It was on its way when the end was found.
            return;
        }
        if self.first.is_empty() {
            self.first = segment.first.iter().map(|first| first.sequence).collect();
        }
        self.end = self.end.max(segment.end);
        let step = std::mem::replace(&mut self.next, Step::Nothing { is_footage: true });
        match (self.direction, step) {
            (Direction::Forward, _) => {
                self.next = match segment.next {
                    Some(next) => Step::Follow(next),
                    None => Step::Nothing { is_footage: true },
                };
                self.held.push_back(Held::forward(segment));
            }
            // Nothing lies before it.
            (Direction::Backward, Step::Seek(_))
                if self.key.is_some_and(|key| segment.position.keyframe >= key) => {}
            (Direction::Backward, Step::Seek(_)) => {
                self.key = Some(segment.position.keyframe);
                match self.is_intra {
                    true => self.scan(segment, None),
                    false => self.follow(segment),
                }
            }
            (Direction::Backward, Step::Scan(_, before)) => self.scan(segment, Some(before)),
            (Direction::Backward, Step::Descend(_)) => self.descend(segment),
            (Direction::Backward, Step::Follow(_)) => self.follow(segment),
            (Direction::Backward, Step::Nothing { .. }) => {}
        }
    }

    /// What comes next; it stays next until [`Walk::pop`].
    pub fn front(&mut self) -> Front {
        loop {
            if let Some(item) = self.found.front() {
                let is_followed = self.waiting[usize::from(item.track)] > 1;
                if self.has_begun() && (is_followed || self.is_out_of_reach(item)) {
                    return Front::Item { item: item.clone(), is_last: false };
                }
            }
            if self.look() {
                continue;
            }
            return match (&self.next, self.found.front()) {
                (Step::Nothing { .. }, Some(item)) => {
                    let is_last = self.waiting[usize::from(item.track)] == 1;
                    Front::Item { item: item.clone(), is_last }
                }
                (Step::Nothing { .. }, None) => Front::Finished(self.finish()),
                _ => Front::Starved,
            };
        }
    }

    /// Looks for what it begins with; false while that is not known.
    pub fn finds_beginning(&mut self) -> bool {
        while !self.has_begun() && self.look() {}
        self.has_begun() || matches!(self.next, Step::Nothing { .. })
    }

    /// What was found and not taken yet.
    pub fn found(&self) -> impl Iterator<Item = &Item> {
        self.found.iter()
    }

    /// What comes next as far as it was found.
    pub fn peek(&self) -> Option<&Item> {
        self.found.front()
    }

    /// Takes what comes next.
    pub fn pop(&mut self) -> Option<Item> {
        let item = self.found.pop_front()?;
        self.waiting[usize::from(item.track)] -= 1;
        self.found_bytes -= item.batch.rtp().len();
        Some(item)
    }

    /// Whether the recording ends where the walk does.
    pub fn ends_section(&self) -> bool {
        matches!(self.next, Step::Nothing { is_footage: true })
    }

    /// Canonical sequence number that a track begins with.
    pub fn first_sequence(&self, track: u8) -> Option<u16> {
        self.first.get(usize::from(track)).copied()
    }

    /// In reverse: a part of a group, and then the next of its parts or the group before.
    fn follow(&mut self, segment: Arc<Segment>) {
        let key = segment.position.keyframe;
        let next = segment.next.filter(|next| next.keyframe == key);
        let next = next.filter(|_| !self.only_keyframes && !self.passes_beginning(&segment));
        self.next = next.map_or_else(|| self.before(key), Step::Follow);
        self.held.push_back(Held::forward(segment));
    }

    /// In reverse, where every picture is a group: looks for the last segment of a stretch, which is gone through from its
    /// end.
    fn scan(&mut self, segment: Arc<Segment>, before: Option<Arc<Segment>>) {
        let begins = segment.entries.iter().find(|entry| entry.track == self.leading).map(|entry| entry.due);
        let last = match before {
            Some(before) if begins.is_none_or(|begins| begins > self.from) => before,
            _ => {
                let next = segment.next.filter(|next| next.keyframe == segment.position.keyframe);
                if let Some(next) = next.filter(|_| !self.passes_beginning(&segment)) {
                    self.next = Step::Scan(next, segment);
                    return;
                }
                segment
            }
        };
        self.descend(last);
    }

    fn descend(&mut self, segment: Arc<Segment>) {
        let Position { keyframe, part } = segment.position;
        self.next = match part.checked_sub(1) {
            Some(part) => Step::Descend(Position { keyframe, part }),
            None => self.before(keyframe),
        };
        self.held.push_back(Held::backward(&segment, self.leading, &mut self.carried));
    }

    /// The group before a keyframe, if the walk goes on so far.
    fn before(&self, key: MediaTime) -> Step {
        if self.until.is_some_and(|until| key <= until) {
            return Step::Nothing { is_footage: false };
        }
        Step::Seek(MediaTime(key.0.saturating_sub(1)))
    }

    /// Whether something in a segment lies behind the point that the walk began at.
    fn passes_beginning(&self, segment: &Segment) -> bool {
        segment.entries.iter().any(|entry| entry.track == self.leading && entry.due > self.from)
    }

    /// Looks at the next access unit. False when there is none yet, or no more.
    fn look(&mut self) -> bool {
        let Some(held) = self.held.front_mut() else { return false };
        let Some(Looked { entry, ends_group }) = held.look() else {
            self.held.pop_front();
            return true;
        };
        match self.direction {
            Direction::Forward => self.look_forward(entry),
            Direction::Backward => self.look_backward(entry),
        }
        let passes_end = |(key, _): (MediaTime, MediaTime)| self.until.is_some_and(|until| key <= until);
        if ends_group && self.group.is_some_and(passes_end) {
            self.stop();
        }
        true
    }

    fn look_forward(&mut self, entry: Entry) {
        if self.until.is_some_and(|until| entry.due >= until) {
            return self.stop();
        }
        self.looked = entry.due;
        let pts = entry.batch.meta().pts;
        // Where every picture is a clean point, it begins with the last that is not behind the asked one; from the first moment
        // on also with what an encoder of sound put before it. That all are was found with the first of them.
        let is_before = entry.batch.meta().keyframe && pts <= self.from && self.from > MediaTime::ZERO;
        if self.is_intra && entry.track == self.leading && is_before {
            self.found.iter().for_each(|item| self.sift.forget(item));
            self.found.clear();
            self.waiting.fill(0);
            self.found_bytes = 0;
        }
        let Entry { due, track, batch } = entry;
        let is_outside = self.until.is_some_and(|until| pts >= until);
        self.sort(Item { batch, track, due, begins_group: false }, is_outside);
    }

    fn look_backward(&mut self, entry: Entry) {
        let Entry { due, track, batch } = entry;
        if track != self.leading || due > self.from {
            return;
        }
        let meta = *batch.meta();
        self.looked = meta.pts;
        if meta.keyframe {
            let end = self.group.map_or(self.from, |(key, _)| key);
            self.group = Some((meta.pts, end));
            self.outside.clear();
        }
        let end = self.group.map_or(self.from, |(_, end)| end);
        // A group leaves while the one is shown that lies behind it.
        let due = MediaTime(self.from.0 - 2 * end.0 + due.0);
        self.sort(Item { batch, track, due, begins_group: meta.keyframe }, meta.pts > self.from);
    }

    /// Finds an access unit, unless it lies outside of what was asked for and no other of its track needs it.
    fn sort(&mut self, item: Item, is_outside: bool) {
        if is_outside && self.outside.len() < OUTSIDE_MAX {
            return self.outside.push(item);
        }
        for before in self.outside.extract_if(.., |before| before.track == item.track).collect::<Vec<_>>() {
            self.find(before);
        }
        self.find(item);
    }

    /// Keeps an access unit if it is wanted.
    fn find(&mut self, item: Item) {
        if !self.sift.keeps(item.batch.meta()) {
            return;
        }
        self.waiting[usize::from(item.track)] += 1;
        self.found_bytes += item.batch.rtp().len();
        self.found.push_back(item);
    }

    /// What was asked for ends here.
    fn stop(&mut self) {
        self.held.clear();
        self.next = Step::Nothing { is_footage: false };
    }

    /// Whether what was found first is what it begins with: where every picture is a clean point, another may still come.
    fn has_begun(&self) -> bool {
        !self.is_intra || self.direction == Direction::Backward || self.looked > self.from
    }

    fn is_out_of_reach(&self, item: &Item) -> bool {
        let at = match self.direction {
            Direction::Forward => item.due,
            Direction::Backward => item.batch.meta().pts,
        };
        let distance = self.looked.max(at).since(self.looked.min(at));
        distance > REACH || self.found_bytes - item.batch.rtp().len() > REACH_BYTES_MAX
    }

    /// How far on the way all is shown.
    pub fn finish(&self) -> MediaTime {
        match self.direction {
            Direction::Forward => self.until.map_or(self.end, |until| until.min(self.end)),
            Direction::Backward => MediaTime(self.from.0 - self.until.unwrap_or_default().0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::library::{Answer, Library};
    use crate::media::memory::{MemoryLibrary, Presentation, asked};

    /// What an order gives of the pictures of four seconds, a keyframe each second: numbers in the order in which they
    /// are shown, which of them begin groups, and whether the last says that it is, and that the recording ends.
    fn walked(presentation: Presentation, order: &Order) -> (Vec<i64>, Vec<i64>, bool, bool) {
        let library = MemoryLibrary::new(1_400);
        library.add("film", presentation);
        let answer = asked(|reply| library.describe("/film", &[], 1, reply));
        let Answer::Described(_, Ok(info)) = answer else { panic!("described") };
        let mut walk = Walk::new(&info, 0, order, 0b11);
        let (mut numbers, mut groups, mut is_over) = (Vec::new(), Vec::new(), false);
        loop {
            match walk.front() {
                Front::Starved => {
                    let wanted = walk.wanted().expect("it says what it waits for");
                    let answer = asked(|reply| library.segment(&info, wanted, 2, reply));
                    let Answer::Segment(_, Ok(segment)) = answer else { panic!("a segment") };
                    walk.push(segment);
                }
                Front::Item { item, is_last } => {
                    walk.pop();
                    if item.track != 0 {
                        continue;
                    }
                    assert!(!is_over, "nothing comes behind the last");
                    is_over = is_last;
                    let number = item.batch.meta().pts.0 / FRAME;
                    numbers.push(number);
                    groups.extend(item.begins_group.then_some(number));
                }
                Front::Finished(_) => return (numbers, groups, is_over, walk.ends_section()),
            }
        }
    }

    const FRAME: i64 = 40_000_000;

    fn film(has_b_frames: bool, gop_frames: u32) -> Presentation {
        let duration = Duration::from_secs(4);
        Presentation { duration, gop_frames, has_b_frames, ..Presentation::default() }
    }

    fn order(direction: Direction, from: i64, until: Option<i64>) -> Order {
        let at = |number| MediaTime(number * FRAME);
        Order { direction, from: at(from), until: until.map(at), has_sound: true, ..Order::default() }
    }

    #[test]
    fn groups_are_walked_backward_and_their_pictures_forward() {
        let all = order(Direction::Backward, 100, None);
        let wanted: Vec<_> = (0..4).rev().flat_map(|group| group * 25..(group + 1) * 25).collect();
        assert_eq!(walked(film(false, 25), &all), (wanted, vec![75, 50, 25, 0], true, true));
        let part = order(Direction::Backward, 60, Some(30));
        let wanted: Vec<_> = (50..61).chain(25..50).collect();
        assert_eq!(walked(film(false, 25), &part), (wanted, vec![50, 25], true, false));
    }

    #[test]
    fn no_group_is_left_out_however_short_it_is() {
        for group in [2, 3, 7] {
            let all = order(Direction::Backward, 100, None);
            let firsts: Vec<i64> = (0..100).filter(|number| number % group == 0).rev().collect();
            let wanted = firsts.iter().flat_map(|first| *first..100.min(first + group)).collect();
            assert_eq!(walked(film(false, group as u32), &all), (wanted, firsts, true, true));
        }
    }

    #[test]
    fn pictures_that_stand_alone_are_walked_one_by_one() {
        let part = order(Direction::Backward, 60, Some(30));
        let wanted: Vec<_> = (30..=60).rev().collect();
        assert_eq!(walked(film(false, 1), &part), (wanted.clone(), wanted, true, false));
        let forward = order(Direction::Forward, 30, Some(61));
        assert_eq!(walked(film(false, 1), &forward), ((30..61).collect(), Vec::new(), true, false));
        // Large ones, of which a segment holds a few.
        let large = Presentation { keyframe_bytes: 90_000, ..film(false, 1) };
        let all = order(Direction::Backward, 100, None);
        let wanted: Vec<_> = (0..100).rev().collect();
        assert_eq!(walked(large, &all), (wanted.clone(), wanted, true, true));
    }

    fn opened(presentation: Presentation) -> (MemoryLibrary, Arc<FileInfo>) {
        let library = MemoryLibrary::new(1_400);
        library.add("film", presentation);
        let answer = asked(|reply| library.describe("/film", &[], 1, reply));
        let Answer::Described(_, Ok(info)) = answer else { panic!("described") };
        (library, info)
    }

    fn read(library: &MemoryLibrary, info: &Arc<FileInfo>, wanted: Wanted) -> Arc<Segment> {
        let answer = asked(|reply| library.segment(info, wanted, 2, reply));
        let Answer::Segment(_, Ok(segment)) = answer else { panic!("a segment") };
        segment
    }

    #[test]
    fn what_was_asked_for_before_the_end_was_found_is_no_part_of_it() {
        for part in [order(Direction::Backward, 60, Some(30)), order(Direction::Forward, 30, Some(60))] {
            let (library, info) = opened(Presentation { keyframe_bytes: 90_000, ..film(false, 1) });
            let mut walk = Walk::new(&info, 0, &part, 0b01);
            let mut count = 0;
            loop {
                // It is asked for ahead, and comes when all before it was looked at.
                let ahead = walk.wanted();
                match walk.front() {
                    Front::Item { item, .. } => {
                        count += i64::from(item.track == 0);
                        walk.pop();
                    }
                    Front::Finished(_) => break,
                    Front::Starved => {}
                }
                if let Some(wanted) = ahead {
                    walk.push(read(&library, &info, wanted));
                }
            }
            let inside = if part.direction == Direction::Backward { 31 } else { 30 };
            assert_eq!(count, inside);
        }
    }

    #[test]
    fn pictures_that_wait_for_one_that_needs_them_have_a_bound() {
        let (library, info) = opened(film(false, 25));
        let mut walk = Walk::new(&info, 0, &order(Direction::Forward, 0, Some(25)), 0b11);
        let segment = read(&library, &info, Wanted::Seek(MediaTime::ZERO));
        let Entry { due, track, batch } = segment.entries[0].clone();
        for _ in 0..10_000 {
            walk.sort(Item { batch: batch.clone(), track, due, begins_group: false }, true);
        }
        assert!(walk.outside.len() <= OUTSIDE_MAX && walk.found.len() > 9_000);
    }

    #[test]
    fn a_range_ends_where_it_says_whatever_is_decoded_before() {
        let part = order(Direction::Forward, 25, Some(50));
        let (mut numbers, _, is_over, ends) = walked(film(true, 25), &part);
        numbers.sort_unstable();
        assert_eq!((numbers, is_over, ends), ((25..50).collect(), true, false));
    }

    proptest! {
        #[test]
        fn every_picture_of_a_range_comes_once(
            from in 0i64..100,
            length in 1i64..100,
            backward: bool,
            has_b_frames: bool,
            gop in prop::sample::select(vec![1u32, 2, 25, 40, 200]),
        ) {
            let (direction, until) = match backward {
                true => (Direction::Backward, Some(from - length).filter(|until| *until > 0)),
                false => (Direction::Forward, Some(from + length).filter(|until| *until < 100)),
            };
            let (numbers, groups, is_over, ends) =
                walked(film(has_b_frames, gop), &order(direction, from, until));
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            let wanted = match backward {
                true => until.unwrap_or(0)..=from,
                false => from..=until.unwrap_or(100) - 1,
            };
            prop_assert!(wanted.clone().all(|number| sorted.contains(&number)), "{wanted:?} of {numbers:?}");
            prop_assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]), "{numbers:?}");
            // More comes only where decoding has to begin before, or a picture is predicted from a later one.
            let group = i64::from(gop);
            let (low, high) = (wanted.start() / group * group, wanted.end() + 2);
            prop_assert!(sorted.iter().all(|number| (low..=high).contains(number)), "{wanted:?}: {numbers:?}");
            prop_assert!(is_over);
            prop_assert_eq!(ends, until.is_none());
            prop_assert_eq!(groups.is_empty(), !backward);
        }
    }
}
