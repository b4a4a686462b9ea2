//! Packets made of frames, and frames of packets: bytes a second by codec and packet size.
//!
//! The input is generated, the same in every run: sizes of frames as a 4 Mbit/s camera has them (a keyframe of 120 kB,
//! other pictures of 16.6 kB), and sound as encoders cut it.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use proto::frame::Frame;
use proto::rtp::batch::{Batch, Numbering};
use proto::rtp::depacketize::Depacketizer;
use proto::rtp::packetize::Packetizer;
use proto::track::{Codec, Framing, Law, Track};

const KEYFRAME_BYTES: usize = 120_000;
const PICTURE_BYTES: usize = 16_600;
const BUDGETS: [usize; 2] = [1_400, 8_900];

/// Bytes that look coded: no run of zeros, so no start code.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8 | 1
    };
    (0..size).map(next).collect()
}

fn with_length(unit: &[u8]) -> Vec<u8> {
    [&(unit.len() as u32).to_be_bytes()[..], unit].concat()
}

fn with_start_code(unit: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 1], unit].concat()
}

fn unit(head: &[u8], size: usize) -> Vec<u8> {
    [head, &noise(size)].concat()
}

/// A baseline JPEG file without Huffman tables, as Motion JPEG has it.
fn jpeg(size: usize) -> Vec<u8> {
    let table = |number: u8| [&[0xff, 0xdb, 0, 67, number][..], &[16; 64]].concat();
    let frame = [0xff, 0xc0, 0, 17, 8, 4, 0x38, 7, 0x80, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
    let scan = [0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0];
    [&[0xff, 0xd8][..], &table(0), &table(1), &frame, &scan, &noise(size), &[0xff, 0xd9]].concat()
}

fn av1(size: usize) -> Vec<u8> {
    let length = [size as u8 & 0x7f | 0x80, (size >> 7) as u8 & 0x7f | 0x80, (size >> 14) as u8];
    [&[0x12, 0, 0x32][..], &length, &noise(size)].concat()
}

/// A name, a codec, a frame and whether it is a keyframe.
type Case = (&'static str, Codec, Vec<u8>, bool);

fn cases() -> Vec<Case> {
    let sets = |heads: &[u8]| vec![Bytes::from(unit(heads, 24))];
    let h264 = |framing| Codec::H264 { sps: sets(&[0x67]), pps: sets(&[0x68]), framing };
    let h265 = Codec::H265 {
        vps: sets(&[0x40, 1]),
        sps: sets(&[0x42, 1]),
        pps: sets(&[0x44, 1]),
        framing: Framing::Length(4),
    };
    let aac = Codec::Aac { config: Bytes::from_static(&[0x11, 0x90]), sample_rate: 48_000, channels: 2 };
    let g711 = Codec::G711 { law: Law::Mu, sample_rate: 8_000, channels: 1 };
    let four_slices: Vec<u8> = (0..4).flat_map(|_| with_length(&unit(&[0x41], PICTURE_BYTES / 4))).collect();
    vec![
        ("h264-key", h264(Framing::Length(4)), with_length(&unit(&[0x65], KEYFRAME_BYTES)), true),
        ("h264", h264(Framing::Length(4)), with_length(&unit(&[0x41], PICTURE_BYTES)), false),
        ("h264-4-slices", h264(Framing::Length(4)), four_slices, false),
        ("h264-annex-b", h264(Framing::AnnexB), with_start_code(&unit(&[0x41], PICTURE_BYTES)), false),
        ("h265", h265, with_length(&unit(&[2, 1], PICTURE_BYTES)), false),
        ("jpeg", Codec::Jpeg, jpeg(PICTURE_BYTES), true),
        ("vp9", Codec::Vp9 { profile: 0 }, noise(PICTURE_BYTES), false),
        ("av1", Codec::Av1 { sequence_header: Bytes::new() }, av1(PICTURE_BYTES), false),
        ("aac", aac, noise(340), true),
        ("g711-100ms", g711, noise(800), true),
    ]
}

fn packetizer(codec: &Codec, mtu_bytes: usize) -> Packetizer {
    let track = Track::new(codec.clone(), 0);
    let numbering = Numbering { ssrc: 1, payload_type: track.payload_type, sequence: 0, timestamp: 0 };
    Packetizer::new(&track, 0, numbering, mtu_bytes)
}

fn frame(payload: &[u8], keyframe: bool) -> Frame {
    let payload = Bytes::copy_from_slice(payload);
    Frame { track: 0, pts: 0, dts: 0, duration: 3_000, keyframe, payload }
}

fn batch(codec: &Codec, frame: &Frame, mtu_bytes: usize) -> Batch {
    let made = packetizer(codec, mtu_bytes).packetize(frame);
    made.expect("generated frames can be carried").expect("and have content")
}

fn packetize(criterion: &mut Criterion) {
    for (name, codec, payload, keyframe) in cases() {
        let mut group = criterion.benchmark_group(format!("packetize/{name}"));
        group.throughput(Throughput::Bytes(payload.len() as u64));
        let frame = frame(&payload, keyframe);
        for mtu_bytes in BUDGETS {
            let mut packetizer = packetizer(&codec, mtu_bytes);
            group.bench_function(BenchmarkId::new("mtu", mtu_bytes), |bencher| {
                bencher.iter(|| packetizer.packetize(black_box(&frame)));
            });
        }
        group.finish();
    }
}

/// The copy that every viewer over TCP shares.
fn render(criterion: &mut Criterion) {
    let (name, codec, payload, keyframe) = cases().remove(1);
    let mut group = criterion.benchmark_group(format!("interleave/{name}"));
    group.throughput(Throughput::Bytes(payload.len() as u64));
    let frame = frame(&payload, keyframe);
    for mtu_bytes in BUDGETS {
        group.bench_function(BenchmarkId::new("mtu", mtu_bytes), |bencher| {
            let fresh = || batch(&codec, &frame, mtu_bytes);
            bencher.iter_batched(fresh, |batch| batch.interleaved(), criterion::BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn depacketize(criterion: &mut Criterion) {
    for (name, codec, payload, keyframe) in cases() {
        let mut group = criterion.benchmark_group(format!("depacketize/{name}"));
        group.throughput(Throughput::Bytes(payload.len() as u64));
        let mtu_bytes = BUDGETS[0];
        let batch = batch(&codec, &frame(&payload, keyframe), mtu_bytes);
        let track = Track::new(codec, 0);
        group.bench_function(BenchmarkId::new("mtu", mtu_bytes), |bencher| {
            bencher.iter(|| {
                let mut depacketizer = Depacketizer::new(&track);
                for packet in batch.packets() {
                    let _ = depacketizer.handle_packet(black_box(batch.packet(packet)));
                }
                depacketizer.poll_frame()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, packetize, render, depacketize);
criterion_main!(benches);
