//! What H.264 and H.265 share: units, whole or in fragments, put behind start codes.

use super::DepacketizeError;
use super::assembly::Assembly;

const START_CODE: &[u8] = &[0, 0, 0, 1];

/// The bits of a fragment's header that say where it begins and ends.
pub(in crate::rtp) const START_BIT: u8 = 0x80;
pub(in crate::rtp) const END_BIT: u8 = 0x40;

/// Puts units into a frame.
#[derive(Default)]
pub(super) struct Units {
    /// Where the unit begins whose last fragment has not come.
    open: Option<usize>,
}

impl Units {
    /// Puts one whole unit.
    pub(super) fn put(&mut self, unit: &[u8], out: &mut Assembly) -> Result<(), DepacketizeError> {
        self.abandon(out);
        out.put(START_CODE)?;
        out.put(unit)
    }

    /// Puts a fragment. `header` is the unit's own, `bits` are those of the fragment's header.
    pub(super) fn put_fragment(
        &mut self,
        header: &[u8],
        bits: u8,
        fragment: &[u8],
        out: &mut Assembly,
    ) -> Result<(), DepacketizeError> {
        if bits & START_BIT != 0 {
            self.abandon(out);
            let start = out.bytes().len();
            out.put(START_CODE)?;
            out.put(header)?;
            self.open = Some(start);
        }
        if self.open.is_none() {
            return Err(DepacketizeError::Malformed("a fragment follows no first one"));
        }
        out.put(fragment)?;
        if bits & END_BIT != 0 {
            self.open = None;
        }
        Ok(())
    }

    /// Takes back the unit whose last fragment has not come.
    pub(super) fn abandon(&mut self, out: &mut Assembly) {
        if let Some(start) = self.open.take() {
            out.truncate(start);
            out.mark_lost();
        }
    }
}

/// The units of an aggregation packet, each behind its 16-bit size; ends at one that is cut off or empty.
pub(in crate::rtp) fn aggregated(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (size, rest) = bytes.split_first_chunk::<2>()?;
        let (unit, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        bytes = rest;
        (!unit.is_empty()).then_some(unit)
    })
}
