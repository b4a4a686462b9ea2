//! H.264 (RFC 6184): single units, STAP-A and FU-A of modes 0 and 1.

use super::assembly::Assembly;
use super::units::{self, Units};
use super::{DepacketizeError, PayloadFormat};
use crate::rtp::header::Header;

#[derive(Default)]
pub(super) struct H264 {
    units: Units,
}

impl PayloadFormat for H264 {
    fn handle(&mut self, _: &Header, payload: &[u8], out: &mut Assembly) -> Result<(), DepacketizeError> {
        if is_keyframe_start(payload) {
            out.mark_keyframe();
        }
        match payload[0] & 0x1f {
            1..=23 => self.units.put(payload, out),
            STAP_A => units::aggregated(&payload[1..]).try_for_each(|unit| self.units.put(unit, out)),
            FU_A => {
                let &[indicator, head, ref fragment @ ..] = payload else {
                    return Err(DepacketizeError::Malformed("a fragment has no header"));
                };
                self.units.put_fragment(&[indicator & 0xe0 | head & 0x1f], head, fragment, out)
            }
            _ => Err(DepacketizeError::Unsupported("H.264 packets of the interleaved mode")),
        }
    }

    fn abandon(&mut self, out: &mut Assembly) {
        self.units.abandon(out);
    }
}

/// Whether the payload holds an IDR slice or a sequence parameter set, or the beginning of one.
pub(super) fn is_keyframe_start(payload: &[u8]) -> bool {
    let opens = |unit: &u8| matches!(unit & 0x1f, IDR_SLICE | SPS);
    match payload {
        [head, rest @ ..] if head & 0x1f == STAP_A => units::aggregated(rest).any(|unit| opens(&unit[0])),
        [head, fragment, ..] if head & 0x1f == FU_A => fragment & 0x80 != 0 && opens(fragment),
        [head, ..] => opens(head),
        [] => false,
    }
}

const IDR_SLICE: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
