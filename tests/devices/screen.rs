//! Screens of an X server without a screen (Xvfb), with two monitors of different colours.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use x11rb::connection::Connection;
use x11rb::protocol::xproto::{AtomEnum, ConnectionExt as _, CreateWindowAux, PropMode, WindowClass};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::client::Client;
use crate::client::viewer::{Over, Viewer};
use crate::judge::ffmpeg::words;
use crate::judge::{Turn, run};
use crate::server::{Backend, Builder, Server, on_both_backends};

const PATIENCE: Duration = Duration::from_secs(30);

/// An X server, and who paints on it.
pub(crate) struct Screen {
    pub(crate) display: String,
    children: Vec<Child>,
    windows: Vec<RustConnection>,
}

impl Drop for Screen {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Screen {
    /// 1280 by 720 pixels: the left half red, the right one blue, each a monitor.
    pub(crate) fn start() -> Screen {
        Screen::with(&words("-displayfd 1"))
    }

    /// With options of the X server, which says its number if it is asked to.
    fn with(options: &[String]) -> Screen {
        let mut command = Command::new("Xvfb");
        command.args(options).args(words("-screen 0 1280x720x24 -nolisten tcp -noreset"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = command.spawn().expect("Xvfb is installed");
        let mut display = options[0].clone();
        if display == "-displayfd" {
            let mut said = String::new();
            BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
            display = format!(":{}", said.trim());
        }
        let mut screen = Screen { display, children: vec![server], windows: Vec::new() };
        let end = Instant::now() + PATIENCE;
        while !screen.tool("xdpyinfo", "").status().unwrap().success() {
            assert!(Instant::now() < end, "Xvfb does not start");
            thread::sleep(Duration::from_millis(20));
        }
        screen.run("xrandr", "--setmonitor LEFT 640/160x720/190+0+0 screen");
        screen.run("xrandr", "--setmonitor RIGHT 640/160x720/190+640+0 none");
        for (title, x, colour) in [("left", 0, 0xff_00_00), ("right", 640, 0x00_00_ff)] {
            let window = screen.show(title, (x, 0), (640, 720), colour);
            screen.windows.push(window);
        }
        screen
    }

    fn tool(&self, program: &str, arguments: &str) -> Command {
        let mut command = Command::new(program);
        command.args(words(arguments)).env("DISPLAY", &self.display);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &str) {
        assert!(self.tool(program, arguments).status().unwrap().success(), "{program} {arguments}");
    }

    /// Shows a window of one colour, with a title, until the connection is dropped.
    fn show(
        &self,
        title: &str,
        (x, y): (i16, i16),
        (width, height): (u16, u16),
        colour: u32,
    ) -> RustConnection {
        let (connection, number) = x11rb::connect(Some(&self.display)).unwrap();
        let screen = &connection.setup().roots[number];
        let (window, root, visual) = (connection.generate_id().unwrap(), screen.root, screen.root_visual);
        let look = CreateWindowAux::new().background_pixel(colour).override_redirect(1);
        let kind = WindowClass::INPUT_OUTPUT;
        connection.create_window(0, window, root, x, y, width, height, 0, kind, visual, &look).unwrap();
        let (name, text) = (AtomEnum::WM_NAME, AtomEnum::STRING);
        connection.change_property8(PropMode::REPLACE, window, name, text, title.as_bytes()).unwrap();
        connection.map_window(window).unwrap();
        connection.sync().unwrap();
        connection
    }

    pub(crate) fn server(&self, backend: Backend) -> Builder {
        Server::with(backend).environment("DISPLAY", &self.display).setting("show_cursor", 0)
    }
}

/// Mean red, green and blue of the first picture of a URL.
pub(crate) fn colour(url: &str) -> [u8; 3] {
    let _turn = Turn::wait();
    let arguments = format!(
        "-nostdin -v error -rtsp_transport tcp -i {url} -frames:v 1 -an -vf scale=1:1:flags=area,format=rgb24 -f rawvideo -"
    );
    run("ffmpeg", &words(&arguments), PATIENCE).unwrap().stdout.try_into().unwrap()
}

#[track_caller]
pub(crate) fn is_like(found: [u8; 3], wanted: [u8; 3]) {
    let near = found.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 40);
    assert!(near, "{found:?} in place of {wanted:?}");
}

pub(crate) const RED: [u8; 3] = [255, 0, 0];
pub(crate) const BLUE: [u8; 3] = [0, 0, 255];

pub(super) fn shown(url: &str) -> String {
    let arguments = format!(
        "-v error -rtsp_transport tcp -show_entries stream=codec_name,width,height -of csv=p=0 {url}"
    );
    String::from_utf8(run("ffprobe", &words(&arguments), PATIENCE).unwrap().stdout).unwrap().trim().to_owned()
}

fn each_monitor_is_a_stream_of_its_own(backend: Backend) {
    let screen = Screen::start();
    let server = screen.server(backend).start();
    for (path, wanted) in
        [("/screenlive", RED), ("/screenlive0", RED), ("/screenlive1", BLUE), ("/ScreenLive1", BLUE)]
    {
        is_like(colour(&server.url(path)), wanted);
    }
    assert_eq!(shown(&server.url("/screenlive")), "h264,640,720");
}

fn screens_come_in_what_rules_and_urls_ask_for(backend: Backend) {
    let screen = Screen::start();
    let rule = "<output><url>screenlive</url><video><codec>H265</codec><width>320</width></video></output>";
    let server = screen.server(backend).xml(rule).start();
    for (asked, is) in [
        ("", "hevc,320,360"),
        ("&ve=H264&w=640", "h264,640,720"),
        ("&ve=MP4&h=180&w=0", "mpeg4,160,180"),
        ("&ve=JPEG", "mjpeg,320,360"),
    ] {
        assert_eq!(shown(&server.url(&format!("/screenlive1{asked}"))), is, "{asked}");
    }
}

fn pictures_come_at_the_rate_that_is_asked_for(backend: Backend) {
    let screen = Screen::start();
    let server = screen.server(backend).start();
    for (path, rate) in [("/screenlive", 15.0), ("/screenlive1&fr=25", 25.0)] {
        let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
        viewer.play(&[]);
        let found = viewer.rate_of_pictures(PATIENCE);
        assert!((found / rate - 1.0).abs() < 0.02, "{path}: {found} pictures a second");
    }
}

fn viewers_share_one_capture_which_ends_with_the_last(backend: Backend) {
    let screen = Screen::start();
    let server = screen.server(backend).start();
    let open = |path: &str| {
        let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
        viewer.play(&[]);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 5));
        viewer
    };
    let viewers = [open("/screenlive"), open("/screenlive"), open("/screenlive&w=320")];
    assert_eq!(server.lines("device opened device=screenlive"), 1);
    drop(viewers);
    server.wait_for_log("device closed: nobody watches device=screenlive", PATIENCE);
}

fn what_there_is_not_is_404_and_the_log_says_what_there_is(backend: Backend) {
    let screen = Screen::start();
    let server = screen.server(backend).start();
    let mut client = Client::connect(server.address());
    client.request("DESCRIBE", &server.url("/screenlive2"), &[]).expect(404);
    server.wait_for_log("no such screen; there are 2: LEFT, RIGHT", PATIENCE);
}

fn a_screen_without_an_x_server_is_503_with_what_to_do(backend: Backend) {
    let server = Server::with(backend).environment("DISPLAY", ":50999").start();
    let mut client = Client::connect(server.address());
    let answer = client.request("DESCRIBE", &server.url("/screenlive"), &[]).expect(503);
    assert!(answer.text().contains("set DISPLAY"), "{}", answer.text());
}

fn a_monitor_that_changes_its_size_is_watched_on(backend: Backend) {
    let screen = Screen::start();
    let server = screen.server(backend).start();
    let mut viewer = Viewer::open(server.address(), &server.url("/screenlive"), Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 10));
    screen.run("xrandr", "--delmonitor LEFT");
    screen.run("xrandr", "--setmonitor LEFT 400/100x300/90+0+0 none");
    server.wait_for_log("device is back device=screenlive", PATIENCE);
    let before = viewer.tracks[0].packets.len();
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > before + 20));
    assert!(viewer.tracks[0].gaps().is_empty());
}

fn a_screen_comes_back_with_its_x_server(backend: Backend) {
    // A number of its own: others take the lowest that is free, and must not take this one meanwhile.
    let number = 1_000 + 2 * (std::process::id() % 10_000) + u32::from(backend == Backend::Uring);
    let screen = Screen::with(&[format!(":{number}")]);
    let server = screen.server(backend).start();
    let mut viewer = Viewer::open(server.address(), &server.url("/screenlive1"), Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 10));
    let display = screen.display.clone();
    drop(screen);
    server.wait_for_log("device lost device=screenlive1", PATIENCE);
    let _screen = Screen::with(&[display]);
    server.wait_for_log("device is back device=screenlive1", PATIENCE);
    let before = viewer.tracks[0].packets.len();
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > before + 20));
}

#[cfg_attr(feature = "ffmpeg", test)]
fn devices_are_listed_with_the_paths_that_they_are_streamed_under() {
    let screen = Screen::start();
    let _window = screen.show("Ringcaster-window", (10, 10), (200, 100), 0x00_ff_00);
    let listed = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtspserver"));
        let output = command.arg("devices").env("DISPLAY", &screen.display).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = listed();
    for wanted in [
        "window=Ringcaster-window",
        "/screenlive  ",
        "LEFT, 640x720 at 0,0",
        "/screenlive1",
        "RIGHT, 640x720 at 640,0",
    ] {
        assert!(listed.contains(wanted), "{wanted}: {listed}");
    }
}

fn a_window_is_watched_by_its_title(backend: Backend) {
    let screen = Screen::start();
    let _window = screen.show("The green one", (10, 10), (200, 100), 0x00_ff_00);
    let server = screen.server(backend).start();
    let url = server.url("/screenlive?window=green");
    is_like(colour(&url), [0, 255, 0]);
    assert_eq!(shown(&url), "h264,200,100");
    let mut client = Client::connect(server.address());
    client.request("DESCRIBE", &server.url("/screenlive?window=yellow"), &[]).expect(404);
}

on_both_backends!(;
    "ffmpeg":
    a_window_is_watched_by_its_title,
    each_monitor_is_a_stream_of_its_own,
    screens_come_in_what_rules_and_urls_ask_for,
    pictures_come_at_the_rate_that_is_asked_for,
    viewers_share_one_capture_which_ends_with_the_last,
    what_there_is_not_is_404_and_the_log_says_what_there_is,
    a_screen_without_an_x_server_is_503_with_what_to_do,
    a_monitor_that_changes_its_size_is_watched_on,
    a_screen_comes_back_with_its_x_server,
);
