//! NAL units as they stand in a frame: behind start codes or behind lengths.

use memchr::memmem;
use smallvec::SmallVec;

use crate::track::Framing;

/// The units of one frame, in order.
pub(super) type Units<'a> = SmallVec<[&'a [u8]; 16]>;

/// What every start code ends with; a longer one has zeros in front, which belong to no unit.
const START_CODE: &[u8] = &[0, 0, 1];

/// Finds the units of a frame; empty ones are left out. None when a length leads beyond the frame.
pub(super) fn units(payload: &[u8], framing: Framing) -> Option<Units<'_>> {
    match framing {
        Framing::AnnexB => Some(annex_b_units(payload)),
        Framing::Length(bytes) => length_units(payload, usize::from(bytes)),
    }
}

/// Units between start codes. Bytes in front of the first start code are no unit, and neither are zeros behind one
/// (`trailing_zero_8bits`: a unit never ends with a zero byte, ITU-T H.264 section 7.4.1).
fn annex_b_units(payload: &[u8]) -> Units<'_> {
    let mut units = Units::new();
    let mut starts = memmem::find_iter(payload, START_CODE).map(|at| at + START_CODE.len());
    let Some(mut start) = starts.next() else { return units };
    for next in starts {
        push_trimmed(&mut units, &payload[start..next - START_CODE.len()]);
        start = next;
    }
    push_trimmed(&mut units, &payload[start..]);
    units
}

fn push_trimmed<'a>(units: &mut Units<'a>, unit: &'a [u8]) {
    let size = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if size > 0 {
        units.push(&unit[..size]);
    }
}

fn length_units(mut payload: &[u8], length_bytes: usize) -> Option<Units<'_>> {
    let mut units = Units::new();
    if !(1..=4).contains(&length_bytes) {
        return None;
    }
    while !payload.is_empty() {
        let (length, rest) = payload.split_at_checked(length_bytes)?;
        let length = length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        if !unit.is_empty() {
            units.push(unit);
        }
        payload = rest;
    }
    Some(units)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn start_codes_of_three_and_four_bytes_and_trailing_zeros_are_no_part_of_a_unit() {
        let payload = [9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0, 0, 1, 0x65, 0, 3, 0, 0];
        let found = units(&payload, Framing::AnnexB).unwrap();
        assert_eq!(found.to_vec(), [&[0x67, 1][..], &[0x68, 2], &[0x65, 0, 3]]);
    }

    #[test]
    fn lengths_of_one_to_four_bytes_are_read_and_a_false_one_is_refused() {
        assert_eq!(units(&[0, 2, 7, 8, 0, 1, 9], Framing::Length(2)).unwrap().to_vec(), [&[7, 8][..], &[9]]);
        assert_eq!(units(&[2, 7, 8, 0, 1, 9], Framing::Length(1)).unwrap().to_vec(), [&[7, 8][..], &[9]]);
        assert!(units(&[0, 0, 0, 3, 7, 8], Framing::Length(4)).is_none());
        assert!(units(&[0, 0, 0], Framing::Length(4)).is_none());
        assert!(units(&[1, 1], Framing::Length(0)).is_none());
    }

    proptest! {
        #[test]
        fn units_written_with_start_codes_are_found_again(
            written in prop::collection::vec(prop::collection::vec(1u8.., 1..40), 1..8), long: bool,
        ) {
            let mut payload = Vec::new();
            for unit in &written {
                payload.extend_from_slice(if long { &[0, 0, 0, 1] } else { &[0, 0, 1] });
                payload.extend_from_slice(unit);
            }
            let found = units(&payload, Framing::AnnexB).unwrap();
            prop_assert_eq!(found.to_vec(), written.iter().map(Vec::as_slice).collect::<Vec<_>>());
        }
    }
}
