//! Screens of a Wayland desktop that has no screen: xdg-desktop-portal asks a desktop of ours (`portal.py`), whose screens
//! are painted by `painter.c`.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::screen::{colour, is_like, shown};
use super::session::{PATIENCE, Session, wait_for_no_device};
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Message, Response};
use crate::judge::ffmpeg::words;
use crate::server::{Backend, Builder, Server, on_both_backends};

const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];

/// A desktop with a portal.
struct Desktop {
    session: Session,
}

impl Desktop {
    /// A desktop with a red screen and a blue one, which hardly ever send a picture.
    fn start() -> Desktop {
        let mut session = Session::with_pipewire();
        build_painter(&session);
        fs::create_dir(session.file("portals")).unwrap();
        let portal = "[portal]\nDBusName=org.freedesktop.impl.portal.desktop.test\n\
                      Interfaces=org.freedesktop.impl.portal.ScreenCast;\nUseIn=test\n";
        fs::write(session.file("portals/test.portal"), portal).unwrap();
        let backend = format!("{}/tests/devices/portal.py", env!("CARGO_MANIFEST_DIR"));
        let folder = session.folder().display().to_string();
        session.spawn("/usr/bin/python3", &[backend, folder], "");
        wait_for_name(&session, "org.freedesktop.impl.portal.desktop.test");
        let mut portal = session.tool("/usr/libexec/xdg-desktop-portal");
        portal.env("XDG_CURRENT_DESKTOP", "test").env("XDG_DESKTOP_PORTAL_DIR", session.file("portals"));
        session.spawn_as(portal, &[], "");
        wait_for_name(&session, "org.freedesktop.portal.Desktop");
        let mut desktop = Desktop { session };
        desktop.paint("screen0", "BGRx 640 360 ff0000 0000ff");
        desktop.paint("screen1", "RGBx 323 243 0000ff ff0000");
        desktop
    }

    /// Begins to show a node that can be handed out as a screen.
    fn paint(&mut self, node: &str, look: &str) {
        let painter = self.painter();
        self.session.spawn(&painter, &words(&format!("{node} {look}")), "");
        let end = Instant::now() + PATIENCE;
        let is_there = || {
            let listed = self.session.tool("pw-cli").args(["ls", "Node"]).stdout(Stdio::piped()).output();
            String::from_utf8_lossy(&listed.unwrap().stdout).contains(&format!("\"{node}\""))
        };
        while !is_there() {
            assert!(Instant::now() < end, "{node} is not there");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What the user does when asked for a screen.
    fn answer(&self, what: &str) {
        // At once, for whoever reads it.
        fs::write(self.session.file("answer.new"), what).unwrap();
        fs::rename(self.session.file("answer.new"), self.session.file("answer")).unwrap();
    }

    /// How often something was told by the desktop, by the first words of a line.
    fn told(&self, what: &str) -> usize {
        let told = fs::read_to_string(self.session.file("told")).unwrap_or_default();
        told.lines().filter(|line| line.starts_with(what)).count()
    }

    fn painter(&self) -> String {
        self.session.file("painter").display().to_string()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, count: usize) {
        let end = Instant::now() + PATIENCE;
        while self.told(what) < count {
            assert!(Instant::now() < end, "{what:?} is not told {count} times");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn server(&self, backend: Backend) -> Builder {
        self.session
            .server(backend)
            .environment("WAYLAND_DISPLAY", "wayland-of-a-test")
            .setting("ondemand_close_s", 2)
    }
}

fn build_painter(session: &Session) {
    let source = format!("{}/tests/devices/painter.c", env!("CARGO_MANIFEST_DIR"));
    let painter = session.file("painter").display().to_string();
    let libraries =
        Command::new("pkg-config").args(words("--cflags --libs libpipewire-0.3")).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    let arguments = words(&format!("-o {painter} {source} {libraries}"));
    assert!(Command::new("cc").args(arguments).status().unwrap().success());
}

fn wait_for_name(session: &Session, name: &str) {
    let name = format!("string:{name}");
    let path = "/org/freedesktop/DBus";
    let method = "org.freedesktop.DBus.GetNameOwner";
    session.insist(
        "dbus-send",
        &["--session", "--print-reply", "--dest=org.freedesktop.DBus", path, method, &name],
    );
}

fn watch(server: &Server, path: &str) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
    viewer
}

fn described(server: &Server, path: &str) -> Response {
    let mut client = Client::connect(server.address());
    client.ask("DESCRIBE", &server.url(path), &[]);
    // A user who is asked takes a while.
    let Some(Message::Response(answer)) = client.next(PATIENCE) else { panic!("no answer") };
    answer
}

fn the_screens_that_the_user_chooses_are_streams(backend: Backend) {
    let desktop = Desktop::start();
    let server = desktop.server(backend).setting("show_cursor", 0).start();
    desktop.answer("show screen0");
    is_like(colour(&server.url("/screenlive")), RED);
    desktop.answer("show screen1");
    is_like(colour(&server.url("/screenlive1")), BLUE);
    // What was chosen is not asked for again, and stays what it was.
    assert_eq!(shown(&server.url("/screenlive")), "h264,640,360");
    assert_eq!(shown(&server.url("/screenlive1&ve=MP4&w=160")), "mpeg4,160,120");
    is_like(colour(&server.url("/screenlive")), RED);
    assert_eq!(desktop.told("asked cursor=1"), 2);
    wait_for_no_device(&server);
    desktop.wait_for("closed", desktop.told("asked") + desktop.told("restored"));
}

fn a_screen_on_which_nothing_happens_is_seen_at_the_rate_that_is_asked_for(backend: Backend) {
    let desktop = Desktop::start();
    let server = desktop.server(backend).start();
    desktop.answer("show screen0");
    let first = watch(&server, "/screenlive");
    for (path, rate) in [("/screenlive", 15.0), ("/screenlive&fr=25", 25.0)] {
        let mut viewer = watch(&server, path);
        let found = viewer.rate_of_pictures(PATIENCE);
        assert!((found / rate - 1.0).abs() < 0.02, "{path}: {found} pictures a second");
    }
    // All of it from one screen that was asked for once, with its pointer.
    assert_eq!((desktop.told("asked cursor=2"), desktop.told("restored")), (1, 0));
    assert_eq!(server.lines("device opened device=screenlive"), 1);
    drop(first);
    server.wait_for_log("device closed: nobody watches device=screenlive", PATIENCE);
    desktop.wait_for("closed", 1);
    wait_for_no_device(&server);
}

fn a_user_who_refuses_is_left_alone_and_viewers_are_told(backend: Backend) {
    let desktop = Desktop::start();
    let server = desktop.server(backend).start();
    desktop.answer("refuse");
    for _ in 0..2 {
        let answer = described(&server, "/screenlive").expect(503);
        assert!(answer.text().contains("user has refused"), "{}", answer.text());
    }
    assert_eq!(desktop.told("asked"), 1);
    assert_eq!(server.lines("the desktop's user has refused to show a screen device=screenlive"), 1);
    // Another screen is another question.
    desktop.answer("show screen1");
    is_like(colour(&server.url("/screenlive1")), BLUE);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_user_who_thinks_for_long_is_asked_once_and_the_next_viewer_has_the_screen() {
    let desktop = Desktop::start();
    let server = desktop.server(Backend::Uring).start();
    desktop.answer("wait");
    let answer = described(&server, "/screenlive").expect(503);
    assert!(answer.text().contains("answer there"), "{}", answer.text());
    desktop.answer("show screen0");
    is_like(colour(&server.url("/screenlive")), RED);
    assert_eq!((desktop.told("asked"), desktop.told("restored")), (1, 0));
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_choice_outlives_the_program() {
    let desktop = Desktop::start();
    desktop.answer("show screen0");
    let server = desktop.server(Backend::Uring).start();
    is_like(colour(&server.url("/screenlive")), RED);
    drop(server);
    desktop.answer("refuse");
    let server = desktop.server(Backend::Uring).start();
    is_like(colour(&server.url("/screenlive")), RED);
    assert_eq!((desktop.told("asked"), desktop.told("restored screen0")), (1, 1));
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_screen_that_the_user_ends_is_not_shown_again_unasked() {
    let desktop = Desktop::start();
    let server = desktop.server(Backend::Uring).start();
    desktop.answer("show screen0");
    let _viewer = watch(&server, "/screenlive");
    fs::write(desktop.session.file("withdraw"), "").unwrap();
    server.wait_for_log("the desktop has ended it", PATIENCE);
    let answer = described(&server, "/screenlive&w=320").expect(503);
    assert!(answer.text().contains("user has refused"), "{}", answer.text());
    assert_eq!((desktop.told("asked"), desktop.told("restored")), (1, 0));
    assert!(!desktop.session.file("state/ringcaster/screenlive.token").exists());
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_screen_that_changes_its_size_is_watched_on() {
    let desktop = Desktop::start();
    let server = desktop.server(Backend::Uring).start();
    desktop.answer("show screen0");
    let mut viewer = watch(&server, "/screenlive");
    desktop.session.signal(&desktop.painter(), "USR1");
    let before = viewer.tracks[0].packets.len();
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > before + 20));
    assert!(viewer.tracks[0].gaps().is_empty());
    // Who watches goes on, and who comes now has the size that it has now.
    assert_eq!(server.lines("device opened"), 1);
    let end = Instant::now() + PATIENCE;
    while shown(&server.url("/screenlive&ve=MP4")) != "mpeg4,320,180" {
        assert!(Instant::now() < end, "the size does not change");
    }
    is_like(colour(&server.url("/screenlive&ve=MP4")), BLUE);
    assert_eq!(desktop.told("asked"), 1);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn a_screen_that_is_lost_comes_back() {
    let mut desktop = Desktop::start();
    let server = desktop.server(Backend::Uring).start();
    desktop.answer("show screen0");
    let mut viewer = watch(&server, "/screenlive");
    let painter = desktop.painter();
    desktop.session.stop(&painter);
    server.wait_for_log("device lost device=screenlive", PATIENCE);
    desktop.paint("screen0", "BGRx 320 240 0000ff ff0000");
    server.wait_for_log("device is back device=screenlive", PATIENCE);
    let before = viewer.tracks[0].packets.len();
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > before + 20));
    assert!(viewer.tracks[0].gaps().is_empty());
}

#[cfg_attr(feature = "ffmpeg", test)]
fn without_a_portal_a_screen_is_503_with_what_to_do() {
    let session = Session::start();
    let server = session.server(Backend::Uring).environment("WAYLAND_DISPLAY", "wayland-of-a-test").start();
    let answer = described(&server, "/screenlive").expect(503);
    assert!(answer.text().contains("install xdg-desktop-portal"), "{}", answer.text());
    let listed = session.devices(&[("WAYLAND_DISPLAY", "wayland-of-a-test")]);
    assert!(listed.contains("none of screens: the desktop's portal"), "{listed}");
    wait_for_no_device(&server);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn the_list_of_devices_says_that_the_user_chooses() {
    let desktop = Desktop::start();
    let listed = desktop.session.devices(&[]);
    let line =
        listed.lines().find(|line| line.starts_with("/screenlive ")).unwrap_or_else(|| panic!("{listed}"));
    assert!(line.contains("what the desktop's user chooses") && line.contains("version 4"), "{listed}");
    let server = desktop.server(Backend::Uring).start();
    described(&server, "/screenlive8").expect(404);
    assert_eq!(desktop.told("asked"), 0);
}

on_both_backends!(;
    "ffmpeg":
    the_screens_that_the_user_chooses_are_streams,
    a_screen_on_which_nothing_happens_is_seen_at_the_rate_that_is_asked_for,
    a_user_who_refuses_is_left_alone_and_viewers_are_told,
);
