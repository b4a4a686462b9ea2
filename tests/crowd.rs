//! One published stream before hundreds of viewers, of whom one stops reading, one reads far too slowly and one
//! vanishes without a word: the others notice nothing, and the server bears it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use socket2::{SockFilter, SockRef};

use crate::client::publisher::Publisher;
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Message};
use crate::server::{Backend, Server, on_both_backends};
use crate::stalls::{RESUMPTION_MAX, STALLED_BYTES_MAX, assert_goes_on_at_a_keyframe};

const PATH: &str = "/live/camera";

/// Viewers over TCP who read as they should.
const VIEWERS: usize = 500;

/// Viewers over UDP who do.
const UDP_VIEWERS: usize = 5;

/// Threads that read for the viewers over TCP.
const READERS: usize = 4;

const PICTURE: Duration = Duration::from_millis(40);

/// Pictures from keyframe to keyframe.
const GOP: u32 = 25;

/// Packets of a picture and their payload in bytes: 100 kB a second.
const PARTS: (usize, usize) = (4, 1_000);

/// A tenth of the stream's rate, in bytes a second.
const TRICKLE: f64 = 10_000.0;

/// How long the three misbehave: long enough to fill what the system holds for them.
const TROUBLE: Duration = Duration::from_secs(15);

/// A viewer that does not take anything is ended after so many seconds: more than the slow one needs for one send of
/// the server, 256 KiB.
const TIMEOUT_S: u64 = 30;

/// What the server may grow by meanwhile: what three stalled viewers hold, and the groups of pictures that windows
/// keep (1.2 MB in each of two shards and in the cache, twice for their interleaved form).
const GROWN_BYTES_MAX: u64 = 3 * STALLED_BYTES_MAX + (8 << 20);

/// A viewer over TCP that counts.
struct Watcher {
    client: Client,
    last: HashMap<u8, u16>,
    packets: u64,
    gaps: u64,
    /// Number of the latest picture.
    picture: u32,
}

impl Watcher {
    fn open(server: &Server) -> Watcher {
        let mut viewer = Viewer::open(server.address(), &server.url(PATH), Over::Tcp);
        viewer.play(&[]);
        Watcher { client: viewer.client, last: HashMap::new(), packets: 0, gaps: 0, picture: 0 }
    }

    /// Takes what has come.
    fn read(&mut self) {
        while let Some((channel, data)) = self.client.frames.pop_front() {
            self.take(channel, &data);
        }
        while let Some(message) = self.client.next(Duration::from_millis(1)) {
            match message {
                Message::Frame { channel, data } => self.take(channel, &data),
                Message::Closed => panic!("the server has closed the connection of a viewer who reads"),
                _ => {}
            }
        }
    }

    fn take(&mut self, channel: u8, data: &[u8]) {
        if channel % 2 == 1 {
            return;
        }
        let sequence = u16::from_be_bytes([data[2], data[3]]);
        let before = self.last.insert(channel, sequence);
        self.gaps += u64::from(before.is_some_and(|before| before.wrapping_add(1) != sequence));
        self.packets += 1;
        if channel == 0 {
            self.picture = u32::from_be_bytes(data[14..18].try_into().unwrap());
        }
    }
}

/// A viewer over TCP for whom the system holds little.
fn narrow(server: &Server) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(PATH), Over::Tcp);
    set_socket_recv_buffer_size(viewer.client.socket(), 16 * 1024).unwrap();
    viewer.play(&[]);
    viewer
}

/// Reads a tenth of what comes until `is_over`.
fn trickle(viewer: &mut Viewer, is_over: &AtomicBool) {
    viewer.client.read_bytes_max = 1_000;
    let (began, mut bytes) = (Instant::now(), 0.0);
    while !is_over.load(Ordering::Relaxed) {
        if bytes > began.elapsed().as_secs_f64() * TRICKLE {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        match viewer.client.next(Duration::from_millis(20)) {
            Some(Message::Frame { channel, data }) => {
                bytes += data.len() as f64;
                viewer.client.frames.push_back((channel, data));
            }
            Some(Message::Closed) => {
                panic!("the server has closed the connection of a viewer who reads slowly")
            }
            _ => {}
        }
    }
    viewer.client.read_bytes_max = 65_536;
}

/// From now on nothing reaches the viewer and no answer leaves, as when its cable is pulled: a filter before its socket
/// lets no segment pass, acknowledgements stop, and no end is ever said.
fn vanish(viewer: &Viewer) {
    const RETURN_CONSTANT: u16 = 0x06;
    let drop_all = [SockFilter::new(RETURN_CONSTANT, 0, 0, 0)];
    SockRef::from(viewer.client.socket()).attach_filter(&drop_all).unwrap();
}

/// Everybody plays while three misbehave: one that stops reading, a slow one and one that vanishes.
fn trouble(
    server: &Server,
    publisher: &mut Publisher,
    watchers: &mut [Watcher],
    udp: &mut [Viewer],
) -> [Viewer; 3] {
    let is_over = AtomicBool::new(false);
    let done = || is_over.load(Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| {
            let began = Instant::now();
            let mut index = 0;
            while !done() {
                index += 1;
                publisher.picture_of(index, index % GOP == 0, PARTS.0, PARTS.1);
                thread::sleep((PICTURE * index).saturating_sub(began.elapsed()));
            }
        });
        let size = watchers.len().div_ceil(READERS);
        for some in watchers.chunks_mut(size) {
            scope.spawn(|| {
                while !done() {
                    some.iter_mut().for_each(Watcher::read);
                }
                // And the rest.
                thread::sleep(Duration::from_millis(500));
                some.iter_mut().for_each(Watcher::read);
            });
        }
        for viewer in udp {
            scope.spawn(|| {
                viewer.receive_until(Duration::from_secs(100), |_| done());
                viewer.receive(Duration::from_millis(500));
            });
        }
        let [stalled, mut slow, vanished] = [narrow(server), narrow(server), narrow(server)];
        thread::sleep(Duration::from_secs(3));
        let before = server.memory_bytes();
        vanish(&vanished);
        let is_over = &is_over;
        scope.spawn(move || {
            let end = Instant::now() + TROUBLE;
            let mut most = before;
            while Instant::now() < end {
                thread::sleep(Duration::from_millis(200));
                most = most.max(server.memory_bytes());
            }
            is_over.store(true, Ordering::Relaxed);
            println!("memory: {before} bytes, at most {} more", most - before);
            assert!(most - before < GROWN_BYTES_MAX, "{} bytes more, {before} before", most - before);
        });
        trickle(&mut slow, is_over);
        [stalled, slow, vanished]
    })
}

fn three_bad_viewers_among_hundreds_are_noticed_by_nobody_else(backend: Backend) {
    let server = Server::with(backend)
        .setting("log_level", 2)
        .setting("session_timeout", TIMEOUT_S)
        .lifetime(Duration::from_secs(200))
        .start();
    let mut publisher = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
    publisher.picture_of(0, true, PARTS.0, PARTS.1);
    let mut watchers: Vec<_> = (0..VIEWERS).map(|_| Watcher::open(&server)).collect();
    let mut udp: Vec<_> = (0..UDP_VIEWERS)
        .map(|_| {
            let mut viewer = Viewer::open(server.address(), &server.url(PATH), Over::Udp);
            viewer.play(&[]);
            viewer
        })
        .collect();
    let [stalled, mut slow, vanished] = trouble(&server, &mut publisher, &mut watchers, &mut udp);
    let last = watchers.iter().map(|watcher| watcher.picture).max().unwrap();
    assert!(last > 300, "{last} pictures");
    for watcher in &watchers {
        assert_eq!((watcher.gaps, watcher.picture), (0, last), "{} packets", watcher.packets);
    }
    for viewer in &udp {
        assert!(viewer.tracks.iter().all(|track| track.gaps().is_empty()));
        assert_eq!(crate::client::pictures::pictures(viewer).last(), Some(&last));
    }
    let reader = watchers[0].client.local();
    drop((watchers, udp));
    // The slow one has whole pictures, and begins at a keyframe behind what it has missed.
    let read_all = |viewer: &Viewer| !viewer.tracks[0].gaps().is_empty();
    assert!(
        slow.receive_until(RESUMPTION_MAX, read_all),
        "nothing was left out for a viewer that is too slow"
    );
    // What it goes on with, to the end of a picture: the system's sender may hesitate once more.
    slow.receive_until(RESUMPTION_MAX, |viewer| {
        let packets = &viewer.tracks[0].packets;
        packets.last().is_some_and(|last| last.marker)
            && viewer.tracks[0]
                .gaps()
                .last()
                .is_some_and(|(_, after)| *after != packets[packets.len() - 1].sequence)
    });
    assert_goes_on_at_a_keyframe(&slow.tracks[0]);
    let others = [(&stalled, "no sign of life"), (&vanished, "no sign of life")];
    for (viewer, what) in [(&slow, "a viewer is too slow")].into_iter().chain(others) {
        let end = Instant::now() + Duration::from_secs(2 * TIMEOUT_S);
        while !says(&server, what, viewer.client.local()) {
            assert!(Instant::now() < end, "{what:?} is not said of {}", viewer.client.local());
            thread::sleep(Duration::from_millis(100));
        }
        assert!(!says(&server, what, reader), "{what:?} is said of a viewer who reads");
    }
}

/// Whether the log says so of a viewer.
fn says(server: &Server, what: &str, peer: SocketAddr) -> bool {
    let peer = format!("peer={peer}");
    server.log().lines().any(|line| line.contains(what) && line.split(' ').any(|word| word == peer))
}

on_both_backends!(three_bad_viewers_among_hundreds_are_noticed_by_nobody_else);
