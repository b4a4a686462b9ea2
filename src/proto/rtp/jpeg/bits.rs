//! Bits of entropy-coded data (ITU-T T.81 section F.1.2.3): the first in the highest place, a zero behind each `ff`.

use super::CUT;

/// Reads the data of one scan.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next byte that is not in the buffer.
    at: usize,
    /// Bits that wait, the next in the highest place.
    buffer: u64,
    /// How many of them there are, those that were made up among them.
    count: u32,
    /// Zeros that were made up because the data ends.
    made_up: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, at: 0, buffer: 0, count: 0, made_up: 0 }
    }

    /// The next 16 bits, zeros behind the end.
    pub(super) fn peek(&mut self) -> u16 {
        if self.count < 16 {
            self.fill();
        }
        (self.buffer >> 48) as u16
    }

    /// Goes over up to 16 bits that [`BitReader::peek`] has shown.
    pub(super) fn skip(&mut self, count: u32) {
        self.buffer <<= count;
        self.count -= count;
    }

    /// A number of up to 15 bits in the sign-and-magnitude form of section F.1.2.1.
    pub(super) fn signed(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let bits = i32::from(self.peek() >> (16 - size));
        self.skip(size);
        if bits < 1 << (size - 1) { bits - (1 << size) + 1 } else { bits }
    }

    /// An error when more was read than there is.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.count < self.made_up { Err(CUT) } else { Ok(()) }
    }

    /// Goes behind the restart marker that must come next (section B.2.1).
    pub(super) fn restart(&mut self) -> Result<(), &'static str> {
        const MISSING: &str = "a restart marker is missing";
        // What is left of the last byte is filled up.
        if self.count.saturating_sub(self.made_up) >= 8 {
            return Err(MISSING);
        }
        let fill = self.bytes[self.at..].iter().take_while(|byte| **byte == 0xff).count();
        let marker = self.bytes.get(self.at + fill).filter(|_| fill > 0).ok_or(MISSING)?;
        if !(0xd0..=0xd7).contains(marker) {
            return Err(MISSING);
        }
        *self = BitReader { at: self.at + fill + 1, ..BitReader::new(self.bytes) };
        Ok(())
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match self.bytes[self.at..] {
                [0xff, 0, ..] => {
                    self.at += 2;
                    0xff
                }
                // A marker: nothing of this stretch is behind it.
                [0xff, ..] | [] => {
                    self.made_up += 8;
                    0
                }
                [byte, ..] => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }
}

/// Writes the data of one scan.
#[derive(Default)]
pub(super) struct BitWriter {
    out: Vec<u8>,
    /// Bits that wait, the last in the lowest place.
    buffer: u64,
    count: u32,
}

impl BitWriter {
    /// Behind what is there.
    pub(super) fn new(out: Vec<u8>) -> BitWriter {
        BitWriter { out, buffer: 0, count: 0 }
    }

    /// Writes the lowest `count` bits, 16 at the most.
    pub(super) fn put(&mut self, bits: u16, count: u32) {
        self.buffer = self.buffer << count | u64::from(bits);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.buffer >> self.count) as u8;
            self.out.push(byte);
            if byte == 0xff {
                self.out.push(0);
            }
        }
    }

    /// Writes a number in the form that [`BitReader::signed`] reads.
    pub(super) fn put_signed(&mut self, value: i32, size: u32) {
        let bits = if value < 0 { value + (1 << size) - 1 } else { value };
        self.put(bits as u16, size);
    }

    /// All of it, the last byte filled up with ones (section F.1.2.3).
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.put(0x7f, 7);
        }
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back_as_they_were_written(numbers in proptest::collection::vec((1_u32..16, any::<i16>()), 0..200)) {
            let mut writer = BitWriter::default();
            let numbers: Vec<_> = numbers.into_iter().map(|(size, value)| {
                let magnitude = i32::from(value).unsigned_abs() as i32 & ((1 << size) - 1) | 1 << (size - 1);
                (size, if value < 0 { -magnitude } else { magnitude })
            }).collect();
            for (size, value) in &numbers {
                writer.put_signed(*value, *size);
            }
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            for (size, value) in numbers {
                prop_assert_eq!(reader.signed(size), value);
                prop_assert!(reader.check().is_ok());
            }
        }

        #[test]
        fn any_bytes_are_read_to_their_end(bytes: Vec<u8>, sizes in proptest::collection::vec(0_u32..16, 0..400)) {
            let mut reader = BitReader::new(&bytes);
            for (index, size) in sizes.into_iter().enumerate() {
                reader.signed(size);
                if index % 7 == 0 {
                    let _ = reader.restart();
                }
            }
        }
    }

    #[test]
    fn behind_a_marker_nothing_is_read_until_it_is_stepped_over() {
        let mut reader = BitReader::new(&[0b1010_1111, 0xff, 0xd0, 0x80]);
        assert_eq!(reader.signed(4), 0b1010);
        reader.restart().unwrap();
        assert_eq!(reader.signed(1), 1);
        assert!(reader.check().is_ok());
        assert!(reader.restart().is_err());
        reader.signed(15);
        assert!(reader.check().is_err());
    }
}
