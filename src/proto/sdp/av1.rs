//! What `a=fmtp` says of AV1: profile, level and tier of the sequence header (AV1 specification section 5.5.1).

use crate::rtp::obu::{self, Obu};

/// `profile=0;level-idx=8;tier=0` of the first operating point; None when the header is absent or cut off.
pub(super) fn fmtp(sequence_header: &[u8]) -> Option<String> {
    let (unit, _) = Obu::parse(sequence_header)?;
    if unit.kind() != obu::SEQUENCE_HEADER {
        return None;
    }
    let mut bits = Bits { bytes: unit.payload, at: 0 };
    let profile = bits.take(3)?;
    let _still_picture = bits.take(1)?;
    let (level, tier) =
        if bits.take(1)? == 1 { (bits.take(5)?, 0) } else { first_operating_point(&mut bits)? };
    Some(format!("profile={profile};level-idx={level};tier={tier}"))
}

/// Level and tier of the first operating point, behind timing and decoder model.
fn first_operating_point(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    if bits.take(1)? == 1 {
        bits.take(32)?;
        bits.take(32)?;
        if bits.take(1)? == 1 {
            bits.skip_uvlc()?;
        }
        if bits.take(1)? == 1 {
            // Lengths of delays 5, clock 32, lengths of removal and presentation times 5 each.
            bits.take(5)?;
            bits.take(32)?;
            bits.take(10)?;
        }
    }
    // Whether initial display delays follow, count of operating points, and what the first one decodes.
    bits.take(1 + 5 + 12)?;
    let level = bits.take(5)?;
    let tier = if level > 7 { bits.take(1)? } else { 0 };
    Some((level, tier))
}

/// Reads bits from the most significant on.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// Skips a number of variable length: zeros, a one, and as many bits as there were zeros.
    fn skip_uvlc(&mut self) -> Option<()> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
        }
        if zeros < 32 {
            self.take(zeros)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::fmtp;
    use proptest::prelude::*;

    #[test]
    fn profile_and_level_of_a_real_header_are_found() {
        // libaom, 640x360, main profile, level 2.1.
        let header = [0x0a, 0x0b, 0, 0, 0, 0x0c, 0xc4, 0xff, 0x67, 0x36, 0xbe, 0x40, 0x10];
        assert_eq!(fmtp(&header).as_deref(), Some("profile=0;level-idx=1;tier=0"));
        assert_eq!(fmtp(&[0x0a, 1, 0x18 | 0x05]), None);
        assert_eq!(fmtp(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = fmtp(&bytes);
            let _ = fmtp(&[&[0x08][..], &bytes].concat());
        }
    }
}
