//! Clients that ask for what makes no sense, in an order that makes none: what they hear is an answer, and the session goes
//! on as if they had not.

use std::time::Duration;

use super::{FILM, JPEG, TAG, cseq, decoded, numbers, open, played, server, units};
use crate::client::Client;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::server::{Backend, on_both_backends};

on_both_backends!(;
    "ffmpeg":
    absurd_words_in_the_middle_of_playing,
    requests_in_states_that_do_not_know_them,
    many_jumps_at_once_in_both_directions,
    a_pause_in_reverse_survives_signs_of_life,
);

const BACKWARD: [(&str, &str); 2] = [("Scale", "-1.0"), ("Rate-Control", "no")];

/// All of the film forward, so that it is seen that the session still is one.
#[track_caller]
fn check_whole(viewer: &mut Viewer) {
    let (answer, pictures) = played(viewer, &[("Range", "npt=0-"), ("Rate-Control", "no"), ("Scale", "1")]);
    let behind: Vec<_> = pictures.into_iter().filter(|unit| unit.cseq == cseq(&answer)).collect();
    assert_eq!(numbers(&behind), decoded(FILM));
}

fn absurd_words_in_the_middle_of_playing(backend: Backend) {
    let server = server(backend);
    let absurd: &[(&str, &str, u16)] = &[
        ("Scale", "NaN", 400),
        ("Scale", "inf", 400),
        ("Scale", "-inf", 400),
        ("Scale", "1e999", 400),
        ("Scale", "-0.0", 400),
        ("Scale", "", 400),
        ("Speed", "NaN", 400),
        ("Speed", "-1", 400),
        ("Frames", "intra/-1", 400),
        ("Frames", "intra/99999999999999999999999999", 400),
        ("Frames", "intra/0/0", 400),
        ("Rate-Control", "", 400),
        ("Immediate", "yes, no", 400),
        ("Range", "clock=00000000T000000Z-", 400),
        ("Range", "clock=20260230T000000Z-", 400),
        ("Range", "clock=20260101T000000.99999999999999999999999999999999999999999Z-20260101T000000Z", 457),
        ("Range", "clock=-", 400),
        ("Range", "clock=99991231T235959Z-", 457),
        ("Range", "clock=20260101T000001Z-20260101T000001Z", 457),
        ("Range", "npt=99999999999999999999999999-", 400),
        ("Range", "npt=999999999-", 457),
        ("Range", "npt=--1", 400),
        ("Range", "smpte=00:00:01:00-", 457),
    ];
    for over in BOTH {
        let mut viewer = open(&server, FILM, over);
        let url = viewer.description.control.clone();
        viewer.play(&[("Range", "npt=4-"), ("Scale", "-1.0"), ("Rate-Control", "yes")]);
        for (name, value, status) in absurd {
            let answer = viewer.client.request("PLAY", &url, &[(name, value)]);
            assert_eq!(answer.status, *status, "{name}: {value}: {answer:?}");
        }
        // Extreme, and no nonsense.
        for headers in [
            [("Frames", "intra/0"), ("Scale", "-999999999")],
            [("Frames", "intra/9999999999999999999"), ("Scale", "-0.000001")],
            [("Range", "clock=99991231T235959.999999999Z-19000101T000000Z"), ("Scale", "-1")],
            [("Frames", "predicted"), ("Speed", "999999999")],
        ] {
            let answer = viewer.client.request("PLAY", &url, &headers);
            assert_eq!(answer.status, 200, "{headers:?}: {answer:?}");
        }
        check_whole(&mut viewer);
    }
}

fn requests_in_states_that_do_not_know_them(backend: Backend) {
    let server = server(backend);
    let url = server.url(FILM);
    let mut client = Client::connect(server.address());
    client.require = Some(TAG);
    for method in ["PLAY", "PAUSE"] {
        let answer = client.request(method, &url, &BACKWARD);
        assert_eq!(answer.status, 454, "{method} without a session: {answer:?}");
    }
    client.session = Some("0123456789ABCDEF".into());
    client.request("PLAY", &url, &BACKWARD).expect(454);
    let mut viewer = open(&server, FILM, Over::Tcp);
    let control = viewer.description.control.clone();
    // Nothing has flowed, and after the end nothing does.
    viewer.client.request("PAUSE", &control, &[]).expect(200);
    played(&mut viewer, &BACKWARD);
    viewer.client.request("PAUSE", &control, &[]).expect(200);
    viewer.client.request("PLAY", &server.url(JPEG), &BACKWARD).expect(404);
    // While it plays no track is set up, and a setup changes nothing.
    viewer.play(&[("Range", "npt=4-"), ("Scale", "-1.0"), ("Rate-Control", "yes")]);
    let track = viewer.description.media[1].control.clone();
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=6-7")];
    let answer = viewer.client.request("SETUP", &track, &transport);
    assert!(matches!(answer.status, 400 | 455), "{answer:?}");
    check_whole(&mut viewer);
    viewer.teardown();
    viewer.client.request("PLAY", &control, &BACKWARD).expect(454);
}

fn many_jumps_at_once_in_both_directions(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, FILM, over);
        let control = viewer.description.control.clone();
        viewer.play(&[("Range", "npt=4-"), ("Scale", "-1.0"), ("Rate-Control", "yes")]);
        let mut asked = Vec::new();
        for (number, (from, scale)) in
            [("3.9", "-1.0"), ("0", "1.0"), ("0.04", "-1.0"), ("2", "-16"), ("3.99", "1"), ("1", "-1")]
                .into_iter()
                .cycle()
                .take(60)
                .enumerate()
        {
            let range = format!("npt={from}-");
            let control_of_rate = if number % 2 == 0 { "no" } else { "yes" };
            let headers = [
                ("Range", &*range),
                ("Scale", scale),
                ("Rate-Control", control_of_rate),
                ("Immediate", "yes"),
            ];
            let method = if number % 7 == 6 { "PAUSE" } else { "PLAY" };
            asked.push(viewer.client.ask(method, &control, &headers));
        }
        for number in asked {
            let answer = viewer.client.response().expect(200);
            assert_eq!(answer.header("CSeq"), Some(&*number.to_string()), "{over:?}");
        }
        check_whole(&mut viewer);
    }
}

fn a_pause_in_reverse_survives_signs_of_life(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, FILM, over);
        let control = viewer.description.control.clone();
        let headers = [("Scale", "-1.0"), ("Rate-Control", "yes")];
        viewer.play(&[("Range", "npt=4-"), headers[0], headers[1]]);
        viewer.receive_until(Duration::from_secs(10), |viewer| units(&viewer.tracks[0]).len() >= 30);
        viewer.pause();
        let ask = |viewer: &mut Viewer| {
            viewer.client.request("GET_PARAMETER", &control, &[]).expect(200);
            viewer.client.request("OPTIONS", &control, &[]).expect(200);
            let headers = [("Content-Type", "text/parameters"), ("Content-Length", "10")];
            viewer.client.request_with_body("GET_PARAMETER", &control, &headers, "position\r\n").expect(200)
        };
        let place = ask(&mut viewer).text();
        assert!(place.contains("npt="), "{place}");
        for _ in 0..5 {
            assert_eq!(ask(&mut viewer).text(), place, "{over:?}");
        }
        played(&mut viewer, &headers);
        let all = numbers(&units(&viewer.tracks[0]));
        let order = decoded(FILM);
        let group = |number: i64| order.iter().copied().filter(move |it| it / 25 == number);
        assert_eq!(all, (0..4).rev().flat_map(group).collect::<Vec<_>>(), "{over:?}");
    }
}
