//! Sources that go, come back, and never were there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use super::{PATIENCE, describe, of, pulling, see, watch};
use crate::client::pictures::pictures;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::server::{Backend, Server, free_ports, on_both_backends};
use crate::upstream::camera::{Camera, Reply, Script};
use crate::upstream::sending::Kind;

/// Whether a track's numbers and times are those of one source without a break: times grow, by what went by.
#[track_caller]
fn assert_continuous(viewer: &Viewer) {
    for track in &viewer.tracks {
        assert_eq!(track.gaps(), [], "sequence numbers go on");
        let ssrc = track.packets[0].ssrc;
        assert!(track.packets.iter().all(|packet| packet.ssrc == ssrc));
        assert!(!track.has_ended());
        let rate = f64::from(track.media.clock_rate());
        for pair in track.packets.windows(2) {
            let ticks = pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32;
            // A source may be away for some seconds, and packets that wait to be read have one time.
            assert!(ticks >= 0 && f64::from(ticks) / rate < 20.0, "{ticks} ticks");
        }
        let ends = track.packets.first().zip(track.packets.last());
        let (first, last) = ends.expect("packets have come");
        let media = f64::from(last.timestamp.wrapping_sub(first.timestamp)) / rate;
        let wall = last.at.duration_since(first.at).as_secs_f64();
        assert!((media - wall).abs() < 3.0, "{media} s of media in {wall} s");
    }
}

/// A viewer's pictures up to a number, which must come.
#[track_caller]
fn see_number(viewer: &mut Viewer, number: u32, patience: Duration) {
    let has_come = viewer.receive_until(patience, |viewer| pictures(viewer).contains(&number));
    assert!(has_come, "picture {number} has not come after {patience:?}: {:?}", pictures(viewer));
}

fn viewers_go_on_when_a_source_comes_back(backend: Backend) {
    for transfer in ["TCP", "UDP"] {
        let mut camera = Camera::start(Script::default());
        let address = camera.address();
        let server = of(backend, &camera, &[("transfer", transfer)]);
        let mut viewers = BOTH.map(|over| watch(&server, over));
        for viewer in &mut viewers {
            see(viewer, 10);
        }
        // Once its clock starts anew, once it jumps by hours.
        for (first_picture, clock, away) in [(1_000, 0x8000_0000, 300), (2_000, 7, 1_500)] {
            drop(camera);
            thread::sleep(Duration::from_millis(away));
            let back = Instant::now();
            let script = Script { first_picture, clock, ..Script::default() };
            camera = Camera::start_at(address, script);
            for viewer in &mut viewers {
                see_number(viewer, first_picture + 10, PATIENCE);
                let packets = &viewer.tracks[0].packets;
                let returned = packets.iter().find(|packet| packet.at > back).unwrap();
                println!("{transfer}: on after {:?}", returned.at.duration_since(back));
            }
        }
        for viewer in &viewers {
            assert_continuous(viewer);
            let seen = pictures(viewer);
            let breaks: Vec<_> = seen.windows(2).filter(|pair| pair[0] + 1 != pair[1]).collect();
            assert_eq!(breaks.len(), 2, "nothing is missing but what was not sent: {seen:?}");
        }
        server.wait_for_lines("source lost", 2);
    }
}

fn viewers_of_a_source_that_names_no_parameter_sets_go_on_as_well(backend: Backend) {
    let sdp = Script::default().sdp.replace(";sprop-parameter-sets=Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==", "");
    let script = || Script { sdp: sdp.clone(), sends_parameter_sets: true, ..Script::default() };
    let camera = Camera::start(script());
    let address = camera.address();
    let server = of(backend, &camera, &[]);
    let mut viewer = watch(&server, Over::Tcp);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 20));
    drop(camera);
    thread::sleep(Duration::from_millis(300));
    let before = viewer.tracks[0].packets.len();
    let _camera = Camera::start_at(address, script());
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > before + 30));
    assert_continuous(&viewer);
    assert_eq!(server.lines("other tracks"), 0);
}

fn viewers_get_bye_when_a_source_stays_away(backend: Backend) {
    let camera = Camera::start(Script::default());
    let server = pulling(backend, &camera.url(), &[])
        .setting("source_grace_s", 1)
        .setting("source_start_ms", 2_000)
        .start();
    let mut viewers = BOTH.map(|over| watch(&server, over));
    for viewer in &mut viewers {
        see(viewer, 5);
    }
    let gone = Instant::now();
    drop(camera);
    for viewer in &mut viewers {
        viewer.receive_all(PATIENCE);
    }
    assert!(gone.elapsed() >= Duration::from_secs(1), "they were kept for the grace");
    // An interleaved connection has no other use.
    assert!(viewers[1].client.is_closed_within(PATIENCE));
    server.wait_for_log("the source is lost", PATIENCE);
    describe(&server).expect(503);
}

fn a_source_that_ends_its_session_is_asked_again(backend: Backend) {
    let camera = Camera::start(Script {
        timeout: Some(2),
        ..Script::answering(|request| match request.method.as_str() {
            // It has forgotten the session; later ones it keeps.
            "GET_PARAMETER" if request.connection == 0 => Reply::With(454, String::new()),
            _ => Reply::Usual,
        })
    });
    let server = of(backend, &camera, &[]);
    let mut viewer = watch(&server, Over::Tcp);
    camera.wait_for("PLAY", 2, PATIENCE);
    let count = pictures(&viewer).len();
    assert!(viewer.receive_until(PATIENCE, |viewer| pictures(viewer).len() > count + 60));
    assert_continuous(&viewer);
}

fn a_source_that_falls_silent_is_asked_again(backend: Backend) {
    let camera = Camera::start(Script::default());
    let server = pulling(backend, &camera.url(), &[]).setting("source_grace_s", 30).start();
    let mut viewer = watch(&server, Over::Udp);
    see(&mut viewer, 5);
    camera.pause(true);
    camera.wait_for("PLAY", 2, Duration::from_secs(25));
    server.wait_for_lines("nothing comes from the source", 1);
    camera.pause(false);
    let count = pictures(&viewer).len();
    assert!(viewer.receive_until(PATIENCE, |viewer| pictures(viewer).len() > count + 10));
    assert_continuous(&viewer);
}

fn a_source_with_other_tracks_ends_the_viewers_of_those_before(backend: Backend) {
    let camera = Camera::start(Script::default());
    let address = camera.address();
    let server = of(backend, &camera, &[]);
    let mut viewers = BOTH.map(|over| watch(&server, over));
    for viewer in &mut viewers {
        see(viewer, 5);
    }
    drop(camera);
    let (sdp, tracks) = (
        Script::default().sdp.replace("RTP/AVP 8", "RTP/AVP 0"),
        vec![(Kind::Pictures, 96), (Kind::Sound, 0)],
    );
    let _camera = Camera::start_at(address, Script { sdp, tracks, first_picture: 500, ..Script::default() });
    for viewer in &mut viewers {
        viewer.receive_all(PATIENCE);
        assert!(pictures(viewer).iter().all(|number| *number < 500), "{:?}", pictures(viewer));
    }
    server.wait_for_log("the source has other tracks now", PATIENCE);
    // Who asks again is shown the new ones.
    let mut viewer = watch(&server, Over::Tcp);
    see(&mut viewer, 5);
    assert_eq!(viewer.tracks[1].media.payload_type, 0);
}

/// Waits while a proxy tries what is not there; how many attempts the log tells of, each in one line.
fn attempts(server: &Server, time: Duration) -> usize {
    let counts = || {
        let log = server.log();
        (log.matches("path=gate/cam").count(), log.matches("source not available").count())
    };
    let before = counts();
    thread::sleep(time);
    let after = counts();
    assert_eq!(after.0 - before.0, after.1 - before.1, "{}", server.log());
    after.1
}

fn a_source_that_refuses_connections_costs_a_line_per_attempt(backend: Backend) {
    let url = format!("rtsp://127.0.0.1:{}/stream", free_ports());
    let server = pulling(backend, &url, &[("ondemand", "0")]).setting("source_start_ms", 2_000).start();
    let count = attempts(&server, Duration::from_secs(5));
    // After 250 ms, 500 ms and then each second, a fifth sooner at most.
    assert!((3..=9).contains(&count), "{count} attempts");
    let answer = describe(&server).expect(503);
    assert!(answer.text().to_lowercase().contains("refused"), "{}", answer.text());
}

fn a_source_that_says_nothing_is_given_up_with_the_reason(backend: Backend) {
    let camera = Camera::start(Script::answering(|_| Reply::Silence));
    let server = pulling(backend, &camera.url(), &[]).setting("source_start_ms", 1_000).start();
    let began = Instant::now();
    let answer = describe(&server).expect(503);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
    assert!(answer.text().contains("the source does not answer"), "{}", answer.text());
    assert!(camera.connections() <= 2);
}

fn a_source_that_plays_and_sends_nothing_is_said_to(backend: Backend) {
    // Without parameter sets in the description nothing can be answered before they come.
    let sdp = Script::default().sdp.replace(";sprop-parameter-sets=Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==", "");
    // The first attempt fails for another reason, which is not the reason any more.
    let script = Script::answering(|request| match request.method.as_str() {
        "DESCRIBE" if request.connection == 0 => Reply::Close,
        _ => Reply::Usual,
    });
    let camera = Camera::start(Script { sdp, sends: false, ..script });
    let server = pulling(backend, &camera.url(), &[]).setting("source_start_ms", 1_000).start();
    let answer = describe(&server).expect(503);
    assert!(answer.text().contains("the source plays and sends nothing"), "{}", answer.text());
}

fn a_source_that_no_connection_comes_to_is_tried_ever_less_often(backend: Backend) {
    // Its queue of connections is full: what else asks gets no answer at all.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _queue: Vec<_> = (0..4).map(|_| connect_without_waiting(address)).collect();
    let server = pulling(backend, &format!("rtsp://{address}/"), &[("ondemand", "0")])
        .setting("source_start_ms", 1_000)
        .start();
    let answer = describe(&server).expect(503);
    assert!(answer.text().contains("the source does not answer"), "{}", answer.text());
    let count = attempts(&server, Duration::from_secs(7));
    assert!((1..=2).contains(&count), "{count} attempts");
    server.wait_for_log("cannot be connected to in time", PATIENCE);
}

fn a_source_that_plays_for_a_moment_only_is_not_stormed(backend: Backend) {
    let camera = Camera::start(Script { pictures_max: Some(2), ..Script::default() });
    let _server = pulling(backend, &camera.url(), &[("ondemand", "0")]).start();
    camera.wait_for("PLAY", 3, PATIENCE);
    thread::sleep(Duration::from_secs(5));
    // It is asked after 250 ms, 500 ms and then each second, a fifth sooner at most.
    assert!(camera.connections() <= 11, "{} connections", camera.connections());
}

fn connect_without_waiting(address: SocketAddr) -> thread::JoinHandle<Option<std::net::TcpStream>> {
    thread::spawn(move || std::net::TcpStream::connect_timeout(&address, Duration::from_secs(20)).ok())
}

fn a_source_that_comes_late_is_waited_for(backend: Backend) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_ports()));
    let server = pulling(backend, &format!("rtsp://{address}/stream"), &[]).start();
    let camera = thread::spawn(move || {
        thread::sleep(Duration::from_millis(900));
        Camera::start_at(address, Script::default())
    });
    // DESCRIBE waits longer than it takes the camera to start.
    see(&mut watch(&server, Over::Tcp), 5);
    drop(camera.join().unwrap());
}

on_both_backends!(
    viewers_go_on_when_a_source_comes_back,
    viewers_of_a_source_that_names_no_parameter_sets_go_on_as_well,
    viewers_get_bye_when_a_source_stays_away,
    a_source_that_ends_its_session_is_asked_again,
    a_source_that_falls_silent_is_asked_again,
    a_source_with_other_tracks_ends_the_viewers_of_those_before,
    a_source_that_refuses_connections_costs_a_line_per_attempt,
    a_source_that_says_nothing_is_given_up_with_the_reason,
    a_source_that_plays_and_sends_nothing_is_said_to,
    a_source_that_no_connection_comes_to_is_tried_ever_less_often,
    a_source_that_plays_for_a_moment_only_is_not_stormed,
    a_source_that_comes_late_is_waited_for,
);
