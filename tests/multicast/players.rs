//! Real players that listen to groups, and what they must have heard.

use std::time::Duration;

use super::FILE;
use crate::corpus::{Recipe, folder};
use crate::judge::ffmpeg::{Scratch, see, source, words};
use crate::judge::{Turn, Verdict, run};
use crate::published::{Publishing, await_stream, spawn};
use crate::server::{Server, scratch};

/// Pictures that a player is shown: more than the file has.
const PICTURES: usize = 110;

/// Whether what was played is a run of what repeats without end; from its beginning on, or from anywhere.
fn is_run(what: &str, source: &[String], played: &[String], from: Option<usize>, least: usize) -> Verdict {
    // The one at which a player was stopped may not be whole.
    let played = &played[..played.len().saturating_sub(1)];
    if played.len() < least {
        return Err(format!("only {} {what}", played.len()));
    }
    let starts = from.map_or(0..source.len(), |from| from..from + 1);
    let fits = |start: &usize| played.iter().eq(source.iter().cycle().skip(*start).take(played.len()));
    let longest = |start: usize| {
        played
            .iter()
            .zip(source.iter().cycle().skip(start))
            .take_while(|(played, source)| played == source)
            .count()
    };
    let best = starts.clone().map(longest).max().unwrap_or_default();
    starts
        .clone()
        .find(fits)
        .map(|_| ())
        .ok_or_else(|| format!("{best} of {} {what} follow each other", played.len()))
}

/// Plays by FFmpeg for longer than the file lasts.
pub(crate) fn by_ffmpeg(url: &str, from: Option<usize>) -> Verdict {
    let recipe = Recipe::named(FILE);
    let _turn = Turn::wait();
    let input =
        ["-copyts", "-rtsp_transport", "udp_multicast", "-buffer_size", "4000000", "-t", "4.6", "-i", url];
    let played = see(&input, recipe, Duration::from_secs(30))?;
    let source = source(recipe);
    is_run("pictures", &source.pictures.sums, &played.pictures.sums, from, 80)?;
    is_run("packets of sound", &source.packets.sums, &played.packets.sums, from, 100)
}

/// Plays by GStreamer for longer than the file lasts.
pub(crate) fn by_gstreamer(url: &str, from: Option<usize>) -> Verdict {
    let recipe = Recipe::named(FILE);
    let folder = Scratch(scratch("gstreamer"));
    let _turn = Turn::wait();
    let mut arguments =
        words("-q rtspsrc latency=300 drop-on-latency=false udp-buffer-size=4000000 protocols=udp-mcast");
    arguments.push(format!("location={url}"));
    arguments.extend(words("! application/x-rtp,media=video ! queue max-size-buffers=0 ! rtph264depay"));
    arguments.extend(words("! video/x-h264,stream-format=byte-stream,alignment=au"));
    arguments.extend(words(&format!(
        "! identity eos-after={PICTURES} ! filesink location={}",
        folder.file("video")
    )));
    if let Err(problem) = run("gst-launch-1.0", &arguments, Duration::from_secs(30)) {
        // Behind the end rtspsrc asks for PAUSE, which a file in multicast has not, or at times fails to ask for it. What
        // came before that is judged below.
        if !problem.contains("(455)") && !problem.contains("gst_rtspsrc_pause") {
            return Err(problem);
        }
    }
    let kept = folder.file("video");
    let pictures_alone = Recipe { audio: None, ..*recipe };
    let played = see(&["-f", "h264", "-i", &kept], &pictures_alone, Duration::from_secs(30))?;
    is_run("pictures", &source(recipe).pictures.sums, &played.pictures.sums, from, PICTURES - 20)
}

/// Judges again what failed: programs that a busy machine holds up lose datagrams.
pub(crate) fn once_more(judge: impl Fn() -> Verdict) -> Verdict {
    judge().or_else(|problem| {
        println!("once more: {problem}");
        judge()
    })
}

/// Has FFmpeg publish the file again and again, and waits until it is there.
pub(crate) fn publish(server: &Server, path: &str) -> Publishing {
    let (file, url) = (folder().join(FILE), server.url(path));
    let input = format!("-v error -re -stream_loop -1 -i {}", file.display());
    let publishing = spawn("ffmpeg", &format!("{input} -c copy -f rtsp -rtsp_transport tcp {url}"));
    await_stream(server, &url).unwrap();
    publishing
}
