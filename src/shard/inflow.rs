//! Tracks on their way in: packets put in order and passed to their stream, and our reports to whoever sends them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use proto::io::Udp;
use proto::rtcp::interval::{Interval, Members};
use proto::rtcp::parse::{Compound, Packet};
use proto::rtcp::statistics::{Arrival as Heard, SenderView};
use proto::rtcp::{is_rtcp, write};
use proto::rtp::batch::interleaved_head;
use proto::rtp::header::Header;
use proto::rtp::reorder::{Place, Reorder};
use proto::time::{NtpTime, Time};
use smallvec::SmallVec;

use super::datagrams::UdpPair;
use super::reports::CNAME;
use super::session::Numbers;
use crate::egress::heads::Heads;
use crate::stream::relay::{Relay, RelayError};

/// A keyframe is asked for at most this often.
const KEYFRAME_REQUEST_MIN: Duration = Duration::from_secs(1);

/// The tracks that one sender sends.
#[derive(Debug, Default)]
pub struct Inflow {
    /// Those that were set up.
    pub tracks: SmallVec<[TrackIn; 2]>,
}

/// One track of a sender.
#[derive(Debug)]
pub struct TrackIn {
    /// Index in the stream's description.
    pub track: u8,
    /// How it comes.
    pub way: WayIn,
    /// RTP clock in hertz.
    clock_rate: u32,
    /// What our reports tell the sender; None before its first packet.
    view: Option<SenderView>,
    /// Our own source, as whom we report.
    reporter: u32,
    /// How far apart reports are.
    interval: Interval,
    /// When the next one is due; None before the first packet.
    report_at: Option<Time>,
    /// Packets of datagrams that wait for those before them.
    reorder: Reorder,
    /// When a keyframe was last asked for.
    asked_at: Option<Time>,
    /// Whether its source has left (RFC 3550 section 6.6) and nothing came since.
    pub said_bye: bool,
}

/// How a track comes.
#[derive(Debug)]
pub enum WayIn {
    /// In a way that leads nowhere back.
    OneWay,
    /// In `$` frames of the sender's connection.
    Interleaved {
        /// Channel of media.
        rtp: u8,
        /// Channel of reports.
        rtcp: u8,
    },
    /// As datagrams to a port pair of its own.
    Datagrams {
        /// Our sockets.
        pair: UdpPair,
        /// Whose datagrams are taken; None when anybody's are until the first has come.
        sender: Option<IpAddr>,
        /// Where media comes from; known from the first packet on, then nobody else is heard.
        media_from: Option<SocketAddr>,
        /// Where reports go to: the sender's port, or where its own reports come from.
        reports_to: Option<SocketAddr>,
    },
}

/// What is to be sent to the sender of a track.
#[derive(Debug)]
pub enum Report {
    /// A `$` frame on its connection.
    Frame(Bytes),
    /// A datagram.
    Datagram {
        /// From which socket.
        udp: Udp,
        /// To whom.
        to: SocketAddr,
        /// A compound packet.
        bytes: Bytes,
    },
}

/// What a look at the clock has found.
#[derive(Debug, Default)]
pub struct Due {
    /// Tracks to be reported on, by their place, and whether a keyframe is to be asked for.
    pub reports: SmallVec<[(usize, bool); 2]>,
    /// When to look again; None when nothing waits.
    pub wake: Option<Time>,
}

/// The moment of something that came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// By the monotonic clock.
    pub now: Time,
    /// By the wall clock.
    pub wall: NtpTime,
}

impl Inflow {
    /// The track that an interleaved channel carries, and whether it carries its media.
    pub fn on_channel(&self, channel: u8) -> Option<(u8, bool)> {
        self.tracks.iter().find_map(|track| match track.way {
            WayIn::Interleaved { rtp, .. } if rtp == channel => Some((track.track, true)),
            WayIn::Interleaved { rtcp, .. } if rtcp == channel => Some((track.track, false)),
            _ => None,
        })
    }

    /// A track by its index in the description.
    pub fn track_mut(&mut self, index: u8) -> Option<&mut TrackIn> {
        self.tracks.iter_mut().find(|track| track.track == index)
    }

    /// Passes on what was held long enough, and says what else is due.
    pub fn look(&mut self, now: Time, relay: &mut Relay, numbers: &mut Numbers) -> Due {
        let mut due = Due::default();
        for track in &mut self.tracks {
            track.pass_held(now, relay, numbers);
        }
        relay.close_due(now);
        let wants_keyframe = relay.wants_keyframe();
        for (slot, track) in self.tracks.iter().enumerate() {
            let asks = wants_keyframe == Some(track.track)
                && track.asked_at.is_none_or(|at| now.since(at) >= KEYFRAME_REQUEST_MIN);
            if asks || track.report_at.is_some_and(|at| at <= now) {
                due.reports.push((slot, asks));
            }
        }
        due.wake =
            self.tracks.iter().filter_map(|track| track.reorder.deadline()).chain(relay.deadline()).min();
        due
    }

    /// When the next report is due; None before the first packet.
    pub fn report_at(&self) -> Option<Time> {
        self.tracks.iter().filter_map(|track| track.report_at).min()
    }

    /// The report on the track at that place, with a request for a keyframe if one is wanted. `random` is uniform in
    /// 0..1. None when there is nothing to report, or nobody to report to.
    pub fn report(
        &mut self,
        now: Time,
        (slot, asks_keyframe): (usize, bool),
        random: f32,
        heads: &mut Heads,
    ) -> Option<Report> {
        let track = self.tracks.get_mut(slot)?;
        let view = track.view.as_mut()?;
        if track.report_at.is_some_and(|at| at <= now) {
            let members = Members { we_send: false, ..Members::UNICAST };
            track.report_at = Some(now + track.interval.next(members, random));
        }
        let (block, reporter) = (view.report(now), track.reporter);
        if asks_keyframe {
            track.asked_at = Some(now);
        }
        let bytes = heads.own(|out| {
            write::receiver_report(out, reporter, &[block], CNAME);
            if asks_keyframe {
                write::pli(out, reporter, block.ssrc);
            }
        });
        track.way.report(bytes, heads)
    }
}

impl WayIn {
    /// A compound packet on its way to the sender; None when it is not known where that is.
    pub fn report(&self, bytes: Bytes, heads: &mut Heads) -> Option<Report> {
        match self {
            WayIn::Interleaved { rtcp, .. } => {
                let head = interleaved_head(*rtcp, bytes.len() as u16);
                Some(Report::Frame(heads.own(|out| {
                    out.put_slice(&head);
                    out.put_slice(&bytes);
                })))
            }
            WayIn::OneWay => None,
            WayIn::Datagrams { pair, reports_to, .. } => {
                Some(Report::Datagram { udp: pair.rtcp, to: (*reports_to)?, bytes })
            }
        }
    }

    /// Whether a datagram comes from the sender, and from where the track's others came from. The first one decides.
    pub fn is_from(&mut self, is_media: bool, from: SocketAddr) -> bool {
        let WayIn::Datagrams { sender, media_from, reports_to, .. } = self else { return false };
        if sender.is_some_and(|sender| sender != from.ip()) {
            return false;
        }
        if is_media {
            return *media_from.get_or_insert(from) == from;
        }
        // Reports may come from a port that the sender did not name: they are answered there.
        if !reports_to.is_some_and(|to| to.ip().is_multicast()) {
            *reports_to = Some(from);
        }
        true
    }
}

impl TrackIn {
    /// A track before its first packet; `reporter` is the source as whom we report.
    pub fn new(track: u8, clock_rate: u32, way: WayIn, reporter: u32, interval: Interval) -> TrackIn {
        TrackIn {
            track,
            way,
            clock_rate,
            view: None,
            reporter,
            interval,
            report_at: None,
            reorder: Reorder::new(),
            asked_at: None,
            said_bye: false,
        }
    }

    /// Forgets which packet comes next: the sender may count from elsewhere.
    pub fn restart(&mut self) {
        self.reorder = Reorder::new();
    }

    /// Takes a packet that comes in its order, as on a connection.
    pub fn handle_packet(&mut self, now: Time, relay: &mut Relay, packet: &[u8], numbers: &mut Numbers) {
        let Some((header, _)) = Header::parse(packet) else {
            return self.leave_out(relay, &RelayError::NotRtp, numbers);
        };
        match relay.handle_packet(now, self.track, packet) {
            Ok(()) => numbers.bytes += packet.len() as u64,
            Err(RelayError::Late(_)) => {}
            Err(error) => return self.leave_out(relay, &error, numbers),
        }
        let is_other = self.view.is_none_or(|view| view.ssrc() != header.ssrc);
        let view = match &mut self.view {
            Some(view) if !is_other => view,
            view => view.insert(SenderView::new(header.ssrc, self.clock_rate)),
        };
        // Those before it were waited for, and one that comes later all the same is not passed on.
        if let Heard::Gap(missing) = view.handle_packet(header.sequence, header.timestamp, now) {
            numbers.missing += u64::from(missing);
        }
        self.said_bye = false;
        self.report_at.get_or_insert(now);
    }

    /// Takes datagrams of one size that came together. Some senders send media and reports to one port (RFC 5761).
    /// Media is left out while it is not `wanted`.
    pub fn handle_datagrams(
        &mut self,
        at: Arrival,
        relay: &mut Relay,
        (bytes, segment): (&[u8], u16),
        (is_media, is_wanted): (bool, bool),
        numbers: &mut Numbers,
    ) {
        for datagram in bytes.chunks(usize::from(segment.max(1))) {
            match is_media && !is_rtcp(datagram) {
                true if is_wanted => self.arrange(at.now, relay, datagram, numbers),
                true => {}
                false => self.handle_reports(at, relay, datagram, numbers),
            }
        }
    }

    /// Takes a compound packet of the sender.
    pub fn handle_reports(&mut self, at: Arrival, relay: &mut Relay, bytes: &[u8], numbers: &mut Numbers) {
        let Ok(compound) = Compound::parse(bytes) else {
            numbers.malformed += u64::from(is_rtcp(bytes));
            return;
        };
        for packet in compound.iter() {
            match packet {
                Packet::SenderReport { info, .. } => {
                    relay.handle_report(self.track, &info, at.wall);
                    if let Some(view) = &mut self.view {
                        view.handle_sender_report(&info, at.now);
                    }
                }
                Packet::Bye { ssrcs, .. } => {
                    self.said_bye |=
                        self.view.is_some_and(|view| ssrcs.iter().any(|ssrc| ssrc == view.ssrc()));
                }
                _ => {}
            }
        }
    }

    /// Whether a datagram comes from the sender.
    pub fn is_from(&mut self, is_media: bool, from: SocketAddr) -> bool {
        self.way.is_from(is_media, from)
    }

    /// Counts a packet that is not passed on, and says so at the first, second, fourth, eighth and so on.
    fn leave_out(&self, relay: &mut Relay, error: &RelayError, numbers: &mut Numbers) {
        numbers.malformed += 1;
        if numbers.malformed.is_power_of_two() {
            let path = relay.fanout().description().path();
            tracing::warn!(%path, track = self.track, %error, count = numbers.malformed,
                "packets of a source are left out");
        }
    }

    /// Puts a datagram in order and passes what is due.
    fn arrange(&mut self, now: Time, relay: &mut Relay, packet: &[u8], numbers: &mut Numbers) {
        self.pass_held(now, relay, numbers);
        let Some((header, _)) = Header::parse(packet) else {
            return self.leave_out(relay, &RelayError::NotRtp, numbers);
        };
        // The numbers of another source say nothing of the order of this one.
        if let Err(error) = relay.check(now, self.track, &header) {
            return self.leave_out(relay, &error, numbers);
        }
        if self.view.is_some_and(|view| view.ssrc() != header.ssrc) {
            self.reorder = Reorder::new();
        }
        match self.reorder.place(header.sequence) {
            Place::Next => self.handle_packet(now, relay, packet, numbers),
            Place::Early => self.reorder.hold(now, header.sequence, Bytes::copy_from_slice(packet)),
            Place::Late => {}
        }
        self.pass_held(now, relay, numbers);
    }

    fn pass_held(&mut self, now: Time, relay: &mut Relay, numbers: &mut Numbers) {
        while let Some(packet) = self.reorder.poll(now) {
            self.handle_packet(now, relay, &packet, numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use proto::rtcp::interval::Minimum;
    use proto::track::{Codec, Law, Track};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::stream::catalog::{Notice, Subscriber};
    use crate::stream::relay::LiveLimits;

    #[test]
    fn another_source_is_heard_whatever_its_numbers_are_to_those_of_the_one_before() {
        for first in [950, 1_050, 30_000] {
            let codec = Codec::G711 { law: Law::A, sample_rate: 8_000, channels: 1 };
            let mut random = SmallRng::seed_from_u64(1);
            let tracks = vec![Track::new(codec, 0)];
            let mut relay = Relay::new(
                1,
                "a",
                tracks,
                &LiveLimits::default(),
                Time::ZERO,
                NtpTime::default(),
                &mut random,
            );
            let heard = Arc::new(Mutex::new(Vec::new()));
            let kept = heard.clone();
            let deliver = Arc::new(move |notice| {
                if let Notice::Batch { batch, .. } = notice {
                    kept.lock().unwrap().push(batch.packet(&batch.packets()[0])[12]);
                }
                true
            });
            relay.fanout().subscribe(&"a".into(), Subscriber { shard: 0, deliver });
            let pair = UdpPair { rtp: Udp(0), rtcp: Udp(1), port: 2 };
            let way = WayIn::Datagrams { pair, sender: None, media_from: None, reports_to: None };
            let mut track = TrackIn::new(0, 8_000, way, 9, Interval::new(64_000, Minimum::Fixed));
            let mut numbers = Numbers::default();
            let sent = [(1, 1_000, 0, 0), (1, 1_001, 20, 1), (2, first, 40, 2), (2, first, 2_000, 3)];
            for (ssrc, sequence, ms, payload) in sent.into_iter().chain([(2, first + 1, 2_020, 4)]) {
                let header = Header { marker: false, payload_type: 8, sequence, timestamp: ms * 8, ssrc };
                let packet = [&header.to_bytes()[..], &[payload]].concat();
                track.arrange(Time::from_millis(ms.into()), &mut relay, &packet, &mut numbers);
            }
            // It has to wait until the one before is silent.
            assert_eq!(*heard.lock().unwrap(), [0, 1, 3, 4], "{first}");
        }
    }
}
