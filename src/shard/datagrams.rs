//! UDP on this shard: a port pair for each local address, and whose datagrams arrive there.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use proto::io::{Driver, Span, Udp, UdpOptions};
use proto::rtcp::parse::{Compound, Packet};
use proto::rtsp::status::Status;
use rand::{Rng, RngExt};

use super::client_ports::{Claim, Holder};
use super::connection::Refusal;
use super::ingest::{Arriving, Sender};
use super::session::SessionKey;
use super::turn::Shard;
use crate::egress::track::{Route, TrackOut};

/// Two neighbouring ports that serve every viewer who connected to one local address (RFC 3550 section 11).
#[derive(Clone, Copy, Debug)]
pub struct UdpPair {
    /// Socket for media.
    pub rtp: Udp,
    /// Socket for reports.
    pub rtcp: Udp,
    /// Even port of media; reports have the one above.
    pub port: u16,
}

/// The pairs of a shard, and the viewers behind them.
#[derive(Debug, Default)]
pub struct UdpPairs {
    /// By local address with port 0: link-local addresses differ by their scope.
    pairs: HashMap<SocketAddr, UdpPair>,
    /// Whose address it is: media and report addresses alike.
    viewers: HashMap<SocketAddr, Viewer>,
    /// Sessions that may be behind a translating router, by address.
    movable: HashMap<IpAddr, Vec<SessionKey>>,
    /// Sockets that receive what is sent to us.
    senders: HashMap<Udp, Arriving>,
    /// Our ports of those that have a pair of their own.
    ports: HashMap<Udp, u16>,
    /// Datagrams from addresses that belong to no session.
    pub strangers: u64,
}

/// Whose datagrams come from an address.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    /// The session.
    pub session: SessionKey,
    /// Index of the track.
    pub track: u8,
}

impl UdpPairs {
    /// The pair bound to a local address, whatever its port; bound when it is first needed. An error when no pair in
    /// the range is free.
    pub fn pair(
        &mut self,
        local: SocketAddr,
        range: &RangeInclusive<u16>,
        options: &UdpOptions,
        driver: &mut dyn Driver,
        random: &mut impl Rng,
    ) -> io::Result<UdpPair> {
        let local = at_port(local, 0);
        if let Some(pair) = self.pairs.get(&local) {
            return Ok(*pair);
        }
        let pair = free_pair(local, range, options, driver, random)?;
        self.pairs.insert(local, pair);
        Ok(pair)
    }

    /// Remembers whose track comes to a pair; `media` is its first socket.
    pub fn register_sender(&mut self, pair: &UdpPair, media: Arriving) {
        self.ports.extend([(pair.rtp, pair.port), (pair.rtcp, pair.port + 1)]);
        self.senders.insert(pair.rtp, media);
        self.senders.insert(pair.rtcp, Arriving { is_media: false, ..media });
    }

    /// Remembers whose track comes to a single socket.
    pub fn register_socket(&mut self, socket: Udp, media: Arriving) {
        self.senders.insert(socket, media);
    }

    /// Forgets the sockets of a sender, which are to be closed.
    pub fn take_sockets(&mut self, sender: Sender) -> Vec<Udp> {
        self.senders.extract_if(|_, arriving| arriving.sender == sender).map(|(socket, _)| socket).collect()
    }

    /// Forgets a pair that is closed.
    pub fn forget_sender(&mut self, pair: &UdpPair) {
        self.senders.remove(&pair.rtp);
        self.senders.remove(&pair.rtcp);
        self.ports.remove(&pair.rtp);
        self.ports.remove(&pair.rtcp);
    }

    /// Remembers where a track's datagrams will come from.
    pub fn register(&mut self, address: SocketAddr, viewer: Viewer) {
        self.viewers.insert(address, viewer);
        let sessions = self.movable.entry(address.ip()).or_default();
        if !sessions.contains(&viewer.session) {
            sessions.push(viewer.session);
        }
    }

    /// Forgets an address of a session.
    pub fn forget(&mut self, address: SocketAddr, session: SessionKey) {
        if self.viewers.get(&address).is_some_and(|viewer| viewer.session == session) {
            self.viewers.remove(&address);
        }
    }

    /// Forgets that a session has tracks at an address.
    pub fn leave(&mut self, ip: IpAddr, session: SessionKey) {
        if let Some(sessions) = self.movable.get_mut(&ip) {
            sessions.retain(|other| *other != session);
            if sessions.is_empty() {
                self.movable.remove(&ip);
            }
        }
    }

    /// The pair whose socket it is, and its local address.
    pub fn pair_of(&self, media: Udp) -> Option<(SocketAddr, UdpPair)> {
        self.pairs.iter().find(|(_, pair)| pair.rtp == media).map(|(local, pair)| (*local, *pair))
    }

    /// Sockets that receive what a session sends, with our ports.
    pub fn received_by(&self, key: SessionKey) -> impl Iterator<Item = (Udp, u16)> {
        let its = self.senders.iter().filter(move |(_, arriving)| arriving.sender == Sender::Session(key));
        its.filter_map(|(udp, _)| Some((*udp, *self.ports.get(udp)?)))
    }

    /// How many addresses of viewers are known.
    pub fn address_count(&self) -> usize {
        self.viewers.len()
    }

    /// Whose address it is.
    pub fn viewer(&self, address: SocketAddr) -> Option<Viewer> {
        self.viewers.get(&address).copied()
    }
}

/// Another port of the same host. An IPv6 address keeps its scope: a link-local one leads nowhere without.
pub(super) fn at_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

fn bind_pair(
    local: SocketAddr,
    port: u16,
    options: &UdpOptions,
    driver: &mut dyn Driver,
) -> io::Result<UdpPair> {
    let (rtp, _) = driver.bind(at_port(local, port), options)?;
    match driver.bind(at_port(local, port + 1), options) {
        Ok((rtcp, _)) => Ok(UdpPair { rtp, rtcp, port }),
        Err(error) => {
            driver.submit(proto::io::Op::CloseUdp(rtp));
            Err(error)
        }
    }
}

/// A pair that nobody has: ports of neighbouring numbers, the first even. An error when none in the range is free.
pub(super) fn free_pair(
    local: SocketAddr,
    range: &RangeInclusive<u16>,
    options: &UdpOptions,
    driver: &mut dyn Driver,
    random: &mut impl Rng,
) -> io::Result<UdpPair> {
    let first = range.start() + range.start() % 2;
    let count = (u32::from(*range.end()) + 1).saturating_sub(u32::from(first)) / 2;
    let start = if count == 0 { 0 } else { random.random_range(0..count) };
    let mut last_error = io::Error::from(io::ErrorKind::AddrInUse);
    for step in 0..count {
        let port = first + 2 * ((start + step) % count) as u16;
        match bind_pair(local, port, options, driver) {
            Ok(pair) => return Ok(pair),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last_error = error,
            // What is wrong with the address, or with this process, is wrong with every port.
            Err(error) => return Err(error),
        }
    }
    Err(last_error)
}

/// What a client is told when there is no pair.
pub(super) fn no_pair(range: &RangeInclusive<u16>, error: &io::Error) -> Refusal {
    let (start, end) = (range.start(), range.end());
    let reason =
        format!("no UDP port pair is free between udp_port_min and udp_port_max ({start}-{end}): {error}");
    tracing::error!(%reason, "UDP refused");
    Refusal::new(Status::NOT_ENOUGH_BANDWIDTH, reason)
}

impl Shard {
    /// Takes what came on a UDP socket: of a publisher its media; of viewers reports, and the packets by which they
    /// open their routers.
    pub(super) fn handle_datagrams(&mut self, udp: Udp, from: SocketAddr, span: Span, segment: u16) {
        if let Some(arriving) = self.udp.senders.get(&udp) {
            return self.handle_arriving(*arriving, from, span, segment);
        }
        if let Some(group) = self.transmissions.on_socket(udp) {
            return datagrams(span, segment).for_each(|datagram| self.handle_group(group, from, datagram));
        }
        let first = Span { size: span.size.min(u32::from(segment.max(1))), ..span };
        let viewer = self.udp.viewer(from).or_else(|| self.move_viewer(udp, from, first));
        let Some(viewer) = viewer else {
            for datagram in datagrams(span, segment) {
                let is_feedback = self.handle_feedback(udp, from, datagram);
                self.udp.strangers += u64::from(!is_feedback);
            }
            return;
        };
        self.settle(viewer, from);
        for datagram in datagrams(span, segment) {
            // Reports are small; a copy frees the driver for what they cause.
            let bytes: smallvec::SmallVec<[u8; 512]> = self.ports.driver.bytes(datagram).into();
            self.handle_report(viewer.session, viewer.track, &bytes);
        }
    }

    /// A datagram from a session's own address but another port: a router has translated it. The first track that
    /// may still move is taken to be meant; viewers open their ports in the order of SETUP.
    fn move_viewer(&mut self, udp: Udp, from: SocketAddr, datagram: Span) -> Option<Viewer> {
        let candidates = self.udp.movable.get(&from.ip())?;
        let report = Compound::parse(self.ports.driver.bytes(datagram)).ok();
        let mut found = None;
        for key in candidates {
            let Some(session) = self.sessions.get(*key) else { continue };
            let slot = session.tracks.iter().position(|track| match &track.route {
                Route::Unicast(unicast) => {
                    let is_report = report.as_ref().is_some_and(|report| is_about(track, report));
                    let moves_reports = unicast.reports_movable && unicast.rtcp_to.is_some() && is_report;
                    (unicast.movable && unicast.rtp == udp) || (moves_reports && unicast.rtcp == udp)
                }
                Route::Interleaved { .. } | Route::Groups(_) | Route::Elsewhere => false,
            });
            if let Some(slot) = slot {
                found = Some((*key, slot));
                break;
            }
        }
        let (key, slot) = found?;
        let holder = Holder::of(self.sessions[key].id);
        // An address that another session said is its own proves nothing about this one.
        if self.claim_address(from, holder) == Claim::Refused {
            return None;
        }
        let track = &mut self.sessions[key].tracks[slot];
        let index = track.track;
        let Route::Unicast(unicast) = &mut track.route else { return None };
        let (is_media, old) =
            if unicast.rtp == udp { (true, unicast.rtp_to) } else { (false, unicast.rtcp_to?) };
        if is_media {
            unicast.rtp_to = from;
            unicast.movable = false;
        } else {
            unicast.rtcp_to = Some(from);
            unicast.reports_movable = false;
        }
        tracing::info!(session = %self.sessions[key].id, track = index, %old, new = %from, "viewer's port was translated");
        let viewer = Viewer { session: key, track: index };
        self.udp.viewers.remove(&old);
        self.ports.client_ports.release(old, holder);
        self.udp.viewers.insert(from, viewer);
        Some(viewer)
    }

    /// A datagram came from where the viewer said: its media or its reports stay there.
    fn settle(&mut self, viewer: Viewer, from: SocketAddr) {
        let Some(session) = self.sessions.get_mut(viewer.session) else { return };
        session.seen = self.now;
        for track in &mut session.tracks {
            if let Route::Unicast(unicast) = &mut track.route
                && track.track == viewer.track
            {
                unicast.movable &= unicast.rtp_to != from;
                unicast.reports_movable &= unicast.rtcp_to != Some(from);
            }
        }
    }
}

/// What came merged, one by one.
fn datagrams(span: Span, segment: u16) -> impl Iterator<Item = Span> {
    let segment = u32::from(segment.max(1));
    (0..span.size).step_by(segment as usize).map(move |offset| Span {
        buffer: span.buffer,
        offset: span.offset + offset,
        size: segment.min(span.size - offset),
    })
}

/// Whether a report may be of this track's viewer: it names the track, or nothing yet, as the first one does that only
/// opens a router. The ports of a host are no proof: programs that are gone leave late reports.
fn is_about(track: &TrackOut, report: &Compound<'_>) -> bool {
    let mut blocks = report.iter().flat_map(|packet| match packet {
        Packet::ReceiverReport { blocks, .. } | Packet::SenderReport { blocks, .. } => {
            blocks.iter().collect()
        }
        _ => Vec::new(),
    });
    let first = blocks.next();
    first.is_none_or(|first| first.ssrc == track.numbering.ssrc)
        || blocks.any(|block| block.ssrc == track.numbering.ssrc)
}
