//! A desktop session of a test's own, without a desktop: a message bus, PipeWire, microphones that hear tones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::judge::ffmpeg::words;
use crate::judge::run;
use crate::server::{Backend, Builder, Server, scratch};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The one service that programs of the session can have started: where portals keep what users have chosen.
const SERVICE: &str = "/usr/share/dbus-1/services/org.freedesktop.impl.portal.PermissionStore.service";

/// Waits until nobody holds its standard input, and ends what the session has left then.
const WARDEN: &str =
    "trap '' INT TERM; cat > /dev/null; xargs -r kill -9 < \"$0/pids\" 2> /dev/null; rm -rf \"$0\"";

/// A session, which ends with this, or with the tests where it is kept for all of them.
pub(crate) struct Session {
    folder: PathBuf,
    children: Vec<(String, Child)>,
    warden: Child,
}

impl Drop for Session {
    fn drop(&mut self) {
        for (_, child) in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Numbers of processes that have ended may be those of others.
        let _ = fs::remove_file(self.file("pids"));
        drop(self.warden.stdin.take());
        let _ = self.warden.wait();
    }
}

impl Session {
    /// A session with a bus and nothing else.
    pub(crate) fn start() -> Session {
        // Paths of sockets are short.
        let number = scratch("session").file_name().unwrap().to_string_lossy().into_owned();
        let folder = std::env::temp_dir().join(number);
        fs::create_dir_all(folder.join("services")).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let mut warden = Command::new("sh");
        warden.args(["-c", WARDEN]).arg(&folder).stdin(Stdio::piped());
        let warden = warden.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut session = Session { folder, children: Vec::new(), warden };
        if let Ok(service) = fs::read(SERVICE) {
            fs::write(session.file("services/store.service"), service).unwrap();
        }
        let configuration = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
             <busconfig><type>session</type><listen>{}</listen><servicedir>{}</servicedir>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            session.bus(),
            session.file("services").display(),
        );
        let file = session.file("bus.conf");
        fs::write(&file, configuration).unwrap();
        let arguments = format!("--config-file={} --nofork --nopidfile", file.display());
        session.spawn("dbus-daemon", &words(&arguments), "bus");
        session
    }

    /// A session with PipeWire.
    pub(crate) fn with_pipewire() -> Session {
        let mut session = Session::start();
        session.start_pipewire();
        session
    }

    pub(crate) fn start_pipewire(&mut self) {
        self.spawn("pipewire", &[], "pipewire-0");
        self.spawn("wireplumber", &[], "");
    }

    /// Ends a program of the session, or all of that name.
    pub(crate) fn stop(&mut self, program: &str) {
        let (stopped, others) = self.children.drain(..).partition(|(name, _)| name == program);
        self.children = others;
        for (_, mut child) in Vec::<(String, Child)>::from_iter(stopped) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.note_children();
    }

    /// Has the warden know whom to end.
    fn note_children(&self) {
        let numbers: Vec<_> = self.children.iter().map(|(_, child)| child.id().to_string()).collect();
        fs::write(self.file("pids"), numbers.join("\n")).unwrap();
    }

    /// Sends a signal to a program of the session, by its name.
    pub(crate) fn signal(&self, program: &str, signal: &str) {
        let (_, child) = self.children.iter().find(|(name, _)| name == program).unwrap();
        let arguments = ["-s", signal, &child.id().to_string()].map(str::to_owned);
        assert!(Command::new("kill").args(arguments).status().unwrap().success());
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn bus(&self) -> String {
        format!("unix:path={}", self.file("bus").display())
    }

    /// What programs of the session know of it.
    fn environment(&self) -> [(&'static str, String); 5] {
        let folder = |name: &str| self.file(name).display().to_string();
        [
            ("XDG_RUNTIME_DIR", self.folder.display().to_string()),
            ("DBUS_SESSION_BUS_ADDRESS", self.bus()),
            ("HOME", self.folder.display().to_string()),
            ("XDG_DATA_HOME", folder("data")),
            ("XDG_STATE_HOME", folder("state")),
        ]
    }

    pub(crate) fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment()).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts a program and waits for its socket.
    pub(crate) fn spawn(&mut self, program: &str, arguments: &[String], socket: &str) {
        let command = self.tool(program);
        self.spawn_as(command, arguments, socket);
    }

    /// The same with an environment of its own.
    pub(crate) fn spawn_as(&mut self, mut command: Command, arguments: &[String], socket: &str) {
        // What was left by one that was killed is not that of the next.
        if !socket.is_empty() {
            let _ = fs::remove_file(self.file(socket));
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.args(arguments).spawn();
        self.children.push((program.clone(), child.unwrap_or_else(|error| panic!("{program}: {error}"))));
        self.note_children();
        let end = Instant::now() + PATIENCE;
        while !self.file(socket).exists() {
            assert!(Instant::now() < end, "{program} does not start");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a tool until it succeeds.
    pub(crate) fn insist(&self, program: &str, arguments: &[&str]) {
        let end = Instant::now() + PATIENCE;
        while !self.tool(program).args(arguments).status().unwrap().success() {
            assert!(Instant::now() < end, "{program} {arguments:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A microphone comes, which hears nothing.
    pub(crate) fn plug(&self, index: usize) {
        let node = format!(
            "{{ factory.name=support.null-audio-sink node.name=testmic{index} media.class=Audio/Source/Virtual \
             node.description=\"Microphone {index}\" object.linger=true audio.position=[MONO] }}"
        );
        self.insist("pw-cli", &["create-node", "adapter", &node]);
    }

    /// A microphone goes.
    pub(crate) fn unplug(&self, index: usize) {
        self.insist("pw-cli", &["destroy", &format!("testmic{index}")]);
    }

    /// A microphone that hears a tone.
    pub(crate) fn microphone(&mut self, index: usize, tone: f64) {
        self.plug(index);
        let file = self.file(&format!("tone{index}.wav"));
        let sine =
            format!("-nostdin -v error -y -f lavfi -i sine=frequency={tone}:sample_rate=48000:duration=240");
        let arguments = format!("{sine} -c:a pcm_s16le {}", file.display());
        run("ffmpeg", &words(&arguments), PATIENCE).unwrap();
        let properties = format!("{{ node.name=feeder{index} }}");
        let arguments =
            ["-p", "--target", "0", "-P", &properties, &file.display().to_string()].map(str::to_owned);
        self.spawn("pw-cat", &arguments, "");
        let (output, input) = (format!("feeder{index}:output_MONO"), format!("testmic{index}:input_MONO"));
        self.insist("pw-link", &[&output, &input]);
    }

    /// A server within the session.
    pub(crate) fn server(&self, backend: Backend) -> Builder {
        let server = Server::with(backend).lifetime(Duration::from_secs(300));
        self.environment().into_iter().fold(server, |server, (name, value)| server.environment(name, &value))
    }

    /// What the program prints of its devices within the session.
    pub(crate) fn devices(&self, environment: &[(&str, &str)]) -> String {
        let mut command = self.tool(env!("CARGO_BIN_EXE_rtspserver"));
        let output = command.arg("devices").envs(environment.iter().copied()).stdout(Stdio::piped()).output();
        let output = output.unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Threads of a server by their names.
pub(crate) fn threads(server: &Server) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
    names.map(|name| name.trim().to_owned()).collect()
}

/// Waits until a server has no thread left that has to do with devices.
#[track_caller]
pub(crate) fn wait_for_no_device(server: &Server) {
    let end = Instant::now() + PATIENCE;
    let of_devices =
        |name: &String| ["capture", "pipewire", "portal", "data-loop"].iter().any(|of| name.starts_with(of));
    loop {
        let left: Vec<_> = threads(server).into_iter().filter(of_devices).collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "threads that are left: {left:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
