//! What is asked of a session that has played already: it goes on where it was, as it was to.

use std::io::Write;
use std::time::Duration;

use super::{FILM, TAG, cseq, described, folder, numbers, open, played, range, server, units};
use crate::client::rtp::Report;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::playing::rtp_info;
use crate::server::{Backend, Server, on_both_backends, scratch};

on_both_backends!(;
    "ffmpeg":
    a_track_that_is_set_up_while_it_is_paused_flows,
    what_could_not_begin_begins_when_it_can,
    an_end_stays_when_the_pace_is_another,
    an_end_of_what_was_played_without_the_words_stays,
    behind_the_end_a_pause_is_one_and_nothing_comes_twice,
    behind_a_range_it_goes_on_where_that_ends,
    a_pause_is_not_before_the_beginning,
    only_what_flows_is_told_and_what_never_would_is_refused,
    sender_reports_count_payloads_alone,
);

fn has_units(viewer: &mut Viewer, track: usize, count: usize) -> bool {
    viewer.receive_until(Duration::from_secs(10), |viewer| units(&viewer.tracks[track]).len() >= count)
}

fn a_track_that_is_set_up_while_it_is_paused_flows(backend: Backend) {
    let server = server(backend);
    let mut viewer = described(&server, FILM, Over::Tcp);
    viewer.setup(0);
    viewer.play(&[("Rate-Control", "yes")]);
    assert!(has_units(&mut viewer, 0, 10));
    viewer.pause();
    viewer.setup(1);
    let answer = viewer.play(&[("Rate-Control", "yes")]);
    assert_eq!(rtp_info(&answer).len(), 2);
    assert!(has_units(&mut viewer, 1, 10), "no sound");
    assert!(has_units(&mut viewer, 0, 20));
    assert!(!units(&viewer.tracks[0]).last().unwrap().terminal, "it went on in the middle");
}

fn what_could_not_begin_begins_when_it_can(backend: Backend) {
    let media = scratch("replay-restored");
    let path = media.join("film.mp4");
    let whole = std::fs::read(folder().join(&FILM[1..])).unwrap();
    std::fs::write(&path, &whole).unwrap();
    let server = Server::with(backend).media(&media).start();
    let mut viewer = open(&server, FILM, Over::Tcp);
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(2_000).unwrap();
    let url = viewer.description.control.clone();
    let refused =
        viewer.client.request("PLAY", &url, &[("Range", &range(2.0, Some(3.0))), ("Rate-Control", "yes")]);
    assert_ne!(refused.status, 200, "{refused:?}");
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all(&whole).unwrap();
    let (answer, pictures) = played(&mut viewer, &[("Rate-Control", "yes")]);
    assert_eq!(answer.header("Range"), Some("clock=20260101T000002Z-20260101T000003Z"));
    assert!(rtp_info(&answer).iter().all(|(_, sequence, _)| sequence.is_some()), "{answer:?}");
    let mut got = numbers(&pictures);
    got.sort_unstable();
    assert_eq!(got, (50..75).collect::<Vec<_>>());
}

fn an_end_stays_when_the_pace_is_another(backend: Backend) {
    let server = server(backend);
    for is_paused in [true, false] {
        for headers in [[("Rate-Control", "no")], [("Scale", "2.0")]] {
            let mut viewer = open(&server, FILM, Over::Tcp);
            viewer.play(&[("Range", &range(0.0, Some(3.0))), ("Rate-Control", "yes")]);
            assert!(has_units(&mut viewer, 0, 10));
            if is_paused {
                viewer.pause();
            }
            let (answer, pictures) = played(&mut viewer, &headers);
            let told = answer.header("Range").unwrap();
            assert!(told.ends_with("-20260101T000003Z"), "{headers:?}: {told}");
            let last =
                pictures.iter().filter(|unit| unit.cseq == cseq(&answer)).map(|unit| unit.number).max();
            assert_eq!(last, Some(74), "{headers:?}");
        }
    }
    // In the other direction it would be no end.
    let mut viewer = open(&server, FILM, Over::Tcp);
    viewer.play(&[("Range", &range(1.0, Some(3.0))), ("Rate-Control", "yes")]);
    assert!(has_units(&mut viewer, 0, 10));
    viewer.pause();
    let (answer, pictures) = played(&mut viewer, &[("Rate-Control", "no"), ("Scale", "-1.0")]);
    assert!(answer.header("Range").unwrap().ends_with('-'), "{answer:?}");
    assert!(numbers(&pictures).contains(&0));
}

fn an_end_of_what_was_played_without_the_words_stays(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILM), Over::Tcp);
    viewer.play(&[("Range", "npt=0-2")]);
    viewer.receive(Duration::from_millis(300));
    viewer.pause();
    let answer = viewer.play(&[("Rate-Control", "no")]);
    assert!(answer.header("Range").unwrap().ends_with("-20260101T000002Z"), "{answer:?}");
    viewer.receive_all(Duration::from_secs(20));
    let last = viewer.tracks[0].packets.iter().filter_map(super::said).map(|unit| unit.number).max();
    assert_eq!(last, Some(49));
}

fn behind_the_end_a_pause_is_one_and_nothing_comes_twice(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        for (asked, scale, end) in [
            (range(3.0, None), "1.0", "clock=20260101T000004"),
            (range(1.0, Some(2.0)), "1.0", "clock=20260101T000002"),
            (range(2.0, None), "-1.0", "clock=20260101T000000Z"),
            (range(3.0, Some(2.0)), "-1.0", "clock=20260101T000002Z"),
        ] {
            let mut viewer = open(&server, FILM, over);
            let headers = [("Rate-Control", "no"), ("Scale", scale)];
            let (_, pictures) = played(&mut viewer, &[("Range", &*asked), headers[0], headers[1]]);
            assert!(!pictures.is_empty());
            let told = viewer.pause();
            assert!(told.header("Range").is_some_and(|range| range.starts_with(end)), "{asked}: {told:?}");
            let (answer, more) = played(&mut viewer, &headers);
            assert!(answer.header("Range").unwrap().starts_with(end), "{asked}: {answer:?}");
            assert!(more.is_empty(), "{over:?} {asked}: {more:?}");
            // Another range is played all the same.
            let (_, more) = played(&mut viewer, &[("Range", "npt=3-"), ("Rate-Control", "no")]);
            assert_eq!(more.len(), 25);
        }
    }
}

fn behind_a_range_it_goes_on_where_that_ends(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, FILM, Over::Tcp);
    played(&mut viewer, &[("Range", &range(1.0, Some(2.0))), ("Rate-Control", "no")]);
    let (answer, pictures) = played(&mut viewer, &[("Rate-Control", "no")]);
    assert_eq!(answer.header("Range"), Some("clock=20260101T000002Z-"));
    let mut got = numbers(&pictures);
    got.sort_unstable();
    assert_eq!(got, (50..100).collect::<Vec<_>>());
    // And behind the end of all it begins anew.
    let (answer, pictures) = played(&mut viewer, &[("Rate-Control", "no")]);
    assert_eq!((answer.header("Range"), pictures.len()), (Some("clock=20260101T000000Z-"), 100));
}

fn a_pause_is_not_before_the_beginning(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, FILM, Over::Tcp);
    let control = viewer.description.control.clone();
    viewer.client.ask("PLAY", &control, &[("Range", &range(3.0, None)), ("Rate-Control", "yes")]);
    viewer.client.ask("PAUSE", &control, &[]);
    let answer = viewer.client.response().expect(200);
    assert_eq!(answer.header("Range"), Some("clock=20260101T000003Z-"));
    let paused = viewer.client.response().expect(200);
    assert!(paused.header("Range").is_some_and(|it| it.starts_with("clock=20260101T000003")), "{paused:?}");
}

fn only_what_flows_is_told_and_what_never_would_is_refused(backend: Backend) {
    let server = Server::with(backend).media(folder()).setting("metadata", 1).start();
    let mut viewer = open(&server, FILM, Over::Tcp);
    let answer = viewer.play(&[("Range", "npt=4-"), ("Rate-Control", "no"), ("Scale", "-1.0")]);
    assert_eq!(rtp_info(&answer).len(), 1, "{answer:?}");
    viewer.receive_all(Duration::from_secs(20));
    let answer = viewer.play(&[("Range", "npt=0-"), ("Rate-Control", "no")]);
    assert_eq!(rtp_info(&answer).len(), 2, "{answer:?}");
    // Sound in reverse is of no use to anybody, so there is nothing to play.
    let mut viewer = described(&server, FILM, Over::Tcp);
    viewer.setup(1);
    let url = viewer.description.control.clone();
    viewer.client.request("PLAY", &url, &[("Scale", "-1.0"), ("Rate-Control", "no")]).expect(457);
    viewer.play(&[("Range", "npt=3-"), ("Rate-Control", "no")]);
    viewer.receive_all(Duration::from_secs(20));
    // What is said of a playing is no part of a recording, whether the tag comes with each request or not.
    let plain = Viewer::describe(server.address(), &server.url(FILM), Over::Tcp);
    let metadata = plain.description.media[2].control.clone();
    let mut viewer = described(&server, FILM, Over::Tcp);
    viewer.setup(0);
    viewer.client.require = None;
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=4-5")];
    viewer.client.request("SETUP", &metadata, &transport).expect(404);
    let mut viewer = plain.set_up();
    viewer.client.require = Some(TAG);
    let answer = viewer.play(&[("Rate-Control", "no")]);
    assert_eq!(rtp_info(&answer).len(), 2, "{answer:?}");
}

fn sender_reports_count_payloads_alone(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, FILM, over);
        played(&mut viewer, &[("Rate-Control", "no")]);
        let track = &viewer.tracks[0];
        let count = track.reports.iter().rev().find_map(|(_, report)| match report {
            Report::Sender { packets, octets, .. } => Some((*packets as usize, *octets as usize)),
            _ => None,
        });
        let payloads = track.packets.iter().map(|packet| packet.payload.len()).sum();
        assert_eq!(count, Some((track.packets.len(), payloads)), "{over:?}");
    }
}
