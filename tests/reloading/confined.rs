//! What the process may no longer do once it runs: the answer names the setting.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::{FILE, Subject, goes_on, serving};
use crate::client::viewer::Over;
use crate::privileges::{has_landlock, is_root, user};
use crate::server::{Backend, can_be_unprivileged, on_both_backends, scratch};
use crate::steering::{curl, http};
use crate::tls::opener::fingerprint;

fn a_certificate_beyond_the_folders_of_the_start_waits_for_the_next(backend: Backend) {
    if !has_landlock() {
        eprintln!("left out: this kernel has no Landlock");
        return;
    }
    let builder = serving(backend).setting("landlock", 1).tls("p256-cert.pem", "p256-key.pem");
    let subject = Subject::start(builder);
    let address = subject.server.secure_address();
    let shown = fingerprint(address);
    let elsewhere = scratch("elsewhere");
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    for file in ["rsa-cert.pem", "rsa-key-pkcs1.pem"] {
        fs::copy(files.join(file), elsewhere.join(file)).unwrap();
    }
    let other = |folder: &Path| {
        let xml = subject.with("<test>0</test>");
        let name = |file: &str| folder.join(file).display().to_string();
        let old = |file: &str| files.join(file).display().to_string();
        xml.replace(&old("p256-cert.pem"), &name("rsa-cert.pem"))
            .replace(&old("p256-key.pem"), &name("rsa-key-pkcs1.pem"))
    };
    let changes = subject.reload_whole(&other(&elsewhere));
    assert_eq!(changes, "test; takes effect at the next start: cert_file, key_file");
    assert_eq!((fingerprint(address), subject.status("/test")), (shown.clone(), 404));
    // A new file in a folder of the start is read.
    assert_eq!(subject.reload_whole(&other(&files)), "cert_file, key_file");
    assert_ne!(fingerprint(address), shown);
    fs::remove_dir_all(elsewhere).unwrap();
}

fn a_folder_of_files_beyond_those_of_the_start_waits_for_the_next(backend: Backend) {
    if !has_landlock() {
        eprintln!("left out: this kernel has no Landlock");
        return;
    }
    let subject = Subject::start(serving(backend).http().setting("landlock", 1));
    let mut viewer = subject.watch(FILE, Over::Tcp);
    let elsewhere = scratch("elsewhere");
    let beyond = |xml: String| {
        let (before, rest) = xml.split_once("<media_dir>").unwrap();
        let (_, behind) = rest.split_once("</media_dir>").unwrap();
        format!("{before}<media_dir>{}</media_dir>{behind}", elsewhere.display())
    };
    let xml = beyond(subject.with("<test>0</test>"));
    let url = http(&subject.server, "/api/v1/config/check");
    let found = curl(&url, &["--data-binary", &xml]).expect(200).json();
    assert_eq!(found["valid"], true, "{found}");
    let said =
        found["warnings"].as_array().unwrap().iter().map(|it| it["subject"].as_str().unwrap_or_default());
    assert!(said.collect::<Vec<_>>().contains(&"config/media_dir"), "{found}");
    assert_eq!(subject.reload_whole(&xml), "test; takes effect at the next start: media_dir");
    assert_eq!((subject.status("/test"), subject.status(FILE)), (404, 200));
    goes_on(&mut viewer);
    // One that is not there is wrong all the same.
    fs::remove_dir_all(&elsewhere).unwrap();
    let why = subject.refuse(&beyond(subject.with("")));
    assert!(why.contains("config/media_dir: ") && why.contains("cannot be read"), "{why}");
}

fn what_root_alone_may_is_refused_with_the_settings_name(backend: Backend) {
    if !is_root() || !can_be_unprivileged() {
        eprintln!("left out: only root can step down, and the folders of tests must be open to others");
        return;
    }
    let port = (600..1024).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
    let subject = Subject::start(serving(backend).setting("run_as", user()));
    let mut viewer = subject.watch(FILE, Over::Udp);
    let low = format!("<rtsp_over_http>1</rtsp_over_http><http_port>{port}</http_port><test>0</test>");
    let why = subject.refuse(&subject.with(&low));
    assert!(why.contains("http_port, ") && why.contains("run_as"), "{why}");
    assert_eq!(subject.status("/test"), 200);
    let high = low.replace(&port.to_string(), &(subject.server.port() + 2).to_string());
    assert!(subject.reload(&high).starts_with("ports opened"));
    // The port that root has opened and one of all addresses that somebody else opens.
    subject.reload_whole(&subject.with("").replace("<serverip>127.0.0.1<", "<serverip>0.0.0.0<"));
    let end = std::time::Instant::now() + super::PATIENCE;
    while std::net::TcpStream::connect(("127.0.0.3", subject.server.port())).is_err() {
        assert!(std::time::Instant::now() < end, "the door stays shut");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    goes_on(&mut viewer);
}

on_both_backends!(;
    "ffmpeg":
    a_folder_of_files_beyond_those_of_the_start_waits_for_the_next,
    what_root_alone_may_is_refused_with_the_settings_name;
    "tls":
    a_certificate_beyond_the_folders_of_the_start_waits_for_the_next,
);
