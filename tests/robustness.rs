//! What strangers send, how they connect and how they leave: the server goes on serving.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketType};

use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Message};
use crate::corpus::folder;
use crate::server::{Backend, Server, on_both_backends};

const FILE: &str = "/h264_aac.mp4";

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).lifetime(Duration::from_secs(180)).start()
}

/// Fails unless a file still plays, within a few seconds.
#[track_caller]
fn assert_serves(server: &Server) {
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[]);
    viewer.receive_until(Duration::from_secs(5), |viewer| viewer.tracks.iter().all(|t| t.packets.len() > 10));
    assert!(viewer.tracks.iter().all(|track| track.packets.len() > 10), "the server serves no more");
}

fn garbage_is_answered_with_400_or_a_closed_connection(backend: Backend) {
    let server = server(backend);
    let long = |count: usize, text: &str| text.repeat(count).into_bytes();
    let wrong: Vec<Vec<u8>> = vec![
        vec![0; 100],
        vec![0xff; 5_000],
        (0..=255).collect(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
        b"OPTIONS\r\n\r\n".to_vec(),
        b"OPTIONS * RTSP/1.0\r\nCSeq 1\r\n\r\n".to_vec(),
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(),
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\0\r\n\r\n".to_vec(),
        b"DESCRIBE rtsp://[::1/x RTSP/1.0\r\nCSeq: 1\r\n\r\n".to_vec(),
        b"DESCRIBE rtsp://x/%zz RTSP/1.0\r\nCSeq: 1\r\n\r\n".to_vec(),
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        long(40_000, "A"),
        [&b"OPTIONS "[..], &long(100_000, "x"), b" RTSP/1.0\r\nCSeq: 1\r\n\r\n"].concat(),
        [&b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n"[..], &long(20_000, "X-A: b\r\n"), b"\r\n"].concat(),
        [&b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: "[..], &long(200_000, "y"), b"\r\n\r\n"].concat(),
    ];
    for bytes in wrong {
        let mut client = Client::connect(server.address());
        // The server may close before everything is sent.
        let _ = client.try_send(&bytes);
        let _ = client.socket().shutdown(Shutdown::Write);
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        loop {
            match client.next(Duration::from_secs(5)) {
                Some(Message::Response(answer)) => {
                    assert!(answer.status >= 400, "{start:?} is answered by {answer:?}");
                }
                Some(Message::Closed) => break,
                Some(_) => {}
                None => panic!("{start:?}: neither an answer nor an end"),
            }
        }
    }
    assert_serves(&server);
}

fn half_a_request_and_then_nothing_is_no_harm(backend: Backend) {
    let server = server(backend);
    let halves: Vec<_> = (0..200)
        .map(|number| {
            let mut client = Client::connect(server.address());
            let request =
                format!("DESCRIBE {} RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 9\r\n\r\nabc", server.url(FILE));
            client.send(&request.as_bytes()[..1 + number % request.len()]);
            client
        })
        .collect();
    assert_serves(&server);
    drop(halves);
    assert_serves(&server);
}

fn a_slow_loris_neither_stays_forever_nor_stops_the_rest(backend: Backend) {
    let server = server(backend);
    let mut slow: Vec<_> = (0..100).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let began = Instant::now();
    let mut open = slow.len();
    while open > 0 && began.elapsed() < Duration::from_secs(75) {
        open = 0;
        for stream in &mut slow {
            stream.set_nonblocking(true).unwrap();
            let mut buffer = [0; 256];
            let closed = matches!(stream.read(&mut buffer), Ok(0)) || stream.write(b"O").is_err();
            open += usize::from(!closed);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(open, 0, "connections that never finish a request are closed");
    assert_serves(&server);
}

fn a_hundred_thousand_connections_opened_and_dropped_are_no_harm_to_a_viewer(backend: Backend) {
    let server = Server::with(backend)
        .media(folder())
        .setting("loop_nums", -1)
        .setting("log_level", 2)
        .lifetime(Duration::from_secs(300))
        .start();
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[]);
    let is_over = AtomicBool::new(false);
    let [before, after] = std::thread::scope(|scope| {
        scope.spawn(|| viewer.receive_until(Duration::from_secs(280), |_| is_over.load(Ordering::Relaxed)));
        // The first ones leave behind what is kept for the next.
        storm(server.address(), 10_000);
        let before = settled(&server);
        storm(server.address(), 90_000);
        let after = settled(&server);
        is_over.store(true, Ordering::Relaxed);
        [before, after]
    });
    let grown = after.0.saturating_sub(before.0);
    assert!(grown < STORM_GROWTH_MAX, "{grown} bytes more after 90,000 connections");
    assert!(after.1 <= before.1 + STORM_FILES_MAX, "{} descriptors, {} before", after.1, before.1);
    viewer.receive(Duration::from_millis(500));
    for track in &viewer.tracks {
        assert_eq!(track.gaps(), []);
        let silent = track.packets.last().unwrap().at.elapsed();
        assert!(silent < Duration::from_secs(3), "nothing for {silent:?}");
    }
    assert_serves(&server);
}

/// What 90,000 connections may leave behind: pools that stand at their peak, a hundred bytes a connection.
const STORM_GROWTH_MAX: u64 = 8 << 20;

/// Descriptors more than before that are no connection left behind: files that are read for the viewer.
const STORM_FILES_MAX: usize = 100;

/// Memory and descriptors of the server once it has seen all of its connections end but the viewer's.
fn settled(server: &Server) -> (u64, usize) {
    let end = Instant::now() + Duration::from_secs(20);
    let (mut last, mut since) = (server.open_files(), Instant::now());
    while since.elapsed() < Duration::from_millis(500) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        if server.open_files() != last {
            (last, since) = (server.open_files(), Instant::now());
        }
    }
    (server.memory_bytes(), server.open_files())
}

/// Opens and drops that many connections: with a word or without, by an end or by a reset; some are answered.
fn storm(server: SocketAddr, count: usize) {
    const THREADS: usize = 2;
    const REQUEST: &[u8] = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n";
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in (thread..count).step_by(THREADS) {
                    let mut stream = connect_from(number, server);
                    // Who closes first keeps the port for a minute, unless it is a reset.
                    if (number / THREADS).is_multiple_of(2) {
                        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
                    }
                    match number / THREADS % 50 {
                        0 => {
                            stream.write_all(REQUEST).unwrap();
                            let mut answer = [0; 12];
                            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                            stream.read_exact(&mut answer).expect("who asks is answered");
                            assert_eq!(&answer, b"RTSP/1.0 200");
                        }
                        rest => match rest % 5 {
                            0 => drop(stream.write_all(REQUEST)),
                            1 => drop(stream.write_all(b"OPT")),
                            2 => drop(stream.write_all(&[0xff; 300])),
                            3 => drop(stream.shutdown(Shutdown::Both)),
                            _ => {}
                        },
                    }
                }
            });
        }
    });
}

/// A connection from one of many addresses, because an address has 28,000 ports at most.
fn connect_from(number: usize, server: SocketAddr) -> TcpStream {
    let source = SocketAddr::from(([127, 0, 1, 1 + (number / 2 % 64) as u8], 0));
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &source).expect("a free port");
    rustix::net::connect(&socket, &server).expect("the server accepts");
    TcpStream::from(socket)
}

fn players_that_vanish_while_playing_are_forgotten(backend: Backend) {
    let server = server(backend);
    for _ in 0..30 {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
        viewer.play(&[]);
        viewer.receive(Duration::from_millis(10));
    }
    assert_serves(&server);
    std::thread::sleep(Duration::from_millis(300));
    let open = server.open_files();
    assert!(open < 120, "{open} descriptors are still open");
}

fn a_file_that_is_cut_short_or_vanishes_ends_its_session_and_nothing_else(backend: Backend) {
    let media = crate::server::scratch("cut");
    let whole = std::fs::read(folder().join("h264_aac.ts")).unwrap();
    std::fs::write(media.join("short.ts"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(media.join("vanishing.ts"), &whole).unwrap();
    let mp4 = std::fs::read(folder().join("h264_faststart.mp4")).unwrap();
    std::fs::write(media.join("short.mp4"), &mp4[..mp4.len() / 2]).unwrap();
    std::fs::copy(folder().join("h264_aac.mp4"), media.join("h264_aac.mp4")).unwrap();
    let server = Server::with(backend).media(&media).start();
    for name in ["/short.ts", "/short.mp4", "/vanishing.ts"] {
        let mut viewer = Viewer::open(server.address(), &server.url(name), Over::Tcp);
        viewer.play(&[]);
        if name == "/vanishing.ts" {
            let file = std::fs::File::options().write(true).open(media.join("vanishing.ts")).unwrap();
            file.set_len(20_000).unwrap();
            std::fs::remove_file(media.join("vanishing.ts")).unwrap();
        }
        viewer.receive_all(Duration::from_secs(8));
        assert!(viewer.tracks[0].packets.len() > 3, "{name}: what was there has come");
    }
    assert_serves(&server);
    std::fs::remove_dir_all(media).unwrap();
}

fn five_hundred_clients_at_once_are_all_answered(backend: Backend) {
    let server = server(backend);
    let mut clients: Vec<_> = (0..500).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.ask("DESCRIBE", &server.url(FILE), &[]);
    }
    for client in &mut clients {
        client.response().expect(200);
    }
}

fn when_it_is_told_to_end_viewers_get_bye_and_it_is_gone_in_time(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    let mut over_udp = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    viewer.play(&[]);
    over_udp.play(&[]);
    viewer.receive(Duration::from_millis(300));
    server.signal("TERM");
    let status = server.wait(Duration::from_secs(3)).expect("gone within shutdown_s");
    assert!(status.success(), "{status}");
    viewer.receive(Duration::from_millis(200));
    over_udp.receive(Duration::from_millis(200));
    for viewer in [&viewer, &over_udp] {
        assert!(viewer.tracks.iter().all(|track| track.has_ended()), "every track ends with BYE");
    }
}

on_both_backends!(;
    "ffmpeg":
    garbage_is_answered_with_400_or_a_closed_connection,
    half_a_request_and_then_nothing_is_no_harm,
    a_slow_loris_neither_stays_forever_nor_stops_the_rest,
    a_hundred_thousand_connections_opened_and_dropped_are_no_harm_to_a_viewer,
    players_that_vanish_while_playing_are_forgotten,
    a_file_that_is_cut_short_or_vanishes_ends_its_session_and_nothing_else,
    five_hundred_clients_at_once_are_all_answered,
    when_it_is_told_to_end_viewers_get_bye_and_it_is_gone_in_time,
);
