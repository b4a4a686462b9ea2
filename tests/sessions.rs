//! How long sessions live, and who may speak for them (RFC 2326 sections 12.37 and A.2).

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::rtp::receiver_report;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::folder;
use crate::server::{Backend, Server, on_both_backends};

const FILE: &str = "/h264_aac.mp4";

/// Seconds after which a silent session ends in these tests.
const TIMEOUT: u64 = 2;

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).setting("session_timeout", TIMEOUT).start()
}

fn patient_server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).setting("loop_nums", -1).start()
}

fn without_a_session_there_is_nothing_to_play(backend: Backend) {
    let server = patient_server(backend);
    let mut client = Client::connect(server.address());
    for method in ["PLAY", "PAUSE", "TEARDOWN"] {
        client.request(method, &server.url(FILE), &[]).expect(454);
    }
}

fn an_unknown_session_is_refused_by_every_method(backend: Backend) {
    let server = patient_server(backend);
    let mut client = Client::connect(server.address());
    for session in ["12345678", "nonsense", "0", "ffffffffffffffffffffffffffffffff", "\u{fc}"] {
        client.session = Some(session.into());
        for method in ["PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER", "SETUP"] {
            let answer = client.request(method, &server.url(FILE), &[("Transport", "RTP/AVP/TCP;unicast")]);
            assert_eq!(answer.status, 454, "{method} {session}: {answer:?}");
        }
    }
    client.session = None;
    client.request("OPTIONS", "*", &[]).expect(200);
}

fn the_timeout_is_told_and_may_be_repeated_by_the_client(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    let header = viewer.tracks[0].setup.header("Session").unwrap().to_owned();
    assert!(header.ends_with(&format!(";timeout={TIMEOUT}")), "{header}");
    let url = viewer.url.clone();
    viewer.client.session = Some(header);
    viewer.client.request("GET_PARAMETER", &url, &[]).expect(200);
}

fn a_silent_session_over_udp_ends_at_its_timeout(backend: Backend) {
    let server = Server::with(backend)
        .media(folder())
        .setting("session_timeout", TIMEOUT)
        .setting("loop_nums", -1)
        .start();
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    viewer.play(&[]);
    let began = Instant::now();
    let ended = viewer.receive_until(Duration::from_secs(TIMEOUT + 6), |viewer| {
        let last = viewer.tracks[0].packets.last().map(|packet| packet.at);
        viewer.tracks.iter().all(|track| track.has_ended())
            || last.is_some_and(|last| last.elapsed() > Duration::from_millis(800))
    });
    let took = began.elapsed().as_secs_f64();
    assert!(ended, "packets still come after {took} s");
    assert!(took > TIMEOUT as f64 - 0.5, "the session ended after {took} s");
    let url = viewer.url.clone();
    viewer.client.request("TEARDOWN", &url, &[]).expect(454);
}

fn requests_keep_a_session_alive(backend: Backend) {
    let server = Server::with(backend)
        .media(folder())
        .setting("session_timeout", TIMEOUT)
        .setting("loop_nums", -1)
        .start();
    for method in ["GET_PARAMETER", "SET_PARAMETER", "OPTIONS", "PLAY"] {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
        viewer.play(&[]);
        let url = viewer.url.clone();
        for _ in 0..4 {
            viewer.receive(Duration::from_millis(1_000));
            viewer.client.request(method, &url, &[]).expect(200);
        }
        assert_eq!(viewer.tracks[0].gaps(), [], "{method}");
        viewer.teardown();
    }
}

fn receiver_reports_keep_a_session_alive(backend: Backend) {
    let server = Server::with(backend)
        .media(folder())
        .setting("session_timeout", TIMEOUT)
        .setting("loop_nums", -1)
        .start();
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        viewer.play(&[]);
        viewer.receive_until(Duration::from_secs(2), |viewer| !viewer.tracks[0].packets.is_empty());
        for _ in 0..4 {
            let last = viewer.tracks[0].packets.last().expect("packets come").clone();
            let report = receiver_report(77, last.ssrc, 0, u32::from(last.sequence));
            match over {
                Over::Udp => {
                    let (_, rtcp) = viewer.tracks[0].server_addresses(server.address().ip());
                    viewer.tracks[0].sockets().1.send_to(&report, rtcp).unwrap();
                }
                Over::Tcp => {
                    let size = (report.len() as u16).to_be_bytes();
                    viewer.client.send([&[b'$', 1, size[0], size[1]][..], &report].concat());
                }
            }
            viewer.receive(Duration::from_millis(1_000));
        }
        let silent = viewer.tracks[0].packets.last().unwrap().at.elapsed();
        assert!(silent < Duration::from_millis(300), "{over:?}: nothing for {silent:?}");
        viewer.teardown();
    }
}

fn a_timeout_of_zero_keeps_sessions(backend: Backend) {
    let server =
        Server::with(backend).media(folder()).setting("session_timeout", 0).setting("loop_nums", -1).start();
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    assert!(!viewer.tracks[0].setup.header("Session").unwrap().contains("timeout"));
    viewer.play(&[]);
    viewer.receive(Duration::from_secs(4));
    let silent = viewer.tracks[0].packets.last().unwrap().at.elapsed();
    assert!(silent < Duration::from_millis(300), "nothing for {silent:?}");
}

fn an_interleaved_session_ends_with_its_connection(backend: Backend) {
    let server = patient_server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[]);
    viewer.receive(Duration::from_millis(200));
    let (session, url) = (viewer.client.session.clone(), viewer.url.clone());
    drop(viewer);
    std::thread::sleep(Duration::from_millis(200));
    let mut client = Client::connect(server.address());
    client.session = session;
    client.request("TEARDOWN", &url, &[]).expect(454);
}

fn a_session_over_udp_outlives_its_connection(backend: Backend) {
    let server = patient_server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    viewer.play(&[]);
    viewer.receive(Duration::from_millis(300));
    let session = viewer.client.session.clone();
    let mut other = Client::connect(server.address());
    other.session = session;
    // The first connection goes.
    viewer.client = other;
    viewer.receive(Duration::from_millis(600));
    assert_eq!(viewer.tracks[0].gaps(), []);
    let silent = viewer.tracks[0].packets.last().unwrap().at.elapsed();
    assert!(silent < Duration::from_millis(300), "nothing for {silent:?}");
    // The other one goes on with it, on whichever shard it landed.
    viewer.pause();
    viewer.receive(Duration::from_millis(200));
    let before = viewer.tracks[0].packets.len();
    viewer.receive(Duration::from_millis(300));
    assert_eq!(viewer.tracks[0].packets.len(), before);
    viewer.play(&[]);
    viewer.receive(Duration::from_millis(300));
    assert!(viewer.tracks[0].packets.len() > before);
    viewer.teardown();
}

fn several_connections_can_take_a_udp_session_over_in_turn(backend: Backend) {
    let server = patient_server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    let (session, url) = (viewer.client.session.clone(), viewer.url.clone());
    viewer.play(&[]);
    // On whichever shards they land.
    for _ in 0..6 {
        let mut client = Client::connect(server.address());
        client.session = session.clone();
        client.request("GET_PARAMETER", &url, &[]).expect(200);
        client.request("OPTIONS", &url, &[]).expect(200);
    }
    let mut last = Client::connect(server.address());
    last.session = session;
    last.request("TEARDOWN", &url, &[]).expect(200);
}

fn an_interleaved_session_cannot_be_taken_from_another_connection(backend: Backend) {
    let server = patient_server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[]);
    let url = viewer.url.clone();
    for _ in 0..4 {
        for method in ["PAUSE", "TEARDOWN", "PLAY"] {
            let mut thief = Client::connect(server.address());
            thief.session = viewer.client.session.clone();
            thief.request(method, &url, &[]).expect(454);
        }
    }
    viewer.receive(Duration::from_millis(300));
    assert!(viewer.tracks[0].packets.last().unwrap().at.elapsed() < Duration::from_millis(300));
}

fn media_follow_a_viewer_behind_address_translation(backend: Backend) {
    let server = patient_server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    let (rtp, _) = viewer.tracks[0].server_addresses(server.address().ip());
    // What the translator made of the client's port.
    let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
    outside.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    // Players open the way with small datagrams.
    outside.send_to(&[0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], rtp).unwrap();
    viewer.play(&[]);
    let mut buffer = [0; 2_048];
    let (size, _) = outside.recv_from(&mut buffer).expect("media goes to the translated port");
    assert!(size > 12);
}

fn one_track_is_torn_down_and_the_other_still_follows_address_translation(backend: Backend) {
    let server = patient_server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    let gone = viewer.tracks[0].media.control.clone();
    viewer.client.request("TEARDOWN", &gone, &[]).expect(200);
    let (rtp, rtcp) = viewer.tracks[1].server_addresses(server.address().ip());
    // Players open both ways: with a packet of no meaning, and with a report about nothing yet.
    let openers: [(_, &[u8]); 2] =
        [(rtp, &[0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), (rtcp, &[0x80, 201, 0, 1, 0, 0, 0, 9])];
    let [media, reports] = openers.map(|(to, opener)| {
        let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
        outside.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        outside.send_to(opener, to).unwrap();
        outside
    });
    viewer.play(&[]);
    for outside in [media, reports] {
        outside.recv_from(&mut [0; 2_048]).expect("the track that is left goes to the translated port");
    }
}

fn teardown_of_a_track_that_is_not_set_up_ends_nothing(backend: Backend) {
    let server = patient_server(backend);
    let mut viewer = Viewer::describe(server.address(), &server.url(FILE), Over::Tcp);
    viewer.setup(0);
    let other = viewer.description.media[1].control.clone();
    viewer.client.request("TEARDOWN", &other, &[]).expect(404);
    viewer.play(&[]);
}

fn sessions_end_and_their_memory_comes_back(backend: Backend) {
    let server = patient_server(backend);
    let round = || {
        for over in BOTH {
            let mut viewers: Vec<_> =
                (0..20).map(|_| Viewer::open(server.address(), &server.url("/pcmu.wav"), over)).collect();
            for viewer in &mut viewers {
                viewer.play(&[]);
            }
            for viewer in &mut viewers {
                viewer.teardown();
            }
        }
    };
    round();
    round();
    let before = server.memory_bytes();
    for _ in 0..5 {
        round();
    }
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes more after 200 sessions");
}

fn play_is_answered_when_another_connection_ends_the_session_meanwhile(backend: Backend) {
    let server = patient_server(backend);
    for second in 0..5 {
        let mut viewer = Viewer::open(server.address(), &server.url("/h264_1080p.mp4"), Over::Udp);
        let mut other = Client::connect(server.address());
        other.session = viewer.client.session.clone();
        other.request("OPTIONS", "*", &[]).expect(200);
        let url = viewer.url.clone();
        viewer.client.ask("PLAY", &url, &[("Range", &format!("npt=0.{second}-"))]);
        other.ask("TEARDOWN", &url, &[]);
        let played = viewer.client.response().status;
        assert!(played == 200 || played == 454, "{played}");
        let ended = other.response().status;
        assert!(ended == 200 || ended == 454, "{ended}");
    }
}

fn two_connections_can_play_one_session_at_once(backend: Backend) {
    let server = patient_server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    let mut other = Client::connect(server.address());
    other.session = viewer.client.session.clone();
    let url = viewer.url.clone();
    viewer.client.ask("PLAY", &url, &[]);
    other.ask("PLAY", &url, &[]);
    viewer.client.response().expect(200);
    other.response().expect(200);
}

fn what_a_client_says_last_is_heard_when_it_closes_at_once(backend: Backend) {
    let server = patient_server(backend);
    for round in 1..=20 {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
        viewer.play(&[]);
        let url = viewer.description.control.clone();
        viewer.client.ask("TEARDOWN", &url, &[]);
        viewer.client.socket().shutdown(std::net::Shutdown::Write).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while server.log().matches("reason=\"torn down\"").count() < round {
            assert!(Instant::now() < end, "{round}: {}", server.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

on_both_backends!(
    without_a_session_there_is_nothing_to_play,
    an_unknown_session_is_refused_by_every_method;
    "ffmpeg":
    the_timeout_is_told_and_may_be_repeated_by_the_client,
    a_silent_session_over_udp_ends_at_its_timeout,
    requests_keep_a_session_alive,
    receiver_reports_keep_a_session_alive,
    a_timeout_of_zero_keeps_sessions,
    an_interleaved_session_ends_with_its_connection,
    a_session_over_udp_outlives_its_connection,
    several_connections_can_take_a_udp_session_over_in_turn,
    an_interleaved_session_cannot_be_taken_from_another_connection,
    media_follow_a_viewer_behind_address_translation,
    one_track_is_torn_down_and_the_other_still_follows_address_translation,
    teardown_of_a_track_that_is_not_set_up_ends_nothing,
    sessions_end_and_their_memory_comes_back,
    play_is_answered_when_another_connection_ends_the_session_meanwhile,
    two_connections_can_play_one_session_at_once,
    what_a_client_says_last_is_heard_when_it_closes_at_once,
);
