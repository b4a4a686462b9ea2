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
        let at = self.arrival();
        self.begin_pushed(key);
        let Some(pusher) = self.pushers.get_mut(key) else { return };
        for datagram in self.ports.driver.bytes(span).chunks(usize::from(segment.max(1))) {
            pusher.handle(at, track, Origin::Address(from), datagram);
        }
        self.tend_pusher(key);
    }
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

    /// Takes reports, which come to whatever port.
    fn handle_report(&mut self, at: Arrival, origin: Origin, bytes: &[u8]) {
        let is_from_a_sender = match origin {
            Origin::Address(from) => {
                let mut known = self.sources.iter().filter_map(|source| source.from).peekable();
                known.peek().is_none()
                    || known.any(|known| matches!(known, Origin::Address(known) if known.ip() == from.ip()))
            }
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
