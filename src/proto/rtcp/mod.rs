//! RTCP (RFC 3550 section 6): reports read and written, when they are due, and what they say of the network.

pub mod interval;
pub mod parse;
pub mod report;
pub mod statistics;
pub mod write;

/// Packet types (RFC 3550 section 12.1, RFC 4585 section 6.1).
mod packet_type {
    pub const SENDER_REPORT: u8 = 200;
    pub const RECEIVER_REPORT: u8 = 201;
    pub const SOURCE_DESCRIPTION: u8 = 202;
    pub const BYE: u8 = 203;
    pub const TRANSPORT_FEEDBACK: u8 = 205;
    pub const PAYLOAD_FEEDBACK: u8 = 206;
}

/// Feedback formats, in the place of a count (RFC 4585 sections 6.2.1 and 6.3.1, RFC 5104 section 4.3.1).
mod feedback_format {
    pub const NACK: u8 = 1;
    pub const PICTURE_LOSS_INDICATION: u8 = 1;
    pub const FULL_INTRA_REQUEST: u8 = 4;
}

/// The item of a source description that every compound packet must have (RFC 3550 section 6.5.1).
const CNAME: u8 = 1;

/// Whether a packet on a port that carries both is RTCP (RFC 5761 section 4): its second byte, in RTP the marker and
/// a payload type of 64 to 95, is one of RTCP's packet types.
pub fn is_rtcp(packet: &[u8]) -> bool {
    packet.get(1).is_some_and(|byte| (192..224).contains(byte))
}
