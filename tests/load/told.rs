//! What the load test says where something is wrong: who runs it must not take half a figure for a whole one.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{program, run, server, text};
use crate::server::{Backend, scratch};

#[test]
fn failures_are_told_and_end_in_an_exit_code() {
    let server = server(Backend::Uring).start();
    let output = run(&["play", "--url", &server.url("/nothing"), "--viewers", "2", "--duration", "0.2"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("\"DESCRIBE: answered 404\": 2"), "{}", text(&output.stdout));
    let output = run(&["play", "--url", &server.url("/test"), "--viewers", "0"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
}

#[test]
fn what_cannot_be_measured_is_refused_before_it_runs() {
    let server = server(Backend::Uring).start();
    let (url, pid) = (server.url("/test"), server.pid().to_string());
    let limit = ["--limit", "--server-pid", &pid];
    for (words, told) in [
        (&["stall", "--stalled", "1", "--transport", "udp"][..], "--transport udp: who gets datagrams"),
        (&["stall", "--slow", "1", "--transport", "mixed"][..], "--transport mixed: who gets datagrams"),
        (
            &[&["play", "--transport", "multicast"], &limit[..]].concat()[..],
            "--transport multicast: there is no bare",
        ),
        (&[&["churn"], &limit[..]].concat()[..], "--limit"),
        (&[&["idle"], &limit[..]].concat()[..], "--limit"),
        (&["play", "--duration", "1e18"], "--duration"),
        (&["fanout", "--fps", "1e-20"], "--fps"),
    ] {
        let output = run(&[words, &["--url", &url, "--viewers", "4"]].concat());
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {errors}");
        assert!(errors.contains(told), "{words:?}: {errors}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let server = server(Backend::Uring).start();
    let url = server.url("/live/camera");
    let output = run(&["publish", "--url", &url, "--duration", "0.5", "--file", "/nowhere/film.264"]);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.code() != Some(0) && said.contains("/nowhere/film.264"), "{said}");
}

#[test]
fn a_suite_that_lacks_a_contestant_does_not_succeed() {
    let folder = scratch("lacking");
    let mut command = Command::new(program());
    command.args([
        "suite",
        "--figure",
        "join",
        "--rounds",
        "1",
        "--duration",
        "0.5",
        "--server",
        "/nowhere/rtspserver",
    ]);
    let output = command.arg("--out").arg(&folder).stdin(Stdio::null()).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ringcaster FAILED: /nowhere/rtspserver: "), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_server_that_stops_reading_does_not_hold_a_publisher_for_ever() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    let answering = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut lines = String::new();
        // Three answers, to ANNOUNCE, SETUP and RECORD; what is announced has no empty line in it.
        let mut sequence = 0;
        while sequence < 3 {
            lines.clear();
            assert!(reader.read_line(&mut lines).unwrap() > 0);
            if lines.to_ascii_lowercase().starts_with("cseq:") {
                sequence += 1;
                let answer = format!(
                    "RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nSession: 1\r\n\
                     Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
        thread::sleep(Duration::from_secs(60));
    });
    let output = run(&["publish", "--url", &url, "--duration", "2", "--bitrate", "5e7", "--fps", "60"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    assert!(said.contains("the server has stopped reading"), "{said}");
    assert!(!answering.is_finished(), "it held the connection all the time");
}

#[test]
fn what_several_loops_saved_can_be_drawn() {
    let folder = scratch("drawn");
    let saved = folder.join("limit.json");
    let arguments = ["limit", "--viewers", "2", "--duration", "0.5", "--transport", "udp", "--save"];
    let output = run(&[&arguments[..], &[saved.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut command = Command::new(program());
    command.arg("chart").arg(&saved).args(["--name", "limit"]).current_dir(&folder);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let drawn = std::fs::read_to_string(folder.join("limit-cpu.svg")).unwrap();
    for by in ["sendmmsg+gso", "uring+gso", "sendto"] {
        assert!(drawn.contains(by), "{by}: {drawn}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
