//! Loss, jitter and round trip: a viewer as its reports show it, and a sender as its packets arrive.

use std::time::Duration;

use super::report::{ReportBlock, SenderInfo};
use crate::time::{NtpTime, Time};

/// One viewer as seen by the sender, from its receiver reports (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReceiverView {
    /// Count of reports.
    pub reports: u32,
    /// Packets lost in the last interval, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; duplicates count against it.
    pub lost: i32,
    /// Highest sequence number received, with its wraps.
    pub highest_sequence: u32,
    /// Jitter in ticks of the RTP clock.
    pub jitter: u32,
    /// None before a report has named a sender report of ours.
    pub round_trip: Option<Duration>,
}

impl ReceiverView {
    /// Takes a block about our stream. `now` is the wall clock that our sender reports carry.
    pub fn handle_report(&mut self, block: &ReportBlock, now: NtpTime) {
        self.reports = self.reports.saturating_add(1);
        self.fraction_lost = block.fraction_lost;
        self.lost = block.cumulative_lost;
        self.highest_sequence = block.highest_sequence;
        self.jitter = block.jitter;
        self.round_trip = round_trip(block, now).or(self.round_trip);
    }

    /// Jitter as time, for a stream whose RTP clock runs at `clock_rate` hertz.
    pub fn jitter_time(&self, clock_rate: u32) -> Duration {
        Duration::from_secs_f64(f64::from(self.jitter) / f64::from(clock_rate.max(1)))
    }
}

/// From a report of ours to the block's arrival, without the time the viewer held it. None when it names no report,
/// or one that our clock says to be of the future.
fn round_trip(block: &ReportBlock, now: NtpTime) -> Option<Duration> {
    if block.last_sr == 0 {
        return None;
    }
    let elapsed = now.middle().wrapping_sub(block.last_sr).wrapping_sub(block.delay_since_last_sr);
    // Above half the range the difference is negative: the viewer's clock ran ahead or it invented the numbers.
    (elapsed < 1 << 31).then(|| from_65536ths(elapsed))
}

/// What a packet's sequence number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Next in order.
    InOrder,
    /// Ahead of order: this many are missing before it, as far as is known.
    Gap(u16),
    /// Late or a duplicate.
    Late,
    /// A jump too far to be loss; not counted unless the next packet follows on it.
    Jump,
    /// The sender began anew at this number; counts are cleared.
    Restart,
}

/// One sender as seen by the receiver, from its packets (RFC 3550 appendices A.1, A.3 and A.8).
#[derive(Clone, Copy, Debug)]
pub struct SenderView {
    ssrc: u32,
    clock_rate: u32,
    /// None before the first packet.
    sequence: Option<Sequence>,
    /// Of the packet before, in ticks, wrapping: arrival less timestamp.
    transit: Option<u32>,
    /// Sixteen times the jitter in ticks.
    jitter_16: u32,
    /// Middle bits of the last sender report and its arrival.
    last_sr: Option<(u32, Time)>,
}

#[derive(Clone, Copy, Debug)]
struct Sequence {
    /// First number since the start or restart.
    base: u32,
    /// Highest number, with its wraps.
    highest: u32,
    /// Count of packets.
    received: u32,
    /// Expected and received at the report before.
    before: (u32, u32),
    /// The number that would confirm a restart.
    restart: Option<u16>,
}

impl SenderView {
    /// A sender whose RTP clock runs at `clock_rate` hertz. Its first packet counts: the source is known from
    /// SETUP or the first packet, so the RFC's probation is not needed.
    pub fn new(ssrc: u32, clock_rate: u32) -> SenderView {
        SenderView { ssrc, clock_rate, sequence: None, transit: None, jitter_16: 0, last_sr: None }
    }

    /// Its synchronization source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Takes the numbers of one packet and the time of its arrival.
    pub fn handle_packet(&mut self, sequence: u16, timestamp: u32, now: Time) -> Arrival {
        let arrival = match &mut self.sequence {
            Some(known) => known.handle(sequence),
            None => {
                self.sequence = Some(Sequence::start(sequence));
                Arrival::InOrder
            }
        };
        match arrival {
            // A late packet's transit is no measure of the path.
            Arrival::Late | Arrival::Jump => {}
            Arrival::Restart => self.transit = None,
            Arrival::InOrder | Arrival::Gap(_) => self.measure_jitter(timestamp, now),
        }
        arrival
    }

    /// Takes a report of the sender, to be named in ours.
    pub fn handle_sender_report(&mut self, info: &SenderInfo, now: Time) {
        self.last_sr = Some((info.ntp.middle(), now));
    }

    /// The block about this sender for a receiver report that leaves now; the next one's fraction counts from here.
    pub fn report(&mut self, now: Time) -> ReportBlock {
        let (expected, received) = (self.expected(), self.received());
        let mut block = ReportBlock {
            ssrc: self.ssrc,
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: self.highest_sequence(),
            jitter: self.jitter_16 >> 4,
            ..ReportBlock::default()
        };
        if let Some(sequence) = &mut self.sequence {
            let (expected_before, received_before) =
                std::mem::replace(&mut sequence.before, (expected, received));
            let expected = expected.wrapping_sub(expected_before);
            let lost = i64::from(expected) - i64::from(received.wrapping_sub(received_before));
            if expected > 0 && lost > 0 {
                block.fraction_lost = (lost * 256 / i64::from(expected)).min(255) as u8;
            }
        }
        if let Some((middle, arrival)) = self.last_sr {
            block.last_sr = middle;
            let delay = now.since(arrival).as_nanos() * 65_536 / 1_000_000_000;
            block.delay_since_last_sr = u32::try_from(delay).unwrap_or(u32::MAX);
        }
        block
    }

    /// Count of packets received since the start or restart, duplicates included.
    pub fn received(&self) -> u32 {
        self.sequence.map_or(0, |sequence| sequence.received)
    }

    /// Count of packets from the first number to the highest.
    pub fn expected(&self) -> u32 {
        self.sequence.map_or(0, |sequence| sequence.highest.wrapping_sub(sequence.base).wrapping_add(1))
    }

    /// Count of packets missing; negative where duplicates came.
    pub fn lost(&self) -> i64 {
        i64::from(self.expected()) - i64::from(self.received())
    }

    /// Highest sequence number, with its wraps in the upper half; 0 before the first packet.
    pub fn highest_sequence(&self) -> u32 {
        self.sequence.map_or(0, |sequence| sequence.highest)
    }

    /// Jitter of arrival.
    pub fn jitter(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.jitter_16) / 16.0 / f64::from(self.clock_rate.max(1)))
    }

    /// Appendix A.8, in integers.
    fn measure_jitter(&mut self, timestamp: u32, now: Time) {
        let ticks = u128::from(now.as_nanos()) * u128::from(self.clock_rate) / 1_000_000_000;
        let transit = (ticks as u32).wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            let decayed = self.jitter_16 - (self.jitter_16.saturating_add(8) >> 4).min(self.jitter_16);
            self.jitter_16 = decayed.saturating_add(difference);
        }
    }
}

impl Sequence {
    fn start(number: u16) -> Sequence {
        let number = u32::from(number);
        Sequence { base: number, highest: number, received: 1, before: (0, 0), restart: None }
    }

    /// Appendix A.1.
    fn handle(&mut self, number: u16) -> Arrival {
        let ahead = number.wrapping_sub(self.highest as u16);
        if (1..DROPOUT_MAX).contains(&ahead) {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
        } else if ahead != 0 && ahead <= u16::MAX - MISORDER_MAX {
            // Two in a row from elsewhere: the sender began anew without saying so.
            if self.restart == Some(number) {
                *self = Sequence::start(number);
                return Arrival::Restart;
            }
            self.restart = Some(number.wrapping_add(1));
            return Arrival::Jump;
        }
        self.restart = None;
        self.received = self.received.wrapping_add(1);
        match ahead {
            1 => Arrival::InOrder,
            2..DROPOUT_MAX => Arrival::Gap(ahead - 1),
            _ => Arrival::Late,
        }
    }
}

/// A length of time in 1/65536 s.
fn from_65536ths(units: u32) -> Duration {
    Duration::from_nanos((u64::from(units) * 1_000_000_000) >> 16)
}

/// A gap of this many packets is a jump: the values of appendix A.1.
const DROPOUT_MAX: u16 = 3000;
/// A packet that many behind is late, further behind it is a jump.
const MISORDER_MAX: u16 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds numbers of a 20 ms stream that arrive in time.
    fn feed(view: &mut SenderView, numbers: impl IntoIterator<Item = u16>) -> Vec<Arrival> {
        numbers.into_iter().map(|number| view.handle_packet(number, 0, Time::ZERO)).collect()
    }

    #[test]
    fn order_gaps_late_packets_and_wraps_are_told_apart() {
        let mut view = SenderView::new(1, 8000);
        let got = feed(&mut view, [65_534, 65_535, 0, 3, 2, 3, 4]);
        use Arrival::{Gap, InOrder, Late};
        assert_eq!(got, [InOrder, InOrder, InOrder, Gap(2), Late, Late, InOrder]);
        assert_eq!(view.highest_sequence(), 0x1_0004);
        assert_eq!((view.expected(), view.received(), view.lost()), (7, 7, 0));
    }

    #[test]
    fn one_stray_packet_is_ignored_and_two_in_a_row_are_a_restart() {
        let mut view = SenderView::new(1, 8000);
        assert_eq!(feed(&mut view, [10, 30_000, 11])[1..], [Arrival::Jump, Arrival::InOrder]);
        assert_eq!(view.lost(), 0);
        assert_eq!(feed(&mut view, [40_000, 40_001]), [Arrival::Jump, Arrival::Restart]);
        assert_eq!((view.expected(), view.received()), (1, 1));
    }

    #[test]
    fn a_report_tells_loss_since_the_report_before() {
        let mut view = SenderView::new(7, 8000);
        feed(&mut view, (0..100).filter(|number| number % 4 != 1));
        let block = view.report(Time::ZERO);
        assert_eq!((block.ssrc, block.cumulative_lost, block.fraction_lost), (7, 25, 64));
        feed(&mut view, 100..200);
        let block = view.report(Time::ZERO);
        assert_eq!((block.cumulative_lost, block.fraction_lost, block.highest_sequence), (25, 0, 199));
    }

    #[test]
    fn jitter_is_zero_for_a_steady_stream_and_follows_an_unsteady_one() {
        let mut steady = SenderView::new(1, 90_000);
        let mut unsteady = steady;
        for number in 0..500u16 {
            let timestamp = u32::from(number) * 3600;
            let millis = u64::from(number) * 40;
            steady.handle_packet(number, timestamp.wrapping_add(u32::MAX - 9000), Time::from_millis(millis));
            // Every second packet 10 ms late.
            unsteady.handle_packet(number, timestamp, Time::from_millis(millis + u64::from(number % 2) * 10));
        }
        assert_eq!(steady.report(Time::ZERO).jitter, 0);
        let jitter = unsteady.jitter().as_secs_f64();
        assert!((jitter - 0.010).abs() < 0.0005, "{jitter}");
    }

    #[test]
    fn the_round_trip_comes_back_through_a_report() {
        let sent = NtpTime::from_unix(Duration::from_secs(1_700_000_000));
        let mut view = SenderView::new(1, 90_000);
        let info = SenderInfo { ssrc: 1, ntp: sent, rtp: 0, packets: 0, octets: 0 };
        // 30 ms there, held for 2 s, 30 ms back.
        view.handle_sender_report(&info, Time::from_millis(30));
        let block = view.report(Time::from_millis(2030));
        let mut viewer = ReceiverView::default();
        viewer.handle_report(&block, sent + Duration::from_millis(2060));
        let millis = viewer.round_trip.unwrap().as_secs_f64() * 1000.0;
        assert!((millis - 60.0).abs() < 0.1, "{millis}");

        // A report that names none of ours keeps the last value, one from the future too.
        viewer.handle_report(&ReportBlock::default(), sent);
        viewer.handle_report(&block, sent);
        assert_eq!((viewer.reports, viewer.round_trip.is_some()), (3, true));
        assert_eq!(ReceiverView { jitter: 900, ..viewer }.jitter_time(90_000), Duration::from_millis(10));
    }

    proptest! {
        #[test]
        fn any_packets_are_counted_without_panic(
            packets in prop::collection::vec(any::<(u16, u32, u64)>(), 0..100),
            reports in prop::collection::vec(any::<(u64, u32, u32)>(), 0..10),
        ) {
            let mut view = SenderView::new(1, 90_000);
            let mut viewer = ReceiverView::default();
            for (number, timestamp, nanos) in packets {
                view.handle_packet(number, timestamp, Time::from_nanos(nanos));
                view.report(Time::from_nanos(nanos));
            }
            for (now, last_sr, delay_since_last_sr) in reports {
                let block = ReportBlock { last_sr, delay_since_last_sr, ..view.report(Time::ZERO) };
                viewer.handle_report(&block, NtpTime(now));
            }
        }

        #[test]
        fn without_loss_any_order_within_reach_loses_nothing(start: u16, seed: u64) {
            // Swaps neighbours at random; the first stays first.
            let mut numbers: Vec<u16> = (0..300).map(|at| start.wrapping_add(at)).collect();
            for at in 1..299 {
                if seed.rotate_left(at as u32) & 1 == 1 {
                    numbers.swap(at, at + 1);
                }
            }
            let mut view = SenderView::new(1, 8000);
            feed(&mut view, numbers);
            prop_assert_eq!((view.expected(), view.received()), (300, 300));
        }
    }
}
