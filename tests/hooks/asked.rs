//! What a service is asked, and what its answers do.

use std::thread;
use std::time::{Duration, Instant};

use super::service::{Manner, Service};
use super::{CALLS, FILE, PATIENCE, calling};
use crate::client::publisher::{Publisher, SDP};
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Message, Response};
use crate::server::{Backend, Server, on_both_backends};
use crate::tunnels::bridge::{DOORS, connect};

fn a_viewer_is_asked_about_and_its_end_told(backend: Backend) {
    let service = Service::start();
    let server = calling(backend, &service, &CALLS, "").start();
    let url = server.url(&format!("/{FILE}?token=a%26b&t=unicast"));
    let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
    let [connect] = &service.wait_for("connect", 1)[..] else { panic!() };
    assert_eq!(service.calls("play").len(), 0, "who sets up does not play yet");
    viewer.play(&[]);
    let [play] = &service.wait_for("play", 1)[..] else { panic!() };
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
    viewer.pause();
    viewer.play(&[]);
    viewer.play(&[("Range", "npt=1-")]);
    viewer.teardown();
    let [done] = &service.wait_for("done", 1)[..] else { panic!() };
    for call in [connect, play, done] {
        assert_eq!((call.method.as_str(), call.argument("protocol")), ("POST", "rtsp"));
        assert_eq!(call.path, format!("/hook/{}", call.argument("call")));
        assert_eq!(call.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!((call.argument("addr"), call.argument("url")), ("127.0.0.1", url.as_str()));
        assert_eq!(call.argument("name"), FILE);
        assert_eq!(call.argument("clientid"), connect.argument("clientid"));
    }
    let other = Client::connect(server.address()).request("OPTIONS", "*", &[]).expect(200);
    assert!(other.header("Public").is_some());
    let calls = service.wait_for("connect", 2);
    assert_eq!((calls[1].argument("url"), calls[1].argument("name")), ("*", ""));
    assert_ne!(calls[1].argument("clientid"), connect.argument("clientid"));
    assert_eq!(service.calls("play").len(), 1, "a session is asked about once");
    assert!(service.connections() < 4, "connections are kept");
}

fn a_publisher_is_asked_about_and_its_end_told(backend: Backend) {
    let service = Service::start();
    let server = calling(backend, &service, &CALLS, "<notify_method>GET</notify_method>").start();
    let url = server.url("/live/camera 1".replace(' ', "%20").as_str());
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    publisher.picture(0, true);
    let mut viewer = Viewer::open(server.address(), &url, Over::Udp);
    viewer.play(&[]);
    publisher.client.request("TEARDOWN", &url, &[]).expect(200);
    let publish = &service.wait_for("publish", 1)[0];
    // The viewer ends with what it watched.
    for done in service.wait_for("done", 2) {
        assert_eq!((done.argument("url"), done.argument("name")), (url.as_str(), "live/camera 1"));
    }
    assert_eq!((publish.method.as_str(), publish.path.as_str()), ("GET", "/hook/publish?"));
    assert_eq!((publish.argument("url"), publish.argument("name")), (url.as_str(), "live/camera 1"));
    assert_eq!(service.calls("play").len(), 1);
}

fn who_comes_through_a_door_is_asked_about_as_all_the_others(backend: Backend) {
    for door in DOORS {
        let service = Service::start();
        let server = calling(backend, &service, &CALLS, "").http().shards(3).start();
        let url = server.url(&format!("/{FILE}"));
        for count in 1..=4 {
            let client = connect(server.http_address(), door);
            let mut viewer = Viewer::describe_on(client, &url, Over::Tcp).set_up();
            viewer.play(&[]);
            assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
            drop(viewer);
            for call in ["connect", "play", "done"] {
                let calls = service.wait_for(call, count);
                let last = calls.last().unwrap();
                assert_eq!((last.argument("addr"), last.argument("url")), ("127.0.0.1", url.as_str()));
                assert_eq!(last.argument("name"), FILE, "{door:?}");
            }
        }
        service.answer("connect", Manner::Status(403));
        let mut client = connect(server.http_address(), door);
        client.request("OPTIONS", &url, &[]).expect(403);
        assert!(client.is_closed_within(PATIENCE), "{door:?}");
    }
}

fn who_makes_a_question_too_long_to_be_asked_is_refused(backend: Backend) {
    let service = Service::start();
    let nodes = "<notify_method>GET</notify_method><notify_fail>allow</notify_fail>";
    let server = calling(backend, &service, &["connect"], nodes).start();
    let mut request = format!("OPTIONS {}/", server.url("")).into_bytes();
    request.extend([0xff; 7_000]);
    request.extend(b" RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    let mut client = Client::connect(server.address());
    client.send(request);
    client.response().expect(403);
}

/// Asks for what a call is about; the answer that decides.
fn ask_for(server: &Server, call: &str) -> (Client, Response) {
    let mut client = Client::connect(server.address());
    if call == "publish" {
        let answer = Publisher::announce_on(&mut client, &server.url("/live"), SDP);
        return (client, answer);
    }
    let url = server.url(&format!("/{FILE}"));
    if call == "connect" {
        let answer = client.request("OPTIONS", &url, &[]);
        return (client, answer);
    }
    let track = format!("{url}/trackID=0");
    let setup = client.request("SETUP", &track, &[("Transport", "RTP/AVP/TCP;unicast")]).expect(200);
    client.session = setup.session().map(str::to_owned);
    let answer = client.request("PLAY", &url, &[]);
    (client, answer)
}

fn only_200_lets_pass(backend: Backend) {
    for call in ["connect", "play", "publish"] {
        let service = Service::start();
        let server = calling(backend, &service, &[call], "").start();
        for (status, expected) in [(200, 200), (403, 403), (500, 403), (302, 403), (204, 403), (200, 200)] {
            service.answer(call, Manner::Status(status));
            let (mut client, answer) = ask_for(&server, call);
            assert_eq!(answer.status, expected, "{call} and {status}: {answer:?}");
            if expected == 403 {
                assert!(answer.text().contains("the web service of this server refuses it"), "{answer:?}");
                assert!(call != "connect" || client.is_closed_within(PATIENCE), "who may not be here goes");
            }
        }
        service.wait_for(call, 6);
    }
}

fn without_an_answer_the_setting_decides(backend: Backend) {
    for call in ["connect", "play", "publish"] {
        for (fail, expected) in [("deny", 503), ("allow", 200)] {
            let nodes =
                format!("<notify_fail>{fail}</notify_fail><notify_timeout_ms>400</notify_timeout_ms>");
            let (silent, absent) = (Service::start(), Service::absent());
            silent.answer(call, Manner::Silent);
            for service in [&silent, &absent] {
                let server = calling(backend, service, &[call], &nodes).start();
                let began = Instant::now();
                let (_, answer) = ask_for(&server, call);
                assert_eq!(answer.status, expected, "{call} and {fail}: {answer:?}");
                assert!(expected == 200 || answer.text().contains("does not answer"), "{answer:?}");
                assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
                server.wait_for_log("a web service fails", PATIENCE);
            }
        }
    }
}

fn whatever_is_said_to_an_end_changes_nothing(backend: Backend) {
    let service = Service::start();
    let nodes = "<notify_timeout_ms>300</notify_timeout_ms>";
    let server = calling(backend, &service, &["done"], nodes).start();
    for (count, manner) in [Manner::Status(200), Manner::Status(500), Manner::Silent, Manner::Status(403)]
        .into_iter()
        .enumerate()
    {
        service.answer("done", manner);
        let (mut client, answer) = ask_for(&server, "play");
        answer.expect(200);
        client.request("TEARDOWN", &server.url(&format!("/{FILE}")), &[]).expect(200);
        client.session = None;
        client.request("OPTIONS", "*", &[]).expect(200);
        service.wait_for("done", count + 1);
    }
    let absent = Service::absent();
    let server = calling(backend, &absent, &["done"], nodes).start();
    let (mut client, answer) = ask_for(&server, "play");
    answer.expect(200);
    client.request("TEARDOWN", &server.url(&format!("/{FILE}")), &[]).expect(200);
    client.session = None;
    client.request("OPTIONS", "*", &[]).expect(200);
    server.wait_for_log("a web service fails call=\"done\"", PATIENCE);
}

fn who_waits_for_a_service_delays_nobody(backend: Backend) {
    let service = Service::start();
    let nodes = "<notify_timeout_ms>30000</notify_timeout_ms>";
    let server = calling(backend, &service, &["play"], nodes).shards(1).start();
    let mut watching = Viewer::open(server.address(), &server.url(&format!("/{FILE}")), Over::Tcp);
    watching.play(&[]);
    service.wait_for("play", 1);
    service.answer("play", Manner::Silent);
    let url = server.url(&format!("/{FILE}"));
    let mut waiting = Viewer::open(server.address(), &url, Over::Tcp);
    let control = waiting.description.control.clone();
    waiting.client.ask("PLAY", &control, &[]);
    // What follows on the same connection waits as well.
    waiting.client.ask("OPTIONS", "*", &[]);
    service.wait_for("play", 2);
    let before = watching.tracks[0].packets.len();
    assert!(watching.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > before + 60));
    for _ in 0..20 {
        Client::connect(server.address()).request("DESCRIBE", &url, &[]).expect(200);
    }
    assert_eq!(waiting.client.next(Duration::from_millis(50)), None, "it still waits");
    service.answer("play", Manner::Status(200));
    for _ in 0..2 {
        waiting.client.response().expect(200);
    }
    assert!(waiting.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
}

fn what_a_client_writes_is_no_argument_of_its_own(backend: Backend) {
    let service = Service::start();
    let server = calling(backend, &service, &CALLS, "").start();
    let nasty = [
        "/live/a&call=done&addr=192.0.2.1",
        "/live/a?clientid=0;$(touch%20/tmp/x)`id`|&name=b#c",
        "/live/%0d%0aX-Injected:%201%0d%0a%0d%0aPOST%20/x%20HTTP/1.1",
        "/live/%26name=x%26%3d%25%00%ff",
        "/live/%C3%A4'\"<>\\+",
    ];
    for path in nasty {
        let url = server.url(path);
        let mut client = Client::connect(server.address());
        client.ask("OPTIONS", &url, &[]);
        // Whatever it is answered; the service itself checks that there are six arguments, each once.
        assert!(matches!(client.next(PATIENCE), Some(Message::Response(_) | Message::Closed)), "{path}");
    }
    let calls = service.wait_for("connect", nasty.len());
    assert!(calls.iter().all(|call| call.argument("call") == "connect"), "{calls:?}");
    assert!(calls.iter().all(|call| call.argument("addr") == "127.0.0.1"), "{calls:?}");
    assert!(calls.iter().all(|call| call.headers.keys().all(|name| !name.contains("injected"))), "{calls:?}");
    let seen = calls[0].argument("url");
    assert_eq!(seen, server.url("/live/a?call=done&addr=192.0.2.1"));
    let (_, answer) = Publisher::announce(server.address(), &server.url(nasty[0]), SDP);
    answer.expect(200);
    assert_eq!(service.wait_for("publish", 1)[0].argument("name"), "live/a");
}

fn a_service_with_a_password_gets_it_and_the_log_does_not(backend: Backend) {
    let service = Service::start();
    let url = format!("http://me:s%40cret@127.0.0.1:{}/x?key=hidden", service.port());
    let xml = format!("<on_play>{url}</on_play><notify_method>GET</notify_method>");
    let server = Server::with(backend).media(crate::corpus::folder()).xml(&xml).start();
    ask_for(&server, "play").1.expect(200);
    let play = &service.wait_for("play", 1)[0];
    assert_eq!(play.headers["authorization"], "Basic bWU6c0BjcmV0");
    assert_eq!(play.path, "/x?key=hidden");
    let check = std::process::Command::new(env!("CARGO_BIN_EXE_rtspserver"))
        .args(["check", "-c"])
        .arg(server.configuration_file())
        .output()
        .unwrap();
    let text =
        server.log() + &String::from_utf8_lossy(&check.stdout) + &String::from_utf8_lossy(&check.stderr);
    assert!(text.contains(&format!("http://***@127.0.0.1:{}/x?***", service.port())), "{text}");
    assert!(
        !text.contains("cret") && !text.contains("hidden") && !text.contains("not have it yet"),
        "{text}"
    );
}

fn a_password_is_asked_for_before_a_service(backend: Backend) {
    let service = Service::start();
    let user = "<user><username>ann</username><password>pass-1</password></user>";
    let server = calling(backend, &service, &CALLS, "").setting("need_auth", 1).xml(user).start();
    let url = server.url(&format!("/{FILE}"));
    Client::connect(server.address()).request("DESCRIBE", &url, &[]).expect(401);
    let (_, answer) = Publisher::announce(server.address(), &server.url("/live"), SDP);
    answer.expect(401);
    // A nonce that is counted is used once, however often its request is looked at.
    let client = Client::logging_in(server.address(), &url, "ann", "pass-1");
    let mut viewer = Viewer::describe_on(client, &url, Over::Tcp).set_up();
    viewer.play(&[]);
    service.wait_for("play", 1);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(service.calls("publish").len(), 0, "who may not publish is not asked about");
}

on_both_backends!(
    a_publisher_is_asked_about_and_its_end_told,
    who_makes_a_question_too_long_to_be_asked_is_refused,
    what_a_client_writes_is_no_argument_of_its_own;
    "ffmpeg":
    a_viewer_is_asked_about_and_its_end_told,
    who_comes_through_a_door_is_asked_about_as_all_the_others,
    only_200_lets_pass,
    without_an_answer_the_setting_decides,
    whatever_is_said_to_an_end_changes_nothing,
    who_waits_for_a_service_delays_nobody,
    a_service_with_a_password_gets_it_and_the_log_does_not,
    a_password_is_asked_for_before_a_service,
);
