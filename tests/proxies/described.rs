//! What sources say of themselves: too little, wrongly, or more than pictures and sound.

use super::{PATIENCE, describe, of, pulling, see, watch};
use crate::client::pictures::pictures;
use crate::client::viewer::{BOTH, Over};
use crate::server::{Backend, on_both_backends};
use crate::upstream::camera::{Camera, Reply, Script};
use crate::upstream::sending::{Kind, metadata};

const SETS: &str = ";sprop-parameter-sets=Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==";

fn parameter_sets_are_taken_from_the_stream_before_it_is_described(backend: Backend) {
    for transfer in ["TCP", "UDP"] {
        let sdp = Script::default().sdp.replace(SETS, "");
        assert!(!sdp.contains("sprop"));
        let camera = Camera::start(Script { sdp, sends_parameter_sets: true, ..Script::default() });
        let server = of(backend, &camera, &[("transfer", transfer)]);
        let answer = describe(&server).expect(200);
        assert!(answer.text().contains("sprop-parameter-sets=Z0IAKeI=,aM48gA=="), "{}", answer.text());
        let mut viewer = watch(&server, Over::Tcp);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].units().len() > 5));
        assert_eq!(viewer.tracks[0].gaps(), []);
        assert_eq!(camera.connections(), 1);
    }
}

/// A description as cameras have written it, and the URLs that it leads to; `BASE` is the URL that was asked for.
struct Odd {
    what: &'static str,
    sdp: &'static str,
    base: Option<&'static str>,
    tracks: &'static [(Kind, u8)],
    setups: &'static [&'static str],
}

const H264: &str = "packetization-mode=1;profile-level-id=42001E;sprop-parameter-sets=Z0IAHvQCgC3I,aM48gA==";
const BOTH_TRACKS: &[(Kind, u8)] = &[(Kind::Pictures, 96), (Kind::Sound, 8)];

const ODDITIES: &[Odd] = &[
    Odd {
        what: "no control of any kind",
        sdp: "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=x\nt=0 0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 H264\n",
        base: None,
        tracks: &[(Kind::Pictures, 96)],
        setups: &["BASE"],
    },
    Odd {
        what: "neither origin nor name nor times",
        sdp: "v=0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 H264\na=control:track0\nm=audio 0 RTP/AVP 8\na=control:track1\n",
        base: Some("BASE/"),
        tracks: BOTH_TRACKS,
        setups: &["BASE/track0", "BASE/track1"],
    },
    Odd {
        what: "parameters of the pictures in the section of the sound",
        sdp: "v=0\no=- 1675628282 1675628283 IN IP4 192.168.1.123\ns=streamed by the RTSP server\nt=0 0\n\
            m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:track0\nm=audio 0 RTP/AVP 8\n\
            a=rtpmap:0 pcma/8000/1\na=control:track1\na=framerate:25\na=range:npt=now-\na=fmtp:96 H264\n",
        base: None,
        tracks: BOTH_TRACKS,
        setups: &["BASE/track0", "BASE/track1"],
    },
    Odd {
        what: "an IPv6 base that is no URL",
        sdp: "v=0\no=- 1 1 IN IP6 ::\ns=x\nt=0 0\na=control:*\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n\
            a=fmtp:96 H264\na=control:track1\nm=audio 0 RTP/AVP 8\na=control:track2\n",
        base: Some("rtsp://::ffff:192.168.1.123/onvif/profile.1/"),
        tracks: BOTH_TRACKS,
        setups: &[
            "rtsp://::ffff:192.168.1.123/onvif/profile.1/track1",
            "rtsp://::ffff:192.168.1.123/onvif/profile.1/track2",
        ],
    },
    Odd {
        what: "two schemes in one base",
        sdp: "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=x\nt=0 0\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=fmtp:96 H264\n\
            a=control:track1\n",
        base: Some("rtsp://rtsp://turret.lan:554/stream1/"),
        tracks: &[(Kind::Pictures, 96)],
        setups: &["rtsp://turret.lan:554/stream1/track1"],
    },
    Odd {
        what: "a section of no known media whose format is a word, and an origin with a number too many",
        sdp: "v=0\no=- 14665860 31787219 1 IN IP4 10.0.0.94\ns=Session streamed by \"MERCURY RTSP Server\"\nt=0 0\n\
            m=video 0 RTP/AVP 96\nc=IN IP4 0.0.0.0\nb=AS:4096\na=range:npt=0-\na=control:track1\na=rtpmap:96 H264/90000\n\
            a=fmtp:96 H264\nm=audio 0 RTP/AVP 8\na=rtpmap:8 PCMA/8000\na=control:track2\n\
            m=application/MERCURY 0 RTP/AVP smart/1/90000\na=rtpmap:95 MERCURY/90000\na=control:track3\n",
        base: None,
        tracks: &[(Kind::Pictures, 96), (Kind::Sound, 8), (Kind::Metadata, 95)],
        setups: &["BASE/track1", "BASE/track2", "BASE/track3"],
    },
    Odd {
        what: "session lines in a section, and attributes that come twice",
        sdp: "v=0\no=- 91674849066 1 IN IP4 192.168.1.123\ns=RtspServer\ni=live\nt=0 0\na=control:*\na=range:npt=0-\n\
            m=video 0 RTP/AVP 96\nc=IN IP4 0.0.0.0\ns=RtspServer\ni=live\na=control:track0\na=range:npt=0-\n\
            a=rtpmap:96 H264/90000\na=fmtp:96 H264\na=control:track0\nm=audio 0 RTP/AVP 8\nc=IN IP4 0.0.0.0\n\
            a=control:track1\na=control:track1\n",
        base: Some("BASE/"),
        tracks: BOTH_TRACKS,
        setups: &["BASE/track0", "BASE/track1"],
    },
    Odd {
        what: "a charset, blanks in the parameters, and directions of the server's own view",
        sdp: "v=0\no=CV-RTSPHandler 1123412 0 IN IP4 192.168.1.22\ns=Camera\nc=IN IP4 192.168.1.22\nt=0 0\n\
            a=charset:Shift_JIS\na=range:npt=0-\na=control:*\na=etag:1234567890\nm=video 0 RTP/AVP 99\n\
            a=rtpmap:99 H264/90000\na=fmtp:99 profile-level-id=42A01E; packetization-mode=1; sprop-parameter-sets=Z0IAHvQCgC3I,aM48gA==;\n\
            a=control:trackID=1\na=sendonly\nm=audio 0 RTP/AVP 8\na=control:trackID=2\na=sendonly\n",
        base: None,
        tracks: &[(Kind::Pictures, 99), (Kind::Sound, 8)],
        setups: &["BASE/trackID=1", "BASE/trackID=2"],
    },
    Odd {
        what: "control URLs with a query of their own",
        sdp: "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=x\nt=0 0\na=control:*\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\n\
            a=fmtp:96 H264\na=control:rtsp://other.lan/axis-media/media.amp/stream=0?videocodec=h264&x=1\n",
        base: None,
        tracks: &[(Kind::Pictures, 96)],
        setups: &["rtsp://other.lan/axis-media/media.amp/stream=0?videocodec=h264&x=1"],
    },
];

fn descriptions_as_cameras_write_them_are_understood(backend: Backend) {
    for odd in ODDITIES {
        let Odd { what, sdp, base, tracks, setups } = *odd;
        let sdp = sdp.replace("a=fmtp:96 H264", &format!("a=fmtp:96 {H264}"));
        // The camera does not know its port before it listens.
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], crate::server::free_ports()));
        let asked = format!("rtsp://{address}/stream");
        let base = base.map(|base| base.replace("BASE", &asked));
        let camera =
            Camera::start_at(address, Script { sdp, base, tracks: tracks.into(), ..Script::default() });
        let server = of(backend, &camera, &[]);
        let answer = describe(&server);
        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
        let mut viewer = watch(&server, Over::Tcp);
        assert_eq!(viewer.tracks.len(), tracks.len(), "{what}: {}", answer.text());
        assert!(viewer.receive_until(PATIENCE, |viewer| pictures(viewer).len() > 5), "{what}");
        let urls: Vec<_> = camera.asked("SETUP").into_iter().map(|request| request.url).collect();
        let expected: Vec<_> = setups.iter().map(|url| url.replace("BASE", &asked)).collect();
        assert_eq!(urls, expected, "{what}");
    }
}

fn a_description_of_nothing_is_told_of(backend: Backend) {
    for (sdp, reason) in [
        ("v=0\r\ns=x\r\nt=0 0\r\n", "no track"),
        ("<html>Not found</html>", ""),
        ("", ""),
        ("v=0\r\ns=x\r\nm=audio 0 RTP/AVP 96\r\na=rtpmap:96 x/0\r\na=control:1\r\n", ""),
    ] {
        let camera = Camera::start(Script { sdp: sdp.into(), tracks: Vec::new(), ..Script::default() });
        let server = pulling(backend, &camera.url(), &[]).setting("source_start_ms", 2_000).start();
        let answer = describe(&server).expect(503);
        assert!(answer.text().contains(reason) && answer.text().len() > 10, "{sdp:?}: {}", answer.text());
    }
}

fn what_a_source_answers_is_the_reason(backend: Backend) {
    for status in [404, 403, 500, 400] {
        let camera = Camera::start(Script::answering(move |request| match request.method.as_str() {
            "DESCRIBE" => Reply::With(status, String::new()),
            _ => Reply::Usual,
        }));
        let server = of(backend, &camera, &[]);
        let answer = describe(&server).expect(503);
        assert!(answer.text().contains(&format!("answers DESCRIBE with {status}")), "{}", answer.text());
    }
}

const WITH_METADATA: &str = "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n\
    a=control:streamid=2\r\n";

fn metadata_comes_along(backend: Backend) {
    for transfer in ["TCP", "UDP"] {
        let sdp = Script::default().sdp + WITH_METADATA;
        let tracks = vec![(Kind::Pictures, 96), (Kind::Sound, 8), (Kind::Metadata, 107)];
        let camera = Camera::start(Script { sdp, tracks, ..Script::default() });
        let server = of(backend, &camera, &[("transfer", transfer)]);
        for over in BOTH {
            let mut viewer = watch(&server, over);
            assert_eq!(viewer.tracks[2].media.kind, "application");
            assert_eq!(viewer.tracks[2].media.encoding(), "VND.ONVIF.METADATA");
            assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[2].packets.len() >= 20));
            see(&mut viewer, 10);
            let documents = &viewer.tracks[2].packets;
            let first = pictures(&viewer)[0];
            // It may begin with what was said before the picture.
            let is_document = |number| documents.iter().any(|packet| packet.payload == metadata(number));
            assert!((first..first + 10).all(is_document), "{transfer} {over:?}");
            assert!(documents.iter().all(|packet| packet.marker));
        }
    }
}

fn a_track_that_is_refused_is_done_without(backend: Backend) {
    let camera = Camera::start(Script::answering(|request| match request.method.as_str() {
        "SETUP" if request.url.ends_with("streamid=1") => Reply::With(403, String::new()),
        _ => Reply::Usual,
    }));
    let server = of(backend, &camera, &[]);
    let mut viewer = watch(&server, Over::Tcp);
    assert_eq!(viewer.tracks.len(), 1);
    assert!(viewer.receive_until(PATIENCE, |viewer| pictures(viewer).len() > 10));
}

on_both_backends!(
    parameter_sets_are_taken_from_the_stream_before_it_is_described,
    descriptions_as_cameras_write_them_are_understood,
    a_description_of_nothing_is_told_of,
    what_a_source_answers_is_the_reason,
    metadata_comes_along,
    a_track_that_is_refused_is_done_without,
);
