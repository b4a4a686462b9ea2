//! What publishers say before they send (RFC 2326 sections 10.3, 10.4 and 10.11): dialogues as they are met, odd
//! descriptions, and what is asked of a stream that has not begun.

use std::time::Duration;

use crate::client::Client;
use crate::client::publisher::{Publisher, SDP, framed};
use crate::client::viewer::{BOTH, Over, Track, Viewer};
use crate::server::{Backend, Server, on_both_backends};

const PATIENCE: Duration = Duration::from_secs(10);

fn server(backend: Backend) -> Server {
    Server::with(backend).start()
}

/// The publisher of the Happytime manual, chapter 5, as it asks.
const DIALOGUE: &str = include_str!("data/rtsp/happytime_publish.txt");

/// Requests of a dialogue, each with its body.
fn requests(dialogue: &str) -> Vec<String> {
    let mut requests = Vec::new();
    let mut rest = dialogue;
    while let Some(end) = rest.find("\r\n\r\n") {
        let length = rest[..end].lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let size = end + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap());
        requests.push(rest[..size].to_owned());
        rest = &rest[size..];
    }
    assert!(rest.is_empty(), "the dialogue is whole");
    requests
}

fn the_dialogue_of_the_manual_publishes(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let mut session = String::from("41");
    for request in requests(DIALOGUE) {
        // The number of the session is the server's; all else stands as it is printed.
        client.send(request.replace("Session: 41", &format!("Session: {session}")));
        let answer = client.response().expect(200);
        assert_eq!(
            answer.header("CSeq"),
            request.split("CSeq: ").nth(1).and_then(|rest| rest.lines().next())
        );
        session = answer.session().map_or(session, str::to_owned);
        if let Some(asked) = request.split("Transport: ").nth(1) {
            let granted = answer.header("Transport").unwrap();
            let channels = asked.lines().next().unwrap().rsplit(';').next().unwrap();
            assert!(granted.contains(channels), "{granted} is granted for {asked}");
        }
    }
    let mut publisher = Publisher::of(client, &server.url("/mypusher"), Over::Tcp);
    let mut send = |sequence: u16| {
        for (channel, payload_type, payload) in [
            (0, 0x80 | 96, vec![0x65, sequence as u8]),
            (2, 0x80 | 97, vec![0, 16, 0, 16, 7, sequence as u8]),
        ] {
            let head = [&[0x80, payload_type][..], &sequence.to_be_bytes(), &[0, 0, 0, sequence as u8]];
            let packet = [&head.concat(), &[0, 0, 0, channel + 1][..], &payload].concat();
            publisher.client.send(framed(channel, &packet));
        }
    };
    send(0);
    let mut viewers = BOTH.map(|over| {
        let mut viewer = Viewer::open(server.address(), &server.url("/mypusher"), over);
        viewer.play(&[]);
        viewer
    });
    (1..10).for_each(&mut send);
    for viewer in &mut viewers {
        let text = viewer.description.text.clone();
        for wanted in ["H264/90000", "Z2QAFaw07AoDmwEQAAADABAAAAMDCPFi04A=,aO+8sA==", "/8000/2", "159056E500"]
        {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
        let is_last = |track: &Track| track.packets.last().is_some_and(|last| last.payload.ends_with(&[9]));
        let has_all = |viewer: &Viewer| viewer.tracks.iter().all(is_last);
        assert!(viewer.receive_until(PATIENCE, has_all));
        for (track, first) in viewer.tracks.iter().zip([0x65, 0]) {
            assert_eq!(track.gaps(), []);
            assert!(track.packets.iter().all(|packet| packet.payload[0] == first));
        }
    }
}

/// A description of one H.264 stream, and what is odd about it.
const ODD: &[(&str, &str)] = &[
    (
        "the manual's lines, glued and broken as its pages have them",
        "v=0\n\no=- 0 0 IN IP4 192.168.3.27\n\ns=session\nc=IN IP4 192.168.3.27\nt=0 0\na=control:*\n\
         m=video 0 RTP/AVP 96 a=rtpmap:96 H264/90000 a=fmtp:96\n\n---\n\n\
         packetization-mode=1;profile-level-id=000015;sprop-parameter-sets=Z2QAFaw07AoDmwEQ  \nAA \
         ADABAAAAMDCPFi04A=,aO+8sA==  \na=control:realvideo\n",
    ),
    (
        "no control",
        "v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n{}\r\n",
    ),
    (
        "no origin, name or time",
        "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n{}\r\na=control:trackID=0\r\n",
    ),
    ("nothing but its media", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n{}\r\na=control:a\r\n"),
    (
        "lines that end in LF",
        "v=0\no=- 1 1 IN IP4 1.2.3.4\ns=x\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n{}\na=control:v",
    ),
    (
        "addresses of version 6",
        "v=0\r\no=- 1 1 IN IP6 ::1\r\ns=x\r\nc=IN IP6 ::\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n{}\r\na=control:rtsp://[::1]:8554/odd/streamid=0\r\n",
    ),
    (
        "parameters in front of the media, a name in small letters",
        "v=0\r\ns=x\r\n{}\r\nm=video 5004/2 RTP/AVP 96\r\na=rtpmap:96 h264/90000\r\na=control:streamid=0\r\n",
    ),
    (
        "parameters with blanks and capitals",
        "v=0\r\ns=x\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96  Packetization-Mode=1; PROFILE-LEVEL-ID=42e01e ; sprop-parameter-sets= Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA== ;\r\na=control:/streamid=0\r\n",
    ),
];

const SETS: &str = "a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==";

fn odd_descriptions_are_taken_and_their_streams_watched(backend: Backend) {
    let server = server(backend);
    let url = server.url("/odd");
    for (what, sdp) in ODD {
        let (client, answer) = Publisher::announce(server.address(), &url, &sdp.replace("{}", SETS));
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let mut publisher = Publisher::of(client, &url, Over::Tcp);
        let control =
            sdp.lines().filter_map(|line| line.split("a=control:").nth(1)).find(|name| *name != "*");
        let track_url = match control.map(str::trim) {
            None => url.clone(),
            Some(whole) if whole.contains("://") => whole.to_owned(),
            Some(name) => format!("{url}/{}", name.trim_start_matches('/')),
        };
        publisher.setup_at(96, &track_url);
        publisher.client.request("RECORD", &url, &[]).expect(200);
        publisher.picture(7, true);
        let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
        viewer.play(&[]);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() == 3), "{what}");
        assert_eq!(viewer.tracks[0].packets[0].payload[2..6], [0, 0, 0, 7], "{what}");
        assert!(
            viewer.description.text.contains("sprop-parameter-sets=Z"),
            "{what}: {}",
            viewer.description.text
        );
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
    }
}

fn play_and_record_take_every_url_of_their_session_and_no_other(backend: Backend) {
    let server = server(backend);
    let url = server.url("/live/one%20camera");
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    let others = ["/live/other", "/live/one%20camera2", "/live", "/test"].map(|path| server.url(path));
    let spellings = ["", "/", "/streamid=1", "?token=1", "/?token=1"].map(|end| format!("{url}{end}"));
    let same = spellings.into_iter().chain([
        server.url("/live/one camera").replace(' ', "%20"),
        url.replace("127.0.0.1", "camera.example"),
    ]);
    let same: Vec<_> = same.collect();
    for other in &others {
        publisher.client.request("RECORD", other, &[]).expect(404);
    }
    for url in &same {
        publisher.client.request("PAUSE", url, &[]).expect(200);
        publisher.client.request("RECORD", url, &[]).expect(200);
    }
    publisher.picture(0, true);
    let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
    for other in &others {
        viewer.client.request("PLAY", other, &[]).expect(404);
    }
    for url in same.iter().chain([&format!("{url}/trackID=0")]) {
        viewer.client.request("PLAY", url, &[]).expect(200);
        viewer.client.request("PAUSE", url, &[]).expect(200);
    }
    viewer.play(&[]);
    publisher.picture(1, true);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() >= 3));
}

fn recording_that_is_asked_for_again_begins_once(backend: Backend) {
    let server = server(backend);
    let url = server.url("/live/x");
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    for _ in 0..3 {
        publisher.client.request("RECORD", &url, &[]).expect(200);
    }
    publisher.client.request("TEARDOWN", &url, &[]).expect(200);
    server.wait_for_log("session ended", PATIENCE);
    assert_eq!(server.log().matches("publishing begins").count(), 1);
}

/// A publisher whose parameter sets are to come with its stream.
fn undescribed(server: &Server, url: &str) -> Publisher {
    let sdp = SDP.replace(";sprop-parameter-sets=Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==", "");
    let (client, answer) = Publisher::announce(server.address(), url, &sdp);
    answer.expect(200);
    let mut publisher = Publisher::of(client, url, Over::Tcp);
    publisher.setup(96);
    publisher.setup(8);
    publisher
}

fn whoever_asks_for_a_stream_that_does_not_begin_is_told_why(backend: Backend) {
    let server = Server::with(backend).setting("source_start_ms", 300).start();
    let url = server.url("/live/x");
    let ask = || Client::connect(server.address()).request("DESCRIBE", &url, &[]);
    ask().expect(404);
    let mut publisher = undescribed(&server, &url);
    let answer = ask().expect(503);
    assert!(answer.text().contains("has not begun to send"), "{}", answer.text());
    publisher.client.request("RECORD", &url, &[]).expect(200);
    publisher.send(0, true, 0, &[0x41, 1]);
    let answer = ask().expect(503);
    assert!(answer.text().contains("sent nothing yet that could be described"), "{}", answer.text());
}

fn a_publisher_that_is_lost_undescribed_is_not_waited_for(backend: Backend) {
    // Longer than an answer is waited for here.
    let server = Server::with(backend).setting("source_start_ms", 30_000).start();
    let url = server.url("/live/x");
    let mut publisher = undescribed(&server, &url);
    publisher.client.request("RECORD", &url, &[]).expect(200);
    let mut early = Client::connect(server.address());
    early.ask("DESCRIBE", &url, &[]);
    assert_eq!(early.next(Duration::from_millis(300)), None, "the publisher may still say it");
    drop(publisher);
    let answers = [early.response(), Client::connect(server.address()).request("DESCRIBE", &url, &[])];
    for answer in answers {
        assert!(answer.expect(503).text().contains("lost"));
    }
    // It comes back within its time and is watched.
    let mut publisher = undescribed(&server, &url);
    publisher.client.request("RECORD", &url, &[]).expect(200);
    for (payload, marker) in [(&[0x67, 0x42, 0, 0x29][..], false), (&[0x68, 0xce], false), (&[0x65, 1], true)]
    {
        publisher.send(0, marker, 0, payload);
    }
    Client::connect(server.address()).request("DESCRIBE", &url, &[]).expect(200);
}

fn a_stream_whose_publisher_is_lost_is_still_described(backend: Backend) {
    let server = Server::with(backend).setting("source_start_ms", 30_000).start();
    let url = server.url("/live/x");
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    publisher.picture(0, true);
    drop(publisher);
    server.wait_for_log("session ended", PATIENCE);
    let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() == 3));
    let mut publisher = Publisher::start(server.address(), &url, Over::Udp);
    publisher.picture(1, true);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() == 6));
    assert_eq!(viewer.tracks[0].gaps(), []);
}

on_both_backends!(
    the_dialogue_of_the_manual_publishes,
    odd_descriptions_are_taken_and_their_streams_watched,
    play_and_record_take_every_url_of_their_session_and_no_other,
    recording_that_is_asked_for_again_begins_once,
    whoever_asks_for_a_stream_that_does_not_begin_is_told_why,
    a_publisher_that_is_lost_undescribed_is_not_waited_for,
    a_stream_whose_publisher_is_lost_is_still_described,
);
