//! Microphones that come and go are told to those who listen to events.

use std::time::Duration;

use super::session::Session;
use crate::server::Backend;
use crate::steering::happening::Listener;

/// Longer than the program takes to look twice.
const LOOKS: Duration = Duration::from_secs(15);

/// What is told of the second microphone, when it was plugged in or unplugged.
#[track_caller]
fn is_told(listener: &Listener, is_there: bool) {
    let told = listener.next(if is_there { "device_came" } else { "device_went" });
    assert_eq!(told["path"], "audiodevice1", "{told}");
    assert!(told["description"].as_str().unwrap().contains("Microphone 1 (testmic1)"), "{told}");
}

/// The second of two microphones comes and goes, as it is found by what is left of a session where these variables are so.
fn is_told_of(backend: Backend, environment: (&str, &str)) {
    let mut session = Session::with_pipewire();
    session.spawn("pipewire-pulse", &[], "pulse/native");
    session.plug(0);
    let server = session.server(backend).environment(environment.0, environment.1).http().start();
    let listener = Listener::of(&server);
    Listener::wait_for(&server, 1);
    // Nothing is told before it has been looked for the first time since somebody listens.
    let mut is_there = false;
    while !listener.has_more(LOOKS) {
        is_there = !is_there;
        if is_there { session.plug(1) } else { session.unplug(1) }
    }
    is_told(&listener, is_there);
    for _ in 0..3 {
        is_there = !is_there;
        if is_there {
            session.plug(1)
        } else {
            session.unplug(1)
        }
        is_told(&listener, is_there);
    }
}

#[test]
fn a_microphone_of_pipewire_that_comes_and_goes_is_told() {
    is_told_of(Backend::Uring, ("PULSE_SERVER", "unix:/nowhere"));
}

#[test]
fn a_microphone_of_pulseaudio_that_comes_and_goes_is_told() {
    is_told_of(Backend::Fallback, ("PIPEWIRE_REMOTE", "nowhere"));
}
