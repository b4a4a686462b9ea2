//! How does an RTP packet that no datagram holds become several?
//!
//! One file a payload format. Publishers on TCP may send packets of up to 64 KiB. Each is cut by itself, as its format
//! cuts frames, so nothing waits for the rest of a frame and a loss stays where it was. Pieces are of equal size with a
//! shorter last one. They have headers of 12 bytes: contributing sources, extension and padding are left out, but for the
//! extension of JPEG, which tells the size of large pictures.

mod aac;
mod av1;
mod jpeg;
mod mpeg_audio;
mod nal;
#[cfg(test)]
mod tests;
mod vp8;
mod vp9;

use smallvec::SmallVec;
use thiserror::Error;

use super::batch::BatchWriter;
use super::header::HEADER_BYTES;
use super::packetize::raw_audio::RawAudio;
use super::packetize::{MTU_BYTES_MAX, MTU_BYTES_MIN, carries};
use crate::track::Codec;

/// Why a packet stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RefragmentError {
    /// The format has no way to say it, or is not known.
    #[error("its format knows no fragments of it")]
    Indivisible,
    /// The payload breaks its format.
    #[error("the payload is malformed: {0}")]
    Malformed(&'static str),
}

/// What is to be cut, and into what.
struct Large<'a> {
    /// Not empty.
    payload: &'a [u8],
    /// The packet's marker.
    marker: bool,
    /// The extension that its first piece keeps: its first 16 bits, and whole words.
    extension: Option<(u16, &'a [u8])>,
    /// Bytes of a piece behind its RTP header.
    payload_max: usize,
}

/// Writes the packets that the payload of a packet becomes; the numbers are the writer's, which afterwards has its timestamp back.
/// `packet_bytes_max` is the largest of them, header included. After an error nothing is written.
pub fn refragment(
    codec: &Codec,
    marker: bool,
    extension: Option<(u16, &[u8])>,
    payload: &[u8],
    packet_bytes_max: usize,
    writer: &mut BatchWriter,
) -> Result<(), RefragmentError> {
    if payload.is_empty() || carries(codec).is_err() {
        return Err(RefragmentError::Indivisible);
    }
    let payload_max = packet_bytes_max.clamp(MTU_BYTES_MIN, MTU_BYTES_MAX) - HEADER_BYTES;
    let extension = extension.filter(|_| *codec == Codec::Jpeg);
    let large = Large { payload, marker, extension, payload_max };
    let timestamp = writer.numbering().timestamp;
    let result = match codec {
        Codec::H264 { .. } => nal::write_h264(&large, writer),
        Codec::H265 { .. } => nal::write_h265(&large, writer),
        // The stream as it is (RFC 6416 section 5.2): it may be cut anywhere.
        Codec::Mpeg4Visual { .. } => large.cut(&[], &[], payload, writer, |_, _| {}),
        Codec::Jpeg => jpeg::write(&large, writer),
        Codec::Vp8 => vp8::write(&large, writer),
        Codec::Vp9 { .. } => vp9::write(&large, writer),
        Codec::Av1 { .. } => av1::write(&large, writer),
        Codec::Aac { config, .. } => aac::write(&large, config, writer),
        Codec::MpegAudio => mpeg_audio::write(&large, writer),
        _ => RawAudio::new(codec)
            .map(|raw| raw.split(payload, marker, payload_max, writer))
            .ok_or(RefragmentError::Indivisible),
    };
    writer.set_timestamp(timestamp);
    result
}

/// Where a piece lies in what is cut.
#[derive(Clone, Copy)]
struct Place {
    /// Bytes before it.
    offset: usize,
    /// Whether nothing is behind it.
    is_last: bool,
}

impl Large<'_> {
    /// Cuts `data`: each piece stands behind a header, the first one behind its own, in which `adapt` enters what the
    /// place asks for. The last piece has the packet's marker.
    fn cut(
        &self,
        first_header: &[u8],
        header: &[u8],
        data: &[u8],
        writer: &mut BatchWriter,
        adapt: impl Fn(&mut [u8], Place),
    ) -> Result<(), RefragmentError> {
        let extended = self.extension.map_or(0, |(_, extension)| EXTENSION_HEAD_BYTES + extension.len());
        let longest = (first_header.len() + extended).max(header.len());
        if data.is_empty() || longest >= self.payload_max {
            return Err(RefragmentError::Malformed("it is a header and little else"));
        }
        // Most headers have few bytes; the tables of a JPEG picture cost an allocation a picture.
        let mut own = [Own::from_slice(first_header), Own::from_slice(header)];
        let mut offset = 0;
        while offset < data.len() {
            let header = &mut own[usize::from(offset > 0)];
            let extended = if offset == 0 { extended } else { 0 };
            let size = (data.len() - offset).min(self.payload_max - header.len() - extended);
            let is_last = offset + size == data.len();
            adapt(header, Place { offset, is_last });
            match self.extension.filter(|_| offset == 0) {
                Some((profile, extension)) => {
                    writer.begin_extended(self.marker && is_last, profile, extension)
                }
                None => writer.begin(self.marker && is_last),
            }
            writer.put(header);
            writer.put(&data[offset..offset + size]);
            writer.end();
            offset += size;
        }
        Ok(())
    }
}

/// Bytes before what an extension holds.
const EXTENSION_HEAD_BYTES: usize = 4;

/// A header that is adapted.
type Own = SmallVec<[u8; 16]>;

const CUT_OFF: RefragmentError = RefragmentError::Malformed("it is cut off");
