//! What the README says to type does what the README says it does.

mod run;
pub(crate) mod text;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::judge::ffmpeg::words;
use crate::judge::run as run_to_end;
use crate::multicast::on_loopback;
use crate::server::{Backend, Builder, Server, free_ports, scratch};
use run::Reader;
use text::{chapter, chapters};

/// Chapters whose commands are run below, each by a test of its own.
const RUN_HERE: [&str; 10] = [
    "Publish",
    "Pull from a camera or another server",
    "Push RTP",
    "Record",
    "Restrict access",
    "Browsers and firewalls",
    "Multicast",
    "Another format",
    "Metadata",
    "See and steer",
];

/// Chapters whose commands are run elsewhere, and where.
const RUN_ELSEWHERE: [(&str, &str); 8] = [
    ("Start", "tests/bare.sh"),
    ("Come from another server", "tests/devices/template.rs"),
    ("Measure", "tests/load.rs"),
    ("Windows", "fallback/windows/try.sh"),
    ("Build it", "tests/bare.sh"),
    ("Program", "tests/program.rs"),
    ("Run it as a service", "tests/package.sh"),
    ("Tests and figures", ".ci/run"),
];

#[test]
fn every_chapter_with_commands_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for chapter in chapters().iter().filter(|chapter| !chapter.commands.is_empty()) {
        let name = chapter.name.as_str();
        let elsewhere = RUN_ELSEWHERE.iter().find(|(other, _)| *other == name);
        assert!(
            RUN_HERE.contains(&name) || elsewhere.is_some(),
            "nobody types {:?} of {name}",
            chapter.commands
        );
        assert!(elsewhere.is_none_or(|(_, file)| root.join(file).exists()), "{name} is run by {elsewhere:?}");
    }
    for name in RUN_HERE.iter().chain(RUN_ELSEWHERE.iter().map(|(name, _)| name)) {
        assert!(chapters().iter().any(|chapter| chapter.name == *name), "the README has no chapter {name}");
    }
}

/// Twelve seconds of pictures and sound, with a keyframe every second.
fn film() -> &'static Path {
    static FILM: OnceLock<PathBuf> = OnceLock::new();
    FILM.get_or_init(|| {
        let file = scratch("film").join("film.mp4");
        let made = format!(
            "-nostdin -v error -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine=frequency=440 -t 12 \
             -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -c:a aac {}",
            file.display()
        );
        assert!(run_to_end("ffmpeg", &words(&made), Duration::from_secs(60)).unwrap().status.success());
        file
    })
}

/// A server with the film, on any driver that the machine has.
fn server() -> Builder {
    let folder = film().parent().unwrap();
    Server::with(Backend::Uring).media(folder).setting("source_grace_s", 1).lifetime(Duration::from_secs(180))
}

#[test]
fn a_film_is_published_and_watched() {
    let server = server().start();
    Reader::with(film()).types(&server, &chapter("Publish").commands);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_camera_is_pulled() {
    let camera = server().start();
    let chapter = chapter("Pull from a camera or another server");
    let xml = chapter.xml.replace("rtsp://192.0.2.7/stream1", &camera.url("/film.mp4"));
    assert_ne!(xml, chapter.xml);
    let server = server().xml(&xml).start();
    Reader::with(film()).types(&server, &["ffplay rtsp://HOST/gate".into()]);
}

#[test]
fn rtp_is_pushed() {
    let port = free_ports();
    let chapter = chapter("Push RTP");
    let server = server().port(port).xml(&chapter.xml.replace("50001", &(port + 4).to_string())).start();
    let sent = chapter.commands.iter().map(|it| it.replace("HOST:50001", &format!("127.0.0.1:{}", port + 4)));
    let mut reader = Reader::with(film());
    reader.types(&server, &sent.collect::<Vec<_>>());
    reader.types(&server, &["ffplay rtsp://HOST/studio".into()]);
}

#[test]
fn what_is_published_is_recorded() {
    let server = server().start();
    let mut reader = Reader::with(film());
    reader.types(&server, &chapter("Publish").commands[..1]);
    reader.types(&server, &chapter("Record").commands);
    reader.awaits_recordings();
}

#[cfg_attr(feature = "ffmpeg", test)]
fn users_do_what_they_may() {
    let chapter = chapter("Restrict access");
    // Web services are asked elsewhere.
    let (users, _) = chapter.xml.split_once("<http_notify>").unwrap();
    let server = server().tls("cert.pem", "key.pem").xml(users).start();
    let refused = Client::connect(server.address()).request("DESCRIBE", &server.url("/film.mp4"), &[]);
    assert_eq!(refused.status, 401);
    Reader::with(film()).types(&server, &chapter.commands);
    server.wait_for_log("/live/film", Duration::from_secs(20));
}

#[cfg_attr(feature = "ffmpeg", test)]
fn players_come_through_http() {
    let server = server().http().start();
    Reader::with(film()).types(&server, &chapter("Browsers and firewalls").commands);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_group_is_watched() {
    let server = on_loopback(Backend::Uring).media(film().parent().unwrap()).start();
    Reader::with(film()).types(&server, &chapter("Multicast").commands);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn another_format_is_watched() {
    let chapter = chapter("Another format");
    let server = server().xml(&chapter.xml).start();
    Reader::with(film()).types(&server, &chapter.commands);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn an_analysis_adds_its_documents() {
    let chapter = chapter("Metadata");
    let camera = server().start();
    let server = server().setting("metadata", 1).proxy("gate", &camera.url("/film.mp4"), &[]);
    let server = server.xml(&chapter.xml).start();
    let mut reader = Reader::with(film());
    let objects = "<tt:MetadataStream xmlns:tt=\"http://www.onvif.org/ver10/schema\"/>";
    fs::write(reader.folder.path().join("objects.xml"), objects).unwrap();
    let mut viewer = Viewer::open(server.address(), &server.url("/gate"), Over::Tcp);
    viewer.play(&[]);
    let socket = server.configuration_file().with_file_name("gate.socket");
    let commands = chapter.commands.iter().map(|it| it.replace("gate.socket", &socket.display().to_string()));
    reader.types(&server, &commands.collect::<Vec<_>>());
    let has_come = |viewer: &Viewer| {
        let mut packets = viewer.tracks.iter().flat_map(|track| &track.packets);
        packets.any(|packet| packet.payload.windows(objects.len()).any(|it| it == objects.as_bytes()))
    };
    assert!(viewer.receive_until(Duration::from_secs(20), has_come));
}

#[cfg_attr(feature = "ffmpeg", test)]
fn the_server_is_seen_and_steered() {
    let chapter = chapter("See and steer");
    let camera = server().start();
    let here = server().http().setting("api_socket", "api.sock");
    let here = here.proxy("gate", &camera.url("/film.mp4"), &[]).start();
    here.wait_for_log("who may open it may use the API", Duration::from_secs(10));
    let socket = here.configuration_file().with_file_name("api.sock").display().to_string();
    let mut of_gate = Viewer::open(here.address(), &here.url("/gate"), Over::Tcp);
    of_gate.play(&[]);
    assert!(of_gate.receive_until(Duration::from_secs(20), |viewer| !viewer.tracks[0].packets.is_empty()));
    let user = "<need_auth>1</need_auth><user><username>ann</username><password>secret</password></user>";
    let there = server().http().xml(user).start();
    let mut viewer = Viewer::open(here.address(), &here.url("/film.mp4"), Over::Tcp);
    viewer.play(&[]);
    let mut reader = Reader::with(film());
    fs::copy(here.configuration_file(), reader.folder.path().join("rtspserver.xml")).unwrap();
    let url = format!("http://{}/api/v1/sessions", here.http_address());
    let sessions = reader.runs(&format!("curl -s {url}"));
    let sessions: serde_json::Value = serde_json::from_str(&sessions).unwrap();
    let of_film = sessions["sessions"].as_array().unwrap().iter().find(|it| it["path"] == "film.mp4");
    let id = of_film.unwrap()["id"].as_str().unwrap();
    for command in &chapter.commands {
        let server = if command.contains("HOST") { &there } else { &here };
        let command = command.replace("sessions/ID", &format!("sessions/{id}"));
        reader.types(server, &[command.replace("api.sock", &socket)]);
    }
    assert!(
        viewer.receive_until(Duration::from_secs(10), |viewer| viewer
            .tracks
            .iter()
            .all(|track| track.has_ended())),
        "it is ended"
    );
}
