//! What comes out of cut packets is what comes out of whole ones, and bytes that are no payload at all.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::frame::Frame;
use crate::rtp::batch::{Batch, Meta, Numbering};
use crate::rtp::depacketize::tests::{
    annex_b, budgets, depacketize, every_codec, filled, frames, h264, h265, jpeg_file, packetize, packets,
    sized_jpeg_file, sizes, units_264, units_265,
};
use crate::rtp::header::Header;
use crate::rtp::jpeg::Sampling;
use crate::rtp::obu;
use crate::time::MediaTime;
use crate::track::{BitOrder, Framing, Law};

/// What is written for one payload.
fn cut(
    codec: &Codec,
    header: &Header,
    extension: Option<(u16, &[u8])>,
    payload: &[u8],
    packet_bytes_max: usize,
) -> Result<Batch, RefragmentError> {
    let &Header { payload_type, sequence, timestamp, ssrc, .. } = header;
    let mut writer = BatchWriter::new(Numbering { ssrc, payload_type, sequence, timestamp }, payload.len());
    let result = refragment(codec, header.marker, extension, payload, packet_bytes_max, &mut writer);
    assert_eq!(writer.numbering().timestamp, timestamp);
    let meta = Meta { track: 0, keyframe: false, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
    match (result, writer.finish(meta)) {
        (Ok(()), batch) => Ok(batch.expect("a payload becomes packets")),
        (Err(error), None) => Err(error),
        (Err(error), Some(_)) => panic!("{error:?}, and something is written"),
    }
}

/// Payloads, and the marker and the timestamp of each packet; the whole one has the time 1000 and the marker.
fn pieces(codec: &Codec, payload: &[u8]) -> Vec<(Vec<u8>, bool, u32)> {
    let header = Header { marker: true, payload_type: 96, sequence: 7, timestamp: 1_000, ssrc: 1 };
    let batch = cut(codec, &header, None, payload, 1_400).unwrap();
    let mut sequence = 7;
    let read = batch.packets().iter().map(|packet| {
        let packet = batch.packet(packet);
        let (header, payload) = Header::parse(packet).unwrap();
        assert_eq!(header.sequence, sequence);
        sequence += 1;
        (packet[payload].to_vec(), header.marker, header.timestamp)
    });
    read.collect()
}

/// Cuts every packet that is too large; the numbers run on.
fn cut_all(codec: &Codec, batches: &[Batch], mtu: usize) -> Vec<Batch> {
    let mut sequence = batches[0].sequence();
    let mut out = Vec::new();
    for packet in packets(batches) {
        let (header, payload) = Header::parse(packet).unwrap();
        let extension = Header::extension(packet);
        let batch = cut(codec, &Header { sequence, ..header }, extension, &packet[payload], mtu).unwrap();
        sequence = sequence.wrapping_add(batch.packets().len() as u16);
        out.push(batch);
    }
    out
}

/// Frames come from packets of `large` bytes that are cut to `mtu` as they come from the packets themselves.
fn assert_same(codec: &Codec, frames: &[Frame], large: usize, mtu: usize) {
    let whole = packetize(codec, frames, large);
    let small = cut_all(codec, &whole, mtu);
    assert!(packets(&small).all(|packet| packet.len() <= mtu));
    assert_eq!(depacketize(codec, packets(&small)), depacketize(codec, packets(&whole)), "{codec:?}");
    assert_eq!(depacketize(codec, packets(&small)).len(), frames.len());
    let markers = |batches: &[Batch]| packets(batches).filter(|packet| packet[1] & 0x80 != 0).count();
    assert_eq!(markers(&small), markers(&whole));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pictures_are_the_same(sizes in sizes(), large in budgets(), mtu in 256usize..1_500, restart in 0u16..3) {
        let of = |make: &dyn Fn(bool, usize) -> Vec<u8>| frames(&sizes, make);
        let slices = |size: usize| [9, size % 300 + 1, size, size / 3 + 1];
        let avc = of(&|key, size| annex_b(&units_264(key, &slices(size))));
        assert_same(&h264(Framing::AnnexB), &avc, large, mtu);
        let hevc = of(&|key, size| annex_b(&units_265(key, &slices(size))));
        assert_same(&h265(Framing::AnnexB), &hevc, large, mtu);
        let mpeg4 = of(&|key, size| filled(&[0, 0, 1, 0xb6, if key { 0x10 } else { 0x50 }], size, size));
        assert_same(&Codec::Mpeg4Visual { config: Bytes::new() }, &mpeg4, large, mtu);
        let vp8 = of(&|key, size| filled(&[u8::from(!key)], size, size));
        assert_same(&Codec::Vp8, &vp8, large, mtu);
        assert_same(&Codec::Vp9 { profile: 0 }, &vp8, large, mtu);
        let jpeg = of(&|_, size| jpeg_file(Sampling::Both, restart, &filled(&[], size, size)));
        assert_same(&Codec::Jpeg, &jpeg, large, mtu);
        let wide = of(&|_, size| sized_jpeg_file((4_096, 16), Sampling::Both, restart, &filled(&[], size, size)));
        assert_same(&Codec::Jpeg, &wide, large, mtu);
        let unit = |kind: u8, size: usize| {
            let (length, bytes) = obu::leb128(size);
            [&[kind << 3 | 2], &length[..bytes], &filled(&[], size, size)].concat()
        };
        let av1 = of(&|_, size| slices(size).iter().flat_map(|size| unit(6, *size)).collect());
        assert_same(&Codec::Av1 { sequence_header: Bytes::new() }, &av1, large, mtu);
    }

    #[test]
    fn sound_in_frames_is_the_same(of_frames in vec(1usize..4_000, 1..5), mtu in 256usize..1_500) {
        let config = Bytes::from_static(&[0x11, 0x90]);
        let aac = frames(&of_frames, |_, size| filled(&[], size, size));
        assert_same(&Codec::Aac { config, sample_rate: 48_000, channels: 2 }, &aac, 9_000, mtu);
        // Layer 2, 384 kbit/s at 32 kHz: 1728 bytes.
        let mp2 = frames(&of_frames, |_, size| filled(&[0xff, 0xfd, 0xe8, 0], size, 1_724));
        assert_same(&Codec::MpegAudio, &mp2, 9_000, mtu);
    }

    #[test]
    fn samples_are_the_same_and_their_times_run_on(units in 1usize..9_000, mtu in 256usize..1_500) {
        let codecs = [
            (Codec::G711 { law: Law::A, sample_rate: 8_000, channels: 1 }, 1, 1),
            (Codec::G711 { law: Law::Mu, sample_rate: 48_000, channels: 2 }, 2, 1),
            (Codec::G722 { channels: 1 }, 1, 1),
            (Codec::G726 { bits: 5, order: BitOrder::MostFirst }, 5, 8),
            (Codec::L16 { sample_rate: 44_100, channels: 2 }, 4, 1),
        ];
        for (codec, unit_bytes, unit_ticks) in codecs {
            let payload = filled(&[], 0, units * unit_bytes);
            let header = Header { marker: true, payload_type: 0, sequence: 0, timestamp: 0, ssrc: 1 };
            let batch = cut(&codec, &header, None, &payload, mtu).unwrap();
            let (last, others) = batch.packets().split_last().unwrap();
            prop_assert!(others.iter().all(|packet| packet.size == batch.packets()[0].size));
            prop_assert!(last.size <= batch.packets()[0].size && usize::from(batch.packets()[0].size) <= mtu);
            let mut done = 0;
            for packet in batch.packets() {
                let packet = batch.packet(packet);
                let (header, body) = Header::parse(packet).unwrap();
                prop_assert_eq!(header.timestamp as usize, done / unit_bytes * unit_ticks);
                prop_assert_eq!(header.marker, done == 0);
                prop_assert_eq!(&packet[body.clone()], &payload[done..done + body.len()]);
                done += body.len();
            }
            prop_assert_eq!(done, payload.len());
        }
    }

    #[test]
    fn any_bytes_are_cut_or_left_without_panic(
        start in vec(any::<u8>(), 0..24), size in prop_oneof![0usize..40, 0usize..6_000, 60_000usize..65_535],
        byte: u8, marker: bool, mtu in 0usize..2_000,
    ) {
        let payload: Vec<u8> = start.iter().copied().chain((0..size).map(|at| byte ^ (at % 7) as u8)).collect();
        let header = Header { marker, payload_type: 96, sequence: 65_530, timestamp: u32::MAX, ssrc: 1 };
        for codec in every_codec() {
            if let Ok(batch) = cut(&codec, &header, None, &payload, mtu) {
                let max = mtu.max(MTU_BYTES_MIN);
                prop_assert!(batch.packets().iter().all(|packet| usize::from(packet.size) <= max));
            }
        }
    }

    /// Noise seldom is a valid payload; payloads with one wrong byte reach further.
    #[test]
    fn damaged_payloads_are_cut_or_left_without_panic(size in 1usize..3_000, at in 0usize..40, byte: u8) {
        for codec in every_codec() {
            let payload = match &codec {
                Codec::H264 { .. } => annex_b(&units_264(true, &[3, 7, size])),
                Codec::H265 { .. } => annex_b(&units_265(true, &[3, 7, size])),
                Codec::Jpeg => jpeg_file(Sampling::Both, 1, &filled(&[], 0, size)),
                Codec::Av1 { .. } => filled(&[0x30], 0, size),
                Codec::L16 { .. } => filled(&[], 0, size * 4),
                Codec::Opus { .. } => continue,
                _ => filled(&[], 0, size),
            };
            for packet in packets(&packetize(&codec, &frames(&[size], |_, _| payload.clone()), 65_507)) {
                let (header, body) = Header::parse(packet).unwrap();
                let mut damaged = packet[body].to_vec();
                let place = at % damaged.len();
                damaged[place] = byte;
                let _ = cut(&codec, &header, Some((0xffd8, &[0xff; 8])), &damaged, 256);
            }
        }
    }
}

/// The first bytes of each packet and its marker.
fn heads<const N: usize>(pieces: &[(Vec<u8>, bool, u32)]) -> Vec<([u8; N], bool)> {
    pieces.iter().map(|(payload, marker, _)| (*payload.first_chunk().unwrap(), *marker)).collect()
}

#[test]
fn a_fragment_begins_and_ends_its_unit_only_where_it_did() {
    for (bits, expected) in [
        (0x80, [0x81, 0x01, 0x01]),
        (0x00, [0x01, 0x01, 0x01]),
        (0x40, [0x01, 0x01, 0x41]),
        (0xc0, [0x81, 0x01, 0x41]),
    ] {
        let avc = pieces(&h264(Framing::AnnexB), &filled(&[0x7c, bits | 1], 0, 3_000));
        let [first, middle, last] = expected;
        assert_eq!(heads(&avc), [([0x7c, first], false), ([0x7c, middle], false), ([0x7c, last], true)]);
        let hevc = pieces(&h265(Framing::AnnexB), &filled(&[0x62, 1, bits | 1], 0, 3_000));
        assert_eq!(
            heads(&hevc),
            [([0x62, 1, first], false), ([0x62, 1, middle], false), ([0x62, 1, last], true)]
        );
    }
}

#[test]
fn delimiters_and_parameter_sets_stay_where_units_came_together() {
    let units =
        [filled(&[9], 0, 1), filled(&[0x67], 0, 20), filled(&[0x68], 0, 4), filled(&[0x65], 0, 3_000)];
    let sized = units.iter().flat_map(|unit| [&(unit.len() as u16).to_be_bytes()[..], unit].concat());
    let payload: Vec<u8> = [0x78].into_iter().chain(sized).collect();
    let cut = pieces(&h264(Framing::AnnexB), &payload);
    assert_eq!(cut[0].0, payload[..1 + 3 * 2 + 2 + 21 + 5]);
    assert_eq!(heads(&cut[1..]), [([0x7c, 0x85], false), ([0x7c, 0x05], false), ([0x7c, 0x45], true)]);
}

#[test]
fn pieces_of_a_jpeg_picture_know_their_place_and_its_restart_intervals() {
    // An offset of 256, type 65, Q 255, 80 times 60 blocks; intervals begin and end here, 5 are before them.
    let head = [0, 0, 1, 0, 65, 255, 80, 60, 0, 9, 0xc0, 5];
    let cut = pieces(&Codec::Jpeg, &filled(&head, 0, 3_000));
    let at = |offset: u16, flags: u8| {
        let [high, low] = offset.to_be_bytes();
        [0, 0, high, low, 65, 255, 80, 60, 0, 9, flags, 5]
    };
    let expected = [(at(256, 0x80), false), (at(256 + 1_376, 0), false), (at(256 + 2_752, 0x40), true)];
    assert_eq!(heads(&cut), expected);
    // The whole picture only: the flags say nothing else.
    let head = [0, 0, 0, 0, 64, 50, 80, 60, 0, 9, 0xff, 0xff];
    let whole = heads::<12>(&pieces(&Codec::Jpeg, &filled(&head, 0, 3_000)));
    assert!(whole.iter().all(|(head, _)| head[10..] == [0xff, 0xff]));
    assert_eq!(
        cut_error(&Codec::Jpeg, &filled(&[0, 0, 0, 0, 128, 50, 80, 60], 0, 3_000)),
        RefragmentError::Indivisible
    );
}

fn cut_error(codec: &Codec, payload: &[u8]) -> RefragmentError {
    let header = Header { marker: true, payload_type: 96, sequence: 7, timestamp: 1_000, ssrc: 1 };
    cut(codec, &header, None, payload, 1_400).unwrap_err()
}

#[test]
fn descriptors_of_vp8_and_vp9_say_where_the_frame_begins_and_ends() {
    // With a picture id of 15 bits.
    let vp8 = pieces(&Codec::Vp8, &filled(&[0x90, 0x80, 0x81, 0x23], 0, 3_000));
    let expected = [
        ([0x90, 0x80, 0x81, 0x23], false),
        ([0x80, 0x80, 0x81, 0x23], false),
        ([0x80, 0x80, 0x81, 0x23], true),
    ];
    assert_eq!(heads(&vp8), expected);
    // A picture id, and the structure of one layer with its size.
    let vp9 = pieces(&Codec::Vp9 { profile: 0 }, &filled(&[0x8e, 0x05, 0x10, 2, 128, 1, 224], 0, 3_000));
    let data: Vec<u8> = vp9[0].0[7..].iter().chain(&vp9[1].0[2..]).chain(&vp9[2].0[2..]).copied().collect();
    assert_eq!(data, filled(&[], 0, 3_000), "the structure stands in the first alone");
    let heads: Vec<_> = vp9.iter().map(|(payload, ..)| &payload[..2]).collect();
    assert_eq!(heads, [[0x8a, 0x05], [0x80, 0x05], [0x84, 0x05]]);
    assert_eq!(vp9[0].0[2..7], [0x10, 2, 128, 1, 224]);
}

#[test]
fn units_of_aac_are_parted_by_their_times() {
    let config = Bytes::from_static(&[0x11, 0x90]);
    let codec = Codec::Aac { config, sample_rate: 48_000, channels: 2 };
    let sizes = [600u16, 700, 1_500, 100];
    let headers: Vec<u8> = sizes.iter().flat_map(|size| (size << 3).to_be_bytes()).collect();
    let data: Vec<u8> = (0u8..).zip(sizes).flat_map(|(fill, size)| vec![fill; size.into()]).collect();
    let payload = [&[0, 64], &headers[..], &data].concat();
    let cut = pieces(&codec, &payload);
    let seen: Vec<_> =
        cut.iter().map(|(payload, marker, time)| (payload[1], payload.len(), *marker, *time)).collect();
    assert_eq!(
        seen,
        [
            (32, 6 + 1_300, true, 1_000),
            (16, 1_388, false, 3_048),
            (16, 4 + 116, true, 3_048),
            (16, 104, true, 4_072)
        ]
    );
    // Interleaved units.
    assert_eq!(cut_error(&codec, &[0, 32, 0, 8, 0, 9, 1, 2]), RefragmentError::Indivisible);
}

#[test]
fn frames_of_mpeg_audio_are_parted_by_their_times() {
    // Layer 3, 128 kbit/s at 48 kHz: 384 bytes, 24 ms.
    let frame = filled(&[0xff, 0xfb, 0x94, 0], 0, 380);
    let payload = [&[0; 4], &frame.repeat(5)[..]].concat();
    let cut = pieces(&Codec::MpegAudio, &payload);
    let seen: Vec<_> = cut.iter().map(|(payload, marker, time)| (payload.len(), *marker, *time)).collect();
    assert_eq!(seen, [(4 + 3 * 384, true, 1_000), (4 + 2 * 384, false, 1_000 + 3 * 2_160)]);
}

#[test]
fn what_knows_no_fragments_stays_whole() {
    let other = Codec::Other { kind: crate::track::Kind::Application, rtpmap: "x/1".into(), fmtp: None };
    for codec in [other, Codec::Opus { channels: 1 }] {
        assert_eq!(cut_error(&codec, &[1; 3_000]), RefragmentError::Indivisible);
    }
    // Units of the interleaved mode.
    assert_eq!(cut_error(&h264(Framing::AnnexB), &[25; 3_000]), RefragmentError::Indivisible);
}
