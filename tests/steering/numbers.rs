//! Metrics, judged by Prometheus' own tool, and numbers that grow with what is done.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Running, curl, get, http, server, wait_for};
use crate::client::publisher::Publisher;
use crate::client::pusher::{Pusher, Way};
use crate::client::viewer::Over;
use crate::server::{Backend, Server, free_ports, on_both_backends};

/// What promtool says of metrics; nothing when they are right.
fn promtool(metrics: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool is there: Debian's package prometheus");
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.success(), said.trim().is_empty(), "{said}");
    said
}

/// A counter or gauge, all shards together.
fn value(server: &Server, name: &str) -> f64 {
    value_in(&curl(&http(server, "/metrics"), &[]).expect(200).body, name)
}

/// The same in what was told at one time.
fn value_in(metrics: &str, name: &str) -> f64 {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} ")));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

fn metrics_pass_promtool_and_tell_what_is_done(backend: Backend) {
    let server = server(backend).start();
    assert_eq!(value(&server, "ringcaster_sent_bytes_total"), 0.0);
    let path = "/live/camera";
    let _publisher = Running::publisher(&server, path);
    wait_for(&server, "/api/v1/streams", |list| list["total"] == 2);
    let player = Running::player(&server, path, "tcp");
    wait_for(&server, "/api/v1/stats", |stats| {
        let all = &stats["all"];
        all["bytes_sent"].as_u64() > Some(20_000) && all["bytes_received"].as_u64() > Some(20_000)
    });
    let answer = curl(&http(&server, "/metrics"), &[]).expect(200);
    assert_eq!(answer.kind, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(promtool(&answer.body), "", "{}", answer.body);
    assert!(
        answer.body.contains("ringcaster_streams{source=\"publisher\",state=\"running\"} 1\n"),
        "{}",
        answer.body
    );
    assert!(value(&server, "ringcaster_sent_bytes_total") > 20_000.0);
    assert!(value(&server, "ringcaster_received_bytes_total") > 20_000.0);
    assert!(value(&server, "process_cpu_seconds_total") > 0.0);
    assert_eq!(value(&server, "ringcaster_sessions"), 2.0);
    assert_eq!(value(&server, "ringcaster_stream_viewers"), 1.0);
    assert_eq!(value(&server, "ringcaster_first_media_seconds_count"), 1.0);
    let told = curl(&http(&server, "/metrics"), &[]).expect(200).body;
    let value_of = |name| value_in(&told, name);
    assert!(value_of("ringcaster_work_seconds_count") > 50.0, "{told}");
    let operations = value_of("ringcaster_batch_operations_count");
    assert!(operations > 50.0 && value_of("ringcaster_batch_operations_sum") >= operations, "{told}");
    let begun = value(&server, "ringcaster_sessions_begun_total");
    drop(player);
    wait_for(&server, "/api/v1/stats", |stats| stats["all"]["sessions"] == 1);
    assert_eq!(
        value(&server, "ringcaster_sessions_begun_total") - value(&server, "ringcaster_sessions_ended_total"),
        1.0
    );
    assert!(begun >= 2.0 && value(&server, "ringcaster_connections_accepted_total") > begun);
    let open =
        curl(&http(&server, "/metrics"), &["-H", "Accept: application/openmetrics-text; version=1.0.0"])
            .expect(200);
    assert_eq!(open.kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(
        open.body.ends_with("# EOF\n") && open.body.contains("# TYPE ringcaster_sent_bytes counter\n"),
        "{}",
        open.body
    );
}

fn what_is_counted_is_what_was_sent(backend: Backend) {
    let server = server(backend).start();
    let mut player = Running::player(&server, "/h264_aac.mp4", "tcp");
    wait_for(&server, "/api/v1/sessions", |list| list["total"] == 1);
    let mut sessions = 0;
    while !player.ends_within(std::time::Duration::from_millis(50)) {
        let list = get(&server, "/api/v1/sessions");
        sessions = list["sessions"][0]["bytes"].as_u64().unwrap_or(sessions).max(sessions);
    }
    let all = &get(&server, "/api/v1/stats")["all"];
    let sent = all["bytes_sent"].as_u64().unwrap();
    server.wait_for_log(&format!("bytes={sent}"), super::PATIENCE);
    assert!(sent >= sessions && sessions > 0, "{sent} {sessions}");
}

fn what_does_not_come_of_a_source_is_counted(backend: Backend) {
    let builder = server(backend);
    let first = free_ports();
    let ports = [first, first + 1];
    let pusher = format!(
        "<pusher><suffix>studio</suffix><video><codec>H264</codec></video><audio><codec>G711U</codec></audio><transfer>\
         <mode>UDP</mode><vport>{}</vport><aport>{}</aport></transfer></pusher>",
        ports[0], ports[1]
    );
    let server = builder.xml(&pusher).start();
    let mut pusher = Pusher::connect(Way::Udp, &ports);
    let url = server.url("/live/camera");
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    let send = |pusher: &mut Pusher, publisher: &mut Publisher, from: u32| {
        (from..from + 10).for_each(|index| {
            pusher.picture(index, index == 0);
            publisher.picture(index, index == 0);
            thread::sleep(Duration::from_millis(10));
        });
    };
    let lost = |path: &str| get(&server, &format!("/api/v1/streams/{path}"))["packets_lost"].clone();
    let is_there = |path: &str, count: u64| {
        wait_for(&server, &format!("/api/v1/streams/{path}"), |stream| stream["packets_lost"] == count);
    };
    send(&mut pusher, &mut publisher, 0);
    is_there("studio", 0);
    is_there("live/camera", 0);
    // It begins at 65500 and goes around.
    pusher.tracks[0].sequence = pusher.tracks[0].sequence.wrapping_add(7);
    send(&mut pusher, &mut publisher, 10);
    is_there("studio", 7);
    assert_eq!(lost("live/camera"), 0);
    publisher.tracks[0].sequence = publisher.tracks[0].sequence.wrapping_add(5);
    send(&mut pusher, &mut publisher, 20);
    is_there("live/camera", 5);
    assert_eq!(lost("studio"), 7);
    assert_eq!(value(&server, "ringcaster_inbound_packets_lost_total"), 12.0);
    assert_eq!(value(&server, "ringcaster_stream_inbound_packets_lost_total"), 12.0);
    assert_eq!(get(&server, "/api/v1/stats")["all"]["inbound_packets_lost"], 12);
    let sessions = get(&server, "/api/v1/sessions");
    assert_eq!(sessions["sessions"][0]["packets_lost"], 5, "{sessions}");
    assert!(lost("test").is_null());
}

fn each_user_has_numbers_and_keeps_them_over_a_reload(backend: Backend) {
    let user = |name: &str| format!("<user><username>{name}</username><password>secret</password></user>");
    let users = [user("ann"), user("bob")].concat();
    let server = server(backend).setting("need_auth", 1).setting("api", "local").xml(&users).start();
    let as_user =
        |name: &str, path: &str| server.url(path).replace("rtsp://", &format!("rtsp://{name}:secret@"));
    let _publisher = Running::publisher_to(&as_user("bob", "/live/camera"));
    wait_for(&server, "/api/v1/streams", |list| list["total"] == 2);
    let player = Running::player_of(&as_user("ann", "/live/camera"), "tcp");
    let numbers = |user: &str| {
        let told = curl(&http(&server, "/metrics"), &[]).expect(200).body;
        assert_eq!(promtool(&told), "", "{told}");
        ["sessions", "sessions_begun_total", "sent_bytes_total", "received_bytes_total"].map(|name| {
            let begin = format!("ringcaster_user_{name}{{user=\"{user}\"}} ");
            let line = told.lines().find_map(|line| line.strip_prefix(&begin));
            line.map_or(0, |value| value.parse::<u64>().unwrap())
        })
    };
    let until = |is_so: &dyn Fn(&[u64; 4], &[u64; 4]) -> bool| {
        let end = Instant::now() + super::PATIENCE;
        loop {
            let (ann, bob) = (numbers("ann"), numbers("bob"));
            if is_so(&ann, &bob) {
                return (ann, bob);
            }
            assert!(Instant::now() < end, "{ann:?} {bob:?}");
            thread::sleep(Duration::from_millis(50));
        }
    };
    let (ann, _) =
        until(&|ann, bob| ann[..2] == [1, 1] && ann[2] > 20_000 && bob[..3] == [1, 1, 0] && bob[3] > 20_000);
    assert_eq!(ann[3], 0);
    // The one is removed, and the other gets another number.
    let xml = std::fs::read_to_string(server.configuration_file()).unwrap();
    std::fs::write(server.configuration_file(), xml.replace(&user("ann"), "")).unwrap();
    curl(&http(&server, "/api/v1/config/reload"), &["-X", "POST"]).expect(200);
    drop(player);
    let (after, bob) = until(&|ann, _| ann[0] == 0);
    assert!(after[1] == 1 && after[2] >= ann[2] && bob[..2] == [1, 1], "{after:?} {ann:?} {bob:?}");
    until(&|_, now| now[3] > bob[3]);
}

/// Names of metrics in a text: words that begin with one of the prefixes of ours.
fn metrics_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.starts_with("ringcaster_") || word.starts_with("process_"))
}

#[test]
fn the_dashboard_shows_what_there_is() {
    let user = "<user><username>ann</username><password>secret</password></user>";
    let server = server(Backend::Uring).xml(user).setting("publish", "auth").setting("api", "on").start();
    let url = server.url("/live/camera").replace("rtsp://", "rtsp://ann:secret@");
    let _publisher = Running::publisher_to(&url);
    wait_for(&server, "/api/v1/streams", |list| list["total"] == 2);
    let told = curl(&http(&server, "/metrics"), &[]).expect(200).body;
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut shown = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let asked = target["expr"].as_str().unwrap();
            for name in metrics_in(asked) {
                let starts =
                    |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
                assert!(told.lines().any(starts), "{}: there is no {name}", panel["title"]);
                shown += 1;
            }
        }
    }
    assert!(shown > 20, "{shown}");
}

on_both_backends!(
    metrics_pass_promtool_and_tell_what_is_done;
    "ffmpeg":
    what_is_counted_is_what_was_sent,
    what_does_not_come_of_a_source_is_counted,
    each_user_has_numbers_and_keeps_them_over_a_reload,
);

#[test]
fn promtool_would_say_what_is_wrong() {
    assert!(promtool("# HELP a It.\n# TYPE a counter\na 1\n").contains("_total"));
}
