//! Reports to and from groups, and how long a member lives.

use std::thread;
use std::time::{Duration, Instant};

use super::listener::Listener;
use super::{PATIENCE, on_loopback};
use crate::client::publisher::Publisher;
use crate::client::rtp::{Report, receiver_report};
use crate::client::viewer::Over;
use crate::publishing::watched::await_request;
use crate::server::{Backend, Server, on_both_backends};

/// Sessions that are silent for so long end.
const TIMEOUT_S: u64 = 2;

fn server(backend: Backend) -> Server {
    on_loopback(backend).setting("session_timeout", TIMEOUT_S).start()
}

fn a_group_is_told_of_the_clocks_at_once_and_of_the_end(backend: Backend) {
    let server = server(backend);
    for path in ["/test", "/h264_aac.mp4"] {
        let mut listener = Listener::play_of(server.address(), &server.url(path));
        listener.hear(0, 50);
        listener.hear(1, 10);
        listener.ask("TEARDOWN", &[]).expect(200);
        let all_ended = |listener: &Listener| listener.tracks.iter().all(|track| track.ears.has_bye());
        assert!(listener.until(PATIENCE, all_ended), "{path}");
        for track in &listener.tracks {
            let (packets, reports) = (&track.ears.packets, &track.ears.reports);
            let ssrc = packets[0].ssrc;
            assert!(packets.iter().all(|packet| packet.ssrc == ssrc));
            let (_, first) = &reports[0];
            assert!(matches!(first, Report::Sender { ssrc: of, .. } if *of == ssrc), "{first:?}");
            let is_name = |report: &Report| matches!(report, Report::Name { ssrc: of, .. } if *of == ssrc);
            assert!(is_name(&reports[1].1), "{:?}", reports[1]);
            // The last words: where the clocks stand, the name, the end (RFC 3550 section 6.6).
            let [.., (_, sender), (_, name), (_, bye)] = &reports[..] else { panic!("{reports:?}") };
            let Report::Sender { packets: sent, octets, timestamp, .. } = sender else {
                panic!("{sender:?}")
            };
            assert!(is_name(name), "{name:?}");
            assert_eq!(*bye, Report::Bye { ssrc });
            assert_eq!(*sent as usize, packets.len());
            assert_eq!(*octets as usize, packets.iter().map(|packet| packet.payload.len()).sum::<usize>());
            let last = packets.last().unwrap().timestamp;
            let apart = f64::from(timestamp.wrapping_sub(last) as i32) / f64::from(track.media.clock_rate());
            assert!(apart.abs() < 3.0, "{apart} s");
        }
    }
}

/// Listens for longer than a silent session lives, reporting as told.
fn listen(listener: &mut Listener, report: impl Fn(&Listener)) {
    let end = Instant::now() + Duration::from_secs(2 * TIMEOUT_S + 1);
    while Instant::now() < end {
        report(listener);
        listener.until(Duration::from_millis(300), |_| false);
    }
}

fn report(listener: &Listener) -> Vec<u8> {
    let last = listener.tracks[0].ears.packets.last().expect("packets have come");
    receiver_report(0x1234_5678, last.ssrc, 64, last.sequence.into())
}

fn who_reports_to_the_group_is_alive(backend: Backend) {
    let server = server(backend);
    let mut listener = Listener::play_of(server.address(), &server.url("/test"));
    listener.hear(0, 20);
    listen(&mut listener, |listener| listener.tracks[0].ears.report(&report(listener)));
    listener.ask("GET_PARAMETER", &[]).expect(200);
    assert_eq!(listener.tracks[0].ears.gaps(), []);
}

fn who_reports_to_the_sender_alone_is_alive(backend: Backend) {
    let server = server(backend);
    let mut listener = Listener::play_of(server.address(), &server.url("/test"));
    listener.hear(0, 20);
    assert!(listener.until(PATIENCE, |it| it.tracks[0].ears.reporter.is_some()));
    listen(&mut listener, |listener| {
        let ears = &listener.tracks[0].ears;
        ears.report_to(&report(listener), ears.reporter.unwrap());
    });
    listener.ask("GET_PARAMETER", &[]).expect(200);
}

fn who_asks_now_and_then_is_alive(backend: Backend) {
    let server = server(backend);
    let mut listener = Listener::play_of(server.address(), &server.url("/test"));
    let end = Instant::now() + Duration::from_secs(2 * TIMEOUT_S + 1);
    while Instant::now() < end {
        thread::sleep(Duration::from_secs(1));
        listener.ask("OPTIONS", &[]).expect(200);
    }
    listener.hear(0, 20);
}

fn who_is_silent_ends_and_so_does_sending(backend: Backend) {
    let server = server(backend);
    let mut listener = Listener::play_of(server.address(), &server.url("/test"));
    listener.hear(0, 20);
    // Its own reports come back to the sender as well.
    assert!(listener.until(PATIENCE, |it| it.tracks.iter().all(|track| track.ears.has_bye())));
    server.wait_for_lines("no sign of life", 1);
    listener.ask("GET_PARAMETER", &[]).expect(454);
}

fn a_member_whose_connection_dies_lives_while_it_reports(backend: Backend) {
    let server = server(backend);
    let mut listener = Listener::play_of(server.address(), &server.url("/test"));
    listener.hear(0, 20);
    let session = listener.client.session.clone();
    listener.client = crate::client::Client::connect(server.address());
    listen(&mut listener, |listener| listener.tracks[0].ears.report(&report(listener)));
    assert_eq!(listener.tracks[0].ears.gaps(), []);
    // Another connection speaks for it.
    listener.client.session = session;
    listener.ask("GET_PARAMETER", &[]).expect(200);
    listener.hear(0, 20);
    listener.client = crate::client::Client::connect(server.address());
    assert!(listener.until(PATIENCE, |it| it.tracks[0].ears.has_bye()), "nobody is there any more");
    server.wait_for_lines("no sign of life", 1);
}

fn a_keyframe_is_asked_for_by_newcomers_and_by_who_has_lost_the_picture(backend: Backend) {
    let server = on_loopback(backend).start();
    let url = server.url("/live");
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    publisher.picture(0, true);
    let mut first = Listener::play_of(server.address(), &url);
    let index = await_request(&mut publisher, 1, "the first");
    publisher.picture(index, true);
    first.hear(0, 1);
    // A source is asked once a second at most.
    thread::sleep(Duration::from_millis(1_100));
    let second = Listener::play_of(server.address(), &url);
    let index = await_request(&mut publisher, index + 1, "the second");
    publisher.picture(index, true);
    thread::sleep(Duration::from_millis(1_100));
    let ssrc = first.tracks[0].ears.packets[0].ssrc;
    let lost =
        [&[0x80, 201, 0, 1, 0, 0, 0, 9, 0x81, 206, 0, 2, 0, 0, 0, 9][..], &ssrc.to_be_bytes()].concat();
    second.tracks[0].ears.report(&lost);
    await_request(&mut publisher, index + 1, "who has lost the picture");
}

fn what_is_no_report_harms_nobody(backend: Backend) {
    let server = server(backend);
    let mut listener = Listener::play_of(server.address(), &server.url("/test"));
    listener.hear(0, 20);
    let whole = report(&listener);
    for size in 0..whole.len() {
        listener.tracks[0].ears.report(&whole[..size]);
        listener.tracks[0].ears.report(&[&whole[..], &whole[..size]].concat());
    }
    listener.tracks[0].ears.report(&[0xff; 1_400]);
    // What somebody says in our name.
    let ssrc = listener.tracks[0].ears.packets[0].ssrc.to_be_bytes();
    listener.tracks[0].ears.report(&[&[0x80, 200, 0, 6][..], &ssrc, &[0; 20]].concat());
    listener.tracks[0].ears.report(&[&[0x81, 203, 0, 1][..], &ssrc].concat());
    listener.tracks[0].ears.forget();
    listener.hear(0, 50);
    assert_eq!(listener.tracks[0].ears.gaps(), []);
}

on_both_backends!(
    who_reports_to_the_group_is_alive,
    who_reports_to_the_sender_alone_is_alive,
    who_asks_now_and_then_is_alive,
    who_is_silent_ends_and_so_does_sending,
    a_member_whose_connection_dies_lives_while_it_reports,
    a_keyframe_is_asked_for_by_newcomers_and_by_who_has_lost_the_picture,
    what_is_no_report_harms_nobody;
    "ffmpeg":
    a_group_is_told_of_the_clocks_at_once_and_of_the_end,
);
