//! The program of Windows, under Wine: what it serves comes to players of Linux as it was.

mod sound;
pub(crate) mod wine;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::client::Client;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::{Recipe, folder};
use crate::devices::screen::{BLUE, RED, Screen, colour, is_like};
use crate::judge::ffmpeg::Scratch;
use crate::matrix::{Stream, comes_by_every_way};
use crate::published::{await_stream, sending, spawn, watch};
use crate::server::{Backend, Builder, Server, scratch};
use crate::{pushed, transcoding};
use wine::Build;

const FULL: Backend = Backend::Windows(Build::Full);
const PORTABLE: Backend = Backend::Windows(Build::Portable);

/// How long the program may take to end.
const END: Duration = Duration::from_secs(20);

fn server() -> Builder {
    Server::with(FULL).media(folder()).lifetime(Duration::from_secs(120))
}

#[test]
fn a_file_comes_by_every_way_as_it_lies() {
    comes_by_every_way(FULL, Stream::File);
}

#[test]
fn what_is_published_comes_by_every_way_as_it_was() {
    comes_by_every_way(FULL, Stream::Live);
}

#[test]
fn what_a_proxy_pulls_comes_by_every_way_as_it_was() {
    comes_by_every_way(FULL, Stream::Proxy);
}

#[test]
fn what_is_pushed_is_what_ffmpeg_plays() {
    pushed::what_is_pushed_is_what_ffmpeg_plays(FULL);
}

#[test]
fn a_file_comes_in_the_format_that_its_url_asks_for() {
    transcoding::pictures_come_in_the_codec_size_and_rate_that_a_url_asks_for(FULL);
    transcoding::sound_comes_in_the_codec_rate_and_channels_that_a_url_asks_for(FULL);
}

#[test]
fn the_test_channel_plays() {
    for backend in [FULL, PORTABLE] {
        let server = Server::with(backend).start();
        for over in BOTH {
            let mut viewer = Viewer::open(server.address(), &server.url("/test"), over);
            viewer.play(&[]);
            viewer.receive(Duration::from_secs(2));
            for track in &viewer.tracks {
                assert!(track.units().len() >= 20 && track.gaps().is_empty(), "{backend:?} {over:?}");
            }
        }
    }
}

#[test]
fn a_screen_is_streamed() {
    let screen = Screen::start();
    let server = screen.server(FULL).start();
    let left = colour(&server.url("/screenlive?w=640&h=360"));
    // Half of it is red, half of it blue.
    is_like(left, [RED[0] / 2, 0, BLUE[2] / 2]);
    assert_eq!(
        Client::connect(server.address()).request("DESCRIBE", &server.url("/screenlive7"), &[]).status,
        404
    );
}

#[test]
fn ctrl_c_ends_it_in_order() {
    let server = server().start();
    let mut viewer = Viewer::open(server.address(), &server.url("/test"), Over::Tcp);
    viewer.play(&[]);
    viewer.receive(Duration::from_millis(500));
    server.signal("INT");
    viewer.receive(Duration::from_secs(2));
    assert!(viewer.tracks.iter().all(|track| track.has_ended()), "every track ends with BYE");
    let status = server.wait(END).expect("it ends");
    assert!(status.success(), "{status}");
    server.wait_for_log("stopping", END);
}

#[test]
fn the_portable_program_relays_what_is_published() {
    let server = Server::with(PORTABLE).media(folder()).setting("gop_cache", 2).start();
    let recipe = Recipe::named("h264_aac.mp4");
    for over in BOTH {
        let url = server.url(&format!("/live/{}", over.name()));
        let _publishing = spawn("ffmpeg", &sending(recipe, over, &url));
        await_stream(&server, &url).unwrap();
        assert_eq!(watch(&url, over, recipe), Ok(()), "{over:?}");
    }
    let answer = Client::connect(server.address()).request("DESCRIBE", &server.url("/h264_aac.mp4"), &[]);
    assert!(answer.status == 415 && answer.text().contains("without FFmpeg"), "{answer:?}");
}

#[test]
fn files_are_found_by_their_names_alone() {
    let media = Scratch(scratch("names"));
    fs::create_dir(media.path().join("Sub")).unwrap();
    let file = folder().join("h264_aac.mp4");
    for name in ["Film.mp4", "Sub/Über die Brücke.mp4", "Sub/日本.mp4"] {
        fs::copy(&file, media.path().join(name)).unwrap();
    }
    let server = Server::with(FULL).media(media.path()).start();
    let status =
        |path: &str| Client::connect(server.address()).request("DESCRIBE", &server.url(path), &[]).status;
    for path in ["/Film.mp4", "/Sub/%C3%9Cber%20die%20Br%C3%BCcke.mp4", "/Sub/%E6%97%A5%E6%9C%AC.mp4"] {
        assert_eq!(status(path), 200, "{path}");
    }
    // Windows finds these too, and rules for a path are not for them.
    for path in
        ["/film.mp4", "/Sub%5C%E6%97%A5%E6%9C%AC.mp4", "/sub/%E6%97%A5%E6%9C%AC.mp4", "/Film.mp4::$DATA"]
    {
        assert_eq!(status(path), 404, "{path}");
    }
    for path in ["/C:/windows/Film.mp4", "/..%5CFilm.mp4", "/Sub/..%5C..%5CFilm.mp4", "/aux.mp4", "/nul.mp4"]
    {
        assert_eq!(status(path), 404, "{path}");
    }
}

/// What the program says at its end, with its exit code.
fn said(folder: &Scratch, build: Build, words: &[&str]) -> (Option<i32>, String) {
    let mut command = wine::program(build, folder.path());
    command.args(words).current_dir(folder.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).replace("\r\n", "\n"))
}

#[test]
fn what_is_wrong_is_said_as_elsewhere() {
    let folder = Windows::new();
    let file = folder.0.path().join("rtspserver.xml");
    fs::write(&file, "<config>\r\n<serverport>abc</serverport>\r\n<mtu>1</mtu>\r\n</config>\r\n").unwrap();
    let expected = "rtspserver: rtspserver.xml:2:13: config/serverport: \"abc\" is not a port; allowed: 1 to 65535\n\
                    rtspserver: rtspserver.xml:3:6: config/mtu: \"1\" is not a packet size in bytes; allowed: 576 to 9000\n";
    for words in [&["check"][..], &[]] {
        assert_eq!(said(&folder.0, Build::Portable, words), (Some(2), expected.to_owned()));
    }
    // Editors of Windows may put a mark in front.
    let settings =
        "\u{feff}<config>\r\n<mtu>1300</mtu>\r\n<media_dir>C:\\windows</media_dir>\r\n</config>\r\n";
    fs::write(&file, settings).unwrap();
    let (code, text) = said(&folder.0, Build::Portable, &["check"]);
    let has = |line: &[&str]| text.lines().any(|found| found.split_whitespace().eq(line.iter().copied()));
    assert_eq!(code, Some(0), "{text}");
    assert!(has(&["mtu", "1300", "rtspserver.xml:2"]), "{text}");
    assert!(has(&["media_dir", "C:\\windows", "rtspserver.xml:3"]), "{text}");
    let (code, text) = said(&folder.0, Build::Portable, &["--daemon"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        text,
        "rtspserver: Windows has services in place of --daemon: install one with `rtspserver service install`\n"
    );
}

/// A folder with a Windows in it, which ends with it.
struct Windows(Scratch);

impl Windows {
    fn new() -> Windows {
        Windows(Scratch(scratch("windows")))
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        wine::end(self.0.path());
    }
}
