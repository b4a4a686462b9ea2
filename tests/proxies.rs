//! `<proxy>`: streams of other RTSP servers, pulled once for all who watch.

mod described;
mod lost;
mod motion_jpeg;
mod passwords;
pub(crate) mod servers;
mod tls;
mod wanted;
mod ways;

use std::time::Duration;

use crate::client::pictures::{has_pictures, pictures};
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Response};
use crate::server::{Backend, Builder, Server};
use crate::upstream::camera::Camera;

/// Where the pulled stream is offered.
const PATH: &str = "/gate/cam";

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that pulls a URL; viewers see all since the last keyframe at its own pace.
fn pulling(backend: Backend, url: &str, nodes: &[(&str, &str)]) -> Builder {
    Server::with(backend).setting("gop_cache", 2).proxy(&PATH[1..], url, nodes)
}

/// The same, started, with a camera.
fn of(backend: Backend, camera: &Camera, nodes: &[(&str, &str)]) -> Server {
    pulling(backend, &camera.url(), nodes).start()
}

/// A viewer that has set up everything and plays.
#[track_caller]
fn watch(server: &Server, over: Over) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(PATH), over);
    viewer.play(&[]);
    viewer
}

fn describe(server: &Server) -> Response {
    Client::connect(server.address()).request("DESCRIBE", &server.url(PATH), &[])
}

/// Waits until a viewer has so many pictures, which must follow each other without a gap.
#[track_caller]
fn see(viewer: &mut Viewer, count: usize) {
    let has_come = viewer.receive_until(PATIENCE, has_pictures(count));
    let seen = pictures(viewer);
    assert!(has_come, "{count} pictures after {PATIENCE:?}: {seen:?}");
    assert!(seen.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{seen:?}");
    for track in &viewer.tracks {
        assert_eq!(track.gaps(), []);
    }
}
