//! Packets that are pushed to a port: whose they are, and what becomes of them.

use std::net::SocketAddr;

use proto::io::Span;
use proto::rtcp::is_rtcp;
use proto::rtcp::parse::{Compound, Packet};
use proto::rtp::header::Header;
use proto::time::Time;

use super::{Origin, Pusher, PusherKey};
use crate::shard::inflow::Arrival;
use crate::shard::turn::Shard;
use crate::stream::relay::SILENCE;

impl Shard {
    /// Takes what came to the socket of a track.
    pub(in crate::shard) fn pushed_datagrams(
        &mut self,
        key: PusherKey,
        track: u8,
        from: SocketAddr,
        span: Span,
        segment: u16,
    ) {
        if !self.settings.visitors.admits(from.ip()) {
            return self.suspects.turn_away(from);
        }
        let at = self.arrival();
        let segment = usize::from(segment.max(1));
        if self.ports.driver.bytes(span).chunks(segment).any(is_media) {
            self.begin_pushed(key);
        }
        let Some(pusher) = self.pushers.get_mut(key) else { return };
        let before = pusher.numbers;
        for datagram in self.ports.driver.bytes(span).chunks(segment) {
            pusher.handle(at, track, Origin::Address(from), datagram);
        }
        self.counted.took(before, pusher.numbers);
        self.tend_pusher(key);
    }
}

/// Whether a packet is one of media, with which a stream may begin.
pub(super) fn is_media(packet: &[u8]) -> bool {
    !is_rtcp(packet) && Header::parse(packet).is_some()
}

impl Pusher {
    /// Takes one packet of media or reports, which share a port (RFC 5761).
    pub(super) fn handle(&mut self, at: Arrival, track: u8, origin: Origin, packet: &[u8]) {
        if is_rtcp(packet) {
            return self.handle_report(at, origin, packet);
        }
        if !self.admit(at.now, track, origin, packet) {
            return;
        }
        let track_count = self.spec.tracks.len() as u8;
        let Pusher { offer, inflow, numbers, reports, .. } = self;
        let (Some(relay), Some(arriving)) = (offer.relay(), inflow.track_mut(track)) else { return };
        let before = numbers.bytes;
        match origin {
            Origin::Address(_) => {
                arriving.handle_datagrams(at, relay, (packet, packet.len() as u16), (true, true), numbers);
            }
            Origin::Connection(_) => arriving.handle_packet(at.now, relay, packet, numbers),
        }
        reports.settle(relay, track_count);
        if numbers.bytes > before {
            self.heard = Some(at.now);
            self.sources[usize::from(track)].heard = Some(at.now);
        }
    }

    /// Whether the sender of a track is silent, so that another may take its place.
    pub(super) fn is_silent(&self, now: Time, track: u8) -> bool {
        let source = self.sources.get(usize::from(track));
        source.is_none_or(|source| source.heard.is_none_or(|heard| now.since(heard) >= SILENCE))
    }

    /// From now on a track comes from elsewhere.
    pub(super) fn change_source(&mut self, track: u8, origin: Origin) {
        let Some(source) = self.sources.get_mut(usize::from(track)) else { return };
        source.from = Some(origin);
        source.heard = None;
        if let Some(arriving) = self.inflow.track_mut(track) {
            arriving.restart();
        }
        if let Some(relay) = self.offer.relay() {
            self.reports.forget(relay.source(track));
            relay.restart_track(track);
        }
    }

    /// Counts what is not the sources'. Whoever floods a port does not fill the log as well.
    pub(super) fn turn_away(&mut self, from: SocketAddr) {
        self.strangers += 1;
        if self.strangers.is_power_of_two() {
            tracing::warn!(path = %self.spec.path, %from, count = self.strangers,
                "another sender is left out while the first one sends");
        }
    }

    /// Whether a packet comes from the sender of its track. The first one decides, until it is silent.
    fn admit(&mut self, now: Time, track: u8, origin: Origin, packet: &[u8]) -> bool {
        let is_silent = self.is_silent(now, track);
        let Some(source) = self.sources.get(usize::from(track)).copied() else { return false };
        if source.from == Some(origin) {
            if is_silent && let Some(arriving) = self.inflow.track_mut(track) {
                // A sender that was started again counts from elsewhere.
                arriving.restart();
            }
            return true;
        }
        let Origin::Address(from) = origin else { return false };
        if Header::parse(packet).is_none() {
            self.numbers.malformed += 1;
            return false;
        }
        if !is_silent {
            self.turn_away(from);
            return false;
        }
        tracing::info!(path = %self.spec.path, track, %from, "sender");
        self.change_source(track, origin);
        true
    }

    /// Takes reports, which come to whatever port from the machine of a track's sender. Before there is one they may be
    /// anybody's.
    fn handle_report(&mut self, at: Arrival, origin: Origin, bytes: &[u8]) {
        let is_from_a_sender = match origin {
            Origin::Address(from) => (self.sources.iter().filter_map(|source| source.from))
                .any(|known| matches!(known, Origin::Address(known) if known.ip() == from.ip())),
            Origin::Connection(_) => true,
        };
        let track_count = self.spec.tracks.len() as u8;
        let Some(relay) = self.offer.relay().filter(|_| is_from_a_sender) else { return };
        let Ok(compound) = Compound::parse(bytes) else {
            self.numbers.malformed += 1;
            return;
        };
        for packet in compound.iter() {
            if let Packet::SenderReport { info, .. } = packet {
                self.reports.handle(info, at.wall, relay, track_count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::BytesMut;
    use proto::rtcp::interval::{Interval, Minimum};
    use proto::rtcp::report::SenderInfo;
    use proto::rtcp::write;
    use proto::time::NtpTime;
    use proto::track::{Codec, Law, Track};
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;
    use crate::shard::inflow::{TrackIn, WayIn};
    use crate::shard::pusher::{Mode, PushedTrack, PusherSpec};
    use crate::stream::relay::{LiveLimits, Relay};

    const WALL: NtpTime = NtpTime(4_000_000_000 << 32);

    fn at(ms: u64) -> Arrival {
        Arrival { now: Time::from_millis(ms), wall: WALL + Duration::from_millis(ms) }
    }

    fn from(host: u8, port: u16) -> Origin {
        Origin::Address(([192, 0, 2, host], port).into())
    }

    /// A pusher of two tracks of sound.
    fn pusher() -> Pusher {
        let codec = Codec::G711 { law: Law::A, sample_rate: 8_000, channels: 1 };
        let tracks = (0..2).map(|index| PushedTrack {
            track: Track::new(codec.clone(), index),
            addresses: Vec::new(),
            port: "aport 1".to_owned(),
        });
        let tracks = tracks.collect();
        Pusher::new(PusherSpec { path: "a".into(), tenure: 1, home: 0, mode: Mode::Udp, tracks }.into())
    }

    /// Begins its stream.
    fn begin(pusher: &mut Pusher) {
        let tracks: Vec<_> = pusher.spec.tracks.iter().map(|pushed| pushed.track.clone()).collect();
        let mut random = SmallRng::seed_from_u64(1);
        let mut relay = Relay::new(1, "a", tracks, &LiveLimits::default(), Time::ZERO, WALL, &mut random);
        relay.accept_any_payload_type();
        let interval = || Interval::new(64_000, Minimum::Fixed);
        let tracks = (0..2).map(|index| TrackIn::new(index, 8_000, WayIn::OneWay, 9, interval()));
        pusher.inflow.tracks = tracks.collect();
        pusher.offer.put(Box::new(relay));
    }

    fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
        let timestamp = 160 * u32::from(sequence);
        let header = Header { marker: false, payload_type: 8, sequence, timestamp, ssrc };
        [&header.to_bytes()[..], &[0xd5; 160]].concat()
    }

    fn report(ssrc: u32) -> BytesMut {
        let info = SenderInfo { ssrc, ntp: WALL + Duration::from_secs(3), rtp: 160, packets: 0, octets: 0 };
        let mut bytes = BytesMut::new();
        write::sender_report(&mut bytes, &info, "test");
        bytes
    }

    /// Sends the first packets of both tracks and then their reports.
    fn send(pusher: &mut Pusher) {
        for track in 0..2u8 {
            pusher.handle(at(20), track, from(1, 5_000), &packet(track.into(), 1));
        }
        for track in 0..2u8 {
            pusher.handle(at(30), 1, from(1, 5_001), &report(track.into()));
        }
        pusher.handle(at(40), 0, from(1, 5_000), &packet(0, 2));
    }

    #[test]
    fn reports_of_strangers_do_not_keep_those_of_the_sender_out() {
        let mut pusher = pusher();
        begin(&mut pusher);
        (100..120).for_each(|ssrc| pusher.handle(at(0), 0, from(66, 9), &report(ssrc)));
        assert_eq!(pusher.reports.count(), 0, "of nobody who sends");
        send(&mut pusher);
        assert!(pusher.reports.is_settled());
    }

    #[test]
    fn reports_of_others_on_the_senders_machine_do_not_keep_its_own_out() {
        let mut pusher = pusher();
        begin(&mut pusher);
        pusher.handle(at(10), 0, from(1, 5_000), &packet(0, 0));
        (100..120).for_each(|ssrc| pusher.handle(at(10), 0, from(1, 9), &report(ssrc)));
        send(&mut pusher);
        assert!(pusher.reports.is_settled());
    }

    #[test]
    fn the_next_stream_waits_for_reports_of_its_own() {
        let mut pusher = pusher();
        begin(&mut pusher);
        send(&mut pusher);
        assert!(pusher.reports.is_settled());
        pusher.end("the sender is silent");
        begin(&mut pusher);
        pusher.handle(at(20_000), 0, from(1, 5_000), &packet(0, 3));
        assert_eq!((pusher.reports.is_settled(), pusher.reports.count()), (false, 0));
        send(&mut pusher);
        assert!(pusher.reports.is_settled());
    }
}
