//! The quantized coefficients of a JPEG file, whatever its Huffman tables, scans and restart intervals are (ITU-T T.81
//! annexes B, F and G).

use super::huffman::{Decoder, standard_decoders};
use super::scan::{Band, Scan};
use super::{CUT, DHT, DQT, DRI, EOI, SOF0, SOI, SOS, Sampling, next_segment};

/// Pixels of the largest picture that is taken apart, those of 8K: two bytes are kept for each, and for its colour one.
const PIXELS_MAX: usize = 1 << 25;

/// Scans of a progressive picture, more than any encoder makes.
const SCANS_MAX: usize = 64;

/// Coefficients of a block, in zigzag order.
pub(super) type Block = [i16; 64];

/// A picture.
pub(super) struct Coefficients {
    pub(super) width: u16,
    pub(super) height: u16,
    order: Order,
    /// How colour is sampled, whatever the size of a unit; of grey pictures, how it may be.
    pub(super) sampling: Sampling,
    /// One of grey, three of colours.
    pub(super) components: Vec<Component>,
}

/// What a scan holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// All of its components.
    Sequential,
    /// Some coefficients of them, or some bits of those.
    Progressive,
}

/// Luminance, or one of the colours.
pub(super) struct Component {
    id: u8,
    /// Blocks of a unit, across and down.
    across: u8,
    down: u8,
    /// Number of its quantization table.
    table: u8,
    /// That table, in zigzag order; None before its scan.
    pub(super) quantization: Option<[u8; 64]>,
    /// Blocks that hold its samples, across and down: a scan of its own has these.
    own: (usize, usize),
    /// Blocks a line of whole units.
    stride: usize,
    blocks: Vec<Block>,
}

impl Component {
    /// A block by its place; None outside the picture's units.
    pub(super) fn block(&self, across: usize, down: usize) -> Option<&Block> {
        self.blocks.get(down * self.stride + across).filter(|_| across < self.stride)
    }
}

/// What was read before a scan.
struct Tables {
    quantization: [Option<[u8; 64]>; 4],
    dc: [Option<Decoder>; 4],
    ac: [Option<Decoder>; 4],
    restart_interval: u16,
}

/// Takes a file apart. The error says what is not understood.
pub(super) fn read(file: &[u8]) -> Result<Coefficients, &'static str> {
    let mut rest = file.strip_prefix(&[0xff, SOI]).ok_or("it does not begin like a JPEG file")?;
    let [dc0, dc1, ac0, ac1] = standard_decoders();
    let mut tables = Tables {
        quantization: [None; 4],
        dc: [dc0, dc1, None, None],
        ac: [ac0, ac1, None, None],
        restart_interval: 0,
    };
    let (mut picture, mut scans) = (None, 0);
    loop {
        if let Some(whole) = picture.take_if(|picture: &mut Coefficients| picture.is_whole(rest)) {
            return Ok(whole);
        }
        let (marker, segment, behind) = next_segment(rest).filter(|next| next.0 != EOI).ok_or(CUT)?;
        rest = behind;
        match marker {
            DQT => tables.read_quantization(segment)?,
            DHT => tables.read_huffman(segment)?,
            DRI => {
                let interval = segment.try_into().map_err(|_| CUT)?;
                tables.restart_interval = u16::from_be_bytes(interval);
            }
            // Baseline, what differs from it in its tables alone, and progressive.
            SOF0..=SOF2 if picture.is_none() => {
                let order = if marker == SOF2 { Order::Progressive } else { Order::Sequential };
                picture = Some(Coefficients::parse(segment, rest.len(), order)?);
            }
            SOS if scans < SCANS_MAX => {
                let picture = picture.as_mut().ok_or("it has no frame header")?;
                scans += 1;
                picture.read_scan(segment, rest, &tables)?;
                rest = behind_scan(rest);
            }
            SOF0..=0xcf => return Err("it is neither a sequential nor a progressive picture"),
            // Adobe's mark that colours are not luminance and chrominance.
            APP14 if segment.starts_with(b"Adobe") && segment.get(11) != Some(&1) => {
                return Err("its colours are not luminance and chrominance");
            }
            _ => {}
        }
    }
}

impl Tables {
    fn read_quantization(&mut self, mut segment: &[u8]) -> Result<(), &'static str> {
        while let Some((&head, rest)) = segment.split_first() {
            let slot = self.quantization.get_mut(usize::from(head & 15)).ok_or(CUT)?;
            let (table, rest) = match head >> 4 {
                0 => rest.split_first_chunk::<64>().map(|(table, rest)| (*table, rest)).ok_or(CUT)?,
                _ => {
                    let (wide, rest) = rest.split_first_chunk::<128>().ok_or(CUT)?;
                    let mut table = [0; 64];
                    for (narrow, wide) in table.iter_mut().zip(wide.as_chunks::<2>().0) {
                        *narrow = u16::from_be_bytes(*wide)
                            .try_into()
                            .map_err(|_| "its quantization tables have not 8 bits")?;
                    }
                    (table, rest)
                }
            };
            *slot = Some(table);
            segment = rest;
        }
        Ok(())
    }

    fn read_huffman(&mut self, mut segment: &[u8]) -> Result<(), &'static str> {
        while let Some((&head, rest)) = segment.split_first() {
            let of_class = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let slot = of_class.get_mut(usize::from(head & 15)).ok_or(CUT)?;
            let (table, rest) = Decoder::parse(rest).ok_or("its Huffman tables are none")?;
            *slot = Some(table);
            segment = rest;
        }
        Ok(())
    }
}

impl Coefficients {
    /// A picture of zeros, as its frame header (section B.2.2) says; `data_bytes` are behind it.
    fn parse(segment: &[u8], data_bytes: usize, order: Order) -> Result<Coefficients, &'static str> {
        let &[precision, h1, h0, w1, w0, count, ref listed @ ..] = segment else { return Err(CUT) };
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if precision != 8 {
            return Err("its samples have not 8 bits");
        }
        if width == 0 || height == 0 || usize::from(width) * usize::from(height) > PIXELS_MAX {
            return Err("its size is not one that is taken apart");
        }
        let listed = listed.as_chunks::<3>().0;
        if listed.len() != usize::from(count) || !matches!(count, 1 | 3) {
            return Err("it has neither one component nor three");
        }
        if listed.iter().map(|it| it[0]).eq(*b"RGB") {
            return Err("its colours are not luminance and chrominance");
        }
        let factors = |byte: u8| (byte >> 4, byte & 15);
        // Luminance has the most of both, or it is refused.
        let (across_max, down_max) = factors(listed[0][1]);
        let sampling = match *listed {
            [[_, luma, _], [_, blue, _], [_, red, _]] => {
                sampling(factors(luma), factors(blue), factors(red))?
            }
            _ => Sampling::Both,
        };
        let mut components = Vec::with_capacity(3);
        for &[id, sampled, table] in listed {
            let (across, down) = factors(sampled);
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) || table > 3 {
                return Err(SAMPLING);
            }
            let units = |pixels: u16, most: u8| usize::from(pixels).div_ceil(8 * usize::from(most));
            let own = |pixels: u16, factor: u8, most: u8| {
                (usize::from(pixels) * usize::from(factor)).div_ceil(usize::from(most)).div_ceil(8)
            };
            let stride = units(width, across_max) * usize::from(across);
            let lines = units(height, down_max) * usize::from(down);
            // A block takes one bit at least.
            if stride * lines > data_bytes.saturating_mul(8) {
                return Err(CUT);
            }
            components.push(Component {
                id,
                across,
                down,
                table,
                quantization: None,
                own: (own(width, across, across_max), own(height, down, down_max)),
                stride,
                blocks: vec![[0; 64]; stride * lines],
            });
        }
        Ok(Coefficients { width, height, order, sampling, components })
    }

    /// Whether all of it has come, with what is left of the file.
    fn is_whole(&self, rest: &[u8]) -> bool {
        let is_begun = self.components.iter().all(|component| component.quantization.is_some());
        let mut fill = rest.iter().skip_while(|byte| **byte == 0xff);
        is_begun && (self.order == Order::Sequential || fill.next().is_none_or(|marker| *marker == EOI))
    }

    fn read_scan(&mut self, header: &[u8], data: &[u8], tables: &Tables) -> Result<(), &'static str> {
        const NO_TABLE: &str = "a table is missing";
        let (&count, listed) = header.split_first().ok_or(CUT)?;
        let (listed, &[first, last, bits]) = listed
            .split_at_checked(2 * usize::from(count))
            .and_then(|(listed, rest)| Some((listed, <&[u8; 3]>::try_from(rest).ok()?)))
            .ok_or(CUT)?;
        let mut places = [0; 3];
        let (mut dc, mut ac) = ([None; 3], [None; 3]);
        for (index, &[id, numbers]) in listed.as_chunks::<2>().0.iter().enumerate() {
            let is_new = self.order == Order::Progressive;
            let place =
                self.components.iter().position(|it| it.id == id && (is_new || it.quantization.is_none()));
            let place = place.filter(|place| !places[..index.min(3)].contains(place));
            let component = place.and_then(|place| self.components.get_mut(place));
            let (Some(place), Some(component), Some(slot)) = (place, component, places.get_mut(index)) else {
                return Err("its scans are not of its components");
            };
            *slot = place;
            if component.quantization.is_none() {
                component.quantization = tables.quantization[usize::from(component.table)];
            }
            component.quantization.ok_or(NO_TABLE)?;
            dc[index] = tables.dc.get(usize::from(numbers >> 4)).and_then(Option::as_ref);
            ac[index] = tables.ac.get(usize::from(numbers & 15)).and_then(Option::as_ref);
        }
        let places = places.get(..usize::from(count)).filter(|places| !places.is_empty()).ok_or(CUT)?;
        let mut scan = Scan::new(data, tables.restart_interval);
        let band = Band { first: first.into(), last: last.into(), shift: bits & 15 };
        match (self.order, band, bits >> 4) {
            (Order::Sequential, Band { first: 0, last: 63, shift: 0 }, 0) => {
                self.each_block(places, &mut scan, |scan, index, block| {
                    let (dc, ac) = (dc[index].ok_or(NO_TABLE)?, ac[index].ok_or(NO_TABLE)?);
                    scan.read_block(index, dc, ac, block)
                })
            }
            (Order::Progressive, Band { first: 0, last: 0, shift: 0..=13 }, 0) => {
                self.each_block(places, &mut scan, |scan, index, block| {
                    scan.read_dc(index, dc[index].ok_or(NO_TABLE)?, band, block)
                })
            }
            (Order::Progressive, Band { first: 0, last: 0, shift: 0..=13 }, _) => {
                self.each_block(places, &mut scan, |scan, _, block| scan.refine_dc(band, block))
            }
            (Order::Progressive, Band { first: 1..=63, last: 1..=63, shift: 0..=13 }, before)
                if first <= last && places.len() == 1 =>
            {
                let ac = ac[0].ok_or(NO_TABLE)?;
                self.each_block(places, &mut scan, |scan, _, block| match before {
                    0 => scan.read_ac(ac, band, block),
                    _ => scan.refine_ac(ac, band, block),
                })
            }
            _ => Err("its scans are not understood"),
        }
    }

    /// Has each block of a scan read, in their order: those of one component as they lie (section A.2.2), those of several
    /// by units (section A.2.3). `read` is told which of the scan's components it is.
    fn each_block<'a>(
        &mut self,
        places: &[usize],
        scan: &mut Scan<'a>,
        mut read: impl FnMut(&mut Scan<'a>, usize, &mut Block) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        if let [place] = *places {
            let component = self.components.get_mut(place).ok_or(CUT)?;
            let (across, down) = component.own;
            for (line, column) in (0..down).flat_map(|line| (0..across).map(move |column| (line, column))) {
                scan.begin_unit()?;
                let at = line * component.stride + column;
                read(scan, 0, component.blocks.get_mut(at).ok_or(CUT)?)?;
                scan.bits.check()?;
            }
            return Ok(());
        }
        let Some(first) = self.components.first() else { return Err(CUT) };
        let units_across = first.stride / usize::from(first.across);
        let units_down = first.blocks.len() / first.stride.max(1) / usize::from(first.down);
        for unit in 0..units_across * units_down {
            scan.begin_unit()?;
            let (unit_down, unit_across) = (unit / units_across, unit % units_across);
            for (index, place) in places.iter().enumerate() {
                let component = self.components.get_mut(*place).ok_or(CUT)?;
                let (across, down) = (usize::from(component.across), usize::from(component.down));
                for line in unit_down * down..(unit_down + 1) * down {
                    for column in unit_across * across..(unit_across + 1) * across {
                        let at = line * component.stride + column;
                        read(scan, index, component.blocks.get_mut(at).ok_or(CUT)?)?;
                        scan.bits.check()?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// How colour is sampled by the blocks across and down of each component's units.
fn sampling(luma: (u8, u8), blue: (u8, u8), red: (u8, u8)) -> Result<Sampling, &'static str> {
    if red != blue || luma.0 != 2 * blue.0 {
        return Err(SAMPLING);
    }
    match luma.1 {
        same if same == blue.1 => Ok(Sampling::Horizontal),
        twice if twice == 2 * blue.1 => Ok(Sampling::Both),
        _ => Err(SAMPLING),
    }
}

const SAMPLING: &str = "its colour sampling is neither 4:2:0 nor 4:2:2";

/// What is behind the data of a scan: the next marker that is no restart.
fn behind_scan(mut data: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr(0xff, data) {
        match data.get(at + 1) {
            Some(0 | 0xd0..=0xd7) => data = &data[at + 2..],
            Some(0xff) => data = &data[at + 1..],
            _ => return &data[at..],
        }
    }
    &[]
}

const SOF2: u8 = 0xc2;
const APP14: u8 = 0xee;
