//! Viewers of files in step: those whose pictures come equally often get them in the same moments, whenever they began,
//! so that one turn serves many of them.

use std::time::Duration;

use proto::time::Time;

use super::file::Pace;
use crate::media::segment::Segment;

/// The longest step: nothing is sent earlier than this for the sake of others.
const STEP_MAX: Duration = Duration::from_millis(50);

/// How often something of the leading track is due in a segment; a part of that where it is longer than [`STEP_MAX`],
/// and zero where the segment holds less than two.
pub fn step(segment: &Segment, leading: u8, pace: Pace) -> Duration {
    let mut due = segment.entries.iter().filter(|entry| entry.track == leading).map(|entry| entry.due);
    let Some(mut previous) = due.next() else { return Duration::ZERO };
    let mut least = Duration::ZERO;
    for next in due {
        let between = next.since(previous);
        if least.is_zero() || (!between.is_zero() && between < least) {
            least = between;
        }
        previous = next;
    }
    let least = least.div_f64(pace.scale * pace.speed);
    let parts = least.as_nanos().div_ceil(STEP_MAX.as_nanos()).max(1);
    least / parts.min(u128::from(u32::MAX)) as u32
}

/// What is due within this time may leave together on a connection: most of what a send costs is not what is in it, and
/// players of a stream hold more than that.
const GROUP_MAX: Duration = Duration::from_millis(85);

/// How often a connection gets what is due: a whole number of steps.
pub fn group(step: Duration) -> Duration {
    match step.as_nanos() {
        0 => Duration::ZERO,
        nanos => step * (GROUP_MAX.as_nanos() / nanos).max(1) as u32,
    }
}

/// The last moment of a step that is not behind `now`.
pub fn in_step(now: Time, step: Duration) -> Time {
    match step.as_nanos() as u64 {
        0 => now,
        nanos => Time::from_nanos(now.as_nanos() / nanos * nanos),
    }
}

/// When something leaves that is due then, where the first group leaves at `phase`.
pub fn in_group(due: Time, phase: Time, group: Duration) -> Time {
    match group.as_nanos() as u64 {
        0 => due,
        nanos => phase + Duration::from_nanos(due.since(phase).as_nanos() as u64 / nanos * nanos),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proto::rtp::batch::{BatchWriter, Meta, Numbering};
    use proto::time::MediaTime;

    use super::*;
    use crate::media::segment::{Entry, Position};

    fn segment(entries: &[(u8, i64)]) -> Segment {
        let entry = |(track, millis): &(u8, i64)| {
            let due = MediaTime(millis * 1_000_000);
            let numbering = Numbering { ssrc: 1, payload_type: 96, sequence: 0, timestamp: 0 };
            let mut writer = BatchWriter::new(numbering, 0);
            writer.packet(true, &[&[1; 20]]);
            let batch = writer.finish(Meta { track: *track, keyframe: true, dts: due, pts: due }).unwrap();
            Entry { due, track: *track, batch: Arc::new(batch) }
        };
        let position = Position { keyframe: MediaTime::ZERO, part: 0 };
        let entries = entries.iter().map(entry).collect();
        Segment { position, next: None, entries, first: Default::default(), end: MediaTime::ZERO, bytes: 0 }
    }

    fn at(scale: f64, speed: f64) -> Pace {
        Pace { scale, speed }
    }

    #[test]
    fn a_step_is_the_least_time_between_two_pictures() {
        let segment = segment(&[(0, 0), (1, 5), (0, 40), (1, 26), (0, 80), (0, 100), (0, 140)]);
        assert_eq!(step(&segment, 0, at(1.0, 1.0)), Duration::from_millis(20));
        assert_eq!(step(&segment, 1, at(1.0, 1.0)), Duration::from_millis(21));
        assert_eq!(step(&segment, 0, at(2.0, 2.0)), Duration::from_millis(5));
    }

    #[test]
    fn long_steps_are_cut_and_short_segments_have_none() {
        assert_eq!(step(&segment(&[(0, 0), (0, 200)]), 0, at(1.0, 1.0)), Duration::from_millis(50));
        assert_eq!(step(&segment(&[(0, 0), (0, 60)]), 0, at(1.0, 1.0)), Duration::from_millis(30));
        assert_eq!(step(&segment(&[(0, 0), (0, 0)]), 0, at(1.0, 1.0)), Duration::ZERO);
        assert_eq!(step(&segment(&[(0, 0)]), 0, at(1.0, 1.0)), Duration::ZERO);
        assert_eq!(step(&segment(&[]), 0, at(1.0, 1.0)), Duration::ZERO);
    }

    #[test]
    fn groups_are_of_whole_steps() {
        let group = |millis| group(Duration::from_millis(millis)).as_millis();
        assert_eq!([0, 1, 20, 33, 40, 50].map(group), [0, 85, 80, 66, 80, 50]);
        let leaves = |due| {
            in_group(Time::from_millis(due), Time::from_millis(40), Duration::from_millis(80)).as_nanos()
        };
        assert_eq!(
            [30, 40, 80, 119, 120, 160].map(leaves).map(|nanos| nanos / 1_000_000),
            [40, 40, 40, 40, 120, 120]
        );
    }

    #[test]
    fn whoever_begins_is_put_in_step() {
        let step = Duration::from_millis(40);
        assert_eq!(in_step(Time::from_millis(119), step), Time::from_millis(80));
        assert_eq!(in_step(Time::from_millis(120), step), Time::from_millis(120));
        assert_eq!(in_step(Time::from_millis(119), Duration::ZERO), Time::from_millis(119));
    }
}
