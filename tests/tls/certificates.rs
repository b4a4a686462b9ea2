//! Which certificate is shown, and what is said of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::opener::{Opener, await_fingerprint, fingerprint};
use super::{ECDSA, FILE, PATIENCE, RSA, builder};
use crate::client::viewer::{Over, Viewer};
use crate::corpus::folder;
use crate::server::{Backend, Server, can_be_unprivileged, free_ports, on_both_backends, scratch};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");

fn data(name: &str) -> PathBuf {
    Path::new(DATA).join(name)
}

fn a_certificate_that_changes_is_shown_to_the_next_client(backend: Backend) {
    let folder = scratch("certificate");
    let files = ["cert.pem", "key.pem"].map(|name| folder.join(name));
    let put = |[certificate, key]: [&str; 2]| {
        fs::copy(data(certificate), &files[0]).unwrap();
        fs::copy(data(key), &files[1]).unwrap();
    };
    put(ECDSA);
    let server = builder(backend)
        .setting("cert_file", files[0].display())
        .setting("key_file", files[1].display())
        .setting("loop_nums", -1)
        .start();
    let first = fingerprint(server.secure_address());
    let opener = Opener::before(server.secure_address(), &[]);
    let mut viewer = Viewer::open(opener.address, &server.secure_url(FILE), Over::Tcp);
    viewer.play(&[]);
    put(RSA);
    server.wait_for_log("the certificate was read again", PATIENCE);
    let second = fingerprint(server.secure_address());
    assert_ne!(first, second);
    assert!(server.log().contains(&second), "the log names it");
    // Who is in TLS already goes on.
    let seen = viewer.tracks[0].packets.len();
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > seen + 100));
    assert_eq!(viewer.tracks[0].gaps(), []);
    // A broken one is not shown.
    fs::write(&files[0], "broken").unwrap();
    server.wait_for_log("the certificate stays as it was", PATIENCE);
    assert_eq!(fingerprint(server.secure_address()), second);
    put(ECDSA);
    let end = std::time::Instant::now() + PATIENCE;
    while fingerprint(server.secure_address()) != first {
        assert!(std::time::Instant::now() < end, "a good one after a broken one is not shown");
    }
    fs::remove_dir_all(folder).unwrap();
}

fn without_a_certificate_one_is_made_and_kept(backend: Backend) {
    let port = free_ports();
    let start = |arguments: &[&str]| {
        let builder = Server::with(backend).port(port).media(folder()).setting("rtsps_port", port + 2);
        arguments.iter().fold(builder, |builder, argument| builder.argument(argument)).start()
    };
    let server = start(&[]);
    server.wait_for_log("a self-signed certificate was made", PATIENCE);
    let shown = fingerprint(server.secure_address());
    assert!(server.log().contains(&shown), "the log names it");
    let place = server.configuration_file();
    let place = place.parent().unwrap();
    let key = fs::metadata(place.join("rtspserver-key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    // Beside another configuration it is found again.
    let kept = scratch("kept");
    for name in ["rtspserver-key.pem", "rtspserver-cert.pem"] {
        fs::copy(place.join(name), kept.join(name)).unwrap();
    }
    drop(server);
    let configuration = kept.join("again.xml");
    let media = folder();
    let nodes = format!(
        "<serverip>127.0.0.1</serverip><serverport>{port}</serverport><rtsps_port>{}</rtsps_port>\
         <rtsp_over_http>0</rtsp_over_http><rtsp_over_https>0</rtsp_over_https><media_dir>{}</media_dir>",
        port + 2,
        media.display()
    );
    fs::write(&configuration, format!("<config>{nodes}</config>")).unwrap();
    let mut again = std::process::Command::new(env!("CARGO_BIN_EXE_rtspserver"))
        .args(["serve", "-c"])
        .arg(&configuration)
        .args(["--backend", backend.name()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let found = await_fingerprint((std::net::Ipv4Addr::LOCALHOST, port + 2).into());
    again.kill().unwrap();
    again.wait().unwrap();
    assert_eq!(found, shown);
    fs::remove_dir_all(kept).unwrap();
}

fn a_certificate_that_cannot_be_kept_is_made_for_one_run(backend: Backend) {
    if !can_be_unprivileged() {
        println!("skipped: nobody cannot run the program here");
        return;
    }
    // The folder of the configuration belongs to somebody else.
    let port = free_ports();
    let server = Server::with(backend)
        .port(port)
        .media(folder())
        .setting("rtsps_port", port + 2)
        .unprivileged()
        .start();
    server.wait_for_log("made for this run alone", PATIENCE);
    assert!(server.log().contains(&fingerprint(server.secure_address())));
}

fn certificates_that_cannot_be_used_are_said_with_their_setting(backend: Backend) {
    let cases = [
        (ECDSA[0], RSA[1], "key_file", "the key does not belong to the certificate"),
        (ECDSA[1], ECDSA[1], "cert_file", "no certificate in PEM form"),
        (ECDSA[0], ECDSA[0], "key_file", "no private key in PEM form"),
        ("nowhere.pem", ECDSA[1], "cert_file", "nowhere.pem cannot be read"),
    ];
    for (certificate, key, setting, sentence) in cases {
        let ended = Server::with(backend).tls(certificate, key).run_to_end(PATIENCE);
        assert_eq!(ended.status.code(), Some(2), "{}", ended.output);
        let line = ended.output.lines().find(|line| line.contains(sentence));
        let line = line.unwrap_or_else(|| panic!("{sentence:?} is not in {}", ended.output));
        assert!(line.contains(setting) && line.contains("rtspserver.xml:"), "{line}");
    }
}

on_both_backends!(;
    "tls":
    a_certificate_that_changes_is_shown_to_the_next_client,
    without_a_certificate_one_is_made_and_kept,
    a_certificate_that_cannot_be_kept_is_made_for_one_run,
    certificates_that_cannot_be_used_are_said_with_their_setting,
);
