//! The parts that sender and receiver reports share (RFC 3550 section 6.4).

use bytes::BufMut;

use crate::time::NtpTime;

/// What a sender says of its own stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// The sender.
    pub ssrc: u32,
    /// Wall clock at the time of the report.
    pub ntp: NtpTime,
    /// The same moment on the clock of the stream's RTP timestamps.
    pub rtp: u32,
    /// Count of packets sent since the beginning, wrapping.
    pub packets: u32,
    /// Bytes of payload in them, wrapping.
    pub octets: u32,
}

/// What a receiver says of one sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The sender.
    pub ssrc: u32,
    /// Packets lost of those expected since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; negative where duplicates came. 24 bits on the wire.
    pub cumulative_lost: i32,
    /// Highest sequence number received; the upper half counts its wraps.
    pub highest_sequence: u32,
    /// Jitter of arrival in ticks of the RTP clock.
    pub jitter: u32,
    /// Middle 32 bits of the last sender report's NTP time; 0 = none has come.
    pub last_sr: u32,
    /// From that report's arrival to this one's leaving, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    /// Bytes on the wire.
    pub const BYTES: usize = 24;

    pub(super) fn parse(bytes: &[u8; Self::BYTES]) -> ReportBlock {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        ReportBlock {
            ssrc: word(0),
            fraction_lost: bytes[4],
            // The lower 24 bits, with their sign.
            cumulative_lost: (word(4) << 8) as i32 >> 8,
            highest_sequence: word(8),
            jitter: word(12),
            last_sr: word(16),
            delay_since_last_sr: word(20),
        }
    }

    pub(super) fn write(&self, out: &mut impl BufMut) {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        out.put_u32(self.ssrc);
        out.put_u32(u32::from(self.fraction_lost) << 24 | lost);
        out.put_u32(self.highest_sequence);
        out.put_u32(self.jitter);
        out.put_u32(self.last_sr);
        out.put_u32(self.delay_since_last_sr);
    }
}
