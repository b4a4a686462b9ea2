//! Huffman tables (ITU-T T.81 annex C), for reading and for writing.

use super::bits::{BitReader, BitWriter};
use super::tables;

/// Codes of up to so many bits are found at once.
const QUICK_BITS: u32 = 9;

/// A table that symbols are read by.
pub(super) struct Decoder {
    /// By the next bits: the size of the code and its symbol; size zero where the code is longer.
    quick: [(u8, u8); 1 << QUICK_BITS],
    /// By size: behind the last code of that size, in the highest of 16 bits; and what its symbol's place is ahead of it.
    ends: [(u32, i32); 17],
    symbols: [u8; 256],
}

/// A table that symbols are written by: code and size; size zero where it has none.
pub(super) struct Encoder([(u16, u8); 256]);

impl Decoder {
    /// Of a table as a DHT segment has it behind its class and number, and what is behind it. None when it is none.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Decoder, &[u8])> {
        let (counts, rest) = bytes.split_first_chunk::<16>()?;
        let total = counts.iter().map(|count| usize::from(*count)).sum::<usize>();
        let (listed, rest) = rest.split_at_checked(total).filter(|_| total <= 256)?;
        let mut table = Decoder { quick: [(0, 0); 1 << QUICK_BITS], ends: [(0, 0); 17], symbols: [0; 256] };
        table.symbols[..total].copy_from_slice(listed);
        for (code, size, place) in codes(counts)? {
            table.ends[usize::from(size)] =
                ((u32::from(code) + 1) << (16 - size), place as i32 - i32::from(code));
            let Some(spare) = QUICK_BITS.checked_sub(size.into()) else { continue };
            let first = usize::from(code) << spare;
            table.quick[first..first + (1 << spare)].fill((size, table.symbols[place]));
        }
        Some((table, rest))
    }

    /// The next symbol. None when the bits are no code.
    pub(super) fn read(&self, bits: &mut BitReader<'_>) -> Option<u8> {
        let next = bits.peek();
        let (size, symbol) = self.quick[usize::from(next >> (16 - QUICK_BITS))];
        if size > 0 {
            bits.skip(size.into());
            return Some(symbol);
        }
        let is_below = |size: &u32| u32::from(next) < self.ends[*size as usize].0;
        let size = (1..=16).find(is_below)?;
        bits.skip(size);
        let place = i32::from(next >> (16 - size)) + self.ends[size as usize].1;
        self.symbols.get(usize::try_from(place).ok()?).copied()
    }
}

impl Encoder {
    /// Of one of the standard tables.
    pub(super) fn of(table: &[u8]) -> Encoder {
        let mut encoder = Encoder([(0, 0); 256]);
        let Some((counts, listed)) = table.get(1..).and_then(<[u8]>::split_first_chunk::<16>) else {
            return encoder;
        };
        for (code, size, place) in codes(counts).into_iter().flatten() {
            if let Some(symbol) = listed.get(place) {
                encoder.0[usize::from(*symbol)] = (code, size);
            }
        }
        encoder
    }

    /// Writes a symbol. False when the table has none such.
    pub(super) fn write(&self, symbol: u8, bits: &mut BitWriter) -> bool {
        let (code, size) = self.0[usize::from(symbol)];
        bits.put(code, size.into());
        size > 0
    }
}

/// The standard tables to read by: those of DC values, then those of AC values, luminance first.
pub(super) fn standard_decoders() -> [Option<Decoder>; 4] {
    tables::HUFFMAN.map(|table| Decoder::parse(table.get(1..)?).map(|(decoder, _)| decoder))
}

/// The same to write by.
pub(super) fn standard_encoders() -> [Encoder; 4] {
    tables::HUFFMAN.map(Encoder::of)
}

/// The code, its size and the place of its symbol, for each symbol in order (section C.2). None when there are more than
/// codes have room for.
fn codes(counts: &[u8; 16]) -> Option<impl Iterator<Item = (u16, u8, usize)>> {
    let (mut codes, mut code) = (Vec::with_capacity(256), 0_u32);
    for (size, count) in (1_u8..).zip(counts) {
        for _ in 0..*count {
            if code >= 1 << size {
                return None;
            }
            codes.push((code as u16, size, codes.len()));
            code += 1;
        }
        code <<= 1;
    }
    Some(codes.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn symbols_come_back_as_they_were_written(
            number in 0_usize..4, picks in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let table = tables::HUFFMAN[number];
            let listed = &table[17..];
            let encoder = Encoder::of(table);
            let (decoder, rest) = Decoder::parse(&table[1..]).unwrap();
            prop_assert!(rest.is_empty());
            let symbols: Vec<_> = picks.iter().map(|pick| listed[usize::from(*pick) % listed.len()]).collect();
            let mut writer = BitWriter::default();
            for symbol in &symbols {
                prop_assert!(encoder.write(*symbol, &mut writer));
            }
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            for symbol in symbols {
                prop_assert_eq!(decoder.read(&mut reader), Some(symbol));
            }
        }

        #[test]
        fn any_table_and_any_bits_are_read_without_panic(table: Vec<u8>, few in proptest::collection::vec(0_u8..4, 16), bytes: Vec<u8>) {
            for table in [table, [few, vec![7; 64]].concat()] {
                let Some((decoder, _)) = Decoder::parse(&table) else { continue };
                let mut reader = BitReader::new(&bytes);
                for _ in 0..100 {
                    let _ = decoder.read(&mut reader);
                }
            }
        }
    }

    #[test]
    fn more_codes_than_there_is_room_for_are_no_table() {
        let mut table = vec![0; 16];
        table[0] = 3;
        table.extend([1, 2, 3]);
        assert!(Decoder::parse(&table).is_none());
    }
}
