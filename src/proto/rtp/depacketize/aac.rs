//! AAC in mode AAC-hbr (RFC 3640): sizes of 13 bits and indices of 3 bits.

use super::assembly::Assembly;
use super::{DepacketizeError, PayloadFormat};
use crate::rtp::header::Header;

const HEADER_BYTES: usize = 2;

/// Samples of an access unit; twice as many of the output where the configuration names spectral band replication.
const UNIT_SAMPLES: u32 = 1_024;

pub(super) struct Aac {
    unit_samples: u32,
    /// Size of the unit under way, which comes in fragments; zero when there is none.
    fragmented_bytes: usize,
}

impl Aac {
    /// `config` is the AudioSpecificConfig, whose first five bits are the object type.
    pub(super) fn new(config: &[u8]) -> Aac {
        Aac { unit_samples: unit_samples(config), fragmented_bytes: 0 }
    }
}

/// Samples of an access unit, which are ticks of the RTP clock.
pub(in crate::rtp) fn unit_samples(config: &[u8]) -> u32 {
    let is_replicated = config.first().is_some_and(|byte| matches!(byte >> 3, 5 | 29));
    if is_replicated { 2 * UNIT_SAMPLES } else { UNIT_SAMPLES }
}

impl PayloadFormat for Aac {
    fn handle(
        &mut self,
        header: &Header,
        payload: &[u8],
        out: &mut Assembly,
    ) -> Result<(), DepacketizeError> {
        const CUT: DepacketizeError = DepacketizeError::Malformed("an AAC payload is cut off");
        let (bits, rest) = payload.split_first_chunk::<2>().ok_or(CUT)?;
        let bits = usize::from(u16::from_be_bytes(*bits));
        let (sizes, mut data) = rest.split_at_checked(bits.div_ceil(8)).ok_or(CUT)?;
        let sizes = sizes
            .chunks_exact(HEADER_BYTES)
            .map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]]) >> 3));
        if let (Some(size), 1) = (sizes.clone().next(), sizes.len())
            && size > data.len()
        {
            return self.handle_fragment(header.timestamp, size, data, out);
        }
        self.abandon(out);
        let mut timestamp = header.timestamp;
        for size in sizes {
            let (unit, behind) = data.split_at_checked(size).ok_or(CUT)?;
            if !unit.is_empty() {
                out.emit(timestamp, unit);
            }
            timestamp = timestamp.wrapping_add(self.unit_samples);
            data = behind;
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

impl Aac {
    /// Takes a fragment of a unit of `size` bytes; the last one brings it to that size.
    fn handle_fragment(
        &mut self,
        timestamp: u32,
        size: usize,
        fragment: &[u8],
        out: &mut Assembly,
    ) -> Result<(), DepacketizeError> {
        if size != self.fragmented_bytes || out.is_of_other_time(timestamp) {
            self.abandon(out);
            out.restart(timestamp);
        }
        self.fragmented_bytes = size;
        out.put(fragment)?;
        if out.bytes().len() >= size {
            out.truncate(size);
            self.fragmented_bytes = 0;
            out.mark_keyframe();
            out.finish();
        }
        Ok(())
    }
}
