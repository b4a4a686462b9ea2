//! H.264 (RFC 6184) and H.265 (RFC 7798): a large unit becomes fragments, a large fragment smaller ones, and units that
//! came together are put together anew.

use smallvec::SmallVec;

use super::{CUT_OFF, Large, RefragmentError};
use crate::rtp::batch::BatchWriter;
use crate::rtp::depacketize::units::{END_BIT, START_BIT, aggregated};
use crate::rtp::packetize::h264::H264Units;
use crate::rtp::packetize::h265::H265Units;
use crate::rtp::packetize::units::{self, UnitFormat};

pub(super) fn write_h264(large: &Large<'_>, writer: &mut BatchWriter) -> Result<(), RefragmentError> {
    match large.payload[0] & 0x1f {
        1..=23 => write_units::<H264Units>(large, std::iter::once(large.payload), writer),
        // STAP-A.
        24 => write_units::<H264Units>(large, aggregated(&large.payload[1..]), writer),
        // FU-A.
        28 => write_fragment::<H264Units>(large, writer),
        // The interleaved mode, and what has no meaning.
        _ => Err(RefragmentError::Indivisible),
    }
}

pub(super) fn write_h265(large: &Large<'_>, writer: &mut BatchWriter) -> Result<(), RefragmentError> {
    match large.payload[0] >> 1 & 0x3f {
        0..=47 => write_units::<H265Units>(large, std::iter::once(large.payload), writer),
        48 => write_units::<H265Units>(large, aggregated(large.payload.get(2..).ok_or(CUT_OFF)?), writer),
        49 => write_fragment::<H265Units>(large, writer),
        // Payload content information, and what has no meaning.
        _ => Err(RefragmentError::Indivisible),
    }
}

fn write_units<'a, F: UnitFormat>(
    large: &Large<'_>,
    units: impl Iterator<Item = &'a [u8]>,
    writer: &mut BatchWriter,
) -> Result<(), RefragmentError> {
    let units: SmallVec<[&[u8]; 16]> = units.filter(|unit| unit.len() >= F::HEADER_BYTES).collect();
    if units.is_empty() {
        return Err(RefragmentError::Malformed("no unit is whole"));
    }
    units::write::<F>(&units, large.marker, large.payload_max, writer);
    Ok(())
}

/// The last byte of a fragment's header says whether its unit begins and ends in it.
fn write_fragment<F: UnitFormat>(large: &Large<'_>, writer: &mut BatchWriter) -> Result<(), RefragmentError> {
    let (header, data) = large.payload.split_at_checked(F::HEADER_BYTES + 1).ok_or(CUT_OFF)?;
    let own = header[F::HEADER_BYTES];
    large.cut(header, header, data, writer, |header, place| {
        let starts = if place.offset == 0 { own & START_BIT } else { 0 };
        let ends = if place.is_last { own & END_BIT } else { 0 };
        header[F::HEADER_BYTES] = own & !(START_BIT | END_BIT) | starts | ends;
    })
}
