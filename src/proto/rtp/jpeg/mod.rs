//! What does RTP say of a JPEG picture (RFC 2435), and which pictures can it say nothing of?
//!
//! RTP carries the scan of a baseline picture. A receiver makes the headers anew from a few fields, so everything
//! they do not tell must be as the RFC takes it for granted.

mod bits;
mod coefficients;
mod huffman;
mod rewrite;
mod scan;
mod tables;

use memchr::memmem;

pub use self::rewrite::rewrite;

/// The largest width or height that a byte of the header tells, which counts blocks of 8 pixels. What is larger is told
/// in an extension.
pub(super) const PIXELS_MAX: u16 = 255 * 8;

/// Whether RTP can carry this JPEG file; the reason if not.
pub fn check(file: &[u8]) -> Result<(), &'static str> {
    Picture::parse(file).map(|_| ())
}

/// A picture that RTP can carry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Picture<'a> {
    pub(super) width: u16,
    pub(super) height: u16,
    /// How colour is sampled.
    pub(super) sampling: Sampling,
    /// Units between restart markers; zero when there are none.
    pub(super) restart_interval: u16,
    /// Quantization tables of luminance and chrominance, in zigzag order.
    pub(super) quantization: [&'a [u8; 64]; 2],
    /// Entropy-coded data without the end marker.
    pub(super) scan: &'a [u8],
}

/// The two types of RFC 2435 section 4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampling {
    /// Type 0, 4:2:2.
    Horizontal = 0,
    /// Type 1, 4:2:0.
    Both = 1,
}

/// The parts of a file that come before the scan.
#[derive(Default)]
struct Headers<'a> {
    frame: Option<FrameHeader>,
    quantization: [Option<&'a [u8; 64]>; 4],
    restart_interval: u16,
}

/// What the SOF0 segment says.
#[derive(Clone, Copy)]
struct FrameHeader {
    width: u16,
    height: u16,
    sampling: Sampling,
    /// Identifiers of the three components.
    components: [u8; 3],
    /// Numbers of the tables for luminance and chrominance.
    tables: [u8; 2],
}

impl<'a> Picture<'a> {
    /// Reads a JPEG file; the error says what RTP cannot carry.
    pub(super) fn parse(file: &'a [u8]) -> Result<Picture<'a>, &'static str> {
        let mut rest = file.strip_prefix(&[0xff, SOI]).ok_or("it does not begin like a JPEG file")?;
        let mut headers = Headers::default();
        loop {
            let (marker, segment, behind) = next_segment(rest).ok_or(CUT)?;
            rest = behind;
            match marker {
                DQT => read_quantization(segment, &mut headers.quantization)?,
                DHT => check_huffman(segment)?,
                SOF0 => headers.frame = Some(FrameHeader::parse(segment)?),
                DRI => headers.restart_interval = u16::from_be_bytes(segment.try_into().map_err(|_| CUT)?),
                SOS => return headers.finish(segment, rest),
                // Other frame types; 0xc8 and 0xcc are no frames, but just as little baseline.
                0xc1..=0xcf => return Err("it is not a baseline picture"),
                _ => {}
            }
        }
    }
}

impl<'a> Headers<'a> {
    fn finish(self, scan_header: &[u8], data: &'a [u8]) -> Result<Picture<'a>, &'static str> {
        let frame = self.frame.ok_or("it has no frame header")?;
        let [luma, blue, red] = frame.components;
        // Luminance by tables 0, chrominance by tables 1, all in one scan.
        if scan_header != [3, luma, 0x00, blue, 0x11, red, 0x11, 0, 63, 0] {
            return Err("its scan is not one of three components with the usual tables");
        }
        let table =
            |number: u8| self.quantization[usize::from(number)].ok_or("a quantization table is missing");
        let end = memmem::rfind(data, &END).unwrap_or(data.len());
        if end == 0 {
            return Err(CUT);
        }
        Ok(Picture {
            width: frame.width,
            height: frame.height,
            sampling: frame.sampling,
            restart_interval: self.restart_interval,
            quantization: [table(frame.tables[0])?, table(frame.tables[1])?],
            scan: &data[..end],
        })
    }
}

impl FrameHeader {
    fn parse(segment: &[u8]) -> Result<FrameHeader, &'static str> {
        let &[precision, h1, h0, w1, w0, ref components @ ..] = segment else { return Err(CUT) };
        let [3, id0, sampling0, table0, id1, sampling1, table1, id2, sampling2, table2] = *components else {
            return Err("it has not three components");
        };
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        if precision != 8 {
            return Err("its samples have not 8 bits");
        }
        if width == 0 || height == 0 {
            return Err("it has no size");
        }
        let sampling = match (sampling0, sampling1, sampling2) {
            (0x21, 0x11, 0x11) => Sampling::Horizontal,
            (0x22, 0x11, 0x11) => Sampling::Both,
            _ => {
                return Err(
                    "its colour sampling is neither 4:2:0 nor 4:2:2 in the order that RTP takes for granted",
                );
            }
        };
        if table1 != table2 || table0 > 3 || table1 > 3 {
            return Err("its colours have quantization tables of their own");
        }
        Ok(FrameHeader { width, height, sampling, components: [id0, id1, id2], tables: [table0, table1] })
    }
}

/// What a receiver knows of a picture before its scan.
pub(super) struct FileHeader<'a> {
    /// Width and height; None where the extension alone tells them.
    pub(super) size: Option<(u16, u16)>,
    pub(super) sampling: Sampling,
    pub(super) restart_interval: u16,
    pub(super) quantization: &'a [[u8; 64]; 2],
    /// Further segments, which count for more than all the rest.
    pub(super) extension: &'a [u8],
}

impl FileHeader<'_> {
    /// The file up to its scan (RFC 2435 appendix B, ONVIF streaming specification section 5.1.4.2). None when the picture
    /// has no size.
    pub(super) fn write(&self) -> Option<Vec<u8>> {
        let own = Extension::read(self.extension);
        let mut out = Vec::with_capacity(640 + self.extension.len());
        out.extend_from_slice(&[0xff, SOI]);
        for (number, table) in (0u8..).zip(self.quantization) {
            out.extend_from_slice(&[0xff, DQT, 0, 67, number]);
            out.extend_from_slice(table);
        }
        if self.restart_interval > 0 && !own.has_restart_interval {
            let [high, low] = self.restart_interval.to_be_bytes();
            out.extend_from_slice(&[0xff, DRI, 0, 4, high, low]);
        }
        for table in tables::HUFFMAN {
            // The largest of the four has 179 bytes.
            out.extend_from_slice(&[0xff, DHT, 0, table.len() as u8 + 2]);
            out.extend_from_slice(table);
        }
        if own.frame.is_none() {
            let (width, height) = self.size.filter(|(width, height)| *width > 0 && *height > 0)?;
            out.extend_from_slice(&frame_segment(width, height, self.sampling));
        }
        out.extend_from_slice(own.segments);
        if !own.has_scan {
            out.extend_from_slice(&[0xff, SOS, 0, 12, 3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]);
        }
        Some(out)
    }
}

/// What the extension of a picture's first packets says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extension<'a> {
    /// Whole segments.
    segments: &'a [u8],
    /// Width and height, where they stand in it.
    pub(super) frame: Option<(u16, u16)>,
    has_restart_interval: bool,
    has_scan: bool,
}

impl<'a> Extension<'a> {
    /// Reads segments; what is none at their end is filling, or damage that is left out.
    pub(super) fn read(bytes: &'a [u8]) -> Extension<'a> {
        let mut extension = Extension::default();
        let mut rest = bytes;
        while let Some((marker, segment, behind)) = next_segment(rest) {
            match (marker, segment) {
                (SOF0..=0xcf, [_, h1, h0, w1, w0, ..]) if !matches!(marker, DHT | 0xc8 | 0xcc) => {
                    let [width, height] = [[*w1, *w0], [*h1, *h0]].map(u16::from_be_bytes);
                    extension.frame = Some((width, height)).filter(|_| width > 0 && height > 0);
                }
                (DRI, _) => extension.has_restart_interval = true,
                (SOS, _) => extension.has_scan = true,
                _ => {}
            }
            rest = behind;
            extension.segments = &bytes[..bytes.len() - rest.len()];
        }
        // Data of the scan may stand behind its header.
        if extension.has_scan {
            extension.segments = bytes;
        }
        extension
    }
}

/// A frame header as RTP takes it for granted but for its size.
fn frame_segment(width: u16, height: u16, sampling: Sampling) -> [u8; 19] {
    let ([w1, w0], [h1, h0]) = (width.to_be_bytes(), height.to_be_bytes());
    let luma = match sampling {
        Sampling::Horizontal => 0x21,
        Sampling::Both => 0x22,
    };
    [0xff, SOF0, 0, 17, 8, h1, h0, w1, w0, 3, 1, luma, 0, 2, 0x11, 1, 3, 0x11, 1]
}

/// What an extension says of the size of a picture that the header has no room for: whole words, filled up.
pub(super) fn size_extension(picture: &Picture<'_>) -> Option<[u8; 20]> {
    if picture.width <= PIXELS_MAX && picture.height <= PIXELS_MAX {
        return None;
    }
    let mut extension = [0xff; 20];
    let segment = frame_segment(picture.width, picture.height, picture.sampling);
    extension[..segment.len()].copy_from_slice(&segment);
    Some(extension)
}

/// First 16 bits of the extension of a picture's first packet, and of its other packets.
pub(super) const EXTENDS_FIRST: u16 = 0xffd8;
pub(super) const EXTENDS_OTHERS: u16 = 0xffff;

/// The tables of a quality of 1 to 99 (RFC 2435 section 4.2 and appendix A).
pub(super) fn quantization(quality: u8) -> [[u8; 64]; 2] {
    let quality = u32::from(quality.clamp(1, 99));
    let factor = if quality < 50 { 5_000 / quality } else { 200 - 2 * quality };
    tables::QUANTIZATION
        .map(|table| table.map(|value| ((u32::from(value) * factor + 50) / 100).clamp(1, 255) as u8))
}

/// The next marker with its segment, and what is behind it. None when the file ends.
fn next_segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let bytes = bytes.strip_prefix(&[0xff])?;
    // Any number of fill bytes may stand before a marker.
    let fill = bytes.iter().take_while(|&&byte| byte == 0xff).count();
    let (&marker, bytes) = bytes[fill..].split_first()?;
    let (length, _) = bytes.split_first_chunk::<2>()?;
    let (segment, rest) = bytes.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((marker, segment.get(2..)?, rest))
}

fn read_quantization<'a>(
    mut segment: &'a [u8],
    tables: &mut [Option<&'a [u8; 64]>; 4],
) -> Result<(), &'static str> {
    while let Some((&head, rest)) = segment.split_first() {
        if head > 3 {
            return Err("its quantization tables have not 8 bits");
        }
        let (table, rest) = rest.split_first_chunk::<64>().ok_or(CUT)?;
        tables[usize::from(head)] = Some(table);
        segment = rest;
    }
    Ok(())
}

fn check_huffman(mut segment: &[u8]) -> Result<(), &'static str> {
    while !segment.is_empty() {
        let standard = tables::HUFFMAN.iter().find_map(|table| segment.strip_prefix(*table));
        segment = standard.ok_or("its Huffman tables are not the standard ones")?;
    }
    Ok(())
}

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;

/// What a file ends with.
pub(super) const END: [u8; 2] = [0xff, EOI];

const SOF0: u8 = 0xc0;
const DHT: u8 = 0xc4;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
const SOS: u8 = 0xda;
const CUT: &str = "it is cut off";

#[cfg(test)]
mod rewrite_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A file with `scan` as its data.
    fn file(width: u16, height: u16, sampling: Sampling, restart_interval: u16, scan: &[u8]) -> Vec<u8> {
        let quantization = &tables::QUANTIZATION;
        let size = Some((width, height));
        let header = FileHeader { size, sampling, restart_interval, quantization, extension: &[] };
        let mut out = header.write().unwrap();
        out.extend_from_slice(scan);
        out.extend_from_slice(&END);
        out
    }

    #[test]
    fn a_baseline_picture_with_standard_tables_is_carried() {
        let file = file(1920, 1080, Sampling::Horizontal, 9, &[1, 2, 3]);
        let picture = Picture::parse(&file).unwrap();
        assert_eq!((picture.width, picture.height, picture.restart_interval), (1920, 1080, 9));
        assert_eq!((picture.sampling, picture.scan), (Sampling::Horizontal, &[1, 2, 3][..]));
        assert_eq!(picture.quantization[1], &tables::QUANTIZATION[1]);
    }

    #[test]
    fn what_rtp_cannot_say_is_refused_with_the_reason() {
        let good = file(64, 64, Sampling::Both, 0, &[1]);
        let at = |code: u8| good.windows(2).position(|pair| pair == [0xff, code]).unwrap();
        let refusal = |position: usize, byte: u8| {
            let mut bad = good.clone();
            bad[position] = byte;
            check(&bad).unwrap_err()
        };
        assert!(check(&good).is_ok());
        assert!(refusal(at(SOF0) + 1, 0xc2).contains("baseline"));
        assert!(refusal(at(SOF0) + 8, 0).contains("size"));
        assert!(refusal(at(SOF0) + 11, 0x11).contains("sampling"));
        assert!(refusal(at(DHT) + 9, 2).contains("Huffman"));
        assert!(refusal(at(DQT) + 4, 0x10).contains("8 bits"));
        assert!(refusal(at(SOS) + 6, 0x11).contains("scan"));
        assert!(check(&good[..at(SOS)]).unwrap_err().contains("cut"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_panic(noise: Vec<u8>, at in 0usize..700, byte: u8) {
            let mut bytes = file(64, 64, Sampling::Both, 3, &noise);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            let _ = (check(&bytes), rewrite(&bytes), Extension::read(&bytes));
            let _ = (check(&noise), rewrite(&noise), Extension::read(&noise));
        }
    }
}
