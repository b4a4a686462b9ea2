//! GStreamer as publisher and as player.

use std::time::Duration;

use super::{
    Accuracy, PACKET_BYTES, Publishing, await_stream, once_more, plays, rest_of, sending, spawn, watch_as,
};
use crate::client::viewer::Over;
use crate::corpus::{Audio, Recipe, SECONDS, Video, folder};
use crate::judge::ffmpeg::{Scratch, words};
use crate::judge::gstreamer::{self, Content, Until};
use crate::judge::{self, Verdict};
use crate::server::{Backend, Server, on_both_backends, scratch};

/// What GStreamer can send.
const FILES_OF_GSTREAMER: [&str; 10] = [
    "h264_ip_aac.mp4",
    "h265_ip_aac.mp4",
    "h264_opus.mkv",
    "h264_pcma.mkv",
    "mpeg4_aac.mp4",
    "jpeg_pcmu.mov",
    "jpeg_g722.mkv",
    "vp8_opus.webm",
    "vp9_opus.webm",
    "g726_32.wav",
];

/// Pictures that GStreamer has not passed on when the connection closes: its jitter buffer keeps 200 ms.
const HELD_PICTURES_MAX: usize = 6;

/// The same of sound, and what FFmpeg keeps.
const HELD_PACKETS_MAX: usize = 24;
const HELD_BYTES_MAX: usize = 4_000;

/// What GStreamer watches of what FFmpeg sends.
const FILES_TO_GSTREAMER: [&str; 10] = [
    "h264_ip_aac.mp4",
    "h265_ip_aac.mp4",
    "mpeg4_aac.mp4",
    "jpeg_pcmu.mov",
    "jpeg_g722.mkv",
    "h264_pcma.mkv",
    "vp8_opus.webm",
    "vp9_opus.webm",
    "g726_32.wav",
    "g726_32.au",
];

fn to_gstreamer(backend: Backend, over: Over) {
    let server = Server::with(backend).setting("gop_cache", 2).lifetime(Duration::from_secs(600)).start();
    judge::all(&FILES_TO_GSTREAMER.map(Recipe::named), |recipe| {
        let url = server.url(&format!("/live/{}", recipe.name));
        watch_by_gstreamer(&url, over.name(), recipe, || {
            let publishing = spawn("ffmpeg", &sending(recipe, over, &url));
            await_stream(&server, &url).map(|()| publishing)
        })
    });
}

/// Has GStreamer watch what is published anew for each of its tries, to the end.
pub(crate) fn watch_by_gstreamer(
    url: &str,
    protocols: &str,
    recipe: &'static Recipe,
    publish: impl Fn() -> Result<Publishing, String>,
) -> Verdict {
    let mut verdict = Ok(());
    for _ in 0..gstreamer::RUNS_MAX {
        let _publishing = publish()?;
        verdict = match gstreamer::played(url, protocols, recipe, Until::TheEnd) {
            Ok(None) => Err("GStreamer has lost its race".to_owned()),
            Ok(Some(content)) => is_rest_of(recipe, &content),
            Err(problem) => Err(problem),
        };
        if verdict.is_ok() {
            break;
        }
        println!("{} over {protocols}, once more: {verdict:?}", recipe.name);
    }
    verdict
}

fn is_rest_of(recipe: &'static Recipe, played: &Content) -> Verdict {
    let source = gstreamer::content(recipe)?;
    rest_of("pictures", &source.pictures, &played.pictures, HELD_PICTURES_MAX)?;
    rest_of("packets of sound", &source.packets, &played.packets, HELD_PACKETS_MAX)?;
    rest_of("bytes of sound", &source.samples.repeat(plays(recipe)), &played.samples, HELD_BYTES_MAX)?;
    Ok(())
}

/// How GStreamer reads a file for its publisher.
fn elements(recipe: &Recipe) -> String {
    if recipe.video.is_none() {
        return "wavparse ! s.".into();
    }
    let is_of_quicktime = recipe.name.ends_with(".mp4") || recipe.name.ends_with(".mov");
    let demuxer = if is_of_quicktime { "qtdemux" } else { "matroskademux" };
    let video = match recipe.video {
        Some((Video::H264, _)) => "d.video_0 ! queue ! h264parse ! s.",
        Some((Video::H265, _)) => "d.video_0 ! queue ! h265parse ! s.",
        Some((Video::Mpeg4, _)) => "d.video_0 ! queue ! mpeg4videoparse ! s.",
        Some((Video::Jpeg, _)) => "d.video_0 ! queue ! jpegparse ! s.",
        Some((Video::Vp8 | Video::Vp9, _)) => "d.video_0 ! queue ! s.",
        _ => "",
    };
    let audio = match recipe.audio {
        Some((Audio::Aac, _)) => "d.audio_0 ! queue ! aacparse ! s.",
        Some((Audio::Opus, _)) => "d.audio_0 ! queue ! opusparse ! s.",
        Some((Audio::Alaw | Audio::Mulaw | Audio::G722, _)) => "d.audio_0 ! queue ! s.",
        _ => "",
    };
    format!("{demuxer} name=d {video} {audio}")
}

/// The file, or as many of it behind each other as are sent.
fn repeated(recipe: &Recipe, scratch: &Scratch) -> Result<String, String> {
    let path = folder().join(recipe.name).display().to_string();
    if plays(recipe) == 1 {
        return Ok(path);
    }
    let file = scratch.file(recipe.name);
    let arguments = format!("-v error -stream_loop {} -i {path} -c copy {file}", plays(recipe) - 1);
    judge::run("ffmpeg", &words(&arguments), Duration::from_secs(20))?;
    Ok(file)
}

/// Its publisher sends its first reports after a second or two: until then tracks lie where their first packets came,
/// and the reports move them.
const BY_ARRIVAL: Accuracy = Accuracy { times_s: 0.13, lips_s: 0.13 };

fn by_gstreamer(backend: Backend, over: Over) {
    // Its publisher closes the connection without TEARDOWN, and at times stays when it has sent everything.
    let server = Server::with(backend)
        .setting("gop_cache", 2)
        .setting("source_grace_s", 1)
        .lifetime(Duration::from_secs(600))
        .start();
    judge::all(&FILES_OF_GSTREAMER.map(Recipe::named), |recipe| {
        let url = server.url(&format!("/live/{}", recipe.name));
        let scratch = Scratch(scratch("repeated"));
        let file = repeated(recipe, &scratch)?;
        let arguments = format!(
            "-k 1 {} gst-launch-1.0 -q rtspclientsink name=s protocols={} location={url} filesrc location={file} ! {}",
            // Some seconds more than it takes. Told to end, it hangs at times.
            9 + SECONDS * plays(recipe) as u32 * 4 / 5,
            over.name(),
            elements(recipe)
        );
        once_more(over, || {
            let _publishing = spawn("timeout", &arguments);
            await_stream(&server, &url)?;
            watch_as(BY_ARRIVAL, PACKET_BYTES, &url, over.name(), recipe)
        })
    });
}

fn what_ffmpeg_publishes_over_udp_comes_to_gstreamer(backend: Backend) {
    to_gstreamer(backend, Over::Udp);
}

fn what_ffmpeg_publishes_over_tcp_comes_to_gstreamer(backend: Backend) {
    to_gstreamer(backend, Over::Tcp);
}

fn what_gstreamer_publishes_over_udp_comes_as_it_was(backend: Backend) {
    by_gstreamer(backend, Over::Udp);
}

fn what_gstreamer_publishes_over_tcp_comes_as_it_was(backend: Backend) {
    by_gstreamer(backend, Over::Tcp);
}

on_both_backends!(
    what_ffmpeg_publishes_over_udp_comes_to_gstreamer,
    what_ffmpeg_publishes_over_tcp_comes_to_gstreamer,
    what_gstreamer_publishes_over_udp_comes_as_it_was,
    what_gstreamer_publishes_over_tcp_comes_as_it_was,
);
