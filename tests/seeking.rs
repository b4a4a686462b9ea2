//! `Range`, `Scale` and `Speed` (RFC 2326 sections 12.29, 12.34 and 12.35).

use std::time::{Duration, Instant};

use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::folder;
use crate::playing::{rtp_info, start_of};
use crate::server::{Backend, Server, on_both_backends};

/// A keyframe every second: 0, 1, 2.
const FILE: &str = "/h264_aac.mp4";

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).start()
}

/// Whether packets of H.264 hold a slice of an IDR picture.
pub(crate) fn is_keyframe(packets: &[crate::client::rtp::Packet]) -> bool {
    packets.iter().any(|packet| match packet.payload[0] & 0x1f {
        28 => packet.payload[1] & 0x1f == 5,
        24 => packet.payload[3..].contains(&0x65),
        kind => kind == 5,
    })
}

fn a_seek_begins_at_the_keyframe_at_or_before_the_point(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        for (range, keyframe) in
            [("npt=1.5-", 1.0), ("npt=2-", 2.0), ("npt=0.2-", 0.0), ("npt=0:00:02.5-", 2.0)]
        {
            let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
            let answer = viewer.play(&[("Range", range)]);
            let start = start_of(&answer);
            assert!((start - keyframe).abs() < 0.05, "{range} is answered by {start}");
            viewer.receive_all(Duration::from_secs(8));
            let video = &viewer.tracks[0];
            let units = video.units();
            assert!(is_keyframe(units[0]), "{range} {over:?}: the first picture is a keyframe");
            let wanted = 75 - (25.0 * keyframe) as usize;
            assert_eq!(units.len(), wanted, "{range} {over:?}");
            let infos = rtp_info(&answer);
            assert_eq!(infos[0].1, Some(units[0][0].sequence), "{range} {over:?}");
        }
    }
}

fn a_seek_while_playing_jumps_and_the_sequence_goes_on(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        viewer.play(&[]);
        viewer.receive(Duration::from_millis(500));
        let answer = viewer.play(&[("Range", "npt=2-")]);
        assert!((start_of(&answer) - 2.0).abs() < 0.05, "{answer:?}");
        viewer.receive_all(Duration::from_secs(8));
        for track in &viewer.tracks {
            assert_eq!(track.gaps(), [], "{over:?}: sequence numbers go on");
            let ssrc = track.packets[0].ssrc;
            assert!(track.packets.iter().all(|packet| packet.ssrc == ssrc));
        }
        let units = viewer.tracks[0].units();
        assert!((30..55).contains(&units.len()), "{over:?}: {} pictures", units.len());
        // Timestamps go on in real time (RFC 2326 appendix B).
        for pair in units.windows(2) {
            let step = pair[1][0].timestamp.wrapping_sub(pair[0][0].timestamp) as i32;
            assert!(step.abs() < 45_000, "{over:?}: a step of {step} ticks");
        }
    }
}

fn a_seek_while_paused_begins_there(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[]);
    viewer.receive(Duration::from_millis(400));
    viewer.pause();
    viewer.receive(Duration::from_millis(200));
    let before = viewer.tracks[0].packets.len();
    let answer = viewer.play(&[("Range", "npt=1-")]);
    assert!((start_of(&answer) - 1.0).abs() < 0.05, "{answer:?}");
    viewer.receive_all(Duration::from_secs(8));
    let video = &viewer.tracks[0];
    assert_eq!(rtp_info(&answer)[0].1, Some(video.packets[before].sequence));
    assert_eq!(video.gaps(), []);
    assert!(is_keyframe(&video.packets[before..before + 3]));
}

fn a_range_with_an_end_stops_there(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[("Range", "npt=0-1")]);
    viewer.receive(Duration::from_millis(2_500));
    let units = viewer.tracks[0].units().len();
    assert!((24..=29).contains(&units), "{units} pictures of one second");
}

fn the_url_may_name_the_start(backend: Backend) {
    let server = server(backend);
    for url in ["/h264_aac.mp4?s=2", "/h264_aac.mp4&s=2"] {
        let mut viewer = Viewer::open(server.address(), &server.url(url), Over::Tcp);
        let answer = viewer.play(&[]);
        assert!((start_of(&answer) - 2.0).abs() < 0.05, "{url}: {answer:?}");
        let mut viewer = Viewer::open(server.address(), &server.url(url), Over::Tcp);
        let answer = viewer.play(&[("Range", "npt=1-")]);
        assert!((start_of(&answer) - 1.0).abs() < 0.05, "a Range wins: {url}: {answer:?}");
    }
}

fn every_container_can_be_sought_in(backend: Backend) {
    let server = server(backend);
    for path in [
        "/h264_aac.mov",
        "/h264_opus.mkv",
        "/h264_aac.flv",
        "/h264_mp3.avi",
        "/h264_aac.ts",
        "/pcmu.wav",
        "/mp3.mp3",
    ] {
        let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
        let answer = viewer.play(&[("Range", "npt=2-")]);
        let start = start_of(&answer);
        // Sound can be begun anywhere; pictures at the keyframes of each second.
        assert!((1.0..=2.1).contains(&start), "{path}: {start}");
        let began = Instant::now();
        viewer.receive_all(Duration::from_secs(8));
        let took = began.elapsed().as_secs_f64();
        assert!(took < 3.5 - start + 0.5, "{path}: from {start} s on it took {took} s");
    }
}

fn ranges_that_cannot_be_met_are_refused(backend: Backend) {
    let server = server(backend);
    for (range, status) in [
        ("npt=10-", 457),
        ("npt=3.6-", 457),
        ("npt=2-1", 457),
        ("clock=20260101T000000Z-", 457),
        ("npt=x-", 400),
        ("wings=1-2", 501),
    ] {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
        let url = viewer.url.clone();
        let answer = viewer.client.request("PLAY", &url, &[("Range", range)]);
        assert_eq!(answer.status, status, "{range}: {answer:?}");
        // A refusal does not change the state: the session can still play.
        viewer.client.request("PLAY", &url, &[]).expect(200);
    }
}

fn a_start_at_the_end_plays_the_last_group_and_ends(backend: Backend) {
    let server = server(backend);
    // Players add what comes before the first timestamp that they know, and round.
    for range in ["npt=2.96-", "npt=3-", "npt=3.001-", "npt=3.3-"] {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
        let answer = viewer.play(&[("Range", range)]);
        assert!((start_of(&answer) - 2.0).abs() < 0.05, "{range}: {answer:?}");
        viewer.receive_all(Duration::from_secs(8));
        let units = viewer.tracks[0].units();
        assert!(is_keyframe(units[0]), "{range}");
        assert_eq!(units.len(), 25, "{range}");
    }
}

fn frames_of_smpte_ranges_are_understood(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        let answer = viewer.play(&[("Range", "smpte-25=0:00:01:05-")]);
        assert!(
            answer
                .header("Range")
                .is_some_and(|range| range.starts_with("smpte") || range.starts_with("npt=1"))
        );
        viewer.receive_all(Duration::from_secs(8));
        assert_eq!(viewer.tracks[0].units().len(), 50, "{over:?}: from the keyframe at one second on");
        assert_eq!(viewer.tracks[0].gaps(), []);
    }
}

fn scale_and_speed_are_echoed_as_granted(backend: Backend) {
    let server = server(backend);
    for (name, asked, granted) in [
        ("Scale", "2", 2.0),
        ("Scale", "0.5", 0.5),
        ("Scale", "16", 16.0),
        ("Scale", "100", 16.0),
        ("Scale", "1.0", 1.0),
        ("Scale", "-1", 1.0),
        ("Speed", "2.0", 2.0),
    ] {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
        let answer = viewer.play(&[(name, asked)]);
        let value: f64 =
            answer.header(name).unwrap_or_else(|| panic!("no {name}: {answer:?}")).parse().unwrap();
        assert_eq!(value, granted, "{name}: {asked}");
    }
}

fn zero_negative_speed_and_garbage_are_bad_requests(backend: Backend) {
    let server = server(backend);
    for (name, value) in
        [("Scale", "0"), ("Scale", "x"), ("Speed", "0"), ("Speed", "-2"), ("Speed", "x"), ("Scale", "")]
    {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
        let url = viewer.url.clone();
        let answer = viewer.client.request("PLAY", &url, &[(name, value)]);
        assert_eq!(answer.status, 400, "{name}: {value:?}: {answer:?}");
    }
}

fn at_double_scale_the_file_takes_half_the_time(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        let began = Instant::now();
        viewer.play(&[("Scale", "2")]);
        viewer.receive_all(Duration::from_secs(8));
        let took = began.elapsed().as_secs_f64();
        assert!((1.2..2.4).contains(&took), "{over:?}: three seconds at double scale took {took}");
        let video = &viewer.tracks[0];
        assert_eq!(video.gaps(), []);
        let units = video.units();
        let span = units.last().unwrap()[0].timestamp.wrapping_sub(units[0][0].timestamp);
        assert!((110_000..160_000).contains(&span), "{over:?}: timestamps advance in real time: {span}");
    }
}

fn at_high_scale_only_keyframes_come_and_no_sound(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[("Scale", "4")]);
    viewer.receive_all(Duration::from_secs(8));
    let units = viewer.tracks[0].units();
    assert_eq!(units.len(), 3, "the keyframes of three seconds");
    assert!(units.iter().all(|unit| is_keyframe(unit)));
    assert_eq!(viewer.tracks[1].packets.len(), 0, "no sound");
}

on_both_backends!(;
    "ffmpeg":
    a_seek_begins_at_the_keyframe_at_or_before_the_point,
    a_seek_while_playing_jumps_and_the_sequence_goes_on,
    a_seek_while_paused_begins_there,
    a_range_with_an_end_stops_there,
    the_url_may_name_the_start,
    every_container_can_be_sought_in,
    ranges_that_cannot_be_met_are_refused,
    a_start_at_the_end_plays_the_last_group_and_ends,
    frames_of_smpte_ranges_are_understood,
    scale_and_speed_are_echoed_as_granted,
    zero_negative_speed_and_garbage_are_bad_requests,
    at_double_scale_the_file_takes_half_the_time,
    at_high_scale_only_keyframes_come_and_no_sound,
);
