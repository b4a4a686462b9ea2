//! The real program, started on free ports with a configuration of its own; killed when the test lets go of it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::windows::wine::{self, Build};

/// Which driver the program shall use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Uring,
    Fallback,
    /// The program of Windows, which has the fallback alone.
    Windows(Build),
}

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Backend::Uring => "uring",
            Backend::Fallback | Backend::Windows(_) => "fallback",
        }
    }
}

/// Makes two tests of each function that takes a [`Backend`]. Those behind `; "ffmpeg":` are of programs that have that feature
/// alone: they play files or use devices, or those behind `; "tls":` encrypt.
macro_rules! on_both_backends {
    ($($name:ident),* $(,)? $(; $feature:tt: $($needs:ident),+ $(,)?)*) => {
        mod on_uring {
            $(#[test] fn $name() { super::$name($crate::server::Backend::Uring) })*
            $($(#[cfg(feature = $feature)] #[test] fn $needs() {
                super::$needs($crate::server::Backend::Uring)
            })+)*
        }
        mod on_fallback {
            $(#[test] fn $name() { super::$name($crate::server::Backend::Fallback) })*
            $($(#[cfg(feature = $feature)] #[test] fn $needs() {
                super::$needs($crate::server::Backend::Fallback)
            })+)*
        }
    };
}
pub(crate) use on_both_backends;

/// What a server shall be started with.
pub(crate) struct Builder {
    backend: Backend,
    port: u16,
    address: String,
    media: Option<PathBuf>,
    settings: Vec<(String, String)>,
    shards: u16,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    raw: String,
    file: Option<String>,
    lifetime: Duration,
    is_unprivileged: bool,
    descriptors: Option<u32>,
}

/// A running server.
pub(crate) struct Server {
    backend: Backend,
    child: Arc<Mutex<Child>>,
    log: Arc<Mutex<String>>,
    port: u16,
    folder: PathBuf,
}

/// How a program that was expected to end by itself did so.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
}

impl Server {
    /// A server on loopback with two shards, its HTTP and TLS doors closed.
    pub(crate) fn with(backend: Backend) -> Builder {
        Builder {
            backend,
            port: free_ports(),
            address: "127.0.0.1".into(),
            media: None,
            settings: Vec::new(),
            shards: 2,
            arguments: Vec::new(),
            environment: Vec::new(),
            raw: String::new(),
            file: None,
            lifetime: Duration::from_secs(60),
            is_unprivileged: false,
            descriptors: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The URL of a path that begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The port of HTTP, which is open after [`Builder::http`].
    pub(crate) fn http_port(&self) -> u16 {
        self.port + 1
    }

    pub(crate) fn http_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.http_port()).into()
    }

    /// What it was started with.
    pub(crate) fn configuration_file(&self) -> PathBuf {
        self.folder.join("rtspserver.xml")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Everything the program has printed so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a line of the log holds `what`.
    pub(crate) fn wait_for_log(&self, what: &str, patience: Duration) {
        let end = Instant::now() + patience;
        while !self.log().contains(what) {
            assert!(Instant::now() < end, "{what:?} is not in the log after {patience:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Lines of the log that hold `what`, so far.
    pub(crate) fn lines(&self, what: &str) -> usize {
        self.log().lines().filter(|line| line.contains(what)).count()
    }

    /// Waits until so many lines of the log hold `what`, and no more: they come a moment after what they tell of.
    #[track_caller]
    pub(crate) fn wait_for_lines(&self, what: &str, count: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.lines(what) < count {
            assert!(Instant::now() < end, "{} lines of {count} with {what:?}", self.lines(what));
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.lines(what), count, "lines with {what:?}");
    }

    /// The address of RTSP in TLS; see [`Builder::tls`].
    pub(crate) fn secure_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + RTSPS).into()
    }

    /// The address of HTTP in TLS.
    pub(crate) fn https_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port + HTTPS).into()
    }

    /// The URL in TLS of a path that begins with a slash.
    pub(crate) fn secure_url(&self, path: &str) -> String {
        format!("rtsps://{}{path}", self.secure_address())
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the program to end by itself; None when it has not after `patience`.
    pub(crate) fn wait(&self, patience: Duration) -> Option<ExitStatus> {
        wait(&self.child, patience)
    }

    /// Whether the program still runs.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.child.lock().unwrap().try_wait(), Ok(None))
    }

    /// Anonymous memory of the process in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Descriptors that the process has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let died = child.try_wait().ok().flatten();
        let _ = child.kill();
        let _ = child.wait();
        if let Backend::Windows(_) = self.backend {
            wine::end(&self.folder);
        }
        if thread::panicking() {
            let note = died.map_or(String::new(), |status| format!(" (ended before the test: {status})"));
            eprintln!("---- log of the server on port {}{note}\n{}----", self.port, self.log());
        }
        let _ = fs::remove_dir_all(&self.folder);
        HELD.lock().unwrap().retain(|(port, _)| *port != self.port);
    }
}

impl Builder {
    /// Sets a node below the root of the configuration.
    pub(crate) fn setting(mut self, name: &str, value: impl ToString) -> Builder {
        self.settings.push((name.into(), value.to_string()));
        self
    }

    /// Opens the ports of RTSP and HTTP in TLS and shows a certificate of `tests/data/tls`, by the name of its files.
    pub(crate) fn tls(self, certificate: &str, key: &str) -> Builder {
        let (rtsps, https) = (self.port + RTSPS, self.port + HTTPS);
        let file = |name: &str| format!("{}/tests/data/tls/{name}", env!("CARGO_MANIFEST_DIR"));
        let files = [("cert_file", file(certificate)), ("key_file", file(key))];
        files
            .into_iter()
            .fold(self, |builder, (name, file)| builder.setting(name, file))
            .setting("rtsps_port", rtsps)
            .setting("rtsp_over_https", 1)
            .setting("https_port", https)
    }

    /// Opens the HTTP port, and lets tunnels and WebSocket in.
    pub(crate) fn http(self) -> Builder {
        let port = self.port + 1;
        self.setting("rtsp_over_http", 1).setting("http_port", port)
    }

    /// The folder that is served.
    pub(crate) fn media(mut self, folder: &Path) -> Builder {
        self.media = Some(folder.to_owned());
        self
    }

    /// Adds XML below the root of the configuration.
    pub(crate) fn xml(mut self, xml: &str) -> Builder {
        self.raw.push_str(xml);
        self
    }

    /// A whole configuration in place of the one that settings make; its port of RTSP must be this builder's.
    pub(crate) fn file(mut self, xml: String) -> Builder {
        self.file = Some(xml);
        self
    }

    /// Adds a `<proxy>` with these nodes beside suffix and URL.
    pub(crate) fn proxy(self, suffix: &str, url: &str, nodes: &[(&str, &str)]) -> Builder {
        let mut xml = String::from("<proxy>");
        for (name, value) in [("suffix", suffix), ("url", url)].iter().chain(nodes) {
            let value = value.replace('&', "&amp;").replace('<', "&lt;");
            xml.push_str(&format!("<{name}>{value}</{name}>"));
        }
        self.xml(&(xml + "</proxy>\n"))
    }

    /// How many shards, in place of two.
    pub(crate) fn shards(mut self, count: u16) -> Builder {
        self.shards = count;
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn environment(mut self, name: &str, value: &str) -> Builder {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Adds an argument of the command line.
    pub(crate) fn argument(mut self, argument: &str) -> Builder {
        self.arguments.push(argument.into());
        self
    }

    /// The address to listen on in place of 127.0.0.1.
    pub(crate) fn ip(mut self, address: &str) -> Builder {
        self.address = address.into();
        self
    }

    /// The RTSP port in place of a free one.
    pub(crate) fn port(mut self, port: u16) -> Builder {
        self.port = port;
        self
    }

    /// How long the program may run before it is killed, in place of a minute.
    pub(crate) fn lifetime(mut self, lifetime: Duration) -> Builder {
        self.lifetime = lifetime;
        self
    }

    /// Runs the program as nobody where a test is run by root, who may read everything.
    pub(crate) fn unprivileged(mut self) -> Builder {
        self.is_unprivileged = true;
        self
    }

    /// How many descriptors the program may have.
    pub(crate) fn descriptors(mut self, count: u32) -> Builder {
        self.descriptors = Some(count);
        self
    }

    /// Starts the program and waits until it listens.
    pub(crate) fn start(self) -> Server {
        let (port, lifetime) = (self.port, self.lifetime);
        let (server, _) = self.spawn();
        let patience = match server.backend {
            Backend::Windows(_) => wine::START,
            _ => Duration::from_secs(10),
        };
        let end = Instant::now() + patience;
        while TcpStream::connect_timeout(&server.address(), Duration::from_millis(200)).is_err() {
            assert!(server.is_alive(), "the program has ended instead of listening on port {port}");
            assert!(Instant::now() < end, "the program does not listen on port {port} after {patience:?}");
            thread::sleep(Duration::from_millis(5));
        }
        let child = server.child.clone();
        thread::spawn(move || {
            if wait(&child, lifetime).is_none() {
                eprintln!("the server on port {port} is killed: it has run for {lifetime:?}");
                let _ = child.lock().unwrap().kill();
            }
        });
        server
    }

    /// Starts the program and waits until it ends by itself, which it must within `patience`.
    pub(crate) fn run_to_end(self, patience: Duration) -> Ended {
        let (server, readers) = self.spawn();
        let Some(status) = server.wait(patience) else {
            panic!("the program still runs after {patience:?}");
        };
        for reader in readers {
            reader.join().unwrap();
        }
        Ended { status, output: server.log() }
    }

    fn spawn(self) -> (Server, Vec<thread::JoinHandle<()>>) {
        let folder = scratch("server");
        let file = folder.join("rtspserver.xml");
        let configuration = self.file.clone().unwrap_or_else(|| self.configuration(&folder));
        fs::write(&file, configuration).unwrap();
        let program = env!("CARGO_BIN_EXE_rtspserver");
        let mut command = match (self.backend, self.descriptors) {
            (Backend::Windows(build), _) => wine::program(build, &folder),
            (_, Some(count)) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {count} && exec \"$0\" \"$@\""), program]);
                shell
            }
            (_, None) => Command::new(program),
        };
        command.args(["serve", "-c", &self.path(&file)]).args(["--backend", self.backend.name()]);
        command.args(["--shards", &self.shards.to_string()]);
        command.env_remove("RUST_LOG").envs(self.environment.clone());
        command.args(&self.arguments).current_dir(&folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if self.is_unprivileged && is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child = command.spawn().expect("the program is built");
        let log = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            follow(child.stdout.take().expect("standard output is a pipe"), &log),
            follow(child.stderr.take().expect("standard error is a pipe"), &log),
        ];
        let child = Arc::new(Mutex::new(child));
        (Server { backend: self.backend, child, log, port: self.port, folder }, readers)
    }

    fn configuration(&self, folder: &Path) -> String {
        let media = self.media.clone().unwrap_or_else(|| {
            let media = folder.join("media");
            fs::create_dir_all(&media).unwrap();
            media
        });
        let defaults = [
            ("serverip", self.address.clone()),
            ("serverport", self.port.to_string()),
            ("rtsp_over_http", "0".into()),
            ("rtsp_over_https", "0".into()),
            ("rtsps_port", "0".into()),
            ("log_level", "1".into()),
            ("media_dir", self.path(&media)),
            ("udp_port_min", (self.port + 4).to_string()),
            ("udp_port_max", (self.port + PORTS_PER_SERVER - 2).to_string()),
        ];
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<config>\n");
        for (name, value) in defaults.iter().filter(|(name, _)| !self.settings.iter().any(|s| s.0 == *name)) {
            xml.push_str(&format!("<{name}>{value}</{name}>\n"));
        }
        for (name, value) in &self.settings {
            xml.push_str(&format!("<{name}>{value}</{name}>\n"));
        }
        xml.push_str(&self.raw);
        xml.push_str("\n</config>\n");
        match self.backend {
            Backend::Windows(_) => xml.replace('\n', "\r\n"),
            _ => xml,
        }
    }

    /// As the program's system has it.
    fn path(&self, path: &Path) -> String {
        match self.backend {
            Backend::Windows(_) => wine::path(path),
            _ => path.to_str().expect("the path is UTF-8").to_owned(),
        }
    }
}

/// From the RTSP port to those of RTSP and HTTP in TLS.
const RTSPS: u16 = 2;
const HTTPS: u16 = 3;

/// Debian's user `nobody`.
const NOBODY: u32 = 65_534;

/// Whether [`Builder::unprivileged`] can be had: nobody must be able to reach the program and the folders of tests.
pub(crate) fn can_be_unprivileged() -> bool {
    if !is_root() {
        return true;
    }
    let mut command = Command::new("test");
    command.args(["-x", env!("CARGO_BIN_EXE_rtspserver"), "-a", "-x", env!("CARGO_TARGET_TMPDIR")]);
    command.uid(NOBODY).gid(NOBODY).status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Ports that one server has for itself: RTSP, room for other doors, then UDP.
const PORTS_PER_SERVER: u16 = 60;

/// The last port of every block in use is listened on here, so that no other run of the tests takes the block: two
/// servers could share its ports without a word.
static HELD: Mutex<Vec<(u16, TcpListener)>> = Mutex::new(Vec::new());

/// The first of a block of ports that nobody else uses; below the kernel's own range for clients.
pub(crate) fn free_ports() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const BLOCKS: u32 = 366;
    let offset = std::process::id().wrapping_mul(37);
    for _ in 0..BLOCKS {
        let block = offset.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
        let port = (FIRST + block * u32::from(PORTS_PER_SERVER)) as u16;
        let Ok(guard) = TcpListener::bind((Ipv4Addr::LOCALHOST, port + PORTS_PER_SERVER - 1)) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            HELD.lock().unwrap().push((port, guard));
            return port;
        }
    }
    panic!("no free port");
}

/// A new folder for files of one test.
pub(crate) fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn follow(pipe: impl Read + Send + 'static, log: &Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    let log = log.clone();
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&String::from_utf8_lossy(&line));
            log.push('\n');
        }
    })
}

fn wait(child: &Mutex<Child>, patience: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + patience;
    loop {
        if let Ok(Some(status)) = child.lock().unwrap().try_wait() {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
