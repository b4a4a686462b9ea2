//! The program as a service: what systemd is told of its life, and what its unit allows it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::server::{Backend, Server, on_both_backends, scratch};

/// How long the machine may take for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a sign of life is due in these tests.
const WATCHDOG: Duration = Duration::from_millis(600);

on_both_backends!(
    systemd_is_told_when_clients_can_connect_and_when_the_end_has_begun,
    a_shard_that_hangs_ends_the_signs_of_life_until_it_turns_again,
    a_configuration_that_takes_long_to_read_costs_no_sign_of_life,
    systemd_is_told_of_a_reload_and_what_came_of_it,
);

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new() -> Manager {
        let path = scratch("manager").join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Manager { socket, path }
    }

    fn server(&self, backend: Backend) -> crate::server::Builder {
        Server::with(backend).environment("NOTIFY_SOCKET", self.path.to_str().unwrap())
    }

    /// The next message that comes within `patience`.
    fn next(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..count].to_vec()).unwrap())
    }

    #[track_caller]
    fn expect(&self, line: &str) -> String {
        let message = self.next(PATIENCE).unwrap_or_else(|| panic!("{line} never came"));
        assert!(message.lines().any(|found| found == line), "{line} is not in {message:?}");
        message
    }
}

fn systemd_is_told_when_clients_can_connect_and_when_the_end_has_begun(backend: Backend) {
    let manager = Manager::new();
    let builder = manager.server(backend);
    let told = thread::spawn(move || {
        let message = manager.expect("READY=1");
        let status = message.lines().find_map(|line| line.strip_prefix("STATUS=")).unwrap().to_owned();
        (manager, status, Instant::now())
    });
    let server = builder.start();
    let address: SocketAddr = server.address();
    let (manager, status, _) = told.join().unwrap();
    TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    let driver = if backend == Backend::Uring { "io_uring" } else { "tokio" };
    assert_eq!(status, format!("serving by {driver}, shards: 2"));
    // Nobody has asked for signs of life, so that none come.
    assert_eq!(manager.next(Duration::from_millis(500)), None);
    server.signal("TERM");
    manager.expect("STOPPING=1");
    assert!(server.wait(PATIENCE).unwrap().success());
    assert_eq!(manager.next(Duration::from_millis(1)), None);
}

fn systemd_is_told_of_a_reload_and_what_came_of_it(backend: Backend) {
    let manager = Manager::new();
    let server = manager.server(backend).start();
    let ready = manager.expect("READY=1");
    let right = fs::read_to_string(server.configuration_file()).unwrap();
    let wrong = right.replace("</config>", "<mtu>1</mtu></config>");
    let since = Instant::now();
    for (xml, is_right) in [(&wrong, false), (&right, true)] {
        fs::write(server.configuration_file(), xml).unwrap();
        server.signal("HUP");
        let began = manager.expect("RELOADING=1");
        let moment = began.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        let uptime = fs::read_to_string("/proc/uptime").unwrap();
        let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let ago = uptime - moment.parse::<f64>().unwrap() / 1e6;
        assert!((-1.0..since.elapsed().as_secs_f64() + 1.0).contains(&ago), "{moment} {uptime}");
        let ended = manager.expect("READY=1");
        assert_eq!(ended == ready, is_right, "{ended}");
        assert_eq!(ended.contains("; not reloaded: ") && ended.contains("config/mtu"), !is_right, "{ended}");
    }
}

fn a_shard_that_hangs_ends_the_signs_of_life_until_it_turns_again(backend: Backend) {
    let manager = Manager::new();
    let period = WATCHDOG.as_micros().to_string();
    let server = manager.server(backend).environment("WATCHDOG_USEC", &period).start();
    manager.expect("READY=1");
    for _ in 0..5 {
        manager.expect("WATCHDOG=1");
    }
    let held = Held::thread_of(&server, "shard 1");
    // What was answered before has been told soon.
    while manager.next(WATCHDOG / 2).is_some() {}
    assert_eq!(manager.next(WATCHDOG * 4), None, "a shard hangs, and the server is said to live");
    server.wait_for_log("no sign of life: these shards have not turned", PATIENCE);
    assert!(server.log().contains("shards=[1]"), "the one that hangs is named");
    held.release();
    manager.expect("WATCHDOG=1");
    manager.expect("WATCHDOG=1");
}

fn a_configuration_that_takes_long_to_read_costs_no_sign_of_life(backend: Backend) {
    let manager = Manager::new();
    let period = WATCHDOG.as_micros().to_string();
    let server = manager.server(backend).environment("WATCHDOG_USEC", &period).start();
    let file = server.configuration_file();
    let xml = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    server.signal("HUP");
    let until = |line: &str| while !manager.next(PATIENCE).unwrap().lines().any(|found| found == line) {};
    until("RELOADING=1");
    // Nobody writes, and who reads waits.
    (0..10).for_each(|_| until("WATCHDOG=1"));
    // Two more who ask are one more reading.
    server.signal("HUP");
    assert_eq!(server.lines("configuration reloaded"), 0);
    for _ in 0..2 {
        std::fs::write(&file, xml.replace("<config>", "<config><test>0</test>")).unwrap();
        until("READY=1");
    }
    server.wait_for_lines("configuration reloaded", 2);
    until("WATCHDOG=1");
}

/// A thread of the server that is held up, as a debugger does it.
struct Held(Pid);

impl Held {
    fn thread_of(server: &Server, name: &str) -> Held {
        let tasks =
            fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap().map(|task| task.unwrap().path());
        let is_wanted =
            |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
        let task = tasks.into_iter().find(is_wanted).unwrap();
        let thread = Pid::from_raw(task.file_name().unwrap().to_str().unwrap().parse().unwrap());
        ptrace::attach(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        Held(thread)
    }

    fn release(self) {
        ptrace::detach(self.0, None).unwrap();
    }
}

/// The unit with the program that was built in place of the one that a package installs.
fn unit() -> PathBuf {
    let unit = fs::read_to_string(configuration("ringcaster.service")).unwrap();
    let installed = "ExecStart=/usr/bin/rtspserver ";
    assert!(unit.contains(installed), "{unit}");
    let built = format!("ExecStart={} ", env!("CARGO_BIN_EXE_rtspserver"));
    let file = scratch("unit").join("ringcaster.service");
    fs::write(&file, unit.replace(installed, &built)).unwrap();
    file
}

fn configuration(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let output = Command::new("systemd-analyze").arg("verify").arg(unit()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn systemd_reckons_the_unit_well_shut_in() {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["security", "--offline=true"]).arg(unit()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let level =
        said.lines().find_map(|line| line.split_once("Overall exposure level for ringcaster.service: "));
    let level: f64 = level.unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(level < 4.0, "{said}");
}
