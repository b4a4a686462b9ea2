//! Where a replay begins: the first segments tell.

use std::sync::Arc;
use std::time::Duration;

use proto::time::{MediaTime, Time};

use super::Replay;
use super::clock::{AS_RECORDED, Clock, Stretch};
use super::order::{Direction, Order};
use super::walk::Walk;
use crate::media::library::Wanted;
use crate::media::segment::Segment;
use crate::shard::file::{Pace, STRETCH_GAP, preroll};
use crate::stream::catalog::leading;

/// How far behind the point that reverse playing begins at a picture may be shown that is decoded before it.
const REORDERED: Duration = Duration::from_millis(500);

/// What came of one of the first segments.
#[derive(Clone, Copy, Debug)]
pub enum Begun {
    /// It plays from this content time on.
    At(MediaTime),
    /// That is not known without another.
    Needs(Wanted),
}

/// What a stretch begins with.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    /// The content time that is told for it.
    start: MediaTime,
    /// How far on the way it is due.
    walked: MediaTime,
    /// How long before `start` something of it is shown or heard.
    before: Duration,
}

impl Replay {
    /// Takes one of the first segments at `now`.
    pub fn begin(&mut self, now: Time, segment: Arc<Segment>) -> Begun {
        if self.seeks_end {
            return Begun::Needs(self.look_for_end(&segment));
        }
        let Some(walk) = &mut self.walk else { return Begun::At(self.order.from) };
        walk.push(segment.clone());
        if !walk.finds_beginning()
            && let Some(wanted) = walk.wanted()
        {
            return Begun::Needs(wanted);
        }
        let Beginning { start, walked, before } = self.beginning(&segment);
        let Order { direction, pace, .. } = self.order;
        self.stretch = match pace {
            None => AS_RECORDED,
            Some(Pace { scale, .. }) => {
                let after = |sent: MediaTime| sent + STRETCH_GAP + before.div_f64(scale);
                let rate = if direction == Direction::Backward { -scale } else { scale };
                Stretch { content: start, timeline: self.sent_until.map_or(start, after), rate }
            }
        };
        self.clock = Clock::new(now, walked, pace.map(|pace| pace.scale * pace.speed));
        self.start = start;
        Begun::At(start)
    }

    /// In reverse, of a file that does not tell its length: what is needed to see how much of it there is before the point
    /// that was asked for. Nothing of that is kept: behind its last keyframe may lie most of it.
    fn look_for_end(&mut self, segment: &Segment) -> Wanted {
        if let Some(next) = segment.next.filter(|_| segment.end <= self.order.from) {
            return Wanted::At(next);
        }
        self.seeks_end = false;
        self.order.from = self.order.from.min(segment.end);
        self.position = Some(self.order.from);
        self.walk = Some(Walk::new(&self.info, leading(&self.info.tracks), &self.order, self.tracks));
        Wanted::Seek(self.order.from)
    }

    fn beginning(&self, segment: &Segment) -> Beginning {
        let Order { from, direction, .. } = self.order;
        let leading = leading(&self.info.tracks);
        let due = segment.entries.first().map(|entry| entry.due);
        match (direction, &self.walk) {
            (Direction::Backward, _) => Beginning { start: from, walked: MediaTime::ZERO, before: REORDERED },
            (Direction::Forward, Some(walk)) if self.info.is_intra => {
                let found = || walk.found().map(|item| (item.track, item.batch.meta().pts));
                let first = found().find(|(track, _)| *track == leading).map(|(_, pts)| pts);
                let start = first.map_or(from, |pts| pts.min(from)).max(MediaTime::ZERO);
                let earliest = found().map(|(_, pts)| pts).min();
                let walked = walk.peek().map(|item| item.due).or(due).unwrap_or(start);
                let before = earliest.map_or(Duration::ZERO, |earliest| start.since(earliest));
                Beginning { start, walked, before }
            }
            (Direction::Forward, _) => {
                let first = segment.entries.iter().find(|entry| entry.track == leading);
                let start = first.map_or(from, |entry| entry.batch.meta().pts.min(from)).max(MediaTime::ZERO);
                Beginning { start, walked: due.unwrap_or(start), before: preroll(segment, start) }
            }
        }
    }
}
