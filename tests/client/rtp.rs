//! RTP and RTCP packets as a test sees them (RFC 3550).

use std::time::Instant;

/// One RTP packet.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) payload: Vec<u8>,
    /// Its header's extension, if it has one.
    pub(crate) extension: Option<Vec<u8>>,
    /// When it was read.
    pub(crate) at: Instant,
}

impl Packet {
    #[track_caller]
    pub(crate) fn parse(bytes: &[u8], at: Instant) -> Packet {
        assert!(
            bytes.len() > 12 && bytes[0] >> 6 == 2,
            "not an RTP packet: {:02x?}",
            &bytes[..bytes.len().min(16)]
        );
        let mut start = 12 + 4 * usize::from(bytes[0] & 0x0f);
        let fixed = start;
        if bytes[0] & 0x10 != 0 {
            start += 4 + 4 * usize::from(u16::from_be_bytes([bytes[start + 2], bytes[start + 3]]));
        }
        let padding = if bytes[0] & 0x20 != 0 { usize::from(bytes[bytes.len() - 1]) } else { 0 };
        Packet {
            marker: bytes[1] & 0x80 != 0,
            payload_type: bytes[1] & 0x7f,
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
            timestamp: word(bytes, 4),
            ssrc: word(bytes, 8),
            payload: bytes[start..bytes.len() - padding].to_vec(),
            extension: (start > fixed).then(|| bytes[fixed..start].to_vec()),
            at,
        }
    }
}

/// One packet of an RTCP compound.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Report {
    /// Sender report.
    Sender { ssrc: u32, ntp: u64, timestamp: u32, packets: u32, octets: u32 },
    /// Source description with its canonical name.
    Name { ssrc: u32, cname: String },
    /// The source has ended.
    Bye { ssrc: u32 },
    /// Anything else, by its packet type.
    Other(u8),
}

/// The packets of one RTCP compound, which must be whole.
#[track_caller]
pub(crate) fn reports(mut bytes: &[u8]) -> Vec<Report> {
    let mut reports = Vec::new();
    while !bytes.is_empty() {
        assert!(bytes.len() >= 8 && bytes[0] >> 6 == 2, "not RTCP: {bytes:02x?}");
        let size = 4 * (1 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])));
        assert!(bytes.len() >= size, "RTCP is cut short: {bytes:02x?}");
        let packet = &bytes[..size];
        let ssrc = word(packet, 4);
        reports.push(match packet[1] {
            200 => Report::Sender {
                ssrc,
                ntp: u64::from(word(packet, 8)) << 32 | u64::from(word(packet, 12)),
                timestamp: word(packet, 16),
                packets: word(packet, 20),
                octets: word(packet, 24),
            },
            202 if packet[8] == 1 => {
                let size = usize::from(packet[9]);
                Report::Name { ssrc, cname: String::from_utf8_lossy(&packet[10..10 + size]).into_owned() }
            }
            203 => Report::Bye { ssrc },
            other => Report::Other(other),
        });
        bytes = &bytes[size..];
    }
    reports
}

/// A receiver report about one source, with a source description: what a viewer sends (RFC 3550 section 6.4.2).
pub(crate) fn receiver_report(reporter: u32, source: u32, lost: u8, highest: u32) -> Vec<u8> {
    let mut bytes = vec![0x81, 201, 0, 7];
    bytes.extend(reporter.to_be_bytes());
    bytes.extend(source.to_be_bytes());
    bytes.extend([lost, 0, 0, 0]);
    bytes.extend(highest.to_be_bytes());
    bytes.extend([0; 12]);
    bytes.extend([0x81, 202, 0, 3]);
    bytes.extend(reporter.to_be_bytes());
    bytes.extend([1, 4, b't', b'e', b's', b't', 0, 0]);
    bytes
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[test]
fn a_receiver_report_is_a_whole_compound() {
    assert_eq!(
        reports(&receiver_report(1, 2, 0, 3)),
        [Report::Other(201), Report::Name { ssrc: 1, cname: "test".into() }]
    );
}
