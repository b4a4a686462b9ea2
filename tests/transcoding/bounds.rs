//! How much is made anew at once, and that those who get what passes as it comes notice nothing of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{FILE, PATIENCE};
use crate::client::publisher::Publisher;
use crate::client::rtp::Packet;
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Response};
use crate::corpus::folder;
use crate::server::{Backend, Builder, Server, on_both_backends};

fn server(backend: Backend, transcodes_max: u32) -> Builder {
    let builder = Server::with(backend).media(folder()).setting("loop_nums", -1);
    builder.setting("max_transcodes", transcodes_max)
}

/// A viewer that plays, and has got something.
#[track_caller]
fn watch(server: &Server, path: &str) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| !viewer.tracks[0].packets.is_empty()), "{path}");
    viewer
}

/// The answer to a PLAY that may be refused.
fn ask_to_play(server: &Server, path: &str) -> Response {
    let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
    let url = viewer.description.control.clone();
    viewer.client.request("PLAY", &url, &[])
}

/// The same, once a viewer that has left has given its place back.
#[track_caller]
fn watch_when_there_is_room(server: &Server, path: &str) -> Viewer {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut viewer = Viewer::open(server.address(), &server.url(path), Over::Tcp);
        let url = viewer.description.control.clone();
        if viewer.client.request("PLAY", &url, &[]).status == 200 {
            return viewer;
        }
        assert!(Instant::now() < end, "there is no room for {path}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn files_that_are_made_anew_count_as_live_streams_do(backend: Backend) {
    let server = server(backend, 1).start();
    let other = format!("/{FILE}&ve=H265&ae=none");
    let mut first = watch(&server, &format!("/{FILE}&w=160&ae=none"));
    let refused = ask_to_play(&server, &other).expect(453);
    assert!(refused.text().contains("max_transcodes is 1"), "{}", refused.text());
    Client::connect(server.address()).request("DESCRIBE", &server.url("/test&w=320"), &[]).expect(453);
    // Who sees the same costs nothing more, and what passes as it comes is not counted.
    ask_to_play(&server, &format!("/{FILE}&w=160&ae=none")).expect(200);
    ask_to_play(&server, &format!("/{FILE}")).expect(200);
    ask_to_play(&server, "/test").expect(200);
    // Who pauses makes room, and gets none when another has taken it.
    first.pause();
    let second = watch_when_there_is_room(&server, &other);
    let url = first.description.control.clone();
    let refused = first.client.request("PLAY", &url, &[]).expect(453);
    assert!(refused.text().contains("max_transcodes is 1"), "{}", refused.text());
    drop(second);
    let end = Instant::now() + PATIENCE;
    while first.client.request("PLAY", &url, &[]).status != 200 {
        assert!(Instant::now() < end, "a viewer that has left keeps its place");
        thread::sleep(Duration::from_millis(50));
    }
}

/// From one frame to the next.
const FRAME: Duration = Duration::from_millis(20);

/// Later than this is what a viewer would notice: two pictures of a camera.
const LATE: Duration = Duration::from_millis(80);

/// Frames that are looked at.
const FRAMES: u32 = 400;

/// Sound alone.
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=sound\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 0 RTP/AVP 8\r\na=control:streamid=0\r\n";

/// Two connections with a thread between them that passes on what comes, as the server does, and does nothing else: what
/// comes late there is the machine's fault.
fn relay() -> (TcpStream, TcpStream) {
    let connect = || {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(door.local_addr().unwrap()).unwrap();
        let far = door.accept().unwrap().0;
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        (near, far)
    };
    let ((into, mut from), (mut to, out)) = (connect(), connect());
    thread::spawn(move || {
        let mut word = [0; 4];
        while from.read_exact(&mut word).is_ok() && to.write_all(&word).is_ok() {}
    });
    (into, out)
}

/// How many frames come later than they should from their publisher to a viewer, and how many over the relay meanwhile.
fn late(server: &Server) -> (usize, usize) {
    let url = server.url("/sound");
    let (client, answer) = Publisher::announce(server.address(), &url, SDP);
    answer.expect(200);
    let mut publisher = Publisher::of(client, &url, Over::Tcp);
    publisher.setup(8);
    publisher.client.request("RECORD", &url, &[("Range", "npt=0.000-")]).expect(200);
    publisher.send(0, false, 0, &[0; 160]);
    let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
    viewer.play(&[]);
    let (mut into, mut out) = relay();
    let (sent, relayed) = thread::scope(|scope| {
        let relayed = scope.spawn(move || {
            let mut word = [0; 4];
            (0..FRAMES)
                .map(|_| out.read_exact(&mut word).map(|()| Instant::now()).unwrap())
                .collect::<Vec<_>>()
        });
        let sending = scope.spawn(move || {
            let begun = Instant::now();
            let send = |number: u32| {
                thread::sleep((FRAME * number).saturating_sub(begun.elapsed()));
                let at = Instant::now();
                into.write_all(&number.to_be_bytes()).unwrap();
                let payload = [&number.to_be_bytes()[..], &[0xd5; 156]].concat();
                publisher.send(0, false, (number + 1) * 160, &payload);
                at
            };
            (0..FRAMES).map(send).collect::<Vec<_>>()
        });
        let is_last =
            |viewer: &Viewer| viewer.tracks[0].packets.last().is_some_and(|it| number(it) == FRAMES - 1);
        assert!(viewer.receive_until(PATIENCE * 3, is_last), "{} packets", viewer.tracks[0].packets.len());
        (sending.join().unwrap(), relayed.join().unwrap())
    });
    let of_viewer = viewer.tracks[0].packets.iter().filter(|packet| packet.payload[4..8] == [0xd5; 4]);
    let late_to_viewer = of_viewer.filter(|it| it.at - sent[number(it) as usize] > LATE).count();
    let late_at_relay = sent.iter().zip(&relayed).filter(|(sent, came)| **came - **sent > LATE).count();
    assert_eq!(viewer.tracks[0].gaps(), []);
    (late_to_viewer, late_at_relay)
}

/// Which frame a packet brought.
fn number(packet: &Packet) -> u32 {
    u32::from_be_bytes(packet.payload[..4].try_into().unwrap())
}

static ALONE: Mutex<()> = Mutex::new(());

/// Tells those who watch to leave, also when a test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn ten_transcodes_delay_nobody_who_gets_what_passes(backend: Backend) {
    // Twenty would be another test.
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = server(backend, 10).lifetime(Duration::from_secs(150)).start();
    let live = ["w=160", "w=320", "w=480&fr=10", "ve=JPEG&w=320", "ve=MP4&w=240"];
    let of_file = ["w=160", "ve=H265", "ve=MP4", "ve=JPEG", "fr=10"];
    let live = live.iter().map(|asked| format!("/test&{asked}&ae=none"));
    let paths: Vec<_> = live.chain(of_file.iter().map(|asked| format!("/{FILE}&{asked}&ae=none"))).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ending = Ending(&is_over);
        for path in &paths {
            let mut viewer = watch(&server, path);
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    viewer.receive(Duration::from_millis(100));
                    viewer.tracks[0].packets.clear();
                }
            });
        }
        // All ten run.
        let over = |path: &str| Client::connect(server.address()).request("DESCRIBE", &server.url(path), &[]);
        assert_eq!(over("/test&w=64&ae=none").status, 453);
        let (late, by_machine) = late(&server);
        println!("{late} of {FRAMES} frames late, {by_machine} over a bare relay");
        // Who is late now and then is so because of what else runs on the machine; a shard that does some of the work
        // itself is late most of the time.
        let bound = FRAMES as usize / 4 + 3 * by_machine;
        assert!(late <= bound, "{late} of {FRAMES} frames come late, {by_machine} over a bare relay");
    });
}

on_both_backends!(;
    "ffmpeg":
    files_that_are_made_anew_count_as_live_streams_do,
    ten_transcodes_delay_nobody_who_gets_what_passes,
);
