//! Records that come in pieces, half, between others or not at all.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::opener::Opener;
use super::wire::{Manner, Wire};
use super::{FILE, PATIENCE, builder, server};
use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

/// A viewer that gets its packets.
fn playing(address: std::net::SocketAddr, server: &Server) -> Viewer {
    let mut viewer = Viewer::open(address, &server.secure_url(FILE), Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
    viewer
}

/// Fails unless a viewer goes on to get every packet.
#[track_caller]
fn assert_goes_on(viewer: &mut Viewer) {
    let seen = viewer.tracks[0].packets.len();
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > seen + 50));
    assert_eq!(viewer.tracks[0].gaps(), []);
}

/// Waits until so many lines of the log hold `what`.
#[track_caller]
fn wait_for_lines(server: &Server, what: &str, count: usize) {
    let lines = || server.log().lines().filter(|line| line.contains(what)).count();
    let end = Instant::now() + PATIENCE;
    while lines() < count && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(lines(), count, "{what:?}: {}", server.log());
}

fn bytes_may_come_one_at_a_time(backend: Backend) {
    let server = server(backend);
    for version in VERSIONS {
        let wire = Wire::before(server.secure_address(), Manner::Drip);
        let opener = Opener::before(wire.address, &[version]);
        let mut client = Client::connect(opener.address);
        client.request("OPTIONS", "*", &[]).expect(200);
        client.request("DESCRIBE", &server.secure_url(FILE), &[]).expect(200);
        assert!(!opener.complaints().contains("error"), "{}", opener.complaints());
    }
}

fn what_is_no_record_of_the_connection_ends_it_and_no_other(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let mut other = playing(opener.address, &server);
    let words: [&[u8]; 8] = [
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        &[0; 5_000],
        b"\x17\x03\x03\xff\xff",
        b"\x17\x03\x03\0\0",
        b"\x17\x03\x03\0\x20abcdefghijklmnopqrstuvwxyz012345",
        // In the clear: a goodbye, new keys, and another handshake.
        b"\x15\x03\x03\0\x02\x01\0",
        b"\x14\x03\x03\0\x01\x01",
        b"\x16\x03\x01\0\x04\x01\0\0\0",
    ];
    for version in VERSIONS {
        for word in words {
            let wire = Wire::before(server.secure_address(), Manner::Pass);
            let opener = Opener::before(wire.address, &[version]);
            let mut viewer = playing(opener.address, &server);
            wire.turn_to(Manner::Interject(word.to_owned()));
            let url = viewer.url.clone();
            viewer.client.ask("GET_PARAMETER", &url, &[]);
            assert!(viewer.client.is_closed_within(PATIENCE), "{version} {word:?}");
        }
    }
    wait_for_lines(&server, "a connection in TLS is closed", 2 * words.len());
    wait_for_lines(&server, "session ended", 2 * words.len());
    assert_goes_on(&mut other);
}

fn a_connection_that_is_cut_within_a_record_is_gone_at_once(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let mut other = playing(opener.address, &server);
    let open = server.open_files();
    // Within the handshake: in its first record, behind it, and in the last words of the client.
    for version in VERSIONS {
        for bytes in [0, 1, 4, 5, 100, 250, 290, 330] {
            let wire = Wire::before(server.secure_address(), Manner::Cut(bytes));
            let opener = Opener::before(wire.address, &[version]);
            let mut client = Client::connect(opener.address);
            client.try_send("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
            assert!(client.is_closed_within(PATIENCE), "{version} {bytes}");
        }
        for bytes in [1, 5, 20] {
            let wire = Wire::before(server.secure_address(), Manner::Pass);
            let opener = Opener::before(wire.address, &[version]);
            let mut viewer = playing(opener.address, &server);
            wire.turn_to(Manner::Cut(bytes));
            let url = viewer.url.clone();
            viewer.client.ask("GET_PARAMETER", &url, &[]);
            assert!(viewer.client.is_closed_within(PATIENCE), "{version} {bytes}");
        }
    }
    wait_for_lines(&server, "session ended", 6);
    assert_goes_on(&mut other);
    let end = Instant::now() + PATIENCE;
    while server.open_files() > open && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(server.open_files() <= open, "{} descriptors", server.open_files());
}

fn half_a_record_and_then_nothing_is_a_silence_like_any_other(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).setting("session_timeout", 2).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let mut other = playing(opener.address, &server);
    for version in VERSIONS {
        let wire = Wire::before(server.secure_address(), Manner::Pass);
        let opener = Opener::before(wire.address, &[version]);
        let mut watching = playing(opener.address, &server);
        let mut waiting = Viewer::open(opener.address, &server.secure_url(FILE), Over::Tcp);
        wire.turn_to(Manner::Hold(9));
        let url = waiting.url.clone();
        waiting.client.ask("GET_PARAMETER", &url, &[]);
        assert!(waiting.client.is_closed_within(PATIENCE), "{version}");
        // Who takes pictures is not silent.
        assert_goes_on(&mut watching);
    }
    wait_for_lines(&server, "no sign of life", 2);
    assert_goes_on(&mut other);
}

/// `openssl s_client` whose input is a test's: a line of one letter is a command to it.
struct Commanded {
    child: Child,
    came: Receiver<Vec<u8>>,
    text: String,
}

impl Commanded {
    fn connect(server: &Server, version: &str) -> Commanded {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &server.secure_address().to_string(), version])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        let (to_test, came) = channel();
        pass_on(child.stderr.take().unwrap(), to_test.clone());
        pass_on(child.stdout.take().unwrap(), to_test);
        Commanded { child, came, text: String::new() }
    }

    fn say(&mut self, words: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(words.as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    /// Waits until it has said something, or has ended.
    fn has_said(&mut self, what: &str) -> bool {
        let end = Instant::now() + PATIENCE;
        while !self.text.contains(what) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.came.recv_timeout(left) else { return false };
            self.text.push_str(&String::from_utf8_lossy(&bytes));
        }
        self.text.clear();
        true
    }

    #[track_caller]
    fn assert_answered(&mut self) {
        self.say("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
        assert!(self.has_said("RTSP/1.0 200 OK"), "{}", self.text);
    }
}

fn pass_on(mut output: impl Read + Send + 'static, to_test: Sender<Vec<u8>>) {
    thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok(size @ 1..) = output.read(&mut buffer) {
            if to_test.send(buffer[..size].to_owned()).is_err() {
                return;
            }
        }
    });
}

impl Drop for Commanded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn another_handshake_on_a_connection_ends_it(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let mut other = playing(opener.address, &server);
    let mut client = Commanded::connect(&server, "-tls1_2");
    client.assert_answered();
    client.say("R\n");
    server.wait_for_log("a message of TLS that is out of place", PATIENCE);
    assert!(!client.has_said("RTSP/1.0 200 OK"));
    assert_goes_on(&mut other);
}

fn new_keys_are_taken_and_given(backend: Backend) {
    let server = server(backend);
    let mut client = Commanded::connect(&server, "-tls1_3");
    client.assert_answered();
    // With and without being asked for new ones of our own.
    for command in ["K\n", "k\n", "K\n"] {
        client.say(command);
        assert!(client.has_said("KEYUPDATE"));
        client.assert_answered();
    }
    assert!(!server.log().contains("a connection in TLS is closed"), "{}", server.log());
}

on_both_backends!(;
    "tls":
    bytes_may_come_one_at_a_time,
    what_is_no_record_of_the_connection_ends_it_and_no_other,
    a_connection_that_is_cut_within_a_record_is_gone_at_once,
    half_a_record_and_then_nothing_is_a_silence_like_any_other,
    another_handshake_on_a_connection_ends_it,
    new_keys_are_taken_and_given,
);
