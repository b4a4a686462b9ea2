//! JPEG (RFC 2435): a file made of the scan and of headers that follow from a few fields, or from segments in an extension
//! of the RTP header (ONVIF streaming specification section 5.1.4).

use super::assembly::Assembly;
use super::{DepacketizeError, PayloadFormat};
use crate::rtp::header::Header;
use crate::rtp::jpeg::{self, Extension, FileHeader, Sampling};

const CUT: DepacketizeError = DepacketizeError::Malformed("a JPEG payload is cut off");

#[derive(Default)]
pub(super) struct Jpeg {
    /// Where the scan begins in the file under way; None while it is not intact.
    scan_start: Option<usize>,
    /// Tables that were sent once for a Q of 128 to 254.
    known: Option<(u8, Tables)>,
    /// What extensions of this picture's packets have brought.
    extension: Vec<u8>,
    /// Width and height where a picture's own headers do not tell: those of the picture before, or of the description.
    size: Option<(u16, u16)>,
}

/// The largest extension of one packet has 256 KiB; what goes beyond that is no header of a picture.
const EXTENSION_BYTES_MAX: usize = 4 * 65_535;

type Tables = [[u8; 64]; 2];

impl PayloadFormat for Jpeg {
    fn handle(
        &mut self,
        header: &Header,
        payload: &[u8],
        out: &mut Assembly,
    ) -> Result<(), DepacketizeError> {
        let (&[_, o2, o1, o0, kind, quality, width, height], rest) =
            payload.split_first_chunk::<8>().ok_or(CUT)?;
        let offset = u32::from_be_bytes([0, o2, o1, o0]) as usize;
        let mut restart_interval = 0;
        let mut rest = rest;
        if kind & 0x40 != 0 {
            let (&[high, low, _, _], behind) = rest.split_first_chunk::<4>().ok_or(CUT)?;
            restart_interval = u16::from_be_bytes([high, low]);
            rest = behind;
        }
        if offset == 0 {
            let (quantization, behind) = self.tables(quality, rest)?;
            rest = behind;
            if let Some(size) = Extension::read(&self.extension).frame {
                self.size = Some(size);
            }
            let told = (u16::from(width) * 8, u16::from(height) * 8);
            let file = FileHeader {
                size: if width > 0 && height > 0 { Some(told) } else { self.size },
                sampling: sampling(kind)?,
                restart_interval,
                quantization: &quantization,
                extension: &self.extension,
            };
            out.truncate(0);
            out.put(&file.write().ok_or(DepacketizeError::Malformed("a JPEG picture has no size"))?)?;
            self.scan_start = Some(out.bytes().len());
        }
        let Some(start) = self.scan_start.filter(|start| out.bytes().len() == start + offset) else {
            return Err(DepacketizeError::Malformed("a fragment follows no first one"));
        };
        self.scan_start = Some(start);
        out.put(rest)?;
        if header.marker {
            if !out.bytes().ends_with(&jpeg::END) {
                out.put(&jpeg::END)?;
            }
            out.mark_keyframe();
            self.scan_start = None;
        }
        Ok(())
    }

    fn handle_extension(&mut self, profile: u16, extension: &[u8]) {
        match profile {
            jpeg::EXTENDS_FIRST => {
                self.extension.clear();
                self.extension.extend_from_slice(extension);
            }
            // Headers that one packet has no room for.
            jpeg::EXTENDS_OTHERS
                if self.scan_start.is_none()
                    && self.extension.len() + extension.len() <= EXTENSION_BYTES_MAX =>
            {
                self.extension.extend_from_slice(extension);
            }
            _ => {}
        }
    }

    fn abandon(&mut self, out: &mut Assembly) {
        self.extension.clear();
        // A picture with a hole cannot be decoded; a complete one has no scan under way any more.
        if self.scan_start.take().is_some() {
            out.truncate(0);
            out.mark_lost();
        }
    }
}

impl Jpeg {
    /// For pictures of which a description tells the size, or not.
    pub(super) fn new(size: Option<(u32, u32)>) -> Jpeg {
        let pixels = |side: u32| u16::try_from(side).ok();
        let size = size.and_then(|(width, height)| Some((pixels(width)?, pixels(height)?)));
        Jpeg { size, ..Jpeg::default() }
    }

    /// The picture's tables, and what is behind them (RFC 2435 sections 3.1.8 and 4.2).
    fn tables<'a>(&mut self, quality: u8, bytes: &'a [u8]) -> Result<(Tables, &'a [u8]), DepacketizeError> {
        match quality {
            1..=99 => return Ok((jpeg::quantization(quality), bytes)),
            128.. => {}
            _ => return Err(DepacketizeError::Malformed("a JPEG picture has a reserved Q")),
        }
        let (&[_, precision, high, low], rest) = bytes.split_first_chunk::<4>().ok_or(CUT)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (sent, rest) = rest.split_at_checked(length).ok_or(CUT)?;
        if length == 0 {
            let known = self.known.filter(|(own, _)| *own == quality && quality != 255);
            let (_, tables) = known.ok_or(DepacketizeError::Malformed("a JPEG picture has no tables"))?;
            return Ok((tables, rest));
        }
        if precision != 0 {
            return Err(DepacketizeError::Unsupported("JPEG tables of 16 bits"));
        }
        let (&luma, behind) = sent.split_first_chunk::<64>().ok_or(CUT)?;
        // A single table serves for all components.
        let chroma = behind.first_chunk::<64>().copied().unwrap_or(luma);
        self.known = Some((quality, [luma, chroma]));
        Ok(([luma, chroma], rest))
    }
}

fn sampling(kind: u8) -> Result<Sampling, DepacketizeError> {
    match kind {
        0 | 64 => Ok(Sampling::Horizontal),
        1 | 65 => Ok(Sampling::Both),
        _ => Err(DepacketizeError::Unsupported("JPEG pictures of this type")),
    }
}

/// Whether a picture begins in this payload; each can be decoded by itself.
pub(super) fn is_frame_start(payload: &[u8]) -> bool {
    payload.get(1..4) == Some(&[0, 0, 0])
}
