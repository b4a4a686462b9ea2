//! H.264 in packetization mode 1 (RFC 6184): single units, STAP-A and FU-A.
//!
//! ```text
//! STAP-A: |F|NRI| 24 | size (16) | unit | size (16) | unit | ...
//! FU-A:   |F|NRI| 28 |S|E|R| type | fragment ...
//! ```

use bytes::Bytes;

use super::super::batch::BatchWriter;
use super::super::nal::{self, Units};
use super::units::{self, Part, UnitFormat};
use super::{PacketizeError, Room};
use crate::frame::Frame;
use crate::track::Framing;

/// Writes H.264 frames; knows the parameter sets in force.
pub(super) struct H264 {
    framing: Framing,
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
}

impl H264 {
    pub(super) fn new(sps: &[Bytes], pps: &[Bytes], framing: Framing) -> H264 {
        let [sps, pps] = [sps, pps].map(|sets| super::usable_sets(sets, H264Units::HEADER_BYTES));
        H264 { framing, sps, pps }
    }

    /// Bytes of the sets that may be put in front of a keyframe.
    pub(super) fn set_bytes(&self) -> usize {
        self.sps.iter().chain(&self.pps).map(|set| set.len() + 2).sum()
    }

    pub(super) fn write(
        &mut self,
        frame: &Frame,
        room: Room,
        writer: &mut BatchWriter,
    ) -> Result<(), PacketizeError> {
        let mut own = nal::units(&frame.payload, self.framing).ok_or(PacketizeError::UNIT_SIZE)?;
        // Types from 24 on mean something else in RTP; delimiters and filler are of no use to a receiver.
        own.retain(|unit| !matches!(unit_type(unit), AUD | FILLER | END_OF_SEQUENCE | END_OF_STREAM | 24..));
        if own.is_empty() {
            return Ok(());
        }
        let complete = self.remember(&own);
        let Some(sets) = (frame.keyframe && !complete).then(|| self.sps.iter().chain(&self.pps)) else {
            units::write::<H264Units>(&own, true, room.payload_max, writer);
            return Ok(());
        };
        let mut all: Units<'_> = sets.map(|set| &set[..]).collect();
        all.extend_from_slice(&own);
        units::write::<H264Units>(&all, true, room.payload_max, writer);
        Ok(())
    }

    /// Keeps the parameter sets of a frame that has both kinds, for keyframes to come that have none. Returns whether
    /// the frame has both.
    fn remember(&mut self, own: &[&[u8]]) -> bool {
        let complete = [SPS, PPS].iter().all(|kind| own.iter().any(|unit| unit_type(unit) == *kind));
        if complete {
            super::replace_sets(&mut self.sps, own, |unit| unit_type(unit) == SPS);
            super::replace_sets(&mut self.pps, own, |unit| unit_type(unit) == PPS);
        }
        complete
    }
}

/// How H.264 stands in packets.
pub(in crate::rtp) struct H264Units;

impl UnitFormat for H264Units {
    const HEADER_BYTES: usize = 1;

    /// F is set when any unit has it, NRI is the highest of all (RFC 6184 section 5.7).
    fn aggregation_header(units: &[&[u8]]) -> [u8; 2] {
        let forbidden = units.iter().fold(0, |bits, unit| bits | unit[0] & 0x80);
        let importance = units.iter().map(|unit| unit[0] & 0x60).max().unwrap_or(0);
        [forbidden | importance | STAP_A, 0]
    }

    fn fragment_header(unit: &[u8], part: Part) -> [u8; 3] {
        let bits = match part {
            Part::First => 0x80,
            Part::Middle => 0,
            Part::Last => 0x40,
        };
        [unit[0] & 0xe0 | FU_A, bits | unit_type(unit), 0]
    }
}

fn unit_type(unit: &[u8]) -> u8 {
    unit[0] & 0x1f
}

const SPS: u8 = 7;
const PPS: u8 = 8;
const AUD: u8 = 9;
const END_OF_SEQUENCE: u8 = 10;
const END_OF_STREAM: u8 = 11;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

#[cfg(test)]
mod tests {
    use super::super::Packetizer;
    use super::super::tests::{payloads, video};
    use crate::track::{Codec, Framing};
    use bytes::Bytes;

    const SPS: &[u8] = &[0x67, 0x64, 0, 40, 1];
    const PPS: &[u8] = &[0x68, 0xee];

    fn packetizer(mtu_bytes: usize) -> Packetizer {
        let codec = Codec::H264 {
            sps: vec![Bytes::from_static(SPS)],
            pps: vec![Bytes::from_static(PPS)],
            framing: Framing::AnnexB,
        };
        super::super::tests::packetizer(codec, mtu_bytes)
    }

    fn annex_b(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
    }

    #[test]
    fn a_large_slice_is_one_train_of_equal_fragments() {
        let mut slice = vec![0x41];
        slice.resize(5_000, 7);
        let batch = packetizer(1_400).packetize(&video(&annex_b(&[&slice]), false)).unwrap().unwrap();
        assert_eq!(batch.trains().len(), 1);
        assert_eq!(batch.trains()[0].segment, 1_400);
        let payloads = payloads(&batch);
        assert_eq!(payloads.len(), 4);
        assert_eq!(payloads[0][..3], [0x5c, 0x81, 7]);
        assert_eq!(payloads[1][..3], [0x5c, 0x01, 7]);
        assert_eq!(payloads[3][..3], [0x5c, 0x41, 7]);
    }

    #[test]
    fn parameter_sets_stand_before_a_keyframe_in_one_packet() {
        let slice = [0x65; 3_000];
        let batch =
            packetizer(1_400).packetize(&video(&annex_b(&[&[9, 0xf0], &slice]), true)).unwrap().unwrap();
        let expected = [&[0x78, 0, 5][..], SPS, &[0, 2], PPS].concat();
        assert_eq!(payloads(&batch)[0], expected);
        assert_eq!(batch.trains().len(), 2);
    }

    #[test]
    fn parameter_sets_of_the_frame_itself_are_not_doubled_and_hold_for_later_keyframes() {
        let mut packetizer = packetizer(1_400);
        let sps: &[u8] = &[0x67, 0x42, 0, 30, 2];
        let frame = video(&annex_b(&[sps, PPS, &[0x65, 1]]), true);
        let first = packetizer.packetize(&frame).unwrap().unwrap();
        let expected = [&[0x78, 0, 5][..], sps, &[0, 2], PPS, &[0, 2, 0x65, 1]].concat();
        assert_eq!(payloads(&first), std::slice::from_ref(&expected));
        let second = packetizer.packetize(&video(&annex_b(&[&[0x65, 1]]), true)).unwrap().unwrap();
        assert_eq!(payloads(&second), [expected]);
    }

    #[test]
    fn a_frame_without_a_slice_or_set_makes_no_batch_and_a_false_length_is_an_error() {
        assert!(packetizer(1_400).packetize(&video(&annex_b(&[&[9, 0xf0]]), false)).unwrap().is_none());
        let codec = Codec::H264 { sps: vec![], pps: vec![], framing: Framing::Length(4) };
        let mut packetizer = super::super::tests::packetizer(codec, 1_400);
        assert!(packetizer.packetize(&video(&[0, 0, 0, 9, 0x65], true)).is_err());
    }
}
