//! RTSP in TLS: players, publishers, versions and ciphers.

mod certificates;
mod hostile;
pub(crate) mod opener;
mod records;
mod srtp;
pub(crate) mod wire;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use opener::Opener;

use crate::client::Client;
use crate::client::login::Login;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::{Recipe, folder};
use crate::judge::{self, Turn};
use crate::published::{await_stream, once_more, spawn, watch};
use crate::server::{Backend, Builder, Server, on_both_backends};
use crate::upstream::digest::Lock;

const FILE: &str = "/h264_aac.mp4";

/// Certificates and keys, by their files.
pub(crate) const ECDSA: [&str; 2] = ["p256-cert.pem", "p256-key.pem"];
const RSA: [&str; 2] = ["rsa-cert.pem", "rsa-key-pkcs1.pem"];

const PATIENCE: Duration = Duration::from_secs(10);

fn builder(backend: Backend) -> Builder {
    Server::with(backend).media(folder()).tls(ECDSA[0], ECDSA[1]).lifetime(Duration::from_secs(300))
}

fn server(backend: Backend) -> Server {
    builder(backend).start()
}

fn ffmpeg_plays_files_in_tls(backend: Backend) {
    let server = server(backend);
    let recipes = ["h264_aac.mp4", "h264_1080p.mp4", "jpeg_pcmu.mov", "vp8_opus.webm"].map(Recipe::named);
    judge::all(&recipes, |recipe| {
        judge::ffmpeg::judge(&server.secure_url(&format!("/{}", recipe.name)), Over::Tcp, recipe)
    });
}

/// Has GStreamer play files that it asks for in TLS.
fn gstreamer_plays(server: &Server, files: &[&str]) {
    let recipes: Vec<_> = files.iter().map(|name| Recipe::named(name)).collect();
    judge::all(&recipes, |recipe| {
        for over in BOTH {
            judge::gstreamer::judge(&server.secure_url(&format!("/{}", recipe.name)), over, recipe)
                .map_err(|problem| format!("{over:?}: {problem}"))?;
        }
        Ok(())
    });
}

fn gstreamer_plays_files_that_it_asked_for_in_tls(backend: Backend) {
    let server = builder(backend).setting("srtp", "off").start();
    gstreamer_plays(&server, &["h264_ip_aac.mp4", "h265_ip_aac.mp4"]);
    assert!(!server.log().contains(" srtp "));
}

fn every_byte_comes_by_both_versions_and_all_ciphers(backend: Backend) {
    let recipe = Recipe::named(&FILE[1..]);
    let ways: [&[&str]; 6] = [
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
        &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
        &["-tls1_2", "-cipher", "AESGCM+AES128"],
        &["-tls1_2", "-cipher", "AESGCM+AES256"],
        &["-tls1_2", "-cipher", "CHACHA20"],
    ];
    for [certificate, key] in [ECDSA, RSA] {
        let server = Server::with(backend).media(folder()).tls(certificate, key).start();
        for (number, way) in ways.into_iter().enumerate() {
            let opener = Opener::before(server.secure_address(), way);
            let over = BOTH[number % 2];
            let verdict =
                once_more(over, || judge::raw::judge(opener.address, &server.secure_url(FILE), over, recipe));
            assert_eq!(verdict, Ok(()), "{certificate} {way:?} {over:?}: {}", opener.complaints());
        }
    }
}

fn what_is_published_in_tls_is_watched_in_tls(backend: Backend) {
    let server = builder(backend).setting("gop_cache", 2).start();
    let recipe = Recipe::named("h264_1080p.mp4");
    let _turn = Turn::wait();
    let url = server.secure_url("/live/film");
    let file = folder().join(recipe.name);
    let sending = format!("-v error -re -i {} -c copy -f rtsp -rtsp_transport tcp {url}", file.display());
    let publishing = spawn("ffmpeg", &sending);
    await_stream(&server, &server.url("/live/film")).unwrap();
    assert_eq!(watch(&url, Over::Tcp, recipe), Ok(()));
    drop(publishing);
    server.wait_for_log("session ended", PATIENCE);
}

fn gstreamer_publishes_in_tls(backend: Backend) {
    let server = server(backend);
    let url = server.secure_url("/live/film");
    let file = folder().join("h264_ip_aac.mp4");
    let pipeline = format!(
        "-q filesrc location={} ! qtdemux ! h264parse ! rtspclientsink protocols=tcp tls-validation-flags=0 \
         location={url}",
        file.display()
    );
    let _turn = Turn::wait();
    let _publishing = spawn("gst-launch-1.0", &pipeline);
    await_stream(&server, &server.url("/live/film")).unwrap();
    let mut viewer = Viewer::open(server.address(), &server.url("/live/film"), Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].units().len() > 10));
    assert_eq!(viewer.tracks[0].gaps(), []);
}

fn a_request_that_names_a_session_of_another_shard_is_answered_in_tls(backend: Backend) {
    let server = builder(backend).setting("loop_nums", -1).start();
    let opener = Opener::before(server.secure_address(), &[]);
    let mut viewer = Viewer::open(opener.address, &server.secure_url(FILE), Over::Udp);
    viewer.play(&[]);
    let url = viewer.url.clone();
    // With two shards, one of them is the session's.
    for _ in 0..8 {
        let mut other = Client::connect(opener.address);
        other.session = viewer.client.session.clone();
        for _ in 0..3 {
            other.request("GET_PARAMETER", &url, &[]).expect(200);
        }
    }
    assert!(!opener.complaints().contains("SSL routines"), "{}", opener.complaints());
}

fn passwords_are_taken_as_they_are_in_tls_alone(backend: Backend) {
    let server = builder(backend)
        .setting("need_auth", 1)
        .xml("<user><username>ann</username><password>secret</password></user>")
        .start();
    let offers_basic = |client: &mut Client| {
        let answer = client.request("DESCRIBE", &server.url(FILE), &[]).expect(401);
        answer.headers.iter().any(|(name, value)| name == "WWW-Authenticate" && value.starts_with("Basic "))
    };
    let opener = Opener::before(server.secure_address(), &[]);
    let basic = [("Authorization", "Basic YW5uOnNlY3JldA==")];
    let mut secure = Client::connect(opener.address);
    assert!(offers_basic(&mut secure));
    secure.request("DESCRIBE", &server.url(FILE), &basic).expect(200);
    let mut plain = Client::connect(server.address());
    assert!(!offers_basic(&mut plain));
    plain.request("DESCRIBE", &server.url(FILE), &basic).expect(401);
    // Digest goes on both.
    let mut digest = Client::connect(opener.address);
    let challenge = digest.request("DESCRIBE", &server.url(FILE), &[]).expect(401);
    digest.login = Some(Login::to(&challenge, Lock::Md5, "ann", "secret"));
    digest.request("DESCRIBE", &server.url(FILE), &[]).expect(200);
}

fn the_server_says_goodbye(backend: Backend) {
    for version in ["-tls1_2", "-tls1_3"] {
        let server = server(backend);
        let opener = Opener::before(server.secure_address(), &[version]);
        let mut viewer = Viewer::open(opener.address, &server.secure_url(FILE), Over::Tcp);
        viewer.play(&[]);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
        server.signal("TERM");
        assert!(viewer.client.is_closed_within(PATIENCE), "{version}");
        assert!(server.wait(PATIENCE).is_some());
        // OpenSSL misses the goodbye where there is none.
        opener.wait();
        assert!(!opener.complaints().contains("unexpected eof"), "{}", opener.complaints());
    }
}

fn ffmpeg_plays_through_https(backend: Backend) {
    let server = server(backend);
    let recipe = Recipe::named("h264_1080p.mp4");
    // Any port for TLS will do.
    for address in [server.https_address(), server.secure_address()] {
        let url = format!("rtsp://{address}/{}", recipe.name);
        let input = ["-copyts", "-rtsp_transport", "https", "-i", &url];
        let _turn = Turn::wait();
        let seen = judge::ffmpeg::see(&input, recipe, Duration::from_secs(30)).unwrap();
        assert_eq!(judge::ffmpeg::compare(&judge::ffmpeg::source(recipe), &seen, recipe), Ok(()));
    }
    server.wait_for_log("transport=\"http\"", PATIENCE);
}

fn gstreamer_plays_through_https(backend: Backend) {
    let server = server(backend);
    let recipe = Recipe::named("h264_ip_aac.mp4");
    let _turn = Turn::wait();
    let url = format!("rtspsh://{}/{}", server.https_address(), recipe.name);
    assert_eq!(judge::gstreamer::judge(&url, Over::Tcp, recipe), Ok(()));
}

fn pages_and_websockets_are_there_in_tls(backend: Backend) {
    let ask = |server: &Server, request: &str| {
        let opener = Opener::before(server.https_address(), &[]);
        let mut stream = TcpStream::connect(opener.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
            answer.push(byte[0]);
        }
        String::from_utf8(answer).unwrap()
    };
    let upgrade = "GET /websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: rtsp.onvif.org\r\n\r\n";
    let open = server(backend);
    assert!(ask(&open, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 200 "));
    assert!(ask(&open, upgrade).starts_with("HTTP/1.1 101 "));
    // Where the port is closed, the way in is closed on the other port for TLS as well.
    let closed = builder(backend).setting("rtsp_over_https", 0).start();
    assert!(TcpStream::connect(closed.https_address()).is_err());
    let opener = Opener::before(closed.secure_address(), &[]);
    let mut stream = TcpStream::connect(opener.address).unwrap();
    stream.write_all(upgrade.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

on_both_backends!(;
    "tls":
    ffmpeg_plays_through_https,
    gstreamer_plays_through_https,
    pages_and_websockets_are_there_in_tls,
    ffmpeg_plays_files_in_tls,
    gstreamer_plays_files_that_it_asked_for_in_tls,
    every_byte_comes_by_both_versions_and_all_ciphers,
    what_is_published_in_tls_is_watched_in_tls,
    gstreamer_publishes_in_tls,
    a_request_that_names_a_session_of_another_shard_is_answered_in_tls,
    passwords_are_taken_as_they_are_in_tls_alone,
    the_server_says_goodbye,
);
