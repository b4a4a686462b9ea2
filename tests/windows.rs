//! The program of Windows, under Wine: what it serves comes to players of Linux as it was.

mod multicast;
mod portable;
mod sound;
pub(crate) mod wine;

use std::fs;
use std::time::Duration;

use crate::client::Client;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::folder;
use crate::devices::screen::{BLUE, RED, Screen, colour, is_like};
use crate::judge::ffmpeg::Scratch;
use crate::matrix::{Stream, comes_by_every_way, what_is_published_by_every_way_comes_as_it_was};
use crate::server::{Backend, Server, scratch};
use crate::{pushed, transcoding};
use wine::Build;

const FULL: Backend = Backend::Windows(Build::Full);
const PORTABLE: Backend = Backend::Windows(Build::Portable);

/// How long the program may take to end.
const END: Duration = Duration::from_secs(20);

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
fn what_is_published_by_every_way_is_what_comes() {
    what_is_published_by_every_way_comes_as_it_was(FULL);
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
fn the_test_channel_is_there() {
    the_test_channel_plays(FULL);
}

fn the_test_channel_plays(backend: Backend) {
    let server = Server::with(backend).start();
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url("/test"), over);
        viewer.play(&[]);
        viewer.receive(Duration::from_secs(2));
        for track in &viewer.tracks {
            assert!(track.units().len() >= 20 && track.gaps().is_empty(), "{over:?}");
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
    // Wine has no Desktop Duplication.
    server.wait_for_log("grabbed device=screenlive by=\"desktop\"", END);
    assert_eq!(
        Client::connect(server.address()).request("DESCRIBE", &server.url("/screenlive7"), &[]).status,
        404
    );
}

#[test]
fn ctrl_c_ends_it() {
    ends_by_ctrl_c(FULL);
}

/// Whether Ctrl-C ends it in order.
fn ends_by_ctrl_c(backend: Backend) {
    let server = Server::with(backend).start();
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
