//! What cannot be replayed, and what makes no sense.

use super::{FILM, TAG, described, open, range, server};
use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};

on_both_backends!(
    what_is_live_cannot_be_replayed;
    "ffmpeg":
    a_file_that_is_a_live_channel_cannot_be_replayed,
    words_that_make_no_sense_are_refused_and_change_nothing,
    datagrams_that_would_be_too_large_are_not_offered,
);

fn what_is_live_cannot_be_replayed(backend: Backend) {
    let server = server(backend);
    let url = server.url("/test");
    let mut client = Client::connect(server.address());
    client.require = Some(TAG);
    // The server knows the tag, whatever path is asked for.
    client.request("OPTIONS", &url, &[]).expect(200);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    for answer in [
        client.request("DESCRIBE", &url, &[]),
        client.request("SETUP", &format!("{url}/trackID=0"), &transport),
    ] {
        assert_eq!(answer.expect(551).header("Unsupported"), Some(TAG));
    }
    let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
    viewer.client.require = Some(TAG);
    let refused = viewer.client.request("PLAY", &viewer.url.clone(), &[]).expect(551);
    assert_eq!(refused.header("Unsupported"), Some(TAG));
    viewer.client.require = None;
    // Without the tag its words are none that matter to what is live.
    viewer.play(&[("Rate-Control", "no"), ("Immediate", "yes")]);
}

fn a_file_that_is_a_live_channel_cannot_be_replayed(backend: Backend) {
    let rule = "<output><url>*.mp4</url><live>1</live></output>";
    let server = Server::with(backend).media(super::folder()).xml(rule).start();
    let mut client = Client::connect(server.address());
    client.require = Some(TAG);
    let refused = client.request("DESCRIBE", &server.url(FILM), &[]).expect(551);
    assert_eq!(refused.header("Unsupported"), Some(TAG));
    client.require = Some("onvif-replay, funky-feature");
    let refused = client.request("DESCRIBE", &server.url("/long.mkv"), &[]).expect(551);
    assert_eq!(refused.header("Unsupported"), Some("funky-feature"));
    client.require = Some(TAG);
    client.request("DESCRIBE", &server.url("/long.mkv"), &[]).expect(200);
}

fn words_that_make_no_sense_are_refused_and_change_nothing(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, FILM, Over::Tcp);
    let url = viewer.description.control.clone();
    let falling = range(3.0, Some(1.0));
    let rising = range(1.0, Some(3.0));
    let refused: &[(&[(&str, &str)], u16)] = &[
        (&[("Rate-Control", "maybe")], 400),
        (&[("Immediate", "now")], 400),
        (&[("Frames", "some")], 400),
        (&[("Frames", "predicted/4000")], 400),
        (&[("Range", "clock=yesterday-")], 400),
        (&[("Range", &falling)], 457),
        (&[("Range", &rising), ("Scale", "-1.0")], 457),
        (&[("Range", "clock=20260101T000010Z-")], 457),
        (&[("Range", "clock=20251231T235959Z-"), ("Scale", "-1.0")], 457),
    ];
    for (headers, status) in refused {
        let answer = viewer.client.request("PLAY", &url, headers);
        assert_eq!(answer.status, *status, "{headers:?}: {answer:?}");
    }
    // What begins before the recording begins with it.
    let answer = viewer.play(&[("Range", "clock=19000101T000000.00Z-"), ("Rate-Control", "no")]);
    assert_eq!(answer.header("Range"), Some("clock=20260101T000000Z-"));
    viewer.receive_all(std::time::Duration::from_secs(20));
    // Times of day are for those who ask for a recording.
    let mut plain = Viewer::open(server.address(), &server.url(FILM), Over::Tcp);
    plain.client.request("PLAY", &url, &[("Range", &rising)]).expect(457);
}

fn datagrams_that_would_be_too_large_are_not_offered(backend: Backend) {
    let server = Server::with(backend).media(super::folder()).setting("mtu", 1_460).start();
    let mut viewer = described(&server, FILM, Over::Tcp);
    let control = viewer.description.media[0].control.clone();
    let over_udp = [("Transport", "RTP/AVP;unicast;client_port=40000-40001")];
    let refused = viewer.client.request("SETUP", &control, &over_udp).expect(461);
    assert!(refused.text().contains("mtu"), "{refused:?}");
    viewer.setup(0);
    viewer.play(&[("Rate-Control", "no")]);
    viewer.receive_all(std::time::Duration::from_secs(20));
}
