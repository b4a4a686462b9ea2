//! The track of a session that carries what its viewer says.

use std::sync::Arc;
use std::time::Duration;

use proto::rtcp::interval::{Interval, Members};
use proto::rtcp::parse::{Compound, Packet};
use proto::rtcp::report::ReportBlock;
use proto::rtcp::statistics::SenderView;
use proto::rtp::header::Header;
use proto::time::Time;
use proto::track::Track;

use super::{OnRoad, Road, SinkAddress};
use crate::media::library::Ticket;
use crate::shard::inflow::WayIn;

/// The largest packet that is passed on: 40 ms of linear stereo at 48 kHz. Larger ones are lost.
const PACKET_BYTES_MAX: usize = 8 * 1024;

/// Packets of one talker in a second: twice as many as packets of 5 ms make. What comes beyond is lost.
const PACKETS_A_SECOND_MAX: u32 = 400;

/// A place that was lost is asked for again at most this often.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);

/// The track of a session that carries what its viewer says.
#[derive(Debug)]
pub struct TalkIn {
    /// Index of the track: it stands behind those that are received.
    pub track: u8,
    /// Who takes it.
    pub sink: SinkAddress,
    /// How it comes.
    pub way: WayIn,
    /// Whether the session has the place at the sink.
    pub place: Place,
    /// Whether this track flows while the session plays: PAUSE of its URL stops it alone.
    pub enabled: bool,
    formats: Arc<[Track]>,
    road: Road,
    reporting: Reporting,
    pace: Pace,
    /// When the place was last asked for.
    claimed: Time,
    /// Packets that were not passed on.
    lost: u64,
}

/// A session's place at a sink, by the ticket that it was asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has none.
    Free,
    /// It has asked.
    Asked(Ticket),
    /// It talks.
    Held(Ticket),
}

/// What becomes of a packet.
#[derive(Debug)]
pub enum Taken {
    /// It goes to the sink, from the talker of that ticket.
    Passed(Ticket, OnRoad),
    /// It is lost, and the place is to be asked for.
    WantsPlace,
    /// It is lost.
    Lost,
}

/// As whom we report to the talker, and when.
#[derive(Debug)]
pub struct Reporting {
    reporter: u32,
    interval: Interval,
    /// None before the first packet.
    view: Option<SenderView>,
    /// None before the first packet.
    at: Option<Time>,
}

/// Counts packets by the second.
#[derive(Debug)]
struct Pace {
    began: Time,
    count: u32,
}

impl TalkIn {
    /// The track of a session that holds the place by `ticket`.
    pub fn new(
        now: Time,
        track: u8,
        (sink, ticket): (SinkAddress, Ticket),
        formats: Arc<[Track]>,
        way: WayIn,
        reporting: Reporting,
    ) -> TalkIn {
        TalkIn {
            track,
            sink,
            way,
            place: Place::Held(ticket),
            enabled: true,
            formats,
            road: Road::default(),
            reporting,
            pace: Pace { began: now, count: 0 },
            claimed: now,
            lost: 0,
        }
    }

    /// Takes an RTP packet of a session that plays.
    pub fn take(&mut self, now: Time, packet: &[u8]) -> Taken {
        let taken = self.pass(now, packet);
        if !matches!(taken, Taken::Passed(..)) {
            self.lost += 1;
        }
        taken
    }

    /// Takes a compound packet of the talker.
    pub fn handle_reports(&mut self, now: Time, bytes: &[u8]) {
        let Ok(compound) = Compound::parse(bytes) else { return };
        for packet in compound.iter() {
            if let (Packet::SenderReport { info, .. }, Some(view)) = (packet, &mut self.reporting.view) {
                view.handle_sender_report(&info, now);
            }
        }
    }

    /// The block of the report that is due, and as whom it is sent. `random` is uniform in 0..1.
    pub fn poll_report(&mut self, now: Time, random: f32) -> Option<(u32, ReportBlock)> {
        let Reporting { reporter, interval, view, at } = &mut self.reporting;
        at.take_if(|at| *at <= now)?;
        let members = Members { we_send: false, ..Members::UNICAST };
        *at = Some(now + interval.next(members, random));
        Some((*reporter, view.as_mut()?.report(now)))
    }

    /// When the next report is due; None before the first packet.
    pub fn report_at(&self) -> Option<Time> {
        self.reporting.at
    }

    /// Whether the place may be asked for now; it is taken to be asked for then.
    pub fn may_claim(&mut self, now: Time) -> bool {
        let may = self.place == Place::Free && now.since(self.claimed) >= CLAIM_INTERVAL;
        if may {
            self.claimed = now;
        }
        may
    }

    /// The ticket of the place that it has or has asked for, which is given up.
    pub fn leave_place(&mut self) -> Option<Ticket> {
        match std::mem::replace(&mut self.place, Place::Free) {
            Place::Free => None,
            Place::Asked(ticket) | Place::Held(ticket) => Some(ticket),
        }
    }

    /// Whose an interleaved channel is, and whether it carries sound; None when it is another's.
    pub fn on_channel(&self, channel: u8) -> Option<bool> {
        match self.way {
            WayIn::Interleaved { rtp, .. } if rtp == channel => Some(true),
            WayIn::Interleaved { rtcp, .. } if rtcp == channel => Some(false),
            _ => None,
        }
    }

    /// Packets that were not passed on.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn pass(&mut self, now: Time, packet: &[u8]) -> Taken {
        let Some((header, _)) = Header::parse(packet).filter(|_| packet.len() <= PACKET_BYTES_MAX) else {
            return Taken::Lost;
        };
        let mut formats = self.formats.iter();
        let Some(format) = formats.find(|format| format.payload_type == header.payload_type) else {
            return Taken::Lost;
        };
        self.reporting.handle_packet(now, &header, format.clock_rate);
        if !self.enabled || !self.pace.allows(now) {
            return Taken::Lost;
        }
        match self.place {
            Place::Held(ticket) => match self.road.enter() {
                Some(on_road) => Taken::Passed(ticket, on_road),
                None => Taken::Lost,
            },
            Place::Asked(_) => Taken::Lost,
            Place::Free => Taken::WantsPlace,
        }
    }
}

impl Reporting {
    /// Before the first packet.
    pub fn new(reporter: u32, interval: Interval) -> Reporting {
        Reporting { reporter, interval, view: None, at: None }
    }

    fn handle_packet(&mut self, now: Time, header: &Header, clock_rate: u32) {
        if self.view.is_none_or(|view| view.ssrc() != header.ssrc) {
            self.view = Some(SenderView::new(header.ssrc, clock_rate));
        }
        if let Some(view) = &mut self.view {
            view.handle_packet(header.sequence, header.timestamp, now);
        }
        self.at.get_or_insert(now);
    }
}

impl Pace {
    fn allows(&mut self, now: Time) -> bool {
        if now.since(self.began) >= Duration::from_secs(1) {
            *self = Pace { began: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        if self.count == PACKETS_A_SECOND_MAX + 1 {
            tracing::debug!(
                limit = PACKETS_A_SECOND_MAX,
                "a talker sends more packets a second than are passed on"
            );
        }
        self.count <= PACKETS_A_SECOND_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::rtcp::interval::Minimum;
    use proto::track::{Codec, Law};

    fn at(millis: u64) -> Time {
        Time::from_millis(10_000 + millis)
    }

    fn talk() -> TalkIn {
        let codec = Codec::G711 { law: Law::Mu, sample_rate: 8_000, channels: 1 };
        let (way, interval) =
            (WayIn::Interleaved { rtp: 4, rtcp: 5 }, Interval::new(1_000_000, Minimum::Fixed));
        let sink = SinkAddress { home: 1, tenure: 2 };
        let formats = [Track::new(codec, 0)].into();
        TalkIn::new(at(0), 2, (sink, 7), formats, way, Reporting::new(9, interval))
    }

    fn packet(payload_type: u8, bytes: usize) -> Vec<u8> {
        let header = Header { marker: false, payload_type, sequence: 1, timestamp: 1, ssrc: 5 };
        [&header.to_bytes()[..], &vec![0; bytes]].concat()
    }

    #[test]
    fn what_is_no_sound_of_the_offer_is_lost() {
        let mut talk = talk();
        let too_large = packet(0, PACKET_BYTES_MAX);
        for lost in [&packet(8, 160)[..], &too_large, b"no RTP at all"] {
            assert!(matches!(talk.take(at(0), lost), Taken::Lost));
        }
        assert!(matches!(talk.take(at(0), &packet(0, 160)), Taken::Passed(7, _)));
        assert_eq!(talk.lost(), 3);
    }

    #[test]
    fn a_flood_is_cut_to_its_pace() {
        let mut talk = talk();
        for second in 0..3 {
            let sent = (0..10_000).map(|index| talk.take(at(second * 1_000 + index / 20), &packet(0, 160)));
            let passed = sent.filter(|taken| matches!(taken, Taken::Passed(..))).count();
            assert_eq!(passed, PACKETS_A_SECOND_MAX as usize, "second {second}");
        }
    }

    #[test]
    fn a_place_that_was_lost_is_asked_for_again_when_somebody_talks() {
        let mut talk = talk();
        assert_eq!(talk.leave_place(), Some(7));
        assert_eq!(talk.leave_place(), None);
        assert!(matches!(talk.take(at(0), &packet(0, 160)), Taken::WantsPlace));
        assert!(!talk.may_claim(at(500)));
        assert!(talk.may_claim(at(1_500)) && !talk.may_claim(at(1_600)));
        talk.place = Place::Asked(8);
        assert!(matches!(talk.take(at(1_600), &packet(0, 160)), Taken::Lost));
    }

    #[test]
    fn the_first_packet_is_reported_on_at_once() {
        let mut talk = talk();
        assert_eq!((talk.poll_report(at(0), 0.5), talk.report_at()), (None, None));
        let _ = talk.take(at(0), &packet(0, 160));
        let (reporter, block) = talk.poll_report(at(0), 0.5).unwrap();
        assert_eq!((reporter, block.ssrc), (9, 5));
        assert_eq!(
            talk.poll_report(at(0), 0.5).map(|report| report.0),
            Some(9),
            "an interval begins with zero"
        );
        assert_eq!(talk.poll_report(at(1), 0.5), None);
        assert!(talk.report_at().unwrap() > at(1_000));
    }
}
