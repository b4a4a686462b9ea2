//! Descriptions and responses as odd devices send them.

use super::camera::SDP;
use super::*;

/// The URLs of SETUP and PLAY.
fn urls(url: &str, base: Option<&'static str>, sdp: &str) -> Vec<String> {
    let mut link = Link::to(url);
    link.talk(&mut Camera { sdp: sdp.to_owned(), base, ..Camera::new() });
    assert!(link.is_playing(), "{:?}", link.failure());
    link.sent[2..].iter().map(|request| request.uri.clone()).collect()
}

fn one(session: &str, media: &str) -> String {
    format!("v=0\r\ns=x\r\n{session}m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n{media}")
}

#[test]
fn control_urls_of_every_style_are_found() {
    let cases = [
        // FFmpeg, live555 and most others.
        (
            Some("rtsp://h/a/"),
            one("a=control:*\r\n", "a=control:trackID=1\r\n"),
            "rtsp://h/a/trackID=1",
            "rtsp://h/a/",
        ),
        // No base, no control: one media is the presentation.
        (None, one("", ""), "rtsp://h/a", "rtsp://h/a"),
        // Axis: absolute, behind the path and before the query, the aggregate as well.
        (
            Some("rtsp://h/axis-media/media.amp/"),
            one(
                "a=control:rtsp://h/axis-media/media.amp?videocodec=h264\r\n",
                "a=control:rtsp://h/axis-media/media.amp/trackID=1?videocodec=h264\r\n",
            ),
            "rtsp://h/axis-media/media.amp/trackID=1?videocodec=h264",
            "rtsp://h/axis-media/media.amp?videocodec=h264",
        ),
        // Hikvision: a base with the user in it, an absolute control URL of an inner address.
        (
            Some("rtsp://admin:12345@h:554/Streaming/Channels/101/"),
            one("", "a=control:rtsp://admin:12345@10.0.0.2:554/Streaming/Channels/101/trackID=1\r\n"),
            "rtsp://10.0.0.2:554/Streaming/Channels/101/trackID=1",
            "rtsp://h:554/Streaming/Channels/101/",
        ),
        // A query in the base, and one alone in the control attribute.
        (Some("rtsp://h/a?x=1"), one("", "a=control:track1\r\n"), "rtsp://h/a?x=1/track1", "rtsp://h/a?x=1"),
        (
            Some("rtsp://h/a/"),
            one("", "a=control:?ctype=video\r\n"),
            "rtsp://h/a/?ctype=video",
            "rtsp://h/a/",
        ),
        // An address without its brackets, a scheme twice, blanks.
        (
            Some("rtsp://::ffff:10.0.0.2/onvif/profile.1/"),
            one("", "a=control:track 1\r\n"),
            "rtsp://::ffff:10.0.0.2/onvif/profile.1/track%201",
            "rtsp://::ffff:10.0.0.2/onvif/profile.1/",
        ),
        (Some("rtsp://rtsp://h:554/s/"), one("", "a=control:1\r\n"), "rtsp://h:554/s/1", "rtsp://h:554/s/"),
        // A base that is a path, and such that are nothing.
        (Some("/b/"), one("", "a=control:1\r\n"), "rtsp://h/b/1", "rtsp://h/b/"),
        (Some("http://h/b/"), one("", "a=control:1\r\n"), "rtsp://h/a/1", "rtsp://h/a"),
        (Some(" "), one("", "a=control:/1\r\n"), "rtsp://h/a/1", "rtsp://h/a"),
    ];
    for (base, sdp, track, aggregate) in cases {
        assert_eq!(urls("rtsp://u:p@h/a", base, &sdp), [track, aggregate]);
    }
    let got = urls("rtsp://[fe80::1%25eth0]:8554/a?x=1", None, SDP);
    let base = "rtsp://[fe80::1%25eth0]:8554/a?x=1";
    assert_eq!(got, [format!("{base}/trackID=1"), format!("{base}/trackID=2"), base.to_owned()]);
}

#[test]
fn only_the_wanted_kinds_are_set_up() {
    let kinds = Kinds { audio: false, ..Kinds::ALL };
    let mut link = Link::new(Config { kinds, ..config("rtsp://h/a") });
    link.talk(&mut Camera::new());
    assert_eq!(link.carriers(), [(0, Carrier::Interleaved(Pair::new(0, 1)))]);
    let kinds = Kinds { audio: false, video: false, application: true };
    let mut link = Link::new(Config { kinds, ..config("rtsp://h/a") });
    link.talk(&mut Camera::new());
    assert_eq!(link.failure(), Some(Failure::NoTrack));
}

#[test]
fn the_backchannel_is_asked_for_by_its_tag_and_done_without() {
    let sdp = format!("{SDP}m=audio 0 RTP/AVP 0\r\na=control:back\r\na=sendonly\r\n");
    let mut link = Link::new(Config { backchannel: true, ..config("rtsp://h/a") });
    link.talk(&mut Camera { sdp: sdp.clone(), ..Camera::new() });
    assert_eq!(link.carriers().len(), 3);
    let tagged = link.sent.iter().filter(|request| request.headers.get("Require").is_some()).count();
    assert_eq!(tagged, 5, "all but OPTIONS");

    // A device that shows it unasked, and one that refuses.
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut Camera { sdp, ..Camera::new() });
    assert_eq!(link.carriers().len(), 2);
    let mut camera = Camera::new();
    camera.special =
        |request| request.headers.get("Require").map(|_| Response::new(Status::OPTION_NOT_SUPPORTED));
    let mut link = Link::new(Config { backchannel: true, ..config("rtsp://h/a") });
    link.talk(&mut camera);
    assert!(link.is_playing());

    // Servers that mark all they send.
    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut Camera { sdp: SDP.replace("a=control:*", "a=control:*\r\na=sendonly"), ..Camera::new() });
    assert_eq!(link.carriers().len(), 2);
}

#[test]
fn a_backchannel_alone_is_described_first_and_set_up_when_that_is_wanted() {
    let sdp = format!("{SDP}m=audio 0 RTP/AVP 0\r\na=control:back\r\na=sendonly\r\n");
    let alone = || Config { backchannel: true, kinds: Kinds::NONE, holds: true, ..config("rtsp://h/a") };
    let mut camera = Camera { sdp: sdp.clone(), ..Camera::new() };
    let mut link = Link::new(alone());
    link.talk(&mut camera);
    assert_eq!(link.methods(), ["OPTIONS", "DESCRIBE"]);
    assert!(matches!(&link.events[..], [Event::Described { wanted, .. }] if wanted == &[2]));
    assert_eq!(link.client.poll_timeout(), None);
    link.client.set_up(link.now);
    link.talk(&mut camera);
    assert_eq!(link.methods()[2..], ["SETUP", "PLAY"]);
    assert_eq!(link.carriers(), [(2, Carrier::Interleaved(Pair::new(0, 1)))]);

    // Wanted before there was a description; then left before anything was set up.
    let mut link = Link::new(alone());
    link.client.set_up(link.now);
    link.talk(&mut camera);
    assert!(link.is_playing());
    let mut link = Link::new(alone());
    link.talk(&mut camera);
    link.client.teardown(link.now);
    link.drain();
    assert_eq!((link.methods().len(), link.events.last()), (2, Some(&Event::Ended)));

    // Nothing is left to ask for where the tag is refused, or nothing is behind it.
    let mut link = Link::new(alone());
    camera.special =
        |request| request.headers.get("Require").map(|_| Response::new(Status::OPTION_NOT_SUPPORTED));
    link.talk(&mut camera);
    let (method, status) = (Method::Describe, Status::OPTION_NOT_SUPPORTED);
    assert_eq!(link.failure(), Some(Failure::Refused { method, status }));
    let mut link = Link::new(alone());
    link.talk(&mut Camera::new());
    assert_eq!(link.failure(), Some(Failure::NoTrack));
}

#[test]
fn channels_are_those_of_the_server_unless_they_are_anothers() {
    type Grant = fn(usize) -> &'static str;
    let cases: [(Grant, [Pair<u8>; 2]); 4] = [
        (|_| "RTP/AVP/TCP;interleaved=4-5", [Pair::new(4, 5), Pair::new(2, 3)]),
        (
            |track| ["RTP/AVP/TCP;interleaved=9", "RTP/AVP/TCP;interleaved=8"][track],
            [Pair { rtp: 9, rtcp: None }, Pair { rtp: 8, rtcp: None }],
        ),
        (|_| "RTP/AVP/TCP;unicast", [Pair::new(0, 1), Pair::new(2, 3)]),
        (|_| "", [Pair::new(0, 1), Pair::new(2, 3)]),
    ];
    for (grant, expected) in cases {
        let mut camera = Camera::new();
        let mut link = Link::to("rtsp://h/a");
        loop {
            let Some(request) = link.requests().pop() else { break };
            let answer = if request.method == Method::Setup {
                let track = usize::from(request.uri.ends_with('2'));
                let ok =
                    reply(&request, Status::OK).header("Session", "1234").header("Transport", grant(track));
                ok.to_bytes().to_vec()
            } else {
                camera.answer(&request)
            };
            link.receive(&answer);
        }
        let channels = expected.map(Carrier::Interleaved);
        assert_eq!(link.carriers(), [(0, channels[0]), (1, channels[1])]);
    }
}

#[test]
fn responses_that_are_odd_are_taken_and_such_to_nothing_are_not() {
    let mut camera = Camera::new();
    let mut link = Link::to("rtsp://h/a");
    // Neither a number of no request nor a provisional response.
    link.receive(b"RTSP/1.0 404 Not Found\r\nCSeq: 99\r\n\r\nRTSP/1.0 100 Continue\r\nCSeq: 1\r\n\r\n");
    assert_eq!(link.requests().len(), 1);
    // No number, a line that is no header, ends of lines without carriage return; and twice.
    link.receive(b"RTSP/1.0 200 OK\nthis is no header\n\n");
    link.receive(b"RTSP/1.0 404 Not Found\r\nCSeq: 1\r\n\r\n");
    link.talk(&mut camera);
    assert!(link.is_playing(), "{:?}", link.failure());
    assert_eq!(link.answers, [], "nothing was taken for a request");
}

#[test]
fn entries_of_rtp_info_are_found_by_path_end_and_order() {
    for info in [
        "url=rtsp://10.0.0.2:554/a/trackID=2/;seq=2;rtptime=20,url=rtsp://10.0.0.2:554/a/trackID=1/;seq=1;rtptime=10",
        "url=trackID=2;seq=2;rtptime=20, url=trackID=1;seq=1;rtptime=10",
        "url=rtsp://h/x;seq=1;rtptime=10,url=rtsp://h/y;seq=2;rtptime=20",
    ] {
        let mut link = Link::to("rtsp://h/a");
        link.talk(&mut Camera { play: vec![("RTP-Info", info)], ..Camera::new() });
        let start = |media: usize, seq, rtptime| Start { media, seq: Some(seq), rtptime: Some(rtptime) };
        let starts = vec![start(0, 1, 10), start(1, 2, 20)];
        assert_eq!(link.events.last(), Some(&Event::Playing { range: None, starts }), "{info}");
    }
}

#[test]
fn a_server_of_another_mind_is_left() {
    type Sent = fn(&mut Link, &Request);
    let cases: [(Sent, &str); 6] = [
        (|link, _| link.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ""),
        (|link, _| link.receive(b"GET / HTTP/1.1\r\n\r\n"), "HTTP"),
        (|link, _| link.receive(b"\x16\x03\x01"), "neither an RTSP message"),
        (
            |link, describe| {
                let head = format!(
                    "RTSP/1.0 200 OK\r\nCSeq: {}\r\nContent-Length: 60000000\r\n\r\n",
                    describe.headers.get("CSeq").unwrap()
                );
                link.receive(head.as_bytes());
            },
            "body of 60000000 bytes",
        ),
        (
            |link, describe| link.receive(&reply(describe, Status::OK).body("text/html", "<p>").to_bytes()),
            "no session description",
        ),
        (
            |link, _| {
                for _ in 0..4_000 {
                    link.receive(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
                }
            },
            "does not read",
        ),
    ];
    for (send, expected) in cases {
        let mut link = Link::to("rtsp://h/a");
        let options = link.requests().remove(0);
        link.receive(&Camera::new().answer(&options));
        let describe = link.requests().remove(0);
        send(&mut link, &describe);
        let failure = link.failure().map(|failure| failure.to_string()).unwrap_or_default();
        assert!(failure.contains(expected), "{failure:?}, not {expected:?}");
        assert!(link.client.memory_bytes() < 80 * 1024);
    }
}
