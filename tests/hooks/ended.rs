//! The end of whatever was allowed is told once, however it comes.

use std::thread;
use std::time::Duration;

use super::service::{Manner, Service};
use super::{CALLS, FILE, PATIENCE, calling};
use crate::client::Client;
use crate::client::publisher::{Publisher, SDP};
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};

/// A viewer that plays.
fn playing(server: &Server, over: Over) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(&format!("/{FILE}")), over);
    viewer.play(&[]);
    viewer
}

/// Waits for so many ends, and a moment longer for one that should not come.
#[track_caller]
fn ends(service: &Service, count: usize) {
    service.wait_for("done", count);
    thread::sleep(Duration::from_millis(100));
    service.wait_for("done", count);
}

fn a_lost_connection_and_a_session_that_falls_silent_are_ends(backend: Backend) {
    let service = Service::start();
    let server = calling(backend, &service, &CALLS, "").setting("session_timeout", 2).start();
    drop(playing(&server, Over::Tcp));
    ends(&service, 1);
    drop(playing(&server, Over::Udp));
    service.wait_for("play", 2);
    ends(&service, 2);
    // Who only sets up was allowed nothing.
    drop(Viewer::open(server.address(), &server.url(&format!("/{FILE}")), Over::Tcp));
    ends(&service, 2);
}

fn a_publisher_that_never_sends_ends(backend: Backend) {
    let service = Service::start();
    let server = calling(backend, &service, &CALLS, "").start();
    // Announced, and gone.
    let (client, answer) = Publisher::announce(server.address(), &server.url("/live"), SDP);
    answer.expect(200);
    drop(client);
    ends(&service, 1);
    // Announced twice: the first is forgotten.
    let (mut client, answer) = Publisher::announce(server.address(), &server.url("/live"), SDP);
    answer.expect(200);
    Publisher::announce_on(&mut client, &server.url("/other"), SDP).expect(200);
    ends(&service, 2);
    drop(client);
    ends(&service, 3);
    // Allowed by the service, and refused by the server: the path is a file's.
    let (_, answer) = Publisher::announce(server.address(), &server.url(&format!("/{FILE}")), SDP);
    answer.expect(405);
    ends(&service, 4);
    // What cannot be announced is not asked about.
    Publisher::announce(server.address(), &server.url("/live"), "v=0").1.expect(400);
    Publisher::announce(server.address(), &server.url("/test"), SDP).1.expect(405);
    service.wait_for("publish", 4);
    // Set up, sending, and lost.
    drop(Publisher::start(server.address(), &server.url("/live"), Over::Tcp));
    ends(&service, 5);
}

fn a_client_that_is_gone_before_the_answer_has_an_end(backend: Backend) {
    let service = Service::start();
    let nodes = "<notify_timeout_ms>30000</notify_timeout_ms>";
    let server = calling(backend, &service, &["play", "done"], nodes).start();
    service.answer("play", Manner::Silent);
    let mut viewer = Viewer::open(server.address(), &server.url(&format!("/{FILE}")), Over::Tcp);
    let control = viewer.description.control.clone();
    viewer.client.ask("PLAY", &control, &[]);
    service.wait_for("play", 1);
    drop(viewer);
    server.wait_for_log("session ended", PATIENCE);
    assert_eq!(service.calls("done").len(), 0);
    service.answer("play", Manner::Status(200));
    ends(&service, 1);
    // What was refused has none.
    service.answer("play", Manner::Status(403));
    let mut viewer = Viewer::open(server.address(), &server.url(&format!("/{FILE}")), Over::Tcp);
    viewer.client.request("PLAY", &control, &[]).expect(403);
    drop(viewer);
    ends(&service, 1);
}

fn a_session_that_goes_on_by_another_connection_ends_once(backend: Backend) {
    let service = Service::start();
    let server = calling(backend, &service, &CALLS, "").shards(3).start();
    let mut viewer = playing(&server, Over::Udp);
    let (session, url) = (viewer.client.session.clone(), viewer.description.control.clone());
    // Whatever shards they come to: those elsewhere move to the session's.
    let mut last = None;
    for _ in 0..6 {
        let mut client = Client::connect(server.address());
        client.session.clone_from(&session);
        client.request("PLAY", &url, &[]).expect(200);
        last = Some(client);
    }
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 10));
    last.unwrap().request("TEARDOWN", &url, &[]).expect(200);
    ends(&service, 1);
    service.wait_for("connect", 7);
    let [play] = &service.wait_for("play", 1)[..] else { panic!() };
    assert_eq!(service.calls("done")[0].argument("clientid"), play.argument("clientid"));
}

fn the_end_of_the_program_is_an_end(backend: Backend) {
    let service = Service::start();
    let server = calling(backend, &service, &CALLS, "").start();
    let viewers: Vec<_> = (0..8).map(|_| playing(&server, Over::Tcp)).collect();
    let publisher = Publisher::start(server.address(), &server.url("/live"), Over::Tcp);
    let (announced, answer) = Publisher::announce(server.address(), &server.url("/announced"), SDP);
    answer.expect(200);
    server.signal("TERM");
    assert!(server.wait(PATIENCE).is_some_and(|status| status.success()), "it ends in order");
    ends(&service, 10);
    drop((viewers, publisher, announced));
}

fn a_service_that_is_silent_does_not_hold_up_the_end_of_the_program(backend: Backend) {
    let service = Service::start();
    service.answer("done", Manner::Silent);
    let nodes = "<notify_timeout_ms>60000</notify_timeout_ms>";
    let server = calling(backend, &service, &["done"], nodes).setting("shutdown_s", 1).start();
    let viewers: Vec<_> = (0..3).map(|_| playing(&server, Over::Tcp)).collect();
    server.signal("TERM");
    assert!(server.wait(PATIENCE).is_some_and(|status| status.success()), "it ends in order");
    server.wait_for_log("before a web service has heard of all that has ended", PATIENCE);
    service.wait_for("done", 3);
    drop(viewers);
}

on_both_backends!(
    a_publisher_that_never_sends_ends;
    "ffmpeg":
    a_lost_connection_and_a_session_that_falls_silent_are_ends,
    a_client_that_is_gone_before_the_answer_has_an_end,
    a_session_that_goes_on_by_another_connection_ends_once,
    the_end_of_the_program_is_an_end,
    a_service_that_is_silent_does_not_hold_up_the_end_of_the_program,
);
