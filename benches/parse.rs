//! Reading what peers send: dialogues recorded from players and publishers, headers and reports.
//!
//! Group names say what arrives; `whole` is one piece, `1400` are pieces of a packet's size, `1` is byte by byte.

use std::hint::black_box;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use proto::rtcp::parse::Compound;
use proto::rtcp::report::{ReportBlock, SenderInfo};
use proto::rtcp::write;
use proto::rtsp::headers::range::Range;
use proto::rtsp::headers::transport::Transport;
use proto::rtsp::message::Response;
use proto::rtsp::parse::{Item, Limits, Parser};
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;
use proto::time::NtpTime;

const FFMPEG_PLAY: &[u8] = include_bytes!("../tests/data/rtsp/ffmpeg_play_tcp.txt");
const GSTREAMER_PLAY: &[u8] = include_bytes!("../tests/data/rtsp/gst_play_tcp.txt");
const FFMPEG_PUBLISH: &[u8] = include_bytes!("../tests/data/rtsp/ffmpeg_publish_tcp.txt");

/// Reads a dialogue that arrives in pieces of that size; gives the count of items.
fn read(bytes: &[u8], piece_bytes: usize) -> usize {
    let mut parser = Parser::new(Limits::DEFAULT);
    let mut items = 0;
    for piece in bytes.chunks(piece_bytes) {
        parser.handle_bytes(piece);
        while let Some(item) = parser.poll().expect("a recorded dialogue is well-formed") {
            black_box(&item);
            items += 1;
        }
    }
    items
}

fn dialogues(c: &mut Criterion) {
    for (name, bytes) in [("ffmpeg_play", FFMPEG_PLAY), ("gstreamer_play", GSTREAMER_PLAY)] {
        let mut group = c.benchmark_group(format!("parse/requests/{name}"));
        group.throughput(Throughput::Elements(read(bytes, usize::MAX) as u64));
        for (split, piece_bytes) in [("whole", usize::MAX), ("1", 1)] {
            group.bench_function(split, |b| b.iter(|| read(black_box(bytes), piece_bytes)));
        }
        group.finish();
    }
}

/// A publisher's stream: `$` frames of RTP packets, received in pieces up to 64 KiB.
fn publishing(c: &mut Criterion) {
    let mut stream = FFMPEG_PUBLISH.to_vec();
    let packet = [&[b'$', 0, 0x05, 0x78][..], &[0x5a; 0x578]].concat();
    (0..1000).for_each(|_| stream.extend_from_slice(&packet));
    let mut group = c.benchmark_group("parse/interleaved/ffmpeg_publish");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    for piece_bytes in [1400, 16 * 1024, 64 * 1024] {
        group.bench_function(piece_bytes.to_string(), |b| b.iter(|| read(black_box(&stream), piece_bytes)));
    }
    group.finish();
}

fn headers(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse/header");
    group.throughput(Throughput::Elements(1));
    let offers =
        "RTP/AVP/UDP;unicast;client_port=22340-22341,RTP/AVP/TCP;unicast;interleaved=0-1;mode=\"PLAY\"";
    group.bench_function("transport", |b| b.iter(|| Transport::parse(black_box(offers))));
    group.bench_function("range", |b| b.iter(|| Range::parse(black_box("npt=12.345-34.5"))));
    let uri = "rtsp://192.168.1.7:8554/films/a%20b.mp4?t=unicast&w=640/trackID=1";
    group.bench_function("uri", |b| b.iter(|| Target::parse(black_box(uri))));
    group.finish();
}

fn writing(c: &mut Criterion) {
    let response = Response::new(Status::OK)
        .header("CSeq", "4")
        .header("Server", "Ringcaster")
        .header("Date", "Tue, 15 Nov 1994 08:12:31 GMT")
        .header("Session", "0123456789abcdef;timeout=60")
        .header("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=0123ABCD");
    let mut out = BytesMut::new();
    let mut group = c.benchmark_group("write/response");
    group.throughput(Throughput::Elements(1));
    group.bench_function("setup", |b| {
        b.iter(|| {
            out.clear();
            response.write(&mut out);
            black_box(out.len())
        });
    });
    group.finish();
}

fn reports(c: &mut Criterion) {
    let info = SenderInfo {
        ssrc: 1,
        ntp: NtpTime::from_unix(Duration::from_secs(1_700_000_000)),
        rtp: 2,
        packets: 3,
        octets: 4,
    };
    let mut compound = Vec::new();
    write::receiver_report(&mut compound, 9, &[ReportBlock::default()], "ringcaster@host");
    let mut out = Vec::with_capacity(128);
    let mut group = c.benchmark_group("rtcp");
    group.throughput(Throughput::Elements(1));
    group.bench_function("read/receiver_report", |b| {
        b.iter(|| Compound::parse(black_box(&compound)).map(|compound| compound.iter().count()));
    });
    group.bench_function("write/sender_report", |b| {
        b.iter(|| {
            out.clear();
            write::sender_report(&mut out, black_box(&info), "ringcaster@host");
            out.len()
        });
    });
    group.finish();
}

/// Makes sure that what is measured is all read.
fn check() {
    assert_eq!(read(FFMPEG_PLAY, usize::MAX), 6);
    let mut parser = Parser::new(Limits::DEFAULT);
    parser.handle_bytes(FFMPEG_PLAY);
    assert!(matches!(parser.poll(), Ok(Some(Item::Request(_)))));
}

fn all(c: &mut Criterion) {
    check();
    dialogues(c);
    publishing(c);
    headers(c);
    writing(c);
    reports(c);
}

criterion_group!(benches, all);
criterion_main!(benches);
