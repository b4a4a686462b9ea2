//! Microphones of a PipeWire session of the test's own: each hears a tone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::viewer::{BOTH, Over};
use crate::judge::ffmpeg::{Scratch, words};
use crate::judge::{Turn, run};
use crate::server::{Backend, Builder, Server, on_both_backends, scratch};
use crate::transcoding::heard_at;

const PATIENCE: Duration = Duration::from_secs(30);

/// What each microphone hears, in hertz.
const TONES: [f64; 2] = [440.0, 1_000.0];

/// Loudspeakers, one for each backend: tests of both run at once. Those where several talk at once have their own.
const LOUDSPEAKERS: [&str; 4] = ["talk-fallback", "talk-uring", "mixed-fallback", "mixed-uring"];

/// A sound server with two microphones.
pub(super) struct Session {
    folder: PathBuf,
    children: Vec<Child>,
}

impl Drop for Session {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Session {
    fn start() -> Session {
        // Paths of sockets are short.
        let number = scratch("sound").file_name().unwrap().to_string_lossy().into_owned();
        let folder = std::env::temp_dir().join(number);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let mut session = Session { folder, children: Vec::new() };
        let bus = format!("--session --address={} --nofork --nopidfile", session.bus());
        session.spawn("dbus-daemon", &words(&bus), "bus");
        session.spawn("pipewire", &[], "pipewire-0");
        session.spawn("wireplumber", &[], "");
        session.spawn("pipewire-pulse", &[], "pulse/native");
        for (index, tone) in TONES.into_iter().enumerate() {
            session.microphone(index, tone);
        }
        for name in LOUDSPEAKERS {
            let node = format!(
                "{{ factory.name=support.null-audio-sink node.name={name} media.class=Audio/Sink \
                 object.linger=true audio.position=[MONO] monitor.channel-volumes=true }}"
            );
            session.insist("pw-cli", &["create-node", "adapter", &node]);
        }
        session
    }

    fn bus(&self) -> String {
        format!("unix:path={}", self.folder.join("bus").display())
    }

    pub(super) fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("XDG_RUNTIME_DIR", &self.folder).env("DBUS_SESSION_BUS_ADDRESS", self.bus());
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts a program and waits for its socket.
    fn spawn(&mut self, program: &str, arguments: &[String], socket: &str) {
        let child = self.tool(program).args(arguments).spawn();
        self.children.push(child.unwrap_or_else(|error| panic!("{program}: {error}")));
        let end = Instant::now() + PATIENCE;
        while !self.folder.join(socket).exists() {
            assert!(Instant::now() < end, "{program} does not start");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a tool until it succeeds.
    fn insist(&self, program: &str, arguments: &[&str]) {
        let end = Instant::now() + PATIENCE;
        while !self.tool(program).args(arguments).status().unwrap().success() {
            assert!(Instant::now() < end, "{program} {arguments:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn microphone(&mut self, index: usize, tone: f64) {
        let node = format!(
            "{{ factory.name=support.null-audio-sink node.name=testmic{index} media.class=Audio/Source/Virtual \
             object.linger=true audio.position=[MONO] }}"
        );
        self.insist("pw-cli", &["create-node", "adapter", &node]);
        let file = self.folder.join(format!("tone{index}.wav"));
        let sine =
            format!("-nostdin -v error -y -f lavfi -i sine=frequency={tone}:sample_rate=48000:duration=120");
        let arguments = format!("{sine} -c:a pcm_s16le {}", file.display());
        run("ffmpeg", &words(&arguments), PATIENCE).unwrap();
        let properties = format!("{{ node.name=feeder{index} }}");
        let arguments =
            ["-p", "--target", "0", "-P", &properties, &file.display().to_string()].map(str::to_owned);
        self.spawn("pw-cat", &arguments, "");
        let (output, input) = (format!("feeder{index}:output_MONO"), format!("testmic{index}:input_MONO"));
        self.insist("pw-link", &[&output, &input]);
    }

    pub(super) fn server(&self, backend: Backend) -> Builder {
        let folder = self.folder.display().to_string();
        Server::with(backend).environment("XDG_RUNTIME_DIR", &folder).lifetime(Duration::from_secs(300))
    }
}

/// The session of all tests here; a sound server each would be more than two processors take.
pub(super) fn session() -> &'static Session {
    static SESSION: OnceLock<Session> = OnceLock::new();
    SESSION.get_or_init(Session::start)
}

/// Level and share of a tone of a URL.
fn heard(url: &str, over: Over, hertz: f64) -> (f64, f64) {
    let _turn = Turn::wait();
    let folder = Scratch(scratch("sound"));
    let file = folder.file("kept.mkv");
    let way = over.name();
    let arguments =
        format!("-nostdin -v error -y -rtsp_transport {way} -i {url} -t 2.5 -vn -c:a pcm_s16le {file}");
    run("ffmpeg", &words(&arguments), PATIENCE).unwrap();
    heard_at(&file, hertz)
}

fn shown(url: &str) -> String {
    let entries = "stream=codec_name,sample_rate,channels";
    let arguments = format!("-v error -rtsp_transport tcp -show_entries {entries} -of csv=p=0 {url}");
    String::from_utf8(run("ffprobe", &words(&arguments), PATIENCE).unwrap().stdout).unwrap().trim().to_owned()
}

fn each_microphone_is_a_stream_of_its_own(backend: Backend) {
    let server = session().server(backend).start();
    for (index, path) in ["/audiodevice", "/audiodevice1"].into_iter().enumerate() {
        assert_eq!(shown(&server.url(path)), "pcm_mulaw,8000,2", "{path}");
        let (level, of_tone) = heard(&server.url(path), BOTH[index], TONES[index]);
        println!("{path}: level {level}, tone {of_tone}");
        // A busy machine leaves a moment out now and then.
        assert!(of_tone > 0.7, "{path}: {of_tone}");
    }
}

fn sound_comes_in_what_is_asked_for(backend: Backend) {
    let server = session().server(backend).start();
    for (asked, is) in [
        ("ae=AAC&sr=44100&ch=1", "aac,44100,1"),
        ("ae=OPUS", "opus,48000,2"),
        ("ae=G722&ch=1", "adpcm_g722,16000,1"),
        ("ae=PCMA&sr=16000", "pcm_alaw,16000,2"),
    ] {
        let url = server.url(&format!("/audiodevice1&{asked}"));
        assert_eq!(shown(&url), is, "{asked}");
        let (_, of_tone) = heard(&url, Over::Tcp, TONES[1]);
        assert!(of_tone > 0.7, "{asked}: {of_tone}");
    }
}

fn a_microphone_that_there_is_not_is_404_and_the_log_says_what_there_is(backend: Backend) {
    let server = session().server(backend).start();
    let mut client = Client::connect(server.address());
    client.request("DESCRIBE", &server.url("/audiodevice9"), &[]).expect(404);
    server.wait_for_log("no such microphone; there are 2: testmic0, testmic1", PATIENCE);
}

on_both_backends!(
    each_microphone_is_a_stream_of_its_own,
    sound_comes_in_what_is_asked_for,
    a_microphone_that_there_is_not_is_404_and_the_log_says_what_there_is,
);
