//! MPEG audio, layers 1 to 3 (RFC 2250): frames, or fragments of one, behind the fragment's offset.

use super::assembly::Assembly;
use super::{DepacketizeError, PayloadFormat};
use crate::rtp::header::Header;

#[derive(Default)]
pub(super) struct MpegAudio {
    /// Size of the frame under way, which comes in fragments; zero when there is none.
    fragmented_bytes: usize,
}

impl PayloadFormat for MpegAudio {
    fn handle(
        &mut self,
        header: &Header,
        payload: &[u8],
        out: &mut Assembly,
    ) -> Result<(), DepacketizeError> {
        let Some((&[_, _, high, low], data)) = payload.split_first_chunk::<4>() else {
            return Err(DepacketizeError::Malformed("an MPEG audio payload has no header"));
        };
        let offset = usize::from(u16::from_be_bytes([high, low]));
        if offset == 0 {
            self.abandon(out);
            let size = frame(data).map_or(data.len(), |frame| frame.bytes);
            if size <= data.len() {
                out.emit(header.timestamp, data);
                return Ok(());
            }
            self.fragmented_bytes = size;
            out.restart(header.timestamp);
        } else if self.fragmented_bytes == 0 || out.bytes().len() != offset {
            return Err(DepacketizeError::Malformed("a fragment follows no first one"));
        }
        out.put(data)?;
        if out.bytes().len() >= self.fragmented_bytes {
            self.fragmented_bytes = 0;
            out.mark_keyframe();
            out.finish();
        }
        Ok(())
    }

    fn abandon(&mut self, out: &mut Assembly) {
        if self.fragmented_bytes > 0 {
            self.fragmented_bytes = 0;
            out.truncate(0);
            out.mark_lost();
        }
    }
}

/// What the header of a frame says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rtp) struct Frame {
    /// Size, header included.
    pub(in crate::rtp) bytes: usize,
    /// Samples of each channel.
    pub(in crate::rtp) samples: u32,
    /// Samples a second.
    pub(in crate::rtp) hertz: u32,
}

/// Reads a frame's header (ISO/IEC 11172-3 section 2.4.2.3); None when it does not say how large the frame is.
pub(in crate::rtp) fn frame(frame: &[u8]) -> Option<Frame> {
    let &[0xff, second, third, _] = frame.first_chunk::<4>()? else { return None };
    if second >> 5 != 7 {
        return None;
    }
    let version = Version::from_bits(second >> 3 & 3)?;
    let layer = 4 - usize::from(second >> 1 & 3);
    let padding = usize::from(third >> 1 & 1);
    let rates = match (version, layer) {
        (_, 4) => return None,
        (Version::One, _) => &KBITS_1[layer - 1],
        (_, 1) => &KBITS_2[0],
        _ => &KBITS_2[1],
    };
    let kbits = usize::from(*rates.get(usize::from(third >> 4))?);
    let hertz = *[44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))?;
    let (hertz, halved) = match version {
        Version::One => (hertz, 1),
        Version::Two => (hertz / 2, 2),
        Version::TwoAndHalf => (hertz / 4, 2),
    };
    if kbits == 0 {
        return None;
    }
    let (bytes, samples) = match layer {
        // Slots of 4 bytes.
        1 => ((12 * kbits * 1_000 / hertz + padding) * 4, 384),
        2 => (144 * kbits * 1_000 / hertz + padding, 1_152),
        // Layer 3 of the lower rates has half as many samples.
        _ => (144 / halved * kbits * 1_000 / hertz + padding, 1_152 / halved as u32),
    };
    Some(Frame { bytes, samples, hertz: hertz as u32 })
}

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
    TwoAndHalf,
}

impl Version {
    fn from_bits(bits: u8) -> Option<Version> {
        match bits {
            0 => Some(Version::TwoAndHalf),
            2 => Some(Version::Two),
            3 => Some(Version::One),
            _ => None,
        }
    }
}

/// Rates of MPEG-1 layers 1, 2 and 3; zero is a free one.
const KBITS_1: [[u16; 15]; 3] = [
    [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
];

/// Rates of the lower sampling frequencies: layer 1, layers 2 and 3.
const KBITS_2: [[u16; 15]; 2] = [
    [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

#[cfg(test)]
mod tests {
    use super::{Frame, frame};

    #[test]
    fn sizes_of_frames_are_those_of_the_standard() {
        let frame_bytes = |header: &[u8]| frame(header).map(|frame| frame.bytes);
        // 128 kbit/s at 44.1 kHz, without and with padding; 320 kbit/s at 48 kHz; layer 2, 192 kbit/s at 48 kHz.
        assert_eq!(frame_bytes(&[0xff, 0xfb, 0x90, 0]), Some(417));
        assert_eq!(frame_bytes(&[0xff, 0xfb, 0x92, 0]), Some(418));
        assert_eq!(frame_bytes(&[0xff, 0xfb, 0xe4, 0]), Some(960));
        assert_eq!(frame_bytes(&[0xff, 0xfd, 0xa4, 0]), Some(576));
        // MPEG-2 layer 3, 64 kbit/s at 22.05 kHz.
        assert_eq!(frame(&[0xff, 0xf3, 0x80, 0]), Some(Frame { bytes: 208, samples: 576, hertz: 22_050 }));
        assert_eq!(frame_bytes(&[0xff, 0xfb, 0x00, 0]), None);
        assert_eq!(frame_bytes(&[0x12, 0xfb, 0x90, 0]), None);
    }
}
