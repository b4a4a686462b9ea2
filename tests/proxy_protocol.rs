//! Proxies that say for whom they connect (`proxy_protocol`): by our own bytes, and HAProxy.

mod haproxy;
mod secure;

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::publisher::{Publisher, SDP};
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Message};
use crate::corpus::folder;
use crate::server::{Backend, Builder, Server, on_both_backends};
use crate::upstream::network::Networks;

const FILE: &str = "/h264_aac.mp4";

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that trusts the proxies of this machine.
fn behind(backend: Backend) -> Builder {
    Server::with(backend).media(folder()).setting("proxy_protocol", "127.0.0.0/31")
}

/// A header of version 1.
fn line(client: &str) -> Vec<u8> {
    let client: IpAddr = client.parse().unwrap();
    let (family, server) = if client.is_ipv4() { ("TCP4", "198.51.100.1") } else { ("TCP6", "2001:db8::99") };
    format!("PROXY {family} {client} {server} 40000 554\r\n").into_bytes()
}

/// A header of version 2, with a TLV behind the addresses.
fn binary(client: &str) -> Vec<u8> {
    let (family, mut addresses) = match client.parse().unwrap() {
        IpAddr::V4(ip) => (0x11, [ip.octets(), [198, 51, 100, 1]].concat()),
        IpAddr::V6(ip) => (0x21, [ip.octets(), [9; 16]].concat()),
    };
    addresses.extend([0x9c, 0x40, 2, 0x2a]);
    // The authority of a TLS connection, which nobody here wants to know.
    addresses.extend([2, 0, 4, b'h', b'o', b's', b't']);
    head(0x21, family, &addresses)
}

fn head(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = (addresses.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, addresses].concat()
}

/// A connection of the proxy that begins with these bytes, some at a time.
fn by_proxy(server: SocketAddr, header: &[u8], piece: usize) -> Client {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in header.chunks(piece) {
        stream.write_all(piece).unwrap();
        if piece.len() < header.len() {
            thread::sleep(Duration::from_millis(2));
        }
    }
    Client::on(stream)
}

/// Waits for so many lines of the log that hold all of this, and no more.
#[track_caller]
fn wait_for_lines(server: &Server, words: &[&str], count: usize) {
    let lines = |log: &str| log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    let end = Instant::now() + PATIENCE;
    while lines(&server.log()) < count && Instant::now() < end {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(lines(&server.log()), count, "{words:?}: {}", server.log());
}

#[track_caller]
fn is_closed(mut client: Client) {
    client.try_send("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    assert_eq!(client.next(PATIENCE), Some(Message::Closed));
}

fn the_client_that_a_proxy_names_is_the_peer(backend: Backend) {
    let server = behind(backend).start();
    for (number, address) in ["192.0.2.7", "2001:db8::7"].into_iter().enumerate() {
        for (make, piece) in [(line as fn(&str) -> Vec<u8>, 1_000), (line, 7), (binary, 1_000), (binary, 1)] {
            let client = by_proxy(server.address(), &make(address), piece);
            let mut viewer = Viewer::describe_on(client, &server.url(FILE), Over::Tcp).set_up();
            viewer.play(&[]);
            assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
            viewer.teardown();
        }
        let peer = ["peer=192.0.2.7:40000", "peer=[2001:db8::7]:40000"][number];
        wait_for_lines(&server, &["session begins", peer], 4);
    }
    // What comes in one piece with the header is the client's.
    let request = b"OPTIONS * RTSP/1.0\r\nCSeq: 3\r\n\r\n";
    for header in [line("192.0.2.8"), binary("192.0.2.8")] {
        let mut client = by_proxy(server.address(), &[&header[..], request].concat(), 10_000);
        assert!(matches!(client.next(PATIENCE), Some(Message::Response(answer)) if answer.status == 200));
    }
}

fn a_proxy_that_speaks_for_itself_keeps_its_address(backend: Backend) {
    let server = behind(backend).start();
    let unnamed = [
        b"PROXY UNKNOWN\r\n".to_vec(),
        head(0x20, 0, &[]),
        head(0x21, 0, &[1; 40]),
        head(0x21, 0x31, &[0; 216]),
    ];
    for header in &unnamed {
        let client = by_proxy(server.address(), header, 5);
        let mut viewer = Viewer::describe_on(client, &server.url(FILE), Over::Tcp).set_up();
        viewer.play(&[]);
        viewer.teardown();
    }
    wait_for_lines(&server, &["session begins", "peer=127.0.0.1:"], unnamed.len());
    // But whoever is behind it is not on this machine.
    let server = behind(backend).setting("publish", "local").start();
    for (header, status) in [(&unnamed[0], 403), (&line("192.0.2.1"), 403), (&line("127.0.0.9"), 200)] {
        let mut client = by_proxy(server.address(), header, 1_000);
        Publisher::announce_on(&mut client, &server.url("/live"), SDP).expect(status);
    }
}

fn who_is_local_to_a_proxy_is_local_here_only_where_the_proxy_is(backend: Backend) {
    let Some(networks) = Networks::new() else { return };
    let server = networks.inside(0, || {
        let builder = Server::with(backend).ip("0.0.0.0").setting("publish", "local");
        builder.setting("proxy_protocol", "127.0.0.1 10.71.0.2").start()
    });
    let status = |end: usize, by: &str, client: &str| {
        networks.inside(end, || {
            let address = SocketAddr::new(by.parse().unwrap(), server.port());
            let mut client = by_proxy(address, &line(client), 1_000);
            Publisher::announce_on(&mut client, &server.url("/live"), SDP).status
        })
    };
    assert_eq!(status(0, "127.0.0.1", "127.0.0.9"), 200);
    assert_eq!(status(1, "10.71.0.1", "127.0.0.1"), 403, "its own machine is another one");
    assert_eq!(status(1, "10.71.0.1", "10.71.0.1"), 200, "this one, by its address");
}

fn lists_and_bounds_are_about_the_client(backend: Backend) {
    let server =
        behind(backend).setting("deny", "192.0.2.0/24 127.0.0.1").setting("max_sessions_per_ip", 1).start();
    for make in [line, binary] {
        is_closed(by_proxy(server.address(), &make("192.0.2.7"), 1_000));
        // The proxy's own address is denied, and its clients are not.
        let client = || by_proxy(server.address(), &make("203.0.113.7"), 1_000);
        let mut first = Viewer::describe_on(client(), &server.url(FILE), Over::Tcp).set_up();
        let track = first.description.media[0].control.clone();
        let answer = client().request("SETUP", &track, &[("Transport", "RTP/AVP/TCP;unicast")]).expect(453);
        assert!(answer.text().contains("max_sessions_per_ip"), "{answer:?}");
        let mut other = by_proxy(server.address(), &make("203.0.113.8"), 1_000);
        other.request("SETUP", &track, &[("Transport", "RTP/AVP/TCP;unicast")]).expect(200);
        drop(other);
        first.teardown();
    }
    is_closed(by_proxy(server.address(), &head(0x20, 0, &[]), 1_000));
    server.wait_for_log("turned away: banned, denied or not allowed", PATIENCE);
}

fn a_ban_is_about_the_client(backend: Backend) {
    let user = "<user><username>ann</username><password>right-1</password></user>";
    let server = behind(backend).setting("need_auth", 1).setting("ban_after", 2).xml(user).start();
    for _ in 0..2 {
        let client = by_proxy(server.address(), &binary("192.0.2.7"), 1_000);
        let mut client = client.log_in(&server.url(FILE), "ann", "wrong-1");
        client.request("DESCRIBE", &server.url(FILE), &[]).expect(401);
    }
    server.wait_for_log("banned: too many wrong passwords", PATIENCE);
    assert!(server.log().contains("address=192.0.2.7"), "{}", server.log());
    is_closed(by_proxy(server.address(), &line("192.0.2.7"), 1_000));
    by_proxy(server.address(), &line("192.0.2.8"), 1_000).request("OPTIONS", "*", &[]).expect(200);
}

fn datagrams_do_not_pass_a_proxy(backend: Backend) {
    let server = behind(backend).start();
    let mut client = by_proxy(server.address(), &line("127.0.0.1"), 1_000);
    let track = server.url(&format!("{FILE}/trackID=0"));
    let answer = client.request("SETUP", &track, &[("Transport", "RTP/AVP;unicast;client_port=6000-6001")]);
    assert!(answer.expect(461).text().contains("datagrams do not pass the proxy"));
    let both = "RTP/AVP;unicast;client_port=6000-6001,RTP/AVP/TCP;unicast;interleaved=0-1";
    let answer = client.request("SETUP", &track, &[("Transport", both)]).expect(200);
    assert_eq!(answer.transport("interleaved"), Some("0-1"));
    let mut client = by_proxy(server.address(), &line("127.0.0.1"), 1_000);
    Publisher::announce_on(&mut client, &server.url("/live"), SDP).expect(200);
    let udp = "RTP/AVP/UDP;unicast;client_port=6000-6001;mode=record";
    client.request("SETUP", &server.url("/live/streamid=0"), &[("Transport", udp)]).expect(461);
}

fn without_a_header_a_proxy_is_closed_and_others_are_served(backend: Backend) {
    let server = Server::with(backend).setting("proxy_protocol", "127.0.0.2").start();
    // Who is not trusted is served as it is, and its header is no request.
    Client::connect(server.address()).request("OPTIONS", "*", &[]).expect(200);
    let mut liar = by_proxy(server.address(), &line("192.0.2.7"), 1_000);
    liar.try_send("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    assert!(matches!(liar.next(PATIENCE), Some(Message::Response(answer)) if answer.status == 400));
    assert!(!server.log().contains("192.0.2.7"), "{}", server.log());
    let server = behind(backend).start();
    let broken: [&[u8]; 5] = [
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1\r\n",
        &[b"PROXY TCP4 ", &[b'1'; 200][..]].concat(),
        &head(0x31, 0x11, &[1; 12]),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for bytes in broken {
        assert!(by_proxy(server.address(), bytes, 1_000).is_closed_within(PATIENCE), "{bytes:?}");
    }
    wait_for_lines(&server, &["closed: proxy_protocol has the proxy say"], broken.len());
    // One that says nothing is not waited for.
    assert!(by_proxy(server.address(), b"PROXY", 1_000).is_closed_within(PATIENCE));
}

on_both_backends!(
    who_is_local_to_a_proxy_is_local_here_only_where_the_proxy_is,
    a_ban_is_about_the_client,
    without_a_header_a_proxy_is_closed_and_others_are_served;
    "ffmpeg":
    the_client_that_a_proxy_names_is_the_peer,
    a_proxy_that_speaks_for_itself_keeps_its_address,
    lists_and_bounds_are_about_the_client,
    datagrams_do_not_pass_a_proxy,
);
