//! MPEG audio (RFC 2250 section 3.5): as many whole frames as fit a packet, a large one in fragments.

use super::{CUT_OFF, Large, RefragmentError};
use crate::rtp::batch::BatchWriter;
use crate::rtp::depacketize::mpeg_audio::{Frame, frame};

/// Bytes in front of frames, or of a fragment.
const HEADER_BYTES: usize = 4;

/// Ticks of the RTP clock a second.
const CLOCK_RATE: u64 = 90_000;

pub(super) fn write(large: &Large<'_>, writer: &mut BatchWriter) -> Result<(), RefragmentError> {
    let (&[_, _, high, low], data) = large.payload.split_first_chunk::<HEADER_BYTES>().ok_or(CUT_OFF)?;
    let offset = usize::from(u16::from_be_bytes([high, low]));
    if data.is_empty() {
        return Err(CUT_OFF);
    }
    if offset + data.len() > usize::from(u16::MAX) {
        return Err(RefragmentError::Malformed("its frame is longer than 65535 bytes"));
    }
    let mut marker = large.marker;
    if offset > 0 {
        write_fragments(offset, data, marker, large.payload_max, writer);
        return Ok(());
    }
    let start = writer.numbering().timestamp;
    let mut rest = data;
    let mut samples = 0;
    while !rest.is_empty() {
        let (together, hertz, count) = frames_together(rest, large.payload_max - HEADER_BYTES);
        write_fragments(0, together, marker, large.payload_max, writer);
        marker = false;
        samples += count;
        // A frame that does not tell its rate is the last.
        let ticks = samples * CLOCK_RATE / u64::from(hertz.max(1));
        writer.set_timestamp(start.wrapping_add(ticks as u32));
        rest = &rest[together.len()..];
    }
    Ok(())
}

/// The next frames that fit a packet, or a large one, with their rate and the samples of them all. What does not tell
/// its size is one with all that follows.
fn frames_together(data: &[u8], bytes_max: usize) -> (&[u8], u32, u64) {
    let (mut bytes, mut samples, mut rate) = (0, 0, 0);
    while bytes < data.len() {
        let Frame { bytes: size, samples: count, hertz } = match frame(&data[bytes..]) {
            Some(frame) => frame,
            None => Frame { bytes: data.len(), samples: 0, hertz: 0 },
        };
        let end = data.len().min(bytes + size);
        if end > bytes_max && bytes > 0 {
            break;
        }
        bytes = end;
        samples += u64::from(count);
        rate = rate.max(hertz);
    }
    (&data[..bytes], rate, samples)
}

/// Writes frames that fit, or fragments of one; the first packet has the marker, which says that sound begins.
fn write_fragments(
    mut offset: usize,
    data: &[u8],
    mut marker: bool,
    payload_max: usize,
    writer: &mut BatchWriter,
) {
    for fragment in data.chunks(payload_max - HEADER_BYTES) {
        // Not beyond what 16 bits can say: that was looked at.
        let [high, low] = (offset as u16).to_be_bytes();
        writer.packet(marker, &[&[0, 0, high, low], fragment]);
        marker = false;
        offset += fragment.len();
    }
}
