//! One timeline for what comes from elsewhere: the clocks of a source may jump, restart and drift, viewers see RTP
//! timestamps that go on, and sender reports that say when each was.

use std::time::Duration;

use proto::rtcp::report::SenderInfo;
use proto::time::{MediaTime, NtpTime, Time};

/// A source's clock may run ahead of its packets' arrival by so much in one step, as at the end of a pause in the
/// network; beyond it has jumped.
const AHEAD_MAX: Duration = Duration::from_secs(10);

/// Pictures that are shown before those sent before them (B frames) go back by less.
const BACK_MAX: Duration = Duration::from_secs(2);

/// A source whose clock stood still for longer goes on at the present.
const STOOD_MAX: Duration = Duration::from_secs(3);

/// A publisher's wall clock that differs from ours by less is believed as it is.
const SKEW_MIN: Duration = Duration::from_secs(10);

/// A sender report about a moment further from the packets than this says nothing of them.
const REPORT_DISTANCE_MAX_S: u32 = 60;

/// A first packet further from the start that its source has named has nothing to do with it: many devices name zero.
const START_DISTANCE_MAX: Duration = Duration::from_secs(2);

/// From the wall clock of a source to ours, the same for all tracks of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Skew(Option<Settled>);

#[derive(Clone, Copy, Debug)]
struct Settled {
    /// What to add to the source's wall clock, in nanoseconds.
    added: i64,
    /// By how much ours was ahead of it at the last report.
    apart: i64,
}

impl Skew {
    /// Forgets it: the next report may be of another machine.
    pub fn reset(&mut self) {
        self.0 = None;
    }

    /// Whether no report has come yet.
    pub fn is_unknown(self) -> bool {
        self.0.is_none()
    }

    /// What to add to the source's wall clock, in nanoseconds. Settled by the first report; a clock that is set later
    /// changes nothing of what was.
    fn settle(&mut self, theirs: NtpTime, ours: NtpTime) -> i64 {
        let apart = ours.since(theirs).0;
        let is_much = |nanos: i64| nanos.unsigned_abs() >= SKEW_MIN.as_nanos() as u64;
        let first = Settled { added: if is_much(apart) { apart } else { 0 }, apart };
        let settled = self.0.get_or_insert(first);
        let step = apart.saturating_sub(settled.apart);
        if is_much(step) {
            settled.added = settled.added.saturating_add(step);
        }
        settled.apart = apart;
        settled.added
    }
}

/// The clock of one track.
#[derive(Debug)]
pub struct Timeline {
    clock_rate: u32,
    /// When content time zero was.
    began: Time,
    /// The wall clock of that moment.
    origin: NtpTime,
    last: Option<Last>,
    /// Whether the next packet is of another source than the last one.
    restarts: bool,
    /// From the source's timestamps to ours.
    shift: u32,
    /// A moment of our timeline and the content time it is.
    anchor: (u32, MediaTime),
    /// A timestamp of the source and its content time, before the first packet.
    start: Option<(u32, MediaTime)>,
    /// How far content time is from that of arrival, as another track's report has told.
    moved: MediaTime,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    at: Time,
    /// The latest timestamp of the source.
    source: u32,
    /// The highest one of ours.
    highest: u32,
}

/// One timestamp of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The RTP timestamp viewers see.
    pub timestamp: u32,
    /// Its content time.
    pub content: MediaTime,
    /// Whether the source's clock jumped: what came before says nothing of it.
    pub has_jumped: bool,
}

impl Timeline {
    /// A track whose first packet gets the RTP timestamp `first`. Content time zero was at `began`, `origin` on the
    /// wall clock.
    pub fn new(clock_rate: u32, began: Time, origin: NtpTime, first: u32) -> Timeline {
        let anchor = (first, MediaTime::ZERO);
        Timeline {
            clock_rate: clock_rate.max(1),
            began,
            origin,
            last: None,
            restarts: false,
            shift: first,
            anchor,
            start: None,
            moved: MediaTime::ZERO,
        }
    }

    /// Maps the timestamp of a packet that came at `now`.
    pub fn map(&mut self, now: Time, source: u32) -> Moment {
        let has_jumped = match self.last {
            None => {
                self.begin(now, source, self.shift);
                self.take_start(source);
                true
            }
            Some(last) if self.restarts || self.is_jump(&last, now, source) => {
                let elapsed = self.ticks(now.since(last.at)).max(self.clock_rate / 50);
                self.begin(now, source, last.highest.wrapping_add(elapsed));
                if self.restarts {
                    self.take_start(source);
                }
                true
            }
            Some(_) => false,
        };
        self.restarts = false;
        let timestamp = source.wrapping_add(self.shift);
        let highest = match self.last {
            Some(last) if is_after(last.highest, timestamp) => last.highest,
            _ => timestamp,
        };
        self.last = Some(Last { at: now, source, highest });
        Moment { timestamp, content: self.content(timestamp), has_jumped }
    }

    /// What plays begins at `at`, and `source` is its timestamp then. Until the first report this aligns tracks whose
    /// first packets are of other moments.
    pub fn start_at(&mut self, at: Time, source: u32) {
        self.start = Some((source, MediaTime(at.since(self.began).as_nanos() as i64)));
    }

    /// Begins anew with the next packet, whenever that comes: it is of another source.
    pub fn restart(&mut self) {
        (self.start, self.moved, self.restarts) = (None, MediaTime::ZERO, true);
    }

    /// Takes the source's word for when its timestamps were; `wall` is our clock. By how much that moves content time;
    /// None when the report is about another time than the packets.
    pub fn handle_report(&mut self, info: &SenderInfo, wall: NtpTime, skew: &mut Skew) -> Option<MediaTime> {
        let last = self.last.filter(|_| !self.restarts)?;
        let distance = (info.rtp.wrapping_sub(last.source) as i32).unsigned_abs();
        if distance / self.clock_rate > REPORT_DISTANCE_MAX_S || info.ntp == NtpTime::default() {
            return None;
        }
        let content = info.ntp.since(self.origin).0.saturating_add(skew.settle(info.ntp, wall));
        let timestamp = info.rtp.wrapping_add(self.shift);
        let before = self.content(timestamp);
        self.anchor = (timestamp, MediaTime(content));
        Some(MediaTime(content.saturating_sub(before.0)))
    }

    /// Goes with another track of the source, whose report has moved content time by so much.
    pub fn follow(&mut self, moved: MediaTime) {
        let start = self.start.as_mut().map(|(_, content)| content);
        for content in [&mut self.anchor.1, &mut self.moved].into_iter().chain(start) {
            content.0 = content.0.saturating_add(moved.0);
        }
    }

    /// The content time of one of our timestamps.
    fn content(&self, timestamp: u32) -> MediaTime {
        let (known, content) = self.anchor;
        let ticks = timestamp.wrapping_sub(known) as i32;
        MediaTime(content.0.saturating_add(MediaTime::from_ticks(ticks.into(), self.clock_rate).0))
    }

    /// From now on `source` is `timestamp`, and that is the present.
    fn begin(&mut self, now: Time, source: u32, timestamp: u32) {
        self.shift = timestamp.wrapping_sub(source);
        let arrival = now.since(self.began).as_nanos() as i64;
        self.anchor = (timestamp, MediaTime(arrival.saturating_add(self.moved.0)));
    }

    /// Believes the start that was named, if the first packet is near it.
    fn take_start(&mut self, source: u32) {
        let Some((start, content)) = self.start.take() else { return };
        let distance = (source.wrapping_sub(start) as i32).unsigned_abs();
        if u64::from(distance) <= u64::from(self.clock_rate) * START_DISTANCE_MAX.as_secs() {
            self.anchor = (start.wrapping_add(self.shift), content);
        }
    }

    fn is_jump(&self, last: &Last, now: Time, source: u32) -> bool {
        let step = i64::from(source.wrapping_sub(last.source) as i32);
        let step = MediaTime::from_ticks(step, self.clock_rate).0;
        let elapsed = now.since(last.at).as_nanos() as i64;
        let nanos = |duration: Duration| duration.as_nanos() as i64;
        step > elapsed + nanos(AHEAD_MAX) || step < -nanos(BACK_MAX) || elapsed - step > nanos(STOOD_MAX)
    }

    fn ticks(&self, duration: Duration) -> u32 {
        MediaTime(duration.as_nanos() as i64).to_ticks(self.clock_rate) as u32
    }
}

/// Whether `a` follows `b` on a clock that wraps.
fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ORIGIN: NtpTime = NtpTime(4_000_000_000 << 32);

    fn timeline() -> Timeline {
        Timeline::new(90_000, Time::from_millis(1_000), ORIGIN, 7_000)
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(1_000 + ms)
    }

    fn wall(ms: u64) -> NtpTime {
        ORIGIN + Duration::from_millis(ms)
    }

    fn report(ntp: NtpTime, rtp: u32) -> SenderInfo {
        SenderInfo { ssrc: 1, ntp, rtp, packets: 1, octets: 1 }
    }

    #[test]
    fn differences_of_timestamps_stay_what_they_were() {
        let mut timeline = timeline();
        let first = timeline.map(at(500), u32::MAX - 100);
        assert_eq!((first.timestamp, first.content), (7_000, MediaTime::from_secs_f64(0.5)));
        // Pictures that are shown before others that were sent before them.
        for step in [7_200, 3_600, 10_800, 0, 900_000] {
            let moment = timeline.map(at(540), (u32::MAX - 100).wrapping_add(step));
            assert_eq!(moment.timestamp, 7_000 + step);
            assert!(!moment.has_jumped);
        }
    }

    #[test]
    fn a_jump_in_either_direction_goes_on_by_the_time_that_passed() {
        for jump in [90_000 * 60, 90_000 * 3_600 * 5, 0u32.wrapping_sub(90_000 * 60), 1 << 31] {
            let mut timeline = timeline();
            timeline.map(at(0), 100_000);
            let moment = timeline.map(at(40), 100_000u32.wrapping_add(jump));
            assert_eq!((moment.timestamp, moment.has_jumped), (7_000 + 3_600, true), "{jump}");
            assert_eq!(moment.content, MediaTime::from_secs_f64(0.04));
            let moment = timeline.map(at(80), 103_600u32.wrapping_add(jump));
            assert_eq!((moment.timestamp, moment.has_jumped), (7_000 + 7_200, false));
        }
    }

    #[test]
    fn a_clock_that_stood_still_goes_on_at_the_present() {
        let mut timeline = timeline();
        timeline.map(at(0), 0);
        let moment = timeline.map(at(20_000), 3_600);
        assert_eq!((moment.timestamp, moment.content.0), (7_000 + 20 * 90_000, 20_000_000_000));
        // One that ran on while nothing was sent has not jumped.
        let moment = timeline.map(at(50_000), 3_600 + 30 * 90_000);
        assert!(!moment.has_jumped);
    }

    #[test]
    fn another_source_goes_on_behind_the_last_of_the_one_before() {
        let mut timeline = timeline();
        timeline.map(at(0), 50);
        timeline.restart();
        // What is said of it before it begins is about nothing.
        assert!(timeline.handle_report(&report(wall(0), 60), wall(0), &mut Skew::default()).is_none());
        let moment = timeline.map(at(2_000), 4_000_000_000);
        assert_eq!((moment.timestamp, moment.content.0), (7_000 + 180_000, 2_000_000_000));
    }

    #[test]
    fn reports_align_tracks_that_arrive_apart() {
        let (mut video, mut audio) = (timeline(), Timeline::new(8_000, at(0), ORIGIN, 100));
        let mut skew = Skew::default();
        video.map(at(300), 0);
        audio.map(at(0), 0);
        // Their clocks read 1970, and both first packets are of the same moment.
        for timeline in [&mut video, &mut audio] {
            assert!(
                timeline
                    .handle_report(&report(NtpTime(2_208_988_800 << 32), 0), wall(310), &mut skew)
                    .is_some()
            );
        }
        let (video, audio) = (video.map(at(340), 3_600), audio.map(at(340), 320));
        assert_eq!(video.content, audio.content);
        assert_eq!((video.content.0 + 500_000) / 1_000_000, 350);
    }

    #[test]
    fn a_start_that_was_named_aligns_first_packets_that_arrive_apart() {
        let (mut video, mut audio) = (timeline(), Timeline::new(8_000, at(0), ORIGIN, 100));
        video.start_at(at(20), 5_000);
        audio.start_at(at(20), u32::MAX);
        // The first picture is shown 80 ms behind the first sound, and is sent 60 ms before it.
        let (video, audio) = (video.map(at(20), 5_000 + 7_200), audio.map(at(80), u32::MAX));
        assert_eq!((video.timestamp, audio.timestamp), (7_000, 100));
        assert_eq!((video.content.0, audio.content.0), (100_000_000, 20_000_000));
    }

    #[test]
    fn a_start_that_is_far_from_the_first_packet_is_not_believed() {
        let mut timeline = timeline();
        timeline.start_at(at(20), 0);
        assert_eq!(timeline.map(at(40), 180_001).content.0, 40_000_000);
        timeline.start_at(at(50), 183_601);
        timeline.restart();
        assert_eq!(timeline.map(at(1_000), 183_601).content.0, 1_000_000_000);
    }

    #[test]
    fn a_wall_clock_that_is_nearly_ours_is_kept() {
        let mut timeline = timeline();
        timeline.map(at(300), 0);
        timeline.handle_report(&report(wall(100), 0), wall(310), &mut Skew::default());
        assert_eq!((timeline.map(at(300), 0).content.0 + 500_000) / 1_000_000, 100);
    }

    #[test]
    fn a_wall_clock_that_is_set_moves_no_track_against_the_others() {
        let (mut video, mut audio) = (timeline(), timeline());
        let mut skew = Skew::default();
        for hour_ms in [0, 3_600_000, 0] {
            video.map(at(300), 0);
            audio.map(at(300), 0);
            let late = audio.map(at(340), 3_600).content;
            video.handle_report(&report(wall(300 + hour_ms), 0), wall(310), &mut skew);
            let early = video.map(at(340), 3_600).content;
            assert!((early.0 - late.0).abs() <= 20_000_000, "{early:?} {late:?}");
            audio.handle_report(&report(wall(300 + hour_ms), 0), wall(310), &mut skew);
            assert_eq!(audio.map(at(340), 3_600).content, early);
        }
    }

    #[test]
    fn a_report_about_another_time_is_not_believed() {
        let mut timeline = timeline();
        assert!(timeline.handle_report(&report(wall(0), 0), wall(0), &mut Skew::default()).is_none());
        timeline.map(at(0), 0);
        assert!(
            timeline.handle_report(&report(wall(0), 90_000 * 100), wall(0), &mut Skew::default()).is_none()
        );
        assert!(timeline.handle_report(&report(NtpTime(0), 0), wall(0), &mut Skew::default()).is_none());
    }

    #[test]
    fn an_hour_of_drift_keeps_tracks_in_step() {
        // 100 millionths fast, wraps included; reports every five seconds.
        let (mut video, mut audio) = (timeline(), Timeline::new(48_000, at(0), ORIGIN, 100));
        let mut skew = Skew::default();
        let ticks = |ms: u64, rate: f64| (ms as f64 / 1_000.0 * rate) as u64 as u32;
        for ms in (0..3_600_000).step_by(40) {
            let times = [(ticks(ms, 90_009.0), &mut video), (ticks(ms, 48_000.0), &mut audio)];
            let contents = times.map(|(source, timeline)| {
                let source = source.wrapping_add(4_000_000_000);
                let moment = timeline.map(at(ms), source);
                if ms % 5_000 == 0 {
                    timeline.handle_report(&report(wall(ms), source), wall(ms), &mut skew);
                }
                moment.content.0
            });
            assert!((contents[0] - contents[1]).abs() < 20_000_000, "{ms}: {contents:?}");
        }
    }

    proptest! {
        #[test]
        fn any_timestamps_advance_no_further_than_time_and_tolerance(
            steps in prop::collection::vec((any::<u32>(), 0u64..5_000), 1..50),
        ) {
            let mut timeline = timeline();
            let mut now = 0;
            let mut before: Option<u32> = None;
            for (source, wait) in steps {
                now += wait;
                let moment = timeline.map(at(now), source);
                if let Some(before) = before {
                    let step = i64::from(moment.timestamp.wrapping_sub(before) as i32);
                    let limit = (wait as i64 + 12_000) * 90 + 1_800;
                    prop_assert!((-180_000..=limit + 180_000).contains(&step), "{}", step);
                }
                before = Some(moment.timestamp);
            }
        }
    }
}
