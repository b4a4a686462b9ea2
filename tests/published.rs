//! What real publishers send comes to a real player as it lies in the file, from a keyframe to the last frame.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::viewer::Over;
use crate::corpus::{Audio, Recipe, Video, folder};
use crate::judge::ffmpeg::{Scratch, Seen, see, source};
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
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Publishing(command.spawn().unwrap())
}

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

/// Items of sound that FFmpeg keeps at its end: its payloaders never send a packet that is not full
/// (`ff_rtp_send_aac`, `rtp_send_samples`).
const KEPT_PACKETS_MAX: usize = 10;
const KEPT_BYTES_MAX: usize = 1_500;

/// Judges again what failed over UDP: programs that a busy machine holds up lose datagrams.
pub(crate) fn once_more(over: Over, judge: impl Fn() -> Verdict) -> Verdict {
    let verdict = judge();
    match (&verdict, over) {
        (Err(problem), Over::Udp) => {
            println!("once more: {problem}");
            judge()
        }
        _ => verdict,
    }
}

/// Watches `url` and compares what comes with the rest of the file, from some keyframe on.
pub(crate) fn watch(url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    // Lip sync: within the publisher's own rounding of its wall clock.
    watch_within(0.02, url, over, recipe)
}

/// The same with sound that may be moved against the pictures by so many seconds.
pub(crate) fn watch_within(lips_s: f64, url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    let folder = Scratch(scratch("published"));
    let heard = folder.file("sound");
    let mut input = vec!["-copyts", "-rtsp_transport", over.name(), "-buffer_size", "4000000", "-i", url];
    let is_sampled = recipe.audio.is_some_and(|(audio, _)| audio.is_sampled());
    if is_sampled {
        // As it comes: a decoder that begins in the middle gives other samples.
        input.extend("-map 0:a:0 -c copy -f data".split(' ').chain([heard.as_str()]));
    }
    let played = see(&input, recipe, Duration::from_secs(25))?;
    let source = source(recipe);
    let pictures = rest_of("pictures", &source.pictures.sums, &played.pictures.sums, 0)?;
    let sound = rest_of("packets of sound", &source.packets.sums, &played.packets.sums, KEPT_PACKETS_MAX)?;
    if is_sampled {
        let file = folder.file("file");
        let path = recipe.path();
        let arguments = ["-v", "error", "-i", path.to_str().unwrap(), "-map", "0:a:0", "-c", "copy"];
        let arguments = arguments.into_iter().chain(["-f", "data", &file]).map(str::to_owned);
        judge::run("ffmpeg", &arguments.collect::<Vec<_>>(), Duration::from_secs(20))?;
        let read = |path: &str| fs::read(path).map_err(|error| error.to_string());
        rest_of("bytes of sound", &read(&file)?, &read(&heard)?, KEPT_BYTES_MAX)?;
    }
    times_alike(lips_s, &source, &played, pictures, sound)
}

/// How many items of the source came before the first that was played. Of those that follow at most `kept` may be
/// missing at the end; at least a third of all must have come.
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
    if played.len() * 3 < source.len() {
        return Err(format!("only {counts} came"));
    }
    let last = source.len() - played.len();
    let start = (last.saturating_sub(kept)..=last).rev().find(|start| source[*start..].starts_with(played));
    start.ok_or_else(|| format!("{counts} are not the rest of the file"))
}

/// Whether times differ from the file's by one constant, the same for pictures and sound.
fn times_alike(lips_s: f64, source: &Seen, played: &Seen, pictures: usize, sound: usize) -> Verdict {
    // FFmpeg gives the first packet of some formats no time of its own, and guesses the times of frames that share it.
    let behind = |times: &[f64], from: usize| times.get(from..).unwrap_or_default().to_vec();
    let (wanted, found) = (behind(&source.pictures.times, pictures + 1), behind(&played.pictures.times, 1));
    let shown = constant("picture", &wanted, &found, 0.001)?;
    let (wanted, found) = (behind(&source.packets.times, sound + 5), behind(&played.packets.times, 5));
    let heard = constant("packet", &wanted, &found, 0.001)?;
    let has_both = played.pictures.times.len() > 1 && played.packets.times.len() > 5;
    if has_both && (shown - heard).abs() > lips_s {
        return Err(format!("sound is moved by {heard:.6} s, pictures by {shown:.6} s"));
    }
    Ok(())
}

fn by_ffmpeg(backend: Backend, over: Over) {
    let server = Server::with(backend).setting("gop_cache", 2).lifetime(Duration::from_secs(600)).start();
    let files: Vec<_> = FILES.iter().map(|name| Recipe::named(name)).collect();
    judge::all(&files, |recipe| {
        let url = server.url(&format!("/live/{}", recipe.name));
        let file = folder().join(recipe.name);
        let arguments = format!(
            "-v error -re -i {} -c copy -strict experimental -f rtsp -rtsp_transport {} {url}",
            file.display(),
            over.name()
        );
        once_more(over, || {
            let _publishing = spawn("ffmpeg", &arguments);
            await_stream(&server, &url)?;
            watch(&url, over, recipe)
        })
    });
}

/// How GStreamer reads a file for its publisher.
fn elements(recipe: &Recipe) -> String {
    let demuxer = if recipe.name.ends_with(".mp4") { "qtdemux" } else { "matroskademux" };
    let video = match recipe.video {
        Some((Video::H264, _)) => "d.video_0 ! queue ! h264parse ! s.",
        Some((Video::H265, _)) => "d.video_0 ! queue ! h265parse ! s.",
        _ => "",
    };
    let audio = match recipe.audio {
        Some((Audio::Aac, _)) => "d.audio_0 ! queue ! aacparse ! s.",
        Some((Audio::Opus, _)) => "d.audio_0 ! queue ! opusparse ! s.",
        _ => "",
    };
    format!("{demuxer} name=d {video} {audio}")
}

fn by_gstreamer(backend: Backend, over: Over) {
    // Its publisher closes the connection without TEARDOWN, and at times stays when it has sent everything.
    let server = Server::with(backend)
        .setting("gop_cache", 2)
        .setting("source_grace_s", 1)
        .lifetime(Duration::from_secs(600))
        .start();
    let files = ["h264_ip_aac.mp4", "h265_ip_aac.mp4", "h264_opus.mkv"].map(Recipe::named);
    judge::all(&files, |recipe| {
        let url = server.url(&format!("/live/{}", recipe.name));
        let file = folder().join(recipe.name);
        let arguments = format!(
            "12 gst-launch-1.0 -q rtspclientsink name=s protocols={} location={url} filesrc location={} ! {}",
            over.name(),
            file.display(),
            elements(recipe)
        );
        once_more(over, || {
            let _publishing = spawn("timeout", &arguments);
            await_stream(&server, &url)?;
            let input = ["-rtsp_transport", over.name(), "-buffer_size", "4000000", "-i", &url];
            let played = see(&input, recipe, Duration::from_secs(25))?;
            // Its payloader may repeat parameter sets; pictures are what they were.
            rest_of("pictures", &source(recipe).pictures.sums, &played.pictures.sums, 0).map(|_| ())
        })
    });
}

fn what_ffmpeg_publishes_over_udp_comes_as_it_was(backend: Backend) {
    by_ffmpeg(backend, Over::Udp);
}

fn what_ffmpeg_publishes_over_tcp_comes_as_it_was(backend: Backend) {
    by_ffmpeg(backend, Over::Tcp);
}

fn what_gstreamer_publishes_over_udp_comes_as_it_was(backend: Backend) {
    by_gstreamer(backend, Over::Udp);
}

fn what_gstreamer_publishes_over_tcp_comes_as_it_was(backend: Backend) {
    by_gstreamer(backend, Over::Tcp);
}

on_both_backends!(
    what_ffmpeg_publishes_over_udp_comes_as_it_was,
    what_ffmpeg_publishes_over_tcp_comes_as_it_was,
    what_gstreamer_publishes_over_udp_comes_as_it_was,
    what_gstreamer_publishes_over_tcp_comes_as_it_was,
);
