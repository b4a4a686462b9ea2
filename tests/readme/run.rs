//! Runs what the README says as it stands there: only hosts, ports and what cannot be there, such as a screen, are put in.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::judge::ffmpeg::Scratch;
use crate::server::{Server, scratch};

/// For a program that plays two seconds, or records what is published, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A reader at the terminal of the machine that the server runs on, or of another one.
pub(crate) struct Reader {
    /// Where they are: the folder that the README is in, with a film beside it. The program is built, and not in the path.
    pub(crate) folder: Scratch,
    /// Settings for the servers that they start.
    pub(crate) environment: Vec<(String, String)>,
    /// Whatever goes on until they leave.
    running: Vec<Running>,
}

struct Running {
    command: String,
    child: Child,
    said: PathBuf,
    /// Files that it leaves, if it is to end by itself.
    makes: Option<&'static str>,
}

impl Reader {
    /// One who has `film.mp4`.
    pub(crate) fn with(film: &Path) -> Reader {
        let folder = Scratch(scratch("readme"));
        let here = folder.path();
        fs::copy(film, here.join("film.mp4")).unwrap();
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("start.sh"), here.join("start.sh")).unwrap();
        fs::create_dir(here.join("bin")).unwrap();
        // What they would build is there.
        for (tool, says) in [("cargo", ""), ("rustc", "rustc 1.99.0")] {
            let file = here.join("bin").join(tool);
            fs::write(&file, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let reader = Reader { folder, environment: Vec::new(), running: Vec::new() };
        reader.has_built("rtspserver", Path::new(env!("CARGO_BIN_EXE_rtspserver")));
        reader
    }

    /// Has a program where building puts it.
    pub(crate) fn has_built(&self, name: &str, program: &Path) {
        let built = self.folder.path().join("target/release");
        fs::create_dir_all(&built).unwrap();
        symlink(program, built.join(name)).unwrap();
    }

    /// Types each command, and sees that it does what it is there for.
    pub(crate) fn types(&mut self, server: &Server, commands: &[String]) {
        for command in commands {
            let mut words = command.split_whitespace();
            match words.next() {
                Some("ffplay") => self.watches(&at(server, command)),
                Some("gst-launch-1.0") => {
                    // There is neither a screen nor a loudspeaker.
                    let command = format!("{} video-sink=fakesink audio-sink=fakesink", at(server, command));
                    self.runs(&command);
                }
                Some("ffmpeg") if words.next() == Some("-re") => self.publishes(server, &at(server, command)),
                Some("ffmpeg") => self.records(&at(server, command)),
                Some("curl") => self.asks(server, &at(server, command)),
                Some("./start.sh") if words.next() == Some("hash-password") => {
                    // At a terminal it is typed.
                    let said = self.runs(&format!("sh -c 'echo secret | {command}'"));
                    assert!(said.contains("<password_hash>"), "{command}: {said}");
                }
                _ => {
                    self.runs(&at(server, command));
                }
            }
        }
    }

    /// Runs a command that ends by itself and succeeds; what it says.
    #[track_caller]
    pub(crate) fn runs(&mut self, command: &str) -> String {
        self.starts(command, None);
        let mut running = self.running.pop().unwrap();
        running.succeeds()
    }

    /// A player, until its clock has gone on for two seconds.
    #[track_caller]
    pub(crate) fn watches(&mut self, command: &str) {
        self.starts(&format!("{command} -hide_banner"), None);
        let mut running = self.running.pop().unwrap();
        let began = Instant::now();
        let mut said = String::new();
        while began.elapsed() < PATIENCE && played(&said) < 2.0 {
            thread::sleep(Duration::from_millis(100));
            said = fs::read_to_string(&running.said).unwrap_or_default();
        }
        running.ends();
        let is_seen = said.contains("Input #0, rtsp") && said.contains("Video:");
        assert!(is_seen && played(&said) >= 2.0, "{command}: {}", end_of(&said));
    }

    /// A sender that goes on.
    fn publishes(&mut self, server: &Server, command: &str) {
        self.starts(command, None);
        let target = command.split_whitespace().last().unwrap();
        let Some(path) = target.strip_prefix("rtsp://") else { return };
        let path = &path[path.find('/').unwrap()..];
        let began = Instant::now();
        let mut status = 404;
        while status == 404 && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(50));
            status = Client::connect(server.address()).request("DESCRIBE", &server.url(path), &[]).status;
        }
        // Who it is matters later on.
        assert!(matches!(status, 200 | 401), "{command}: {status}");
    }

    /// A recorder: it ends with what it records, or as its command says.
    fn records(&mut self, command: &str) {
        let makes = if command.contains("minute.mkv") { "minute.mkv" } else { "part-000.mkv" };
        self.starts(command, Some(makes));
    }

    #[track_caller]
    fn asks(&mut self, server: &Server, command: &str) {
        if command.contains(" -N ") {
            return self.listens(server, command);
        }
        self.runs(&format!("{command} --fail --silent --show-error"));
    }

    /// Hears of somebody who comes.
    #[track_caller]
    fn listens(&mut self, server: &Server, command: &str) {
        self.starts(&format!("{command} --silent"), None);
        let mut running = self.running.pop().unwrap();
        let began = Instant::now();
        let mut said = String::new();
        while began.elapsed() < PATIENCE && !said.contains("film.mp4") {
            Viewer::open(server.address(), &server.url("/film.mp4"), Over::Tcp).play(&[]);
            thread::sleep(Duration::from_millis(200));
            said = fs::read_to_string(&running.said).unwrap_or_default();
        }
        running.ends();
        assert!(said.contains("film.mp4"), "{command}: {said}");
    }

    fn starts(&mut self, command: &str, makes: Option<&'static str>) {
        let said = self.folder.path().join(format!("said-{}.txt", self.running.len()));
        let file = fs::File::create(&said).unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let child = Command::new("sh")
            .args(["-c", &format!("exec timeout 90 {command}")])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()))
            .envs([("SDL_VIDEODRIVER", "dummy"), ("SDL_AUDIODRIVER", "dummy")])
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        self.running.push(Running { command: command.into(), child, said, makes });
    }

    /// Waits for what ends by itself, and sees what it has left.
    #[track_caller]
    pub(crate) fn awaits_recordings(&mut self) {
        let folder = self.folder.path().to_owned();
        for running in self.running.iter_mut().filter(|running| running.makes.is_some()) {
            let said = running.succeeds();
            let file = folder.join(running.makes.unwrap());
            let size = fs::metadata(&file).map(|it| it.len()).unwrap_or_default();
            assert!(size > 50_000, "{}: {} has {size} bytes: {said}", running.command, file.display());
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.running.iter_mut().for_each(Running::ends);
        // A server in the background that a failed test has left would stay.
        if self.folder.path().join("rtspserver.pid").exists() {
            let _ = Command::new("./start.sh").arg("stop").current_dir(self.folder.path()).status();
        }
    }
}

impl Running {
    fn ends(&mut self) {
        // `timeout` passes it on; it would not pass on that it is killed.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }

    #[track_caller]
    fn succeeds(&mut self) -> String {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break Some(status);
            }
            if began.elapsed() > PATIENCE {
                self.ends();
                break None;
            }
            thread::sleep(Duration::from_millis(20));
        };
        let said = fs::read_to_string(&self.said).unwrap_or_default();
        assert!(status.is_some_and(|it| it.success()), "{}: {status:?}: {}", self.command, end_of(&said));
        said
    }
}

/// Seconds that the clock of FFmpeg's player has gone on, by what it shows all the time: the clock and how far sound and
/// pictures are apart.
fn played(said: &str) -> f64 {
    let mut shown = said.split(['\r', '\n']).filter_map(|line| {
        let (clock, rest) = line.trim().split_once(' ')?;
        let is_it = ["A-V:", "M-V:", "M-A:"].iter().any(|sign| rest.trim_start().starts_with(sign));
        clock.parse::<f64>().ok().filter(|clock| is_it && clock.is_finite())
    });
    let Some(first) = shown.next() else { return 0.0 };
    shown.next_back().map_or(0.0, |last| last - first)
}

fn end_of(said: &str) -> String {
    let begin = said.char_indices().rev().nth(3_000).map_or(0, |(index, _)| index);
    said[begin..].to_owned()
}

/// A command for a server: where HOST and the ports of the README are.
fn at(server: &Server, command: &str) -> String {
    let port = if command.contains("rtsps://") { server.secure_address().port() } else { server.port() };
    let http = format!("127.0.0.1:{}", server.http_port());
    command
        .replace("HOST:8080", &http)
        .replace("127.0.0.1:8080", &http)
        .replace("http://HOST/", &format!("http://{http}/"))
        .replace("HOST/", &format!("127.0.0.1:{port}/"))
}
