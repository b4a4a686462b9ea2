//! Clients of the API that mean no good: whoever watches does not notice, and the server bears it.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{PATIENCE, curl, exchange, http, server};
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};

/// What a viewer of a live stream has seen.
#[derive(Debug)]
struct Seen {
    /// Packets that are missing, counted by the places where they are.
    gaps: usize,
    pictures: usize,
    /// Seconds in which some of them came.
    seconds: usize,
}

/// A viewer of a live stream in another thread.
struct Watching {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Watching {
    fn begin(server: &Server) -> Watching {
        let mut viewer = Viewer::open(server.address(), &server.url("/test"), Over::Udp);
        viewer.play(&[]);
        let is_over = Arc::new(AtomicBool::new(false));
        let heard = is_over.clone();
        let thread = thread::spawn(move || {
            viewer.receive_until(Duration::from_secs(100), |_| heard.load(Ordering::Relaxed));
            let gaps = viewer.tracks.iter().map(|track| track.gaps().len()).sum();
            let pictures = &viewer.tracks[0];
            let second = |at: Instant| at.duration_since(pictures.packets[0].at).as_secs();
            let seconds: HashSet<u64> = pictures.packets.iter().map(|packet| second(packet.at)).collect();
            Seen { gaps, pictures: pictures.times().len(), seconds: seconds.len() }
        });
        Watching { is_over, thread }
    }

    fn end(self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn open(server: &Server, bytes: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(server.http_address()).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).ok()?;
    Some(stream)
}

fn a_viewer_loses_nothing_to_clients_of_the_api_that_mean_no_good(backend: Backend) {
    // Beside it one that nobody troubles: what else the machine does holds up both.
    let [server, other] = [(), ()].map(|()| server(backend).start());
    let began = Instant::now();
    let [troubled, untroubled] = [&server, &other].map(Watching::begin);
    let before = server.memory_bytes();
    // Half a head, and the same again byte by byte.
    let halves: Vec<_> = (0..50).filter_map(|_| open(&server, b"GET /api/v1/stats HTTP/1.1\r\nHo")).collect();
    let mut dripping = open(&server, b"GET /api/v1/config HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // Heads without an end, and of many lines.
    let line = format!("GET /api/v1/stats?{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let headers = format!("GET /api/v1/stats HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1_000));
    for head in [line, headers] {
        let answer = exchange(server.http_address(), head.as_bytes());
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    // Those who ask again and again and never read.
    let question = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    let deaf: Vec<_> = (0..40)
        .filter_map(|_| {
            let stream = open(&server, b"")?;
            stream.set_nonblocking(true).unwrap();
            let _ = (&stream).write(&question);
            Some(stream)
        })
        .collect();
    // Bodies that do not come, lengths that contradict each other.
    let body =
        "POST /api/v1/config/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n<config>";
    let bodies: Vec<_> = (0..10).filter_map(|_| open(&server, body.as_bytes())).collect();
    let twice = "POST /api/v1/config/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\nx";
    assert!(!exchange(server.http_address(), twice.as_bytes()).contains(" 200 "));
    // And a crowd.
    let crowd: Vec<_> = (0..1_000)
        .filter_map(|_| open(&server, b"GET /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    assert!(crowd.len() > 900, "{}", crowd.len());
    let mut refused = 0;
    for mut stream in crowd {
        let mut start = [0; 12];
        if stream.read_exact(&mut start).is_ok() {
            refused += usize::from(&start == b"HTTP/1.1 503");
        }
    }
    assert!(refused > 700, "{refused} of 1000 were told that there are too many");
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    let _ = dripping.write_all(b"G");
    drop((deaf, bodies, halves, dripping));
    thread::sleep(Duration::from_secs(12).saturating_sub(began.elapsed()));
    let [seen, wanted] = [troubled, untroubled].map(Watching::end);
    println!("{seen:?}, of {wanted:?} without them");
    assert_eq!(seen.gaps, 0, "{seen:?}");
    // A busy machine leaves pictures of both out; a stall takes some seconds of one.
    assert!(wanted.pictures > 20 && wanted.seconds > 5, "{wanted:?}");
    assert!(seen.pictures * 2 >= wanted.pictures, "{seen:?}, of {wanted:?} without them");
    assert!(seen.seconds + 3 >= wanted.seconds, "{seen:?}, of {wanted:?} without them");
    // Once they are gone there is room again.
    let end = Instant::now() + PATIENCE;
    while curl(&http(&server, "/api/v1/stats"), &[]).status != 200 {
        assert!(Instant::now() < end, "there is no room again");
        thread::sleep(Duration::from_millis(100));
    }
}

fn who_does_not_go_on_is_closed(backend: Backend) {
    let server = server(backend).start();
    let question = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let began = Instant::now();
    let mut idle = open(&server, question).unwrap();
    let mut half = open(&server, &[&question[..], b"GET /he"].concat()).unwrap();
    let body = b"POST /api/v1/config/check HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n<con";
    let mut waiting = open(&server, body).unwrap();
    let ends = |stream: &mut TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).map(|_| String::from_utf8_lossy(&all).into_owned())
    };
    let said = ends(&mut waiting).unwrap_or_default();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408 "), "{said}");
    for stream in [&mut idle, &mut half] {
        let said = ends(stream).unwrap();
        assert!(said.contains("ok\n"), "{said}");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "all are closed by the server");
}

on_both_backends!(
    a_viewer_loses_nothing_to_clients_of_the_api_that_mean_no_good,
    who_does_not_go_on_is_closed
);
