//! Dumps of sessions, read by tcpdump.

use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{Running, curl, get, http, server, wait_for};
use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::judge::ffmpeg::Scratch;
use crate::server::{Backend, Server, on_both_backends, scratch};

/// Has the only session of a kind dumped for some seconds; what tcpdump makes of it.
fn dumped(server: &Server, folder: &Scratch, kind: &str, options: &[&str]) -> String {
    let list = get(server, "/api/v1/sessions");
    let session = list["sessions"].as_array().unwrap().iter().find(|it| it["kind"] == kind).unwrap();
    let url = http(server, &format!("/api/v1/sessions/{}/dump?seconds=2", session["id"].as_str().unwrap()));
    let file = folder.file(&format!("{kind}.pcap"));
    let answer = curl(&url, &["-X", "POST", "-o", &file]).expect(200);
    assert_eq!(answer.kind, "application/vnd.tcpdump.pcap");
    let output = Command::new("tcpdump").args(["-nn", "-r", &file]).args(options).output();
    let output = output.expect("tcpdump is there: test.sh installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Sequence numbers of RTP in what tcpdump prints.
fn sequences(said: &str, direction: &str) -> Vec<u16> {
    let lines = said.lines().filter(|line| line.contains(direction) && line.contains("udp/rtp"));
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    // Behind the payload type, such as "c96", and a mark of the marker bit.
    let number = |words: Vec<&str>| {
        let at = words.iter().position(|word| word.starts_with("c96"))?;
        words[at + 1..].iter().find_map(|word| word.parse().ok())
    };
    words.filter_map(number).collect()
}

fn datagrams_of_a_player_are_in_its_dump(backend: Backend) {
    let server = server(backend).start();
    let folder = Scratch(scratch("dump"));
    let _publisher = Running::publisher(&server, "/live/camera");
    wait_for(&server, "/api/v1/streams", |list| list["total"] == 2);
    let _player = Running::player(&server, "/live/camera", "udp");
    wait_for(&server, "/api/v1/sessions", |list| {
        list["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["kind"] == "play" && it["bytes"].as_u64() > Some(9_000))
    });
    let said = dumped(&server, &folder, "play", &["-T", "rtp"]);
    let sequences = sequences(&said, " > ");
    assert!(sequences.len() > 30, "{said}");
    assert!(sequences.windows(2).all(|two| two[1] == two[0].wrapping_add(1)), "{said}");
}

fn a_connection_is_in_its_dump_with_all_that_went_over_it(backend: Backend) {
    let server = server(backend).start();
    let folder = Scratch(scratch("dump"));
    let mut client = Client::connect(server.address());
    let url = server.url("/test");
    let transport = ("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1");
    let answer = client.request("SETUP", &format!("{url}/trackID=0"), &[transport]);
    let session = answer.header("Session").unwrap().split(';').next().unwrap().to_owned();
    let said = thread::scope(|scope| {
        let dumping = scope.spawn(|| dumped(&server, &folder, "play", &["-A"]));
        server.wait_for_log("packets are kept for a dump", Duration::from_secs(10));
        client.request("PLAY", &url, &[("Session", &session)]);
        client.request("OPTIONS", &url, &[("Session", &session), ("User-Agent", "seen by tcpdump")]);
        dumping.join().unwrap()
    });
    for part in ["PLAY rtsp://", "RTSP/1.0 200 OK", "RTP-Info: ", "seen by tcpdump", "Public: "] {
        assert!(said.contains(part), "{part}: {said:.3000}");
    }
    // The bytes of each direction follow each other.
    let port = server.port().to_string();
    let outgoing =
        said.lines().filter(|line| line.contains(&format!(".{port} > ")) && line.contains(" seq "));
    let ranges = outgoing.map(|line| {
        let range = line.split(" seq ").nth(1).unwrap().split(',').next().unwrap();
        let (first, last) = range.split_once(':').unwrap();
        (first.parse::<u64>().unwrap(), last.parse::<u64>().unwrap())
    });
    let ranges: Vec<_> = ranges.collect();
    assert!(ranges.len() > 20, "{said:.3000}");
    assert!(ranges[1..].windows(2).all(|two| two[1].0 == two[0].1), "{ranges:?}");
}

fn a_dump_that_cannot_be_is_refused(backend: Backend) {
    let server = server(backend).start();
    let _player = Running::player(&server, "/test", "tcp");
    let list = wait_for(&server, "/api/v1/sessions", |list| list["total"] == 1);
    let id = list["sessions"][0]["id"].as_str().unwrap();
    let url = |seconds: &str| http(&server, &format!("/api/v1/sessions/{id}/dump{seconds}"));
    curl(&url("?seconds=0"), &["-X", "POST"]).expect_problem(400, "1 to 15");
    curl(&url("?seconds=soon"), &["-X", "POST"]).expect_problem(400, "seconds");
    curl(&http(&server, "/api/v1/sessions/00FF00FF00FF00FF/dump"), &["-X", "POST"])
        .expect_problem(404, "no session");
    thread::scope(|scope| {
        let dumping =
            scope.spawn(|| curl(&url("?seconds=3"), &["-X", "POST", "-o", "/dev/null"]).expect(200));
        server.wait_for_log("packets are kept for a dump", Duration::from_secs(10));
        curl(&url("?seconds=1"), &["-X", "POST"]).expect_problem(409, "dumped already");
        dumping.join().unwrap();
    });
    // The next one is possible again.
    curl(&url("?seconds=1"), &["-X", "POST", "-o", "/dev/null"]).expect(200);
}

fn as_many_as_can_be_are_dumped_on_all_shards_together(backend: Backend) {
    let server = server(backend).shards(4).start();
    let watch = |_| {
        let mut viewer = Viewer::open(server.address(), &server.url("/test"), Over::Tcp);
        viewer.play(&[]);
        viewer
    };
    let _viewers: Vec<_> = (0..6).map(watch).collect();
    let list = wait_for(&server, "/api/v1/sessions", |list| list["total"] == 6);
    let ids: Vec<_> =
        list["sessions"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
    let dump = |id: &str, seconds: u32| {
        curl(
            &http(&server, &format!("/api/v1/sessions/{id}/dump?seconds={seconds}")),
            &["-X", "POST", "-o", "/dev/null"],
        )
    };
    thread::scope(|scope| {
        let dumping: Vec<_> = ids[..4].iter().map(|id| scope.spawn(|| dump(id, 8).expect(200))).collect();
        server.wait_for_lines("packets are kept for a dump", 4);
        dump(&ids[4], 1).expect(409);
        dump(&ids[0], 1).expect(409);
        dumping.into_iter().for_each(|one| drop(one.join().unwrap()));
    });
    dump(&ids[4], 1).expect(200);
}

fn a_dump_ends_with_the_client_that_asked_for_it(backend: Backend) {
    let server = server(backend).start();
    let _player = Running::player(&server, "/test", "tcp");
    let list = wait_for(&server, "/api/v1/sessions", |list| list["total"] == 1);
    let id = list["sessions"][0]["id"].as_str().unwrap();
    let url = |seconds: u32| http(&server, &format!("/api/v1/sessions/{id}/dump?seconds={seconds}"));
    let mut asking = Command::new("curl").args(["-s", "-X", "POST", &url(15)]).spawn().unwrap();
    server.wait_for_log("packets are kept for a dump", Duration::from_secs(10));
    asking.kill().unwrap();
    asking.wait().unwrap();
    server.wait_for_log("whoever asked is gone", Duration::from_secs(10));
    curl(&url(1), &["-X", "POST", "-o", "/dev/null"]).expect(200);
}

on_both_backends!(
    a_dump_ends_with_the_client_that_asked_for_it,
    as_many_as_can_be_are_dumped_on_all_shards_together,
    datagrams_of_a_player_are_in_its_dump,
    a_connection_is_in_its_dump_with_all_that_went_over_it,
    a_dump_that_cannot_be_is_refused,
);
