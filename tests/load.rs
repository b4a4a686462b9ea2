//! The load test's scenarios against the real program, with few clients: what is sent arrives and is counted.

mod peer;
mod told;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::corpus;
use crate::server::{Backend, Builder, Server, on_both_backends, scratch};

/// Beside the program under test: another package's programs are not built with the tests.
pub(crate) fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = env!("CARGO_MANIFEST_DIR");
        let target = Path::new(env!("CARGO_BIN_EXE_rtspserver")).parent().unwrap().parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "ringcaster-loadtest", "--bin", "loadtest"]);
        build.arg("--target-dir").arg(target).current_dir(root);
        // What cargo tells this test of its package would have build scripts run again, and all that stands on them.
        let told = std::env::vars_os().map(|(name, _)| name);
        for name in told.filter(|name| name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME") {
            build.env_remove(name);
        }
        assert!(build.status().unwrap().success(), "the load test does not build");
        target.join("debug/loadtest")
    })
}

/// A server that begins when the load test is there: building it may take longer than a server lives.
fn server(backend: Backend) -> Builder {
    program();
    Server::with(backend)
}

/// What one run has said.
pub(crate) struct Report(String);

impl Report {
    /// Runs a scenario that must succeed.
    #[track_caller]
    pub(crate) fn of(arguments: &[&str]) -> Report {
        let output = run(arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}\n{out}{err}", output.status);
        Report(out)
    }

    /// A number by its name in JSON, the first of that name.
    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.behind(name, "")
    }

    /// The same behind another name.
    #[track_caller]
    fn behind(&self, name: &str, before: &str) -> f64 {
        let start = if before.is_empty() { 0 } else { self.0.find(&format!("\"{before}\":")).unwrap() };
        let rest = &self.0[start..];
        let found = rest.find(&format!("\"{name}\": ")).unwrap_or_else(|| panic!("{name} in {}", self.0));
        let value = rest[found..].split([' ', ',', '\n']).nth(1).unwrap();
        value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
    }

    /// The first of a list.
    #[track_caller]
    fn first(&self, name: &str) -> f64 {
        let found = self.0.find(&format!("\"{name}\": [")).unwrap_or_else(|| panic!("{name} in {}", self.0));
        let mut values = self.0[found..].split(['[', ',', ']', '\n']).map(str::trim).skip(1);
        values.find_map(|value| value.parse().ok()).unwrap()
    }
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(arguments).args(["--json", "--ramp", "0.2"]).stdin(Stdio::null());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_suite_leaves_its_tables_in_a_folder_beside_whoever_asks() {
    let folder = scratch("suite");
    let mut command = Command::new(program());
    command.args(["suite", "--figure", "live-tcp", "--viewers", "2", "--rounds", "1", "--duration", "1"]);
    command.args(["--server", env!("CARGO_BIN_EXE_rtspserver"), "--out", "figures"]).current_dir(&folder);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && !said.contains("FAILED"), "{said}");
    let table = std::fs::read_to_string(folder.join("figures/live-tcp.md")).unwrap();
    for contestant in ["| uring tcp | 2 |", "| ringcaster tcp | 2 |", "| ringcaster fallback tcp | 2 |"] {
        assert!(table.contains(contestant), "{table}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

fn every_picture_of_a_publisher_reaches_every_viewer(backend: Backend) {
    let server = server(backend).http().start();
    let (url, pid) = (server.url("/live/camera"), server.pid().to_string());
    for transport in ["tcp", "udp", "http", "ws", "mixed"] {
        let arguments =
            ["fanout", "--url", &url, "--viewers", "4", "--duration", "1.5", "--server-pid", &pid];
        let report = Report::of(&[&arguments[..], &["--transport", transport]].concat());
        assert_eq!(report.number("missing"), 0.0, "{transport}");
        assert!(report.first("pictures") >= 4.0 * 40.0, "{transport}: {}", report.first("pictures"));
        assert_eq!(report.number("pictures_behind"), 0.0, "{transport}");
        // Every viewer has seen a keyframe whole and knows how old pictures are.
        assert_eq!(report.behind("count", "first_keyframe_ms"), 4.0, "{transport}");
        assert!(report.behind("count", "latency_ms") >= 100.0, "{transport}");
        assert!(report.number("cpu_s_per_gb") > 0.0);
    }
}

fn doors_in_tls_deliver_every_picture(backend: Backend) {
    let server = server(backend).tls("p256-cert.pem", "p256-key.pem").start();
    let (url, plain, pid) =
        (server.secure_url("/live/camera"), server.url("/live/camera"), server.pid().to_string());
    for transport in ["rtsps", "https", "wss"] {
        let arguments =
            ["fanout", "--url", &url, "--viewers", "4", "--duration", "1.5", "--server-pid", &pid];
        let publishing = ["--transport", transport, "--publish-url", &plain];
        let report = Report::of(&[&arguments[..], &publishing].concat());
        assert_eq!(report.number("missing"), 0.0, "{transport}");
        assert!(report.first("pictures") >= 4.0 * 40.0, "{transport}: {}", report.first("pictures"));
        assert_eq!(report.number("pictures_behind"), 0.0, "{transport}");
        assert_eq!(report.behind("count", "first_keyframe_ms"), 4.0, "{transport}");
        assert!(report.number("opening") > 0.0, "{transport}");
        let arguments = ["publish", "--url", &url, "--duration", "1", "--transport", transport];
        assert_eq!(Report::of(&arguments).number("to_the_end"), 1.0, "{transport}");
        let url = server.secure_url("/test");
        let arguments = ["churn", "--url", &url, "--viewers", "2", "--duration", "1"];
        let report = Report::of(&[&arguments[..], &["--transport", transport]].concat());
        assert!(report.number("sessions") >= 2.0, "{transport}");
    }
}

fn one_viewer_of_a_group_counts_for_all(backend: Backend) {
    let server = server(backend).setting("multicast", 1).setting("multicast_interface", "127.0.0.1");
    let server = server.start();
    let (url, pid) = (server.url("/live/camera"), server.pid().to_string());
    let arguments = ["fanout", "--url", &url, "--viewers", "5", "--duration", "1.5", "--server-pid", &pid];
    // A group sees nothing before the next keyframe.
    let often = ["--transport", "multicast", "--gop", "0.5"];
    let report = Report::of(&[&arguments[..], &often].concat());
    let numbers = ["played", "silent", "missing", "pictures_behind"].map(|name| report.number(name));
    assert_eq!(numbers, [5.0, 0.0, 0.0, 0.0]);
    // One copy has come, not five.
    let pictures = report.first("pictures");
    assert!((30.0..100.0).contains(&pictures), "{pictures}");
    assert_eq!(report.behind("count", "set_up_ms"), 5.0);
    assert_eq!(report.behind("count", "first_keyframe_ms"), 1.0);
    let url = server.url("/test");
    let arguments = ["churn", "--url", &url, "--viewers", "2", "--duration", "1"];
    let report = Report::of(&[&arguments[..], &["--transport", "multicast"]].concat());
    assert!(report.number("sessions") >= 2.0);
}

fn several_publishers_send_to_the_end(backend: Backend) {
    let server = server(backend).http().start();
    let url = server.url("/live/{}");
    for transport in ["tcp", "udp", "http", "ws"] {
        let arguments = ["publish", "--url", &url, "--publishers", "3", "--duration", "1"];
        let report = Report::of(&[&arguments[..], &["--transport", transport]].concat());
        assert_eq!(report.number("to_the_end"), 3.0, "{transport}");
        assert!(report.behind("pictures", "to_the_end") >= 3.0 * 30.0, "{transport}");
    }
}

fn viewers_play_what_is_there_and_files_from_their_own_points(backend: Backend) {
    let server = server(backend).media(corpus::folder()).start();
    let report = Report::of(&["play", "--url", &server.url("/test"), "--viewers", "3", "--duration", "1"]);
    assert_eq!((report.number("played"), report.number("silent")), (3.0, 0.0));
    let url = server.url("/h264_aac.mp4");
    let arguments = ["files", "--url", &url, "--viewers", "3", "--spread", "0.5", "--duration", "1"];
    let report = Report::of(&arguments);
    assert_eq!((report.number("played"), report.number("silent"), report.number("missing")), (3.0, 0.0, 0.0));
}

fn a_user_and_a_password_of_the_url_answer_the_server(backend: Backend) {
    let user = "<user><username>ann</username><password>pass-1</password></user>";
    let server = server(backend).http().setting("need_auth", 1).xml(user).start();
    let (named, wrong) = (
        |path: &str| server.url(path).replace("//", "//ann:pass-1@"),
        server.url("/test").replace("//", "//ann:pass-2@"),
    );
    for transport in ["tcp", "udp", "http", "ws"] {
        let url = named("/live/camera");
        let arguments =
            ["fanout", "--url", &url, "--viewers", "2", "--duration", "1", "--transport", transport];
        let report = Report::of(&arguments);
        assert_eq!((report.number("played"), report.number("silent")), (2.0, 0.0), "{transport}");
    }
    let report = Report::of(&["churn", "--url", &named("/test"), "--viewers", "2", "--duration", "1"]);
    assert!(report.number("sessions") >= 2.0);
    let output = run(&["play", "--url", &wrong, "--viewers", "1", "--duration", "0.2"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("\"DESCRIBE: answered 401\": 1"), "{}", text(&output.stdout));
}

fn sessions_come_and_go_and_are_held(backend: Backend) {
    let server = server(backend).http().start();
    let (url, pid) = (server.url("/test"), server.pid().to_string());
    for transport in ["tcp", "udp", "http", "ws"] {
        let arguments = ["churn", "--url", &url, "--viewers", "4", "--duration", "1", "--server-pid", &pid];
        let report = Report::of(&[&arguments[..], &["--transport", transport]].concat());
        assert!(report.number("sessions") >= 4.0, "{transport}");
    }
    let report =
        Report::of(&["idle", "--url", &url, "--viewers", "50", "--duration", "1", "--server-pid", &pid]);
    assert_eq!((report.number("played"), report.number("packets")), (50.0, 0.0));
}

fn who_stops_reading_is_counted_apart(backend: Backend) {
    let server = server(backend).start();
    let url = server.url("/test");
    let arguments =
        ["stall", "--url", &url, "--viewers", "4", "--stalled", "1", "--slow", "1", "--duration", "1"];
    let report = Report::of(&arguments);
    assert_eq!((report.number("stalled"), report.number("slow"), report.number("played")), (1.0, 1.0, 4.0));
    assert_eq!((report.number("missing"), report.number("silent")), (0.0, 0.0));
}

fn those_who_come_at_once_are_measured_apart(backend: Backend) {
    let server = server(backend).start();
    let url = server.url("/live/burst");
    for transport in ["tcp", "udp"] {
        let arguments = ["fanout", "--url", &url, "--viewers", "23", "--burst", "20", "--duration", "2"];
        let report = Report::of(&[&arguments[..], &["--transport", transport]].concat());
        let numbers = ["burst", "played", "missing", "silent"].map(|name| report.number(name));
        assert_eq!(numbers, [20.0, 23.0, 0.0, 0.0], "{transport}");
        assert_eq!(report.behind("count", "set_up_ms"), 20.0, "{transport}");
    }
}

#[test]
fn every_bare_loop_delivers() {
    for (transport, loops) in [("tcp", 2), ("udp", 3), ("rtsps", 1)] {
        let arguments = ["limit", "--viewers", "3", "--duration", "0.5", "--transport", transport];
        let report = Report::of(&arguments);
        // One report, or a list of them.
        let runs: Vec<_> = report.0.split("\"scenario\": \"limit\"").skip(1).collect();
        assert_eq!(runs.len(), loops, "{transport}");
        for run in runs {
            let report = Report(run.to_owned());
            assert_eq!((report.number("played"), report.number("missing")), (3.0, 0.0), "{run}");
            assert!(report.first("pictures") >= 3.0 * 15.0, "{run}");
        }
    }
}

#[test]
fn a_report_has_its_ratio_to_the_limit_where_that_is_asked_for() {
    let server = server(Backend::Uring).start();
    let (url, pid) = (server.url("/live/camera"), server.pid().to_string());
    let arguments = ["fanout", "--url", &url, "--viewers", "3", "--duration", "0.5", "--server-pid", &pid];
    let report = Report::of(&[&arguments[..], &["--limit"]].concat());
    assert!(report.number("cpu_ratio") > 0.0);
}

/// FFmpeg decodes what we publish without a complaint: pictures that are made are H.264.
#[test]
fn made_pictures_are_decoded_without_an_error() {
    let server = server(Backend::Uring).start();
    let url = server.url("/live/camera");
    let mut publisher = Command::new(program());
    publisher.args(["publish", "--url", &url, "--duration", "12", "--json"]).stdout(Stdio::null());
    let mut publisher = publisher.spawn().unwrap();
    server.wait_for_log("/live/camera", std::time::Duration::from_secs(10));
    let folder = scratch("load");
    let mut player = Command::new("ffmpeg");
    player.args(["-v", "warning", "-xerror", "-rtsp_transport", "tcp", "-i", &url, "-frames:v", "90"]);
    player.args(["-f", "framemd5"]).arg(folder.join("pictures")).stdin(Stdio::null());
    let output = player.output().unwrap();
    let _ = publisher.kill();
    let _ = publisher.wait();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let errors = text(&output.stderr);
    assert!(!errors.contains("error") && !errors.contains("conceal"), "{errors}");
    let pictures = std::fs::read_to_string(folder.join("pictures")).unwrap();
    let sums: Vec<_> = pictures.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(sums.len(), 90);
    // No two pictures are the same: each one's samples are its own.
    let mut hashes: Vec<_> = sums.iter().filter_map(|line| line.rsplit(',').next()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 90);
}

on_both_backends!(
    every_picture_of_a_publisher_reaches_every_viewer,
    one_viewer_of_a_group_counts_for_all,
    several_publishers_send_to_the_end,
    a_user_and_a_password_of_the_url_answer_the_server,
    sessions_come_and_go_and_are_held,
    who_stops_reading_is_counted_apart,
    those_who_come_at_once_are_measured_apart;
    "ffmpeg":
    viewers_play_what_is_there_and_files_from_their_own_points;
    "tls":
    doors_in_tls_deliver_every_picture,
);
