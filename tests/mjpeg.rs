//! The client of Motion JPEG against a camera over real connections: every picture comes as it was sent, whatever the
//! camera's oddity.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::client::mjpeg::{MjpegClient, MjpegConfig, MjpegEvent};
use proto::client::{AuthError, Failure, Scheme, Url};
use proto::rtsp::message::Method;
use proto::rtsp::status::Status;
use proto::time::Time;

use crate::server::scratch;

/// A running camera; killed when the test lets go of it.
pub(crate) struct Camera {
    child: Child,
    pub(crate) port: u16,
}

impl Camera {
    /// Sends the pictures of [`pictures`], with those options.
    pub(crate) fn start(options: &[&str]) -> Camera {
        Camera::of(&pictures().0, options)
    }

    /// Sends the pictures of a folder, again and again.
    pub(crate) fn of(folder: &Path, options: &[&str]) -> Camera {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upstream/mjpeg.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .args(["0", "--rate", "50", "--pictures"])
            .arg(folder)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is installed");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("the camera says that it is ready");
        let port = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
        Camera { port: port.unwrap_or_else(|| panic!("{options:?}: {line:?}")), child }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Some JPEG files: the folder, and what they hold in the order of their names.
pub(crate) fn pictures() -> &'static (PathBuf, Vec<Vec<u8>>) {
    static PICTURES: OnceLock<(PathBuf, Vec<Vec<u8>>)> = OnceLock::new();
    PICTURES.get_or_init(|| {
        let folder = scratch("mjpeg");
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=640x480:rate=10:duration=0.5"])
            .args(["-q:v", "3", "-pix_fmt", "yuvj420p", "-huffman", "default"])
            .arg(folder.join("%d.jpg"))
            .status()
            .expect("ffmpeg is installed");
        assert!(made.success());
        let files: Vec<Vec<u8>> =
            (1..=5).map(|number| fs::read(folder.join(format!("{number}.jpg"))).unwrap()).collect();
        assert!(files.iter().all(|file| file.starts_with(b"\xff\xd8") && file.ends_with(b"\xff\xd9")));
        (folder, files)
    })
}

/// What came of it.
#[derive(Debug)]
struct Fetched {
    pictures: Vec<Bytes>,
    failure: Option<Failure>,
    /// How many connections it took.
    connections: usize,
}

/// Fetches so many pictures, or until it fails, as a driver does.
fn fetch(url: &str, count: usize) -> Fetched {
    let begun = Instant::now();
    let now = || Time::from_nanos(begun.elapsed().as_nanos() as u64);
    let mut client = MjpegClient::new(now(), MjpegConfig::new(Url::parse_http(url).unwrap(), 7));
    let mut fetched = Fetched { pictures: Vec::new(), failure: None, connections: 0 };
    let mut connection: Option<TcpStream> = None;
    let mut bytes = vec![0; 16 * 1024];
    while begun.elapsed() < PATIENCE {
        while let Some(event) = client.poll_event() {
            match event {
                MjpegEvent::Connect(endpoint) => {
                    assert_eq!(endpoint.scheme, Scheme::Http);
                    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).unwrap();
                    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
                    connection = Some(stream);
                    fetched.connections += 1;
                    client.handle_connected(now());
                }
                MjpegEvent::Playing => {}
                MjpegEvent::Picture(file) => fetched.pictures.push(file),
                MjpegEvent::Failed(failure) => fetched.failure = Some(failure),
            }
        }
        if fetched.pictures.len() >= count || fetched.failure.is_some() {
            return fetched;
        }
        while let Some(request) = client.poll_transmit() {
            // What cannot be sent any more is told by the next read.
            let _ = connection.as_mut().map(|stream| stream.write_all(&request));
        }
        let got = connection.as_mut().map(|stream| stream.read(&mut bytes));
        match got {
            Some(Ok(count)) if count > 0 => client.handle_bytes(now(), &bytes[..count]),
            Some(Err(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            None => std::thread::sleep(Duration::from_millis(5)),
            Some(Ok(_) | Err(_)) => {
                connection = None;
                client.handle_closed(now());
            }
        }
        if client.poll_timeout().is_some_and(|deadline| deadline <= now()) {
            client.handle_timeout(now());
        }
    }
    fetched
}

/// Fetches some pictures, which must be those of the camera in its order.
#[track_caller]
fn check(options: &[&str], userinfo: &str) -> Fetched {
    let camera = Camera::start(options);
    let fetched = fetch(&format!("http://{userinfo}127.0.0.1:{}/video", camera.port), COUNT);
    assert_eq!((fetched.pictures.len(), &fetched.failure), (COUNT, &None), "{options:?}");
    for (index, picture) in fetched.pictures.iter().enumerate() {
        let files = &pictures().1;
        assert!(*picture == files[index % files.len()], "{options:?}: picture {index} is another one");
    }
    fetched
}

#[test]
fn every_picture_of_a_stream_comes_as_it_was_sent() {
    let oddities: [&[&str]; 9] = [
        &[],
        &["--boundary-dashes"],
        &["--boundary-quotes", "--boundary-dashes", "--no-length"],
        &["--no-length", "--no-line-end"],
        &["--wrong-length", "--bare-lf"],
        &["--chunked"],
        &["--chunked", "--no-length", "--boundary-dashes"],
        &["--no-end-marker", "--no-length"],
        &["--close", "--no-end-marker", "--boundary-dashes"],
    ];
    for options in oddities {
        assert_eq!(check(options, "").connections, 1, "{options:?}");
    }
}

#[test]
fn snapshots_become_a_stream_on_one_connection_where_it_lasts() {
    assert_eq!(check(&["--snapshot"], "").connections, 1);
    assert_eq!(check(&["--snapshot", "--chunked"], "").connections, 1);
    assert_eq!(check(&["--snapshot", "--no-length"], "").connections, COUNT);
    assert_eq!(check(&["--snapshot", "--close"], "").connections, COUNT);
}

#[test]
fn a_camera_with_a_password_is_satisfied_in_each_of_its_ways() {
    let credentials = ["--user", "admin", "--password", "p@ss w"];
    for way in ["basic", "digest", "digest-sha256"] {
        for more in [&["--auth", way][..], &["--auth", way, "--close"], &["--auth", way, "--snapshot"]] {
            check(&[&credentials[..], more].concat(), "admin:p%40ss%20w@");
        }
        let camera = Camera::start(&[&credentials[..], &["--auth", way]].concat());
        let fetched = fetch(&format!("http://admin:wrong@127.0.0.1:{}/", camera.port), COUNT);
        assert_eq!(fetched.failure, Some(Failure::Unauthorized(AuthError::Refused)), "{way}");
    }
}

#[test]
fn a_redirect_is_followed_and_a_refusal_and_an_end_are_said() {
    assert_eq!(check(&["--redirect"], "").connections, 2);
    for status in [404, 503] {
        let camera = Camera::start(&["--status", &status.to_string()]);
        let fetched = fetch(&format!("http://127.0.0.1:{}/", camera.port), COUNT);
        let refused = Failure::Refused { method: Method::from("GET"), status: Status(status) };
        assert_eq!(fetched.failure, Some(refused));
    }
    for more in [&[][..], &["--chunked"]] {
        let camera = Camera::start(&[&["--stop-after", "3"], more].concat());
        let fetched = fetch(&format!("http://127.0.0.1:{}/", camera.port), COUNT);
        assert_eq!((fetched.pictures.len(), fetched.failure), (3, Some(Failure::Closed)));
    }
}

/// Pictures of one case: more than there are files.
const COUNT: usize = 7;

/// For one case.
const PATIENCE: Duration = Duration::from_secs(60);
