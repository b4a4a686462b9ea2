//! Bitmaps of Windows (BITMAPFILEHEADER and BITMAPINFOHEADER), as its screen is grabbed.
//!
//! ```text
//!  0 "BM"        10 where pixels begin, u32        14 size of what follows, u32 (40)
//! 18 width, i32  22 height, i32, negative when the first line is the uppermost
//! 28 bits a pixel, u16                             30 compression, u32 (0)
//! ```

use bytes::{Bytes, BytesMut};

use crate::media::capture::{Pixels, Shape};

/// Pixels of the longest side that is believed.
const SIDE_MAX: i32 = 32_768;

/// The pixels of a bitmap, line behind line from above without a gap. None for what is none, or of another kind.
pub(super) fn pixels(file: &Bytes) -> Option<(Shape, Bytes)> {
    let start = usize::try_from(u32_at(file, 10)?).ok()?;
    let (width, height) = (i32_at(file, 18)?, i32_at(file, 22)?);
    let bits = u16::from_le_bytes(*file.get(28..)?.first_chunk()?);
    let is_plain = file.starts_with(b"BM") && u32_at(file, 30)? == 0;
    if !is_plain || !(1..=SIDE_MAX).contains(&width) || !(1..=SIDE_MAX).contains(&height.checked_abs()?) {
        return None;
    }
    let (pixels, bytes_a_pixel) = match bits {
        32 => (Pixels::Bgr0, 4),
        24 => (Pixels::Bgr24, 3),
        _ => return None,
    };
    let (columns, lines) = (width.unsigned_abs() as usize, height.unsigned_abs() as usize);
    let line = columns * bytes_a_pixel;
    // Lines begin at multiples of four bytes.
    let stride = line.next_multiple_of(4);
    let size = stride * lines;
    if file.len() < start.checked_add(size)? {
        return None;
    }
    let shape = Shape { pixels, width: width.unsigned_abs(), height: height.unsigned_abs() };
    let data = file.slice(start..start + size);
    if height < 0 && stride == line {
        return Some((shape, data));
    }
    let mut whole = BytesMut::with_capacity(line * lines);
    let rows = data.chunks_exact(stride).map(|row| &row[..line]);
    match height < 0 {
        true => rows.for_each(|row| whole.extend_from_slice(row)),
        false => rows.rev().for_each(|row| whole.extend_from_slice(row)),
    }
    Some((shape, whole.freeze()))
}

fn u32_at(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?))
}

fn i32_at(file: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_le_bytes(*file.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(width: i32, height: i32, bits: u16, data: &[u8]) -> Bytes {
        let mut file = b"BM".to_vec();
        for number in [0, 0, 54, 40_u32] {
            file.extend(number.to_le_bytes());
        }
        file.extend(width.to_le_bytes());
        file.extend(height.to_le_bytes());
        file.extend(1_u16.to_le_bytes());
        file.extend(bits.to_le_bytes());
        file.extend([0; 24]);
        file.extend(data);
        file.into()
    }

    #[test]
    fn lines_come_from_above_without_a_gap() {
        let rows = [[1, 2, 3, 4, 5, 6, 0, 0], [7, 8, 9, 10, 11, 12, 0, 0]];
        let whole: Vec<u8> = (1..=12).collect();
        let shape = Shape { pixels: Pixels::Bgr24, width: 2, height: 2 };
        assert_eq!(pixels(&file(2, -2, 24, &rows.concat())), Some((shape, whole.clone().into())));
        let from_below = [rows[1], rows[0]].concat();
        assert_eq!(pixels(&file(2, 2, 24, &from_below)), Some((shape, whole.into())));
    }

    #[test]
    fn pixels_of_32_bits_are_not_copied() {
        let data: Vec<u8> = (0..16).collect();
        let file = file(2, -2, 32, &data);
        let (shape, found) = pixels(&file).unwrap();
        assert_eq!(shape, Shape { pixels: Pixels::Bgr0, width: 2, height: 2 });
        assert_eq!((found.as_ptr(), found.len()), (file[54..].as_ptr(), 16));
    }

    #[test]
    fn what_is_cut_short_or_of_another_kind_is_none() {
        assert_eq!(pixels(&file(2, -2, 32, &[0; 15])), None);
        assert_eq!(pixels(&file(2, -2, 16, &[0; 16])), None);
        assert_eq!(pixels(&file(0, -2, 32, &[0; 16])), None);
        assert_eq!(pixels(&file(2, i32::MIN, 32, &[0; 16])), None);
        assert_eq!(pixels(&Bytes::new()), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let named = [b"BM", &bytes[..]].concat();
            pixels(&named.into());
        }
    }
}
