//! Microphones that come and go are told to those who listen to events.

use std::time::Duration;

use super::session::Session;
use crate::server::{Backend, on_both_backends};
use crate::steering::happening::Listener;

/// Longer than the program takes to look twice.
const LOOKS: Duration = Duration::from_secs(15);

/// Changes that may be made before the program has looked for the first time.
const CHANGES_UNTOLD_MAX: usize = 6;

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
    let mut is_heard = false;
    for _ in 0..CHANGES_UNTOLD_MAX {
        is_there = !is_there;
        if is_there {
            session.plug(1)
        } else {
            session.unplug(1)
        }
        is_heard = listener.has_more(LOOKS);
        if is_heard {
            break;
        }
    }
    assert!(is_heard, "nothing is told of a microphone that comes and goes");
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

fn a_microphone_of_pipewire_that_comes_and_goes_is_told(backend: Backend) {
    is_told_of(backend, ("PULSE_SERVER", "unix:/nowhere"));
}

fn a_microphone_of_pulseaudio_that_comes_and_goes_is_told(backend: Backend) {
    is_told_of(backend, ("PIPEWIRE_REMOTE", "nowhere"));
}

on_both_backends!(;
    "ffmpeg": a_microphone_of_pulseaudio_that_comes_and_goes_is_told;
    "pipewire": a_microphone_of_pipewire_that_comes_and_goes_is_told,
);
