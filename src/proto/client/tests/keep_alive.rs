//! What keeps a session alive, and how its loss is noticed.

use super::*;
use crate::time::Time;

fn playing(camera: &mut Camera) -> Link {
    let mut link = Link::to("rtsp://h/a");
    link.talk(camera);
    assert!(link.is_playing());
    link.sent.clear();
    link
}

#[test]
fn the_method_is_what_the_server_offers_and_options_when_it_is_refused() {
    for (public, expected) in [
        (Some("OPTIONS, GET_PARAMETER"), "GET_PARAMETER"),
        (None, "GET_PARAMETER"),
        (Some("OPTIONS, DESCRIBE"), "OPTIONS"),
    ] {
        let mut camera = Camera { public, session: "1234;timeout=20", ..Camera::new() };
        let mut link = playing(&mut camera);
        let start = link.now;
        link.wait();
        assert_eq!(link.now.since(start).as_secs(), 15);
        link.talk(&mut camera);
        assert_eq!(link.methods(), [expected]);
        assert_eq!(
            (link.sent[0].uri.as_str(), link.sent[0].headers.get("Session")),
            ("rtsp://h/a", Some("1234"))
        );
    }
    // What one server has said is nothing to the next.
    let mut camera = Camera { session: "1234;timeout=20", ..Camera::new() };
    let mut link = playing(&mut camera);
    camera.session = "1234";
    link.client.set_transfer(link.now, Transfer::Udp);
    link.talk(&mut camera);
    let start = link.now;
    link.wait();
    assert_eq!(link.now.since(start).as_secs(), 55);

    let mut camera = Camera::new();
    camera.special =
        |request| (request.method == Method::GetParameter).then(|| Response::new(Status::METHOD_NOT_ALLOWED));
    let mut link = playing(&mut camera);
    for _ in 0..2 {
        link.wait();
        link.talk(&mut camera);
    }
    assert_eq!(link.methods(), ["GET_PARAMETER", "OPTIONS", "OPTIONS"]);
    assert_eq!(link.failure(), None);
}

#[test]
fn a_session_that_the_server_does_not_know_any_more_is_lost() {
    let mut camera = Camera::new();
    let mut link = playing(&mut camera);
    camera.special =
        |request| (request.method == Method::GetParameter).then(|| Response::new(Status::SESSION_NOT_FOUND));
    link.wait();
    link.talk(&mut camera);
    assert_eq!(link.failure(), Some(Failure::SessionLost));
    assert_eq!(link.methods(), ["GET_PARAMETER"]);
}

#[test]
fn silence_is_death_unless_packets_come() {
    let mut link = playing(&mut Camera::new());
    for _ in 0..3 {
        link.wait();
        link.requests();
    }
    // The last is for a device that is only deaf in one ear: it need not keep the session until its timeout.
    assert_eq!(link.methods(), ["GET_PARAMETER", "OPTIONS", "TEARDOWN"]);
    assert_eq!(link.failure(), Some(Failure::ResponseTimeout(Method::Options)));

    // Packets on the connection, and such that only the driver sees.
    for over_tcp in [true, false] {
        let mut link = playing(&mut Camera::new());
        for _ in 0..20 {
            link.wait();
            link.requests();
            let later = Time::from_nanos(link.now.as_nanos() + 1);
            match over_tcp {
                true => link.client.handle_bytes(later, b"$\x00\x00\x01a"),
                false => link.client.handle_media(later),
            }
            link.drain();
        }
        assert_eq!(link.failure(), None);
        // The late answer to a request that was given up is nobody's.
        link.receive(b"RTSP/1.0 454 Session Not Found\r\nCSeq: 6\r\n\r\n");
        assert_eq!(link.failure(), None);
    }
}
