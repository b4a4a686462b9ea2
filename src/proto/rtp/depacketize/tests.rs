//! Round trips through the packetizers, losses, and bytes that are no payload at all.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::frame::Frame;
use crate::rtp::batch::{Batch, Numbering};
use crate::rtp::header::HEADER_BYTES;
use crate::rtp::jpeg::{END, FileHeader, Sampling, quantization};
use crate::rtp::packetize::Packetizer;
use crate::track::{BitOrder, Framing, Law};

const SEQUENCE: u16 = 65_533;

pub(in crate::rtp) fn frame(index: usize, keyframe: bool, payload: &[u8]) -> Frame {
    let pts = index as i64 * 3_000;
    Frame { track: 0, pts, dts: pts, duration: 3_000, keyframe, payload: Bytes::copy_from_slice(payload) }
}

pub(in crate::rtp) fn packetize(codec: &Codec, frames: &[Frame], mtu_bytes: usize) -> Vec<Batch> {
    let track = Track::new(codec.clone(), 0);
    let payload_type = track.payload_type;
    let numbering = Numbering { ssrc: 1, payload_type, sequence: SEQUENCE, timestamp: u32::MAX - 4_000 };
    let mut packetizer = Packetizer::new(&track, 0, numbering, mtu_bytes);
    frames.iter().filter_map(|frame| packetizer.packetize(frame).unwrap()).collect()
}

pub(in crate::rtp) fn depacketize<'a>(
    codec: &Codec,
    packets: impl Iterator<Item = &'a [u8]>,
) -> Vec<DepacketizedFrame> {
    let mut depacketizer = Depacketizer::new(&Track::new(codec.clone(), 0));
    let mut out = Vec::new();
    for packet in packets {
        // What is lost or malformed is told by the frames.
        let _ = depacketizer.handle_packet(packet);
        out.extend(std::iter::from_fn(|| depacketizer.poll_frame()));
    }
    out
}

pub(in crate::rtp) fn packets(batches: &[Batch]) -> impl Iterator<Item = &[u8]> {
    batches.iter().flat_map(|batch| batch.packets().iter().map(|packet| batch.packet(packet)))
}

/// Packets within the budget, trains as the kernel cuts them, one marker at the most, at the end.
fn assert_shape(batches: &[Batch], mtu_bytes: usize) {
    for batch in batches {
        assert!(batch.packets().iter().all(|packet| usize::from(packet.size) <= mtu_bytes));
        let mut next = 0;
        for train in batch.trains() {
            assert_eq!(train.first, next);
            next += train.count;
            let own = &batch.packets()[train.first as usize..next as usize];
            let (last, others) = own.split_last().unwrap();
            assert!(others.iter().all(|packet| packet.size == train.segment) && last.size <= train.segment);
        }
        assert_eq!(next as usize, batch.packets().len());
        let markers = batch.packets().iter().map(|packet| batch.packet(packet)[1] & 0x80 != 0);
        assert!(markers.rev().skip(1).all(|marker| !marker));
    }
}

/// All packets but the last of a batch fill the budget, so that each batch is one train (or several of the most
/// segments).
fn assert_full(batches: &[Batch], mtu_bytes: usize) {
    for batch in batches {
        let (_, full) = batch.packets().split_last().unwrap();
        assert!(full.iter().all(|packet| usize::from(packet.size) == mtu_bytes));
    }
}

fn assert_round_trip(codec: &Codec, frames: &[Frame], mtu_bytes: usize) -> Vec<Batch> {
    let batches = packetize(codec, frames, mtu_bytes);
    assert_shape(&batches, mtu_bytes);
    let found = depacketize(codec, packets(&batches));
    let found: Vec<_> = found.iter().map(|f| (f.timestamp, f.payload.clone(), f.keyframe, f.lost)).collect();
    let time = |frame: &Frame| (u32::MAX - 4_000).wrapping_add(frame.pts as u32);
    let sent: Vec<_> =
        frames.iter().map(|frame| (time(frame), frame.payload.clone(), frame.keyframe, false)).collect();
    assert_eq!(found, sent);
    batches
}

pub(in crate::rtp) fn h264(framing: Framing) -> Codec {
    Codec::H264 { sps: vec![], pps: vec![], framing }
}

pub(in crate::rtp) fn h265(framing: Framing) -> Codec {
    Codec::H265 { vps: vec![], sps: vec![], pps: vec![], framing }
}

/// Units of a frame: a slice of the given kind among units that do not open a decodable picture.
pub(in crate::rtp) fn units_264(keyframe: bool, sizes: &[usize]) -> Vec<Vec<u8>> {
    let head = |index: usize| if keyframe && index == 0 { 0x65 } else { [0x41, 0x06, 0x01][index % 3] };
    sizes.iter().enumerate().map(|(i, size)| filled(&[head(i)], i, *size)).collect()
}

pub(in crate::rtp) fn units_265(keyframe: bool, sizes: &[usize]) -> Vec<Vec<u8>> {
    let head = |index: usize| if keyframe && index == 0 { 19 << 1 } else { [1, 39, 0][index % 3] << 1 };
    sizes.iter().enumerate().map(|(i, size)| filled(&[head(i), 1 + (i % 3) as u8], i, *size)).collect()
}

/// `head` and `size` further bytes of which none is zero.
pub(in crate::rtp) fn filled(head: &[u8], seed: usize, size: usize) -> Vec<u8> {
    let bytes = (0..size).map(|at| (at * 7 + at / 251 + seed) as u8 | 1);
    head.iter().copied().chain(bytes).collect()
}

pub(in crate::rtp) fn annex_b(units: &[Vec<u8>]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&[0, 0, 0, 1], &unit[..]].concat()).collect()
}

fn with_lengths(units: &[Vec<u8>]) -> Vec<u8> {
    units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat()).collect()
}

pub(in crate::rtp) fn jpeg_file(sampling: Sampling, restart_interval: u16, scan: &[u8]) -> Vec<u8> {
    sized_jpeg_file((640, 480), sampling, restart_interval, scan)
}

/// The same of another size.
pub(in crate::rtp) fn sized_jpeg_file(
    size: (u16, u16),
    sampling: Sampling,
    restart_interval: u16,
    scan: &[u8],
) -> Vec<u8> {
    let (size, quantization) = (Some(size), &quantization(70));
    let header = FileHeader { size, sampling, restart_interval, quantization, extension: &[] };
    [header.write().unwrap(), scan.to_vec(), END.to_vec()].concat()
}

/// Frames by size, the first of every three a keyframe.
pub(in crate::rtp) fn frames(sizes: &[usize], make: impl Fn(bool, usize) -> Vec<u8>) -> Vec<Frame> {
    let make = |(index, size): (usize, &usize)| frame(index, index % 3 == 0, &make(index % 3 == 0, *size));
    sizes.iter().enumerate().map(make).collect()
}

pub(in crate::rtp) fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1usize..400, 1usize..9_000], 1..6)
}

pub(in crate::rtp) fn budgets() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1_400usize), 256usize..1_600, Just(9_000), Just(65_507)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn units_of_h264_and_h265_come_back_in_both_framings(of_frames in vec(sizes(), 1..4), mtu in budgets()) {
        for (codec_of, units_of) in
            [(h264 as fn(Framing) -> Codec, units_264 as fn(bool, &[usize]) -> Vec<Vec<u8>>), (h265, units_265)]
        {
            let units: Vec<_> =
                of_frames.iter().enumerate().map(|(index, sizes)| units_of(index % 3 == 0, sizes)).collect();
            let sent = |form: fn(&[Vec<u8>]) -> Vec<u8>| -> Vec<Frame> {
                units.iter().enumerate().map(|(i, units)| frame(i, i % 3 == 0, &form(units))).collect()
            };
            assert_round_trip(&codec_of(Framing::AnnexB), &sent(annex_b), mtu);
            let codec = codec_of(Framing::Length(4));
            let batches = packetize(&codec, &sent(with_lengths), mtu);
            let found = depacketize(&codec, packets(&batches));
            let found: Vec<_> = found.iter().map(|frame| frame.payload.to_vec()).collect();
            prop_assert_eq!(found, units.iter().map(|units| annex_b(units)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn pictures_of_formats_without_units_come_back_in_full_packets(sizes in sizes(), mtu in budgets(), restart in 0u16..3) {
        let mpeg4 = frames(&sizes, |key, size| filled(&[0, 0, 1, 0xb6, if key { 0x10 } else { 0x50 }], size, size));
        let config = Bytes::from_static(&[0, 0, 1, 0x20, 1]);
        assert_full(&assert_round_trip(&Codec::Mpeg4Visual { config: Bytes::new() }, &mpeg4, mtu), mtu);
        let vp8 = frames(&sizes, |key, size| filled(&[u8::from(!key)], size, size));
        assert_full(&assert_round_trip(&Codec::Vp8, &vp8, mtu), mtu);
        assert_full(&assert_round_trip(&Codec::Vp9 { profile: 0 }, &vp8, mtu), mtu);
        let jpeg = frames(&sizes, |key, size| {
            jpeg_file(if key { Sampling::Both } else { Sampling::Horizontal }, restart, &filled(&[], size, size))
        });
        let jpeg: Vec<_> = jpeg.into_iter().map(|frame| Frame { keyframe: true, ..frame }).collect();
        assert_full(&assert_round_trip(&Codec::Jpeg, &jpeg, mtu), mtu);
        let large = frames(&sizes, |key, size| {
            let of = if key { (3_840, 2_160) } else { (1_920, 2_048) };
            sized_jpeg_file(of, Sampling::Both, restart, &filled(&[], size, size))
        });
        let large: Vec<_> = large.into_iter().map(|frame| Frame { keyframe: true, ..frame }).collect();
        assert_full(&assert_round_trip(&Codec::Jpeg, &large, mtu), mtu);
        let with_config = packetize(&Codec::Mpeg4Visual { config: config.clone() }, &mpeg4, mtu);
        assert_full(&with_config, mtu);
        let first = &depacketize(&Codec::Mpeg4Visual { config: config.clone() }, packets(&with_config))[0];
        prop_assert_eq!(&first.payload[..], [&config[..], &mpeg4[0].payload].concat());
    }

    #[test]
    fn temporal_units_of_av1_come_back(of_frames in vec(sizes(), 1..4), extension: bool, mtu in budgets()) {
        let unit = |kind: u8, size: usize| {
            let head = [kind << 3 | 2 | u8::from(extension) << 2, 0x20];
            let payload = filled(&[], size, size);
            let (length, bytes) = super::super::obu::leb128(size);
            [&head[..1 + usize::from(extension)], &length[..bytes], &payload].concat()
        };
        let sent: Vec<_> = of_frames.iter().enumerate().map(|(index, sizes)| {
            let key = index % 3 == 0;
            let header = if key { unit(1, 11) } else { vec![] };
            frame(index, key, &[header, sizes.iter().flat_map(|size| unit(6, *size)).collect()].concat())
        }).collect();
        assert_round_trip(&Codec::Av1 { sequence_header: Bytes::new() }, &sent, mtu);
    }

    #[test]
    fn sound_in_frames_comes_back(sizes in vec(1usize..=1_275, 1..9), mtu in budgets()) {
        let sent = |head: &[u8]| -> Vec<Frame> {
            sizes.iter().enumerate().map(|(i, size)| frame(i, true, &filled(head, i, *size))).collect()
        };
        let config = Bytes::from_static(&[0x11, 0x90]);
        assert_round_trip(&Codec::Aac { config, sample_rate: 48_000, channels: 2 }, &sent(&[]), mtu);
        assert_round_trip(&Codec::Opus { channels: 2 }, &sent(&[]), 1_400);
        // Layer 3, 160 kbit/s at 32 kHz: 720 bytes.
        let mp3 = sizes.iter().enumerate().map(|(i, _)| frame(i, true, &filled(&[0xff, 0xfb, 0xa8, 0], i, 716)));
        assert_round_trip(&Codec::MpegAudio, &mp3.collect::<Vec<_>>(), mtu);
    }

    #[test]
    fn raw_sound_comes_back_with_times_that_run_on(units in 1usize..4_000, mtu in budgets()) {
        let codecs = [
            (Codec::G711 { law: Law::A, sample_rate: 8_000, channels: 1 }, 1, 1),
            (Codec::G711 { law: Law::Mu, sample_rate: 48_000, channels: 2 }, 2, 1),
            (Codec::G722 { channels: 1 }, 1, 1),
            (Codec::G726 { bits: 5, order: BitOrder::MostFirst }, 5, 8),
            (Codec::L16 { sample_rate: 44_100, channels: 2 }, 4, 1),
        ];
        for (codec, unit_bytes, unit_ticks) in codecs {
            let payload = filled(&[], 0, units * unit_bytes);
            let batches = packetize(&codec, &[frame(0, true, &payload)], mtu);
            assert_shape(&batches, mtu);
            let found = depacketize(&codec, packets(&batches));
            let mut done = 0;
            for piece in &found {
                let ticks = (done / unit_bytes * unit_ticks) as u32;
                prop_assert_eq!(piece.timestamp, (u32::MAX - 4_000).wrapping_add(ticks));
                prop_assert!(piece.payload.len() / unit_bytes * unit_ticks <= codec.clock_rate() as usize / 50);
                prop_assert_eq!(&payload[done..done + piece.payload.len()], &piece.payload[..]);
                done += piece.payload.len();
            }
            prop_assert_eq!(done, payload.len());
        }
    }

    #[test]
    fn what_comes_after_a_loss_says_so_and_the_rest_is_whole(gone in 0usize..40) {
        let sent = frames(&[3_000; 12], |key, size| annex_b(&units_264(key, &[40, size])));
        let codec = h264(Framing::AnnexB);
        let batches = packetize(&codec, &sent, 1_000);
        let count = packets(&batches).count();
        // A loss shows only between two packets.
        let gone = 1 + gone % (count - 2);
        let kept = packets(&batches).enumerate().filter(|(index, _)| *index != gone).map(|(_, packet)| packet);
        let found = depacketize(&codec, kept);
        for frame in &found {
            let is_whole = sent.iter().any(|own| own.payload == frame.payload);
            prop_assert!(is_whole || frame.lost);
        }
        prop_assert!(found.iter().any(|frame| frame.lost));
        prop_assert!(found.iter().filter(|frame| !frame.lost).count() >= sent.len() - 2);
    }

    #[test]
    fn any_bytes_are_taken_without_panic(payloads in vec((any::<bool>(), vec(any::<u8>(), 0..80)), 1..30)) {
        for codec in every_codec() {
            let track = Track::new(codec.clone(), 0);
            let mut depacketizer = Depacketizer::new(&track);
            for (index, (marker, payload)) in payloads.iter().enumerate() {
                let (sequence, timestamp) = (index as u16, index as u32 / 4);
                let payload_type = track.payload_type;
                let header = Header { marker: *marker, payload_type, sequence, timestamp, ssrc: 1 };
                let packet = [&header.to_bytes()[..], payload].concat();
                let _ = depacketizer.handle_packet(&packet);
                let _ = depacketizer.handle_packet(payload);
                let _ = is_keyframe_start(&codec, payload);
            }
            depacketizer.flush();
            while depacketizer.poll_frame().is_some() {}
        }
    }

    /// Noise seldom is a valid payload; payloads with one wrong byte reach further.
    #[test]
    fn damaged_payloads_are_taken_without_panic(size in 1usize..3_000, at in 0usize..3_000, byte: u8) {
        for codec in every_codec() {
            let payload = match &codec {
                Codec::H264 { .. } => annex_b(&units_264(true, &[3, size])),
                Codec::H265 { .. } => annex_b(&units_265(true, &[3, size])),
                Codec::Jpeg => jpeg_file(Sampling::Both, 1, &filled(&[], 0, size)),
                Codec::Av1 { .. } => filled(&[0x30], 0, size),
                Codec::L16 { .. } => filled(&[], 0, size * 4),
                _ => filled(&[], 0, size),
            };
            let batches = packetize(&codec, &[frame(0, true, &payload)], 256);
            let damaged: Vec<_> = packets(&batches).enumerate().map(|(index, packet)| {
                let mut packet = packet.to_vec();
                let place = HEADER_BYTES + (at + index) % (packet.len() - HEADER_BYTES);
                packet[place] = byte;
                packet
            }).collect();
            depacketize(&codec, damaged.iter().map(Vec::as_slice));
        }
    }
}

pub(in crate::rtp) fn every_codec() -> Vec<Codec> {
    vec![
        h264(Framing::AnnexB),
        h265(Framing::AnnexB),
        Codec::Mpeg4Visual { config: Bytes::new() },
        Codec::Jpeg,
        Codec::Vp8,
        Codec::Vp9 { profile: 0 },
        Codec::Av1 { sequence_header: Bytes::new() },
        Codec::Aac { config: Bytes::from_static(&[0x2b]), sample_rate: 48_000, channels: 2 },
        Codec::Opus { channels: 1 },
        Codec::MpegAudio,
        Codec::L16 { sample_rate: 44_100, channels: 2 },
    ]
}

#[test]
fn several_units_of_aac_in_one_packet_are_frames_1024_samples_apart() {
    let config = Bytes::from_static(&[0x11, 0x90]);
    let codec = Codec::Aac { config, sample_rate: 48_000, channels: 2 };
    let header = Header { marker: true, payload_type: 96, sequence: 1, timestamp: 500, ssrc: 1 };
    let packet = [&header.to_bytes()[..], &[0, 32, 0, 16, 0, 24, 1, 2, 3, 4, 5]].concat();
    let found = depacketize(&codec, std::iter::once(&packet[..]));
    let found: Vec<_> = found.iter().map(|frame| (frame.timestamp, &frame.payload[..])).collect();
    assert_eq!(found, [(500, &[1, 2][..]), (1_524, &[3, 4, 5])]);
}

#[test]
fn a_frame_without_marker_ends_at_the_next_timestamp_or_by_flush() {
    let codec = Codec::Vp8;
    let mut depacketizer = Depacketizer::new(&Track::new(codec, 0));
    for (sequence, timestamp) in [(1, 10), (2, 20)] {
        let header = Header { marker: false, payload_type: 96, sequence, timestamp, ssrc: 1 };
        depacketizer.handle_packet(&[&header.to_bytes()[..], &[0x10, 0, 7]].concat()).unwrap();
    }
    let first = depacketizer.poll_frame().unwrap();
    assert_eq!((first.timestamp, first.keyframe, first.lost), (10, true, false));
    assert!(depacketizer.poll_frame().is_none());
    depacketizer.flush();
    assert_eq!(depacketizer.poll_frame().unwrap().timestamp, 20);
}

#[test]
fn a_late_or_repeated_packet_and_a_foreign_one_are_refused_and_a_far_one_is_a_new_beginning() {
    let mut depacketizer = Depacketizer::new(&Track::new(Codec::Opus { channels: 1 }, 0));
    let packet = |sequence: u16, payload_type: u8| {
        let header = Header { marker: false, payload_type, sequence, timestamp: 0, ssrc: 1 };
        [&header.to_bytes()[..], &[1]].concat()
    };
    assert_eq!(depacketizer.handle_packet(&packet(5, 96)), Ok(()));
    assert_eq!(depacketizer.handle_packet(&packet(5, 96)), Err(DepacketizeError::Late(5)));
    assert_eq!(depacketizer.handle_packet(&packet(6, 97)), Err(DepacketizeError::PayloadType(97)));
    assert_eq!(depacketizer.handle_packet(&packet(40_000, 96)), Ok(()));
    assert_eq!(depacketizer.handle_packet(&[0; 12]), Err(DepacketizeError::NotRtp));
    let lost: Vec<_> = std::iter::from_fn(|| depacketizer.poll_frame()).map(|frame| frame.lost).collect();
    assert_eq!(lost, [false, true]);
}

#[test]
fn memory_is_bounded_when_nobody_polls_and_when_a_frame_does_not_end() {
    let mut depacketizer = Depacketizer::new(&Track::new(Codec::Opus { channels: 1 }, 0));
    for sequence in 0..1_000 {
        let header = Header { marker: false, payload_type: 96, sequence, timestamp: 0, ssrc: 1 };
        depacketizer.handle_packet(&[&header.to_bytes()[..], &[1]].concat()).unwrap();
    }
    let kept: Vec<_> = std::iter::from_fn(|| depacketizer.poll_frame()).collect();
    assert_eq!((kept.len(), kept[0].lost, kept[1].lost), (FRAMES_READY_MAX, true, false));

    let mut depacketizer = Depacketizer::new(&Track::new(h264(Framing::AnnexB), 0));
    let mut refused = 0;
    for sequence in 0..20 {
        let header = Header { marker: false, payload_type: 96, sequence, timestamp: 0, ssrc: 1 };
        let packet = [&header.to_bytes()[..], &vec![0x41; 1 << 20]].concat();
        refused += usize::from(depacketizer.handle_packet(&packet) == Err(DepacketizeError::FrameTooLarge));
    }
    assert_eq!(refused, 1);
}

#[test]
fn the_first_packet_of_a_keyframe_is_known_without_depacketizing() {
    let cases = [
        (h264(Framing::AnnexB), annex_b(&units_264(true, &[3_000])), annex_b(&units_264(false, &[3_000]))),
        (h265(Framing::AnnexB), annex_b(&units_265(true, &[3_000])), annex_b(&units_265(false, &[3_000]))),
        (Codec::Vp8, filled(&[0], 0, 3_000), filled(&[1], 0, 3_000)),
        (Codec::Vp9 { profile: 0 }, filled(&[0], 0, 3_000), filled(&[0], 0, 3_000)),
        (
            Codec::Mpeg4Visual { config: Bytes::new() },
            filled(&[0, 0, 1, 0xb6, 0x10], 0, 3_000),
            filled(&[0, 0, 1, 0xb6, 0x50], 0, 3_000),
        ),
        (Codec::Av1 { sequence_header: Bytes::new() }, filled(&[0x30], 0, 3_000), filled(&[0x30], 0, 3_000)),
    ];
    for (codec, key, other) in cases {
        let batches = packetize(&codec, &[frame(0, true, &key), frame(1, false, &other)], 1_400);
        let starts = packets(&batches).map(|packet| is_keyframe_start(&codec, &packet[HEADER_BYTES..]));
        assert_eq!(starts.collect::<Vec<_>>(), [true, false, false, false, false, false], "{codec:?}");
    }
}
