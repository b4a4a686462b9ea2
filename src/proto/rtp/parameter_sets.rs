//! Parameter sets that a description lacks, learned from the stream itself.

use bytes::Bytes;
use memchr::memmem;

use super::depacketize::Depacketizer;
use super::nal;
use crate::track::{Codec, Framing, Track};

/// NAL unit types of H.264 (ITU-T H.264 table 7-1).
const H264_IDR: u8 = 5;
const H264_SEI: u8 = 6;
const H264_SPS: u8 = 7;
const H264_PPS: u8 = 8;

/// NAL unit types of H.265 (ITU-T H.265 table 7-1).
const H265_VPS: u8 = 32;
const H265_SPS: u8 = 33;
const H265_PPS: u8 = 34;

/// Kind of a message of supplemental enhancement information (ITU-T H.264 section D.1).
const SEI_RECOVERY_POINT: usize = 6;

/// Reads a track's packets until its parameter sets have come by.
pub struct Learner {
    depacketizer: Depacketizer,
}

impl Learner {
    /// A learner; None when the track is described well enough, or its format has nothing to learn.
    pub fn new(track: &Track) -> Option<Learner> {
        (!is_complete(&track.codec)).then(|| Learner { depacketizer: Depacketizer::new(track) })
    }

    /// The packets have this payload type, whatever was described.
    pub fn expect(&mut self, payload_type: u8) {
        self.depacketizer.expect(payload_type);
    }

    /// Takes a packet; whether `track` is described well enough by now.
    pub fn handle_packet(&mut self, packet: &[u8], track: &mut Track) -> bool {
        // What is malformed teaches nothing.
        let _ = self.depacketizer.handle_packet(packet);
        while let Some(frame) = self.depacketizer.poll_frame() {
            learn(&mut track.codec, &frame.payload);
        }
        is_complete(&track.codec)
    }
}

/// Takes the parameter sets of a whole frame, whose units stand behind start codes; whether `codec` is described well
/// enough by now.
pub fn learn_from(codec: &mut Codec, frame: &Bytes) -> bool {
    if !is_complete(codec) {
        learn(codec, frame);
    }
    is_complete(codec)
}

/// What a whole frame of H.264 holds, whose units stand behind start codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Whether there is a picture, or part of one.
    pub picture: bool,
    /// Whether decoding can begin with it.
    pub keyframe: bool,
}

impl Contents {
    /// Looks at all units of a frame.
    pub fn of_h264(frame: &[u8]) -> Contents {
        let mut contents = Contents::default();
        for unit in nal::units(frame, Framing::AnnexB).unwrap_or_default() {
            // Slices, whole or by partitions (ITU-T H.264 table 7-1).
            contents.picture |= matches!(unit[0] & 0x1f, 1..=5);
            contents.keyframe |= unit[0] & 0x1f == H264_IDR || unit[0] & 0x1f == H264_SPS;
        }
        contents
    }
}

/// Whether decoding can begin with a whole frame of H.264, whatever its container says: it is an IDR picture, or announced as
/// a point of recovery (ITU-T H.264 section D.2.8). None where only the container can tell: an I picture may be preceded by
/// what later ones refer to. None also for other codecs and for what cannot be read.
pub fn begins_decoding(codec: &Codec, frame: &[u8]) -> Option<bool> {
    let Codec::H264 { framing, .. } = codec else { return None };
    for unit in nal::units(frame, *framing)? {
        match unit[0] & 0x1f {
            H264_IDR => return Some(true),
            H264_SEI if announces_recovery(&unit[1..]) => return Some(true),
            // Slices of other pictures, whole or the first partition of them.
            1 | 2 => return (!is_intra_slice(&unit[1..])?).then_some(false),
            _ => {}
        }
    }
    None
}

/// Whether a slice's header says that it refers to no other picture (ITU-T H.264 section 7.3.3); None where there is none.
fn is_intra_slice(slice: &[u8]) -> Option<bool> {
    let mut bits = slice.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 != 0));
    let _first_macroblock = exp_golomb(&mut bits)?;
    let kind = exp_golomb(&mut bits)?;
    // I and SI, of this slice or of all of the picture.
    Some(matches!(kind % 5, 2 | 4))
}

/// A number as ue(v) has it (ITU-T H.264 section 9.1).
fn exp_golomb(bits: &mut impl Iterator<Item = bool>) -> Option<u32> {
    let mut zeros = 0;
    while !bits.next()? {
        zeros += 1;
    }
    let rest = (0..zeros).try_fold(1_u32, |sum, _| sum.checked_mul(2)?.checked_add(u32::from(bits.next()?)));
    Some(rest? - 1)
}

/// Whether a unit of supplemental enhancement information holds a recovery point (ITU-T H.264 section 7.3.2.3).
fn announces_recovery(payload: &[u8]) -> bool {
    let mut zeros = 0;
    // Without the bytes that keep start codes from occurring (section 7.4.1).
    let mut bytes = payload.iter().copied().filter(move |byte| {
        let is_escape = zeros >= 2 && *byte == 3;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        !is_escape
    });
    while let Some(kind) = sei_number(&mut bytes) {
        if kind == SEI_RECOVERY_POINT {
            return true;
        }
        let Some(size) = sei_number(&mut bytes) else { return false };
        bytes.by_ref().take(size).for_each(drop);
    }
    false
}

/// A number of a message's head: bytes of 255 and one more, added up.
fn sei_number(bytes: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let mut sum = 0;
    loop {
        let byte = bytes.next()?;
        sum += usize::from(byte);
        if byte != 0xff {
            return Some(sum);
        }
    }
}

/// Whether a receiver could decode by the description alone.
fn is_complete(codec: &Codec) -> bool {
    match codec {
        Codec::H264 { sps, pps, .. } => !sps.is_empty() && !pps.is_empty(),
        Codec::H265 { vps, sps, pps, .. } => !vps.is_empty() && !sps.is_empty() && !pps.is_empty(),
        Codec::Mpeg4Visual { config } => !config.is_empty(),
        _ => true,
    }
}

fn learn(codec: &mut Codec, frame: &Bytes) {
    match codec {
        Codec::H264 { sps, pps, .. } => {
            for unit in units(frame) {
                match unit[0] & 0x1f {
                    H264_SPS => *sps = vec![unit],
                    H264_PPS => add(pps, unit),
                    _ => {}
                }
            }
        }
        Codec::H265 { vps, sps, pps, .. } => {
            for unit in units(frame) {
                match unit[0] >> 1 & 0x3f {
                    H265_VPS => *vps = vec![unit],
                    H265_SPS => *sps = vec![unit],
                    H265_PPS => add(pps, unit),
                    _ => {}
                }
            }
        }
        Codec::Mpeg4Visual { config } => *config = headers(frame),
        _ => {}
    }
}

fn add(sets: &mut Vec<Bytes>, unit: Bytes) {
    /// A stream that makes up new ones all the time is no reason to grow.
    const SETS_MAX: usize = 16;
    if sets.len() < SETS_MAX && !sets.contains(&unit) {
        sets.push(unit);
    }
}

/// The units of a frame, each in memory of its own: a slice would keep the whole picture.
fn units(frame: &[u8]) -> Vec<Bytes> {
    let units = nal::units(frame, Framing::AnnexB).unwrap_or_default();
    units.into_iter().map(Bytes::copy_from_slice).collect()
}

/// What stands before the first picture, from the visual object sequence on (ISO/IEC 14496-2 section 6.2.1).
fn headers(frame: &Bytes) -> Bytes {
    const PICTURE: &[u8] = &[0, 0, 1, 0xb6];
    const GROUP: &[u8] = &[0, 0, 1, 0xb3];
    let first = |code| memmem::find(frame, code);
    let end = [first(PICTURE), first(GROUP)].into_iter().flatten().min().unwrap_or(frame.len());
    let has_layer =
        frame[..end].windows(4).any(|code| code[..3] == [0, 0, 1] && matches!(code[3], 0x20..=0x2f));
    if has_layer { Bytes::copy_from_slice(&frame[..end]) } else { Bytes::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::header::Header;

    fn packet(sequence: u16, marker: bool, payload: &[u8]) -> Vec<u8> {
        let header = Header { marker, payload_type: 96, sequence, timestamp: 1, ssrc: 2 };
        [&header.to_bytes()[..], payload].concat()
    }

    fn begins(codec: &Codec, units: &[&[u8]]) -> Option<bool> {
        let written: Vec<_> = units.iter().map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect();
        begins_decoding(codec, &written.concat())
    }

    #[test]
    fn decoding_begins_with_what_the_pictures_say() {
        let framing = Framing::AnnexB;
        let h264 = Codec::H264 { sps: Vec::new(), pps: Vec::new(), framing };
        // A P slice of all P slices, and an I slice of all I slices, from the first macroblock on.
        let (delimiter, idr, slice, intra) =
            (&[9, 0xf0][..], &[0x65, 0x88][..], &[0x41, 0x9a, 1][..], &[0x61, 0x88, 1][..]);
        assert_eq!(begins(&h264, &[delimiter, idr, slice]), Some(true));
        assert_eq!(begins(&h264, &[delimiter, slice, idr]), Some(false));
        for unknown in [&[delimiter][..], &[delimiter, intra], &[&[0x41]]] {
            assert_eq!(begins(&h264, unknown), None);
        }
        // Behind a message of 258 bytes, which hold a start code and what it is kept from being.
        let long = [&[0x06, 5, 0xff, 3][..], &[7; 254], &[0, 0, 3, 1, 7], &[6, 1, 0x80]].concat();
        for picture in [slice, intra] {
            assert_eq!(begins(&h264, &[&long, picture]), Some(true));
        }
        assert_eq!(begins(&h264, &[&long[..long.len() - 3], slice]), Some(false));
        assert_eq!(begins(&h264, &[&[0x06, 1, 1, 6, 0x80], slice]), Some(false));
        assert_eq!(begins(&Codec::Jpeg, &[idr]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_frame_is_too_odd_to_be_asked_whether_decoding_begins(
            head in proptest::sample::select(vec![0x06_u8, 0x41, 0x61, 0x65]), rest: Vec<u8>,
        ) {
            let codec = Codec::H264 { sps: Vec::new(), pps: Vec::new(), framing: Framing::AnnexB };
            let _ = begins(&codec, &[&[&[head][..], &rest].concat()]);
            let _ = begins_decoding(&codec, &rest);
        }
    }

    #[test]
    fn parameter_sets_are_taken_from_the_first_picture_that_has_them() {
        let codec = Codec::H264 { sps: Vec::new(), pps: Vec::new(), framing: Framing::AnnexB };
        let mut track = Track::new(codec, 0);
        let mut learner = Learner::new(&track).unwrap();
        assert!(!learner.handle_packet(&packet(1, true, &[0x41, 1, 2]), &mut track));
        assert!(!learner.handle_packet(&packet(2, false, &[0x67, 1, 2]), &mut track));
        assert!(!learner.handle_packet(&packet(3, false, &[0x68, 3]), &mut track));
        assert!(learner.handle_packet(&packet(4, true, &[0x65, 4]), &mut track));
        let Codec::H264 { sps, pps, .. } = &track.codec else { unreachable!() };
        assert_eq!(
            (&sps[..], &pps[..]),
            (&[Bytes::from_static(&[0x67, 1, 2])][..], &[Bytes::from_static(&[0x68, 3])][..])
        );
        assert!(Learner::new(&track).is_none());
    }

    #[test]
    fn the_layer_of_mpeg_4_is_learned_without_the_picture() {
        let mut track = Track::new(Codec::Mpeg4Visual { config: Bytes::new() }, 0);
        let mut learner = Learner::new(&track).unwrap();
        assert!(!learner.handle_packet(&packet(1, true, &[0, 0, 1, 0xb6, 9]), &mut track));
        let layer = [0, 0, 1, 0xb0, 1, 0, 0, 1, 0x20, 8];
        let whole = [&layer[..], &[0, 0, 1, 0xb6, 9]].concat();
        assert!(learner.handle_packet(&packet(2, true, &whole), &mut track));
        assert_eq!(track.codec, Codec::Mpeg4Visual { config: Bytes::copy_from_slice(&layer) });
    }

    #[test]
    fn a_whole_frame_tells_its_parameter_sets_and_whether_decoding_can_begin_with_it() {
        let frame = |units: &[&[u8]]| {
            Bytes::from(units.iter().flat_map(|u| [&[0, 0, 0, 1], *u].concat()).collect::<Vec<_>>())
        };
        let mut codec = Codec::H264 { sps: Vec::new(), pps: Vec::new(), framing: Framing::AnnexB };
        let (sets, key, other) = (
            frame(&[&[9, 0xf0], &[0x67, 1], &[0x68, 2]]),
            frame(&[&[0x65, 3]]),
            frame(&[&[6, 1], &[0x41, 4]]),
        );
        assert!(!learn_from(&mut codec, &other) && !learn_from(&mut codec, &key));
        assert!(learn_from(&mut codec, &sets));
        let learned = codec.clone();
        assert!(learn_from(&mut codec, &frame(&[&[0x67, 7], &[0x68, 8]])));
        assert_eq!(codec, learned);
        assert_eq!(Contents::of_h264(&sets), Contents { picture: false, keyframe: true });
        assert_eq!(Contents::of_h264(&key), Contents { picture: true, keyframe: true });
        assert_eq!(Contents::of_h264(&other), Contents { picture: true, keyframe: false });
        assert_eq!(Contents::of_h264(b"x"), Contents::default());
    }
}
