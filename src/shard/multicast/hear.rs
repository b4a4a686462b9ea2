//! What receivers of groups report: to their group, or to the address that its packets come from.

use std::net::SocketAddr;

use proto::io::{Span, Udp};
use proto::rtcp::interval::Members;
use proto::rtcp::parse::{Compound, Packet};

use super::{FromHome, TransmissionKey};
use crate::egress::track::TrackOut;
use crate::shard::turn::Shard;

impl Shard {
    /// Takes what came to a group. Of our own reports, which come back, nothing is to be learned.
    pub(in crate::shard) fn handle_group(
        &mut self,
        (key, track): (TransmissionKey, u8),
        from: SocketAddr,
        datagram: Span,
    ) {
        let is_member =
            (self.transmissions.get(key)).is_some_and(|transmission| transmission.has_member_at(from.ip()));
        if !is_member {
            self.udp.strangers += 1;
            return;
        }
        let bytes: smallvec::SmallVec<[u8; 512]> = self.ports.driver.bytes(datagram).into();
        let ssrc = self.transmissions.get(key).map(|transmission| transmission.offer.mount.ssrc(track));
        let is_our_own = Compound::parse(&bytes).is_ok_and(|compound| {
            compound
                .iter()
                .any(|packet| matches!(packet, Packet::SenderReport { info, .. } if Some(info.ssrc) == ssrc))
        });
        if !is_our_own {
            self.member_reports(key, track, from, &bytes);
        }
    }

    /// Takes what came to our own address from one that no viewer has: receivers of a group report there as well, those
    /// of one source even must. Whether it was such a report.
    pub(in crate::shard) fn handle_feedback(&mut self, udp: Udp, from: SocketAddr, datagram: Span) -> bool {
        let bytes: smallvec::SmallVec<[u8; 512]> = self.ports.driver.bytes(datagram).into();
        let Ok(compound) = Compound::parse(&bytes) else { return false };
        let about = compound.iter().find_map(|packet| match packet {
            Packet::ReceiverReport { blocks, .. } | Packet::SenderReport { blocks, .. } => {
                blocks.iter().next().map(|block| block.ssrc)
            }
            _ => None,
        });
        let Some(about) = about else { return false };
        let mut track = None;
        let key = self.transmissions.heard_by(from.ip(), |transmission| {
            let session = transmission.sender.and_then(|sender| self.sessions.get(sender));
            let sent = session.and_then(|session| {
                let is_sent_here = |track: &TrackOut| track.reports_to().is_some_and(|to| to.udp == udp);
                session.tracks.iter().find(|track| track.numbering.ssrc == about && is_sent_here(track))
            });
            track = sent.map(|track| track.track);
            track.is_some()
        });
        let (Some(key), Some(track)) = (key, track) else { return false };
        self.member_reports(key, track, from, &bytes);
        true
    }

    /// How many take part in a transmission.
    pub(in crate::shard) fn members_of(&self, key: TransmissionKey) -> Members {
        let members = self.transmissions.get(key).map_or(0, |transmission| transmission.member_count());
        Members { count: 1 + members as u32, senders: 1, we_send: true }
    }

    fn member_reports(&mut self, key: TransmissionKey, track: u8, from: SocketAddr, bytes: &[u8]) {
        let Some(transmission) = self.transmissions.get_mut(key) else { return };
        let alive = transmission.show_life(from.ip(), self.now);
        let sender = transmission.sender;
        for member in alive {
            self.tell_member(member.shard(), FromHome::Heard(member));
        }
        if let Some(sender) = sender {
            self.handle_report(sender, track, bytes);
        }
    }
}
