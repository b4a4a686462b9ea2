//! When something of a recording leaves, and under which timestamp.

use std::time::Duration;

use proto::time::{MediaTime, Time};

/// How the way through the recording and the monotonic clock belong together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// When what is due at `walked` leaves.
    origin: Time,
    /// How far on the way that is.
    walked: MediaTime,
    /// Content seconds a second; None where the transport alone sets the pace.
    ratio: Option<f64>,
    /// How far on the way is what was due last of all that has left. In reverse the first pictures of a group that is longer
    /// than the one behind it are due before what has left.
    furthest: MediaTime,
}

impl Clock {
    /// A clock by which what is due at `walked` leaves at `now`.
    pub fn new(now: Time, walked: MediaTime, ratio: Option<f64>) -> Clock {
        Clock { origin: now, walked, ratio, furthest: walked }
    }

    /// Notes what has left.
    pub fn note_sent(&mut self, due: MediaTime) {
        self.furthest = self.furthest.max(due);
    }

    /// Goes on at `now` where it stood.
    pub fn resume(&mut self, now: Time) {
        self.origin = now;
    }

    /// Stands still from `now` on, not beyond what was sent and what is `next`.
    pub fn stand(&mut self, now: Time, next: Option<MediaTime>) {
        let Some(walked) = self.walked_at(now) else { return };
        let reached = next.map_or(walked, |next| walked.min(next.max(self.furthest)));
        (self.origin, self.walked) = (now, reached);
    }

    /// Shifts itself so that what is due at `due`, or has left, is due at `now`, where that is longer ago than `patience`.
    pub fn wait(&mut self, now: Time, due: MediaTime, patience: Duration) {
        let due = due.max(self.furthest);
        if self.time_of(due).is_some_and(|time| now.since(time) > patience) {
            (self.origin, self.walked) = (now, due);
        }
    }

    /// When that part of the way is reached; None where the transport sets the pace.
    pub fn time_of(&self, walked: MediaTime) -> Option<Time> {
        let ahead = (walked.0 - self.walked.0) as f64 / self.ratio?;
        let distance = Duration::from_nanos(ahead.abs() as u64);
        Some(if ahead < 0.0 { self.origin - distance } else { self.origin + distance })
    }

    /// How much of the way is done at `now`; None where the transport sets the pace.
    pub fn walked_at(&self, now: Time) -> Option<MediaTime> {
        let elapsed = now.as_nanos() as i64 - self.origin.as_nanos() as i64;
        Some(MediaTime(self.walked.0 + (elapsed as f64 * self.ratio?) as i64))
    }

    /// The same where that much of the way is done.
    pub fn moved_to(self, walked: MediaTime) -> Clock {
        Clock { walked, furthest: walked, ..self }
    }

    /// Whether the transport alone sets the pace.
    pub fn is_unpaced(&self) -> bool {
        self.ratio.is_none()
    }
}

/// How content time and the viewer's timeline, which RTP timestamps count, belong together.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// Where the stretch begins in the content.
    pub content: MediaTime,
    /// Where it begins on the timeline.
    pub timeline: MediaTime,
    /// Content seconds a second of the timeline; below zero in reverse. A faster delivery changes nothing of it.
    pub rate: f64,
}

/// Timestamps as they were recorded.
pub const AS_RECORDED: Stretch = Stretch { content: MediaTime::ZERO, timeline: MediaTime::ZERO, rate: 1.0 };

impl Stretch {
    /// Where a moment of the content lies on the timeline.
    pub fn timeline(&self, content: MediaTime) -> MediaTime {
        let elapsed = (content.0 - self.content.0) as f64 / self.rate;
        MediaTime(self.timeline.0 + elapsed as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn what_is_due_before_what_has_left_does_not_set_it_back() {
        // In reverse from 20 s a group of twelve seconds follows one of a single second.
        let mut clock = Clock::new(Time::from_millis(0), MediaTime::ZERO, Some(1.0));
        clock.note_sent(MediaTime(7 * SECOND));
        let due = MediaTime(-4 * SECOND);
        let now = Time::from_millis(7_000);
        clock.wait(now, due, Duration::from_secs(2));
        assert_eq!(clock.walked_at(now), Some(MediaTime(7 * SECOND)));
        let mut paused = clock;
        paused.stand(now, Some(due));
        paused.resume(Time::from_millis(60_000));
        assert_eq!(paused.walked_at(Time::from_millis(60_000)), Some(MediaTime(7 * SECOND)));
        // A viewer who has not read for long goes on where it was.
        let later = Time::from_millis(30_000);
        clock.wait(later, due, Duration::from_secs(2));
        assert_eq!(clock.walked_at(later), Some(MediaTime(7 * SECOND)));
    }
}
