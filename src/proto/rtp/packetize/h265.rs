//! H.265 (RFC 7798): single units, aggregation packets and fragmentation units, without decoding order numbers.
//!
//! ```text
//! unit: |F| type (6) | layer (6) | temporal id (3) | ...
//! AP:   |F|   48     |  lowest   |    lowest       | size (16) | unit | size (16) | unit | ...
//! FU:   |F|   49     |  layer    |  temporal id    |S|E| type (6) | fragment ...
//! ```

use bytes::Bytes;

use super::super::batch::BatchWriter;
use super::super::nal::{self, Units};
use super::units::{self, Part, UnitFormat};
use super::{PacketizeError, Room};
use crate::frame::Frame;
use crate::track::Framing;

/// Writes H.265 frames; knows the parameter sets in force.
pub(super) struct H265 {
    framing: Framing,
    vps: Vec<Bytes>,
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
}

impl H265 {
    pub(super) fn new(vps: &[Bytes], sps: &[Bytes], pps: &[Bytes], framing: Framing) -> H265 {
        let [vps, sps, pps] = [vps, sps, pps].map(|sets| super::usable_sets(sets, H265Units::HEADER_BYTES));
        H265 { framing, vps, sps, pps }
    }

    pub(super) fn write(
        &mut self,
        frame: &Frame,
        room: Room,
        writer: &mut BatchWriter,
    ) -> Result<(), PacketizeError> {
        let mut own = nal::units(&frame.payload, self.framing).ok_or(PacketizeError::UNIT_SIZE)?;
        // Types from 48 on mean something else in RTP; delimiters and filler are of no use to a receiver.
        own.retain(|unit| {
            unit.len() >= H265Units::HEADER_BYTES
                && !matches!(unit_type(unit), AUD | END_OF_SEQUENCE | END_OF_STREAM | FILLER | 48..)
        });
        if own.is_empty() {
            return Ok(());
        }
        let complete = self.remember(&own);
        if !frame.keyframe || complete {
            units::write::<H265Units>(&own, true, room.payload_max, writer);
            return Ok(());
        }
        let mut all: Units<'_> = self.sets().map(|set| &set[..]).collect();
        all.extend_from_slice(&own);
        units::write::<H265Units>(&all, true, room.payload_max, writer);
        Ok(())
    }

    /// Keeps the parameter sets of a frame that has all kinds, for keyframes to come that have none. Returns whether
    /// the frame has all.
    fn remember(&mut self, own: &[&[u8]]) -> bool {
        let complete = [VPS, SPS, PPS].iter().all(|kind| own.iter().any(|unit| unit_type(unit) == *kind));
        if complete {
            super::replace_sets(&mut self.vps, own, |unit| unit_type(unit) == VPS);
            super::replace_sets(&mut self.sps, own, |unit| unit_type(unit) == SPS);
            super::replace_sets(&mut self.pps, own, |unit| unit_type(unit) == PPS);
        }
        complete
    }

    /// Bytes of the sets that may be put in front of a keyframe.
    pub(super) fn set_bytes(&self) -> usize {
        self.sets().map(|set| set.len() + 2).sum()
    }

    fn sets(&self) -> impl Iterator<Item = &Bytes> {
        self.vps.iter().chain(&self.sps).chain(&self.pps)
    }
}

/// How H.265 stands in packets.
pub(in crate::rtp) struct H265Units;

impl UnitFormat for H265Units {
    const HEADER_BYTES: usize = 2;

    /// F is set when any unit has it; layer and temporal id are the lowest of all (RFC 7798 section 4.4.2).
    fn aggregation_header(units: &[&[u8]]) -> [u8; 2] {
        let forbidden = units.iter().fold(0, |bits, unit| bits | unit[0] & 0x80);
        let layer = units.iter().map(|unit| (unit[0] & 1) << 5 | unit[1] >> 3).min().unwrap_or(0);
        let temporal_id = units.iter().map(|unit| unit[1] & 7).min().unwrap_or(1);
        [forbidden | AGGREGATION << 1 | layer >> 5, layer << 3 | temporal_id]
    }

    fn fragment_header(unit: &[u8], part: Part) -> [u8; 3] {
        let bits = match part {
            Part::First => 0x80,
            Part::Middle => 0,
            Part::Last => 0x40,
        };
        [unit[0] & 0x81 | FRAGMENT << 1, unit[1], bits | unit_type(unit)]
    }
}

fn unit_type(unit: &[u8]) -> u8 {
    unit[0] >> 1 & 0x3f
}

const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
const AUD: u8 = 35;
const END_OF_SEQUENCE: u8 = 36;
const END_OF_STREAM: u8 = 37;
const FILLER: u8 = 38;
const AGGREGATION: u8 = 48;
const FRAGMENT: u8 = 49;

#[cfg(test)]
mod tests {
    use super::super::tests::{packetizer, payloads, video};
    use crate::track::{Codec, Framing};
    use bytes::Bytes;

    const SETS: [&[u8]; 3] = [&[0x40, 1, 9], &[0x42, 1, 8], &[0x44, 1, 7]];

    #[test]
    fn sets_are_aggregated_before_a_keyframe_and_a_large_slice_is_one_train() {
        let [vps, sps, pps] = SETS.map(|set| vec![Bytes::from_static(set)]);
        let codec = Codec::H265 { vps, sps, pps, framing: Framing::Length(4) };
        let mut frame = vec![0, 0, 0x0b, 0xb8, 0x26, 1];
        frame.resize(4 + 3_000, 3);
        let batch = packetizer(codec, 1_400).packetize(&video(&frame, true)).unwrap().unwrap();
        let payloads = payloads(&batch);
        let expected = [&[0x60, 1][..], &[0, 3], SETS[0], &[0, 3], SETS[1], &[0, 3], SETS[2]].concat();
        assert_eq!(payloads[0], expected);
        let heads: Vec<_> =
            payloads[1..].iter().map(|payload| [payload[0], payload[1], payload[2]]).collect();
        assert_eq!(heads, [[0x62, 1, 0x93], [0x62, 1, 0x13], [0x62, 1, 0x53]]);
        assert_eq!(batch.trains().len(), 2);
    }

    #[test]
    fn sets_that_are_too_short_to_be_units_are_left_out() {
        let (vps, sps) = (vec![Bytes::new()], vec![Bytes::from_static(&[0x42])]);
        let codec = Codec::H265 { vps, sps, pps: vec![], framing: Framing::Length(4) };
        let frame = video(&[0, 0, 0, 3, 0x26, 1, 7], true);
        let batch = packetizer(codec, 1_400).packetize(&frame).unwrap().unwrap();
        assert_eq!(payloads(&batch), [[0x26, 1, 7]]);
    }
}
