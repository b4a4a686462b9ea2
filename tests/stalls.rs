//! Viewers over TCP that stop reading for a while: what they cost meanwhile, and how they go on.

use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::client::viewer::{Over, Track, Viewer};
use crate::corpus::folder;
use crate::seeking::is_keyframe;
use crate::server::{Backend, Server, on_both_backends};

/// Anonymous memory that a viewer may hold who does not read: one send (256 KiB and the batch that goes beyond it),
/// and the segments behind it (three of 256 KiB less, since viewers share them).
pub(crate) const STALLED_BYTES_MAX: u64 = 1 << 20;

const VIEWERS: usize = 5;

/// How long nobody reads.
const STALL: Duration = Duration::from_secs(10);

/// After a stall the system's sender asks again whether there is room, at intervals that double: as long as it lasted.
pub(crate) const RESUMPTION_MAX: Duration = Duration::from_secs(40);

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).setting("loop_nums", -1).setting("slow_reader_ms", 1_000).start()
}

/// Viewers of a path who have read for some seconds, so that caches and pools stand where they will stay.
fn viewers(server: &Server, path: &str) -> Vec<Viewer> {
    let mut viewers: Vec<_> = (0..VIEWERS)
        .map(|_| {
            let viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
            // What the system would hold for a stalled viewer is not held by the server.
            set_socket_recv_buffer_size(viewer.client.socket(), 64 * 1024).unwrap();
            viewer
        })
        .collect();
    viewers.iter_mut().for_each(|viewer| drop(viewer.play(&[])));
    read(&mut viewers, Duration::from_secs(5), |_| false);
    viewers
}

/// Everybody reads at once until `done`, or for so long.
fn read(viewers: &mut [Viewer], time: Duration, done: impl Fn(&Viewer) -> bool + Copy + Send) {
    std::thread::scope(|scope| {
        for viewer in viewers {
            scope.spawn(move || viewer.receive_until(time, done));
        }
    });
}

/// Nobody reads; fails when the server grows by more than its bound.
#[track_caller]
fn stall(server: &Server) {
    let before = server.memory_bytes();
    let end = Instant::now() + STALL;
    let mut most = before;
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
        most = most.max(server.memory_bytes());
    }
    let grown = most - before;
    let bound = STALLED_BYTES_MAX * VIEWERS as u64;
    assert!(grown < bound, "{grown} bytes more while {VIEWERS} viewers do not read, {before} before");
}

fn viewers_of_a_file_who_stop_reading_hold_little_and_then_go_on_without_a_gap(backend: Backend) {
    let server = server(backend);
    // More than 2 MB a second each.
    let mut viewers = viewers(&server, "/jpeg_1080p.mov");
    viewers.iter_mut().for_each(|viewer| viewer.tracks[0].packets.clear());
    stall(&server);
    // More than the system held back.
    let goes_on = |viewer: &Viewer| viewer.tracks[0].packets.len() > 1_500;
    read(&mut viewers, RESUMPTION_MAX, goes_on);
    for viewer in &viewers {
        assert!(goes_on(viewer), "{} packets", viewer.tracks[0].packets.len());
        assert_eq!(viewer.tracks[0].gaps(), []);
    }
}

fn viewers_of_a_live_stream_who_stop_reading_hold_little_and_go_on_at_a_keyframe(backend: Backend) {
    let server = server(backend);
    let mut viewers = viewers(&server, "/test");
    stall(&server);
    let has_skipped = |viewer: &Viewer| !video(viewer).gaps().is_empty();
    read(&mut viewers, RESUMPTION_MAX, has_skipped);
    // The picture behind the gap, to its end.
    read(&mut viewers, Duration::from_secs(1), |_| false);
    viewers.iter().for_each(|viewer| assert_goes_on_at_a_keyframe(video(viewer)));
}

fn video(viewer: &Viewer) -> &Track {
    viewer.tracks.iter().find(|track| track.media.kind == "video").expect("there is a picture")
}

/// Fails unless packets are missing, whole pictures of them, and what follows is a keyframe.
#[track_caller]
pub(crate) fn assert_goes_on_at_a_keyframe(track: &Track) {
    let is_gap =
        |place: &usize| track.packets[*place].sequence != track.packets[*place - 1].sequence.wrapping_add(1);
    let gaps: Vec<_> = (1..track.packets.len()).filter(is_gap).collect();
    assert!(!gaps.is_empty(), "what a viewer misses is skipped");
    for gap in gaps {
        assert!(track.packets[gap - 1].marker, "the picture before the gap is whole");
        let behind = &track.packets[gap..];
        let unit = behind.chunk_by(|a, b| a.timestamp == b.timestamp).next().unwrap();
        assert!(is_keyframe(unit), "{:02x?}", &unit[0].payload[..unit[0].payload.len().min(8)]);
        assert!(unit.last().unwrap().marker, "the picture behind the gap is whole");
    }
}

on_both_backends!(
    viewers_of_a_live_stream_who_stop_reading_hold_little_and_go_on_at_a_keyframe;
    "ffmpeg":
    viewers_of_a_file_who_stop_reading_hold_little_and_then_go_on_without_a_gap,
);
