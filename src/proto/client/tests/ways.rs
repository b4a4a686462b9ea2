//! TCP, UDP, multicast, and from one to the other; redirects; the end.

use std::net::IpAddr;
use std::time::Duration;

use super::camera::SDP;
use super::*;
use crate::rtsp::headers::range::Range;
use crate::rtsp::headers::transport::Lower;

#[test]
fn over_tcp_packets_come_between_and_behind_responses() {
    let mut camera = Camera::new();
    camera.play = vec![
        ("Range", "npt=now-"),
        ("RTP-Info", "url=rtsp://h:8554/a/trackID=2;seq=9,url=rtsp://h:8554/a/trackID=1;seq=5;rtptime=70"),
    ];
    let mut link = Link::to("rtsp://h:8554/a");
    assert_eq!((link.endpoint.host.as_str(), link.endpoint.port), ("h", 8554));
    // A packet may precede the response to PLAY, and one of no track is nobody's.
    loop {
        let Some(request) = link.requests().pop() else { break };
        if request.method == Method::Play {
            link.receive(b"$\x00\x00\x02ab$\x09\x00\x01x");
        }
        link.receive(&camera.answer(&request));
    }
    link.receive(b"$\x01\x00\x01r$\x02\x00\x03s");
    link.receive(b"ou$\x03\x00\x00");
    assert_eq!(link.methods(), ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY"]);
    let numbers: Vec<_> = link.sent.iter().map(|request| request.headers.get("CSeq").unwrap()).collect();
    assert_eq!(numbers, ["1", "2", "3", "4", "5"]);
    assert_eq!(link.sent[2].headers.get("Transport"), Some("RTP/AVP/TCP;unicast;interleaved=0-1"));
    assert_eq!(
        (link.sent[2].uri.as_str(), link.sent[2].headers.get("Session")),
        ("rtsp://h:8554/a/trackID=1", None)
    );
    assert_eq!(link.sent[3].headers.get("Session"), Some("1234"));
    // Live: no range.
    assert_eq!((link.sent[4].uri.as_str(), link.sent[4].headers.get("Range")), ("rtsp://h:8554/a", None));
    let Event::Described { session, wanted } = &link.events[0] else { panic!("{:?}", link.events) };
    assert_eq!((session.media.len(), &wanted[..]), (2, &[0, 1][..]));
    let starts = vec![
        Start { media: 0, seq: Some(5), rtptime: Some(70) },
        Start { media: 1, seq: Some(9), rtptime: None },
    ];
    assert_eq!(
        link.events[3..],
        [
            packet(0, PacketKind::Rtp, b"ab"),
            Event::Playing { range: Range::parse("npt=now-").ok(), starts },
            packet(0, PacketKind::Rtcp, b"r"),
            packet(1, PacketKind::Rtp, b"sou"),
            packet(1, PacketKind::Rtcp, b""),
        ]
    );
}

#[test]
fn over_udp_ports_are_asked_for_and_told() {
    let mut link = Link::new(Config { transfer: Transfer::Udp, ..config("rtsp://h/a") });
    link.talk(&mut Camera::new());
    assert!(link.is_playing());
    let transports: Vec<_> =
        link.sent.iter().filter_map(|request| request.headers.get("Transport")).collect();
    assert_eq!(
        transports,
        ["RTP/AVP;unicast;client_port=6000-6001", "RTP/AVP;unicast;client_port=6002-6003"]
    );
    let carrier = Carrier::Unicast { server_port: Some(Pair::new(20_000, 20_001)), source: None };
    assert_eq!(link.carriers(), [(0, carrier), (1, carrier)]);
}

#[test]
fn a_group_is_taken_from_the_grant_or_else_from_the_description() {
    let group = |address: &str, port, source: Option<&str>| {
        let address: IpAddr = address.parse().unwrap();
        let source = source.map(|source| source.parse().unwrap());
        Carrier::Group { address, port: Pair::new(port, port + 1), source }
    };
    let mut camera = Camera::new();
    camera.sdp = SDP
        .replace("m=video 0", "c=IN IP4 239.1.1.1/16\r\nm=video 5000")
        .replace("m=audio 0", "m=audio 5002");
    let mut link = Link::new(Config { transfer: Transfer::Multicast, ..config("rtsp://h/a") });
    link.talk(&mut camera);
    assert_eq!(link.sent[2].headers.get("Transport"), Some("RTP/AVP;multicast"));
    assert_eq!(link.carriers(), [(0, group("239.1.1.1", 5_000, None)), (1, group("239.1.1.1", 5_002, None))]);

    camera.special = |request| {
        let grant = "RTP/AVP;multicast;destination=ff3e::1;source=10.0.0.9;port=7000-7001;ttl=4";
        let response = Response::new(Status::OK).header("Session", "1234").header("Transport", grant);
        (request.method == Method::Setup).then_some(response)
    };
    let mut link = Link::new(Config { transfer: Transfer::Multicast, ..config("rtsp://h/a") });
    link.talk(&mut camera);
    assert_eq!(link.carriers()[0], (0, group("ff3e::1", 7_000, Some("10.0.0.9"))));
    assert!(link.is_playing());

    // Without a group anywhere there is no multicast.
    let mut link = Link::new(Config { transfer: Transfer::Multicast, ..config("rtsp://h/a") });
    link.talk(&mut Camera::new());
    assert_eq!(link.events[1..], [Event::TransferRefused { tried: Transfer::Multicast }]);
}

#[test]
fn a_refused_transfer_goes_on_with_another_on_the_same_connection() {
    let mut camera = Camera::new();
    camera.lower = Some(Lower::Tcp);
    let mut link = Link::new(Config { transfer: Transfer::Udp, ..config("rtsp://h/a") });
    link.talk(&mut camera);
    assert_eq!(link.events[1..], [Event::TransferRefused { tried: Transfer::Udp }]);
    assert_eq!(link.client.poll_timeout(), None);
    link.client.set_transfer(link.now, Transfer::Tcp);
    link.talk(&mut camera);
    assert!(link.is_playing());
    assert_eq!((link.connections, link.carriers().len()), (1, 2));
}

#[test]
fn a_change_while_playing_tears_down_and_begins_on_a_new_connection() {
    let mut camera = Camera::new();
    let mut link = Link::new(Config { transfer: Transfer::Udp, ..config("rtsp://h/a") });
    link.talk(&mut camera);
    link.events.clear();
    link.client.set_transfer(link.now, Transfer::Tcp);
    link.talk(&mut camera);
    assert_eq!(link.methods()[5..], ["TEARDOWN", "OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY"]);
    assert_eq!(link.sent[6].headers.get("Session"), None);
    assert!(link.is_playing() && link.connections == 2);
    assert_eq!(link.carriers()[1].1, Carrier::Interleaved(Pair::new(2, 3)));
}

#[test]
fn one_refused_track_does_not_hinder_the_other() {
    let mut camera = Camera::new();
    camera.special = |request| request.uri.ends_with('1').then(|| Response::new(Status::NOT_FOUND));
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut camera);
    assert!(link.events.contains(&Event::TrackRefused { media: 0, status: Status::NOT_FOUND }));
    assert!(link.is_playing() && link.carriers().len() == 1);

    // Also when it is the transport that the other one has.
    camera.special =
        |request| request.uri.ends_with('2').then(|| Response::new(Status::UNSUPPORTED_TRANSPORT));
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut camera);
    assert!(link.is_playing() && link.carriers().len() == 1);

    camera.special =
        |request| (request.method == Method::Setup).then(|| Response::new(Status::NOT_ENOUGH_BANDWIDTH));
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut camera);
    let refused = Failure::Refused { method: Method::Setup, status: Status::NOT_ENOUGH_BANDWIDTH };
    assert_eq!(link.failure(), Some(refused));
}

#[test]
fn a_session_keeps_its_first_name() {
    let mut camera = Camera::new();
    camera.special = |request| {
        let other = Response::new(Status::OK).header("Session", "other;timeout=2");
        request.uri.ends_with('2').then_some(other)
    };
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut camera);
    assert_eq!(link.request(Method::Play).headers.get("Session"), Some("1234"));
    let start = link.now;
    link.wait();
    assert_eq!(link.now.since(start), Duration::from_secs(55));
}

#[test]
fn a_redirect_leads_to_another_server_with_a_new_connection() {
    let mut camera = Camera::new();
    camera.special = |request| {
        let moved = Response::new(Status::MOVED_TEMPORARILY).header("Location", "rtsps://[::1]:8322/b");
        (request.uri == "rtsp://h/a" && request.method == Method::Describe).then_some(moved)
    };
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut camera);
    assert_eq!(link.connections, 2);
    let endpoint = Endpoint { scheme: Scheme::Rtsps, host: "::1".into(), port: 8322 };
    assert_eq!(link.endpoint, endpoint);
    assert_eq!(link.client.url().to_string(), "rtsps://[::1]:8322/b");
    assert_eq!(link.request(Method::Play).uri, "rtsps://[::1]:8322/b");
    assert!(link.is_playing());

    // A server may send its client away later, too.
    link.receive(b"REDIRECT * RTSP/1.0\r\nCSeq: 9\r\nLocation: rtsp://c/d\r\n\r\n");
    link.talk(&mut camera);
    assert_eq!((link.answers[0].status, link.connections), (Status::OK, 3));
    assert_eq!(link.request(Method::Teardown).uri, "rtsps://[::1]:8322/b");
    assert_eq!(link.request(Method::Play).uri, "rtsp://c/d");
}

#[test]
fn redirects_without_end_or_aim_fail() {
    let mut camera = Camera::new();
    camera.special =
        |request| Some(Response::new(Status(301)).header("Location", format!("{}x", request.uri)));
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut camera);
    assert_eq!((link.failure(), link.connections), (Some(Failure::TooManyRedirects), 6));
    for location in [None, Some("http://h/"), Some("rtsp://:x/")] {
        let mut link = Link::to("rtsp://h/a");
        let mut response = reply(&link.requests()[0], Status(302));
        location.iter().for_each(|location| response.headers.push("Location", *location));
        link.receive(&response.to_bytes());
        assert_eq!(link.failure(), Some(Failure::Redirect), "{location:?}");
    }
}

#[test]
fn a_recording_is_played_from_its_beginning_or_from_where_it_is_asked() {
    let mut camera = Camera::new();
    camera.sdp = SDP.replace("a=control:*", "a=control:*\r\na=range:npt=0-34.4");
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut camera);
    assert_eq!(link.request(Method::Play).headers.get("Range"), Some("npt=0.000-"));
    let range = Some(Range::npt(Duration::from_secs(7), None));
    let mut link = Link::new(Config { range, ..config("rtsp://h/a") });
    link.talk(&mut camera);
    assert_eq!(link.request(Method::Play).headers.get("Range"), Some("npt=7.000-"));
}

#[test]
fn a_session_is_torn_down_with_and_without_an_answer() {
    let mut camera = Camera::new();
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut camera);
    link.client.teardown(link.now);
    link.talk(&mut camera);
    assert_eq!((link.methods().last(), link.events.last()), (Some(&"TEARDOWN"), Some(&Event::Ended)));
    assert_eq!((link.client.poll_timeout(), link.client.memory_bytes() < 256), (None, true));

    for closes in [false, true] {
        let mut link = Link::to("rtsp://h/a");
        link.talk(&mut camera);
        link.client.teardown(link.now);
        link.requests();
        if closes {
            link.close()
        } else {
            link.wait()
        }
        assert_eq!(link.events.last(), Some(&Event::Ended));
    }
    let mut link = Link::to("rtsp://h/a");
    link.client.teardown(link.now);
    link.drain();
    assert_eq!(link.events, [Event::Ended]);
}

#[test]
fn a_server_that_closes_ends_the_session_behind_its_last_packet() {
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut Camera::new());
    link.client.handle_bytes(link.now, b"$\x00\x00\x01a$\x00");
    link.close();
    let length = link.events.len();
    assert_eq!(link.events[length - 2..], [packet(0, PacketKind::Rtp, b"a"), Event::Failed(Failure::Closed)]);
    assert_eq!((link.requests().len(), link.client.poll_timeout()), (0, None));
}

#[test]
fn a_server_that_is_silent_or_refuses_fails_with_the_reason() {
    let mut client = Client::new(Time::ZERO, config("rtsp://h/a"));
    assert_eq!(client.poll_timeout(), Some(Time::from_millis(5_000)));
    client.handle_timeout(Time::from_millis(5_000));
    assert!(matches!(client.poll_event(), Some(Event::Connect(_))));
    assert_eq!(client.poll_event(), Some(Event::Failed(Failure::ConnectTimeout)));

    let mut link = Link::new(Config { response_timeout: Duration::from_secs(2), ..config("rtsp://h/a") });
    link.requests();
    link.wait();
    assert_eq!(link.now, Time::from_millis(3_000));
    assert_eq!(link.failure(), Some(Failure::ResponseTimeout(Method::Options)));

    let mut camera = Camera::new();
    camera.special = |request| (request.method == Method::Describe).then(|| Response::new(Status::NOT_FOUND));
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut camera);
    assert_eq!(link.failure().unwrap().to_string(), "the server answers DESCRIBE with 404 Not Found");
}

#[test]
fn requests_of_the_server_are_answered() {
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut Camera::new());
    for (request, status) in [
        ("OPTIONS * RTSP/1.0\r\nCSeq: 77\r\n\r\n", 200),
        ("GET_PARAMETER rtsp://h/a RTSP/1.0\r\nCSeq: 77\r\n\r\n", 200),
        ("SET_PARAMETER rtsp://h/a RTSP/1.0\r\nCSeq: 77\r\nContent-Length: 1\r\n\r\nx", 501),
        ("ANNOUNCE rtsp://h/a RTSP/1.0\r\nCSeq: 77\r\n\r\n", 501),
        ("REDIRECT rtsp://h/a RTSP/1.0\r\nCSeq: 77\r\n\r\n", 400),
        ("PING RTSP/1.0\r\nCSeq: 77\r\n\r\n", 400),
        ("OPTIONS * RTSP/1.0\r\n\r\n", 400),
    ] {
        link.receive(request.as_bytes());
        link.requests();
        let answer = link.answers.pop().unwrap();
        assert_eq!(answer.status, Status(status), "{request}");
        assert_eq!(answer.headers.get("CSeq"), request.contains("77").then_some("77"), "{request}");
    }
    link.receive(b"TEARDOWN rtsp://h/a RTSP/1.0\r\nCSeq: 78\r\n\r\n");
    assert_eq!(link.failure(), Some(Failure::SessionLost));
}
