//! Who comes late to a live stream whose keyframes lie ten seconds apart: what is seen at once, and how far behind.

use std::ops::Range;
use std::thread;
use std::time::Duration;

use crate::client::pictures::pictures;
use crate::client::publisher::Publisher;
use crate::client::viewer::{BOTH, Over, Track, Viewer};
use crate::seeking::is_keyframe;
use crate::server::{Backend, Server, on_both_backends};

const PATH: &str = "/live/camera";

/// Pictures from keyframe to keyframe: ten seconds at 25 a second.
const GOP: u32 = 250;

/// Pictures that have been sent when a viewer comes: the keyframe is 8 s old.
const SENT: u32 = 200;

const PICTURE_MS: u32 = 40;

/// How far behind a viewer may be who came a second ago.
const BEHIND_MS_MAX: u32 = 300;

const PATIENCE: Duration = Duration::from_secs(10);

fn running(backend: Backend, gop_cache: u8) -> (Server, Publisher, Viewer) {
    let server = Server::with(backend).setting("gop_cache", gop_cache).start();
    let mut publisher = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
    publisher.picture(0, true);
    let mut before = watch(&server, Over::Tcp);
    // Without a cache the first viewer still waits for its keyframe.
    publisher.picture(1, gop_cache == 0);
    for index in 2..SENT {
        publisher.picture(index, false);
    }
    assert!(before.receive_until(PATIENCE, |viewer| pictures(viewer).last() == Some(&(SENT - 1))));
    (server, publisher, before)
}

fn watch(server: &Server, over: Over) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(PATH), over);
    viewer.play(&[]);
    viewer
}

/// The picture that a player shows so long after the first that it has got, by its timestamps.
fn shown_after(viewer: &Viewer, ms: u32) -> u32 {
    let units = viewer.tracks[0].units();
    let first = units[0][0].timestamp;
    let due = |stamp: u32| stamp.wrapping_sub(first) <= 90 * ms;
    let at = units.iter().rposition(|unit| due(unit[0].timestamp)).unwrap();
    pictures(viewer)[at]
}

fn a_late_viewer_sees_at_once_and_is_hardly_behind(backend: Backend) {
    let (server, mut publisher, mut before) = running(backend, 1);
    // The source's next picture is held back until each has begun.
    let mut viewers = BOTH.map(|over| {
        let mut viewer = watch(&server, over);
        let has_all = |viewer: &Viewer| pictures(viewer).last() == Some(&(SENT - 1));
        assert!(viewer.receive_until(PATIENCE, has_all), "{over:?}: {:?}", pictures(&viewer));
        assert!(is_keyframe(viewer.tracks[0].units()[0]), "{over:?}");
        viewer
    });
    for index in SENT..SENT + 40 {
        publisher.picture(index, false);
    }
    let has_all = |viewer: &Viewer| pictures(viewer).last() == Some(&(SENT + 39));
    assert!(before.receive_until(PATIENCE, has_all));
    for viewer in &mut viewers {
        assert!(viewer.receive_until(PATIENCE, has_all), "{:?}", pictures(viewer));
        assert!(pictures(viewer).windows(2).all(|pair| pair[0] + 1 == pair[1]), "{:?}", pictures(viewer));
        assert_eq!(viewer.tracks[0].gaps(), []);
        // Who was there before has the latest picture when the other gets its first, and is a second further then.
        let (theirs, ours) = (SENT - 1 + 1_000 / PICTURE_MS, shown_after(viewer, 1_000));
        let behind_ms = theirs.saturating_sub(ours) * PICTURE_MS;
        assert!(behind_ms <= BEHIND_MS_MAX, "{behind_ms} ms behind: picture {ours}, not {theirs}");
    }
    // And for that second picture the earlier viewer has the same times as the late ones.
    let stamp = |track: &Track, from_end: usize| {
        let units = track.units();
        units[units.len() - from_end][0].timestamp
    };
    for viewer in &viewers {
        let steps = |viewer: &Viewer| stamp(&viewer.tracks[0], 1).wrapping_sub(stamp(&viewer.tracks[0], 30));
        assert_eq!(steps(viewer), steps(&before));
    }
}

fn without_a_cache_nothing_comes_that_cannot_be_decoded(backend: Backend) {
    let (server, mut publisher, _before) = running(backend, 0);
    let mut viewers = BOTH.map(|over| watch(&server, over));
    for index in SENT..GOP {
        publisher.picture(index, false);
    }
    for viewer in &mut viewers {
        viewer.receive(Duration::from_millis(300));
        assert_eq!(pictures(viewer), Vec::<u32>::new(), "nothing before a keyframe");
    }
    for index in GOP..GOP + 20 {
        publisher.picture(index, index == GOP);
    }
    for (viewer, over) in viewers.iter_mut().zip(BOTH) {
        let has_all = |viewer: &Viewer| pictures(viewer).last() == Some(&(GOP + 19));
        assert!(viewer.receive_until(PATIENCE, has_all), "{over:?}: {:?}", pictures(viewer));
        assert!(is_keyframe(viewer.tracks[0].units()[0]), "{over:?}");
        assert_eq!(pictures(viewer), (GOP..GOP + 20).collect::<Vec<_>>(), "{over:?}");
        assert_eq!(viewer.tracks[0].gaps(), []);
    }
}

/// What is cached is older than a viewer may lag who was there: who comes late has not lagged at all.
fn a_keyframe_that_comes_while_a_viewer_catches_up_takes_nothing_away(backend: Backend) {
    const PICTURES: u32 = 60;
    let server = Server::with(backend).setting("slow_reader_ms", 200).start();
    let mut publisher = Publisher::start(server.address(), &server.url(PATH), Over::Tcp);
    // So many packets that they are not sent at once, however fast the machine.
    let mut send = |indices: Range<u32>| {
        for index in indices {
            publisher.picture_of(index, index.is_multiple_of(PICTURES), 40, 1_000);
            thread::sleep(Duration::from_millis(2));
        }
    };
    let (mut first, half) = (0, PICTURES / 2);
    for over in BOTH {
        send(first..first + PICTURES);
        thread::sleep(Duration::from_millis(300));
        let mut viewer = watch(&server, over);
        first += PICTURES;
        send(first..first + half);
        let last = first + half - 1;
        let has_last = |viewer: &Viewer| pictures(viewer).last() == Some(&last);
        assert!(viewer.receive_until(PATIENCE, has_last), "{over:?}: {:?}", pictures(&viewer));
        assert_eq!(viewer.tracks[0].gaps(), [], "{over:?}");
        send(first + half..first + PICTURES);
        first += PICTURES;
    }
    assert!(!server.log().contains("too slow"));
}

on_both_backends!(
    a_keyframe_that_comes_while_a_viewer_catches_up_takes_nothing_away,
    a_late_viewer_sees_at_once_and_is_hardly_behind,
    without_a_cache_nothing_comes_that_cannot_be_decoded,
);
