//! What the README says to type does what the README says it does.

mod run;
pub(crate) mod text;

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::devices::template::template;
use crate::hooks::service::Service;
use crate::judge::ffmpeg::words;
use crate::judge::run as run_to_end;
use crate::load;
use crate::multicast::on_loopback;
use crate::program::doors;
use crate::server::{Backend, Builder, Server, free_ports, scratch};
use run::Reader;
use text::{chapter, chapters};

/// Chapters whose commands are typed below, each by a test of its own.
const TYPED_HERE: [&str; 14] = [
    "Start",
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
    "Come from another server",
    "Measure",
    "Tests and figures",
];

/// Chapters that are for other systems than this one, and who types what can be typed there.
const TYPED_ELSEWHERE: [(&str, &str); 2] =
    [("Windows", "tests/windows/portable/service.rs"), ("Run it as a service", "tests/package.sh")];

#[test]
fn every_chapter_with_commands_is_read_by_who_types_them() {
    for chapter in chapters().iter().filter(|chapter| !chapter.commands.is_empty()) {
        let name = chapter.name.as_str();
        let elsewhere = TYPED_ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, file)| *file);
        let here = TYPED_HERE.contains(&name).then_some("tests/readme.rs");
        let file = here.or(elsewhere).unwrap_or_else(|| panic!("nobody types {:?}", chapter.commands));
        let text = fs::read_to_string(root().join(file)).unwrap();
        let reads = [format!("chapter(\"{name}\")"), format!("typed \"{name}\"")];
        assert!(reads.iter().any(|it| text.contains(it)), "{file} does not read {name}");
    }
    for name in TYPED_HERE.iter().chain(TYPED_ELSEWHERE.iter().map(|(name, _)| name)) {
        assert!(chapters().iter().any(|chapter| chapter.name == *name), "the README has no chapter {name}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What runs tests and measures takes too long to be run here: it is looked whether it is there.
#[test]
fn what_runs_tests_and_measures_is_there() {
    let manifests = ["loadtest", "benches"].map(|room| root().join(room).join("Cargo.toml"));
    let manifests = manifests.map(|file| fs::read_to_string(file).unwrap()).concat();
    for command in &chapter("Tests and figures").commands {
        let words: Vec<_> = command.split_whitespace().collect();
        if words[0].contains('/') {
            let mode =
                fs::metadata(root().join(words[0])).unwrap_or_else(|error| panic!("{command}: {error}"));
            assert!(mode.permissions().mode() & 0o111 != 0, "{command}: it is no program");
        }
        for pair in words.windows(2).filter(|pair| pair[0] == "-p") {
            assert!(manifests.contains(&format!("name = \"{}\"", pair[1])), "{command}: no package");
        }
    }
}

/// Each command and each option of the chapter is one of the program's.
#[test]
fn the_program_has_the_commands_and_options_that_it_is_said_to_have() {
    let chapter = chapter("Program");
    let help = |words: &[&str]| {
        let words: Vec<_> = words.iter().chain(&["--help"]).map(|word| (*word).to_owned()).collect();
        let output = run_to_end(env!("CARGO_BIN_EXE_rtspserver"), &words, Duration::from_secs(20)).unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut count = 0;
    for row in chapter.text.lines().filter_map(|line| line.strip_prefix("| `rtspserver ")) {
        let typed = row.split('`').next().unwrap();
        let command = typed.split_whitespace().next().unwrap().trim_matches(['[', ']']);
        let said = help(&[command]);
        for option in typed.split(['[', ']', ' ']).filter(|word| word.starts_with('-')) {
            assert!(said.contains(option), "{command} has no {option}: {said}");
        }
        count += 1;
    }
    assert!(count >= 6, "{count} commands are in the table");
    let said = help(&["serve"]);
    let quoted = chapter.text.split('`').skip(1).step_by(2);
    for option in quoted.filter_map(|it| it.split(' ').next()).filter(|it| it.starts_with("--")) {
        assert!(said.contains(option), "serve has no {option}: {said}");
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

#[cfg_attr(feature = "ffmpeg", test)]
fn the_script_starts_the_server_and_ends_it() {
    let port = free_ports();
    let mut reader = Reader::with(film());
    let here = reader.folder.path().to_owned();
    fs::write(here.join("rtspserver.xml"), format!("<config>\n{}\n</config>\n", doors(port))).unwrap();
    let commands = chapter("Start").commands;
    let [start, play] = &commands[..] else { panic!("{commands:?}") };
    let said = reader.runs(start);
    assert!(said.contains(&format!("rtsp://127.0.0.1:{port}/test")), "{said}");
    reader.watches(&play.replace("127.0.0.1/", &format!("127.0.0.1:{port}/")));
    fs::copy(film(), here.join("media/film.mp4")).unwrap();
    reader.watches(&format!("ffplay rtsp://127.0.0.1:{port}/film.mp4"));
    assert!(reader.runs("./start.sh status").contains("running as process"));
    // From anywhere it is about the configuration of this folder, whether a server runs or not.
    let check = format!("cd / && {}", here.join("start.sh check --url /film.mp4").display());
    let said = reader.runs(&format!("sh -c '{check}'"));
    let of_port = said.lines().find(|line| line.starts_with("serverport ")).unwrap_or_default();
    assert!(of_port.contains(&port.to_string()) && said.contains("/film.mp4: "), "{said}");
    reader.runs("./start.sh stop");
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_configuration_of_another_server_is_checked_and_served() {
    let (port, pusher) = (free_ports(), free_ports());
    let camera = server().start();
    let mut reader = Reader::with(film());
    let xml = template(port, pusher, &camera.url("/test"));
    let xml = xml.replacen("<serverip></serverip>", "<serverip>127.0.0.1</serverip>", 1);
    fs::write(reader.folder.path().join("rtspserver.cfg"), xml).unwrap();
    for (name, number) in [("RTSPS_PORT", 2), ("UDP_PORT_MIN", 4), ("UDP_PORT_MAX", 56)] {
        reader.environment.push((format!("RINGCASTER_{name}"), (port + number).to_string()));
    }
    let commands = chapter("Come from another server").commands;
    let [check, serve] = &commands[..] else { panic!("{commands:?}") };
    let said = reader.runs(check);
    assert!(said.contains(&camera.url("/test")) && said.contains("rtspserver.cfg"), "{said}");
    reader.runs(serve);
    reader.watches(&format!("ffplay rtsp://127.0.0.1:{port}/proxy"));
    reader.runs("./start.sh stop");
}

#[test]
fn viewers_are_counted() {
    let loadtest = load::program();
    let server = server().start();
    let mut reader = Reader::with(film());
    reader.has_built("loadtest", loadtest);
    reader.types(&server, &chapter("Measure").commands);
    server.wait_for_lines("session ended", 100);
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
    let server = server().tls("cert.pem", "key.pem").xml(&users()).start();
    let refused = Client::connect(server.address()).request("DESCRIBE", &server.url("/film.mp4"), &[]);
    assert_eq!(refused.status, 401);
    Reader::with(film()).types(&server, &chapter.commands);
    server.wait_for_log("/live/film", Duration::from_secs(20));
}

/// The users whom the README has; it is told behind them how a web service is asked as well.
fn users() -> String {
    chapter("Restrict access").xml.split_once("<http_notify>").unwrap().0.to_owned()
}

#[cfg_attr(feature = "ffmpeg", test)]
fn users_play_where_the_web_service_answers_or_need_not() {
    let xml = chapter("Restrict access").xml;
    let lenient = xml.replace("</http_notify>", "<notify_fail>allow</notify_fail></http_notify>");
    assert_ne!(xml, lenient);
    let (absent, present) = (Service::absent(), Service::start());
    for (xml, service, status) in [(&xml, &absent, 503), (&xml, &present, 200), (&lenient, &absent, 200)] {
        let server = server().xml(&xml.replace(":9000/", &format!(":{}/", service.port()))).start();
        let url = server.url("/film.mp4");
        let client = Client::logging_in(server.address(), &url, "ann", "secret");
        let mut viewer = Viewer::describe_on(client, &url, Over::Tcp).set_up();
        let control = viewer.description.control.clone();
        assert_eq!(viewer.client.request("PLAY", &control, &[]).status, status);
    }
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
    let there = server().http().xml(&users()).start();
    let mut viewer = Viewer::open(here.address(), &here.url("/film.mp4"), Over::Tcp);
    viewer.play(&[]);
    let mut reader = Reader::with(film());
    fs::copy(here.configuration_file(), reader.folder.path().join("rtspserver.xml")).unwrap();
    let url = format!("http://{}/api/v1/sessions", here.http_address());
    let sessions = reader.runs(&format!("curl -s {url}"));
    let sessions: serde_json::Value = serde_json::from_str(&sessions).unwrap();
    let of_film = sessions["sessions"].as_array().unwrap().iter().find(|it| it["path"] == "film.mp4");
    let id = of_film.unwrap()["id"].as_str().unwrap();
    // Nobody watches the stream: no picture is no file.
    let still = format!("http://{}/api/v1/snapshot/gate.jpg", here.http_address());
    let file = reader.folder.path().join("gate.jpg");
    reader.runs(&format!("sh -c '! curl -sfO {still}'"));
    assert!(!file.exists());
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
    assert!(fs::read(file).unwrap().starts_with(&[0xff, 0xd8]), "the still is a picture");
}
