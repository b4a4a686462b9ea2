//! The API, metrics and what asks whether all is well: by curl, promtool, ffmpeg and clients that mean no good.

mod asked;
mod described;
mod dumped;
pub(crate) mod happening;
mod hostile;
mod kicked;
mod numbers;
mod permitted;
mod socket;
mod streams;

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::corpus::folder;
use crate::judge::run;
use crate::server::{Backend, Builder, Server};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server of the corpus whose HTTP and TLS ports are open.
fn server(backend: Backend) -> Builder {
    Server::with(backend).http().media(folder()).lifetime(Duration::from_secs(120))
}

/// What curl got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    kind: String,
    body: String,
    /// Connections that it took.
    connections: u32,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A problem of that status, which says this.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, detail: &str) {
        let answer = self.expect(status);
        assert_eq!(answer.kind, "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks by curl; the last of the answers.
#[track_caller]
pub(crate) fn curl(url: &str, arguments: &[&str]) -> Answer {
    let fixed = ["-sS", "-k", "--max-time", "20", "-w", "\n%{http_code}\n%{num_connects}\n%{content_type}"];
    let arguments: Vec<String> =
        fixed.iter().chain(arguments).chain([&url]).map(|it| (*it).to_owned()).collect();
    let output = run("curl", &arguments, PATIENCE * 2).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut parts = text.rsplitn(4, '\n');
    let mut next = || parts.next().unwrap().to_owned();
    let (kind, connections, status, body) = (next(), next(), next(), next());
    Answer { status: status.parse().unwrap(), kind, body, connections: connections.parse().unwrap() }
}

/// The URL of a path on the HTTP port.
pub(crate) fn http(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.http_address())
}

/// What is at a path, as JSON.
#[track_caller]
pub(crate) fn get(server: &Server, path: &str) -> Value {
    curl(&http(server, path), &[]).expect(200).json()
}

/// Waits until what is at a path is as it should be.
#[track_caller]
fn wait_for(server: &Server, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = get(server, path);
        if is_so(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{path}: {answer}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A program that is killed when the test lets go of it.
struct Running(Child);

impl Running {
    fn ffmpeg(arguments: &[&str]) -> Running {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error"]).args(arguments);
        Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Plays a stream until it ends.
    fn player(server: &Server, path: &str, transport: &str) -> Running {
        Running::player_of(&server.url(path), transport)
    }

    fn player_of(url: &str, transport: &str) -> Running {
        Running::ffmpeg(&["-rtsp_transport", transport, "-i", url, "-c", "copy", "-f", "null", "-"])
    }

    /// Publishes a moving picture for a minute.
    fn publisher(server: &Server, path: &str) -> Running {
        Running::publisher_to(&server.url(path))
    }

    fn publisher_to(url: &str) -> Running {
        let source = ["-re", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=60"];
        let coding = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25"];
        let to = ["-rtsp_transport", "tcp", "-f", "rtsp", url];
        Running::ffmpeg(&[&source[..], &coding, &to].concat())
    }

    fn ends_within(&mut self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while Instant::now() < end {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends bytes; what comes until the server closes, or for as long as it is waited.
fn exchange(server: SocketAddr, bytes: &[u8]) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that has heard enough may close before all is said.
    let _ = stream.write_all(bytes);
    let (mut answer, mut some) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut some) {
        answer.extend_from_slice(&some[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}
