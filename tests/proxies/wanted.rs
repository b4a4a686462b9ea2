//! When a source is pulled, and that it is pulled once for all.

use std::thread;
use std::time::Duration;

use super::{PATH, PATIENCE, describe, of, pulling, see, watch};
use crate::client::Client;
use crate::client::pictures::{has_pictures, pictures};
use crate::client::publisher::{Publisher, SDP};
use crate::client::viewer::{BOTH, Over};
use crate::server::{Backend, Server, on_both_backends};
use crate::upstream::camera::{Camera, Script};

fn what_a_source_sends_comes_to_every_viewer_as_it_was_sent(backend: Backend) {
    for transfer in ["TCP", "UDP"] {
        let camera = Camera::start(Script::default());
        let server = of(backend, &camera, &[("transfer", transfer)]);
        let mut viewers = BOTH.map(|over| watch(&server, over));
        for viewer in &mut viewers {
            see(viewer, 30);
            let video = &viewer.tracks[0];
            let first = video.packets[0].timestamp;
            // The last one may not be whole yet.
            let units = video.units();
            for (unit, index) in units[..29].iter().zip(0..) {
                assert_eq!(unit.len(), 3, "{transfer}: {index}");
                assert!(unit[2].marker && !unit[1].marker);
                assert_eq!(unit[0].timestamp.wrapping_sub(first), 3_600 * index);
                assert_eq!(unit[1].payload[6..], [1; 700]);
            }
            let sound = &viewer.tracks[1].packets;
            let whole = |packet: &crate::client::rtp::Packet| packet.payload == [packet.payload[0]; 320];
            assert!(sound.iter().all(whole));
            let numbers: Vec<_> = sound.iter().map(|packet| packet.payload[0]).collect();
            assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{transfer}: {numbers:?}");
        }
        assert_eq!(pictures(&viewers[0])[0], 0, "{transfer}: the first viewer has begun it");
        assert_eq!(camera.connections(), 1, "{transfer}");
    }
}

fn a_source_is_pulled_while_somebody_watches(backend: Backend) {
    let camera = Camera::start(Script::default());
    let server = pulling(backend, &camera.url(), &[]).setting("ondemand_close_s", 2).start();
    thread::sleep(Duration::from_millis(700));
    assert_eq!(camera.connections(), 0, "nobody watches");
    for round in 1..=2 {
        let mut viewer = watch(&server, Over::Tcp);
        see(&mut viewer, 5);
        assert_eq!(camera.connections(), round);
        viewer.teardown();
        thread::sleep(Duration::from_millis(500));
        // Who comes back soon finds it running.
        let mut viewer = watch(&server, Over::Udp);
        see(&mut viewer, 5);
        assert_eq!(camera.connections(), round, "it was not left yet");
        viewer.teardown();
        camera.wait_for("TEARDOWN", round, PATIENCE);
        let last = camera.asked("TEARDOWN").pop().unwrap();
        assert_eq!(last.header("Session"), Some((99 + round).to_string().as_str()), "{last:?}");
    }
    server.wait_for_lines("nobody watches", 2);
}

fn a_description_alone_is_not_watched_for_long(backend: Backend) {
    let camera = Camera::start(Script::default());
    let server = pulling(backend, &camera.url(), &[]).setting("ondemand_close_s", 2).start();
    describe(&server).expect(200);
    camera.wait_for("TEARDOWN", 1, PATIENCE);
}

fn a_source_that_is_always_wanted_is_pulled_at_once_and_kept(backend: Backend) {
    let camera = Camera::start(Script::default());
    let node = [("ondemand", "0")];
    let server = pulling(backend, &camera.url(), &node).setting("ondemand_close_s", 2).start();
    camera.wait_for("PLAY", 1, PATIENCE);
    watch(&server, Over::Tcp).teardown();
    thread::sleep(Duration::from_millis(3_500));
    assert_eq!((camera.connections(), camera.asked("TEARDOWN").len()), (1, 0));
    // And it is left in order at the end.
    server.signal("TERM");
    assert!(server.wait(PATIENCE).is_some_and(|status| status.success()));
    camera.wait_for("TEARDOWN", 1, PATIENCE);
}

fn many_viewers_on_all_shards_cost_one_connection(backend: Backend) {
    let camera = Camera::start(Script::default());
    let server = pulling(backend, &camera.url(), &[]).shards(4).start();
    let mut viewers: Vec<_> =
        (0..24).map(|index| watch(&server, if index % 3 == 0 { Over::Udp } else { Over::Tcp })).collect();
    for viewer in &mut viewers {
        see(viewer, 15);
    }
    assert_eq!(camera.connections(), 1);
    assert_eq!(camera.asked("PLAY").len(), 1);
    // Half of them leave; the others see nothing of it.
    for mut viewer in viewers.drain(..12) {
        viewer.teardown();
    }
    for viewer in &mut viewers {
        let count = pictures(viewer).len();
        see(viewer, count + 10);
    }
}

fn viewers_who_wait_together_are_answered_together(backend: Backend) {
    let camera = Camera::start(Script { sends: false, ..Script::default() });
    let server = of(backend, &camera, &[]);
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.ask("DESCRIBE", &server.url(PATH), &[]);
    }
    for client in &mut clients {
        client.response().expect(200);
    }
    assert_eq!(camera.connections(), 1);
}

fn paths_below_a_proxy_are_nothing_and_it_cannot_be_published_to(backend: Backend) {
    let camera = Camera::start(Script::default());
    let server = of(backend, &camera, &[]);
    for path in ["/gate/cam/below", "/gate", "/gate/ca", "/gate/cam2"] {
        Client::connect(server.address()).request("DESCRIBE", &server.url(path), &[]).expect(404);
    }
    let (_, answer) = Publisher::announce(server.address(), &server.url(PATH), SDP);
    answer.expect(405);
    assert_eq!(camera.connections(), 0, "nobody has asked for it");
    for path in ["/gate/cam/", "/gate/cam?t=unicast&p=tcp", "/gate/cam&ve=H264"] {
        Client::connect(server.address()).request("DESCRIBE", &server.url(path), &[]).expect(200);
    }
}

fn a_proxy_without_a_url_is_switched_off(backend: Backend) {
    let server = Server::with(backend).proxy("off", "", &[]).start();
    server.wait_for_lines("this proxy is switched off", 1);
    Client::connect(server.address()).request("DESCRIBE", &server.url("/off"), &[]).expect(404);
}

fn a_viewer_who_comes_late_starts_at_the_latest_keyframe(backend: Backend) {
    let camera = Camera::start(Script::default());
    let server = of(backend, &camera, &[("ondemand", "0")]);
    camera.wait_for("PLAY", 1, PATIENCE);
    thread::sleep(Duration::from_millis(1_300));
    for over in BOTH {
        let mut viewer = watch(&server, over);
        assert!(viewer.receive_until(PATIENCE, has_pictures(12)));
        let first = pictures(&viewer)[0];
        assert!(first >= 10 && first.is_multiple_of(10), "{:?}", pictures(&viewer));
    }
}

on_both_backends!(
    what_a_source_sends_comes_to_every_viewer_as_it_was_sent,
    a_source_is_pulled_while_somebody_watches,
    a_description_alone_is_not_watched_for_long,
    a_source_that_is_always_wanted_is_pulled_at_once_and_kept,
    many_viewers_on_all_shards_cost_one_connection,
    viewers_who_wait_together_are_answered_together,
    paths_below_a_proxy_are_nothing_and_it_cannot_be_published_to,
    a_proxy_without_a_url_is_switched_off,
    a_viewer_who_comes_late_starts_at_the_latest_keyframe,
);
