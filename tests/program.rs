//! What a person at the terminal gets: words, exit codes, files.

mod without_ring;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::free_ports;

/// An empty folder of its own, removed with its content.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("ringcaster-program-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(folder.join("media")).unwrap();
        Folder(folder)
    }

    /// Writes `rtspserver.xml` with `elements` from line 2.
    fn configure(&self, elements: &str) {
        fs::write(self.0.join("rtspserver.xml"), format!("<config>\n{elements}\n</config>\n")).unwrap();
    }

    /// Runs the program here until it ends.
    fn run(&self, words: &[&str]) -> Output {
        self.command().args(words).output().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("timeout");
        command.args(["20", env!("CARGO_BIN_EXE_rtspserver")]).current_dir(&self.0).env_remove("RUST_LOG");
        command
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A daemon that a failed test has left would stay for ever.
        if let Ok(pid) = fs::read_to_string(self.0.join("rtspserver.pid")) {
            let _ = Command::new("kill").args(["-s", "KILL", pid.trim()]).status();
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn said(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// The part of a configuration that keeps servers of several tests apart.
pub(crate) fn doors(port: u16) -> String {
    format!(
        "<serverip>127.0.0.1</serverip>\n<serverport>{port}</serverport>\n<rtsp_over_http>0</rtsp_over_http>\n\
             <rtsp_over_https>0</rtsp_over_https>\n<rtsps_port>0</rtsps_port>\n<udp_port_min>{}</udp_port_min>\n\
             <udp_port_max>{}</udp_port_max>\n<shards>1</shards>",
        port + 4,
        port + 39
    )
}

#[test]
fn a_wrong_usage_or_configuration_ends_with_2_and_a_sentence() {
    let folder = Folder::new();
    folder.configure("<serverport>abc</serverport>\n<mtu>1</mtu>");
    for words in [&["check"][..], &["serve"], &[]] {
        let output = folder.run(words);
        assert_eq!(output.status.code(), Some(2));
        let expected = "rtspserver: rtspserver.xml:2:13: config/serverport: \"abc\" is not a port; allowed: 1 to 65535\n\
                        rtspserver: rtspserver.xml:3:6: config/mtu: \"1\" is not a packet size in bytes; allowed: 576 to 9000\n";
        assert_eq!(said(&output.stderr), expected);
    }
    assert_eq!(folder.run(&["--nonsense"]).status.code(), Some(2));
    let output = folder.run(&["-c", "absent.xml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        said(&output.stderr),
        "rtspserver: absent.xml: cannot be read: No such file or directory (os error 2)\n"
    );
    fs::remove_file(folder.0.join("rtspserver.xml")).unwrap();
    let output = folder.run(&["nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "rtspserver: media_dir, command line: nowhere cannot be read: No such file or directory (os error 2); \
                    allowed: a folder that can be read\n";
    assert_eq!(said(&output.stderr), expected);
}

#[test]
fn check_says_where_each_value_came_from_and_which_rule_meets_a_path() {
    let folder = Folder::new();
    folder.configure(
        "<mtu>1300</mtu>\n<output><url>mp4</url><video><codec>H265</codec></video></output>\n<mtv>3</mtv>",
    );
    let output = folder
        .command()
        .env("RINGCASTER_SHARDS", "3")
        .args(["check", "--url", "/a/Clip.MP4?s=3"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = said(&output.stdout);
    let has = |line: &[&str]| text.lines().any(|found| found.split_whitespace().eq(line.iter().copied()));
    assert!(has(&["mtu", "1300", "rtspserver.xml:2"]), "{text}");
    assert!(has(&["shards", "3", "environment"]), "{text}");
    assert!(has(&["serverport", "554", "default"]), "{text}");
    assert!(has(&["media_dir", "media", "default"]), "{text}");
    assert!(
        text.contains("warning: rtspserver.xml:4:1: config/mtv: unknown element; did you mean <mtu>?\n"),
        "{text}"
    );
    let rule =
        "/a/Clip.MP4: file or published stream; output: mp4: video H265, audio as it is (rtspserver.xml:3)\n";
    assert!(text.ends_with(rule), "{text}");
}

#[test]
fn check_says_by_which_interface_multicast_leaves_and_what_is_wrong_with_its_range() {
    let folder = Folder::new();
    folder.configure("<multicast>1</multicast><multicast_interface>lo</multicast_interface>");
    let output = folder.run(&["check"]);
    let text = said(&output.stdout);
    assert!(output.status.success() && text.contains("multicast leaves by lo (127.0.0.1)\n"), "{text}");
    folder.configure("<multicast>1</multicast><multicast_interface>eth99</multicast_interface>");
    let text = said(&folder.run(&["check"]).stdout);
    assert!(text.contains("warning: multicast_interface, rtspserver.xml:2: \"eth99\" is no"), "{text}");
    folder.configure(
        "<multicast_ip_min>239.9.9.9</multicast_ip_min><multicast_ip_max>239.9.9.8</multicast_ip_max>",
    );
    let output = folder.run(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        said(&output.stderr),
        "rtspserver: rtspserver.xml:2:65: config/multicast_ip_max: 239.9.9.8 is below multicast_ip_min 239.9.9.9; \
         allowed: a range of one family\n"
    );
}

#[test]
fn check_says_what_this_machine_lacks() {
    let folder = Folder::new();
    folder.configure(
        "<serverip>127.0.0.1</serverip>\n<serverip>192.0.2.1</serverip>\n<run_as>nobody-of-that-name</run_as>\n\
         <log_file>nowhere/a.log</log_file>\n<api_socket>nowhere/a.sock</api_socket>",
    );
    let output = folder.run(&["check"]);
    let text = said(&output.stdout);
    assert!(output.status.success(), "{text}");
    let warnings: Vec<_> = text.lines().filter(|line| line.starts_with("warning: ")).collect();
    for lacks in [
        "config/serverip: this machine does not have the address 192.0.2.1",
        "run_as: there is no user \"nobody-of-that-name\"",
        "config/log_file: there is no folder ",
        "config/api_socket: there is no folder ",
    ] {
        assert!(warnings.iter().any(|line| line.contains(lacks)), "{lacks}: {text}");
    }
    assert!(!text.contains("address 127.0.0.1"), "{text}");
}

#[test]
fn a_port_that_is_named_and_taken_ends_the_program_with_the_settings_name() {
    let folder = Folder::new();
    let port = free_ports();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    folder.configure(&doors(port));
    let output = folder.run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let text = said(&output.stderr);
    let last = text.lines().last().unwrap_or_default();
    assert!(last.contains(&port.to_string()) && last.contains("serverport, rtspserver.xml:3"), "{text}");
}

#[test]
fn a_port_that_is_given_free_a_moment_later_is_waited_for() {
    let folder = Folder::new();
    let port = free_ports();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    folder.configure(&doors(port));
    let owner = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        drop(taken);
    });
    let output = folder.run(&["--daemon"]);
    owner.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output.stderr));
}

#[test]
fn a_daemon_serves_says_so_and_ends_when_it_is_told() {
    let folder = Folder::new();
    let port = free_ports();
    folder.configure(&doors(port));
    let output = folder.run(&["--daemon"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output.stderr));
    let pid = folder.read("rtspserver.pid").trim().to_string();
    let text = said(&output.stdout);
    assert!(text.starts_with(&format!("rtsp://127.0.0.1:{port}/test\n")), "{text}");
    let ready = format!("running in the background as process {pid}, log in rtspserver.log\n");
    assert!(text.ends_with(&ready), "{text}");

    let again = folder.run(&["--daemon"]);
    assert_eq!(again.status.code(), Some(1));
    let sentence = format!("rtspserver: already running as process {pid} (--pid-file rtspserver.pid)\n");
    assert_eq!(said(&again.stderr), sentence);

    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert!(
        gone(&folder.0.join("rtspserver.pid"), Duration::from_secs(5)),
        "{}",
        folder.read("rtspserver.log")
    );
    assert!(folder.read("rtspserver.log").contains("stopping"));
}

#[test]
fn a_daemon_that_cannot_serve_is_not_said_to_run() {
    let folder = Folder::new();
    let port = free_ports();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    folder.configure(&doors(port));
    let output = folder.run(&["--daemon"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output.stderr).contains("serverport, rtspserver.xml:3"), "{}", said(&output.stderr));
    assert!(!said(&output.stdout).contains("running"));
    assert!(!folder.0.join("rtspserver.pid").exists());
    // What ends the program is in the log as well.
    assert!(folder.read("rtspserver.log").contains("serverport, rtspserver.xml:3"));
}

#[test]
fn a_password_is_hashed_and_neither_it_nor_its_hash_is_shown_by_check() {
    let folder = Folder::new();
    let mut child = folder
        .command()
        .args(["hash-password", "Mufasa", "--realm", "http-auth@example.org"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"Circle of Life\r\nmore").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let hashes = said(&output.stdout);
    // As md5sum and sha256sum have it of "Mufasa:http-auth@example.org:Circle of Life".
    let [md5, sha256] = [
        "3d78807defe7de2157e2b0b6573a855f",
        "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232",
    ];
    let element = |hash| format!("<password_hash>{hash}</password_hash>\n");
    assert_eq!(hashes, element(md5) + &element(sha256));

    let output = folder.command().args(["hash-password", "a"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said(&output.stderr), "rtspserver: no password was given on the standard input\n");
    assert_eq!(folder.run(&["hash-password"]).status.code(), Some(2));

    folder.configure(&format!(
        "<need_auth>1</need_auth>\n<user><username>Mufasa</username>{hashes}<permission>play /a/*</permission></user>\n\
         <user><username>b</username><password>plain-34</password></user>"
    ));
    let output = folder.run(&["check"]);
    let text = said(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output.stderr));
    assert!(text.contains("Mufasa: play /a/*\n") && text.contains("b: everything\n"), "{text}");
    assert!(!text.contains(md5) && !text.contains(sha256) && !text.contains("plain-34"), "{text}");
}

#[test]
fn the_log_is_as_loud_as_it_is_told_and_in_the_asked_form() {
    let folder = Folder::new();
    let port = free_ports();
    let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let log_with = |elements: &str, words: &[&str]| {
        folder.configure(&format!("{}\n<log_file>a.log</log_file>\n<unheard/>\n{elements}", doors(port)));
        let _ = fs::remove_file(folder.0.join("a.log"));
        folder.run(words);
        folder.read("a.log")
    };
    let plain = log_with("", &[]);
    assert!(plain.contains("INFO") && plain.contains("unheard") && plain.contains("ERROR"), "{plain}");
    let fatal = log_with("<log_level>5</log_level>", &[]);
    assert!(fatal.lines().count() == 1 && fatal.contains("ERROR") && fatal.contains("serverport"), "{fatal}");
    let json = log_with("", &["--log-format", "json"]);
    assert!(
        json.lines().count() > 1 && json.lines().all(|line| line.starts_with('{') && line.ends_with('}')),
        "{json}"
    );
    assert_eq!(log_with("<log_enable>0</log_enable>", &[]), "");
}

/// Whether the file goes away.
fn gone(path: &Path, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    while path.exists() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

#[test]
fn probe_tells_the_limits_of_this_machine_as_they_are() {
    let output = Folder::new().run(&["probe"]);
    let text = said(&output.stdout);
    assert!(output.status.success(), "{text}");
    let settings = ["net.core.wmem_max", "net.core.rmem_max", "net.core.somaxconn", "net.core.default_qdisc"];
    for name in settings {
        // A network namespace need not have them all.
        let Ok(value) = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))) else { continue };
        let line = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        let told = line.trim_start().trim_start_matches(name).trim_start();
        assert!(told.starts_with(&format!("{}, ", value.trim())), "{line}: {value}");
        let command = text.contains(&format!("sysctl -w {name}="));
        assert_ne!(command, told.contains("enough"), "a command where it is not enough: {text}");
    }
    // The limit that the program has is that of who starts it.
    let few = Command::new("sh")
        .args(["-c", "ulimit -n 500 && exec \"$0\" probe", env!("CARGO_BIN_EXE_rtspserver")])
        .output()
        .unwrap();
    let text = said(&few.stdout);
    assert!(text.contains("open files                     500, wanted: 20000"), "{text}");
}
