//! PLAY and PAUSE: what flows, when, and with which numbers (RFC 2326 sections 10.5, 10.6 and 12.33).

use std::time::{Duration, Instant};

use crate::client::rtp::Report;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::client::{Client, Message, Response};
use crate::corpus::folder;
use crate::server::{Backend, Server, on_both_backends};

const FILE: &str = "/h264_aac.mp4";
const SHORT: Duration = Duration::from_millis(600);

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).start()
}

/// The parameters of each track in an RTP-Info header: URL, sequence number, timestamp.
pub(crate) fn rtp_info(answer: &Response) -> Vec<(String, Option<u16>, Option<u32>)> {
    let header = answer.header("RTP-Info").unwrap_or_else(|| panic!("no RTP-Info: {answer:?}"));
    header
        .split(',')
        .map(|entry| {
            let value = |name: &str| {
                entry.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
            };
            let url = value("url").expect("an entry has a URL").trim_matches('"').to_owned();
            let number = |name| value(name).map(|text| text.parse().expect("a number"));
            (url, value("seq").map(|seq| seq.parse().expect("a number")), number("rtptime"))
        })
        .collect()
}

fn the_answer_to_play_comes_before_the_first_packet(backend: Backend) {
    let server = server(backend);
    for path in [FILE, "/test"] {
        let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
        let cseq = viewer.client.ask("PLAY", &viewer.description.control.clone(), &[]);
        match viewer.client.next(Duration::from_secs(5)) {
            Some(Message::Response(answer)) => {
                assert_eq!(answer.header("CSeq"), Some(cseq.to_string().as_str()));
                assert_eq!(answer.status, 200);
            }
            other => panic!("{path}: {other:?}"),
        }
    }
}

fn rtp_info_names_the_first_packet_of_every_track(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        for path in [FILE, "/vp8_opus.webm", "/g726_32.wav"] {
            let mut viewer = Viewer::open(server.address(), &server.url(path), over);
            let answer = viewer.play(&[]);
            viewer.receive_until(Duration::from_secs(3), |v| {
                v.tracks.iter().all(|track| !track.packets.is_empty())
            });
            let infos = rtp_info(&answer);
            assert_eq!(infos.len(), viewer.tracks.len(), "{answer:?}");
            for (track, (url, sequence, timestamp)) in viewer.tracks.iter().zip(infos) {
                assert_eq!(url, track.media.control, "{path}");
                let first = track.packets.first().unwrap_or_else(|| panic!("{path} {over:?}: nothing comes"));
                assert_eq!(sequence, Some(first.sequence), "{path} {over:?}");
                let range = answer.header("Range").expect("a range");
                assert!(range.starts_with("npt=0"), "{range}");
                // The time of the range's start; the first access unit is within a second of it.
                let apart = first.timestamp.wrapping_sub(timestamp.expect("a timestamp")) as i32;
                assert!(apart.unsigned_abs() < track.media.clock_rate(), "{path} {over:?}: {apart} ticks");
            }
        }
    }
}

fn a_file_comes_at_its_own_pace(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    let began = Instant::now();
    viewer.play(&[]);
    viewer.receive_all(Duration::from_secs(8));
    let took = began.elapsed();
    assert!((2_700..4_500).contains(&took.as_millis()), "three seconds took {took:?}");
    let packets = &viewer.tracks[0].packets;
    for packet in packets {
        let content = f64::from(packet.timestamp.wrapping_sub(packets[0].timestamp) as i32) / 90_000.0;
        let real = (packet.at - packets[0].at).as_secs_f64();
        assert!((content - real).abs() < 0.5, "a picture of {content:.3} s comes after {real:.3} s");
    }
}

fn every_track_ends_with_bye_behind_its_last_packet(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        viewer.play(&[]);
        viewer.receive_all(Duration::from_secs(8));
        viewer.receive(Duration::from_millis(300));
        for track in &viewer.tracks {
            let byes: Vec<_> =
                track.reports.iter().filter(|(_, r)| matches!(r, Report::Bye { .. })).collect();
            assert_eq!(byes.len(), 1, "{over:?}");
            assert_eq!(byes[0].1, Report::Bye { ssrc: track.packets[0].ssrc });
            let last = track.packets.last().unwrap().at;
            assert!(byes[0].0 >= last, "{over:?}: BYE before the last packet");
        }
    }
}

fn after_the_end_the_file_plays_anew_under_another_source(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url("/h264_aac.flv"), over);
        viewer.play(&[]);
        viewer.receive_all(Duration::from_secs(8));
        let first: Vec<_> = viewer.tracks.iter().map(|track| track.packets.len()).collect();
        let ssrc = viewer.tracks[0].packets[0].ssrc;
        for track in &mut viewer.tracks {
            track.packets.clear();
            track.reports.clear();
        }
        viewer.play(&[]);
        viewer.receive_all(Duration::from_secs(8));
        let again: Vec<_> = viewer.tracks.iter().map(|track| track.packets.len()).collect();
        assert_eq!(first, again, "{over:?}");
        assert_ne!(viewer.tracks[0].packets[0].ssrc, ssrc, "{over:?}");
    }
}

fn pause_stops_and_play_goes_on_without_a_gap(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        viewer.play(&[]);
        viewer.receive(SHORT);
        viewer.pause();
        // What was under way may still come.
        viewer.receive(Duration::from_millis(150));
        let before: Vec<_> = viewer.tracks.iter().map(|track| track.packets.len()).collect();
        viewer.receive(SHORT);
        let paused: Vec<_> = viewer.tracks.iter().map(|track| track.packets.len()).collect();
        assert_eq!(before, paused, "{over:?}: nothing comes while paused");
        viewer.play(&[]);
        viewer.receive_all(Duration::from_secs(8));
        for track in &viewer.tracks {
            assert_eq!(track.gaps(), [], "{over:?} {}", track.media.kind);
        }
        let units = viewer.tracks[0].units().len();
        assert_eq!(units, 75, "{over:?}: every picture comes once");
    }
}

fn the_answers_to_pause_and_play_tell_the_place(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[("Range", "npt=0-")]).expect(200);
    viewer.receive(Duration::from_millis(1_000));
    let paused = start_of(&viewer.pause());
    assert!((0.7..1.6).contains(&paused), "paused at {paused} s");
    viewer.receive(SHORT);
    let resumed = start_of(&viewer.play(&[]));
    assert!((resumed - paused).abs() < 0.6, "paused at {paused} s, resumed at {resumed} s");
}

/// The begin of the range in an answer, in seconds.
pub(crate) fn start_of(answer: &Response) -> f64 {
    let range = answer.header("Range").unwrap_or_else(|| panic!("no Range: {answer:?}"));
    let start = range.strip_prefix("npt=").and_then(|range| range.split('-').next());
    start.and_then(|start| start.parse().ok()).unwrap_or_else(|| panic!("not an npt range: {range}"))
}

fn play_while_playing_and_pause_while_paused_change_nothing(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        for path in [FILE, "/test"] {
            let mut viewer = Viewer::open(server.address(), &server.url(path), over);
            viewer.pause();
            viewer.play(&[]);
            viewer.receive(SHORT);
            viewer.play(&[]);
            viewer.receive(SHORT);
            for track in &viewer.tracks {
                assert_eq!(track.gaps(), [], "{path} {over:?}");
                assert!(track.packets.len() > 10, "{path} {over:?}");
            }
            viewer.pause();
            viewer.pause();
            viewer.play(&[]);
            let before = viewer.tracks[0].packets.len();
            viewer.receive(SHORT);
            assert!(viewer.tracks[0].packets.len() > before, "{path} {over:?}");
        }
    }
}

fn one_track_can_be_paused_alone(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[]);
    viewer.receive(SHORT);
    let audio = viewer.tracks[1].media.control.clone();
    viewer.client.request("PAUSE", &audio, &[]).expect(200);
    viewer.receive(Duration::from_millis(200));
    let before: Vec<_> = viewer.tracks.iter().map(|track| track.packets.len()).collect();
    viewer.receive(SHORT);
    let after: Vec<_> = viewer.tracks.iter().map(|track| track.packets.len()).collect();
    assert!(after[0] > before[0], "the other track flows on");
    assert_eq!(after[1], before[1]);
}

fn a_looped_file_has_one_unbroken_timeline(backend: Backend) {
    let server = Server::with(backend).media(folder()).setting("loop_nums", 2).start();
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        viewer.play(&[]);
        viewer.receive_all(Duration::from_secs(12));
        let video = &viewer.tracks[0];
        assert_eq!(video.gaps(), [], "{over:?}");
        assert_eq!(viewer.tracks[1].gaps(), [], "{over:?}");
        let units = video.units();
        assert_eq!(units.len(), 150, "{over:?}: twice 75 pictures");
        let first: Vec<_> = units[..75].iter().map(|unit| &unit[0].payload[..]).collect();
        let second: Vec<_> = units[75..].iter().map(|unit| &unit[0].payload[..]).collect();
        assert_eq!(first, second, "{over:?}");
        let stamp = |index: usize| units[index][0].timestamp;
        let step = stamp(75).wrapping_sub(stamp(0));
        assert!((269_000..=274_000).contains(&step), "{over:?}: a loop lasts {step} ticks");
        assert!(video.packets.iter().all(|packet| packet.ssrc == video.packets[0].ssrc));
    }
}

fn the_test_channel_plays_over_udp_and_tcp(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url("/test"), over);
        let answer = viewer.play(&[]);
        assert!(answer.header("Range").is_some_and(|range| range.starts_with("npt=now")), "{answer:?}");
        viewer.receive(Duration::from_millis(1_200));
        for track in &viewer.tracks {
            assert_eq!(track.gaps(), [], "{over:?} {}", track.media.kind);
            assert!(track.packets.len() > 10, "{over:?} {}: {}", track.media.kind, track.packets.len());
        }
    }
}

fn a_viewer_who_joins_or_leaves_does_not_disturb_the_others(backend: Backend) {
    let server = server(backend);
    for path in [FILE, "/test"] {
        let mut steady: Vec<_> =
            BOTH.iter().map(|over| Viewer::open(server.address(), &server.url(path), *over)).collect();
        for viewer in &mut steady {
            viewer.play(&[]);
        }
        for round in 0..6 {
            let mut guest = Viewer::open(server.address(), &server.url(path), BOTH[round % 2]);
            guest.play(&[]);
            guest.receive(Duration::from_millis(50));
            if round % 3 == 0 {
                guest.teardown();
            }
            drop(guest);
            for viewer in &mut steady {
                viewer.receive(Duration::from_millis(60));
            }
        }
        for viewer in &mut steady {
            viewer.receive(Duration::from_millis(300));
            for track in &viewer.tracks {
                assert_eq!(track.gaps(), [], "{path}");
                assert!(track.packets.len() > 10, "{path}");
            }
        }
    }
}

fn teardown_stops_everything_and_ends_the_session(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        viewer.play(&[]);
        viewer.receive(SHORT);
        viewer.teardown();
        viewer.receive(Duration::from_millis(150));
        let before = viewer.tracks[0].packets.len();
        viewer.receive(SHORT);
        assert_eq!(viewer.tracks[0].packets.len(), before, "{over:?}");
        let url = viewer.url.clone();
        viewer.client.request("PLAY", &url, &[]).expect(454);
        viewer.client.session = None;
        viewer.client.request("OPTIONS", "*", &[]).expect(200);
    }
}

fn play_may_name_the_base_or_a_track_with_or_without_parameters(backend: Backend) {
    let server = server(backend);
    for shape in ["{}", "{}/", "{}?s=0", "{}/?s=0", "track"] {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
        let url = match shape {
            "track" => viewer.tracks[0].media.control.clone(),
            _ => shape.replace("{}", &viewer.url),
        };
        viewer.client.request("PLAY", &url, &[]).expect(200);
        viewer.receive_until(Duration::from_secs(2), |viewer| viewer.tracks[0].packets.len() > 5);
        assert!(viewer.tracks[0].packets.len() > 5, "{url}");
        viewer.client.request("TEARDOWN", &url, &[]).expect(200);
    }
}

fn a_stopped_player_that_keeps_its_connection_can_set_up_again(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[]);
    viewer.receive(Duration::from_millis(200));
    viewer.teardown();
    viewer.client.session = None;
    viewer.tracks.clear();
    viewer.client.frames.clear();
    viewer.setup(0);
    viewer.play(&[]);
    viewer.receive_until(Duration::from_secs(3), |viewer| viewer.tracks[0].packets.len() > 20);
    assert!(viewer.tracks[0].packets.len() > 20);
}

fn requests_are_answered_in_step_while_packets_flow(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url("/h264_1080p.mp4"), Over::Tcp);
    viewer.play(&[]);
    for _ in 0..30 {
        // The client checks the CSeq of each answer and that packets and answers do not run into each other.
        viewer.client.request("GET_PARAMETER", &server.url("/h264_1080p.mp4"), &[]).expect(200);
        viewer.receive(Duration::from_millis(20));
    }
    assert_eq!(viewer.tracks[0].gaps(), []);
}

fn datagrams_do_not_catch_up_at_once_when_the_server_has_stood_still(backend: Backend) {
    let server = Server::with(backend)
        .media(folder())
        .setting("loop_nums", -1)
        .setting("slow_reader_ms", 1_000)
        .start();
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    viewer.play(&[]);
    viewer.receive(Duration::from_millis(700));
    server.signal("STOP");
    std::thread::sleep(Duration::from_millis(3_500));
    server.signal("CONT");
    viewer.receive(Duration::from_millis(50));
    let before = viewer.tracks[0].packets.len();
    assert!(before > 0, "packets came before");
    viewer.receive(Duration::from_millis(800));
    let packets = &viewer.tracks[0].packets;
    assert!(packets.len() > before, "packets come again");
    let stopped = packets.windows(2).max_by_key(|pair| pair[1].at - pair[0].at).unwrap();
    let last = &packets[packets.len() - 1];
    let came_s = f64::from(last.timestamp.wrapping_sub(stopped[0].timestamp))
        / f64::from(viewer.tracks[0].media.clock_rate());
    assert!(came_s < 2.5, "{came_s} s of content in 0.85 s");
    assert_eq!(viewer.tracks[0].gaps(), []);
}

fn a_client_that_never_reads_is_no_harm_to_others(backend: Backend) {
    let server = server(backend);
    let mut deaf = Viewer::open(server.address(), &server.url("/h264_1080p.mp4"), Over::Tcp);
    deaf.client.ask("PLAY", &deaf.url.clone(), &[]);
    let mut viewer = Viewer::open(server.address(), &server.url(FILE), Over::Tcp);
    viewer.play(&[]);
    viewer.receive_all(Duration::from_secs(8));
    assert_eq!(viewer.tracks[0].units().len(), 75);
    let mut client = Client::connect(server.address());
    client.request("OPTIONS", "*", &[]).expect(200);
}

fn the_answer_to_play_comes_before_the_first_packet_also_behind_many_others(backend: Backend) {
    let server = server(backend);
    let mut viewer = Viewer::open(server.address(), &server.url("/test"), Over::Tcp);
    let session = viewer.client.session.clone().unwrap();
    let mut text = "OPTIONS * RTSP/1.0\r\nCSeq: 1000\r\n\r\n".repeat(60);
    text += &format!("PLAY {} RTSP/1.0\r\nCSeq: 2000\r\nSession: {session}\r\n\r\n", viewer.url);
    viewer.client.send(text);
    loop {
        let answer = viewer.client.response().expect(200);
        assert!(viewer.client.frames.is_empty(), "a packet came before the answer to PLAY");
        if answer.header("CSeq") == Some("2000") {
            return;
        }
    }
}

on_both_backends!(
    the_test_channel_plays_over_udp_and_tcp,
    the_answer_to_play_comes_before_the_first_packet_also_behind_many_others;
    "ffmpeg":
    the_answer_to_play_comes_before_the_first_packet,
    rtp_info_names_the_first_packet_of_every_track,
    a_file_comes_at_its_own_pace,
    every_track_ends_with_bye_behind_its_last_packet,
    after_the_end_the_file_plays_anew_under_another_source,
    pause_stops_and_play_goes_on_without_a_gap,
    the_answers_to_pause_and_play_tell_the_place,
    play_while_playing_and_pause_while_paused_change_nothing,
    one_track_can_be_paused_alone,
    a_looped_file_has_one_unbroken_timeline,
    a_viewer_who_joins_or_leaves_does_not_disturb_the_others,
    teardown_stops_everything_and_ends_the_session,
    play_may_name_the_base_or_a_track_with_or_without_parameters,
    a_stopped_player_that_keeps_its_connection_can_set_up_again,
    requests_are_answered_in_step_while_packets_flow,
    datagrams_do_not_catch_up_at_once_when_the_server_has_stood_still,
    a_client_that_never_reads_is_no_harm_to_others,
);
