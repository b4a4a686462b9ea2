//! Two hundred viewers, and one reload after the other: nobody who is not meant misses a packet.

use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use super::{FILE, Subject, goes_on, is_over, proxy, serving, user};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::load::Report;
use crate::server::{Backend, on_both_backends};
use crate::steering::get;
use crate::upstream::camera::{Camera, Script};

/// Viewers by transport, with the stream that each of these parts watches.
const CROWD: [(&str, &str, &str); 2] = [("mixed", "134", "/live/camera"), ("ws", "66", "/live/stage")];
const CROWD_VIEWERS: usize = 200;
const RELOADS: usize = 20;

fn twenty_reloads_cost_two_hundred_viewers_no_packet(backend: Backend) {
    crate::load::program();
    let [kept, other] = [(); 2].map(|()| Camera::start(Script::default()));
    let subject = Subject::start(serving(backend).http().xml(&proxy("kept", &kept.url(), "")));
    let mut watching = ["/kept", FILE]
        .into_iter()
        .flat_map(|path| BOTH.map(|over| subject.watch(path, over)))
        .collect::<Vec<_>>();
    let mut reloads = 0;
    // A slow machine needs more than one crowd for them.
    while reloads < RELOADS {
        let before = reloads;
        reloads = in_a_crowd(&subject, &mut watching, before, |round| {
            let nodes = nodes(round, &subject, &other);
            subject.reload(&nodes);
            if nodes.contains("<suffix>other<") {
                let mut viewer = subject.watch("/other", Over::Tcp);
                subject.reload("");
                is_over(&mut viewer);
            }
        });
        assert!(reloads > before, "no reload while the crowd was there");
    }
    assert_eq!(kept.connections(), 1);
}

/// Reloads from this round on while everybody is there, with a crowd that misses nothing; the round that is next.
fn in_a_crowd(
    subject: &Subject,
    watching: &mut [Viewer],
    mut round: usize,
    mut reload: impl FnMut(usize),
) -> usize {
    let pid = subject.server.pid().to_string();
    // Each part has a publisher.
    let all = (CROWD_VIEWERS + CROWD.len() + watching.len()) as u64;
    let is_there = || get(&subject.server, "/api/v1/sessions?limit=1")["total"].as_u64().unwrap() >= all;
    thread::scope(|scope| {
        let crowd = CROWD.map(|(transport, viewers, path)| {
            let (url, pid) = (subject.server.url(path), &pid);
            scope.spawn(move || {
                let arguments = ["fanout", "--url", &url, "--viewers", viewers, "--server-pid", pid];
                let stream = ["--transport", transport, "--bitrate", "600000", "--duration", "24"];
                Report::of(&[&arguments[..], &stream[..]].concat())
            })
        });
        while !is_there() && !crowd.iter().any(ScopedJoinHandle::is_finished) {
            read(watching);
        }
        while round < RELOADS && is_there() {
            reload(round);
            read(watching);
            round += usize::from(is_there());
        }
        watching.iter_mut().for_each(goes_on);
        // The next crowd comes to what was there at first.
        subject.reload("");
        while !crowd.iter().all(ScopedJoinHandle::is_finished) {
            read(watching);
        }
        let mut played = 0.0;
        for part in crowd {
            let report = part.join().unwrap();
            played += report.number("played");
            let lost = ["silent", "missing", "pictures_behind"].map(|name| report.number(name));
            assert_eq!(lost, [0.0; 3]);
        }
        assert_eq!(played, CROWD_VIEWERS as f64);
    });
    round
}

/// Whoever does not read is shed.
fn read(watching: &mut [Viewer]) {
    for viewer in watching {
        viewer.receive_until(Duration::from_millis(20), |_| false);
    }
}

/// Something of every kind, each time another.
fn nodes(round: usize, subject: &Subject, camera: &Camera) -> String {
    let port = subject.server.port() + 2;
    let rule = "<output><url>/live/camera</url><audio><codec>NONE</codec></audio></output>";
    match round % 4 {
        0 => proxy("other", &camera.url(), "<ondemand>0</ondemand>") + &user("a", "b", "play"),
        1 => format!("{rule}<rtsps_port>{port}</rtsps_port><max_sessions>{}</max_sessions>", 5_000 + round),
        2 => format!(
            "{}<serverip>127.0.0.3</serverip><deny>127.0.0.9</deny><serverport>{port}</serverport>",
            user("c", "d", "publish")
        ),
        _ => format!(
            "<pusher><suffix>p</suffix><video><codec>H264</codec></video>\
             <transfer><mode>TCP</mode><vport>{port}</vport></transfer></pusher>{}",
            proxy("other", &camera.url(), "")
        ),
    }
}

on_both_backends!(;
    "ffmpeg":
    twenty_reloads_cost_two_hundred_viewers_no_packet,
);
