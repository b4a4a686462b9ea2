//! Sources behind TLS.

use super::{PATIENCE, describe, pulling, see, watch};
use crate::client::viewer::BOTH;
use crate::mjpeg;
use crate::server::{Backend, Server, on_both_backends};
use crate::upstream::camera::{Camera, Script};
use crate::upstream::door::{AUTHORITY, Door};

/// The camera's URL through a door.
fn through(door: &Door, host: &str, camera: &Camera) -> String {
    let url = camera.url();
    let path = url.splitn(4, '/').nth(3).unwrap();
    format!("rtsps://{host}:{}/{path}", door.port)
}

fn a_source_behind_tls_is_pulled_whoever_it_is(backend: Backend) {
    let camera = Camera::start(Script::default());
    let door = Door::before(camera.address().port());
    let server = pulling(backend, &through(&door, "127.0.0.1", &camera), &[]).start();
    for over in BOTH {
        see(&mut watch(&server, over), 10);
    }
}

fn a_source_that_must_prove_who_it_is_does(backend: Backend) {
    let camera = Camera::start(Script::default());
    let door = Door::before(camera.address().port());
    let url = through(&door, "127.0.0.1", &camera);
    let server = pulling(backend, &url, &[("verify", "1")]).environment("SSL_CERT_FILE", AUTHORITY).start();
    for over in BOTH {
        see(&mut watch(&server, over), 10);
    }
}

fn a_source_that_nobody_vouches_for_is_refused_at_once(backend: Backend) {
    let camera = Camera::start(Script::default());
    let door = Door::before(camera.address().port());
    let url = through(&door, "127.0.0.1", &camera);
    let nobody = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/cert.pem");
    let server = pulling(backend, &url, &[("verify", "1")]).environment("SSL_CERT_FILE", nobody).start();
    let answer = describe(&server);
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("TLS: invalid peer certificate"), "{}", answer.text());
    assert_eq!(camera.connections(), 0, "nothing was said to it");
}

fn a_source_that_speaks_no_tls_is_refused_at_once(backend: Backend) {
    let source = Server::with(backend).start();
    let url = format!("rtsps://127.0.0.1:{}/test", source.port());
    let server = pulling(backend, &url, &[]).start();
    let answer = describe(&server);
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("TLS"), "{}", answer.text());
    server.wait_for_log("source not available", PATIENCE);
}

fn motion_jpeg_behind_tls_is_pulled(backend: Backend) {
    let camera = mjpeg::Camera::start(&[]);
    let door = Door::before(camera.port);
    let url = format!("https://127.0.0.1:{}/video", door.port);
    let server = pulling(backend, &url, &[]).start();
    for over in BOTH {
        super::motion_jpeg::see_pictures(&server, over, 5);
    }
}

on_both_backends!(
    a_source_that_speaks_no_tls_is_refused_at_once;
    "tls":
    a_source_behind_tls_is_pulled_whoever_it_is,
    a_source_that_must_prove_who_it_is_does,
    a_source_that_nobody_vouches_for_is_refused_at_once,
    motion_jpeg_behind_tls_is_pulled,
);
