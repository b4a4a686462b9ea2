//! Packets as they went over the wire, in the file format of tcpdump and Wireshark (pcap 2.4, link type RAW).
//!
//! Sockets show payloads alone, so heads of IP, UDP and TCP are made here: addresses, ports, lengths and sequence numbers
//! are true, what the kernel chose beyond that is not known.

use std::net::{IpAddr, SocketAddr};

use crate::time::NtpTime;

/// Bytes of the file's head.
const FILE_HEAD_BYTES: usize = 24;

/// Times are in nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;

/// Packets begin with the head of IP, version 4 or 6.
const LINK_TYPE_RAW: u32 = 101;

/// Bytes of one packet, its heads included.
const PACKET_BYTES_MAX: usize = 65_535;

/// Bytes of payload in one segment: what lies behind the heads of IPv6 and TCP.
const SEGMENT_BYTES_MAX: usize = PACKET_BYTES_MAX - 40 - TCP_BYTES;

const UDP_BYTES: usize = 8;
const TCP_BYTES: usize = 20;

/// Protocol numbers of IP.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// ACK and PSH.
const TCP_FLAGS: u8 = 0x18;

/// One direction of something on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Who sends.
    pub from: SocketAddr,
    /// Who receives; of the same version of IP.
    pub to: SocketAddr,
}

/// A file that grows up to a bound.
#[derive(Debug)]
pub struct Pcap {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl Pcap {
    /// An empty file that will have no more than so many bytes; at least its head.
    pub fn new(bytes_max: usize) -> Pcap {
        let mut bytes = Vec::with_capacity(FILE_HEAD_BYTES);
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        bytes.extend_from_slice(&2u16.to_le_bytes());
        bytes.extend_from_slice(&4u16.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&(PACKET_BYTES_MAX as u32).to_le_bytes());
        bytes.extend_from_slice(&LINK_TYPE_RAW.to_le_bytes());
        Pcap { bytes, bytes_max }
    }

    /// Adds a datagram of at most 65,487 bytes; false when it does not fit any more.
    pub fn datagram(&mut self, at: NtpTime, direction: Direction, payload: &[u8]) -> bool {
        let mut head = [0; UDP_BYTES];
        head[..2].copy_from_slice(&direction.from.port().to_be_bytes());
        head[2..4].copy_from_slice(&direction.to.port().to_be_bytes());
        head[4..6].copy_from_slice(&((UDP_BYTES + payload.len()) as u16).to_be_bytes());
        self.packet(at, direction, UDP, &head, payload)
    }

    /// Adds bytes of a connection, of which `sequence` went before in this direction and `acknowledged` in the other one;
    /// false when they do not fit any more.
    pub fn segment(
        &mut self,
        at: NtpTime,
        direction: Direction,
        (sequence, acknowledged): (u32, u32),
        payload: &[u8],
    ) -> bool {
        let mut sequence = sequence;
        payload.chunks(SEGMENT_BYTES_MAX).all(|part| {
            let mut head = [0; TCP_BYTES];
            head[..2].copy_from_slice(&direction.from.port().to_be_bytes());
            head[2..4].copy_from_slice(&direction.to.port().to_be_bytes());
            head[4..8].copy_from_slice(&sequence.to_be_bytes());
            head[8..12].copy_from_slice(&acknowledged.to_be_bytes());
            head[12] = (TCP_BYTES as u8 / 4) << 4;
            head[13] = TCP_FLAGS;
            head[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
            sequence = sequence.wrapping_add(part.len() as u32);
            self.packet(at, direction, TCP, &head, part)
        })
    }

    /// The file.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn packet(
        &mut self,
        at: NtpTime,
        direction: Direction,
        protocol: u8,
        head: &[u8],
        payload: &[u8],
    ) -> bool {
        let inner = head.len() + payload.len();
        let mut ip = [0; 40];
        let ip = match (direction.from.ip().to_canonical(), direction.to.ip().to_canonical()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ip[0] = 0x45;
                ip[2..4].copy_from_slice(&((20 + inner) as u16).to_be_bytes());
                ip[8] = 64;
                ip[9] = protocol;
                ip[12..16].copy_from_slice(&from.octets());
                ip[16..20].copy_from_slice(&to.octets());
                let sum = checksum(&ip[..20]);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                &ip[..20]
            }
            (from, to) => {
                let octets = |ip| match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                };
                ip[0] = 0x60;
                ip[4..6].copy_from_slice(&(inner as u16).to_be_bytes());
                ip[6] = protocol;
                ip[7] = 64;
                ip[8..24].copy_from_slice(&octets(from));
                ip[24..].copy_from_slice(&octets(to));
                &ip[..]
            }
        };
        let size = ip.len() + inner;
        if size > PACKET_BYTES_MAX || self.bytes.len() + 16 + size > self.bytes_max {
            return false;
        }
        let since_1970 = at.to_unix();
        self.bytes.extend_from_slice(&(since_1970.as_secs() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&since_1970.subsec_nanos().to_le_bytes());
        self.bytes.extend_from_slice(&(size as u32).to_le_bytes());
        self.bytes.extend_from_slice(&(size as u32).to_le_bytes());
        for part in [ip, head, payload] {
            self.bytes.extend_from_slice(part);
        }
        true
    }
}

/// The checksum of IP's head (RFC 1071), whose own field is zero.
fn checksum(head: &[u8]) -> u16 {
    let words = head.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at() -> NtpTime {
        NtpTime::from_unix(Duration::new(1_700_000_000, 500_000_000))
    }

    fn between(from: &str, to: &str) -> Direction {
        Direction { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    #[test]
    fn a_datagram_is_as_the_format_has_it() {
        let mut pcap = Pcap::new(1_000);
        assert!(pcap.datagram(at(), between("192.0.2.1:5000", "192.0.2.2:6000"), b"abc"));
        let bytes = pcap.into_bytes();
        assert_eq!(bytes[..4], [0x4d, 0x3c, 0xb2, 0xa1]);
        assert_eq!(bytes[20..28], [101, 0, 0, 0, 0x00, 0xf1, 0x53, 0x65]);
        let packet = &bytes[40..];
        assert_eq!(bytes[32..36], 31u32.to_le_bytes());
        assert_eq!(packet.len(), 31);
        // The sum over a right head, its field included, is all ones.
        assert_eq!(checksum(&packet[..20]), 0);
        assert_eq!(packet[9], UDP);
        assert_eq!(packet[20..], [0x13, 0x88, 0x17, 0x70, 0, 11, 0, 0, b'a', b'b', b'c']);
    }

    #[test]
    fn a_long_send_becomes_segments_that_follow_each_other() {
        let mut pcap = Pcap::new(1_000_000);
        let payload = vec![7; SEGMENT_BYTES_MAX + 5];
        assert!(pcap.segment(at(), between("[::1]:554", "[::1]:6000"), (u32::MAX, 3), &payload));
        let bytes = pcap.into_bytes();
        let second = &bytes[FILE_HEAD_BYTES + 16 + 40 + TCP_BYTES + SEGMENT_BYTES_MAX + 16..];
        assert_eq!(second.len(), 40 + TCP_BYTES + 5);
        assert_eq!(second[44..48], (SEGMENT_BYTES_MAX as u32 - 1).to_be_bytes());
        assert_eq!(second[48..52], 3u32.to_be_bytes());
    }

    proptest! {
        #[test]
        fn it_never_grows_beyond_its_bound(sizes in prop::collection::vec(0usize..70_000, 0..20), max in 24usize..200_000) {
            let mut pcap = Pcap::new(max);
            for size in sizes {
                let payload = vec![0; size];
                let direction = between("192.0.2.1:5000", "192.0.2.2:6000");
                pcap.datagram(at(), direction, &payload);
                pcap.segment(at(), direction, (0, 0), &payload);
            }
            prop_assert!(pcap.into_bytes().len() <= max);
        }
    }
}
