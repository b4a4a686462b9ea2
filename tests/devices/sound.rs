//! Microphones of PipeWire, each of which hears a tone, and those that come by another door.

use std::sync::OnceLock;

use super::session::{PATIENCE, Session, wait_for_no_device};
use crate::client::Client;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::judge::ffmpeg::{Scratch, words};
use crate::judge::{Turn, run};
use crate::server::{Backend, Builder, on_both_backends, scratch};
use crate::transcoding::heard_at;

/// What each microphone hears, in hertz.
pub(crate) const TONES: [f64; 2] = [440.0, 1_000.0];

/// Loudspeakers, one for each backend: tests of both run at once. Those where several talk at once have their own.
const LOUDSPEAKERS: [&str; 5] =
    ["talk-fallback", "talk-uring", "talk-windows", "mixed-fallback", "mixed-uring"];

/// The session of most tests here; a sound server each would be more than two processors take.
pub(crate) fn session() -> &'static Session {
    static SESSION: OnceLock<Session> = OnceLock::new();
    SESSION.get_or_init(|| {
        let mut session = Session::with_pipewire();
        session.spawn("pipewire-pulse", &[], "pulse/native");
        for (index, tone) in TONES.into_iter().enumerate() {
            session.microphone(index, tone);
        }
        for name in LOUDSPEAKERS {
            let node = format!(
                "{{ factory.name=support.null-audio-sink node.name={name} media.class=Audio/Sink \
                 object.linger=true audio.position=[MONO] monitor.channel-volumes=true }}"
            );
            session.insist("pw-cli", &["create-node", "adapter", &node]);
        }
        session
    })
}

/// A server that has PipeWire and nothing else.
fn server(session: &Session, backend: Backend) -> Builder {
    session.server(backend).environment("PULSE_SERVER", "unix:/nowhere").setting("ondemand_close_s", 2)
}

/// Level and share of a tone of a URL.
pub(crate) fn heard(url: &str, over: Over, hertz: f64) -> (f64, f64) {
    let _turn = Turn::wait();
    let folder = Scratch(scratch("sound"));
    let file = folder.file("kept.mkv");
    let way = over.name();
    let arguments =
        format!("-nostdin -v error -y -rtsp_transport {way} -i {url} -t 2.5 -vn -c:a pcm_s16le {file}");
    run("ffmpeg", &words(&arguments), PATIENCE).unwrap();
    heard_at(&file, hertz)
}

fn shown(url: &str) -> String {
    let entries = "stream=codec_name,sample_rate,channels";
    let arguments = format!("-v error -rtsp_transport tcp -show_entries {entries} -of csv=p=0 {url}");
    String::from_utf8(run("ffprobe", &words(&arguments), PATIENCE).unwrap().stdout).unwrap().trim().to_owned()
}

fn each_microphone_is_a_stream_of_its_own(backend: Backend) {
    let server = server(session(), backend).start();
    for (index, path) in ["/audiodevice", "/audiodevice1"].into_iter().enumerate() {
        assert_eq!(shown(&server.url(path)), "pcm_mulaw,8000,2", "{path}");
        let (level, of_tone) = heard(&server.url(path), BOTH[index], TONES[index]);
        println!("{path}: level {level}, tone {of_tone}");
        // A busy machine leaves a moment out now and then.
        assert!(of_tone > 0.7, "{path}: {of_tone}");
    }
}

fn sound_comes_in_what_is_asked_for(backend: Backend) {
    let server = server(session(), backend).start();
    for (asked, is) in [
        ("ae=AAC&sr=44100&ch=1", "aac,44100,1"),
        ("ae=OPUS", "opus,48000,2"),
        ("ae=G722&ch=1", "adpcm_g722,16000,1"),
        ("ae=PCMA&sr=16000", "pcm_alaw,16000,2"),
    ] {
        let url = server.url(&format!("/audiodevice1&{asked}"));
        assert_eq!(shown(&url), is, "{asked}");
        let (_, of_tone) = heard(&url, Over::Tcp, TONES[1]);
        assert!(of_tone > 0.7, "{asked}: {of_tone}");
    }
}

fn a_microphone_that_there_is_not_is_404_and_the_log_says_what_there_is(backend: Backend) {
    let server = server(session(), backend).start();
    let mut client = Client::connect(server.address());
    client.request("DESCRIBE", &server.url("/audiodevice9"), &[]).expect(404);
    server.wait_for_log("no such microphone; there are 2: testmic0, testmic1", PATIENCE);
}

fn without_pipewire_microphones_come_from_pulseaudio(backend: Backend) {
    let server = session().server(backend).environment("PIPEWIRE_REMOTE", "nowhere").start();
    for (path, tone) in [("/audiodevice", TONES[0]), ("/audiodevice1", TONES[1])] {
        let (_, of_tone) = heard(&server.url(path), Over::Tcp, tone);
        assert!(of_tone > 0.7, "{path}: {of_tone}");
    }
}

#[cfg_attr(feature = "ffmpeg", test)]
fn microphones_are_listed_by_pipewire_and_without_it() {
    for environment in [("PULSE_SERVER", "unix:/nowhere"), ("PIPEWIRE_REMOTE", "nowhere")] {
        let listed = session().devices(&[environment]);
        for index in 0..TONES.len() {
            let number = if index == 0 { String::new() } else { index.to_string() };
            let line = listed.lines().find(|line| line.starts_with(&format!("/audiodevice{number} ")));
            let line = line.unwrap_or_else(|| panic!("{index} in {listed}"));
            assert!(line.contains(&format!("Microphone {index} (testmic{index})")), "{listed}");
        }
    }
}

fn listen(server: &crate::server::Server, path: &str) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 20));
    viewer
}

#[cfg_attr(feature = "ffmpeg", test)]
fn pipewire_that_stops_is_waited_for_and_the_same_microphone_is_heard_again() {
    let mut session = Session::with_pipewire();
    for (index, tone) in TONES.into_iter().enumerate() {
        session.microphone(index, tone);
    }
    let server = server(&session, Backend::Uring).start();
    let mut viewer = listen(&server, "/audiodevice");
    session.stop("pipewire");
    server.wait_for_log("device lost device=audiodevice", PATIENCE);
    for program in ["wireplumber", "pw-cat"] {
        session.stop(program);
    }
    // The other one is there first now.
    session.start_pipewire();
    for (index, tone) in TONES.into_iter().enumerate().rev() {
        session.microphone(index, tone);
    }
    server.wait_for_log("device is back device=audiodevice", PATIENCE);
    let before = viewer.tracks[0].packets.len();
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > before + 50));
    assert!(viewer.tracks[0].gaps().is_empty());
    let (_, of_tone) = heard(&server.url("/audiodevice"), Over::Tcp, TONES[0]);
    assert!(of_tone > 0.7, "{of_tone}");
}

#[cfg_attr(feature = "ffmpeg", test)]
fn no_thread_is_left_behind_for_a_microphone_that_gives_nothing() {
    let mut session = Session::with_pipewire();
    session.microphone(0, TONES[0]);
    let server = server(&session, Backend::Uring).start();
    let viewer = listen(&server, "/audiodevice");
    session.signal("pipewire", "STOP");
    drop(viewer);
    server.wait_for_log("device closed: nobody watches device=audiodevice", PATIENCE);
    wait_for_no_device(&server);
    session.signal("pipewire", "CONT");
    let viewer = listen(&server, "/audiodevice");
    drop(viewer);
    wait_for_no_device(&server);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_microphone_that_is_unplugged_is_lost_and_comes_back_when_it_is_plugged_in() {
    let mut session = Session::with_pipewire();
    session.microphone(0, TONES[0]);
    let server = server(&session, Backend::Uring).start();
    let mut viewer = listen(&server, "/audiodevice");
    session.stop("pw-cat");
    session.unplug(0);
    server.wait_for_log("device lost device=audiodevice", PATIENCE);
    session.microphone(0, TONES[0]);
    server.wait_for_log("device is back device=audiodevice", PATIENCE);
    let before = viewer.tracks[0].packets.len();
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > before + 20));
    assert!(viewer.tracks[0].gaps().is_empty());
}

on_both_backends!(;
    "ffmpeg":
    each_microphone_is_a_stream_of_its_own,
    sound_comes_in_what_is_asked_for,
    a_microphone_that_there_is_not_is_404_and_the_log_says_what_there_is,
    without_pipewire_microphones_come_from_pulseaudio,
);
