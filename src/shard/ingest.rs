//! What a publisher's session sends, and our reports to it.

use std::net::SocketAddr;

use proto::io::{Conn, Op, Span};
use proto::time::Time;
use rand::RngExt;
use smallvec::SmallVec;

use super::datagrams::UdpPair;
use super::inflow::{Arrival, Inflow, Report, WayIn};
use super::proxy::ProxyKey;
use super::pusher::PusherKey;
use super::session::{Session, SessionKey, Source, State};
use super::turn::Shard;

/// What a session publishes.
#[derive(Debug)]
pub struct Ingest {
    /// Names the publication.
    pub tenure: u64,
    /// The tracks that were set up.
    pub inflow: Inflow,
}

/// Which track a socket receives.
#[derive(Clone, Copy, Debug)]
pub struct Arriving {
    /// Who sends it.
    pub sender: Sender,
    /// Index of the track in the description.
    pub track: u8,
    /// Whether media comes here; else reports.
    pub is_media: bool,
}

/// Who sends a track to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A publisher's session.
    Session(SessionKey),
    /// The source of a proxy.
    Proxy(ProxyKey),
    /// Whoever sends to the port of a pusher.
    Pusher(PusherKey),
    /// A viewer's session that talks.
    Talker(SessionKey),
}

impl Shard {
    /// Takes a `$` frame of a publisher.
    pub(super) fn handle_published(&mut self, key: SessionKey, track: u8, is_media: bool, payload: &[u8]) {
        let at = self.arrival();
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.seen = at.now;
        let is_recording = session.state == State::Playing;
        let before = session.numbers;
        let Source::Ingest(ingest) = &mut session.source else { return };
        let Some(publication) = self.publications.get_mut(ingest.tenure) else { return };
        publication.pulse.beat(at.now);
        let Some(relay) = publication.offer.relay() else { return };
        let Some(track) = ingest.inflow.track_mut(track) else { return };
        match (is_media, is_recording) {
            (true, true) => track.handle_packet(at.now, relay, payload, &mut session.numbers),
            (false, _) => track.handle_reports(at, relay, payload, &mut session.numbers),
            // Nothing was asked for yet, or the publisher paused.
            (true, false) => {}
        }
        self.counted.took(before, session.numbers);
        publication.serve_waiting();
        self.make_ready(key);
    }

    /// Takes what came to sockets of a sender's own.
    pub(super) fn handle_arriving(&mut self, arriving: Arriving, from: SocketAddr, span: Span, segment: u16) {
        match arriving.sender {
            Sender::Session(key) => self.handle_published_datagrams(key, arriving, from, span, segment),
            Sender::Proxy(key) => self.proxy_datagrams(key, arriving, from, span, segment),
            Sender::Pusher(key) => self.pushed_datagrams(key, arriving.track, from, span, segment),
            Sender::Talker(key) => self.talk_datagrams(key, arriving.is_media, from, span, segment),
        }
    }

    /// Does what is due of a publisher: batches that nothing closes, packets that were waited for, reports.
    pub(super) fn pump_ingest(&mut self, key: SessionKey) {
        let now = self.now;
        let Some(Session { source: Source::Ingest(ingest), numbers, conn, .. }) = self.sessions.get_mut(key)
        else {
            return;
        };
        let mut due = Default::default();
        if let Some(publication) = self.publications.get_mut(ingest.tenure)
            && let Some(relay) = publication.offer.relay()
        {
            let before = *numbers;
            due = ingest.inflow.look(now, relay, numbers);
            self.counted.took(before, *numbers);
        }
        let conn = *conn;
        let reports: SmallVec<[_; 2]> = (due.reports.into_iter())
            .map(|report| ingest.inflow.report(now, report, self.ports.random.random(), &mut self.heads))
            .collect();
        let wake: Option<Time> = due.wake.into_iter().chain(ingest.inflow.report_at()).min();
        for report in reports {
            self.report_to_sender(conn, report);
        }
        if let Some(at) = wake {
            self.wake_session_at(key, at);
        }
        if let Some(conn) = conn {
            self.flush(conn);
        }
    }

    /// Sends a report to whoever sends a track to us, on its connection or apart.
    pub(super) fn report_to_sender(&mut self, conn: Option<Conn>, report: Option<Report>) {
        match report {
            Some(Report::Frame(bytes)) => {
                if let Some(connection) = conn.and_then(|conn| self.connections.get_mut(conn))
                    && !connection.is_clogged()
                {
                    connection.push(bytes);
                }
            }
            Some(Report::Datagram { udp, to, bytes }) => {
                self.ports.driver.submit(Op::datagram(udp, to, bytes));
            }
            None => {}
        }
    }

    /// Gives a sender's sockets back.
    pub(super) fn release_way_in(&mut self, way: &WayIn) {
        if let WayIn::Datagrams { pair, .. } = way {
            self.release_pair(pair);
        }
    }

    /// Closes a pair that a track had of its own.
    pub(super) fn release_pair(&mut self, pair: &UdpPair) {
        self.udp.forget_sender(pair);
        self.ports.driver.submit(Op::CloseUdp(pair.rtp));
        self.ports.driver.submit(Op::CloseUdp(pair.rtcp));
    }

    /// The present.
    pub(super) fn arrival(&self) -> Arrival {
        Arrival { now: self.now, wall: self.ports.driver.wall() }
    }

    fn handle_published_datagrams(
        &mut self,
        key: SessionKey,
        Arriving { track, is_media, .. }: Arriving,
        from: SocketAddr,
        span: Span,
        segment: u16,
    ) {
        let at = self.arrival();
        let Some(session) = self.sessions.get_mut(key) else { return };
        let is_recording = session.state == State::Playing;
        let Source::Ingest(ingest) = &mut session.source else { return };
        let Some(publication) = self.publications.get_mut(ingest.tenure) else { return };
        let Some(relay) = publication.offer.relay() else { return };
        let Some(track) = ingest.inflow.track_mut(track) else { return };
        if !track.is_from(is_media, from) {
            self.udp.strangers += 1;
            return;
        }
        session.seen = at.now;
        publication.pulse.beat(at.now);
        let bytes = self.ports.driver.bytes(span);
        let numbers = &mut session.numbers;
        let before = *numbers;
        track.handle_datagrams(at, relay, (bytes, segment), (is_media, is_recording), numbers);
        self.counted.took(before, *numbers);
        publication.serve_waiting();
        self.make_ready(key);
    }
}
