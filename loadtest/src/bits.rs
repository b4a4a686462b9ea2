//! Writes bits as the syntax of H.264 has them (ITU-T H.264 section 7.2 and 9.1).

/// Bits in the order in which they are written.
#[derive(Clone, Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    /// Bits in the last byte that are written; 0 when it is full or there is none.
    used: u8,
}

impl BitWriter {
    /// Writes the lowest `count` bits of a value: u(n).
    pub fn bits(&mut self, value: u32, count: u8) {
        for at in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let bit = (value >> at & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// Writes an unsigned Exp-Golomb code: ue(v).
    pub fn unsigned(&mut self, value: u32) {
        let code = value + 1;
        let count = (32 - code.leading_zeros()) as u8;
        self.bits(0, count - 1);
        self.bits(code, count);
    }

    /// Writes a signed Exp-Golomb code: se(v).
    pub fn signed(&mut self, value: i32) {
        self.unsigned(if value > 0 { 2 * value as u32 - 1 } else { 2 * value.unsigned_abs() });
    }

    /// Writes zeros up to the next whole byte.
    pub fn align(&mut self) {
        self.used = 0;
    }

    /// Writes whole bytes, from a whole byte on.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.align();
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes the trailing bits: a one, then zeros up to the next whole byte. Returns everything written.
    pub fn finish(mut self) -> Vec<u8> {
        self.bits(1, 1);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_table() {
        // Table 9-2: 0 is "1", 1 is "010", 3 is "00100"; -1 is code 2, "011".
        let mut writer = BitWriter::default();
        [0, 1, 3].into_iter().for_each(|value| writer.unsigned(value));
        writer.signed(-1);
        assert_eq!(writer.finish(), [0b1010_0010, 0b0011_1000]);
    }

    #[test]
    fn bytes_begin_at_a_whole_byte() {
        let mut writer = BitWriter::default();
        writer.bits(0b101, 3);
        writer.bytes(&[7, 8]);
        assert_eq!(writer.finish(), [0b1010_0000, 7, 8, 0x80]);
    }
}
