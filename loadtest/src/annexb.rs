//! Reads H.264 as files have it, with start codes (ITU-T H.264 annex B), as pictures.

/// One access unit of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its NAL units, parameter sets among them, without start codes.
    pub parts: Vec<Vec<u8>>,
    /// Whether decoding can begin here.
    pub is_keyframe: bool,
}

/// The access units of a file in order.
pub fn access_units(bytes: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut open = Unit { parts: Vec::new(), is_keyframe: false };
    let mut has_slice = false;
    for part in parts(bytes) {
        let kind = part[0] & 0x1f;
        let is_slice = matches!(kind, 1..=5);
        // Section 7.4.1.2.3: what may stand before the first slice begins a unit, and so does a slice whose
        // first_mb_in_slice is 0, which is the single bit 1.
        let begins =
            matches!(kind, 6..=9 | 14..=18) || is_slice && part.get(1).is_some_and(|byte| byte & 0x80 != 0);
        if has_slice && begins {
            units.push(std::mem::replace(&mut open, Unit { parts: Vec::new(), is_keyframe: false }));
            has_slice = false;
        }
        has_slice |= is_slice;
        open.is_keyframe |= kind == 5;
        // Delimiters are of no use in RTP.
        if kind != 9 {
            open.parts.push(part.to_vec());
        }
    }
    if has_slice {
        units.push(open);
    }
    units
}

/// What lies between start codes; zeros behind a unit belong to the next start code.
fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<usize> =
        bytes.windows(3).enumerate().filter(|(_, code)| *code == [0, 0, 1]).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]).collect::<Vec<_>>();
    starts.into_iter().zip(ends).filter_map(|(start, end)| {
        let part = &bytes[start + 3..end];
        let size = part.iter().rposition(|byte| *byte != 0)? + 1;
        Some(&part[..size])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_apart_by_what_stands_before_them() {
        let file: &[u8] = b"\0\0\0\x01\x09\xf0\0\0\x01\x67abc\0\0\x01\x68d\0\0\0\x01\x65\x88one\0\0\x01\x65\x40two\0\0\x01\x41\x9aP\0\0\x01\x41\x9aQ";
        let units = access_units(file);
        let heads: Vec<Vec<u8>> =
            units.iter().map(|unit| unit.parts.iter().map(|part| part[0]).collect()).collect();
        assert_eq!(heads, [vec![0x67, 0x68, 0x65, 0x65], vec![0x41], vec![0x41]]);
        assert_eq!(units.iter().map(|unit| unit.is_keyframe).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(units[0].parts[0], b"\x67abc");
    }

    #[test]
    fn nothing_is_no_picture() {
        assert_eq!(access_units(b"\0\0\x01\x67abc"), []);
        assert_eq!(access_units(b"text"), []);
        assert_eq!(access_units(b"\0\0\x01\0\0\x01"), []);
    }
}
