//! Bounds of connections and of what is sent (`max_connections`, `max_bitrate_mbps`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::publisher::Publisher;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::client::{Client, Response};
use crate::corpus::folder;
use crate::server::{Backend, Server, on_both_backends};

const FILE: &str = "/h264_aac.mp4";

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn connections_beyond_the_bound_are_refused_until_one_ends(backend: Backend) {
    let server = Server::with(backend).media(folder()).setting("max_connections", 4).shards(3).start();
    let options = |client: &mut Client| client.request("OPTIONS", "*", &[]);
    // The connection that the start was waited with may not be forgotten yet.
    let end = Instant::now() + PATIENCE;
    let mut held: Vec<Client> = Vec::new();
    while held.len() < 4 {
        let mut client = Client::connect(server.address());
        match options(&mut client).status {
            200 => held.push(client),
            _ => assert!(Instant::now() < end, "{} of 4 connections are let in", held.len()),
        }
    }
    // On whichever shard they land.
    for _ in 0..6 {
        let mut client = Client::connect(server.address());
        let answer = options(&mut client).expect(503);
        assert!(answer.text().contains("max_connections is reached"), "{answer:?}");
        assert!(client.is_closed_within(PATIENCE));
    }
    let mut browser = TcpStream::connect(server.address()).unwrap();
    browser.set_read_timeout(Some(PATIENCE)).unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    let mut answer = String::new();
    browser.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    // Those who are there are served, and one that leaves makes room; whatever it did before.
    let mut viewer = Viewer::describe_on(held.remove(0), &server.url(FILE), Over::Tcp).set_up();
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
    held.iter_mut().for_each(|client| drop(options(client).expect(200)));
    drop(viewer);
    while options(&mut Client::connect(server.address())).status != 200 {
        assert!(Instant::now() < end, "no room is made");
    }
    server.wait_for_log("max_connections is reached: clients are refused", PATIENCE);
}

fn a_flood_of_connections_is_closed_and_those_inside_are_served(backend: Backend) {
    let server = Server::with(backend).setting("max_connections", 2).start();
    let end = Instant::now() + PATIENCE;
    let mut inside = Client::connect(server.address());
    while inside.request("OPTIONS", "*", &[]).status != 200 {
        assert!(Instant::now() < end);
        inside = Client::connect(server.address());
    }
    let before = server.open_files();
    let mut silent: Vec<_> = (0..600).map(|_| Client::connect(server.address())).collect();
    inside.request("OPTIONS", "*", &[]).expect(200);
    // Some are kept to be refused, and no more than that, once all were looked at.
    let held = || server.open_files() - before;
    while held() > 300 {
        assert!(Instant::now() < end, "{} are held", held());
        thread::sleep(Duration::from_millis(10));
    }
    // Those that do not even ask go as well.
    let last = silent.iter_mut().filter_map(|client| client.is_closed_within(PATIENCE).then_some(())).count();
    assert!(last >= 598, "{last} of 600 are closed");
    inside.request("OPTIONS", "*", &[]).expect(200);
}

/// PLAYs; the answer, whatever it is.
fn ask_to_play(viewer: &mut Viewer, headers: &[(&str, &str)]) -> Response {
    let url = viewer.description.control.clone();
    viewer.client.request("PLAY", &url, headers)
}

fn viewers_beyond_the_bitrate_are_refused_until_there_is_room(backend: Backend) {
    let bits = std::fs::metadata(folder().join(&FILE[1..])).unwrap().len() * 8 / 3;
    // Room for two and a half of them.
    let bound = (bits * 5 / 2).div_ceil(1_000_000).max(1);
    let fitting = (bound * 1_000_000 / bits) as usize;
    assert!((2..200).contains(&fitting), "{bits} bits a second");
    let server = Server::with(backend)
        .media(folder())
        .setting("max_bitrate_mbps", bound)
        .setting("loop_nums", -1)
        .shards(3)
        .start();
    let open = |over| Viewer::open(server.address(), &server.url(FILE), over);
    let mut viewers: Vec<_> = (0..fitting).map(|index| open(BOTH[index % 2])).collect();
    viewers.iter_mut().for_each(|viewer| drop(viewer.play(&[])));
    let mut late = open(Over::Tcp);
    let answer = ask_to_play(&mut late, &[]).expect(453);
    assert!(answer.text().contains("max_bitrate_mbps would be exceeded"), "{answer:?}");
    // Who plays goes on, and may seek; faster would be more.
    ask_to_play(&mut viewers[0], &[("Range", "npt=1-")]).expect(200);
    ask_to_play(&mut viewers[0], &[("Range", "npt=1-"), ("Speed", "16")]).expect(453);
    assert!(viewers[0].receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
    server.wait_for_log("max_bitrate_mbps would be exceeded: clients are refused", PATIENCE);
    // A pause makes room, as does the end; what was sent of late counts for a moment longer.
    let play_late = |late: &mut Viewer| {
        let end = Instant::now() + PATIENCE;
        while ask_to_play(late, &[]).status != 200 {
            assert!(Instant::now() < end, "no room is made");
            thread::sleep(Duration::from_millis(100));
        }
    };
    viewers[1].pause();
    play_late(&mut late);
    ask_to_play(&mut viewers[1], &[]).expect(453);
    late.teardown();
    play_late(&mut viewers[1]);
}

fn the_bitrate_of_a_live_stream_is_measured(backend: Backend) {
    let server = Server::with(backend).setting("max_bitrate_mbps", 2).shards(2).start();
    let url = server.url("/live");
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    // 25 pictures a second of the content's time, 48 kbit each: 1.2 Mbit/s, twice is too much.
    let mut index = 0;
    let mut send = |publisher: &mut Publisher, count: u32| {
        for _ in 0..count {
            publisher.picture_of(index, index % 25 == 0, 6, 1_000);
            index += 1;
            thread::sleep(Duration::from_millis(2));
        }
    };
    send(&mut publisher, 60);
    let mut first = Viewer::open(server.address(), &url, Over::Tcp);
    // Whichever shard it is on, it knows the rate from the past that it was given.
    send(&mut publisher, 20);
    first.play(&[]);
    let mut second = Viewer::open(server.address(), &url, Over::Udp);
    send(&mut publisher, 20);
    ask_to_play(&mut second, &[]).expect(453);
    assert!(first.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 50));
    first.teardown();
    let end = Instant::now() + PATIENCE;
    while ask_to_play(&mut second, &[]).status != 200 {
        assert!(Instant::now() < end, "no room is made");
        send(&mut publisher, 5);
        thread::sleep(Duration::from_millis(100));
    }
}

fn clients_that_wait_for_a_descriptor_are_not_a_line_of_the_log_each(backend: Backend) {
    let server = Server::with(backend).shards(1).descriptors(64).start();
    let connect = |_| TcpStream::connect(server.address()).unwrap();
    let mut clients: std::collections::VecDeque<_> = (0..100).map(connect).collect();
    let began = Instant::now();
    // With each that leaves another one comes in, and the next one waits again.
    while began.elapsed() < Duration::from_secs(2) {
        clients.pop_front();
        clients.push_back(connect(0));
        thread::sleep(Duration::from_millis(5));
    }
    const LINE: &str = "connections wait: raise the limit of open files";
    server.wait_for_log(LINE, PATIENCE);
    let (lines, seconds) = (server.log().matches(LINE).count(), began.elapsed().as_secs() as usize);
    assert!(lines <= seconds + 2, "{lines} lines in {seconds} s");
    clients.clear();
    let mut client = Client::connect(server.address());
    client.request("OPTIONS", "*", &[]).expect(200);
}

on_both_backends!(
    a_flood_of_connections_is_closed_and_those_inside_are_served,
    the_bitrate_of_a_live_stream_is_measured,
    clients_that_wait_for_a_descriptor_are_not_a_line_of_the_log_each;
    "ffmpeg":
    connections_beyond_the_bound_are_refused_until_one_ends,
    viewers_beyond_the_bitrate_are_refused_until_there_is_room,
);
