//! Tracks on their way in: packets of a publisher, put in order and passed to its stream, and our reports to it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use proto::io::{Op, Piece, Span, Udp};
use proto::rtcp::interval::{Interval, Members};
use proto::rtcp::parse::{Compound, Packet};
use proto::rtcp::statistics::SenderView;
use proto::rtcp::{is_rtcp, write};
use proto::rtp::batch::interleaved_head;
use proto::rtp::header::Header;
use proto::rtp::reorder::{Place, Reorder};
use proto::time::{NtpTime, Time};
use rand::RngExt;
use smallvec::SmallVec;

use super::datagrams::UdpPair;
use super::reports::CNAME;
use super::session::{Numbers, Session, SessionKey, Source, State};
use super::turn::Shard;
use crate::stream::relay::{Relay, RelayError};

/// A keyframe is asked for at most this often.
const KEYFRAME_REQUEST_MIN: Duration = Duration::from_secs(1);

/// What a session publishes.
#[derive(Debug)]
pub struct Ingest {
    /// Names the publication.
    pub tenure: u64,
    /// The tracks that were set up.
    pub tracks: SmallVec<[TrackIn; 2]>,
}

/// One track of a publisher.
#[derive(Debug)]
pub struct TrackIn {
    /// Index in the description.
    pub track: u8,
    /// RTP clock in hertz.
    pub clock_rate: u32,
    /// How it comes.
    pub way: WayIn,
    /// What our reports tell the publisher; None before its first packet.
    pub view: Option<SenderView>,
    /// Our own source, as whom we report.
    pub reporter: u32,
    /// How far apart reports are.
    pub interval: Interval,
    /// When the next one is due; None before the first packet.
    pub report_at: Option<Time>,
    /// Packets of datagrams that wait for those before them.
    pub reorder: Reorder,
    /// When a keyframe was last asked for.
    pub asked_at: Option<Time>,
}

/// How a track comes.
#[derive(Debug)]
pub enum WayIn {
    /// In `$` frames of the session's connection.
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
        /// Where media comes from; known from the first packet on, then nobody else is heard.
        media_from: Option<SocketAddr>,
        /// Where reports go to: the client's port, or where its own reports come from.
        reports_to: Option<SocketAddr>,
    },
}

/// Which track of which session a socket receives.
#[derive(Clone, Copy, Debug)]
pub struct Arriving {
    /// The publisher's session.
    pub session: SessionKey,
    /// Index of the track in the description.
    pub track: u8,
    /// Whether media comes here; else reports.
    pub is_media: bool,
}

impl Ingest {
    /// The track that an interleaved channel carries, and whether it carries its media.
    pub fn on_channel(&self, channel: u8) -> Option<(u8, bool)> {
        self.tracks.iter().find_map(|track| match track.way {
            WayIn::Interleaved { rtp, .. } if rtp == channel => Some((track.track, true)),
            WayIn::Interleaved { rtcp, .. } if rtcp == channel => Some((track.track, false)),
            _ => None,
        })
    }
}

impl TrackIn {
    /// Passes one packet that is in its place.
    fn pass(&mut self, now: Time, relay: &mut Relay, packet: &[u8], numbers: &mut Numbers) {
        let Some((header, _)) = Header::parse(packet) else {
            numbers.malformed += 1;
            return;
        };
        match relay.handle_packet(now, self.track, packet) {
            Ok(()) => numbers.bytes += packet.len() as u64,
            Err(RelayError::Late(_)) => {}
            Err(error) => {
                numbers.malformed += 1;
                // The first, second, fourth, eighth such packet and so on.
                if numbers.malformed.is_power_of_two() {
                    tracing::warn!(track = self.track, %error, count = numbers.malformed, "packets of a publisher are left out");
                }
                return;
            }
        }
        let is_other = self.view.is_none_or(|view| view.ssrc() != header.ssrc);
        let view = match &mut self.view {
            Some(view) if !is_other => view,
            view => view.insert(SenderView::new(header.ssrc, self.clock_rate)),
        };
        view.handle_packet(header.sequence, header.timestamp, now);
        self.report_at.get_or_insert(now);
    }

    /// Puts a datagram in order and passes what is due.
    fn arrange(&mut self, now: Time, relay: &mut Relay, packet: &[u8], numbers: &mut Numbers) {
        self.pass_held(now, relay, numbers);
        let Some((header, _)) = Header::parse(packet) else {
            numbers.malformed += 1;
            return;
        };
        match self.reorder.place(header.sequence) {
            Place::Next => self.pass(now, relay, packet, numbers),
            Place::Early => self.reorder.hold(now, header.sequence, Bytes::copy_from_slice(packet)),
            Place::Late => {}
        }
        self.pass_held(now, relay, numbers);
    }

    fn pass_held(&mut self, now: Time, relay: &mut Relay, numbers: &mut Numbers) {
        while let Some(packet) = self.reorder.poll(now) {
            self.pass(now, relay, &packet, numbers);
        }
    }

    /// Takes a compound packet of the publisher.
    fn handle_reports(
        &mut self,
        now: Time,
        wall: NtpTime,
        relay: &mut Relay,
        bytes: &[u8],
        numbers: &mut Numbers,
    ) {
        let Ok(compound) = Compound::parse(bytes) else {
            numbers.malformed += u64::from(is_rtcp(bytes));
            return;
        };
        for packet in compound.iter() {
            if let Packet::SenderReport { info, .. } = packet {
                relay.handle_report(self.track, &info, wall);
                if let Some(view) = &mut self.view {
                    view.handle_sender_report(&info, now);
                }
            }
        }
    }
}

impl Shard {
    /// Takes a `$` frame of a publisher.
    pub(super) fn handle_published(&mut self, key: SessionKey, track: u8, is_media: bool, payload: &[u8]) {
        let (now, wall) = (self.now, self.ports.driver.wall());
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.seen = now;
        let is_recording = session.state == State::Playing;
        let Source::Ingest(ingest) = &mut session.source else { return };
        let Some(publication) = self.publications.get_mut(ingest.tenure) else { return };
        publication.pulse.beat(now);
        let Some(relay) = &mut publication.relay else { return };
        let Some(track) = ingest.tracks.iter_mut().find(|other| other.track == track) else { return };
        match (is_media, is_recording) {
            (true, true) => track.pass(now, relay, payload, &mut session.numbers),
            (false, _) => track.handle_reports(now, wall, relay, payload, &mut session.numbers),
            // Nothing was asked for yet, or the publisher paused.
            (true, false) => {}
        }
        publication.serve_waiting();
        self.make_ready(key);
    }

    /// Takes what came to a publisher's own sockets.
    pub(super) fn handle_published_datagrams(
        &mut self,
        arriving: Arriving,
        from: SocketAddr,
        span: Span,
        segment: u16,
    ) {
        let (now, wall) = (self.now, self.ports.driver.wall());
        let Some(session) = self.sessions.get_mut(arriving.session) else { return };
        let is_recording = session.state == State::Playing;
        let Source::Ingest(ingest) = &mut session.source else { return };
        let Some(publication) = self.publications.get_mut(ingest.tenure) else { return };
        let Some(relay) = &mut publication.relay else { return };
        let Some(track) = ingest.tracks.iter_mut().find(|other| other.track == arriving.track) else {
            return;
        };
        if from.ip() != session.peer.ip() || !track.is_from_publisher(arriving.is_media, from) {
            self.udp.strangers += 1;
            return;
        }
        session.seen = now;
        publication.pulse.beat(now);
        let bytes = self.ports.driver.bytes(span);
        for datagram in bytes.chunks(usize::from(segment.max(1))) {
            // Some publishers send both to one port (RFC 5761).
            match arriving.is_media && !is_rtcp(datagram) {
                true if is_recording => track.arrange(now, relay, datagram, &mut session.numbers),
                true => {}
                false => track.handle_reports(now, wall, relay, datagram, &mut session.numbers),
            }
        }
        publication.serve_waiting();
        self.make_ready(arriving.session);
    }

    /// Does what is due of a publisher: batches that nothing closes, packets that were waited for, reports.
    pub(super) fn pump_ingest(&mut self, key: SessionKey) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Source::Ingest(ingest) = &mut session.source else { return };
        let mut wake: Option<Time> = None;
        let mut due: SmallVec<[(usize, bool); 2]> = SmallVec::new();
        if let Some(relay) = self.publications.relay(ingest.tenure) {
            for track in &mut ingest.tracks {
                track.pass_held(now, relay, &mut session.numbers);
            }
            relay.close_due(now);
            wake = relay.deadline();
            let wants_keyframe = relay.wants_keyframe();
            for (slot, track) in ingest.tracks.iter_mut().enumerate() {
                wake = [wake, track.reorder.deadline()].into_iter().flatten().min();
                let asks = wants_keyframe == Some(track.track)
                    && track.asked_at.is_none_or(|at| now.since(at) >= KEYFRAME_REQUEST_MIN);
                if asks || track.report_at.is_some_and(|at| at <= now) {
                    due.push((slot, asks));
                }
            }
        }
        for (slot, asks) in due {
            self.report_to_publisher(key, slot, asks);
        }
        let Some(Source::Ingest(ingest)) = self.sessions.get(key).map(|session| &session.source) else {
            return;
        };
        let reports = ingest.tracks.iter().filter_map(|track| track.report_at);
        if let Some(at) = reports.chain(wake).min() {
            self.wake_session_at(key, at);
        }
        if let Some(conn) = self.sessions.get(key).and_then(|session| session.conn) {
            self.flush(conn);
        }
    }

    /// Gives a publisher's sockets back.
    pub(super) fn release_way_in(&mut self, way: &WayIn) {
        if let WayIn::Datagrams { pair, .. } = way {
            self.udp.forget_publisher(pair);
            self.ports.driver.submit(Op::CloseUdp(pair.rtp));
            self.ports.driver.submit(Op::CloseUdp(pair.rtcp));
        }
    }

    fn report_to_publisher(&mut self, key: SessionKey, slot: usize, asks_keyframe: bool) {
        let random = self.ports.random.random();
        let now = self.now;
        let Some(Session { source: Source::Ingest(ingest), conn, .. }) = self.sessions.get_mut(key) else {
            return;
        };
        let track = &mut ingest.tracks[slot];
        let Some(view) = &mut track.view else { return };
        if track.report_at.is_some_and(|at| at <= now) {
            let members = Members { we_send: false, ..Members::UNICAST };
            track.report_at = Some(now + track.interval.next(members, random));
        }
        let (block, reporter) = (view.report(now), track.reporter);
        if asks_keyframe {
            track.asked_at = Some(now);
        }
        let body = self.heads.own(|out| {
            write::receiver_report(out, reporter, &[block], CNAME);
            if asks_keyframe {
                write::pli(out, reporter, block.ssrc);
            }
        });
        match &track.way {
            WayIn::Interleaved { rtcp, .. } => {
                let head = interleaved_head(*rtcp, body.len() as u16);
                let bytes = self.heads.own(|out: &mut BytesMut| {
                    out.put_slice(&head);
                    out.put_slice(&body);
                });
                if let Some(connection) = conn.and_then(|conn| self.connections.get_mut(conn))
                    && !connection.is_clogged()
                {
                    connection.push(bytes);
                }
            }
            WayIn::Datagrams { pair, reports_to: Some(to), .. } => {
                let segment = body.len() as u16;
                let (udp, to, piece): (Udp, _, _) = (pair.rtcp, *to, Piece::Shared(body));
                self.ports.driver.submit(Op::SendTo { udp, to, piece, segment });
            }
            WayIn::Datagrams { .. } => {}
        }
    }
}

impl TrackIn {
    /// Whether a datagram comes from where the track's others came from. The first one decides.
    fn is_from_publisher(&mut self, is_media: bool, from: SocketAddr) -> bool {
        let WayIn::Datagrams { media_from, reports_to, .. } = &mut self.way else { return false };
        if is_media {
            return *media_from.get_or_insert(from) == from;
        }
        // Reports may come from a port that the client did not name: they are answered there.
        *reports_to = Some(from);
        true
    }
}
