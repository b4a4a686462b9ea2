//! One track on its way to one viewer: where it goes, under which numbers, and what was sent.

use std::net::SocketAddr;
use std::sync::Arc;

use proto::io::{Op, Pieces, Udp};
use proto::rtcp::interval::Interval;
use proto::rtcp::statistics::ReceiverView;
use proto::rtp::batch::{Batch, Train};
use proto::time::Time;

use super::heads::Heads;
use super::numbering::Numbering;
use super::protection::Protection;

/// Where a track goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// On the session's own connection.
    Interleaved {
        /// Channel of media.
        rtp: u8,
        /// Channel of reports.
        rtcp: u8,
    },
    /// As datagrams.
    Unicast(Unicast),
    /// As datagrams to all who listen.
    Groups(GroupRoute),
    /// Nowhere: another session sends it to the group that the viewer listens to.
    Elsewhere,
}

/// Two sockets of ours and a group with its two ports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupRoute {
    /// Our socket for media.
    pub rtp: Udp,
    /// Our socket for reports.
    pub rtcp: Udp,
    /// The group for media.
    pub rtp_to: SocketAddr,
    /// The group for reports.
    pub rtcp_to: SocketAddr,
}

/// Two sockets of ours and two addresses of the viewer's.
#[derive(Clone, Debug, PartialEq)]
pub struct Unicast {
    /// Our socket for media.
    pub rtp: Udp,
    /// Our socket for reports.
    pub rtcp: Udp,
    /// The viewer's address for media.
    pub rtp_to: SocketAddr,
    /// The viewer's address for reports; None when it asked for a single port.
    pub rtcp_to: Option<SocketAddr>,
    /// Whether media may still move to the port that the viewer's own datagrams come from (a translating router).
    pub movable: bool,
    /// Whether reports may still do so.
    pub reports_movable: bool,
}

/// One track of one viewer.
#[derive(Debug)]
pub struct TrackOut {
    /// Index of the track in its presentation.
    pub track: u8,
    /// RTP clock in hertz.
    pub clock_rate: u32,
    /// Its URL as SETUP gave it: players compare the one in `RTP-Info` with it as text.
    pub url: String,
    /// Where it goes.
    pub route: Route,
    /// From the shared numbers to this viewer's.
    pub numbering: Numbering,
    /// SRTP; None where packets leave as they are.
    pub protection: Option<Box<Protection>>,
    /// Sequence number of the next packet; None until the first one decides it.
    pub next_sequence: Option<u16>,
    /// What a sender report states.
    pub sent: Sent,
    /// What the viewer's reports say.
    pub heard: ReceiverView,
    /// How far apart sender reports are.
    pub interval: Interval,
    /// When the next sender report is due; None while nothing plays.
    pub report_at: Option<Time>,
    /// Whether this track flows: PAUSE of one track's URL stops that track alone.
    pub enabled: bool,
    /// Whether it flows again only from its next keyframe on: what lies between was not sent.
    pub awaits_keyframe: bool,
}

/// What was sent since the synchronization source began (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Packets.
    pub packets: u32,
    /// Octets of payload.
    pub octets: u32,
}

impl TrackOut {
    /// A track that flows under the shared numbers, before its first packet.
    pub fn new(
        track: u8,
        clock_rate: u32,
        url: String,
        route: Route,
        ssrc: u32,
        interval: Interval,
    ) -> TrackOut {
        TrackOut {
            track,
            clock_rate,
            url,
            route,
            numbering: Numbering::identity(ssrc),
            protection: None,
            next_sequence: None,
            sent: Sent::default(),
            heard: ReceiverView::default(),
            interval,
            report_at: None,
            enabled: true,
            awaits_keyframe: false,
        }
    }

    /// A batch as it is to leave: protected under the viewer's numbers where there is SRTP.
    pub fn protected(&self, batch: Arc<Batch>) -> Arc<Batch> {
        match &self.protection {
            Some(protection) => protection.protector.borrow_mut().protect(&batch, &self.numbering),
            None => batch,
        }
    }

    /// Adds a batch, as [`TrackOut::protected`] gave it, to what leaves next on the session's connection. Whether others
    /// have the same batch says `is_shared`.
    pub fn gather(
        &mut self,
        batch: &Arc<Batch>,
        channel: u8,
        is_shared: bool,
        heads: &mut Heads,
        pieces: &mut Pieces,
    ) {
        let is_shared = is_shared && self.protection.is_none();
        pieces.push(heads.interleaved(batch, channel, &self.numbering_of(batch), is_shared));
        let packets = batch.packets().len() as u32;
        self.count(packets, batch.payload_octets() - packets * self.overhead_octets());
    }

    /// The send of one train.
    pub fn datagrams(
        &mut self,
        to: &Destination,
        batch: &Arc<Batch>,
        train: &Train,
        heads: &mut Heads,
    ) -> Op {
        let piece = heads.datagrams(batch, train, &self.numbering_of(batch));
        let (first, count) = (train.first as usize, train.count as usize);
        let heads = batch.header_octets(first..first + count);
        self.count(train.count, train.bytes - heads - self.overhead_octets() * train.count);
        Op::SendTo { udp: to.udp, to: to.address, piece, segment: train.segment }
    }

    /// The viewer's UDP addresses: for media, then for reports.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let (rtp, rtcp) = match &self.route {
            Route::Unicast(unicast) => (Some(unicast.rtp_to), unicast.rtcp_to),
            Route::Interleaved { .. } | Route::Groups(_) | Route::Elsewhere => (None, None),
        };
        rtp.into_iter().chain(rtcp)
    }

    /// Where media leaves to, for a track that goes as datagrams.
    pub fn media_to(&self) -> Option<Destination> {
        match &self.route {
            Route::Unicast(unicast) => Some(Destination { udp: unicast.rtp, address: unicast.rtp_to }),
            Route::Groups(groups) => Some(Destination { udp: groups.rtp, address: groups.rtp_to }),
            Route::Interleaved { .. } | Route::Elsewhere => None,
        }
    }

    /// Where reports leave to, for a track that goes as datagrams and has any.
    pub fn reports_to(&self) -> Option<Destination> {
        match &self.route {
            Route::Unicast(unicast) => Some(Destination { udp: unicast.rtcp, address: unicast.rtcp_to? }),
            Route::Groups(groups) => Some(Destination { udp: groups.rtcp, address: groups.rtcp_to }),
            Route::Interleaved { .. } | Route::Elsewhere => None,
        }
    }

    /// What is protected has the viewer's numbers already.
    fn numbering_of(&self, batch: &Batch) -> Numbering {
        match self.protection {
            Some(_) => Numbering::identity(batch.ssrc()),
            None => self.numbering,
        }
    }

    /// Octets of a packet that are no payload.
    fn overhead_octets(&self) -> u32 {
        self.protection.as_ref().map_or(0, |it| it.protector.borrow().overhead_bytes() as u32)
    }

    fn count(&mut self, packets: u32, octets: u32) {
        self.sent.packets = self.sent.packets.wrapping_add(packets);
        self.sent.octets = self.sent.octets.wrapping_add(octets);
    }
}

/// One of our sockets, and an address of the viewer's or a group's.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    /// From.
    pub udp: Udp,
    /// To.
    pub address: SocketAddr,
}
