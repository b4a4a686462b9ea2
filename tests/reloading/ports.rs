//! Ports that are opened and closed, certificates, the log and web services.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{FILE, PATIENCE, Subject, goes_on, serving, watch};
use crate::client::Client;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::server::{Backend, on_both_backends};
use crate::tls::opener::{Opener, fingerprint};

/// A port of the server's block that nobody else uses.
fn another(subject: &Subject) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, subject.server.port() + 2).into()
}

/// Waits until nobody listens there any more.
#[track_caller]
fn is_closed(address: SocketAddr) {
    let end = Instant::now() + PATIENCE;
    // And until it is to be had again.
    while TcpStream::connect(address).is_ok() || TcpListener::bind(address).is_err() {
        assert!(Instant::now() < end, "{address} is open");
        thread::sleep(Duration::from_millis(10));
    }
}

fn ports_are_opened_and_closed_and_connections_on_them_stay(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let (old, new) = (subject.server.address(), another(&subject));
    let mut kept = BOTH.map(|over| subject.watch(FILE, over));
    let http = format!("<rtsp_over_http>1</rtsp_over_http><http_port>{}</http_port>", new.port());
    let changes = subject.reload(&http);
    assert!(changes.starts_with(&format!("ports opened {}; rtsp_over_http", new.port())), "{changes}");
    let mut by_http = watch(Viewer::open(new, &subject.server.url(FILE), Over::Tcp));
    // Again and again nothing differs.
    assert!(subject.reload(&http).starts_with("nothing has changed"));
    let changes = subject.reload("");
    assert!(changes.starts_with(&format!("ports closed {}", new.port())), "{changes}");
    is_closed(new);
    goes_on(&mut by_http);
    by_http.teardown();
    // The port of RTSP itself.
    let changes = subject.reload(&format!("<serverport>{}</serverport>", new.port()));
    assert!(
        changes.contains(&format!("ports opened {}; ports closed {}", new.port(), old.port())),
        "{changes}"
    );
    let mut moved = watch(Viewer::open(new, &format!("rtsp://{new}{FILE}"), Over::Udp));
    is_closed(old);
    kept.iter_mut().chain([&mut moved]).for_each(goes_on);
    // Two doors change their ports with each other.
    let doors = |rtsp: SocketAddr, http: SocketAddr| {
        let (rtsp, http) = (rtsp.port(), http.port());
        format!(
            "<serverport>{rtsp}</serverport><rtsp_over_http>1</rtsp_over_http><http_port>{http}</http_port>"
        )
    };
    subject.reload(&doors(old, new));
    assert!(subject.reload(&doors(new, old)).starts_with("serverport, http_port"));
    for address in [old, new] {
        Client::connect(address).request("OPTIONS", "*", &[]).expect(200);
    }
    kept.iter_mut().chain([&mut moved]).for_each(goes_on);
}

fn more_addresses_and_fewer_are_listened_on(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let more: SocketAddr = (Ipv4Addr::new(127, 0, 0, 3), subject.server.port()).into();
    let mut kept = subject.watch(FILE, Over::Tcp);
    subject.reload("<serverip>127.0.0.3</serverip>");
    Client::connect(more).request("OPTIONS", "*", &[]).expect(200);
    subject.reload_whole(&subject.with("").replace("<serverip>127.0.0.1<", "<serverip>0.0.0.0<"));
    Client::connect(more).request("OPTIONS", "*", &[]).expect(200);
    // An address for documentation (RFC 5737) is not this machine's, whatever our own doors stand for.
    let why = subject.refuse(&subject.with("").replace("<serverip>127.0.0.1<", "<serverip>192.0.2.99<"));
    assert!(why.contains("192.0.2.99"), "{why}");
    Client::connect(more).request("OPTIONS", "*", &[]).expect(200);
    subject.reload("");
    is_closed(more);
    goes_on(&mut kept);
    assert_eq!(subject.status(FILE), 200);
}

fn another_certificate_is_shown_to_the_next_client(backend: Backend) {
    let subject = Subject::start(serving(backend).tls("p256-cert.pem", "p256-key.pem"));
    let address = subject.server.secure_address();
    let first = fingerprint(address);
    let opener = Opener::before(address, &[]);
    let mut viewer = watch(Viewer::open(opener.address, &subject.server.secure_url(FILE), Over::Tcp));
    let other = subject
        .with("")
        .replace("p256-cert.pem", "rsa-cert.pem")
        .replace("p256-key.pem", "rsa-key-pkcs1.pem");
    assert_eq!(subject.reload_whole(&other), "cert_file, key_file");
    assert_ne!(fingerprint(address), first);
    goes_on(&mut viewer);
    subject.reload("");
    assert_eq!(fingerprint(address), first);
    // Doors in TLS close and open like others.
    subject.reload("<rtsps_port>0</rtsps_port><rtsp_over_https>0</rtsp_over_https>");
    is_closed(address);
    goes_on(&mut viewer);
    subject.reload("");
    assert_eq!(fingerprint(address), first);
}

fn another_log_level_counts_from_then_on(backend: Backend) {
    let subject = Subject::start(serving(backend).setting("log_level", 2));
    let connect = || Client::connect(subject.server.address()).request("OPTIONS", "*", &[]).expect(200);
    connect();
    assert_eq!(subject.server.lines("DEBUG"), 0);
    assert_eq!(subject.reload("<log_level>1</log_level>"), "log_level");
    connect();
    subject.server.wait_for_log("DEBUG connection", PATIENCE);
    subject.reload("");
    let before = subject.server.lines("DEBUG");
    connect();
    // What comes behind it in the log.
    subject.reload("<max_sessions>9</max_sessions>");
    assert_eq!(subject.server.lines("DEBUG"), before);
}

/// A web service that lets everybody pass; the paths that it is asked under.
fn a_filter_of_the_environment_stays_before_the_log_level(backend: Backend) {
    let subject = Subject::start(serving(backend).environment("RUST_LOG", "info"));
    assert_eq!(subject.reload("<log_level>4</log_level>"), "log_level");
    subject.server.wait_for_lines("log_level: RUST_LOG is set and goes before it", 1);
    assert_eq!(subject.reload("<log_level>4</log_level><test>0</test>"), "test");
    assert_eq!(subject.server.lines("RUST_LOG"), 1);
}

fn service() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                let _ = reader.read_line(&mut first);
                let _ = sender.send(first.split([' ', '?']).nth(1).unwrap_or_default().to_owned());
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|size| size > 2) {
                    line.clear();
                }
                let _ =
                    (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            });
        }
    });
    (address, asked)
}

fn a_web_service_is_told_of_the_end_of_what_it_has_admitted(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let (first, by_first) = service();
    let (second, by_second) = service();
    let hooks = |address: SocketAddr| {
        format!(
            "<http_notify><on_play>http://{address}/play</on_play><on_done>http://{address}/done</on_done>\
             <notify_method>GET</notify_method></http_notify>"
        )
    };
    subject.reload(&hooks(first));
    let mut admitted = subject.watch(FILE, Over::Tcp);
    assert_eq!(by_first.recv_timeout(PATIENCE).unwrap(), "/play");
    subject.reload(&hooks(second));
    goes_on(&mut admitted);
    let mut later = subject.watch(FILE, Over::Tcp);
    assert_eq!(by_second.recv_timeout(PATIENCE).unwrap(), "/play");
    admitted.teardown();
    assert_eq!(by_first.recv_timeout(PATIENCE).unwrap(), "/done");
    subject.reload("");
    later.teardown();
    assert_eq!(by_second.recv_timeout(PATIENCE).unwrap(), "/done");
    assert!(by_first.try_recv().is_err());
}

on_both_backends!(
    another_log_level_counts_from_then_on,
    a_filter_of_the_environment_stays_before_the_log_level;
    "ffmpeg":
    ports_are_opened_and_closed_and_connections_on_them_stay,
    more_addresses_and_fewer_are_listened_on,
    a_web_service_is_told_of_the_end_of_what_it_has_admitted;
    "tls":
    another_certificate_is_shown_to_the_next_client,
);
