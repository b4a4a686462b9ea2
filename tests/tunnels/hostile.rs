//! What strangers do at the doors: bounded, said in the log, and nobody else notices.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use socket2::{Domain, Socket, Type};

use super::bridge::{Door, connect, cookie, get, post, read_head};
use super::server;
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, PATIENCE};
use crate::corpus::folder;
use crate::server::{Backend, on_both_backends};

/// Halves of tunnels that wait on one shard (`HALVES_MAX`).
const HALVES_A_SHARD: usize = 1_024;

/// Half-open tunnels of the flood, in waves: a test has no more descriptors than others.
const FLOOD: usize = 10_000;
const WAVE: usize = 500;

fn a_flood_of_halves_keeps_nobody_out_and_goes_away(backend: Backend) {
    let server = server(backend).media(folder()).lifetime(Duration::from_secs(180)).start();
    let address = server.http_address();
    let client = connect(address, Door::Http);
    let mut viewer = Viewer::describe_on(client, &server.url("/h264_aac.mp4"), Over::Tcp).set_up();
    viewer.play(&[]);
    let (before, began) = (server.memory_bytes(), Instant::now());
    let mut open_most = 0;
    let mut kept = Vec::new();
    for wave in 0..FLOOD / WAVE {
        let halves: Vec<TcpStream> = (0..WAVE)
            .map(|index| {
                if index % 2 == 0 { get(address, &cookie(), "1.1") } else { post(address, &cookie(), "1.1") }
            })
            .collect();
        open_most = open_most.max(server.open_files());
        // Of some waves the sockets stay.
        if wave % 5 == 0 {
            kept.push(halves);
        }
        viewer.receive(Duration::from_millis(1));
        if wave % 4 == 0 {
            let mut other = connect(address, Door::Http);
            other.request("OPTIONS", "*", &[]).expect(200);
        }
    }
    let grown = server.memory_bytes().saturating_sub(before);
    println!("{FLOOD} halves in {:?}: {open_most} descriptors, {} kB more", began.elapsed(), grown / 1_024);
    assert!(open_most < 2 * HALVES_A_SHARD + WAVE + 200, "{open_most} descriptors");
    assert!(grown < 64 * 1_024 * 1_024, "{grown} bytes");
    viewer.receive_all(Duration::from_secs(30));
    for track in &viewer.tracks {
        assert!(track.has_ended() && track.gaps().is_empty() && track.packets.len() > 50);
    }
    // Those that nobody closes are closed here.
    for half in kept.iter_mut().flatten() {
        half.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let _ = half.read_to_end(&mut Vec::new());
    }
    server.wait_for_log("half a tunnel is closed: its other half has not come", PATIENCE);
}

fn a_way_in_that_asks_and_never_reads_is_held_back(backend: Backend) {
    let server = server(backend).start();
    let before = server.memory_bytes();
    for door in [Door::Http, Door::WebSocket] {
        let mut client = connect(server.http_address(), door);
        client.request("OPTIONS", "*", &[]).expect(200);
        client.socket().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        // Answers that nobody reads stop the reading of requests, and that stops the bridge.
        let ask = "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n".repeat(1_000);
        let mut socket = client.socket();
        let is_held_back = (0..3_000).any(|_| socket.write_all(ask.as_bytes()).is_err());
        assert!(is_held_back, "{door:?}");
        let grown = server.memory_bytes().saturating_sub(before);
        assert!(grown < 32 * 1_024 * 1_024, "{door:?}: {grown} bytes");
    }
    connect(server.http_address(), Door::Http).request("OPTIONS", "*", &[]).expect(200);
}

/// Writes to a socket until its buffers are full or so many bytes are on their way.
fn fill(stream: &mut TcpStream, text: &[u8], most: usize) -> usize {
    stream.set_nonblocking(true).unwrap();
    let (mut sent, mut last) = (0, Instant::now());
    while sent < most && last.elapsed() < Duration::from_millis(50) {
        match stream.write(&text[sent % text.len()..]) {
            Ok(count) => (sent, last) = (sent + count, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(_) => break,
        }
    }
    sent
}

fn posts_in_place_of_each_other_are_held_back_together(backend: Backend) {
    let server = server(backend).start();
    let (address, cookie) = (server.http_address(), cookie());
    let mut out = get(address, &cookie, "1.1");
    read_head(&mut out);
    // Of this size text and base64 can be cut anywhere between two requests.
    let ask = STANDARD.encode("OPTIONS * RTSP/1.0\r\nCSeq: 123\r\n\r\n".repeat(1_000));
    let before = server.memory_bytes();
    for _ in 0..200 {
        // Answers are not read.
        let mut into = post(address, &cookie, "1.1");
        fill(&mut into, ask.as_bytes(), 1 << 20);
    }
    let grown = server.memory_bytes().saturating_sub(before);
    println!("200 POSTs: {} kB more", grown / 1_024);
    assert!(grown < 16 << 20, "{grown} bytes");
    connect(address, Door::Http).request("OPTIONS", "*", &[]).expect(200);
}

fn what_comes_for_a_way_out_that_is_closing_is_dropped(backend: Backend) {
    let server = server(backend).media(folder()).start();
    let (address, cookie) = (server.http_address(), cookie());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2_048).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut out = TcpStream::from(socket);
    out.write_all(format!("GET / HTTP/1.1\r\nx-sessioncookie: {cookie}\r\n\r\n").as_bytes()).unwrap();
    read_head(&mut out);
    let mut out = Client::on(out);
    let mut into = post(address, &cookie, "1.1");
    let url = server.url("/h264_1080p.mp4");
    let say = |into: &mut TcpStream, text: &str| into.write_all(STANDARD.encode(text).as_bytes()).unwrap();
    say(
        &mut into,
        &format!("SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;unicast\r\n\r\n"),
    );
    let session = out.response().expect(200).session().unwrap().to_owned();
    say(&mut into, &format!("PLAY {url} RTSP/1.0\r\nCSeq: 2\r\nSession: {session}\r\n\r\n"));
    out.response().expect(200);
    // Nobody reads: its last word does not leave for a while.
    thread::sleep(Duration::from_secs(3));
    say(&mut into, "GET / HTTP/1.1\r\n\r\n");
    let before = server.memory_bytes();
    let letters = [b'A'; 65_536];
    let sent = fill(&mut into, &letters, 400 << 20);
    let grown = server.memory_bytes().saturating_sub(before);
    println!("{} kB sent: {} kB more", sent / 1_024, grown / 1_024);
    assert!(sent > 1 << 20, "it is not closed at once: {sent} bytes");
    assert!(grown < 16 << 20, "{grown} bytes");
    connect(address, Door::Http).request("OPTIONS", "*", &[]).expect(200);
}

fn a_post_that_says_too_much_before_its_get_is_closed(backend: Backend) {
    let server = server(backend).start();
    let before = server.memory_bytes();
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let mut stream = post(server.http_address(), &cookie(), "1.1");
        stream.set_nonblocking(true).unwrap();
        // As much as the system takes: at least what a receive buffer holds.
        let letters = [b'A'; 65_536];
        let mut sent = 0;
        while sent < 4 * 1_024 * 1_024 {
            match stream.write(&letters) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        waiting.push(stream);
    }
    thread::sleep(Duration::from_millis(300));
    let grown = server.memory_bytes().saturating_sub(before);
    println!("64 waiting POSTs: {} kB more", grown / 1_024);
    assert!(grown < 64 * 256 * 1_024, "{grown} bytes");
    for stream in &mut waiting {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)), "it is never answered");
    }
}

fn pings_that_are_not_read_hold_nothing(backend: Backend) {
    let server = server(backend).start();
    let mut socket = super::bridge::websocket(server.http_address(), None);
    let before = server.memory_bytes();
    let stream = socket.get_mut();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut ping = b"\x89\xfd\0\0\0\0".to_vec();
    ping.extend([7; 125]);
    let pings = ping.repeat(500);
    for _ in 0..1_000 {
        if stream.write_all(&pings).is_err() {
            break;
        }
    }
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 16 * 1_024 * 1_024, "{grown} bytes");
    connect(server.http_address(), Door::WebSocket).request("OPTIONS", "*", &[]).expect(200);
}

on_both_backends!(
    a_way_in_that_asks_and_never_reads_is_held_back,
    posts_in_place_of_each_other_are_held_back_together,
    a_post_that_says_too_much_before_its_get_is_closed,
    pings_that_are_not_read_hold_nothing;
    "ffmpeg":
    a_flood_of_halves_keeps_nobody_out_and_goes_away,
    what_comes_for_a_way_out_that_is_closing_is_dropped,
);
