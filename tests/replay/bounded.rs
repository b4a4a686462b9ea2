//! As fast as it can come, where what is sent has a bound.

use std::time::{Duration, Instant};

use super::{LONG, folder, open};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};

on_both_backends!(;
    "ffmpeg":
    who_takes_what_there_is_stays_within_the_bound,
    who_takes_what_there_is_leaves_room_for_the_next,
);

/// Bits of media that have come.
fn bits(viewer: &Viewer) -> f64 {
    // Of each packet also the header and the extension, which are sent as well.
    viewer.tracks[0].packets.iter().map(|packet| (packet.payload.len() + 28) * 8).sum::<usize>() as f64
}

fn bounded(backend: Backend) -> Server {
    Server::with(backend).media(folder()).setting("max_bitrate_mbps", 2).start()
}

fn who_takes_what_there_is_stays_within_the_bound(backend: Backend) {
    let server = bounded(backend);
    for over in BOTH {
        let begun = Instant::now();
        let mut viewers = [open(&server, LONG, over), open(&server, LONG, over)];
        for viewer in &mut viewers {
            viewer.play(&[("Rate-Control", "no")]);
        }
        for viewer in &mut viewers {
            viewer.receive(Duration::from_millis(700));
        }
        let all: f64 = viewers.iter().map(bits).sum();
        let seconds = begun.elapsed().as_secs_f64();
        // The first of each may leave at once.
        assert!(all < 2e6 * seconds * 1.1 + 600_000.0, "{over:?}: {all} bits in {seconds} s");
        assert!(viewers.iter().all(|viewer| bits(viewer) > 100_000.0), "{over:?}: both get some");
    }
}

fn who_takes_what_there_is_leaves_room_for_the_next(backend: Backend) {
    let server = bounded(backend);
    let mut taker = open(&server, LONG, Over::Tcp);
    taker.play(&[("Rate-Control", "no")]);
    // Longer than what was sent of late is measured over.
    taker.receive(Duration::from_millis(1_500));
    let mut next = open(&server, LONG, Over::Tcp);
    next.play(&[("Rate-Control", "yes")]);
    next.receive_until(Duration::from_secs(10), |viewer| viewer.tracks[0].packets.len() > 10);
    assert!(next.tracks[0].packets.len() > 10);
    // What was sent beyond the promise is forgotten with the pause.
    taker.pause();
    taker.play(&[("Rate-Control", "no")]);
}
