//! Pictures that are made here with tables, scans and restart markers of their own: rewritten, they have the same
//! coefficients.

use proptest::collection::vec;
use proptest::prelude::*;

use super::bits::BitWriter;
use super::coefficients::{Block, read};
use super::huffman::Encoder;
use super::{DHT, DQT, DRI, END, Picture, SOF0, SOI, SOS, check, rewrite, tables};

/// A table that has its symbols by codes of 8 bits each, and that of DC values of 4.
fn own_table(standard: &[u8]) -> Vec<u8> {
    let symbols = &standard[17..];
    let size = if symbols.len() < 16 { 4 } else { 8 };
    let mut counts = [0; 16];
    counts[size - 1] = symbols.len() as u8;
    let reversed = symbols.iter().rev().copied();
    std::iter::once(standard[0]).chain(counts).chain(reversed).collect()
}

/// The blocks of a component with their places across and down.
type Blocks = Vec<(usize, usize, Block)>;

/// What a picture is made of.
#[derive(Clone, Debug)]
struct Made {
    width: u16,
    height: u16,
    /// Factors of each component.
    factors: Vec<(u8, u8)>,
    restart_interval: u16,
    has_scan_each: bool,
    /// Whether bands and bits come one after the other; without restart markers.
    is_progressive: bool,
    /// Values that blocks are filled with.
    values: Vec<i16>,
    /// Whether blocks have zeros only beyond so many values.
    filled: usize,
}

impl Made {
    fn block(&self, index: usize) -> Block {
        let mut block = [0; 64];
        for (place, value) in block.iter_mut().enumerate().take(self.filled) {
            let pick = self.values[(index * 7 + place) % self.values.len()];
            // One in three is not zero.
            *value = if (index + place).is_multiple_of(3) { pick } else { 0 };
        }
        block
    }

    /// The file, and the blocks of each component with their places.
    fn write(&self) -> (Vec<u8>, Vec<Blocks>) {
        let mut out = vec![0xff, SOI];
        for (number, table) in (0_u8..).zip(&tables::QUANTIZATION) {
            out.extend([0xff, DQT, 0, 67, number]);
            out.extend(table);
        }
        let own = tables::HUFFMAN.map(own_table);
        for table in &own {
            out.extend([0xff, DHT, 0, table.len() as u8 + 2]);
            out.extend(table);
        }
        if self.restart_interval > 0 {
            let [high, low] = self.restart_interval.to_be_bytes();
            out.extend([0xff, DRI, 0, 4, high, low]);
        }
        let ([h1, h0], [w1, w0]) = (self.height.to_be_bytes(), self.width.to_be_bytes());
        let count = self.factors.len() as u8;
        let frame = if self.is_progressive { SOF0 + 2 } else { SOF0 };
        out.extend([0xff, frame, 0, 8 + 3 * count, 8, h1, h0, w1, w0, count]);
        for (index, (across, down)) in (0_u8..).zip(&self.factors) {
            out.extend([index + 1, across << 4 | down, u8::from(index > 0)]);
        }
        let mut places: Vec<_> = self.factors.iter().map(|_| Vec::new()).collect();
        let scans: Vec<Vec<usize>> = match self.has_scan_each {
            true => (0..self.factors.len()).map(|index| vec![index]).collect(),
            false => vec![(0..self.factors.len()).collect()],
        };
        let encoders = own.each_ref().map(|table| Encoder::of(table));
        if self.is_progressive {
            return self.write_progressive(out, &scans, &encoders);
        }
        for scan in scans {
            out.extend([0xff, SOS, 0, 6 + 2 * scan.len() as u8, scan.len() as u8]);
            for index in &scan {
                out.extend([*index as u8 + 1, if *index > 0 { 0x11 } else { 0 }]);
            }
            out.extend([0, 63, 0]);
            out = self.write_scan(out, &scan, &encoders, &mut places);
        }
        out.extend(END);
        (out, places)
    }

    fn write_scan(
        &self,
        mut out: Vec<u8>,
        scan: &[usize],
        [dc0, dc1, ac0, ac1]: &[Encoder; 4],
        places: &mut [Blocks],
    ) -> Vec<u8> {
        let (mut before, mut units, mut marker) = ([0_i32; 3], 0, 0xd0);
        let mut writer = BitWriter::new(out);
        for unit in self.units(scan) {
            if self.restart_interval > 0 && units == self.restart_interval {
                out = writer.finish();
                out.extend([0xff, marker]);
                marker = 0xd0 | (marker + 1) & 7;
                writer = BitWriter::new(out);
                (before, units) = ([0; 3], 0);
            }
            units += 1;
            for (index, across, down) in unit {
                let block = self.block(places[index].len() + 100 * index);
                let (dc, ac) = if index == 0 { (dc0, ac0) } else { (dc1, ac1) };
                let difference = i32::from(block[0]) - before[index];
                before[index] = block[0].into();
                write_block(&mut writer, dc, ac, difference, &block);
                places[index].push((across, down, block));
            }
        }
        writer.finish()
    }

    /// DC values but for their last bit and that bit, two bands but for their last bit and that bit of both.
    fn write_progressive(
        &self,
        mut out: Vec<u8>,
        scans: &[Vec<usize>],
        encoders: &[Encoder; 4],
    ) -> (Vec<u8>, Vec<Blocks>) {
        let [dc0, dc1, ac0, ac1] = encoders;
        let mut places: Vec<Blocks> = self.factors.iter().map(|_| Vec::new()).collect();
        let head = |out: &mut Vec<u8>, scan: &[usize], band: [u8; 3]| {
            out.extend([0xff, SOS, 0, 6 + 2 * scan.len() as u8, scan.len() as u8]);
            for index in scan {
                out.extend([*index as u8 + 1, if *index > 0 { 0x11 } else { 0 }]);
            }
            out.extend(band);
        };
        for bits in [0x01, 0x10] {
            for scan in scans {
                head(&mut out, scan, [0, 0, bits]);
                let (mut before, mut writer) = ([0_i32; 3], BitWriter::new(out));
                let mut counts = [0; 3];
                for (index, across, down) in self.units(scan).into_iter().flatten() {
                    let block = self.block(counts[index] + 100 * index);
                    counts[index] += 1;
                    if bits == 0x10 {
                        writer.put(block[0] as u16 & 1, 1);
                        continue;
                    }
                    places[index].push((across, down, block));
                    let value = i32::from(block[0] >> 1);
                    write_difference(&mut writer, if index == 0 { dc0 } else { dc1 }, value - before[index]);
                    before[index] = value;
                }
                out = writer.finish();
            }
        }
        for (index, blocks) in places.iter_mut().enumerate() {
            // Bands have only the blocks that hold samples.
            let held: Vec<_> = self.units(&[index]).into_iter().flatten().map(|(_, x, y)| (x, y)).collect();
            for (across, down, block) in blocks.iter_mut() {
                if !held.contains(&(*across, *down)) {
                    block[1..].fill(0);
                }
            }
            let ac = if index == 0 { ac0 } else { ac1 };
            for band in [[1, 5, 0x01], [6, 63, 0x01], [1, 63, 0x10]] {
                head(&mut out, &[index], band);
                let mut writer = BitWriter::new(out);
                let range = usize::from(band[0])..usize::from(band[1]) + 1;
                for place in &held {
                    let found = blocks.iter().find(|(across, down, _)| (*across, *down) == *place);
                    let (.., block) = found.expect("a block that holds samples");
                    match band[2] {
                        0x01 => write_band(&mut writer, ac, &block[range.clone()]),
                        _ => refine_band(&mut writer, ac, &block[range.clone()]),
                    }
                }
                out = writer.finish();
            }
        }
        out.extend(END);
        (out, places)
    }

    /// The blocks of each unit of a scan: component and place.
    fn units(&self, scan: &[usize]) -> Vec<Vec<(usize, usize, usize)>> {
        let (across_max, down_max) = self.factors[0];
        let sides = |pixels: u16, factor: u8, most: u8| {
            (usize::from(pixels) * usize::from(factor)).div_ceil(usize::from(most)).div_ceil(8)
        };
        if let [index] = *scan {
            let (across, down) = self.factors[index];
            let (wide, high) = (sides(self.width, across, across_max), sides(self.height, down, down_max));
            return (0..high).flat_map(|y| (0..wide).map(move |x| vec![(index, x, y)])).collect();
        }
        let wide = usize::from(self.width).div_ceil(8 * usize::from(across_max));
        let high = usize::from(self.height).div_ceil(8 * usize::from(down_max));
        let unit = |x: usize, y: usize| {
            let mut blocks = Vec::new();
            for index in scan {
                let (across, down) = self.factors[*index];
                let (across, down) = (usize::from(across), usize::from(down));
                for line in 0..down {
                    blocks.extend((0..across).map(|column| (*index, x * across + column, y * down + line)));
                }
            }
            blocks
        };
        (0..high).flat_map(|y| (0..wide).map(move |x| (x, y))).map(|(x, y)| unit(x, y)).collect()
    }
}

fn bits_of(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}

fn write_difference(writer: &mut BitWriter, dc: &Encoder, difference: i32) {
    assert!(dc.write(bits_of(difference) as u8, writer));
    writer.put_signed(difference, bits_of(difference));
}

/// Coefficients but for their last bit (ITU-T T.81 section G.1.2.2).
fn write_band(writer: &mut BitWriter, ac: &Encoder, band: &[i16]) {
    let values: Vec<_> = band.iter().map(|value| value / 2).collect();
    write_values(writer, ac, &values);
}

/// Their last bit (section G.1.2.3).
fn refine_band(writer: &mut BitWriter, ac: &Encoder, band: &[i16]) {
    let last_new = band.iter().rposition(|value| value.abs() == 1);
    let (mut run, mut more) = (0, Vec::new());
    let put = |writer: &mut BitWriter, more: &mut Vec<u16>| more.drain(..).for_each(|bit| writer.put(bit, 1));
    for (place, value) in band.iter().enumerate() {
        if *value == 0 {
            run += 1;
            continue;
        }
        while run > 15 && last_new.is_some_and(|last| place <= last) {
            assert!(ac.write(0xf0, writer));
            put(writer, &mut more);
            run -= 16;
        }
        if value.abs() > 1 {
            more.push(value.unsigned_abs() & 1);
            continue;
        }
        assert!(ac.write(run << 4 | 1, writer));
        writer.put(u16::from(*value > 0), 1);
        put(writer, &mut more);
        run = 0;
    }
    if run > 0 || !more.is_empty() {
        assert!(ac.write(0, writer));
        put(writer, &mut more);
    }
}

fn write_block(writer: &mut BitWriter, dc: &Encoder, ac: &Encoder, difference: i32, block: &Block) {
    write_difference(writer, dc, difference);
    write_values(writer, ac, &block[1..]);
}

fn write_values(writer: &mut BitWriter, ac: &Encoder, values: &[i16]) {
    let mut run = 0;
    for value in values {
        let value = i32::from(*value);
        if value == 0 {
            run += 1;
            continue;
        }
        while run >= 16 {
            assert!(ac.write(0xf0, writer));
            run -= 16;
        }
        assert!(ac.write(run << 4 | bits_of(value) as u8, writer));
        writer.put_signed(value, bits_of(value));
        run = 0;
    }
    if run > 0 {
        assert!(ac.write(0, writer));
    }
}

fn made() -> impl Strategy<Value = Made> {
    let factors = prop_oneof![
        Just(vec![(2, 2), (1, 1), (1, 1)]),
        Just(vec![(2, 1), (1, 1), (1, 1)]),
        Just(vec![(2, 2), (1, 2), (1, 2)]),
        Just(vec![(1, 1)]),
    ];
    let values = vec(-1_000_i16..1_000, 1..40);
    ((1_u16..70, 1_u16..70), factors, 0_u16..4, any::<(bool, bool)>(), values, 0_usize..65).prop_map(
        |((width, height), factors, restart_interval, (has_scan_each, is_progressive), values, filled)| {
            Made {
                width,
                height,
                factors,
                restart_interval: if is_progressive { 0 } else { restart_interval },
                has_scan_each,
                is_progressive,
                values,
                filled,
            }
        },
    )
}

proptest! {
    #[test]
    fn rewritten_pictures_have_the_same_coefficients(made in made()) {
        let (file, places) = made.write();
        prop_assert!(check(&file).is_err());
        let rewritten = rewrite(&file).unwrap();
        let picture = Picture::parse(&rewritten).unwrap();
        prop_assert_eq!((picture.width, picture.height, picture.restart_interval), (made.width, made.height, 0));
        let coefficients = read(&rewritten).unwrap();
        let wide = usize::from(made.width).div_ceil(8);
        let high = usize::from(made.height).div_ceil(8);
        for (index, blocks) in places.iter().enumerate() {
            for (across, down, block) in blocks {
                // Blocks that only fill a unit up are not seen.
                let is_seen = if index > 0 { true } else { *across < wide && *down < high };
                let found = coefficients.components[index].block(*across, *down);
                prop_assert!(found == Some(block) || !is_seen || index > 0 && found.is_none());
            }
        }
        // Nothing more can be made of it.
        prop_assert_eq!(rewrite(&rewritten).unwrap(), rewritten);
    }

    #[test]
    fn damaged_pictures_are_refused_or_rewritten_and_nothing_else(
        made in made(), damages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut: Option<prop::sample::Index>,
    ) {
        let (mut file, _) = made.write();
        for (at, byte) in damages {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        if let Ok(rewritten) = rewrite(&file) {
            prop_assert_eq!(check(&rewritten), Ok(()));
        }
    }
}

#[test]
fn what_has_other_samples_is_refused() {
    for factors in [vec![(1, 1), (1, 1), (1, 1)], vec![(4, 1), (1, 1), (1, 1)], vec![(1, 2), (1, 1), (1, 1)]]
    {
        let made = Made {
            width: 40,
            height: 24,
            factors,
            restart_interval: 0,
            has_scan_each: false,
            is_progressive: false,
            values: vec![1, -3, 7],
            filled: 20,
        };
        assert!(rewrite(&made.write().0).unwrap_err().contains("4:2:0"));
    }
}

#[test]
fn a_small_file_that_says_to_be_large_takes_no_memory() {
    let made = Made {
        width: 8,
        height: 8,
        factors: vec![(2, 2), (1, 1), (1, 1)],
        restart_interval: 0,
        has_scan_each: false,
        is_progressive: false,
        values: vec![1],
        filled: 1,
    };
    let (mut file, _) = made.write();
    let at = file.windows(2).position(|pair| pair == [0xff, SOF0]).unwrap();
    file[at + 5..at + 9].copy_from_slice(&[0x10, 0, 0x10, 0]);
    assert_eq!(rewrite(&file), Err("it is cut off"));
}
