//! In reverse: groups of pictures from the last to the first, each of them forward.

use super::{
    FILM, JPEG, LONG, Unit, cseq, decoded, numbers, of_type, open, played, range, server, since_start, units,
};
use crate::client::viewer::{BOTH, Over};
use crate::server::{Backend, on_both_backends};
use std::time::Duration;

on_both_backends!(;
    "ffmpeg":
    groups_come_from_the_last_to_the_first,
    all_of_it_ends_with_its_first_group,
    it_begins_with_the_picture_that_was_asked_for,
    timestamps_fall_within_a_group_at_the_servers_pace,
    keyframes_alone,
    pictures_that_are_predicted_from_both_sides_are_left_out,
    pictures_that_stand_alone_are_groups_of_their_own,
    direction_changes_where_it_is,
    a_pause_is_none,
    a_long_recording_is_whole,
);

/// The pictures of the groups of a second each, from the last to the first, in the order in which they are decoded.
fn groups(groups: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let all = decoded(FILM);
    let of = |group: i64| all.iter().copied().filter(move |number| number / 25 == group).collect::<Vec<_>>();
    groups.into_iter().flat_map(of).collect()
}

#[track_caller]
fn check_marks(pictures: &[Unit], ends: bool) {
    let (last, others) = pictures.split_last().unwrap();
    assert!(last.terminal && last.ends == ends, "{last:?}");
    assert!(others.iter().all(|unit| !unit.terminal && !unit.ends));
    assert!(pictures.iter().all(|unit| unit.clean == unit.jumps), "each group begins with a jump");
}

fn groups_come_from_the_last_to_the_first(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, FILM, over);
        let headers = [("Range", &*range(3.0, Some(1.0))), ("Rate-Control", "no"), ("Scale", "-1.0")];
        let (answer, pictures) = played(&mut viewer, &headers);
        assert_eq!(answer.header("Range"), Some("clock=20260101T000003Z-20260101T000001Z"));
        assert_eq!((answer.header("Scale"), answer.header("Rate-Control")), (Some("-1.0"), Some("no")));
        let wanted: Vec<_> = [75].into_iter().chain(groups([2, 1])).collect();
        assert_eq!(numbers(&pictures), wanted, "{over:?}");
        check_marks(&pictures, false);
        for unit in &pictures {
            // As they would be forward.
            let since = since_start(&answer, unit);
            assert!((since + 3.0 - unit.seconds).abs() < 0.001, "{since} of {unit:?}");
            assert_eq!(unit.cseq, cseq(&answer));
        }
        assert_eq!(viewer.tracks[1].packets.len(), 0, "sound in reverse is of no use");
    }
}

fn all_of_it_ends_with_its_first_group(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        for from in ["clock=20260101T000004Z-", "clock=20270101T000000Z-", "npt=4-0", "npt=now-"] {
            let mut viewer = open(&server, FILM, over);
            let headers = [("Range", from), ("Rate-Control", "no"), ("Scale", "-1")];
            let (_, pictures) = played(&mut viewer, &headers);
            assert_eq!(numbers(&pictures), groups([3, 2, 1, 0]), "{over:?} {from}");
            check_marks(&pictures, true);
        }
    }
}

fn it_begins_with_the_picture_that_was_asked_for(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, FILM, Over::Tcp);
    for last in 40..46 {
        let from = range(last as f64 / 25.0, Some(1.0));
        let headers = [("Range", &*from), ("Rate-Control", "no"), ("Scale", "-1.0")];
        let (_, pictures) = played(&mut viewer, &headers);
        let got = numbers(&pictures);
        assert!((25..=last).all(|number| got.contains(&number)), "all up to {last}: {got:?}");
        // Beyond it only what one of them is predicted from.
        assert!(got.iter().all(|number| *number <= last + 3), "{last}: {got:?}");
        let in_order: Vec<_> = decoded(FILM).into_iter().filter(|number| got.contains(number)).collect();
        assert_eq!(got, in_order);
    }
}

fn timestamps_fall_within_a_group_at_the_servers_pace(backend: Backend) {
    let server = server(backend);
    for (scale, speed, denser) in [("-1.0", "1.0", 1.0), ("-2.0", "1.0", 2.0), ("-1.0", "2.0", 1.0)] {
        let mut viewer = open(&server, FILM, Over::Tcp);
        let headers =
            [("Range", &*range(3.0, Some(1.0))), ("Rate-Control", "yes"), ("Scale", scale), ("Speed", speed)];
        let (answer, pictures) = played(&mut viewer, &headers);
        assert_eq!((answer.header("Scale"), answer.header("Speed")), (Some(scale), Some(speed)));
        assert_eq!(pictures.len(), 51);
        for unit in &pictures {
            let since = since_start(&answer, unit);
            assert!((3.0 - since * denser - unit.seconds).abs() < 0.001, "{since} of {unit:?}");
        }
        check_marks(&pictures, false);
    }
}

fn keyframes_alone(backend: Backend) {
    let server = server(backend);
    for (frames, wanted) in [("intra", vec![75, 50, 25, 0]), ("intra/2000", vec![75, 25])] {
        for over in BOTH {
            let mut viewer = open(&server, FILM, over);
            let (_, pictures) = played(
                &mut viewer,
                &[("Range", "npt=4-"), ("Frames", frames), ("Rate-Control", "no"), ("Scale", "-1.0")],
            );
            assert_eq!(numbers(&pictures), wanted, "{frames}");
            check_marks(&pictures, true);
        }
    }
    // So fast that nothing else is sent.
    let mut viewer = open(&server, FILM, Over::Tcp);
    let (answer, pictures) = played(&mut viewer, &[("Range", "npt=4-"), ("Scale", "-8")]);
    assert_eq!((answer.header("Scale"), numbers(&pictures)), (Some("-8.0"), vec![75, 50, 25, 0]));
}

fn pictures_that_are_predicted_from_both_sides_are_left_out(backend: Backend) {
    let server = server(backend);
    let from_both = of_type(FILM, 'B');
    let mut viewer = open(&server, FILM, Over::Tcp);
    let headers = [("Range", "npt=4-"), ("Frames", "predicted"), ("Rate-Control", "no"), ("Scale", "-1.0")];
    let (_, pictures) = played(&mut viewer, &headers);
    let wanted: Vec<_> =
        groups([3, 2, 1, 0]).into_iter().filter(|number| !from_both.contains(number)).collect();
    assert_eq!(numbers(&pictures), wanted);
    check_marks(&pictures, true);
}

fn pictures_that_stand_alone_are_groups_of_their_own(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, JPEG, over);
        for (range, wanted) in [("npt=1.6-", 0..=40), ("npt=1.6-0.4", 10..=40), ("npt=9-1", 25..=49)] {
            let ends = *wanted.start() == 0;
            let (_, pictures) =
                played(&mut viewer, &[("Range", range), ("Rate-Control", "no"), ("Scale", "-1.0")]);
            let first = f64::from(31 * 86_400 - 2) * 25.0;
            let got: Vec<_> = pictures.iter().map(|unit| unit.number - first as i64).collect();
            assert_eq!(got, wanted.rev().collect::<Vec<_>>(), "{over:?} {range}");
            check_marks(&pictures, ends);
        }
    }
}

fn direction_changes_where_it_is(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, FILM, Over::Tcp);
    viewer.play(&[("Range", &*range(2.0, None)), ("Rate-Control", "yes")]);
    viewer.receive_until(Duration::from_secs(10), |viewer| units(&viewer.tracks[0]).len() >= 10);
    let headers = [("Rate-Control", "no"), ("Scale", "-1.0"), ("Immediate", "yes")];
    let (answer, all) = played(&mut viewer, &headers);
    let behind: Vec<Unit> = all.into_iter().filter(|unit| unit.cseq == cseq(&answer)).collect();
    let got = numbers(&behind);
    assert_eq!(got[0], 50, "the group where it was: {got:?}");
    assert!(got.ends_with(&groups([1, 0])), "{got:?}");
    check_marks(&behind, true);
}

fn a_pause_is_none(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, FILM, Over::Tcp);
    let headers = [("Rate-Control", "yes"), ("Scale", "-1.0")];
    viewer.play(&[("Range", "npt=4-"), headers[0], headers[1]]);
    viewer.receive_until(Duration::from_secs(10), |viewer| units(&viewer.tracks[0]).len() >= 35);
    viewer.pause();
    viewer.receive(Duration::from_millis(300));
    let (_, rest) = played(&mut viewer, &headers);
    let all = units(&viewer.tracks[0]);
    assert!(rest.len() < 100 && !rest[0].terminal);
    assert_eq!(numbers(&all), groups([3, 2, 1, 0]));
}

fn a_long_recording_is_whole(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, LONG, over);
        let (_, pictures) =
            played(&mut viewer, &[("Range", "npt=60-"), ("Rate-Control", "no"), ("Scale", "-1.0")]);
        let wanted: Vec<_> = (0..30).rev().flat_map(|group| group * 50..(group + 1) * 50).collect();
        assert_eq!(numbers(&pictures), wanted, "{over:?}");
        check_marks(&pictures, true);
    }
}
