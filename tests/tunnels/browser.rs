//! A browser plays: Debian's Chromium with media-stream-library shows moving pictures and decodes sound that come by
//! WebSocket.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::bridge::read_head;
use super::server;
use crate::browser::{Browser, PATIENCE};
use crate::corpus::folder;
use crate::judge::Turn;
use crate::server::{Backend, on_both_backends};

/// Where `test.sh` puts it.
const LIBRARY: &str = "../browser/node_modules/media-stream-library/dist/media-stream-library.min.js";

/// What a page has shown so far.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    seconds: f64,
    /// Pictures that differ.
    pictures: usize,
    /// Bytes of sound that were decoded.
    sound: u64,
}

/// A web server with the page and its library; what the page says.
fn web() -> (SocketAddr, Receiver<String>) {
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(LIBRARY);
    let library = std::fs::read(&library)
        .unwrap_or_else(|error| panic!("{}: {error}: test.sh installs it", library.display()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (said, heard) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (library, said) = (library.clone(), said.clone());
            thread::spawn(move || serve(stream, &library, &said));
        }
    });
    (address, heard)
}

/// Answers one request.
fn serve(mut stream: TcpStream, library: &[u8], said: &Sender<String>) {
    let head = read_head(&mut stream);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("Content-Length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = stream.read_exact(&mut body);
    let page = include_bytes!("../players/browser.html");
    let (kind, content) = match head.split_whitespace().nth(1) {
        Some("/said") => {
            let _ = said.send(String::from_utf8_lossy(&body).into_owned());
            ("text/plain", &b""[..])
        }
        Some("/library.js") => ("text/javascript", library),
        Some(path) if path.starts_with("/?") => ("text/html", &page[..]),
        _ => ("text/plain", &b"nothing"[..]),
    };
    let length = content.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let _ = stream.write_all(&[head.as_bytes(), content].concat());
}

/// Opens the page until it has shown enough.
fn watch(websocket: SocketAddr, rtsp: &str) -> Result<Shown, String> {
    let _turn = Turn::wait();
    let (web, heard) = web();
    let mut browser = Browser::start();
    browser.open(&format!("http://{web}/?ws=ws://{websocket}/websocket&rtsp={rtsp}"));
    let (end, mut shown) = (Instant::now() + PATIENCE, Shown::default());
    while shown.seconds < 2.0 || shown.pictures < 15 || shown.sound < 10_000 {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(said) = heard.recv_timeout(left) else { return Err(format!("only {shown:?}")) };
        let words: Vec<&str> = said.split(' ').collect();
        let ["shown", seconds, pictures, sound] = words[..] else { return Err(said) };
        shown = Shown {
            seconds: seconds.parse().unwrap(),
            pictures: pictures.parse().unwrap(),
            sound: sound.parse().unwrap(),
        };
    }
    Ok(shown)
}

fn a_browser_shows_moving_pictures_with_sound_of_a_file_and_of_a_live_stream(backend: Backend) {
    let server =
        server(backend).media(folder()).setting("loop_nums", -1).lifetime(Duration::from_secs(300)).start();
    // The library's muxer knows no pictures that are shown in another order than they come (13.1).
    for path in ["/h264_ip_aac.mp4", "/test"] {
        let shown = watch(server.http_address(), &server.url(path));
        println!("{path}: {shown:?}");
        assert!(shown.is_ok(), "{path}: {shown:?}");
    }
    server.wait_for_log("transport=\"websocket\" duration_s=", Duration::from_secs(20));
}

on_both_backends!(;
    "ffmpeg":
    a_browser_shows_moving_pictures_with_sound_of_a_file_and_of_a_live_stream,
);
