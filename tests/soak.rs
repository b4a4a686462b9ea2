//! A live stream for a long time: nothing is lost, and latency and memory stay where they were. Seconds by default,
//! `RINGCASTER_SOAK_S=600 cargo test --test behaviour soak -- --nocapture` for ten minutes with a table.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::publisher::Publisher;
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};

/// Parts that a run is divided into: the first one warms up, the others are compared.
const PARTS: u32 = 10;

const PICTURE: Duration = Duration::from_millis(40);

/// Pictures that may be on their way: a second.
const BACKLOG_MAX: usize = 25;

/// What the server's memory may grow by behind the first part.
const GROWTH_BYTES_MAX: u64 = 2 << 20;

fn duration() -> Duration {
    let seconds = std::env::var("RINGCASTER_SOAK_S").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// When each picture was sent.
#[derive(Default)]
struct Sent(Mutex<Vec<Instant>>);

/// What one viewer has seen of one part.
#[derive(Debug, Default)]
struct Part {
    /// In milliseconds, one a picture.
    latencies: Vec<f64>,
    /// Pictures that had been sent and not come at its end.
    backlog: usize,
}

fn publish(server: &Server, over: Over, sent: &Sent, is_over: &AtomicBool) {
    let mut publisher = Publisher::start(server.address(), &server.url("/soak"), over);
    let start = Instant::now();
    for index in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        std::thread::sleep((start + PICTURE * index).saturating_duration_since(Instant::now()));
        sent.0.lock().unwrap().push(Instant::now());
        publisher.picture(index, index % 50 == 0);
    }
}

/// Watches for one part.
fn watch(viewer: &mut Viewer, sent: &Sent, time: Duration) -> Part {
    let mut part = Part::default();
    let end = Instant::now() + time;
    let (mut last, mut before) = (0, viewer.tracks[0].packets.pop());
    while Instant::now() < end {
        viewer.receive(Duration::from_millis(200));
        let packets = std::mem::take(&mut viewer.tracks[0].packets);
        viewer.tracks[1].packets.clear();
        for packet in packets {
            if let Some(before) = before.replace(packet.clone()) {
                let next = before.sequence.wrapping_add(1);
                assert_eq!(packet.sequence, next, "a packet is missing");
            }
            let index = u32::from_be_bytes(packet.payload[2..6].try_into().unwrap()) as usize;
            if packet.marker {
                let sent = sent.0.lock().unwrap()[index];
                part.latencies.push(packet.at.saturating_duration_since(sent).as_secs_f64() * 1_000.0);
                last = index;
            }
        }
    }
    part.backlog = sent.0.lock().unwrap().len() - 1 - last;
    // The next part goes on behind it.
    viewer.tracks[0].packets.extend(before);
    part
}

fn latency_and_memory_stay_where_they_are(backend: Backend) {
    let time = duration();
    // The viewers only listen.
    let server = Server::with(backend).setting("session_timeout", 0);
    let server = server.lifetime(time + Duration::from_secs(60)).start();
    let (sent, is_over) = (Sent::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&server, Over::Udp, &sent, &is_over));
        while sent.0.lock().unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut viewers: Vec<_> = [Over::Udp, Over::Tcp, Over::Udp, Over::Tcp]
            .into_iter()
            .map(|over| Viewer::open(server.address(), &server.url("/soak"), over))
            .collect();
        viewers.iter_mut().for_each(|viewer| drop(viewer.play(&[])));
        let mut settled = None;
        for number in 0..PARTS {
            let parts: Vec<Part> = std::thread::scope(|scope| {
                let sent = &sent;
                let watching: Vec<_> = (viewers.iter_mut())
                    .map(|viewer| scope.spawn(move || watch(viewer, sent, time / PARTS)))
                    .collect();
                watching.into_iter().map(|watching| watching.join().unwrap()).collect()
            });
            let memory = server.memory_bytes();
            report(number, &parts, memory);
            for part in parts.iter().filter(|_| number > 0) {
                assert!(part.backlog <= BACKLOG_MAX, "{} pictures are on their way", part.backlog);
            }
            if number > 0 {
                let settled = *settled.get_or_insert(memory);
                assert!(memory < settled + GROWTH_BYTES_MAX, "{memory} bytes, {settled} before");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

fn report(number: u32, parts: &[Part], memory: u64) {
    let mut all: Vec<_> = parts.iter().flat_map(|part| &part.latencies).copied().collect();
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all.get((all.len() as f64 * share) as usize).copied().unwrap_or_default();
    let (median, late) = (at(0.5), at(0.99));
    let count = all.len();
    println!(
        "part {number}: {count} pictures, latency p50 {median:.2} ms, p99 {late:.2} ms, memory {memory} bytes"
    );
}

on_both_backends!(latency_and_memory_stay_where_they_are);
