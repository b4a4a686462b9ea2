//! A time stamp inside a picture: an SEI message "user data unregistered" (ITU-T H.264 sections D.1.7 and D.2.7).
//!
//! ```text
//! | 06 | 05 | size | UUID (16) | clock (8) | moment in ns (16) | picture (8) | K or P | filler … | 80 |
//! ```
//!
//! Numbers are hexadecimal digits and the filler is no zero, so that no start code can be emulated.

/// What a stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Whose clock [`Stamp::sent_ns`] is read from: [`crate::clock::identity`].
    pub clock: u32,
    /// When the picture was handed to the sender's socket.
    pub sent_ns: u64,
    /// Counts the sender's pictures.
    pub picture: u32,
    /// Whether decoding can begin with the picture.
    pub is_keyframe: bool,
}

impl Stamp {
    /// The NAL unit that carries the stamp, `unit_bytes` long where that is at least [`UNIT_BYTES_MIN`]; one byte less
    /// where no message has that length.
    ///
    /// A unit as large as the sender's other packets leaves the picture one train of equal packets; a small one in
    /// front would make it two and so measure another send than that of a picture without a stamp.
    pub fn to_unit(self, unit_bytes: usize) -> Vec<u8> {
        let unit_bytes = unit_bytes.max(UNIT_BYTES_MIN);
        // Type, payload type and the trailing bits take a byte each, the size one for every 255 begun.
        let mut size = unit_bytes - 4;
        while 2 + size / 255 + 1 + size + 1 > unit_bytes {
            size -= 1;
        }
        let mut unit = Vec::with_capacity(unit_bytes);
        unit.extend([SEI, USER_DATA_UNREGISTERED]);
        unit.extend(std::iter::repeat_n(255, size / 255));
        unit.push((size % 255) as u8);
        let end = unit.len() + size;
        unit.extend(UUID);
        let kind = if self.is_keyframe { 'K' } else { 'P' };
        unit.extend(format!("{:08x}{:016x}{:08x}{kind}", self.clock, self.sent_ns, self.picture).bytes());
        unit.resize(end, FILLER);
        unit.push(0x80);
        unit
    }

    /// Finds a stamp near the begin of a packet; None when there is none.
    pub fn find(packet: &[u8]) -> Option<Stamp> {
        let near = &packet[..packet.len().min(SEARCHED_BYTES)];
        let at = near.windows(UUID.len()).position(|window| window == UUID)? + UUID.len();
        let digits = near.get(at..at + DIGITS)?;
        let text = std::str::from_utf8(digits).ok()?;
        let hex = |range: std::ops::Range<usize>| u64::from_str_radix(text.get(range)?, 16).ok();
        let is_keyframe = match text.as_bytes()[32] {
            b'K' => true,
            b'P' => false,
            _ => return None,
        };
        Some(Stamp {
            clock: hex(0..8)? as u32,
            sent_ns: hex(8..24)?,
            picture: hex(24..32)? as u32,
            is_keyframe,
        })
    }
}

/// NAL unit type.
const SEI: u8 = 6;

/// SEI payload type.
const USER_DATA_UNREGISTERED: u8 = 5;

/// Chosen by chance, for this use alone.
const UUID: [u8; 16] = *b"\x9b\x71\xc4\xe2\x5d\x3f\x4a\x86\xb1\x9e\xd7\x60\x2c\x8f\x15\xa4";

/// Clock, moment, picture and kind.
const DIGITS: usize = 8 + 16 + 8 + 1;

/// The smallest unit: type, payload type, size, content, trailing bits.
pub const UNIT_BYTES_MIN: usize = 3 + UUID.len() + DIGITS + 1;

const FILLER: u8 = b'.';

/// A stamp stands in front of the picture, behind headers and perhaps parameter sets in the same packet.
pub const SEARCHED_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_found(clock: u32, sent_ns: u64, picture: u32, is_keyframe: bool, bytes in 0usize..2_000, before in 0usize..100) {
            let stamp = Stamp { clock, sent_ns, picture, is_keyframe };
            let unit = stamp.to_unit(bytes);
            prop_assert!(bytes.max(UNIT_BYTES_MIN) - unit.len() <= 1, "{}", unit.len());
            prop_assert!(!unit.windows(2).any(|pair| pair == [0, 0]), "no start code is emulated");
            let packet = [vec![0x67; before], unit].concat();
            prop_assert_eq!(Stamp::find(&packet), Some(stamp));
        }

        #[test]
        fn any_bytes_are_searched_without_panic(mut bytes: Vec<u8>, at in 0usize..64) {
            prop_assert_eq!(Stamp::find(&bytes), None);
            bytes.splice(at.min(bytes.len()).., UUID);
            prop_assert_eq!(Stamp::find(&bytes), None, "it is cut off");
        }
    }

    #[test]
    fn the_size_is_that_of_the_message() {
        for bytes in UNIT_BYTES_MIN..1_500 {
            let unit = Stamp { clock: 1, sent_ns: 2, picture: 3, is_keyframe: true }.to_unit(bytes);
            let more = unit[2..].iter().take_while(|byte| **byte == 255).count();
            let size = 255 * more + usize::from(unit[2 + more]);
            // Filler that the message does not count would be a second message.
            assert_eq!(2 + more + 1 + size + 1, unit.len(), "{bytes}");
        }
    }
}
