//! The `ffmpeg` program: `-ss` before `-i` sends PAUSE and PLAY with a `Range` once it knows the streams.

use std::time::Duration;

use super::wiretap::Wiretap;
use super::{all, check, server};
use crate::client::viewer::Over;
use crate::corpus::{Recipe, SECONDS};
use crate::judge::ffmpeg::{Seen, loses_first_time, see, source};
use crate::judge::{Verdict, constant, same};
use crate::server::{Backend, on_both_backends};

/// Files with a keyframe every second that can be decoded from each of them on.
const FILES: &[&str] = &[
    "h264_aac.mp4",
    "h264_opus.mkv",
    "h264_aac.ts",
    "h264_aac.flv",
    "h264_late.mkv",
    "h265_ip_aac.mp4",
    "vp8_opus.webm",
];

/// Pictures or packets that FFmpeg may have left in its sockets: about a second of them.
const STALE_MAX: usize = 50;

const PICTURES_A_SECOND: usize = 25;

/// FFmpeg asks for some pictures less than it was told: 0.13 s.
const POINTS: &[&str] = &["0.7", "1.6", "2.9"];

/// Plays through a tap with further arguments in front of the input.
fn play(tap: &Wiretap, over: Over, arguments: &[&str], recipe: &Recipe) -> Result<Seen, String> {
    let url = tap.url(&format!("/{}", recipe.name));
    let common = ["-copyts", "-rtsp_transport", over.name(), "-buffer_size", "4000000", "-i", &url];
    let input: Vec<_> = arguments.iter().copied().chain(common).collect();
    see(&input, recipe, Duration::from_secs(u64::from(SECONDS) * 4 + 15))
}

/// Clock rates of a recipe's tracks.
fn clock_rates(recipe: &Recipe) -> Vec<u32> {
    let arguments = recipe.audio.map_or("", |(_, arguments)| arguments);
    vec![90_000, if arguments.contains("44100") { 44_100 } else { 48_000 }]
}

fn a_seek_begins_with_the_picture_of_the_keyframe_and_goes_on_to_the_last(backend: Backend) {
    let server = server(backend, 1);
    let cases: Vec<_> =
        FILES.iter().flat_map(|file| POINTS.iter().map(move |point| (*file, *point))).collect();
    all(&cases, |(file, point), over| {
        let recipe = Recipe::named(file);
        let tap = Wiretap::before(server.address());
        let played = play(&tap, over, &["-noaccurate_seek", "-ss", point], recipe)?;
        let methods = tap.methods_to_teardown().join(" ");
        check(methods == "DESCRIBE SETUP SETUP PLAY PAUSE PLAY TEARDOWN", || format!("asked for {methods}"))?;
        let (request, answer) = tap.met("PLAY").pop().ok_or("no PLAY was met")?;
        let asked = request.start().ok_or("PLAY without a Range")?;
        let start = crate::playing::start_of(&answer);
        let keyframe = asked.floor();
        check(start <= asked && (start - keyframe).abs() < 0.1, || {
            format!("{asked} s was granted as {start} s")
        })?;
        if over == Over::Tcp {
            tap.check_packets(&clock_rates(recipe))?;
        }
        let played = if over == Over::Udp { without_stale(played, recipe) } else { played };
        compare(recipe, &played, keyframe as usize)
    });
}

/// Leaves out what FFmpeg had not read from its sockets when it sent PAUSE: it reads that behind the seek.
fn without_stale(mut played: Seen, recipe: &'static Recipe) -> Seen {
    let source = source(recipe);
    for (played, source) in [(&mut played.pictures, &source.pictures), (&mut played.packets, &source.packets)]
    {
        let stale = (0..STALE_MAX)
            .find(|stale| source.sums.ends_with(&played.sums[(*stale).min(played.sums.len())..]));
        played.sums.drain(..stale.unwrap_or(0));
        played.times.drain(..stale.unwrap_or(0));
    }
    played
}

/// Compares what was played from a keyframe on with the rest of the file.
fn compare(recipe: &'static Recipe, played: &Seen, keyframe: usize) -> Verdict {
    let source = source(recipe);
    let at = keyframe * PICTURES_A_SECOND;
    same("pictures", &source.pictures.sums[at..], &played.pictures.sums)?;
    check(!played.packets.sums.is_empty() && source.packets.sums.ends_with(&played.packets.sums), || {
        let number = |sum: &String| source.packets.sums.iter().position(|other| other == sum);
        let numbers: Vec<_> = played.packets.sums.iter().map(number).collect();
        format!("packets of sound are not the last ones of {}: {numbers:?}", source.packets.sums.len())
    })?;
    let skipped = usize::from(recipe.video.is_some_and(|(video, _)| loses_first_time(video)));
    let times = &played.pictures.times[skipped..];
    let pictures = constant("picture", &source.pictures.times[at + skipped..], times, 2.0 / 90_000.0)?;
    // Time counts from the start of the file, where nothing or half a group of reordered pictures is late.
    let first = source.pictures.times[0] + pictures;
    check((-0.01..0.15).contains(&first), || format!("the file would have begun at {first} s"))?;
    let from = source.packets.sums.len() - played.packets.sums.len();
    let sound = constant("packet", &source.packets.times[from..], &played.packets.times, 2.0 / 44_100.0)?;
    check((pictures - sound).abs() < 0.002, || {
        format!("sound moved by {sound} s, pictures by {pictures} s")
    })?;
    let begins = played.packets.times[0] - keyframe as f64;
    check((-0.5..0.5).contains(&begins), || format!("sound begins {begins} s behind the keyframe"))
}

fn a_looped_file_is_one_long_file(backend: Backend) {
    for plays in [2, 3] {
        let server = server(backend, plays);
        let files = ["h264_aac.mp4", "h264_opus.mkv", "h264_aac.ts", "vp8_opus.webm"];
        all(&files, |file, over| {
            let recipe = Recipe::named(file);
            let tap = Wiretap::before(server.address());
            let played = play(&tap, over, &[], recipe)?;
            if over == Over::Tcp {
                tap.check_packets(&clock_rates(recipe))?;
            }
            compare_plays(recipe, &played, plays as usize)
        });
    }
}

/// Compares with the file `plays` times over on one timeline.
fn compare_plays(recipe: &'static Recipe, played: &Seen, plays: usize) -> Verdict {
    let source = source(recipe);
    let times_over = |sums: &[String]| vec![sums; plays].concat();
    same("pictures", &times_over(&source.pictures.sums), &played.pictures.sums)?;
    same("packets of sound", &times_over(&source.packets.sums), &played.packets.sums)?;
    for (what, source, played, tick) in [
        ("picture", &source.pictures, &played.pictures, 90_000.0),
        ("packet", &source.packets, &played.packets, 44_100.0),
    ] {
        let count = source.times.len();
        for (number, times) in played.times.chunks(count).enumerate() {
            let skipped = usize::from(number == 0);
            constant(what, &source.times[skipped..], &times[skipped..], 4.0 / tick)
                .map_err(|problem| format!("play {number}: {problem}"))?;
        }
        // What ends first waits for the rest of the file.
        let steps = played.times[1..].windows(2).map(|pair| pair[1] - pair[0]);
        let (least, most) = steps.fold((f64::MAX, f64::MIN), |(a, b), step| (a.min(step), b.max(step)));
        check(least > 0.0 && most < 0.25, || format!("from one {what} to the next {least} to {most} s"))?;
    }
    Ok(())
}

fn a_seek_to_the_very_end_is_an_end_and_not_an_error(backend: Backend) {
    let server = server(backend, 1);
    // What FFmpeg takes off makes this the end that the description tells.
    all(&["h264_aac.mp4", "h264_opus.mkv"], |file, over| {
        let recipe = Recipe::named(file);
        let tap = Wiretap::before(server.address());
        let played = play(&tap, over, &["-ss", "3.14"], recipe)?;
        let (request, _) = tap.met("PLAY").pop().ok_or("no PLAY was met")?;
        let asked = request.start().ok_or("PLAY without a Range")?;
        check(asked > 2.95, || format!("asked for {asked} s"))?;
        check(played.pictures.sums.len() <= 4, || format!("{} pictures", played.pictures.sums.len()))
    });
}

on_both_backends!(;
    "ffmpeg":
    a_seek_begins_with_the_picture_of_the_keyframe_and_goes_on_to_the_last,
    a_looped_file_is_one_long_file,
    a_seek_to_the_very_end_is_an_end_and_not_an_error,
);
