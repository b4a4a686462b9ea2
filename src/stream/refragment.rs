//! Packets of a publisher that no datagram holds are cut once, where they enter, for all viewers.

use proto::onvif::replay::EXTENSION_BYTES;
use proto::rtp::batch::BatchWriter;
use proto::rtp::header::Header;
use proto::rtp::packetize::MTU_BYTES_DEFAULT;
use proto::rtp::refragment::{RefragmentError, refragment};
use proto::srtp::MKI_BYTES_MAX;
use proto::track::Codec;

/// How large packets may be, in bytes with their RTP headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketSizes {
    /// The largest packet that is passed on as it came: what a datagram holds.
    pub whole_bytes_max: usize,
    /// The largest piece of one that is cut: what the packets made here are.
    pub piece_bytes_max: usize,
    /// What a datagram holds.
    pub datagram_bytes_max: usize,
}

/// What a packet becomes longer by when it is encrypted: what authenticates it, and the name of its key.
pub const ENCRYPTION_BYTES_MAX: usize = 16 + MKI_BYTES_MAX;

/// An Ethernet frame of 1500 bytes without the headers of UDP (8) and IPv4 (20) or IPv6 (40).
const DATAGRAM_BYTES_IPV4: usize = 1_472;
const DATAGRAM_BYTES_IPV6: usize = 1_452;

impl PacketSizes {
    /// For packets of `mtu_bytes`. Publishers may send somewhat larger ones, which a frame of Ethernet holds as well;
    /// `has_ipv6` says that viewers may come over IPv6.
    pub fn new(mtu_bytes: usize, has_ipv6: bool) -> PacketSizes {
        let datagram = if has_ipv6 { DATAGRAM_BYTES_IPV6 } else { DATAGRAM_BYTES_IPV4 };
        let datagram_bytes_max = datagram.max(mtu_bytes);
        PacketSizes { whole_bytes_max: datagram_bytes_max, piece_bytes_max: mtu_bytes, datagram_bytes_max }
    }

    /// The same for packets that leave encrypted, too.
    pub fn for_encryption(self) -> PacketSizes {
        let whole = self.datagram_bytes_max - ENCRYPTION_BYTES_MAX;
        PacketSizes {
            whole_bytes_max: self.whole_bytes_max.min(whole),
            piece_bytes_max: self.piece_bytes_max.min(whole),
            ..self
        }
    }

    /// Whether a packet fits into a datagram when it is encrypted.
    pub fn holds_encrypted(self, packet_bytes: usize) -> bool {
        packet_bytes + ENCRYPTION_BYTES_MAX <= self.datagram_bytes_max
    }

    /// Whether packets that are made here fit into a datagram with the header extension of recordings, encrypted or not.
    pub fn hold_extended(self, is_secure: bool) -> bool {
        let encryption = if is_secure { ENCRYPTION_BYTES_MAX } else { 0 };
        self.piece_bytes_max + EXTENSION_BYTES + encryption <= self.datagram_bytes_max
    }

    /// Writes a packet under the writer's numbers: as it came, or in pieces. The error says why one that is too large
    /// was written as it came.
    pub(super) fn write(
        &self,
        codec: &Codec,
        header: &Header,
        packet: &[u8],
        payload: &[u8],
        writer: &mut BatchWriter,
    ) -> Result<(), RefragmentError> {
        if packet.len() <= self.whole_bytes_max {
            writer.forward(packet);
            return Ok(());
        }
        let result = refragment(
            codec,
            header.marker,
            Header::extension(packet),
            payload,
            self.piece_bytes_max,
            writer,
        );
        if result.is_err() {
            writer.forward(packet);
        }
        result
    }
}

impl Default for PacketSizes {
    fn default() -> PacketSizes {
        PacketSizes::new(MTU_BYTES_DEFAULT, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_ethernet_frame_holds_stays_whole_whatever_the_mtu() {
        let sizes = |mtu, has_ipv6| {
            let sizes = PacketSizes::new(mtu, has_ipv6);
            (sizes.whole_bytes_max, sizes.piece_bytes_max)
        };
        assert_eq!(sizes(1_400, false), (1_472, 1_400));
        assert_eq!(sizes(1_400, true), (1_452, 1_400));
        assert_eq!(sizes(576, false), (1_472, 576));
        assert_eq!(sizes(9_000, true), (9_000, 9_000));
        let encrypted = PacketSizes::new(1_400, false).for_encryption();
        assert_eq!((encrypted.whole_bytes_max, encrypted.piece_bytes_max), (1_448, 1_400));
        assert_eq!(encrypted.for_encryption(), encrypted);
        assert!(encrypted.holds_encrypted(1_448) && !encrypted.holds_encrypted(1_449));
        assert_eq!(PacketSizes::new(1_472, false).for_encryption().piece_bytes_max, 1_448);
    }
}
