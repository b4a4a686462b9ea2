//! The entropy-coded data of one scan, block by block (ITU-T T.81 sections F.2.2 and G.2).

use super::bits::BitReader;
use super::coefficients::Block;
use super::huffman::Decoder;

/// A scan while it is read.
pub(super) struct Scan<'a> {
    pub(super) bits: BitReader<'a>,
    /// DC value of the last block of each of its components.
    before: [i32; 3],
    /// Units between restart markers; zero when there are none.
    interval: u16,
    /// Units before the next.
    left: u16,
    /// Blocks to come that have nothing more in a band.
    ended: u32,
}

/// Which coefficients of a progressive picture a scan holds, and of which bit on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Band {
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) shift: u8,
}

const DAMAGED: &str = "its scan is damaged";

impl<'a> Scan<'a> {
    pub(super) fn new(data: &'a [u8], interval: u16) -> Scan<'a> {
        Scan { bits: BitReader::new(data), before: [0; 3], interval, left: interval, ended: 0 }
    }

    /// Before each unit: steps over the restart marker that may be due.
    pub(super) fn begin_unit(&mut self) -> Result<(), &'static str> {
        if self.interval == 0 {
            return Ok(());
        }
        if self.left == 0 {
            self.bits.check()?;
            self.bits.restart()?;
            self.before = [0; 3];
            self.ended = 0;
            self.left = self.interval;
        }
        self.left -= 1;
        Ok(())
    }

    /// A block of a sequential picture (sections F.2.2.1 and F.2.2.2).
    pub(super) fn read_block(
        &mut self,
        index: usize,
        dc: &Decoder,
        ac: &Decoder,
        block: &mut Block,
    ) -> Result<(), &'static str> {
        block[0] = self.next_dc(index, dc, 0)?;
        let mut place = 1;
        while place < 64 {
            let symbol = ac.read(&mut self.bits).ok_or(DAMAGED)?;
            match (symbol >> 4, symbol & 15) {
                (15, 0) => place += 16,
                (_, 0) => break,
                (run, size @ 1..=10) => {
                    place += usize::from(run);
                    *block.get_mut(place).ok_or(DAMAGED)? = self.bits.signed(size.into()) as i16;
                    place += 1;
                }
                _ => return Err(DAMAGED),
            }
        }
        Ok(())
    }

    /// The first bits of a DC value (section G.1.2.1).
    pub(super) fn read_dc(
        &mut self,
        index: usize,
        dc: &Decoder,
        band: Band,
        block: &mut Block,
    ) -> Result<(), &'static str> {
        block[0] = self.next_dc(index, dc, band.shift)?;
        Ok(())
    }

    /// One more bit of it.
    pub(super) fn refine_dc(&mut self, band: Band, block: &mut Block) -> Result<(), &'static str> {
        if self.bit() {
            block[0] |= 1 << band.shift;
        }
        Ok(())
    }

    /// The first bits of a band (section G.1.2.2).
    pub(super) fn read_ac(
        &mut self,
        ac: &Decoder,
        band: Band,
        block: &mut Block,
    ) -> Result<(), &'static str> {
        if self.ended > 0 {
            self.ended -= 1;
            return Ok(());
        }
        let mut place = band.first;
        while place <= band.last {
            let symbol = ac.read(&mut self.bits).ok_or(DAMAGED)?;
            match (symbol >> 4, symbol & 15) {
                (15, 0) => place += 16,
                (run, 0) => {
                    self.ended = self.run_of_ends(run) - 1;
                    break;
                }
                (run, size @ 1..=10) => {
                    place += usize::from(run);
                    let value = self.bits.signed(size.into()) << band.shift;
                    *block.get_mut(place).ok_or(DAMAGED)? = i16::try_from(value).map_err(|_| DAMAGED)?;
                    place += 1;
                }
                _ => return Err(DAMAGED),
            }
        }
        Ok(())
    }

    /// One more bit of it (section G.1.2.3): of those that were not zero, and others that are no longer.
    pub(super) fn refine_ac(
        &mut self,
        ac: &Decoder,
        band: Band,
        block: &mut Block,
    ) -> Result<(), &'static str> {
        let bit = 1_i16 << band.shift;
        let mut place = band.first;
        while self.ended == 0 && place <= band.last {
            let symbol = ac.read(&mut self.bits).ok_or(DAMAGED)?;
            let (run, value) = match (symbol >> 4, symbol & 15) {
                (15, 0) => (15, 0),
                (run, 0) => {
                    self.ended = self.run_of_ends(run);
                    break;
                }
                (run, 1) => (run, if self.bit() { bit } else { -bit }),
                _ => return Err(DAMAGED),
            };
            place = self.pass_zeros(run, place, band, block);
            if value != 0 {
                *block.get_mut(place).filter(|_| place <= band.last).ok_or(DAMAGED)? = value;
            }
            place += 1;
        }
        if self.ended > 0 {
            self.pass_zeros(u8::MAX, place, band, block);
            self.ended -= 1;
        }
        Ok(())
    }

    /// Goes over so many zeros, and one more bit of what is not zero between them; the place of the zero behind them.
    fn pass_zeros(&mut self, count: u8, from: usize, band: Band, block: &mut Block) -> usize {
        let bit = 1_i16 << band.shift;
        let mut left = count;
        for (place, value) in block.iter_mut().enumerate().take(band.last + 1).skip(from) {
            if *value != 0 {
                if self.bit() && *value & bit == 0 {
                    *value = value.wrapping_add(if *value > 0 { bit } else { -bit });
                }
            } else if left == 0 {
                return place;
            } else {
                left -= 1;
            }
        }
        band.last + 1
    }

    /// How many blocks a code ends, this one among them.
    fn run_of_ends(&mut self, size: u8) -> u32 {
        let size = u32::from(size);
        let more = if size > 0 { u32::from(self.bits.peek()) >> (16 - size) } else { 0 };
        self.bits.skip(size);
        (1 << size) + more
    }

    fn next_dc(&mut self, index: usize, dc: &Decoder, shift: u8) -> Result<i16, &'static str> {
        let size = dc.read(&mut self.bits).filter(|size| *size <= 11).ok_or(DAMAGED)?;
        let before = self.before.get_mut(index).ok_or(DAMAGED)?;
        *before += self.bits.signed(size.into());
        let value = i16::try_from(*before).ok().and_then(|value| value.checked_mul(1 << shift));
        value.ok_or(DAMAGED)
    }

    fn bit(&mut self) -> bool {
        let bit = self.bits.peek() >> 15;
        self.bits.skip(1);
        bit == 1
    }
}
