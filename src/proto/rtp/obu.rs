//! Open bitstream units of AV1 (AV1 specification section 5.3), with and without their sizes.

use smallvec::SmallVec;

/// One unit: its header, extension included, and its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Obu<'a> {
    /// First byte of the header as it stands.
    pub(super) header: u8,
    /// Extension byte of the header.
    pub(super) extension: Option<u8>,
    pub(crate) payload: &'a [u8],
}

/// The units of one temporal unit, in order.
pub(super) type Obus<'a> = SmallVec<[Obu<'a>; 8]>;

pub(crate) const SEQUENCE_HEADER: u8 = 1;
pub(super) const TEMPORAL_DELIMITER: u8 = 2;
pub(super) const TILE_LIST: u8 = 8;
pub(super) const PADDING: u8 = 15;

const EXTENSION_FLAG: u8 = 0x04;
const SIZE_FLAG: u8 = 0x02;

/// Bytes of the longest LEB128 number (AV1 specification section 4.10.5).
const LEB128_BYTES_MAX: usize = 8;

impl<'a> Obu<'a> {
    /// Reads the first unit and what is behind it; one without a size reaches to the end. None when it is cut off.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<(Obu<'a>, &'a [u8])> {
        let (&header, mut rest) = bytes.split_first()?;
        let mut extension = None;
        if header & EXTENSION_FLAG != 0 {
            let (&byte, behind) = rest.split_first()?;
            extension = Some(byte);
            rest = behind;
        }
        if header & SIZE_FLAG == 0 {
            return Some((Obu { header, extension, payload: rest }, &[]));
        }
        let (size, rest) = read_leb128(rest)?;
        let (payload, rest) = rest.split_at_checked(size)?;
        Some((Obu { header, extension, payload }, rest))
    }

    /// The unit's type.
    pub(crate) fn kind(&self) -> u8 {
        self.header >> 3 & 0x0f
    }

    /// The header without the size flag, and the count of its bytes.
    pub(super) fn bare_header(&self) -> ([u8; 2], usize) {
        let header = self.header & !SIZE_FLAG;
        ([header, self.extension.unwrap_or(0)], 1 + usize::from(self.extension.is_some()))
    }

    /// Bytes of the unit without its size.
    pub(super) fn bare_bytes(&self) -> usize {
        1 + usize::from(self.extension.is_some()) + self.payload.len()
    }

    /// Appends the header with the size of the payload that follows.
    pub(super) fn put_sized_header(&self, out: &mut Vec<u8>) {
        out.push(self.header | SIZE_FLAG);
        out.extend(self.extension);
        let (size, bytes) = leb128(self.payload.len());
        out.extend_from_slice(&size[..bytes]);
    }
}

/// All units of a temporal unit in low-overhead form. None when one is cut off.
pub(super) fn obus(mut bytes: &[u8]) -> Option<Obus<'_>> {
    let mut found = Obus::new();
    while !bytes.is_empty() {
        let (obu, rest) = Obu::parse(bytes)?;
        found.push(obu);
        bytes = rest;
    }
    Some(found)
}

/// A number as LEB128, and the count of its bytes.
pub(super) fn leb128(mut value: usize) -> ([u8; LEB128_BYTES_MAX], usize) {
    let mut out = [0; LEB128_BYTES_MAX];
    let mut count = 0;
    loop {
        out[count] = (value & 0x7f) as u8;
        value >>= 7;
        count += 1;
        if value == 0 || count == LEB128_BYTES_MAX {
            return (out, count);
        }
        out[count - 1] |= 0x80;
    }
}

/// Reads a LEB128 number and what is behind it. None when it is cut off or beyond 32 bits.
pub(super) fn read_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(LEB128_BYTES_MAX) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((value as usize, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_with_and_without_extension_and_size() {
        let bytes = [0x12, 0, 0x0e, 0x40, 2, 7, 8, 0x30, 9];
        let found = obus(&bytes).unwrap();
        let kinds: Vec<_> = found.iter().map(|obu| (obu.kind(), obu.extension, obu.payload)).collect();
        assert_eq!(kinds, [(2, None, &[][..]), (1, Some(0x40), &[7, 8]), (6, None, &[9])]);
        assert!(obus(&[0x0a, 5, 1]).is_none());
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_written(value in 0usize..=0xffff_ffff, behind: u8) {
            let (bytes, count) = leb128(value);
            let written = [&bytes[..count], &[behind]].concat();
            prop_assert_eq!(read_leb128(&written), Some((value, &[behind][..])));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = obus(&bytes);
        }
    }
}
