//! Who plays and who publishes, and the end that is made of it.

use super::{PATIENCE, Running, curl, get, http, server, wait_for};
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, on_both_backends};

fn players_and_publishers_of_ffmpeg_are_listed_and_ended(backend: Backend) {
    let server = server(backend).start();
    let mut publisher = Running::publisher(&server, "/live/camera");
    wait_for(&server, "/api/v1/sessions", |list| list["total"] == 1);
    let mut players = ["udp", "tcp"].map(|way| Running::player(&server, "/live/camera", way));
    let list = wait_for(&server, "/api/v1/sessions", |list| {
        let sessions = list["sessions"].as_array().unwrap();
        sessions.len() == 3 && sessions.iter().all(|it| it["bytes"].as_u64().unwrap() > 10_000)
    });
    let sessions = list["sessions"].as_array().unwrap();
    let by = |kind: &str, way: &str| {
        let found = sessions.iter().find(|it| it["kind"] == kind && it["transport"] == way);
        found.unwrap_or_else(|| panic!("{kind} {way}: {list}"))
    };
    for session in sessions {
        assert_eq!((&session["path"], &session["state"]), (&"live/camera".into(), &"playing".into()));
        assert!(session["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{session}");
        assert_eq!((&session["user"], &session["secure"]), (&serde_json::Value::Null, &false.into()));
        let one = get(&server, &format!("/api/v1/sessions/{}", session["id"].as_str().unwrap()));
        assert_eq!((&one["id"], &one["kind"]), (&session["id"], &session["kind"]));
    }
    let end = |session: &serde_json::Value| {
        let url = http(&server, &format!("/api/v1/sessions/{}", session["id"].as_str().unwrap()));
        curl(&url, &["-X", "DELETE"]).expect(204);
        curl(&url, &[]).expect_problem(404, "no session");
        curl(&url, &["-X", "DELETE"]).expect_problem(404, "no session");
    };
    end(by("play", "tcp"));
    assert!(players[1].ends_within(PATIENCE), "the player over TCP has ended");
    end(by("play", "udp"));
    assert!(players[0].ends_within(PATIENCE), "the player over UDP has ended");
    assert!(!publisher.ends_within(std::time::Duration::from_millis(500)), "the publisher goes on");
    end(by("publish", "tcp"));
    assert!(publisher.ends_within(PATIENCE), "the publisher has ended");
    server.wait_for_lines("reason=\"ended by an administrator\"", 3);
    wait_for(&server, "/api/v1/sessions", |list| list["total"] == 0);
}

fn many_sessions_come_in_parts_and_each_once(backend: Backend) {
    const COUNT: usize = 300;
    let server = server(backend).shards(3).start();
    let url = server.url("/test");
    let viewers: Vec<_> = (0..COUNT).map(|_| Viewer::open(server.address(), &url, Over::Tcp)).collect();
    let mut seen = Vec::new();
    let mut path = "/api/v1/sessions?limit=37".to_owned();
    loop {
        let part = get(&server, &path);
        assert_eq!(part["total"], COUNT);
        for session in part["sessions"].as_array().unwrap() {
            assert_eq!(session["state"], "ready");
            seen.push(session["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = part["next"].as_str() else { break };
        path = format!("/api/v1/sessions?limit=37&after={next}");
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "none twice");
    let mut ours: Vec<_> =
        viewers.iter().map(|viewer| viewer.client.session.clone().expect("it is set up")).collect();
    ours.sort();
    assert_eq!(seen, ours);
}

on_both_backends!(
    players_and_publishers_of_ffmpeg_are_listed_and_ended,
    many_sessions_come_in_parts_and_each_once
);
