//! Publishers that send what they should not: a clear word in the log, bounded memory, and nobody else notices.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{PATH, PATIENCE, has_pictures, pictures, watch};
use crate::client::publisher::{Publisher, SDP, framed};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::client::{Client, Message};
use crate::server::{Backend, Server, on_both_backends};

/// The path of a publisher who behaves.
const OTHER: &str = "/live/other";

/// What a publisher may cost: the pictures since its last keyframe, once for those who will come and once in each
/// shard's window, all of the same bytes, and their interleaved form.
const GROWN_BYTES_MAX: u64 = 48 << 20;

/// Ends the publisher beside a mischief, also when that fails.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a mischief beside a stream; fails when a viewer of the stream misses anything or the server grows too far.
fn nobody_else_notices(server: &Server, mischief: impl FnOnce()) {
    let mut publisher = Publisher::start(server.address(), &server.url(OTHER), Over::Tcp);
    publisher.picture(0, true);
    let mut viewers = BOTH.map(|over| {
        let mut viewer = Viewer::open(server.address(), &server.url(OTHER), over);
        viewer.play(&[]);
        viewer
    });
    let before = server.memory_bytes();
    let is_over = AtomicBool::new(false);
    let mut sent = 1;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                publisher.picture(sent, sent % 25 == 0);
                sent += 1;
                thread::sleep(Duration::from_millis(20));
            }
        });
        for viewer in &mut viewers {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    viewer.receive(Duration::from_millis(100));
                }
            });
        }
        let _finish = Finish(&is_over);
        mischief();
    });
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < GROWN_BYTES_MAX, "{grown} bytes more");
    for viewer in &mut viewers {
        assert!(
            viewer.receive_until(PATIENCE, has_pictures(sent as usize)),
            "{} pictures",
            pictures(viewer).len()
        );
        assert!(pictures(viewer).into_iter().eq(0..sent), "pictures are missing");
        assert!(viewer.tracks.iter().all(|track| track.gaps().is_empty()));
    }
}

/// The same with publishers over UDP and TCP, which have sent one picture, and who watches them.
fn nobody_else_notices_of_either(server: &Server, mischief: impl Fn(Over, &mut Publisher, &mut [Viewer; 2])) {
    nobody_else_notices(server, || {
        for over in BOTH {
            let mut publisher = Publisher::start(server.address(), &server.url(PATH), over);
            publisher.picture(0, true);
            let mut viewers = BOTH.map(|over| watch(server, over));
            mischief(over, &mut publisher, &mut viewers);
            let url = publisher.url.clone();
            publisher.client.request("TEARDOWN", &url, &[]).expect(200);
        }
    });
}

/// Fails unless a viewer gets these pictures and no others, none torn.
#[track_caller]
fn assert_sees(viewer: &mut Viewer, wanted: std::ops::Range<u32>, over: Over) {
    assert!(viewer.receive_until(PATIENCE, has_pictures(wanted.len())), "{over:?}: {:?}", pictures(viewer));
    assert_eq!(pictures(viewer), wanted.collect::<Vec<_>>(), "{over:?}");
    assert_eq!(viewer.tracks[0].gaps(), [], "{over:?}");
}

/// Numbers that look random and are the same in every run (xorshift, Marsaglia).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.next() as u8).collect()
    }
}

fn server(backend: Backend) -> Server {
    Server::with(backend).setting("log_level", 2).lifetime(Duration::from_secs(150)).start()
}

fn garbage_in_place_of_packets_is_left_out(backend: Backend) {
    let server = server(backend);
    nobody_else_notices_of_either(&server, |over, publisher, viewers| {
        let mut random = Random(7);
        for round in 0..3_000 {
            let largest = if over == Over::Tcp && round % 100 == 0 { 65_000 } else { 1_400 };
            let size = random.next() as usize % (largest + 1);
            let bytes = random.bytes(size);
            // Half a datagram or a report that is none, and nothing at all.
            publisher.send_raw(round % 2, &bytes);
            publisher.report(round % 2, &bytes);
            let report = [&[0x81, 200 + (bytes.len() % 7) as u8][..], &bytes].concat();
            publisher.report(round % 2, &report);
        }
        publisher.picture(1, false);
        viewers.iter_mut().for_each(|viewer| assert_sees(viewer, 0..2, over));
    });
    server.wait_for_log("this is no RTP packet", PATIENCE);
}

fn packets_of_other_sources_and_formats_do_not_disturb_a_stream(backend: Backend) {
    let server = server(backend);
    nobody_else_notices_of_either(&server, |over, publisher, viewers| {
        let mut random = Random(9);
        for index in 1..100 {
            for (payload_type, ssrc) in [(96, 0xdead), (97, 0x1000), (8, 0x1000)] {
                // A little ahead, a little behind, and far away.
                let ahead = publisher.tracks[0].sequence.wrapping_add(100);
                for sequence in [ahead, 65_000, random.next() as u16] {
                    let head = [&[0x80, payload_type][..], &sequence.to_be_bytes(), &[0, 0, 0, 9]].concat();
                    publisher.send_raw(0, &[&head[..], &u32::to_be_bytes(ssrc), &[0x65, 1, 2]].concat());
                }
            }
            publisher.picture(index, false);
            thread::sleep(Duration::from_millis(3));
        }
        viewers.iter_mut().for_each(|viewer| assert_sees(viewer, 0..100, over));
    });
    server.wait_for_log("source 0000dead is not the track's", PATIENCE);
}

fn absurd_timestamps_and_numbers_give_one_timeline(backend: Backend) {
    let server = server(backend);
    nobody_else_notices_of_either(&server, |over, publisher, viewers| {
        let mut random = Random(11);
        for _ in 0..2_000 {
            let (sequence, timestamp) = (random.next() as u16, random.next() as u32);
            publisher.tracks[0].sequence = sequence;
            publisher.send(0, timestamp.is_multiple_of(2), timestamp, &[0x41, 1, 0, 0, 0, 0]);
            let report = [&[0x80, 200, 0, 6][..], &0x1000u32.to_be_bytes(), &random.bytes(20)].concat();
            publisher.report(0, &report);
        }
        // And then it is sane again.
        thread::sleep(Duration::from_millis(200));
        for index in 1..11 {
            publisher.picture(1_000 + index, index == 1);
            thread::sleep(Duration::from_millis(40));
        }
        for viewer in viewers {
            let has_last = |viewer: &Viewer| pictures(viewer).last() == Some(&1_010);
            assert!(viewer.receive_until(PATIENCE, has_last), "{over:?}: {:?}", pictures(viewer).last());
            let units = viewer.tracks[0].units();
            let steps: Vec<_> = units
                .windows(2)
                .map(|pair| pair[1][0].timestamp.wrapping_sub(pair[0][0].timestamp))
                .collect();
            assert!(steps[steps.len() - 9..].iter().all(|step| *step == 3_600), "{over:?}: {steps:?}");
            // Before that it jumped all the time, but never back by more than pictures may be out of order.
            let back = steps.iter().map(|step| *step as i32).min().unwrap();
            assert!(back > -90_000 * 2, "{over:?}: {back} ticks back");
        }
    });
}

fn descriptions_without_end_are_refused(backend: Backend) {
    let server = server(backend);
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n";
    nobody_else_notices(&server, || {
        for count in [65, 2_000, 10_000] {
            let sdp = head.to_owned() + &"m=audio 0 RTP/AVP 8\r\n".repeat(count);
            let (_, answer) = Publisher::announce(server.address(), &server.url(PATH), &sdp);
            assert!([400, 413].contains(&answer.status), "{count} tracks: {answer:?}");
        }
        let (client, answer) = Publisher::announce(
            server.address(),
            &server.url(PATH),
            &(head.to_owned() + &"m=audio 0 RTP/AVP 8\r\n".repeat(64)),
        );
        answer.expect(200);
        drop(client);
        let mut client = Client::connect(server.address());
        // The system may leave a writer in doubt for a minute when the other side has closed and its window is shut.
        client.socket().set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let url = server.url(PATH);
        client.send(format!("ANNOUNCE {url} RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 60000000\r\n\r\n{head}"));
        for _ in 0..60_000 {
            if !client.try_send([b'a'; 1_000]) {
                break;
            }
        }
        // Either word reaches the client, or the reset that overtakes it.
        match client.next(PATIENCE) {
            Some(Message::Response(answer)) => assert_eq!(answer.status, 413),
            Some(Message::Closed) => {}
            other => panic!("{other:?}"),
        }
    });
}

fn a_publisher_that_writes_byte_by_byte_is_served(backend: Backend) {
    let server = server(backend);
    nobody_else_notices(&server, || {
        let mut client = Client::connect(server.address());
        let url = server.url(PATH);
        let (length, transport) = (SDP.len(), "Transport: RTP/AVP/TCP;unicast;mode=record;interleaved");
        trickle(
            &mut client,
            format!("ANNOUNCE {url} RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {length}\r\n\r\n{SDP}"),
        );
        client.response().expect(200);
        trickle(
            &mut client,
            format!("SETUP {url}/streamid=0 RTSP/1.0\r\nCSeq: 2\r\n{transport}=0-1\r\n\r\n"),
        );
        let answer = client.response().expect(200);
        let session = answer.session().unwrap();
        trickle(
            &mut client,
            format!(
                "SETUP {url}/streamid=1 RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n{transport}=2-3\r\n\r\n\
                 RECORD {url} RTSP/1.0\r\nCSeq: 4\r\nSession: {session}\r\n\r\n"
            ),
        );
        client.response().expect(200);
        client.response().expect(200);
        let packet = |number: u8| {
            let head = [0x80, 0x80 | 96, 0, number, 0, 0, 0, number, 0, 0, 0, 1];
            framed(0, &[&head[..], &[0x65, 0, 0, 0, 0, number], &[7; 500]].concat())
        };
        trickle(&mut client, packet(0));
        let mut viewer = watch(&server, Over::Udp);
        (1..5).for_each(|number| trickle(&mut client, packet(number)));
        let has_all = |viewer: &Viewer| viewer.tracks[0].packets.len() == 5;
        assert!(viewer.receive_until(PATIENCE, has_all));
        assert_eq!(pictures(&viewer), [0, 1, 2, 3, 4]);
    });
}

/// Writes byte by byte.
fn trickle(client: &mut Client, bytes: impl AsRef<[u8]>) {
    bytes.as_ref().iter().for_each(|byte| client.send([*byte]));
}

fn what_is_sent_before_record_is_seen_by_nobody(backend: Backend) {
    let server = Server::with(backend).setting("source_start_ms", 300).start();
    nobody_else_notices(&server, || {
        let packet = [&[0x80, 0x80 | 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0x65, 0, 0, 0, 0, 99]].concat();
        let mut client = Client::connect(server.address());
        for channel in [0, 1, 77] {
            client.send(framed(channel, &packet));
        }
        client.request("OPTIONS", "*", &[]).expect(200);
        for over in BOTH {
            let (mut client, answer) = Publisher::announce(server.address(), &server.url(PATH), SDP);
            answer.expect(200);
            (0..4).for_each(|channel| client.send(framed(channel, &packet)));
            let mut publisher = Publisher::of(client, &server.url(PATH), over);
            publisher.setup(96);
            publisher.setup(8);
            for _ in 0..50 {
                publisher.send_raw(0, &packet);
                publisher.report(0, &packet);
            }
            let url = publisher.url.clone();
            Client::connect(server.address()).request("DESCRIBE", &url, &[]).expect(503);
            publisher.client.request("RECORD", &url, &[]).expect(200);
            publisher.picture(1, true);
            let mut viewer = watch(&server, Over::Tcp);
            publisher.picture(2, false);
            assert!(viewer.receive_until(PATIENCE, has_pictures(2)));
            assert_eq!(pictures(&viewer), [1, 2], "{over:?}");
            publisher.client.request("TEARDOWN", &url, &[]).expect(200);
        }
    });
}

/// As many as `PUBLICATIONS_MAX` says.
const PUBLICATIONS: usize = 4_096;

/// What a stream may cost that was set up and never came.
const PUBLICATION_BYTES_MAX: u64 = 8 * 1024;

fn there_are_only_so_many_published_paths(backend: Backend) {
    let server = Server::with(backend).setting("log_level", 3).lifetime(Duration::from_secs(150)).start();
    nobody_else_notices(&server, || {
        let before = server.memory_bytes();
        let mut publishers: Vec<Client> = Vec::new();
        let (mut granted, mut refused) = (0, 0);
        for number in 0..10_000 {
            let url = server.url(&format!("/live/{number}"));
            // Several on each connection: it may have 64 sessions.
            if number % 64 == 0 {
                publishers.push(Client::connect(server.address()));
            }
            let client = publishers.last_mut().unwrap();
            let length = SDP.len().to_string();
            let answer = client.request_with_body("ANNOUNCE", &url, &[("Content-Length", &length)], SDP);
            match answer.status {
                200 => granted += 1,
                453 => refused += 1,
                _ => panic!("{number}: {answer:?}"),
            }
            if answer.status == 200 {
                let transport = [("Transport", "RTP/AVP/TCP;unicast;mode=record")];
                client.request("SETUP", &format!("{url}/streamid=0"), &transport).expect(200);
            }
        }
        // One is the other publisher's.
        assert_eq!((granted, refused), (PUBLICATIONS - 1, 10_000 - PUBLICATIONS + 1));
        let grown = server.memory_bytes() - before;
        assert!(grown < PUBLICATIONS as u64 * PUBLICATION_BYTES_MAX, "{grown} bytes for {granted} streams");
        server.wait_for_log("which is as many as there may be", PATIENCE);
    });
    let end = Instant::now() + PATIENCE;
    while Publisher::announce(server.address(), &server.url("/new"), SDP).1.status != 200 {
        assert!(Instant::now() < end, "paths whose publishers never began are not given back");
    }
}

on_both_backends!(
    garbage_in_place_of_packets_is_left_out,
    packets_of_other_sources_and_formats_do_not_disturb_a_stream,
    absurd_timestamps_and_numbers_give_one_timeline,
    descriptions_without_end_are_refused,
    a_publisher_that_writes_byte_by_byte_is_served,
    what_is_sent_before_record_is_seen_by_nobody,
    there_are_only_so_many_published_paths,
);
