//! The dialogue of an HTTP tunnel, as the manual tells it and as clients stretch it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::bridge::{connect, cookie, get, post, read_head};
use super::{DOORS, server};
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Message, PATIENCE};
use crate::corpus::folder;
use crate::server::{Backend, Server, on_both_backends};

const FILE: &str = "/h264_aac.mp4";

/// A tunnel whose halves are sockets of the test.
struct Tunnel {
    /// What comes, behind the head.
    out: Client,
    into: TcpStream,
    cseq: u32,
}

impl Tunnel {
    fn open(server: SocketAddr, version: &str) -> Tunnel {
        let cookie = cookie();
        let mut out = get(server, &cookie, version);
        let head = read_head(&mut out);
        assert!(head.starts_with(&format!("HTTP/{version} 200 OK\r\n")), "{head}");
        assert!(head.contains("\r\nContent-Type: application/x-rtsp-tunnelled\r\n"), "{head}");
        assert!(
            head.contains("\r\nCache-Control: no-store\r\n") && !head.contains("Content-Length"),
            "{head}"
        );
        Tunnel { out: Client::on(out), into: post(server, &cookie, version), cseq: 0 }
    }

    fn send(&mut self, text: &str) {
        self.into.write_all(STANDARD.encode(text).as_bytes()).unwrap();
    }

    /// The text of the next request.
    fn request(&mut self, method: &str, url: &str, headers: &str) -> String {
        self.cseq += 1;
        format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n{headers}\r\n", self.cseq)
    }

    #[track_caller]
    fn ask(&mut self, method: &str, url: &str, headers: &str) -> crate::client::Response {
        let text = self.request(method, url, headers);
        self.send(&text);
        let response = self.out.response();
        assert_eq!(response.header("CSeq"), Some(self.cseq.to_string().as_str()));
        response.expect(200)
    }
}

/// What comes on a socket until the server closes it.
pub(super) fn rest(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
            String::from_utf8_lossy(&text).into_owned()
        }
        Err(error) => panic!("the server has not closed: {error}"),
    }
}

fn the_dialogue_of_the_manual_is_followed_on_every_port(backend: Backend) {
    let server = server(backend).media(folder()).start();
    for (address, version) in [(server.http_address(), "1.1"), (server.address(), "1.0")] {
        let mut tunnel = Tunnel::open(address, version);
        let url = server.url(FILE);
        tunnel.ask("OPTIONS", &url, "");
        let description = tunnel.ask("DESCRIBE", &url, "Accept: application/sdp\r\n").text();
        assert!(description.contains("m=video"), "{description}");
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
        let setup = tunnel.ask("SETUP", &format!("{url}/trackID=0"), transport);
        let session = format!("Session: {}\r\n", setup.session().unwrap());
        tunnel.ask("PLAY", &url, &session);
        let mut packets = 0;
        while packets < 50 {
            match tunnel.out.next(PATIENCE) {
                Some(Message::Frame { channel, data }) => {
                    assert!(channel < 2 && data[0] & 0xc0 == 0x80);
                    packets += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        tunnel.ask("TEARDOWN", &url, &session);
        // The way in was never answered.
        tunnel.into.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(tunnel.into.read(&mut [0]).is_err());
        drop(tunnel);
    }
}

fn the_halves_meet_in_either_order_whatever_shards_they_come_to(backend: Backend) {
    let server = server(backend).shards(4).start();
    for round in 0..24 {
        let cookie = cookie();
        let (out, mut into);
        if round % 2 == 0 {
            out = get(server.address(), &cookie, "1.0");
            into = post(server.address(), &cookie, "1.0");
        } else {
            into = post(server.http_address(), &cookie, "1.0");
            // What comes before the other half waits for it.
            into.write_all(STANDARD.encode("OPTIONS * RTSP/1.0\r\nCSeq: 7\r\n\r\n").as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(10));
            out = get(server.address(), &cookie, "1.0");
        }
        let mut out = out;
        assert!(read_head(&mut out).starts_with("HTTP/1.0 200 OK\r\n"));
        let mut out = Client::on(out);
        if round % 2 == 1 {
            assert_eq!(out.response().expect(200).header("CSeq"), Some("7"));
        }
        into.write_all(STANDARD.encode("OPTIONS * RTSP/1.0\r\nCSeq: 8\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(out.response().expect(200).header("CSeq"), Some("8"));
    }
}

fn tunnels_that_come_all_at_once_find_their_halves(backend: Backend) {
    let server = server(backend).shards(2).start();
    let address = server.address();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..600 {
                    let mut tunnel = Tunnel::open(address, "1.1");
                    tunnel.ask("OPTIONS", "*", "");
                }
            });
        }
    });
}

fn base64_comes_in_any_pieces_with_padding_between_requests(backend: Backend) {
    let server = server(backend).start();
    let mut tunnel = Tunnel::open(server.http_address(), "1.1");
    // Three requests with paddings of their own, in lines, cut anywhere.
    let texts: Vec<String> =
        ["*", "rtsp://h/", "rtsp://h/a"].map(|url| tunnel.request("OPTIONS", url, "")).into();
    assert!(texts.iter().any(|text| text.len() % 3 != 0));
    let encoded: String = texts.iter().map(|text| STANDARD.encode(text)).collect();
    let lines: Vec<u8> = encoded.as_bytes().chunks(13).flat_map(|line| [line, b" \r\n"].concat()).collect();
    for (index, piece) in lines.chunks(5).enumerate() {
        tunnel.into.write_all(piece).unwrap();
        if index % 4 == 0 {
            thread::sleep(Duration::from_millis(2));
        }
    }
    for cseq in 1..=3 {
        assert_eq!(tunnel.out.response().expect(200).header("CSeq"), Some(cseq.to_string().as_str()));
    }
    // What is none is refused, and the tunnel is closed.
    tunnel.into.write_all(b"$$$$").unwrap();
    tunnel.out.response().expect(400);
    assert!(tunnel.out.is_closed_within(PATIENCE));
    assert_eq!(rest(&mut tunnel.into), "");
}

fn the_way_in_may_be_opened_again_while_media_flows(backend: Backend) {
    let server = server(backend).media(folder()).start();
    let (address, cookie) = (server.http_address(), cookie());
    let mut out = get(address, &cookie, "1.1");
    read_head(&mut out);
    let mut tunnel = Tunnel { out: Client::on(out), into: post(address, &cookie, "1.1"), cseq: 0 };
    let url = server.url(FILE);
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
    let setup = tunnel.ask("SETUP", &format!("{url}/trackID=0"), transport);
    let session = format!("Session: {}\r\n", setup.session().unwrap());
    tunnel.into = post(address, &cookie, "1.1");
    tunnel.ask("PLAY", &url, &session);
    for _ in 0..3 {
        tunnel.into.shutdown(Shutdown::Both).unwrap();
        // Nobody asks now, and media flows.
        assert!(matches!(tunnel.out.next(PATIENCE), Some(Message::Frame { .. })));
        tunnel.into = post(address, &cookie, "1.1");
        tunnel.ask("GET_PARAMETER", &url, &session);
    }
    // The old one need not have been closed.
    let mut old = std::mem::replace(&mut tunnel.into, post(address, &cookie, "1.1"));
    tunnel.ask("PAUSE", &url, &session);
    assert_eq!(rest(&mut old), "");
    tunnel.ask("TEARDOWN", &url, &session);
}

fn what_is_asked_before_both_ways_are_closed_is_done(backend: Backend) {
    let server = server(backend).media(folder()).start();
    let mut tunnel = Tunnel::open(server.http_address(), "1.1");
    let url = server.url(FILE);
    let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
    let setup = tunnel.ask("SETUP", &format!("{url}/trackID=0"), transport);
    let session = format!("Session: {}\r\n", setup.session().unwrap());
    // The end of the GET comes first.
    tunnel.out.socket().shutdown(Shutdown::Write).unwrap();
    thread::sleep(Duration::from_millis(100));
    let text = tunnel.request("TEARDOWN", &url, &session);
    tunnel.send(&text);
    tunnel.into.shutdown(Shutdown::Write).unwrap();
    tunnel.out.response().expect(200);
    assert!(tunnel.out.is_closed_within(PATIENCE));
    server.wait_for_log("reason=\"torn down\"", PATIENCE);
}

fn what_a_post_brings_is_served_even_if_it_ends_at_once(backend: Backend) {
    // Whatever shard it comes to.
    let server = server(backend).shards(4).start();
    let (address, cookie) = (server.http_address(), cookie());
    let mut out = get(address, &cookie, "1.1");
    read_head(&mut out);
    let mut out = Client::on(out);
    for cseq in 1..=16 {
        let request = STANDARD.encode(format!("OPTIONS * RTSP/1.0\r\nCSeq: {cseq}\r\n\r\n"));
        let post = format!("POST / HTTP/1.1\r\nx-sessioncookie: {cookie}\r\n\r\n{request}");
        let mut into = TcpStream::connect(address).unwrap();
        into.write_all(post.as_bytes()).unwrap();
        into.shutdown(Shutdown::Write).unwrap();
        assert_eq!(out.response().expect(200).header("CSeq"), Some(cseq.to_string().as_str()));
    }
}

#[track_caller]
fn refused(stream: &mut TcpStream, status: u16) {
    let text = rest(stream);
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text:?}");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
}

fn what_is_no_tunnel_is_refused(backend: Backend) {
    let server = server(backend).start();
    let address = server.http_address();
    let mut tunnel = Tunnel::open(address, "1.1");
    tunnel.ask("OPTIONS", "*", "");

    // A cookie that others have: to be guessed, and to be taken from its owner.
    let taken = cookie();
    let mut first = get(address, &taken, "1.1");
    read_head(&mut first);
    refused(&mut get(address, &taken, "1.1"), 409);
    for bad in ["", "two words", &"x".repeat(129)] {
        refused(&mut get(address, bad, "1.1"), 400);
        refused(&mut post(address, bad, "1.1"), 400);
    }
    let _: TcpStream = post(address, &"x".repeat(128), "1.1");

    // Both halves on one connection: in one piece, and one after the other.
    let both =
        "GET / HTTP/1.1\r\nx-sessioncookie: both\r\n\r\nPOST / HTTP/1.1\r\nx-sessioncookie: both\r\n\r\n";
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(both.as_bytes()).unwrap();
    refused(&mut stream, 400);
    let cookie = cookie();
    let mut stream = get(address, &cookie, "1.1");
    read_head(&mut stream);
    stream.write_all(format!("POST / HTTP/1.1\r\nx-sessioncookie: {cookie}\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(rest(&mut stream), "");

    // A POST that names no tunnel.
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").unwrap();
    refused(&mut stream, 404);

    // Lines that are no headers, and a length that is none, which nobody asks for.
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nno header\r\n\r\n").unwrap();
    refused(&mut stream, 400);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: much\r\n\r\n").unwrap();
    refused(&mut stream, 404);
    tunnel.ask("OPTIONS", "*", "");
}

fn rtsp_over_http_0_refuses_tunnel_and_websocket_on_every_port(backend: Backend) {
    let server = Server::with(backend).start();
    refused(&mut get(server.address(), "a", "1.1"), 403);
    refused(&mut post(server.address(), "a", "1.1"), 403);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(super::websocket::HANDSHAKE.as_bytes()).unwrap();
    refused(&mut stream, 403);
    assert!(TcpStream::connect(server.http_address()).is_err());
}

fn datagrams_are_not_granted_inside_a_tunnel(backend: Backend) {
    let server = server(backend).media(folder()).start();
    for door in DOORS {
        let mut client = connect(server.http_address(), door);
        let url = format!("{}/trackID=0", server.url(FILE));
        let udp = [("Transport", "RTP/AVP;unicast;client_port=30000-30001")];
        client.request("SETUP", &url, &udp).expect(461);
        let both = "RTP/AVP;unicast;client_port=30000-30001,RTP/AVP/TCP;unicast;interleaved=4-5";
        let answer = client.request("SETUP", &url, &[("Transport", both)]).expect(200);
        assert_eq!(answer.transport("interleaved"), Some("4-5"));
    }
}

fn requests_and_reports_through_a_door_keep_a_session_alive(backend: Backend) {
    let server = server(backend).media(folder()).setting("session_timeout", 2).start();
    for door in DOORS {
        for by_reports in [false, true] {
            let client = connect(server.http_address(), door);
            let mut viewer = Viewer::describe_on(client, &server.url(FILE), Over::Tcp).set_up();
            let session = viewer.client.session.clone().unwrap();
            for _ in 0..8 {
                thread::sleep(Duration::from_millis(500));
                if by_reports {
                    // A receiver report without a block (RFC 3550 section 6.4.2), on the channel of reports.
                    viewer.client.send(b"$\x01\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x07");
                } else {
                    viewer.client.request("GET_PARAMETER", &server.url(FILE), &[]).expect(200);
                }
            }
            viewer.client.request("PLAY", &server.url(FILE), &[]).expect(200);
            assert!(!server.log().contains(&format!("session ended session={session}")), "{door:?}");
        }
    }
}

fn half_a_tunnel_is_closed_in_time_and_a_whole_one_is_not(backend: Backend) {
    let server = server(backend).start();
    let address = server.http_address();
    let mut whole = Tunnel::open(address, "1.1");
    let mut halves = [get(address, &cookie(), "1.1"), post(address, &cookie(), "1.1")];
    for half in &mut halves {
        half.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        let _ = half.read_to_end(&mut Vec::new()).unwrap();
    }
    whole.ask("OPTIONS", "*", "");
}

on_both_backends!(
    the_halves_meet_in_either_order_whatever_shards_they_come_to,
    tunnels_that_come_all_at_once_find_their_halves,
    base64_comes_in_any_pieces_with_padding_between_requests,
    what_a_post_brings_is_served_even_if_it_ends_at_once,
    what_is_no_tunnel_is_refused,
    rtsp_over_http_0_refuses_tunnel_and_websocket_on_every_port,
    half_a_tunnel_is_closed_in_time_and_a_whole_one_is_not;
    "ffmpeg":
    the_dialogue_of_the_manual_is_followed_on_every_port,
    the_way_in_may_be_opened_again_while_media_flows,
    what_is_asked_before_both_ways_are_closed_is_done,
    datagrams_are_not_granted_inside_a_tunnel,
    requests_and_reports_through_a_door_keep_a_session_alive,
);
