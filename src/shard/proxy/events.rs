//! What the client of a source tells, step by step from its description to its packets.

use bytes::Bytes;
use proto::client::{Carrier, Endpoint, Event, Failure, PacketKind, Start, Transfer};
use proto::io::{Membership, Op, UdpOptions};
use proto::rtp::header::Header;
use proto::rtsp::headers::transport::Pair;
use proto::time::Time;
use proto::track::Track;
use rand::RngExt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::puller::{Pictures, Said};
use super::run::SILENCE_MAX;
use super::{Phase, Proxy, ProxyKey, Run};
use crate::shard::datagrams::{UdpPair, at_port, free_pair, no_pair};
use crate::shard::inflow::{TrackIn, WayIn};
use crate::shard::ingest::{Arriving, Sender};
use crate::shard::turn::Shard;
use crate::stream::catalog::StreamError;
use crate::stream::registry::agree;

/// A source that has played for so long is tried again at once when it is lost. One that comes and goes faster is not,
/// or it would be asked several times a second.
const STEADY_MIN: Duration = Duration::from_secs(2);

impl Shard {
    pub(super) fn handle_said(&mut self, key: ProxyKey, proxy: &mut Proxy, said: Said) {
        match said {
            Said::Event(event) => self.handle_client_event(key, proxy, event),
            Said::HasPictures => {
                let (now, ssrc, mtu_bytes) = (self.now, self.ports.random.random(), self.settings.mtu_bytes);
                let Some(run) = proxy.run() else { return };
                run.plays_since = Some(now);
                run.pictures = Some(Pictures::new(now, ssrc, mtu_bytes));
                run.tracks = vec![(0, Pictures::track())];
                self.begin_stream(proxy);
                self.tell_if_other(proxy, Ok(()));
                tracing::info!(path = %proxy.spec.path, source = %proxy.spec.url, "source plays");
            }
            Said::Picture(picture) => self.take_picture(key, proxy, picture),
        }
    }

    fn handle_client_event(&mut self, key: ProxyKey, proxy: &mut Proxy, event: Event) {
        match event {
            Event::Connect(endpoint) => self.connect_source(key, proxy, &endpoint),
            Event::Described { session, .. } => {
                self.release_inflow(proxy);
                if let Some(run) = proxy.run() {
                    run.described = Some(session);
                }
            }
            Event::PortsWanted { media } => self.give_ports(proxy, media),
            Event::TrackReady { media, carrier, .. } => self.add_source_track(key, proxy, media, carrier),
            Event::TrackRefused { media, status } => {
                tracing::warn!(path = %proxy.spec.path, media, %status, "a track of a source is refused");
                self.release_ports(proxy);
            }
            Event::TransferRefused { tried } => {
                self.release_ports(proxy);
                self.change_transfer(proxy, tried, "refused");
            }
            Event::Playing { starts, .. } => {
                let now = self.now;
                if let Some(run) = proxy.run() {
                    run.plays_since = Some(now);
                }
                if proxy.run().is_some_and(|run| run.tracks.is_empty()) {
                    return self.lose_source(proxy, "the source has no track that can be passed on");
                }
                self.begin_stream(proxy);
                // Why an earlier attempt failed is no longer the reason for anything.
                proxy.failure = None;
                proxy.align(now, &starts);
                self.tell_if_other(proxy, Ok(()));
                tracing::info!(path = %proxy.spec.path, source = %proxy.spec.url, transfer = ?proxy.transfer, "source plays");
            }
            Event::Packet { media, kind, payload } => self.take_packet(proxy, media, kind, &payload),
            Event::Ended => self.close_run(proxy),
            Event::Failed(failure) => {
                let is_hopeless = match proxy.run() {
                    Some(run) if run.is_leaving => return self.close_run(proxy),
                    Some(run) => run.is_hopeless,
                    None => false,
                };
                self.lose_source(proxy, &failure.to_string());
                if is_hopeless || is_final(&failure) {
                    let reason = proxy.failure.clone().unwrap_or_default();
                    proxy.offer.refuse(&StreamError::Unavailable(reason));
                }
            }
        }
    }

    /// Opens another connection in place of the one before.
    pub(super) fn connect_source(&mut self, key: ProxyKey, proxy: &mut Proxy, endpoint: &Endpoint) {
        self.release_inflow(proxy);
        if let Some(run) = proxy.run() {
            // What was said before belongs to the old connection.
            run.say();
            run.begin_again();
        }
        self.open_line(key, proxy, endpoint);
    }

    /// Ends an attempt that nothing comes of; over UDP another way is tried first.
    pub(super) fn check_silence(&mut self, key: ProxyKey, proxy: &mut Proxy) {
        let (now, patience) = (self.now, self.settings.udp_to_tcp);
        let Some(run) = proxy.run() else { return };
        if run.has_said_goodbye() {
            return self.lose_source(proxy, "the source says goodbye");
        }
        if run.silence_at(patience).is_none_or(|at| at > now) {
            return;
        }
        if run.heard.is_some() || proxy.transfer == Transfer::Tcp {
            return self.lose_source(proxy, "nothing comes from the source");
        }
        self.change_transfer(proxy, proxy.transfer, "nothing arrives");
        while let Some(said) = proxy.run().and_then(|run| run.client.poll_event()) {
            self.handle_said(key, proxy, said);
        }
    }

    /// The stream goes on with the tracks that are set up, or begins with them.
    pub(super) fn begin_stream(&mut self, proxy: &mut Proxy) {
        let Some(run) = proxy.run().filter(|run| !run.has_begun && !run.is_leaving) else { return };
        run.has_begun = true;
        let tracks: Vec<_> = run.tracks.iter().map(|(_, track)| track.clone()).collect();
        let before = proxy.offer.relay().map(|relay| (agree(relay.received(), &tracks), relay));
        match before {
            Some((true, relay)) => relay.restart(),
            before => {
                if let Some((_, relay)) = before {
                    relay.end("the source has other tracks now");
                }
                let stream = self.ports.catalog.name_stream();
                let relay = self.new_relay(stream, &proxy.spec.path, tracks);
                proxy.offer.put(relay);
            }
        }
    }

    fn take_packet(&mut self, proxy: &mut Proxy, media: usize, kind: PacketKind, payload: &Bytes) {
        // The answer to PLAY may come behind the first packets.
        self.begin_stream(proxy);
        let at = self.arrival();
        let Phase::Running(run) = &mut proxy.phase else { return };
        let Some(index) = run.tracks.iter().position(|(other, _)| *other == media) else { return };
        let (Some(relay), Some(track)) = (proxy.offer.relay(), run.inflow.track_mut(index as u8)) else {
            return;
        };
        let before = run.numbers;
        match kind {
            PacketKind::Rtp => track.handle_packet(at.now, relay, payload, &mut run.numbers),
            PacketKind::Rtcp => track.handle_reports(at, relay, payload, &mut run.numbers),
        }
        self.counted.took(before, run.numbers);
        proxy.hear(at.now, kind);
    }

    fn give_ports(&mut self, proxy: &mut Proxy, media: usize) {
        if let Err(reason) = self.try_to_give_ports(proxy, media) {
            self.lose_source(proxy, &reason);
        }
    }

    /// Gives a track ports of its own; why there are none.
    pub(super) fn try_to_give_ports(&mut self, proxy: &mut Proxy, media: usize) -> Result<(), String> {
        let options = UdpOptions { ingest: true, ..UdpOptions::default() };
        // Those of a track that came to nothing.
        self.release_ports(proxy);
        let Some(run) = proxy.run() else { return Ok(()) };
        let Some(ends) = run.line.ends else { return Ok(()) };
        let (driver, random) = (&mut *self.ports.driver, &mut self.ports.random);
        let pair = free_pair(ends.local, &self.settings.udp_ports, &options, driver, random)
            .map_err(|error| no_pair(&self.settings.udp_ports, &error).reason)?;
        run.ports = Some((media, pair));
        run.client.handle_ports(self.now, media, Pair::new(pair.port, pair.port + 1));
        Ok(())
    }

    fn add_source_track(&mut self, key: ProxyKey, proxy: &mut Proxy, media: usize, carrier: Carrier) {
        let (interval, reporter) = (self.interval(), self.ports.random.random());
        let Some(run) = proxy.run() else { return };
        let track = run.described.as_ref().and_then(|session| session.media.get(media)?.track().cloned());
        let Some(track) = track.filter(|track| track.clock_rate > 0) else {
            tracing::warn!(path = %proxy.spec.path, media, "a track of a source cannot be described");
            return self.release_ports(proxy);
        };
        let Some(way) = self.way_from(proxy, carrier) else { return };
        let Some(run) = proxy.run() else { return };
        let index = run.tracks.len() as u8;
        if let WayIn::Datagrams { pair, .. } = &way {
            let arriving = Arriving { sender: Sender::Proxy(key), track: index, is_media: true };
            self.udp.register_sender(pair, arriving);
        }
        run.inflow.tracks.push(TrackIn::new(index, track.clock_rate, way, reporter, interval));
        run.tracks.push((media, track));
    }

    /// How a track comes; None when nothing can be received so.
    fn way_from(&mut self, proxy: &mut Proxy, carrier: Carrier) -> Option<WayIn> {
        let run = proxy.run()?;
        let ends = run.line.ends?;
        match carrier {
            Carrier::Interleaved(channels) => {
                // A report on a channel that is none of the server's would do harm.
                let rtcp = channels.rtcp.unwrap_or(channels.rtp.wrapping_add(1));
                Some(WayIn::Interleaved { rtp: channels.rtp, rtcp })
            }
            Carrier::Unicast { server_port, source } => {
                let (_, pair) = run.ports.take()?;
                let host = source.map_or(ends.peer, |ip| SocketAddr::new(ip, 0));
                let port = |port: Option<u16>| port.filter(|port| *port > 0).map(|port| at_port(host, port));
                let reports_to = port(server_port.and_then(|ports| ports.rtcp));
                if let Some(to) = port(server_port.map(|ports| ports.rtp)) {
                    self.open_router(&pair, to);
                }
                Some(WayIn::Datagrams { pair, sender: Some(host.ip()), media_from: None, reports_to })
            }
            Carrier::Group { address, port, source } => self.join(proxy, address, port, source),
        }
    }

    /// Sends the first packet from our side, so that routers on the way let the others in.
    fn open_router(&mut self, pair: &UdpPair, to: SocketAddr) {
        let header = Header { marker: false, payload_type: 0, sequence: 0, timestamp: 0, ssrc: 0 };
        let bytes = Bytes::copy_from_slice(&header.to_bytes());
        self.ports.driver.submit(Op::datagram(pair.rtp, to, bytes));
    }

    fn join(
        &mut self,
        proxy: &mut Proxy,
        group: IpAddr,
        port: Pair<u16>,
        source: Option<IpAddr>,
    ) -> Option<WayIn> {
        let local = proxy.run()?.line.ends?.local.ip();
        let membership = Membership { source, interface: Some(local) };
        let options = UdpOptions { ingest: true, membership: Some(membership), ..UdpOptions::default() };
        let rtcp_port = port.rtcp.unwrap_or(port.rtp.wrapping_add(1));
        let mut bind = |port| self.ports.driver.bind(SocketAddr::new(group, port), &options);
        let (rtp, rtcp) = (bind(port.rtp), bind(rtcp_port));
        let pair = match (rtp, rtcp) {
            (Ok((rtp, _)), Ok((rtcp, _))) => Ok((rtp, rtcp)),
            (Ok((alone, _)), Err(error)) | (Err(error), Ok((alone, _))) => {
                self.ports.driver.submit(Op::CloseUdp(alone));
                Err(error)
            }
            (Err(error), Err(_)) => Err(error),
        };
        match pair {
            Ok((rtp, rtcp)) => {
                let pair = UdpPair { rtp, rtcp, port: port.rtp };
                let reports_to = Some(SocketAddr::new(group, rtcp_port));
                Some(WayIn::Datagrams { pair, sender: source, media_from: None, reports_to })
            }
            Err(error) => {
                tracing::error!(path = %proxy.spec.path, %group, %error, "a multicast group cannot be joined");
                None
            }
        }
    }

    /// Goes on another way, or ends the attempt when there is none.
    fn change_transfer(&mut self, proxy: &mut Proxy, tried: Transfer, why: &str) {
        let now = self.now;
        let configured = proxy.spec.transfer;
        let next = match tried {
            Transfer::Tcp if configured == Transfer::Tcp => Some(Transfer::Udp),
            // What is configured was tried before.
            Transfer::Tcp => None,
            Transfer::Udp if configured == Transfer::Tcp => None,
            Transfer::Udp | Transfer::Multicast => Some(Transfer::Tcp),
        };
        let Some(next) = next else {
            // Later it may be otherwise.
            proxy.transfer = configured;
            return self.lose_source(proxy, "the source offers no transfer that works");
        };
        tracing::warn!(path = %proxy.spec.path, ?tried, ?next, why, "source is asked for another transfer");
        proxy.transfer = next;
        if let Some(run) = proxy.run() {
            run.plays_since = None;
            run.client.set_transfer(now, next);
        }
    }

    pub(super) fn release_ports(&mut self, proxy: &mut Proxy) {
        if let Some((_, pair)) = proxy.run().and_then(|run| run.ports.take()) {
            self.release_pair(&pair);
        }
    }
}

impl Proxy {
    /// Tells the stream with which timestamps the source begins, if it says so of all tracks.
    fn align(&mut self, now: Time, starts: &[Start]) {
        let Phase::Running(run) = &mut self.phase else { return };
        let Some(relay) = self.offer.relay() else { return };
        let start = |(media, _): &(usize, Track)| starts.iter().find(|start| start.media == *media)?.rtptime;
        let starts: Option<Vec<_>> = run.tracks.iter().map(start).collect();
        relay.start_at(now, (0..).zip(starts.unwrap_or_default()));
    }

    /// Something has come.
    pub(super) fn hear(&mut self, now: Time, kind: PacketKind) {
        if kind == PacketKind::Rtcp {
            return;
        }
        self.lost_at = None;
        self.failure = None;
        let Some(run) = self.run() else { return };
        run.heard = Some(now);
        if run.plays_since.is_some_and(|since| now.since(since) >= STEADY_MIN) {
            self.back_off.reset();
        }
    }
}

/// Whether the same would happen again at once: nobody needs to wait for another attempt.
fn is_final(failure: &Failure) -> bool {
    let may_pass = matches!(
        failure,
        Failure::ConnectTimeout | Failure::ResponseTimeout(_) | Failure::Closed | Failure::SessionLost
    );
    !may_pass
}

impl Run {
    /// Takes over what the client has to say.
    pub(super) fn say(&mut self) {
        while let Some(bytes) = self.client.poll_transmit() {
            self.line.push(bytes);
        }
    }

    /// A new connection: what was set up on the one before is gone.
    fn begin_again(&mut self) {
        // Snapshots come on a connection each: that is how they play.
        if self.pictures.is_some() {
            self.error = None;
            return;
        }
        self.described = None;
        self.has_begun = false;
        self.plays_since = None;
        self.heard = None;
        self.error = None;
    }

    /// When the attempt is given up if nothing more comes; None before it plays.
    pub(super) fn silence_at(&self, udp_to_tcp: Duration) -> Option<Time> {
        // The client of Motion JPEG has bounds of its own.
        let since = self.plays_since.filter(|_| self.pictures.is_none())?;
        let is_datagrams =
            self.inflow.tracks.iter().any(|track| matches!(track.way, WayIn::Datagrams { .. }));
        match self.heard {
            Some(heard) => Some(heard + SILENCE_MAX),
            None if is_datagrams => Some(since + udp_to_tcp),
            None => Some(since + SILENCE_MAX),
        }
    }

    fn has_said_goodbye(&self) -> bool {
        let mut tracks = self.inflow.tracks.iter().peekable();
        tracks.peek().is_some() && tracks.all(|track| track.said_bye)
    }
}
