//! What real publishers send comes to a real player as it lies in the file, from a keyframe to the last frame.

mod av1;
pub(crate) mod gstreamer;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::publisher::Publisher;
use crate::client::viewer::{BOTH, Over};
use crate::corpus::{Recipe, Video, folder};
use crate::judge::elementary::{Unit, file_nal_units};
use crate::judge::ffmpeg::{Scratch, Seen, keep_and_see, see, source};
use crate::judge::{self, Verdict, constant};
use crate::server::{Backend, Server, on_both_backends, scratch};

/// What FFmpeg can send.
const FILES: &[&str] = &[
    "h264_aac.mp4",
    "h264_ip_aac.mp4",
    "h264_opus.mkv",
    "h264_1080p.mp4",
    "h265_aac.mp4",
    "mpeg4_aac.mp4",
    "jpeg_pcmu.mov",
    "jpeg_g722.mkv",
    "h264_pcma.mkv",
    "vp8_opus.webm",
    "vp9_opus.webm",
    "g726_32.wav",
    "g726_32.au",
];

/// A program that publishes; ended when the test lets go of it.
pub(crate) struct Publishing(Child);

impl Drop for Publishing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn spawn(program: &str, arguments: &str) -> Publishing {
    let mut command = Command::new(program);
    command
        .args(judge::beside_servers(arguments.split_whitespace()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Publishing(command.spawn().unwrap())
}

/// How often a file is sent that has no pictures: nothing is kept for who comes late, and players come late.
const PLAYS_OF_SOUND: usize = 5;

/// Waits until a stream can be described.
pub(crate) fn await_stream(server: &Server, url: &str) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(10);
    while Client::connect(server.address()).request("DESCRIBE", url, &[]).status != 200 {
        if Instant::now() > end {
            return Err("nothing is published".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// How far times may be from the file's, in seconds.
#[derive(Clone, Copy)]
struct Accuracy {
    /// From one frame of a track to another.
    times_s: f64,
    /// Sound from pictures.
    lips_s: f64,
}

/// Lip sync is within the publisher's own rounding of its wall clock.
const EXACT: Accuracy = Accuracy { times_s: 0.001, lips_s: 0.02 };

/// The largest packet that FFmpeg sends unless it is told otherwise.
const PACKET_BYTES: usize = 1_500;

/// Packets of sound that FFmpeg keeps at its end, and its payloaders never send a packet that is not full
/// (`ff_rtp_send_aac`, `rtp_send_samples`).
fn kept_packets_max(packet_bytes: usize) -> usize {
    packet_bytes / 150
}

/// What a player is told that comes when everything was sent: of the stream, and of one that ends between two requests.
const LATE: [&str; 2] = ["404 Not Found", "PLAY failed: 503 Service Unavailable"];

/// Judges again what failed over UDP, where programs that a busy machine holds up lose datagrams, and any other way where a
/// player has come so late that everything was sent.
pub(crate) fn once_more(over: Over, judge: impl Fn() -> Verdict) -> Verdict {
    let verdict = judge();
    match &verdict {
        Err(problem) if over == Over::Udp || LATE.iter().any(|late| problem.contains(late)) => {
            println!("once more: {problem}");
            judge()
        }
        _ => verdict,
    }
}

/// Watches `url` and compares what comes with the rest of the file, from some keyframe on.
pub(crate) fn watch(url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    watch_by(url, over.name(), recipe)
}

/// The same by a transport of FFmpeg's.
pub(crate) fn watch_by(url: &str, transport: &str, recipe: &'static Recipe) -> Verdict {
    watch_as(EXACT, PACKET_BYTES, url, transport, recipe)
}

/// The same with sound that may be moved against the pictures by so many seconds.
pub(crate) fn watch_within(lips_s: f64, url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    watch_as(Accuracy { lips_s, ..EXACT }, PACKET_BYTES, url, over.name(), recipe)
}

fn watch_as(
    accuracy: Accuracy,
    packet_bytes: usize,
    url: &str,
    transport: &str,
    recipe: &'static Recipe,
) -> Verdict {
    let folder = Scratch(scratch("published"));
    let heard = folder.file("sound");
    let mut input = vec!["-copyts", "-rtsp_transport", transport, "-buffer_size", "4000000", "-i", url];
    let is_sampled = recipe.audio.is_some_and(|(audio, _)| audio.is_sampled());
    if is_sampled {
        // As it comes: a decoder that begins in the middle gives other samples.
        input.extend("-map 0:a:0 -c copy -f data".split(' ').chain([heard.as_str()]));
    }
    let played = see(&input, recipe, Duration::from_secs(30))?;
    let source = source(recipe);
    let pictures = rest_of("pictures", &source.pictures.sums, &played.pictures.sums, 0)?;
    let kept = kept_packets_max(packet_bytes);
    let sound = rest_of("packets of sound", &source.packets.sums, &played.packets.sums, kept)?;
    if is_sampled {
        let file = folder.file("file");
        let path = recipe.path();
        let arguments = ["-v", "error", "-i", path.to_str().unwrap(), "-map", "0:a:0", "-c", "copy"];
        let arguments = arguments.into_iter().chain(["-f", "data", &file]).map(str::to_owned);
        judge::run("ffmpeg", &arguments.collect::<Vec<_>>(), Duration::from_secs(20))?;
        let read = |path: &str| fs::read(path).map_err(|error| error.to_string());
        let sent = read(&file)?.repeat(plays(recipe));
        rest_of("bytes of sound", &sent, &read(&heard)?, packet_bytes)?;
    }
    times_alike(accuracy, &source, &played, pictures, sound, kept)
}

/// How many items of the source came before the first that was played. Of those that follow at most `kept` may be
/// missing at the end; at least a quarter of all must have come.
pub(crate) fn rest_of<T: PartialEq>(
    what: &str,
    source: &[T],
    played: &[T],
    kept: usize,
) -> Result<usize, String> {
    if source.is_empty() {
        return Ok(0);
    }
    let counts = format!("{} of {} {what}", played.len(), source.len());
    if played.len() * 4 < source.len() {
        return Err(format!("only {counts} came"));
    }
    let last = source.len() - played.len();
    let start = (last.saturating_sub(kept)..=last).rev().find(|start| source[*start..].starts_with(played));
    start.ok_or_else(|| format!("{counts} are not the rest of the file"))
}

/// Whether times differ from the file's by one constant, the same for pictures and sound.
fn times_alike(
    Accuracy { times_s, lips_s }: Accuracy,
    source: &Seen,
    played: &Seen,
    pictures: usize,
    sound: usize,
    unsure: usize,
) -> Verdict {
    // FFmpeg gives the first packet of some formats no time of its own, and guesses the times of frames that share it.
    // A player that was there before the sound has no RTP-Info of it and learns from the first report when it was.
    let behind = |times: &[f64], from: usize| times.get(from..).unwrap_or_default().to_vec();
    let (wanted, found) = (behind(&source.pictures.times, pictures + 1), behind(&played.pictures.times, 1));
    let shown = constant("picture", &wanted, &found, times_s)?;
    let (wanted, found) =
        (behind(&source.packets.times, sound + unsure), behind(&played.packets.times, unsure));
    let heard = constant("packet", &wanted, &found, times_s)?;
    let has_both = played.pictures.times.len() > 1 && played.packets.times.len() > unsure;
    if has_both && (shown - heard).abs() > lips_s {
        return Err(format!("sound is moved by {heard:.6} s, pictures by {shown:.6} s"));
    }
    Ok(())
}

/// How FFmpeg publishes.
#[derive(Clone, Copy)]
struct Manner {
    over: Over,
    /// The largest RTP packet; None is FFmpeg's own choice.
    packet_bytes: Option<usize>,
}

fn by_ffmpeg(backend: Backend, Manner { over, packet_bytes }: Manner) {
    let server = Server::with(backend).setting("gop_cache", 2).lifetime(Duration::from_secs(600)).start();
    let files: Vec<_> = FILES.iter().map(|name| Recipe::named(name)).collect();
    judge::all(&files, |recipe| {
        let url = server.url(&format!("/live/{}", recipe.name));
        let large = packet_bytes.map_or(String::new(), |bytes| format!("-pkt_size {bytes} "));
        let arguments = sending(recipe, over, &format!("{large}{url}"));
        once_more(over, || {
            let _publishing = spawn("ffmpeg", &arguments);
            await_stream(&server, &url)?;
            watch_as(EXACT, packet_bytes.unwrap_or(PACKET_BYTES), &url, over.name(), recipe)
        })
    });
}

/// Arguments with which FFmpeg sends a file as it lies.
pub(crate) fn sending(recipe: &Recipe, over: Over, url: &str) -> String {
    let (file, way, loops) = (folder().join(recipe.name), over.name(), plays(recipe) - 1);
    let input = format!("-re -stream_loop {loops} -i {}", file.display());
    format!("-v error {input} -c copy -strict experimental -f rtsp -rtsp_transport {way} {url}")
}

/// How often a file is sent.
pub(crate) fn plays(recipe: &Recipe) -> usize {
    if recipe.video.is_none() { PLAYS_OF_SOUND } else { 1 }
}

fn what_ffmpeg_publishes_over_udp_comes_as_it_was(backend: Backend) {
    by_ffmpeg(backend, Manner { over: Over::Udp, packet_bytes: None });
}

fn what_ffmpeg_publishes_over_tcp_comes_as_it_was(backend: Backend) {
    by_ffmpeg(backend, Manner { over: Over::Tcp, packet_bytes: None });
}

fn what_ffmpeg_publishes_in_packets_that_no_datagram_holds_comes_as_it_was(backend: Backend) {
    by_ffmpeg(backend, Manner { over: Over::Tcp, packet_bytes: Some(6_000) });
}

/// A description without parameter sets: they come with the pictures.
const PICTURES: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:streamid=0\r\n";

/// Sends one picture in packets of up to 60 kB; returns how many of them no datagram holds.
fn send_picture(publisher: &mut Publisher, picture: &Unit) -> usize {
    let timestamp = (picture.time * 90_000.0).round() as i64 as u32;
    let mut packets = Vec::new();
    for unit in &picture.pieces {
        if unit.len() <= 60_000 {
            packets.push(unit.clone());
            continue;
        }
        let count = unit[1..].len().div_ceil(60_000);
        for (part, body) in unit[1..].chunks(60_000).enumerate() {
            let bits = if part == 0 { 0x80 } else { 0 } | if part + 1 == count { 0x40 } else { 0 };
            packets.push([&[unit[0] & 0xe0 | 28, bits | unit[0] & 0x1f], body].concat());
        }
    }
    for (index, packet) in packets.iter().enumerate() {
        publisher.send(0, index + 1 == packets.len(), timestamp, packet);
    }
    packets.iter().filter(|packet| packet.len() > 1_472).count()
}

/// Publishes a file's pictures over TCP in packets of up to 60 kB while FFmpeg watches.
fn judge_large(server: &Server, over: Over, recipe: &'static Recipe) -> Verdict {
    let url = server.url("/live/large");
    let (client, answer) = Publisher::announce(server.address(), &url, PICTURES);
    answer.expect(200);
    let mut publisher = Publisher::of(client, &url, Over::Tcp);
    publisher.setup(96);
    publisher.client.request("RECORD", &url, &[]).expect(200);
    let pictures = file_nal_units(recipe)?;
    let mut large = 0;
    let played = thread::scope(|scope| {
        let (mut player, began) = (None, Instant::now());
        for (index, picture) in (0..).zip(&pictures) {
            thread::sleep(Duration::from_millis(40 * index).saturating_sub(began.elapsed()));
            large += send_picture(&mut publisher, picture);
            player.get_or_insert_with(|| {
                scope.spawn(|| {
                    let input = ["-rtsp_transport", over.name(), "-buffer_size", "4000000", "-i", &url];
                    keep_and_see(&input, Video::H264, Duration::from_secs(25))
                })
            });
        }
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
        player.map(|player| player.join().unwrap())
    });
    assert!(large > 50, "{large} packets that no datagram holds");
    let played = played.ok_or("the file has no picture")??;
    rest_of("pictures", &source(recipe).pictures.sums, &played.pictures.sums, 0).map(|_| ())
}

fn pictures_in_packets_of_60_kb_are_played_as_they_were(backend: Backend) {
    let server = Server::with(backend).setting("gop_cache", 2).lifetime(Duration::from_secs(120)).start();
    for over in BOTH {
        let verdict = once_more(over, || judge_large(&server, over, Recipe::named("h264_1080p.mp4")));
        assert_eq!(verdict, Ok(()), "{over:?}");
    }
}

on_both_backends!(
    what_ffmpeg_publishes_over_udp_comes_as_it_was,
    what_ffmpeg_publishes_over_tcp_comes_as_it_was,
    what_ffmpeg_publishes_in_packets_that_no_datagram_holds_comes_as_it_was,
    pictures_in_packets_of_60_kb_are_played_as_they_were,
);
