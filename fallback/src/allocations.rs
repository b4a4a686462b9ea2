//! A send allocates nothing: counted.

use std::alloc::System;
use std::io::Read;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::io::{Conn, Driver, Event, Op, Piece, Pieces, Udp, UdpOptions};
use proto::rtp::batch::{Batch, BatchWriter, Meta, Numbering};
use proto::time::MediaTime;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::TokioDriver;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Viewers of the frame that is sent.
const VIEWERS: usize = 50;

/// The least that one of many frames allocates: other tests run beside this one and are counted as well, but not all
/// the time.
fn least_allocations(mut frame: impl FnMut()) -> usize {
    frame();
    let end = Instant::now() + Duration::from_secs(5);
    let mut least = usize::MAX;
    while least > 0 && Instant::now() < end {
        let region = Region::new(ALLOCATOR);
        frame();
        least = least.min(region.change().allocations);
    }
    least
}

fn frame() -> Arc<Batch> {
    let numbering = Numbering { ssrc: 7, payload_type: 96, sequence: 1, timestamp: 9 };
    let mut writer = BatchWriter::new(numbering, 0);
    for size in [1_388; 11].into_iter().chain([700]) {
        writer.packet(size == 700, &[&vec![7; size]]);
    }
    let meta = Meta { track: 0, keyframe: false, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
    Arc::new(writer.finish(meta).unwrap())
}

/// The two forms of a frame: shared by all, and with heads of the viewer's own.
fn forms(batch: &Arc<Batch>, shared: Bytes, head: usize) -> [Piece; 2] {
    let count = batch.packets().len();
    let heads = Bytes::from(vec![1; head * count]);
    [Piece::Shared(shared), Piece::Spliced { heads, batch: batch.clone(), first: 0, count: count as u32 }]
}

#[test]
fn a_frame_over_udp_allocates_nothing() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to: SocketAddr = peer.local_addr().unwrap();
    let mut driver = TokioDriver::new().unwrap();
    let (udp, _): (Udp, _) = driver.bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
    let batch = frame();
    let mut events = Vec::new();
    let mut frames = 0;
    for piece in forms(&batch, batch.rtp().clone(), 12) {
        let least = least_allocations(|| {
            frames += 1;
            for _ in 0..VIEWERS {
                driver.submit(Op::SendTo { udp, to, piece: piece.clone(), segment: 1_400 });
            }
            driver.turn(Some(driver.now()), &mut events).unwrap();
        });
        assert_eq!(least, 0, "{}", piece.size());
    }
    assert_eq!(driver.stats().datagrams, frames * VIEWERS as u64 * 12);
}

#[test]
fn a_frame_over_tcp_allocates_nothing() {
    let mut driver = TokioDriver::new().unwrap();
    let (_, address) = driver.listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut clients: Vec<_> = (0..VIEWERS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut events = Vec::new();
    let mut conns: Vec<Conn> = Vec::new();
    while conns.len() < VIEWERS {
        driver.turn(None, &mut events).unwrap();
        conns.extend(events.drain(..).filter_map(|event| match event {
            Event::Accepted { conn, .. } => Some(conn),
            _ => None,
        }));
    }
    let batch = frame();
    let mut buffer = vec![0; 64 * 1024];
    for piece in forms(&batch, batch.interleaved(), 16) {
        let size = piece.size();
        let least = least_allocations(|| {
            for conn in &conns {
                let pieces = Pieces::from_iter([piece.clone()]);
                driver.submit(Op::Send { conn: *conn, pieces });
            }
            let mut sent = 0;
            while sent < VIEWERS {
                driver.turn(Some(driver.now()), &mut events).unwrap();
                sent += events.drain(..).filter(|event| matches!(event, Event::Sent { .. })).count();
            }
            for client in &mut clients {
                client.read_exact(&mut buffer[..size]).unwrap();
            }
        });
        assert_eq!(least, 0, "{}", piece.size());
    }
}
