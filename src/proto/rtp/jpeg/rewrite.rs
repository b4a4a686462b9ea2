//! A JPEG picture that RTP cannot carry as one that it can, without a loss: the same coefficients, written with the
//! tables and in the order that RFC 2435 takes for granted.
//!
//! | in the source | in RTP |
//! |---|---|
//! | Huffman tables of its own | those of annex K of ITU-T T.81 |
//! | scans of their own for components, bands and bits (progressive), restart markers | one scan without |
//! | blocks of half the columns and all rows in units of 16 by 16 | the same in units of 16 by 8 |
//! | grey | 4:2:0 with colours that are none |

use super::bits::BitWriter;
use super::coefficients::{Block, Coefficients, Component, read};
use super::huffman::{Encoder, standard_encoders};
use super::{END, FileHeader, Sampling};

/// The file that RTP can carry; the error says why there is none of the same coefficients.
pub fn rewrite(file: &[u8]) -> Result<Vec<u8>, &'static str> {
    let picture = read(file)?;
    let sampling = picture.sampling;
    let quantization = quantization(&picture)?;
    let header = FileHeader {
        size: Some((picture.width, picture.height)),
        sampling,
        restart_interval: 0,
        quantization: &quantization,
        extension: &[],
    };
    let head = header.write().ok_or("it has no size")?;
    let mut scan = Scan { bits: BitWriter::new(head), encoders: standard_encoders(), before: [0; 3] };
    let down = if sampling == Sampling::Both { 2 } else { 1 };
    let units_across = usize::from(picture.width).div_ceil(16);
    let units_down = usize::from(picture.height).div_ceil(8 * down);
    for (unit_down, unit_across) in
        (0..units_down).flat_map(|line| (0..units_across).map(move |it| (line, it)))
    {
        for line in unit_down * down..(unit_down + 1) * down {
            scan.write(0, picture.components.first(), 2 * unit_across, line)?;
            scan.write(0, picture.components.first(), 2 * unit_across + 1, line)?;
        }
        scan.write(1, picture.components.get(1), unit_across, unit_down)?;
        scan.write(2, picture.components.get(2), unit_across, unit_down)?;
    }
    let mut out = scan.bits.finish();
    out.extend_from_slice(&END);
    Ok(out)
}

fn quantization(picture: &Coefficients) -> Result<[[u8; 64]; 2], &'static str> {
    let table = |index: usize| picture.components.get(index).map(|it| it.quantization);
    match (table(0), table(1), table(2)) {
        (Some(Some(grey)), None, _) => Ok([grey, grey]),
        (Some(Some(luma)), Some(Some(blue)), Some(Some(red))) if blue == red => Ok([luma, blue]),
        _ => Err("its colours have quantization tables of their own"),
    }
}

/// The scan while it is written.
struct Scan {
    bits: BitWriter,
    /// Of DC values, then of AC values, luminance first.
    encoders: [Encoder; 4],
    /// DC value of the last block of each component.
    before: [i32; 3],
}

impl Scan {
    /// Writes a block of a component; where it has none, what costs least: one like the last before it.
    fn write(
        &mut self,
        index: usize,
        component: Option<&Component>,
        across: usize,
        down: usize,
    ) -> Result<(), &'static str> {
        const TOO_LARGE: &str = "its coefficients are larger than those of 8 bits";
        let mut like_last: Block = [0; 64];
        like_last[0] = self.before[index] as i16;
        let block = component.and_then(|it| it.block(across, down)).unwrap_or(&like_last);
        let [dc_luma, dc_chroma, ac_luma, ac_chroma] = &self.encoders;
        let (dc, ac) = if index == 0 { (dc_luma, ac_luma) } else { (dc_chroma, ac_chroma) };
        let difference = i32::from(block[0]) - self.before[index];
        self.before[index] = block[0].into();
        let size = bits_of(difference);
        let mut is_known = size <= 11 && dc.write(size as u8, &mut self.bits);
        if !is_known {
            return Err(TOO_LARGE);
        }
        self.bits.put_signed(difference, size);
        let mut run = 0;
        for value in &block[1..] {
            if *value == 0 {
                run += 1;
                continue;
            }
            while run >= 16 {
                is_known &= ac.write(0xf0, &mut self.bits);
                run -= 16;
            }
            let size = bits_of((*value).into());
            is_known &= size <= 10 && ac.write(run << 4 | size as u8, &mut self.bits);
            if !is_known {
                return Err(TOO_LARGE);
            }
            self.bits.put_signed((*value).into(), size);
            run = 0;
        }
        if run > 0 {
            ac.write(0, &mut self.bits);
        }
        Ok(())
    }
}

/// Bits of a number's magnitude.
fn bits_of(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}
