//! H.265 (RFC 7798): single units, aggregation packets and fragments, without decoding order numbers.

use super::assembly::Assembly;
use super::units::{self, Units};
use super::{DepacketizeError, PayloadFormat};
use crate::rtp::header::Header;

#[derive(Default)]
pub(super) struct H265 {
    units: Units,
}

impl PayloadFormat for H265 {
    fn handle(&mut self, _: &Header, payload: &[u8], out: &mut Assembly) -> Result<(), DepacketizeError> {
        if is_keyframe_start(payload) {
            out.mark_keyframe();
        }
        let &[first, second, ref rest @ ..] = payload else {
            return Err(DepacketizeError::Malformed("a unit has no header"));
        };
        match unit_type(first) {
            0..=47 => self.units.put(payload, out),
            AGGREGATION => units::aggregated(rest).try_for_each(|unit| self.units.put(unit, out)),
            FRAGMENT => {
                let (&head, fragment) =
                    rest.split_first().ok_or(DepacketizeError::Malformed("a fragment has no header"))?;
                self.units.put_fragment(&[first & 0x81 | (head & 0x3f) << 1, second], head, fragment, out)
            }
            _ => Err(DepacketizeError::Unsupported("H.265 packets with payload content information")),
        }
    }

    fn abandon(&mut self, out: &mut Assembly) {
        self.units.abandon(out);
    }
}

/// Whether the payload holds a slice of a random access picture or a video or sequence parameter set, or the beginning
/// of one.
pub(super) fn is_keyframe_start(payload: &[u8]) -> bool {
    let opens = |kind: u8| matches!(kind, 16..=23 | VPS | SPS);
    match payload {
        [head, _, rest @ ..] if unit_type(*head) == AGGREGATION => {
            units::aggregated(rest).any(|unit| opens(unit_type(unit[0])))
        }
        [head, _, fragment, ..] if unit_type(*head) == FRAGMENT => {
            fragment & 0x80 != 0 && opens(fragment & 0x3f)
        }
        [head, ..] => opens(unit_type(*head)),
        [] => false,
    }
}

fn unit_type(first: u8) -> u8 {
    first >> 1 & 0x3f
}

const VPS: u8 = 32;
const SPS: u8 = 33;
const AGGREGATION: u8 = 48;
const FRAGMENT: u8 = 49;
