//! Forward.

use std::time::{Duration, Instant};

use super::{
    FILM, JPEG, LONG, Unit, cseq, decoded, described, folder, numbers, of_type, open, played, range, server,
    since_start, units,
};
use crate::client::rtp::Report;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};

on_both_backends!(;
    "ffmpeg":
    a_range_of_the_clock_is_played_to_its_end,
    all_of_it_ends_with_the_section,
    the_viewers_pace_is_faster_than_the_recordings,
    the_servers_pace_is_the_recordings_with_scale_and_speed,
    keyframes_alone,
    pictures_that_are_predicted_from_both_sides_are_left_out,
    a_jump_is_marked,
    a_pause_is_none,
    a_file_that_does_not_tell_was_recorded_before_it_was_changed,
    the_description_tells_the_tracks_and_the_clock,
    what_is_said_of_a_playing_is_no_part_of_a_recording,
    words_of_onvif_do_without_the_tag,
);

fn a_range_of_the_clock_is_played_to_its_end(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, FILM, over);
        let headers = [("Range", &*range(1.0, Some(3.0))), ("Rate-Control", "no")];
        let (answer, pictures) = played(&mut viewer, &headers);
        assert_eq!(answer.header("Range"), Some("clock=20260101T000001Z-20260101T000003Z"));
        assert_eq!(answer.header("Rate-Control"), Some("no"));
        let wanted: Vec<_> = decoded(FILM).into_iter().filter(|number| (25..75).contains(number)).collect();
        assert_eq!(numbers(&pictures), wanted, "{over:?}");
        for unit in &pictures {
            assert_eq!(unit.clean, unit.number % 25 == 0, "{unit:?}");
            assert!(!unit.jumps && !unit.ends, "{unit:?}");
            assert_eq!(unit.cseq, cseq(&answer));
            // Timestamps are those of the recording.
            let since = since_start(&answer, unit);
            assert!((since + 1.0 - unit.seconds).abs() < 0.001, "{since} of {unit:?}");
        }
        let terminal: Vec<_> = pictures.iter().map(|unit| unit.terminal).collect();
        assert_eq!(terminal.iter().position(|terminal| *terminal), Some(terminal.len() - 1));
        let sound = units(&viewer.tracks[1]);
        assert!(sound.iter().all(|unit| unit.clean && (0.9..3.01).contains(&unit.seconds)), "{over:?}");
        assert!((90..101).contains(&sound.len()), "{} units of sound", sound.len());
        assert_eq!(sound.iter().filter(|unit| unit.terminal).count(), 1);
        assert!(sound.last().unwrap().terminal);
    }
}

fn all_of_it_ends_with_the_section(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, FILM, Over::Tcp);
    let (_, pictures) = played(&mut viewer, &[("Rate-Control", "no")]);
    assert_eq!(numbers(&pictures), decoded(FILM));
    for units in [pictures, units(&viewer.tracks[1])] {
        let (last, others) = units.split_last().unwrap();
        assert!(last.ends && last.terminal, "{last:?}");
        assert!(others.iter().all(|unit| !unit.ends && !unit.terminal));
    }
    // Behind the end it is not paused: a further PLAY plays.
    let (_, again) = played(&mut viewer, &[("Range", &*range(3.0, None)), ("Rate-Control", "no")]);
    assert_eq!(again.len(), 25);
}

fn the_viewers_pace_is_faster_than_the_recordings(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        // Who leaves the pace to the server has begun before, and has not ended.
        let mut slower = open(&server, LONG, over);
        slower.play(&[("Rate-Control", "yes")]);
        let mut viewer = open(&server, LONG, over);
        let (_, pictures) = played(&mut viewer, &[("Rate-Control", "no")]);
        assert_eq!(pictures.len(), 1_500, "{over:?}");
        slower.receive(Duration::from_millis(100));
        assert!(!slower.tracks[0].has_ended(), "{over:?}: the minute is over");
        // The times of reports mean nothing then.
        let clocks: Vec<_> = clocks(&viewer);
        assert!(!clocks.is_empty() && clocks.iter().all(|clock| *clock == (0, 0)), "{clocks:?}");
    }
}

fn clocks(viewer: &Viewer) -> Vec<(u64, u32)> {
    let reports = viewer.tracks[0].reports.iter();
    let clock = |report: &Report| match report {
        Report::Sender { ntp, timestamp, .. } => Some((*ntp, *timestamp)),
        _ => None,
    };
    reports.filter_map(|(_, report)| clock(report)).collect()
}

fn the_servers_pace_is_the_recordings_with_scale_and_speed(backend: Backend) {
    let server = server(backend);
    // Timestamps count what a scale leaves of the recording's time; faster delivery changes nothing of them, as in RFC 2326.
    for (scale, speed, faster, denser) in
        [("1.0", "1.0", 1.0, 1.0), ("2.0", "1.0", 2.0, 2.0), ("1.0", "2.0", 2.0, 1.0)]
    {
        let mut viewer = open(&server, FILM, Over::Tcp);
        let begun = Instant::now();
        let headers =
            [("Range", &*range(1.0, Some(3.0))), ("Rate-Control", "yes"), ("Scale", scale), ("Speed", speed)];
        let (answer, pictures) = played(&mut viewer, &headers);
        assert!(begun.elapsed() > Duration::from_secs_f64(1.9 / faster), "{:?}", begun.elapsed());
        assert_eq!((answer.header("Scale"), answer.header("Speed")), (Some(scale), Some(speed)));
        assert_eq!((answer.header("Rate-Control"), pictures.len()), (Some("yes"), 50));
        for unit in &pictures {
            let since = since_start(&answer, unit);
            assert!((since * denser + 1.0 - unit.seconds).abs() < 0.001, "{since} of {unit:?}");
        }
        assert!(clocks(&viewer).iter().all(|(ntp, _)| *ntp != 0));
    }
}

fn keyframes_alone(backend: Backend) {
    let server = server(backend);
    for (frames, wanted) in
        [("intra", vec![0, 25, 50, 75]), ("intra/2000", vec![0, 50]), ("intra/900", vec![0, 25, 50, 75])]
    {
        for control in ["no", "yes"] {
            let mut viewer = open(&server, FILM, Over::Tcp);
            let headers = [("Frames", frames), ("Rate-Control", control), ("Speed", "4")];
            let (answer, pictures) = played(&mut viewer, &headers);
            assert_eq!(answer.header("Frames"), Some(frames));
            assert_eq!(numbers(&pictures), wanted, "{frames}");
            assert!(pictures.iter().all(|unit| unit.clean));
            let last = pictures.last().unwrap();
            assert!(last.terminal && last.ends, "{last:?}");
        }
    }
}

fn pictures_that_are_predicted_from_both_sides_are_left_out(backend: Backend) {
    let server = server(backend);
    let from_both = of_type(FILM, 'B');
    assert!((40..70).contains(&from_both.len()), "{from_both:?}");
    let mut viewer = open(&server, FILM, Over::Tcp);
    let (_, pictures) = played(&mut viewer, &[("Frames", "predicted"), ("Rate-Control", "no")]);
    let wanted: Vec<_> = (0..100).filter(|number| !from_both.contains(number)).collect();
    assert_eq!(numbers(&pictures), wanted);
    let (_, pictures) = played(&mut viewer, &[("Frames", "all"), ("Rate-Control", "no")]);
    assert_eq!(pictures.len(), 100);
}

fn a_jump_is_marked(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, FILM, over);
        let first = viewer.play(&[("Range", &*range(0.0, None))]);
        viewer.receive_until(Duration::from_secs(10), |viewer| {
            viewer.tracks.iter().all(|track| units(track).len() >= 5)
        });
        let headers = [("Range", &*range(3.5, None)), ("Immediate", "yes"), ("Rate-Control", "no")];
        let second = viewer.play(&headers);
        viewer.receive_all(Duration::from_secs(20));
        viewer.receive(Duration::from_millis(100));
        for track in &viewer.tracks {
            assert_eq!(track.gaps(), [], "{over:?}: sequence numbers go on");
            let units = units(track);
            let jump = units.iter().position(|unit| unit.cseq == cseq(&second)).unwrap();
            let (before, behind) = units.split_at(jump);
            assert!(before.iter().all(|unit| unit.cseq == cseq(&first) && !unit.jumps), "{over:?}");
            assert!(behind[0].jumps && behind[1..].iter().all(|unit| !unit.jumps), "{over:?}");
            assert!(behind.iter().all(|unit| unit.cseq == cseq(&second)));
        }
        let behind: Vec<Unit> =
            units(&viewer.tracks[0]).into_iter().filter(|unit| unit.cseq == cseq(&second)).collect();
        let last_group: Vec<_> = decoded(FILM).into_iter().filter(|number| *number >= 75).collect();
        assert_eq!(numbers(&behind), last_group, "from the clean point on");
    }
}

fn a_pause_is_none(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, FILM, Over::Tcp);
    viewer.play(&[("Rate-Control", "yes"), ("Range", &*range(0.0, None))]);
    viewer.receive_until(Duration::from_secs(10), |viewer| units(&viewer.tracks[0]).len() >= 10);
    let paused = viewer.pause();
    assert!(
        paused.header("Range").is_some_and(|range| range.starts_with("clock=20260101T00000")),
        "{paused:?}"
    );
    viewer.receive(Duration::from_millis(300));
    let before = units(&viewer.tracks[0]).len();
    let (answer, rest) = played(&mut viewer, &[("Rate-Control", "yes")]);
    assert!(rest.iter().all(|unit| !unit.jumps && unit.cseq == cseq(&answer)));
    assert_eq!(numbers(&units(&viewer.tracks[0])), decoded(FILM), "{before} before the pause");
    viewer.teardown();
}

fn a_file_that_does_not_tell_was_recorded_before_it_was_changed(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, JPEG, over);
        // 31 days less two seconds behind the film.
        let began = 31.0 * 86_400.0 - 2.0;
        let headers = [("Range", "clock=20260131T235959.2Z-"), ("Rate-Control", "no")];
        let (_, pictures) = played(&mut viewer, &headers);
        let seconds: Vec<_> = pictures.iter().map(|unit| unit.seconds - began).collect();
        // Every picture is a clean point: it begins with the last that is not behind the asked moment.
        assert_eq!(pictures.len(), 20, "{seconds:?}");
        for (number, seconds) in (30..).zip(&seconds) {
            assert!((f64::from(number) / 25.0 - seconds).abs() < 0.01, "{number} at {seconds}");
        }
        assert!(pictures.iter().all(|unit| unit.clean));
    }
}

fn the_description_tells_the_tracks_and_the_clock(backend: Backend) {
    let server = server(backend);
    let plain = Viewer::describe(server.address(), &server.url(FILM), Over::Tcp).description.text;
    let asked = described(&server, FILM, Over::Tcp).description.text;
    for text in [&plain, &asked] {
        let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("a=x-onvif-track:")).collect();
        assert_eq!(names, ["VIDEO001", "AUDIO001"], "{text}");
    }
    assert!(plain.contains("a=range:npt=0-4.0"), "{plain}");
    assert!(asked.contains("a=range:clock=20260101T000000Z-20260101T000004"), "{asked}");
    let live = Viewer::describe(server.address(), &server.url("/test"), Over::Tcp).description.text;
    assert!(!live.contains("x-onvif-track"), "{live}");
}

fn what_is_said_of_a_playing_is_no_part_of_a_recording(backend: Backend) {
    let server = Server::with(backend).media(folder()).setting("metadata", 1).start();
    let plain = Viewer::describe(server.address(), &server.url(FILM), Over::Tcp);
    assert_eq!(plain.description.media.len(), 3, "{}", plain.description.text);
    let metadata = plain.description.media[2].control.clone();
    let mut viewer = described(&server, FILM, Over::Tcp);
    assert_eq!(viewer.description.media.len(), 2, "{}", viewer.description.text);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    viewer.client.request("SETUP", &metadata, &transport).expect(404);
    // Who has set it up and then asks for a recording gets the recording.
    let mut viewer = Viewer::open(server.address(), &server.url(FILM), Over::Tcp);
    let (_, pictures) = played(&mut viewer, &[("Rate-Control", "no")]);
    assert_eq!(numbers(&pictures), decoded(FILM));
    assert_eq!(viewer.tracks[2].packets.len(), 0);
}

fn words_of_onvif_do_without_the_tag(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILM), Over::Tcp);
    let (answer, pictures) = played(&mut viewer, &[("Rate-Control", "no"), ("Range", "npt=3-")]);
    assert_eq!((answer.header("Range"), pictures.len()), (Some("npt=3.000-"), 25));
    // Who says none of them gets packets as they are.
    let mut plain = Viewer::open(server.address(), &server.url(FILM), Over::Tcp);
    plain.play(&[("Range", "npt=3-")]);
    plain.receive_all(Duration::from_secs(20));
    let track = &plain.tracks[0];
    assert_eq!(track.units().len(), 25);
    assert!(track.packets.iter().all(|packet| packet.extension.is_none()));
    let payloads = |packets: &[crate::client::rtp::Packet]| -> Vec<Vec<u8>> {
        packets.iter().map(|packet| packet.payload.clone()).collect()
    };
    assert_eq!(payloads(&track.packets), payloads(&viewer.tracks[0].packets));
}
