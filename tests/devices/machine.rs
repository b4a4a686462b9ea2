//! A virtual machine with cameras: Debian's kernel with its cameras for tests (vivid), v4l2loopback and a sound card that
//! hears what it plays, on an emulated processor. It sees the files of this machine, and runs the program from there.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::judge::ffmpeg::words;
use crate::server::{free_ports, scratch};

/// An emulated processor is slow, and has to share those that there are.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// The machine ends when it has not heard anything for half a minute, as when the tests have ended.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// It is left alone when no test has wanted anything for so long.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Where the program listens in there.
const PORT: u16 = 8_554;

/// The machine while it runs.
pub(super) struct Machine {
    folder: PathBuf,
    port: u16,
    line: Arc<Mutex<Line>>,
    child: Child,
}

/// The serial port that commands go through.
struct Line {
    write: UnixStream,
    read: BufReader<UnixStream>,
    /// When a test has let go of it; None while one has it.
    idle: Option<Instant>,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Machine {
    /// Starts it and waits until it takes commands.
    pub(super) fn start() -> Machine {
        let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab");
        assert!(
            parts.join("made").exists(),
            "there is no kernel in {}: ./test.sh puts it there",
            parts.display()
        );
        let folder = scratch("machine");
        let (work, socket) = (folder.join("work"), std::env::temp_dir());
        fs::create_dir_all(&work).unwrap();
        // Paths of sockets are short.
        let socket = socket.join(format!("machine-{}", std::process::id()));
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let port = free_ports();
        let program = Path::new(env!("CARGO_BIN_EXE_rtspserver")).parent().unwrap();
        let shared = |tag: &str, path: &Path, more: &str| {
            format!(" -virtfs local,path={},mount_tag={tag},security_model=none{more}", path.display())
        };
        let mut arguments = words(
            "-M q35,usb=off,smbus=off,sata=off -nodefaults -no-user-config -display none -no-reboot \
             -accel tcg,thread=multi,tb-size=256 -cpu max -smp 2 -m 1024 -serial stdio",
        );
        let mut more = format!(" -chardev socket,id=line,path={} -serial chardev:line", socket.display());
        more += &shared("host", Path::new("/"), ",readonly=on,multidevs=remap");
        more += &shared("program", program, ",readonly=on");
        more += &shared("work", &work, "");
        let _ = write!(
            more,
            " -netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:{PORT} \
             -device virtio-net-pci,netdev=net,romfile= -kernel {0}/kernel -initrd {0}/initrd.gz",
            parts.display()
        );
        arguments.extend(words(&more));
        arguments.push("-append".to_owned());
        arguments
            .push("console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off audit=0 selinux=0".to_owned());
        let console = fs::File::create(folder.join("console")).unwrap();
        // It computes all the time, and others wait for the clock.
        let mut command = Command::new("nice");
        command.args(["-n", "10", "qemu-system-x86_64"]);
        command.args(&arguments).stdin(Stdio::null());
        command.stdout(console.try_clone().unwrap()).stderr(console);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("qemu-system-x86_64: {error}"));
        listener.set_nonblocking(true).unwrap();
        let stream = loop {
            if let Ok((stream, _)) = listener.accept() {
                break stream;
            }
            let said = || fs::read_to_string(folder.join("console")).unwrap_or_default();
            assert!(child.try_wait().unwrap().is_none(), "the machine does not start: {}", said());
            thread::sleep(Duration::from_millis(20));
        };
        let _ = fs::remove_file(&socket);
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let read = BufReader::new(stream.try_clone().unwrap());
        let line = Line { read, write: stream, idle: None };
        let machine = Machine { folder, port, line: Arc::new(Mutex::new(line)), child };
        let said = lock(&machine.line).answer();
        assert_eq!(said.trim_end(), "ready", "{}", machine.console());
        machine.keep_alive();
        machine
    }

    /// Lets the machine hear now and then that somebody is there.
    fn keep_alive(&self) {
        let line = Arc::downgrade(&self.line);
        thread::spawn(move || {
            loop {
                thread::sleep(SIGN_OF_LIFE);
                let Some(line) = line.upgrade() else { return };
                let mut line = lock(&line);
                if line.idle.is_none_or(|since| since.elapsed() < IDLE_MAX) {
                    line.command(":");
                }
            }
        });
    }

    /// Whether it has not ended, as it does when nobody has wanted anything of it for long.
    pub(super) fn is_running(&mut self) -> bool {
        let idle = lock(&self.line).idle;
        idle.is_none_or(|since| since.elapsed() < IDLE_MAX) && matches!(self.child.try_wait(), Ok(None))
    }

    /// A test has it from now on, or does no longer.
    pub(super) fn is_wanted(&self, is_wanted: bool) {
        lock(&self.line).idle = (!is_wanted).then(Instant::now);
    }

    /// Runs a command in there; its status and what it printed.
    pub(super) fn ask(&self, command: &str) -> (bool, String) {
        let mut line = lock(&self.line);
        let said = line.command(command);
        assert!(said.starts_with("done "), "{command}: {said:?}; {}", self.console());
        let output = fs::read(self.folder.join("work/output")).unwrap_or_default();
        (said.trim_end() == "done 0", String::from_utf8_lossy(&output).into_owned())
    }

    /// Runs a command that has to succeed; what it printed.
    #[track_caller]
    pub(super) fn run(&self, command: &str) -> String {
        let (is_done, output) = self.ask(command);
        assert!(is_done, "{command}: {output}");
        output
    }

    /// Runs a command in there that goes on; what it prints is kept.
    pub(super) fn begin(&self, name: &str, command: &str) {
        self.run(&format!("setsid {command} >/mnt/{name}.log 2>&1 </dev/null & echo $! >/mnt/{name}.pid"));
    }

    /// What a command that goes on has printed.
    pub(super) fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.file(&format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until it has printed something so often.
    #[track_caller]
    pub(super) fn wait_for_log(&self, name: &str, what: &str, times: usize) {
        let end = Instant::now() + PATIENCE;
        while self.log(name).matches(what).count() < times {
            assert!(Instant::now() < end, "no {what:?} in the log:\n{}", self.log(name));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// A file of the folder that both machines see; it is /mnt in there.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join("work").join(name)
    }

    /// Where the program is reached that runs in there.
    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The URL of a path that begins with a slash.
    pub(super) fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}{path}", self.port)
    }

    fn console(&self) -> String {
        fs::read_to_string(self.folder.join("console")).unwrap_or_default()
    }
}

impl Line {
    fn command(&mut self, command: &str) -> String {
        // Who has gone says nothing, which is seen.
        let _ = self.write.write_all(format!("{command}\n").as_bytes());
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut said = String::new();
        let _ = self.read.read_line(&mut said);
        said
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}
