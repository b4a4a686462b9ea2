//! A browser on any port, and whatever else speaks HTTP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::http::rest;
use super::server;
use crate::client::{Client, PATIENCE};
use crate::judge::run;
use crate::server::{Backend, Server, on_both_backends};

/// Sends text in pieces of that size; what comes until the server closes.
fn exchange(server: SocketAddr, text: &str, piece: usize) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for part in text.as_bytes().chunks(piece) {
        stream.write_all(part).unwrap();
        if piece < text.len() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends a request that may be more than the server reads; what it answers all the same.
fn refusal(server: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    // It may have closed before all is said.
    let _ = stream.write_all(request.as_bytes());
    rest(&mut stream)
}

fn a_browser_gets_a_page_on_every_port(backend: Backend) {
    let server = server(backend).start();
    let (rtsp, http) = (server.port(), server.http_port());
    for address in [server.address(), server.http_address()] {
        for piece in [1, 1_000] {
            let asked = "GET / HTTP/1.1\r\nHost: media.example:99\r\nConnection: close\r\n\r\n";
            let page = exchange(address, asked, piece);
            let (head, body) = page.split_once("\r\n\r\n").unwrap();
            let head = head.to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
            assert!(head.contains("\r\ncontent-type: text/html; charset=utf-8"), "{head}");
            assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{head}");
            assert!(head.contains("script-src 'self'") && !head.contains("unsafe"), "{head}");
            assert!(body.contains("<title>Ringcaster") && !body.contains("media.example"), "{body}");
        }
        let about = exchange(address, "GET /page/server.json HTTP/1.0\r\n\r\n", 1_000);
        let ports = format!("\"ports\":{{\"rtsp\":{rtsp},\"rtsps\":null,\"http\":{http},\"https\":null}}");
        assert!(about.contains(&ports), "{about}");
        let head = exchange(address, "HEAD / HTTP/1.0\r\n\r\n", 1_000).to_ascii_lowercase();
        assert!(head.starts_with("http/1.0 200 ok\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(head.contains("\r\ncontent-length: "), "{head}");
        for nothing in ["/a", "/page", "/index.htm"] {
            let answer = exchange(address, &format!("GET {nothing} HTTP/1.1\r\n\r\n"), 1_000);
            assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
        }
        let answer = exchange(address, "GET /page/../main.rs HTTP/1.0\r\n\r\n", 1_000);
        assert!(answer.starts_with("HTTP/1.0 404 "), "{answer}");
        assert!(exchange(address, "PUT / HTTP/1.1\r\n\r\n", 1_000).starts_with("HTTP/1.1 405 "));
        let asked = "OPTIONS /a HTTP/1.1\r\nOrigin: https://a\r\nAccess-Control-Request-Method: POST\r\n\r\n";
        let preflight = exchange(address, asked, 1_000);
        assert!(preflight.starts_with("HTTP/1.1 204 No Content\r\n"), "{preflight}");
        assert!(preflight.contains("\r\nAccess-Control-Allow-Origin: https://a\r\n"), "{preflight}");
        assert!(preflight.contains("x-sessioncookie"), "{preflight}");
    }
    // A browser that has it is told so.
    let page = exchange(server.http_address(), "GET /page/main.js HTTP/1.0\r\n\r\n", 1_000);
    let tag = page.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let asked = format!("GET /page/main.js HTTP/1.0\r\nIf-None-Match: \"x\", {tag}\r\n\r\n");
    let again = exchange(server.http_address(), &asked, 1_000);
    assert!(again.starts_with("HTTP/1.0 304 ") && again.ends_with("\r\n\r\n"), "{again}");
    // By another hand.
    let url = format!("http://127.0.0.1:{http}/");
    let arguments = ["-sS", "--fail", "-o", "/dev/null", "-w", "%{http_code} %{content_type}", &url];
    let output = run("curl", &arguments.map(str::to_owned), PATIENCE).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200 text/html; charset=utf-8");
}

fn what_is_wrong_or_too_long_is_refused_in_http(backend: Backend) {
    let server = server(backend).start();
    let long = "x".repeat(70_000);
    let wrong = [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "414"),
        (format!("POST /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "414"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", &long[..40_000]), "431"),
        (format!("OPTIONS / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", &long[..40_000]), "431"),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100)), "431"),
        ("GET /\r\n\r\n".to_owned(), "400"),
        ("DELETE /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), "400"),
    ];
    for address in [server.address(), server.http_address()] {
        for (request, status) in &wrong {
            let answer = refusal(address, request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{}: {answer}", &request[..5]);
            assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        }
        // Pages, the API, what is nothing, and the second request of a connection.
        for path in ["/", "/api/v1/stats", "/healthz", "/nothing"] {
            for before in ["", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"] {
                let two = format!("GET {path} HTTP/1.1\r\nHost: a\r\nhost: a\r\nConnection: close\r\n\r\n");
                let answer = refusal(address, &format!("{before}{two}"));
                let last = answer.split("ok\n").last().unwrap();
                assert!(last.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
            }
        }
    }
    // By another hand, which takes no other answer for HTTP.
    let url = format!("http://127.0.0.1:{}/?{long}", server.http_port());
    let arguments = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", &url];
    let output = run("curl", &arguments.map(str::to_owned), PATIENCE).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "414");
}

fn rtsp_is_spoken_on_the_http_port(backend: Backend) {
    let server = server(backend).start();
    let mut client = Client::connect(server.http_address());
    client.request("OPTIONS", "*", &[]).expect(200);
    // Behind it, HTTP is no door any more.
    client.send(b"GET / HTTP/1.1\r\nx-sessioncookie: a\r\n\r\n");
    client.response().expect(400);
    assert!(client.is_closed_within(PATIENCE));
}

on_both_backends!(
    a_browser_gets_a_page_on_every_port,
    what_is_wrong_or_too_long_is_refused_in_http,
    rtsp_is_spoken_on_the_http_port,
);

#[test]
fn a_port_that_is_named_must_be_had() {
    let first = server(Backend::Fallback).start();
    let taken = first.http_port();
    first.wait_for_log(&format!("where only HTTP passes: http://127.0.0.1:{taken}/, ws://"), PATIENCE);
    let second = Server::with(Backend::Fallback).setting("rtsp_over_http", 1).setting("http_port", taken);
    let ended = second.run_to_end(Duration::from_secs(10));
    assert_eq!(ended.status.code(), Some(1));
    let said = format!("cannot listen on 127.0.0.1:{taken}: port {taken} is in use; change http_port");
    assert!(ended.output.contains(&said), "{}", ended.output);
}

#[test]
fn a_port_that_is_only_a_default_stays_closed_when_it_cannot_be_had() {
    // Whoever else has it, it is taken.
    let _holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080));
    let server = Server::with(Backend::Fallback).setting("rtsp_over_http", 1).start();
    server.wait_for_log("port 8080 cannot be had (port 8080 is in use) and stays closed", PATIENCE);
    assert!(!server.log().contains("where only HTTP passes"));
    // The others take tunnels all the same.
    let about = exchange(server.address(), "GET /page/server.json HTTP/1.0\r\n\r\n", 1_000);
    assert!(about.contains("\"http\":true") && about.contains("\"http\":null"), "{about}");
}
