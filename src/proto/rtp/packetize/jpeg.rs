//! JPEG (RFC 2435): the scan of a picture behind the fields from which a receiver makes its headers.
//!
//! ```text
//! |type-specific (8) = 0| fragment offset (24) | type (8) | Q (8) = 255 | width/8 (8) | height/8 (8) |
//! | restart interval (16) |F|L| restart count (14) |                    types 64 and 65 only
//! | must be zero (8) | precision (8) = 0 | length (16) = 128 | tables   the first packet of a picture only
//! ```
//!
//! A picture of more than 2040 pixels has zero there, and its size in an extension of the first packet's RTP header (ONVIF
//! streaming specification section 5.1.4).

use super::super::batch::BatchWriter;
use super::super::jpeg::{self, Picture};
use super::{PacketizeError, Room};

/// Whether RTP can carry this JPEG file; the reason if not. A source looks at its first picture before it offers the
/// track.
pub use jpeg::check;

/// Type offset of pictures with restart markers (RFC 2435 section 3.1.3).
const RESTART_TYPE: u8 = 64;

/// Q of tables that may differ from picture to picture, so that every picture brings its own (section 3.1.8).
const OWN_TABLES: u8 = 255;

/// Bytes before what an extension holds.
const EXTENSION_HEAD_BYTES: usize = 4;

/// First and last, count unknown: only the whole picture can be decoded (section 3.1.7).
const WHOLE_PICTURE: [u8; 2] = [0xff, 0xff];

pub(super) fn write(file: &[u8], room: Room, writer: &mut BatchWriter) -> Result<(), PacketizeError> {
    let picture = Picture::parse(file).map_err(PacketizeError::Unsupported)?;
    if picture.scan.len() >= 1 << 24 {
        return Err(PacketizeError::Unsupported("a JPEG picture is longer than 16 MiB"));
    }
    let restart = picture.restart_interval.to_be_bytes();
    let restart_header = [restart[0], restart[1], WHOLE_PICTURE[0], WHOLE_PICTURE[1]];
    let restart_header = if picture.restart_interval > 0 { &restart_header[..] } else { &[] };
    let [luma, chroma] = picture.quantization;
    let extension = jpeg::size_extension(&picture);
    let extension_bytes = extension.map_or(0, |extension| EXTENSION_HEAD_BYTES + extension.len());
    let mut tables: [&[u8]; 3] = [&[0, 0, 0, 128], luma, chroma];
    let mut offset = 0;
    while offset < picture.scan.len() {
        let header = main_header(&picture, offset);
        let table_bytes: usize = tables.iter().map(|table| table.len()).sum();
        let extended_bytes = if offset == 0 { extension_bytes } else { 0 };
        let header_bytes = header.len() + restart_header.len() + table_bytes + extended_bytes;
        let end = picture.scan.len().min(offset + room.payload_max - header_bytes);
        let is_last = end == picture.scan.len();
        match extension.filter(|_| offset == 0) {
            Some(extension) => writer.begin_extended(is_last, jpeg::EXTENDS_FIRST, &extension),
            None => writer.begin(is_last),
        }
        for part in [&header, restart_header, tables[0], tables[1], tables[2], &picture.scan[offset..end]] {
            writer.put(part);
        }
        writer.end();
        tables = [&[]; 3];
        offset = end;
    }
    Ok(())
}

fn main_header(picture: &Picture<'_>, offset: usize) -> [u8; 8] {
    let [_, high, middle, low] = (offset as u32).to_be_bytes();
    let kind = picture.sampling as u8 + if picture.restart_interval > 0 { RESTART_TYPE } else { 0 };
    let is_told = picture.width <= jpeg::PIXELS_MAX && picture.height <= jpeg::PIXELS_MAX;
    let blocks = |pixels: u16| if is_told { pixels.div_ceil(8) as u8 } else { 0 };
    let [width, height] = [picture.width, picture.height].map(blocks);
    [0, high, middle, low, kind, OWN_TABLES, width, height]
}
