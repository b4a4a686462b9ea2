//! ANNOUNCE and RECORD (RFC 2326 sections 10.3 and 10.11): a client sends, others watch.

mod hostile;
pub(crate) mod watched;

use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::pictures::{has_pictures, pictures};
use crate::client::publisher::{Publisher, SDP};
use crate::client::rtp::Packet;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::folder;
use crate::server::{Backend, Server, on_both_backends};

const PATH: &str = "/live/camera";

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).start()
}

/// Watches with a viewer that has set up everything and plays.
#[track_caller]
fn watch(server: &Server, over: Over) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(PATH), over);
    viewer.play(&[]);
    viewer
}

const PATIENCE: Duration = Duration::from_secs(10);

fn what_is_published_comes_to_every_viewer_as_it_was_sent(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut publisher = Publisher::start(server.address(), &server.url(PATH), over);
        publisher.picture(0, true);
        let mut viewers = BOTH.map(|over| watch(&server, over));
        for index in 1..60 {
            publisher.picture(index, index % 20 == 0);
            thread::sleep(Duration::from_millis(5));
        }
        for (viewer, way) in viewers.iter_mut().zip(BOTH) {
            assert!(
                viewer.receive_until(PATIENCE, has_pictures(60)),
                "{over:?} to {way:?}: {:?}",
                pictures(viewer)
            );
            assert_eq!(pictures(viewer), (0..60).collect::<Vec<_>>(), "{over:?} to {way:?}");
            let video = &viewer.tracks[0];
            assert_eq!(video.gaps(), []);
            let first = video.packets[0].timestamp;
            for (unit, index) in video.units().iter().zip(0..) {
                assert_eq!(unit.len(), 3);
                assert!(unit[2].marker && !unit[1].marker);
                assert_eq!(unit[0].timestamp.wrapping_sub(first), 3_600 * index);
                assert_eq!(unit[1].payload[6..], [1; 700]);
            }
            let audio = &viewer.tracks[1];
            assert_eq!(audio.gaps(), []);
            assert!(audio.packets.iter().zip(0u8..).all(|(packet, index)| packet.payload == [index; 320]));
        }
        let url = publisher.url.clone();
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
        for viewer in &mut viewers {
            viewer.receive_all(PATIENCE);
        }
        Client::connect(server.address()).request("DESCRIBE", &url, &[]).expect(404);
    }
}

/// Bytes of one picture of which every one tells the picture and its place.
fn large_unit(index: u32, size: usize) -> Vec<u8> {
    let kind = if index.is_multiple_of(10) { 0x65 } else { 0x41 };
    let head = [&[kind][..], &index.to_be_bytes()].concat();
    head.into_iter().chain((0..size).map(|at| (at * 7 + at / 256 + index as usize) as u8)).collect()
}

/// What comes before a picture: a viewer who begins with a keyframe begins with its parameter set.
fn small_unit(index: u32) -> [u8; 2] {
    [if index.is_multiple_of(10) { 0x67 } else { 6 }, index as u8]
}

/// The unit that the fragments of a picture make.
fn joined(fragments: &[Packet]) -> Vec<u8> {
    let (first, last) = (&fragments[0].payload, fragments[fragments.len() - 1].payload[1]);
    assert_eq!((first[0] & 0x1f, first[1] & 0xc0, last & 0xc0), (28, 0x80, 0x40));
    let body = fragments.iter().flat_map(|packet| &packet.payload[2..]);
    [first[0] & 0xe0 | first[1] & 0x1f].iter().chain(body).copied().collect()
}

fn packets_that_no_datagram_holds_come_to_every_viewer_in_pieces(backend: Backend) {
    const PICTURES: u32 = 30;
    const SAMPLES: u32 = 2_400;
    let server = Server::with(backend).setting("gop_cache", 2).start();
    let mut publisher = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
    let units: Vec<_> =
        (0..PICTURES).map(|index| large_unit(index, 8_000 + 1_790 * index as usize)).collect();
    let sound: Vec<u8> = (0..4 * SAMPLES).map(|at| (at / 7) as u8).collect();
    let mut viewers = Vec::new();
    for (index, unit) in (0..).zip(&units) {
        publisher.send(0, false, 3_600 * index, &small_unit(index));
        publisher.send(0, true, 3_600 * index, unit);
        if index % 8 == 0 {
            let samples = sound.chunks(SAMPLES as usize).nth(index as usize / 8).unwrap();
            publisher.send(1, false, SAMPLES * (index / 8), samples);
        }
        if index == 0 {
            viewers.extend(BOTH.map(|over| watch(&server, over)));
        }
        thread::sleep(Duration::from_millis(10));
    }
    for viewer in &mut viewers {
        let heard =
            |viewer: &Viewer| viewer.tracks[1].packets.iter().map(|packet| packet.payload.len()).sum();
        assert!(viewer.receive_until(PATIENCE, |viewer| {
            let is_seen =
                viewer.tracks[0].packets.iter().filter(|packet| packet.marker).count() >= units.len();
            is_seen && sound.len() <= heard(viewer)
        }));
        let [video, audio] = &viewer.tracks[..] else { panic!("two tracks") };
        assert_eq!((video.gaps(), audio.gaps()), (vec![], vec![]));
        let first = video.packets[0].timestamp;
        for (index, (seen, sent)) in (0..).zip(video.units().iter().zip(&units)) {
            let (small, fragments) = seen.split_first().unwrap();
            assert_eq!(small.payload, small_unit(index), "what a datagram holds stays as it was");
            assert_eq!(small.timestamp.wrapping_sub(first), 3_600 * index);
            assert_eq!(joined(fragments), *sent);
            let (last, others) = fragments.split_last().unwrap();
            assert!(last.marker && others.iter().all(|packet| !packet.marker));
            assert!(others.iter().all(|packet| packet.payload.len() == 1_400 - 12));
        }
        let mut done = 0;
        for packet in &audio.packets {
            assert_eq!(packet.timestamp.wrapping_sub(audio.packets[0].timestamp), done as u32);
            assert_eq!(packet.payload.len(), SAMPLES as usize / 2);
            assert_eq!(packet.payload, sound[done..done + packet.payload.len()]);
            done += packet.payload.len();
        }
    }
}

fn beyond_the_cache_a_viewer_starts_at_the_next_keyframe(backend: Backend) {
    for is_watched in [false, true] {
        let server = Server::with(backend).setting("gop_cache_s", 1).setting("shards", 1).start();
        let mut publisher = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
        publisher.picture(0, true);
        // Where somebody watches, the shard has a past of the stream, else only its owner.
        let mut early = is_watched.then(|| watch(&server, Over::Tcp));
        for index in 1..30 {
            publisher.picture(index, false);
        }
        // Pictures of 40 ms: three seconds are 75.
        thread::sleep(Duration::from_millis(1_200));
        for index in 30..40 {
            publisher.picture(index, false);
        }
        thread::sleep(Duration::from_millis(200));
        let mut viewers = BOTH.map(|over| watch(&server, over));
        for index in 40..85 {
            publisher.picture(index, index == 75);
        }
        for viewer in &mut viewers {
            assert!(viewer.receive_until(PATIENCE, has_pictures(10)), "{:?}", pictures(viewer));
            assert_eq!(pictures(viewer), (75..85).collect::<Vec<_>>());
            assert_eq!(viewer.tracks[0].gaps(), []);
        }
        if let Some(early) = &mut early {
            assert!(early.receive_until(PATIENCE, |viewer| pictures(viewer).contains(&84)));
            let seen = pictures(early);
            assert!([0, 75].contains(&seen[0]), "it starts at a keyframe: {seen:?}");
            assert_eq!(seen, (seen[0]..85).collect::<Vec<_>>(), "who watches goes on");
        }
    }
}

/// A server whose stream has come to its thirtieth picture, the tenth since a keyframe.
fn running_stream(backend: Backend, gop_cache: u8) -> (Server, Publisher) {
    let server = Server::with(backend).setting("gop_cache", gop_cache).start();
    let mut publisher = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
    for index in 0..30 {
        publisher.picture(index, index % 10 == 0);
    }
    thread::sleep(Duration::from_millis(200));
    (server, publisher)
}

fn a_viewer_who_comes_late_starts_at_the_latest_keyframe(backend: Backend) {
    let (server, _publisher) = running_stream(backend, 2);
    for over in BOTH {
        let mut viewer = watch(&server, over);
        assert!(viewer.receive_until(PATIENCE, has_pictures(10)), "{over:?}: {:?}", pictures(&viewer));
        assert_eq!(pictures(&viewer), (20..30).collect::<Vec<_>>(), "{over:?}");
    }
}

fn a_viewer_who_catches_up_is_live_after_a_quarter_of_a_second(backend: Backend) {
    let (server, mut publisher) = running_stream(backend, 1);
    let mut viewers = BOTH.map(|over| watch(&server, over));
    for viewer in &mut viewers {
        assert!(
            viewer.receive_until(PATIENCE, |viewer| pictures(viewer).len() == 10),
            "{:?}",
            pictures(viewer)
        );
    }
    for index in 30..35 {
        publisher.picture(index, false);
    }
    for viewer in &mut viewers {
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[1].packets.len() == 5));
        assert!(viewer.receive_until(PATIENCE, |viewer| pictures(viewer).len() == 15));
        assert_eq!(pictures(viewer), (20..35).collect::<Vec<_>>());
        let units = viewer.tracks[0].units();
        let steps: Vec<_> =
            units.windows(2).map(|pair| pair[1][0].timestamp.wrapping_sub(pair[0][0].timestamp)).collect();
        // Nine pictures of 40 ms are shown within 250 ms, those that follow at their own pace.
        assert!(steps[..9].iter().all(|step| (2_400..2_600).contains(step)), "{steps:?}");
        assert!(steps[9..].iter().all(|step| *step == 3_600), "{steps:?}");
        assert_eq!(viewer.tracks[1].packets[0].payload, [30; 320], "sound begins with the present");
        assert_eq!(viewer.tracks[0].gaps(), []);
    }
}

fn without_a_cache_a_viewer_starts_at_the_next_keyframe(backend: Backend) {
    let (server, mut publisher) = running_stream(backend, 0);
    let mut viewers = BOTH.map(|over| watch(&server, over));
    for index in 30..45 {
        publisher.picture(index, index == 35);
    }
    for viewer in &mut viewers {
        assert!(viewer.receive_until(PATIENCE, has_pictures(10)), "{:?}", pictures(viewer));
        assert_eq!(pictures(viewer), (35..45).collect::<Vec<_>>());
    }
}

fn a_publisher_that_comes_back_goes_on_with_its_viewers(backend: Backend) {
    let server = server(backend);
    let mut viewers = Vec::new();
    let mut sent = 0;
    for over in [Over::Tcp, Over::Udp, Over::Tcp] {
        let mut publisher = Publisher::start(server.address(), &server.url(PATH), over);
        publisher.picture(sent, true);
        if viewers.is_empty() {
            viewers.extend(BOTH.map(|over| watch(&server, over)));
        }
        for index in sent + 1..sent + 10 {
            publisher.picture(index, false);
        }
        sent += 10;
        for viewer in &mut viewers {
            assert!(viewer.receive_until(PATIENCE, has_pictures(sent as usize)), "{:?}", pictures(viewer));
        }
        // No TEARDOWN: its connection is gone, as it is when a network fails.
    }
    for viewer in &viewers {
        assert_eq!(pictures(viewer), (0..sent).collect::<Vec<_>>());
        for track in &viewer.tracks {
            assert_eq!(track.gaps(), [], "sequence numbers go on");
            let ssrc = track.packets[0].ssrc;
            assert!(track.packets.iter().all(|packet| packet.ssrc == ssrc));
            assert!(!track.has_ended());
        }
    }
}

fn viewers_get_bye_when_a_publisher_stays_away(backend: Backend) {
    let server = Server::with(backend).setting("source_grace_s", 1).start();
    let mut publisher = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
    publisher.picture(0, true);
    let mut viewers = BOTH.map(|over| watch(&server, over));
    for viewer in &mut viewers {
        assert!(viewer.receive_until(PATIENCE, has_pictures(1)));
    }
    drop(publisher);
    for viewer in &mut viewers {
        viewer.receive_all(PATIENCE);
    }
    server.wait_for_log("the publisher is lost", PATIENCE);
    Client::connect(server.address()).request("DESCRIBE", &server.url(PATH), &[]).expect(404);
}

fn another_publisher_takes_a_path_as_on_republish_says(backend: Backend) {
    for (rule, status) in [("refuse", 403), ("replace", 200), ("stale", 200)] {
        let server = Server::with(backend).setting("on_republish", rule).start();
        let mut first = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
        first.picture(0, true);
        let mut viewer = watch(&server, Over::Tcp);
        let (_, answer) = Publisher::announce(server.address(), &server.url(PATH), SDP);
        assert_eq!(answer.status, status, "{rule}");
        let replaced = status == 200;
        assert_eq!(first.client.is_closed_within(Duration::from_millis(500)), replaced, "{rule}");
        if !replaced {
            first.picture(1, false);
            assert!(viewer.receive_until(PATIENCE, has_pictures(2)));
        }
    }
}

fn other_tracks_end_the_viewers_of_those_before(backend: Backend) {
    let server = Server::with(backend).setting("on_republish", "replace").start();
    let mut first = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
    first.picture(0, true);
    let mut viewer = watch(&server, Over::Udp);
    assert!(viewer.receive_until(PATIENCE, has_pictures(1)));
    let sdp = SDP.replace("RTP/AVP 8", "RTP/AVP 0");
    let (_client, answer) = Publisher::announce(server.address(), &server.url(PATH), &sdp);
    answer.expect(200);
    viewer.receive_all(PATIENCE);
}

fn paths_that_the_server_owns_cannot_be_published_to(backend: Backend) {
    let server = server(backend);
    for (path, status) in [("/test", 405), ("/h264_aac.mp4", 405), ("/", 400), ("/../x", 400), ("/new", 200)]
    {
        let (_, answer) = Publisher::announce(server.address(), &server.url(path), SDP);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
}

fn publishing_out_of_order_is_refused_with_the_right_status(backend: Backend) {
    let server = server(backend);
    let url = server.url(PATH);
    for (sdp, status) in [("", 400), ("hello", 400), ("v=0\r\ns=x\r\n", 400)] {
        let (_, answer) = Publisher::announce(server.address(), &url, sdp);
        assert_eq!(answer.status, status, "{sdp:?}");
    }
    let mut client = Client::connect(server.address());
    let headers = [("Content-Type", "text/plain"), ("Content-Length", "3")];
    client.request_with_body("ANNOUNCE", &url, &headers, "v=0").expect(415);
    client.request("RECORD", &url, &[]).expect(454);
    let (mut client, answer) = Publisher::announce(server.address(), &url, SDP);
    answer.expect(200);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
    client.request("SETUP", &format!("{url}/streamid=7"), &transport).expect(404);
    // Elsewhere the same connection may play.
    let play = [("Transport", "RTP/AVP/TCP;unicast;interleaved=8-9")];
    client.request("SETUP", &server.url("/h264_aac.mp4/trackID=0"), &play).expect(200);
    let answer = client.request("SETUP", &format!("{url}/streamid=0"), &transport).expect(200);
    assert!(answer.header("Transport").unwrap().to_lowercase().contains("mode=\"record\""), "{answer:?}");
    client.session = answer.session().map(str::to_owned);
    client.request("RECORD", &url, &[]).expect(400);
    client.request("SETUP", &format!("{url}/streamid=0"), &transport).expect(400);
    client.request("PLAY", &url, &[]).expect(455);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=2-3;mode=record")];
    client.request("SETUP", &format!("{url}/streamid=1"), &transport).expect(200);
    client.request("RECORD", &url, &[]).expect(200);
    client.request("PAUSE", &url, &[]).expect(200);
    client.request("RECORD", &url, &[]).expect(200);
    client.request("TEARDOWN", &url, &[]).expect(200);
    client.session = None;
    client.request("DESCRIBE", &url, &[]).expect(404);
}

fn who_may_publish_is_a_setting(backend: Backend) {
    for (setting, status) in [("off", 403), ("local", 200), ("on", 200)] {
        let server = Server::with(backend).setting("publish", setting).start();
        let (_, answer) = Publisher::announce(server.address(), &server.url(PATH), SDP);
        assert_eq!(answer.status, status, "{setting}");
    }
}

fn a_description_is_awaited_until_its_parameter_sets_have_come(backend: Backend) {
    let server = Server::with(backend).setting("source_start_ms", 3_000).start();
    let sdp = SDP.replace(";sprop-parameter-sets=Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==", "");
    assert!(!sdp.contains("sprop"));
    let (client, answer) = Publisher::announce(server.address(), &server.url(PATH), &sdp);
    answer.expect(200);
    let mut publisher = Publisher::of(client, &server.url(PATH), Over::Tcp);
    publisher.setup(96);
    publisher.setup(8);
    let url = server.url(PATH);
    publisher.client.request("RECORD", &url, &[]).expect(200);
    publisher.picture(0, true);
    let mut early = Client::connect(server.address());
    early.ask("DESCRIBE", &url, &[]);
    assert_eq!(early.next(Duration::from_millis(500)), None, "there is nothing to say yet");
    publisher.send(0, false, 90_000, &[0x67, 0x42, 0, 0x29, 0xe2]);
    publisher.send(0, false, 90_000, &[0x68, 0xce, 0x3c, 0x80]);
    publisher.send(0, true, 90_000, &[0x65, 1, 2, 3]);
    let answer = early.response().expect(200);
    assert!(answer.text().contains("sprop-parameter-sets=Z0IAKeI=,aM48gA=="), "{}", answer.text());
}

fn a_publisher_that_sends_nothing_is_not_waited_for_without_end(backend: Backend) {
    let server = Server::with(backend).setting("source_start_ms", 500).start();
    let (_client, answer) = Publisher::announce(server.address(), &server.url(PATH), SDP);
    answer.expect(200);
    let began = Instant::now();
    let answer = Client::connect(server.address()).request("DESCRIBE", &server.url(PATH), &[]);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(began.elapsed() >= Duration::from_millis(500));
}

fn publishers_without_ports_do_not_mix(backend: Backend) {
    let server = server(backend);
    let paths = ["/live/a", "/live/b"];
    let mut publishers = paths.map(|path| {
        let url = server.url(path);
        let (client, answer) = Publisher::announce(server.address(), &url, SDP);
        answer.expect(200);
        let mut publisher = Publisher::of(client, &url, Over::Udp);
        publisher.setup_on_any_port(96);
        publisher.setup_on_any_port(8);
        publisher.client.request("RECORD", &url, &[]).expect(200);
        publisher
    });
    for (publisher, first) in publishers.iter_mut().zip([0, 1_000]) {
        publisher.picture(first, true);
    }
    let mut viewers = paths.map(|path| {
        let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
        viewer.play(&[]);
        viewer
    });
    for step in 1..20 {
        for (publisher, first) in publishers.iter_mut().zip([0, 1_000]) {
            publisher.picture(first + step, false);
        }
        thread::sleep(Duration::from_millis(2));
    }
    for (viewer, first) in viewers.iter_mut().zip([0, 1_000]) {
        assert!(viewer.receive_until(PATIENCE, has_pictures(20)), "{:?}", pictures(viewer));
        assert_eq!(pictures(viewer), (first..first + 20).collect::<Vec<_>>());
    }
}

on_both_backends!(
    what_is_published_comes_to_every_viewer_as_it_was_sent,
    a_viewer_who_comes_late_starts_at_the_latest_keyframe,
    a_viewer_who_catches_up_is_live_after_a_quarter_of_a_second,
    without_a_cache_a_viewer_starts_at_the_next_keyframe,
    beyond_the_cache_a_viewer_starts_at_the_next_keyframe,
    packets_that_no_datagram_holds_come_to_every_viewer_in_pieces,
    a_publisher_that_comes_back_goes_on_with_its_viewers,
    viewers_get_bye_when_a_publisher_stays_away,
    another_publisher_takes_a_path_as_on_republish_says,
    other_tracks_end_the_viewers_of_those_before,
    paths_that_the_server_owns_cannot_be_published_to,
    who_may_publish_is_a_setting,
    a_description_is_awaited_until_its_parameter_sets_have_come,
    a_publisher_that_sends_nothing_is_not_waited_for_without_end,
    publishers_without_ports_do_not_mix;
    "ffmpeg":
    publishing_out_of_order_is_refused_with_the_right_status,
);
