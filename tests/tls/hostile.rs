//! What strangers do on ports for TLS, and to connections in it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::opener::{Opener, shaken, silent};
use super::{FILE, PATIENCE, builder, server};
use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};

/// Handshakes of one shard that may be incomplete.
const HANDSHAKES_MAX: usize = 1_024;

/// Fails unless the connection is closed within `patience`.
#[track_caller]
fn assert_closed(stream: &mut TcpStream, patience: Duration) {
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it is not closed"),
    }
}

/// Fails unless a client in TLS is served.
#[track_caller]
fn assert_serves(server: &Server) {
    let opener = Opener::before(server.secure_address(), &[]);
    let mut client = Client::connect(opener.address);
    client.request("OPTIONS", "*", &[]).expect(200);
}

fn who_speaks_no_tls_on_its_port_is_closed(backend: Backend) {
    let server = server(backend);
    let words: [&[u8]; 5] = [
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"$\0\0\x04abcd",
        &[0; 3_000],
        &[0xff; 3_000],
    ];
    for word in words {
        let mut stream = silent(server.secure_address());
        stream.write_all(word).unwrap();
        assert_closed(&mut stream, PATIENCE);
    }
    server.wait_for_log("no TLS on a port for TLS", PATIENCE);
    assert_serves(&server);
}

fn who_speaks_tls_on_a_plain_port_is_closed(backend: Backend) {
    let server = server(backend);
    let said = shaken(server.address(), &[]);
    assert!(said.contains("no peer certificate available"), "{said}");
    server.wait_for_log("TLS on a port without it", PATIENCE);
    Client::connect(server.address()).request("OPTIONS", "*", &[]).expect(200);
}

fn broken_handshakes_are_closed(backend: Backend) {
    let server = server(backend);
    let hello = |rest: &[u8]| [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], rest].concat();
    let broken: [Vec<u8>; 6] = [
        hello(&[0; 506]),
        hello(&[0xff; 506]),
        hello(&[7; 40_000]),
        vec![0x16; 600],
        b"\x16\x03\x01\0\0".to_vec(),
        b"\x16\x03\x01\xff\xff".repeat(2_000),
    ];
    for bytes in broken {
        let mut stream = silent(server.secure_address());
        // It may be closed before everything is sent.
        let _ = stream.write_all(&bytes);
        // What may still become a handshake is waited for.
        assert_closed(&mut stream, Duration::from_secs(25));
    }
    assert_serves(&server);
}

fn versions_that_are_broken_are_refused(backend: Backend) {
    let server = server(backend);
    for arguments in [&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], &["-tls1", "-cipher", "ALL:@SECLEVEL=0"]] {
        let said = shaken(server.secure_address(), arguments);
        assert!(said.contains("SSL alert number"), "{arguments:?}: {said}");
    }
    assert_serves(&server);
}

fn a_handshake_that_does_not_end_is_ended(backend: Backend) {
    let server = server(backend);
    let mut nothing = silent(server.secure_address());
    let mut half = silent(server.secure_address());
    half.write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").unwrap();
    let began = Instant::now();
    assert_closed(&mut nothing, Duration::from_secs(25));
    assert_closed(&mut half, Duration::from_secs(25));
    assert!(began.elapsed() > Duration::from_secs(8), "{:?}", began.elapsed());
}

fn silent_clients_keep_nobody_out(backend: Backend) {
    let server = builder(backend).shards(1).start();
    // Old clients that are in stay in.
    let opener = Opener::before(server.secure_address(), &[]);
    let mut early = Client::connect(opener.address);
    early.request("OPTIONS", "*", &[]).expect(200);
    let mut flood: Vec<_> = (0..HANDSHAKES_MAX + 100).map(|_| silent(server.secure_address())).collect();
    for stream in &mut flood[..100] {
        assert_closed(stream, Duration::from_secs(5));
    }
    assert_serves(&server);
    early.request("OPTIONS", "*", &[]).expect(200);
    assert!(server.memory_bytes() < 100 << 20, "{} bytes", server.memory_bytes());
}

fn a_connection_that_is_cut_off_is_an_orderly_end(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let mut viewer = Viewer::open(opener.address, &server.secure_url(FILE), Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 10));
    opener.cut();
    server.wait_for_log("TLS was cut off without a goodbye", PATIENCE);
    server.wait_for_log("session ended", PATIENCE);
    // Who says goodbye is not cut off.
    let polite = builder(backend).start();
    let opener = Opener::before(polite.secure_address(), &[]);
    let mut client = Client::connect(opener.address);
    client.request("OPTIONS", "*", &[]).expect(200);
    let _ = client.socket().shutdown(std::net::Shutdown::Write);
    assert!(client.is_closed_within(PATIENCE));
    assert!(!polite.log().contains("cut off"));
}

fn records_that_were_changed_end_the_connection(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).start();
    let spoiler = Spoiler::before(server.secure_address());
    let opener = Opener::before(spoiler.address, &[]);
    let mut viewer = Viewer::open(opener.address, &server.secure_url(FILE), Over::Tcp);
    viewer.play(&[]);
    spoiler.spoil();
    let url = viewer.url.clone();
    viewer.client.ask("GET_PARAMETER", &url, &[]);
    assert!(viewer.client.is_closed_within(PATIENCE));
    server.wait_for_log("a record that is not authentic", PATIENCE);
    server.wait_for_log("session ended", PATIENCE);
    assert_serves(&server);
}

/// A wire that changes what clients send, once it is told to.
struct Spoiler {
    address: std::net::SocketAddr,
    spoils: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Spoiler {
    fn before(server: std::net::SocketAddr) -> Spoiler {
        use std::sync::atomic::Ordering::Relaxed;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let spoils = std::sync::Arc::<std::sync::atomic::AtomicBool>::default();
        let does = spoils.clone();
        std::thread::spawn(move || {
            let (client, _) = listener.accept().unwrap();
            let server = TcpStream::connect(server).unwrap();
            let ends = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
            for (number, (from, to)) in ends.into_iter().enumerate() {
                let (mut from, mut to, does) = (from.unwrap(), to.unwrap(), does.clone());
                std::thread::spawn(move || {
                    let mut buffer = [0; 65_536];
                    while let Ok(size @ 1..) = from.read(&mut buffer) {
                        if number == 0 && does.load(Relaxed) {
                            buffer[size - 1] ^= 1;
                        }
                        if to.write_all(&buffer[..size]).is_err() {
                            break;
                        }
                    }
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Spoiler { address, spoils }
    }

    fn spoil(&self) {
        self.spoils.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

on_both_backends!(
    who_speaks_no_tls_on_its_port_is_closed,
    who_speaks_tls_on_a_plain_port_is_closed,
    broken_handshakes_are_closed,
    versions_that_are_broken_are_refused,
    a_handshake_that_does_not_end_is_ended,
    silent_clients_keep_nobody_out,
    a_connection_that_is_cut_off_is_an_orderly_end,
    records_that_were_changed_end_the_connection,
);
