//! What strangers do on ports for TLS, and to connections in it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::opener::{Opener, shaken, silent};
use super::wire::{Manner, Wire};
use super::{FILE, PATIENCE, RSA, builder, server};
use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};

/// Handshakes of one shard that may be incomplete.
const HANDSHAKES_MAX: usize = 1_024;

/// Clients of a flood. With the key of the test their handshakes would take some seconds of a thread.
const GUESTS: usize = 6_000;

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

/// The first words of a client in TLS.
fn hello() -> Vec<u8> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let opener = Opener::before(listener.local_addr().unwrap(), &[]);
    let _client = TcpStream::connect(opener.address).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut words = vec![0; 4_096];
    let size = stream.read(&mut words).unwrap();
    words.truncate(size);
    words
}

fn those_who_say_hello_and_leave_keep_nobody_waiting(backend: Backend) {
    // A key that takes its time.
    let server = builder(backend).tls(RSA[0], RSA[1]).shards(1).start();
    let hello = hello();
    let before = server.memory_bytes();
    let began = Instant::now();
    for _ in 0..GUESTS / 100 {
        let mut guests: Vec<_> = (0..100).map(|_| silent(server.secure_address())).collect();
        guests.iter_mut().for_each(|guest| guest.write_all(&hello).unwrap());
        // They are heard, and leave without a goodbye: the system keeps no port for one.
        thread::sleep(Duration::from_millis(10));
        guests.iter().for_each(|guest| SockRef::from(guest).set_linger(Some(Duration::ZERO)).unwrap());
    }
    let flood = began.elapsed();
    assert_serves(&server);
    let grown = server.memory_bytes().saturating_sub(before);
    println!(
        "{GUESTS} in {flood:?}, then served in {:?}, {} kB more",
        began.elapsed() - flood,
        grown / 1_024
    );
    assert!(began.elapsed() - flood < Duration::from_secs(2));
}

/// A client that says all it has to say in one piece with the end of its handshake, a goodbye and the end of its side.
const HURRIED: &str = r#"
import socket, ssl, sys
context = ssl._create_unverified_context()
came, leaves = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(came, leaves)
wire = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while True:
    try:
        tls.do_handshake()
        break
    except ssl.SSLWantReadError:
        wire.sendall(leaves.read())
        came.write(wire.recv(65536))
tls.write(b"OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\n")
try:
    tls.unwrap()
except ssl.SSLWantReadError:
    pass
wire.sendall(leaves.read())
wire.shutdown(socket.SHUT_WR)
while piece := wire.recv(65536):
    came.write(piece)
print(tls.read(65536).decode())
"#;

fn who_says_all_at_once_and_ends_is_answered(backend: Backend) {
    let server = builder(backend).start();
    let port = server.secure_address().port().to_string();
    for _ in 0..20 {
        let client = Command::new("/usr/bin/python3").args(["-c", HURRIED, &port]).output().unwrap();
        let said = String::from_utf8_lossy(&client.stdout).into_owned();
        assert!(said.starts_with("RTSP/1.0 200") && said.contains("CSeq: 7"), "{said}{client:?}");
    }
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
    let wire = Wire::before(server.secure_address(), Manner::Pass);
    let opener = Opener::before(wire.address, &[]);
    let mut viewer = Viewer::open(opener.address, &server.secure_url(FILE), Over::Tcp);
    viewer.play(&[]);
    wire.turn_to(Manner::Spoil);
    let url = viewer.url.clone();
    viewer.client.ask("GET_PARAMETER", &url, &[]);
    assert!(viewer.client.is_closed_within(PATIENCE));
    server.wait_for_log("a record that is not authentic", PATIENCE);
    server.wait_for_log("session ended", PATIENCE);
    assert_serves(&server);
}

on_both_backends!(
    who_speaks_tls_on_a_plain_port_is_closed;
    "tls":
    who_says_all_at_once_and_ends_is_answered,
    who_speaks_no_tls_on_its_port_is_closed,
    broken_handshakes_are_closed,
    versions_that_are_broken_are_refused,
    a_handshake_that_does_not_end_is_ended,
    silent_clients_keep_nobody_out,
    those_who_say_hello_and_leave_keep_nobody_waiting,
    a_connection_that_is_cut_off_is_an_orderly_end,
    records_that_were_changed_end_the_connection,
);
