//! Clients and services of others: FFmpeg plays and publishes, Python's own web server is asked, also behind TLS.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{FILE, PATIENCE};
use crate::corpus::folder;
use crate::judge;
use crate::server::{Backend, Server, on_both_backends};
use crate::upstream::door::{AUTHORITY, Door};

/// Python's web server; it lets nobody publish a name with `secret` in it.
struct Python {
    child: Child,
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Python {
    fn start() -> Python {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream/hook.py");
        let mut child =
            Command::new("/usr/bin/python3").arg(script).stdout(Stdio::piped()).spawn().expect("python3");
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Python { child, port: port.unwrap_or_else(|| panic!("{line:?}")), lines }
    }

    /// Waits for a call with its method, `call` and `name`.
    #[track_caller]
    fn wait_for(&self, line: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.lines.lock().unwrap().iter().any(|seen| seen == line) {
            assert!(Instant::now() < end, "{line:?} is not in {:?}", self.lines.lock().unwrap());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that calls one service for everything.
fn server(backend: Backend, url: &str, method: &str) -> crate::server::Builder {
    let nodes: String = super::CALLS.map(|call| format!("<on_{call}>{url}</on_{call}>")).concat();
    let xml = format!("<http_notify>{nodes}<notify_method>{method}</notify_method></http_notify>");
    Server::with(backend).media(folder()).environment("SSL_CERT_FILE", AUTHORITY).xml(&xml)
}

/// Has FFmpeg play a file and publish it.
fn with_ffmpeg(server: &Server, python: &Python, method: &str) {
    let play = |path: &str| {
        let url = server.url(path);
        let arguments = ["-v", "error", "-rtsp_transport", "tcp", "-i", &url, "-t", "1", "-f", "null", "-"];
        judge::run("ffmpeg", &arguments.map(str::to_owned), Duration::from_secs(20)).map(drop)
    };
    play(&format!("/{FILE}")).unwrap();
    for call in ["connect", "play", "done"] {
        python.wait_for(&format!("{method} {call} {FILE}"));
    }
    let file = folder().join(FILE).display().to_string();
    let publish = |path: &str| {
        let url = server.url(path);
        let arguments =
            ["-v", "error", "-i", &file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", &url];
        judge::run("ffmpeg", &arguments.map(str::to_owned), Duration::from_secs(20)).map(drop)
    };
    publish("/live/one").unwrap();
    for call in ["publish", "done"] {
        python.wait_for(&format!("{method} {call} live/one"));
    }
    let refused = publish("/live/secret").expect_err("it is refused");
    assert!(refused.contains("403"), "{refused}");
    python.wait_for(&format!("{method} publish live/secret"));
}

fn ffmpeg_plays_and_publishes_what_pythons_web_server_allows(backend: Backend) {
    for method in ["POST", "GET"] {
        let python = Python::start();
        let url = format!("http://127.0.0.1:{}/hook", python.port);
        let server = server(backend, &url, method).start();
        with_ffmpeg(&server, &python, method);
    }
}

fn a_service_behind_tls_must_prove_who_it_is(backend: Backend) {
    let python = Python::start();
    let door = Door::before(python.port);
    let url = format!("https://127.0.0.1:{}/hook", door.port);
    let asking = server(backend, &url, "POST").start();
    with_ffmpeg(&asking, &python, "POST");
    let nobody = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls/cert.pem");
    let asking = server(backend, &url, "POST").environment("SSL_CERT_FILE", nobody).start();
    crate::client::Client::connect(asking.address()).request("OPTIONS", "*", &[]).expect(503);
    asking.wait_for_log("invalid peer certificate", PATIENCE);
}

on_both_backends!(;
    "ffmpeg":
    ffmpeg_plays_and_publishes_what_pythons_web_server_allows;
    "tls":
    a_service_behind_tls_must_prove_who_it_is,
);
