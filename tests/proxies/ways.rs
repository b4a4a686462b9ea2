//! How packets come from a source, and how a session with it is kept.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{PATIENCE, describe, of, pulling, see, watch};
use crate::client::pictures::pictures;
use crate::client::viewer::{BOTH, Over};
use crate::server::{Backend, on_both_backends};
use crate::upstream::camera::{Camera, Reply, Request, Script};

/// Whether a request asks for packets on the connection.
fn is_tcp(request: &Request) -> bool {
    request.header("Transport").is_some_and(|transport| transport.contains("TCP"))
}

fn datagrams_that_do_not_arrive_are_asked_for_over_tcp(backend: Backend) {
    // Over UDP it plays and sends nothing that comes through.
    let camera = Camera::start(Script::answering(|request| match request.method.as_str() {
        "SETUP" if !is_tcp(request) => {
            let lines = "Session: 9\r\nTransport: RTP/AVP;unicast;client_port=1-2;server_port=3-4\r\n";
            Reply::With(200, lines.into())
        }
        _ => Reply::Usual,
    }));
    let server =
        pulling(backend, &camera.url(), &[("transfer", "UDP")]).setting("udp_to_tcp_ms", 700).start();
    let mut viewer = watch(&server, Over::Tcp);
    see(&mut viewer, 10);
    let setups = camera.asked("SETUP");
    assert!(!is_tcp(&setups[0]) && is_tcp(setups.last().unwrap()), "{setups:?}");
    let played = camera.asked("PLAY");
    let waited = played[1].at.duration_since(played[0].at);
    assert!(waited >= Duration::from_millis(700), "{waited:?}");
    assert_eq!(camera.asked("TEARDOWN").len(), 1, "the session over UDP was ended");
    server.wait_for_lines("nothing arrives", 1);
}

fn what_a_source_refuses_is_asked_for_another_way(backend: Backend) {
    for (transfer, refuses_tcp) in [("TCP", true), ("UDP", false), ("MULTICAST", false)] {
        let camera = Camera::start(Script::answering(move |request| {
            match request.method == "SETUP" && is_tcp(request) == refuses_tcp {
                true => Reply::With(461, String::new()),
                false => Reply::Usual,
            }
        }));
        let server = of(backend, &camera, &[("transfer", transfer)]);
        see(&mut watch(&server, Over::Tcp), 5);
        assert_eq!(camera.connections(), 1, "{transfer}: on the same connection");
    }
}

fn a_source_that_offers_no_way_is_told_of(backend: Backend) {
    let camera = Camera::start(Script::answering(|request| match request.method.as_str() {
        "SETUP" => Reply::With(461, String::new()),
        _ => Reply::Usual,
    }));
    let server = pulling(backend, &camera.url(), &[]).setting("source_start_ms", 2_000).start();
    let answer = describe(&server).expect(503);
    assert!(answer.text().contains("no transfer"), "{}", answer.text());
}

fn a_way_that_was_refused_with_all_others_is_asked_for_again(backend: Backend) {
    for transfer in ["TCP", "UDP"] {
        // At first it is busy; then it has the way that is configured, and no other.
        let camera = Camera::start(Script::answering(move |request| {
            let is_busy = request.connection == 0;
            match request.method == "SETUP" && (is_busy || is_tcp(request) != (transfer == "TCP")) {
                true => Reply::With(461, String::new()),
                false => Reply::Usual,
            }
        }));
        let server = of(backend, &camera, &[("transfer", transfer), ("ondemand", "0")]);
        camera.wait_for("PLAY", 1, PATIENCE);
        see(&mut watch(&server, Over::Tcp), 3);
        assert_eq!(camera.asked("PLAY")[0].connection, 1, "{transfer}: the next attempt");
    }
}

fn packets_may_precede_the_answer_to_play(backend: Backend) {
    for transfer in ["TCP", "UDP"] {
        let camera = Camera::start(Script { is_early: true, ..Script::default() });
        let server = of(backend, &camera, &[("transfer", transfer)]);
        let mut viewer = watch(&server, Over::Tcp);
        see(&mut viewer, 20);
        assert_eq!(pictures(&viewer)[0], 0, "{transfer}: nothing is lost of them");
    }
}

fn a_session_is_kept_alive_in_good_time_by_what_the_source_knows(backend: Backend) {
    for (public, method) in [
        ("OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER", "GET_PARAMETER"),
        ("OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN", "OPTIONS"),
    ] {
        let camera = Camera::start(Script { timeout: Some(2), public, ..Script::default() });
        let server = of(backend, &camera, &[]);
        let mut viewer = watch(&server, Over::Tcp);
        see(&mut viewer, 100);
        let played = camera.asked("PLAY")[0].at;
        let mut asked = camera.asked(method);
        asked.retain(|request| request.at > played);
        assert!(asked.len() >= 3, "{method}: {:?}", camera.requests());
        let others = camera.requests().into_iter().filter(|request| request.at > played);
        assert!(others.into_iter().all(|request| request.method == method), "{method}");
        let mut last = played;
        for request in &asked {
            assert!(request.header("Session").is_some());
            let gap = request.at.duration_since(last);
            assert!(gap < Duration::from_secs(2), "{method}: {gap:?} is too late");
            last = request.at;
        }
        assert_eq!(camera.connections(), 1);
    }
}

fn a_source_that_does_not_know_what_it_offers_is_asked_otherwise(backend: Backend) {
    let camera = Camera::start(Script {
        timeout: Some(2),
        ..Script::answering(|request| match request.method.as_str() {
            "GET_PARAMETER" => Reply::With(501, String::new()),
            _ => Reply::Usual,
        })
    });
    let server = of(backend, &camera, &[]);
    see(&mut watch(&server, Over::Tcp), 80);
    assert_eq!((camera.connections(), camera.asked("GET_PARAMETER").len()), (1, 1));
    assert!(camera.asked("OPTIONS").len() >= 3);
}

fn a_redirect_is_followed(backend: Backend) {
    let aim = Camera::start(Script::default());
    for (status, url) in [(301, aim.url()), (302, aim.url()), (302, "rtsp://127.0.0.1:1/".into())] {
        let location = format!("Location: {url}\r\n");
        let first = Camera::start(Script::answering(move |request| match request.method.as_str() {
            "DESCRIBE" => Reply::With(status, location.clone()),
            _ => Reply::Usual,
        }));
        let server = pulling(backend, &first.url(), &[]).setting("source_start_ms", 1_500).start();
        if url == aim.url() {
            see(&mut watch(&server, Over::Tcp), 3);
        } else {
            describe(&server).expect(503);
        }
        assert_eq!(first.asked("PLAY").len(), 0);
    }
}

fn redirects_that_go_round_end(backend: Backend) {
    let camera = Camera::start(Script::answering(|request| match request.method.as_str() {
        "DESCRIBE" => Reply::With(302, format!("Location: {}\r\n", request.url)),
        _ => Reply::Usual,
    }));
    let server = of(backend, &camera, &[]);
    let answer = describe(&server).expect(503);
    assert!(answer.text().contains("redirects"), "{}", answer.text());
    assert!(camera.connections() < 10);
}

fn sources_are_found_by_every_kind_of_address(backend: Backend) {
    let six = Camera::start_at((Ipv6Addr::LOCALHOST, 0).into(), Script::default());
    let server = of(backend, &six, &[]);
    assert!(six.url().contains("[::1]"), "{}", six.url());
    see(&mut watch(&server, Over::Tcp), 3);
    assert!(six.asked("SETUP")[0].url.starts_with("rtsp://[::1]:"), "{:?}", six.requests());
    // Of a name's addresses the first may be one where nobody listens.
    for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), (Ipv6Addr::LOCALHOST, 0).into()] {
        let camera = Camera::start_at(address, Script::default());
        let url = format!("rtsp://localhost:{}/stream", camera.address().port());
        let server = pulling(backend, &url, &[]).setting("source_start_ms", 3_000).start();
        see(&mut watch(&server, Over::Tcp), 3);
        assert!(camera.asked("DESCRIBE")[0].url.starts_with("rtsp://localhost:"));
    }
    let server =
        pulling(backend, "rtsp://nobody.invalid/stream", &[]).setting("source_start_ms", 3_000).start();
    let answer = describe(&server).expect(503);
    assert!(answer.text().contains("nobody.invalid"), "{}", answer.text());
}

fn over_udp_a_source_of_ipv6_is_pulled_as_well(backend: Backend) {
    let camera = Camera::start_at((Ipv6Addr::LOCALHOST, 0).into(), Script::default());
    let server = of(backend, &camera, &[("transfer", "UDP")]);
    for over in BOTH {
        see(&mut watch(&server, over), 3);
    }
    let setup = &camera.asked("SETUP")[0];
    assert!(!is_tcp(setup), "{setup:?}");
}

fn a_source_of_another_protocol_is_told_of(backend: Backend) {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
        }
    });
    let server =
        pulling(backend, &format!("rtsp://{address}/"), &[]).setting("source_start_ms", 2_000).start();
    describe(&server).expect(503);
    server.wait_for_log("source not available", PATIENCE);
    assert!(server.is_alive());
    crate::client::Client::connect(server.address())
        .request("DESCRIBE", &server.url("/test"), &[])
        .expect(200);
}

on_both_backends!(
    datagrams_that_do_not_arrive_are_asked_for_over_tcp,
    what_a_source_refuses_is_asked_for_another_way,
    a_source_that_offers_no_way_is_told_of,
    a_way_that_was_refused_with_all_others_is_asked_for_again,
    packets_may_precede_the_answer_to_play,
    a_session_is_kept_alive_in_good_time_by_what_the_source_knows,
    a_source_that_does_not_know_what_it_offers_is_asked_otherwise,
    a_redirect_is_followed,
    redirects_that_go_round_end,
    sources_are_found_by_every_kind_of_address,
    over_udp_a_source_of_ipv6_is_pulled_as_well,
    a_source_of_another_protocol_is_told_of,
);
