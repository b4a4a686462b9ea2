//! GStreamer, driven by `play.py`: pictures as they leave the depayloader, with the times that it gives them.

use std::fs;
use std::time::Duration;

use super::wiretap::Wiretap;
use super::{all, check, server};
use crate::client::viewer::Over;
use crate::corpus::{Recipe, Video};
use crate::judge::elementary::{Unit, file_pictures, picture_pieces};
use crate::judge::ffmpeg::Scratch;
use crate::judge::{Verdict, run};
use crate::server::{Backend, on_both_backends, scratch};

/// Without pictures in another order, whose times GStreamer's jitter buffer takes for jitter. A keyframe every second.
const FILE: &str = "h264_ip_aac.mp4";

/// The clock rate of the track that is set up.
const CLOCK_RATES: [u32; 1] = [90_000];

/// How far its jitter buffer moves times: it trusts arrival more than it trusts timestamps.
const JITTER_S: f64 = 0.15;

/// Pictures that fit between the begin of a step and its effect.
const STALE_MAX: usize = 6;

/// What happened, in order.
#[derive(Debug)]
enum Event {
    /// A step begins.
    Step(String),
    /// A picture of the file, by its number in decoding order, came with this stream time.
    Came(usize, f64),
    /// The end of the stream.
    Ended,
}

struct Played {
    events: Vec<Event>,
    tap: Wiretap,
}

impl Played {
    /// The number of the keyframe that the last PLAY was granted to begin at; it must lie at or before what was asked.
    fn keyframe(&self) -> Result<usize, String> {
        let (request, answer) = self.tap.met("PLAY").pop().ok_or("no PLAY was met")?;
        let (asked, start) = (request.start().unwrap_or(0.0), crate::playing::start_of(&answer));
        check((0.0..1.0).contains(&(asked - start)), || format!("{asked} s was granted as {start} s"))?;
        check((start - start.round()).abs() < 0.001, || format!("{start} s is no keyframe"))?;
        Ok((start * 25.0).round() as usize)
    }

    /// Numbers and times of the pictures that came between the begin of a step and that of another.
    fn came(&self, from: &str, to: &str) -> Vec<(usize, f64)> {
        let place = |name: &str| {
            self.events.iter().position(|event| matches!(event, Event::Step(step) if step == name))
        };
        let begin = place(from).unwrap_or(0);
        let end = place(to).unwrap_or(self.events.len());
        let events = self.events[begin..end].iter();
        events
            .filter_map(
                |event| if let Event::Came(number, time) = event { Some((*number, *time)) } else { None },
            )
            .collect()
    }
}

/// What comes behind a jump to a picture: datagrams that had come before it may leave the depayloader while the step is
/// being taken.
fn behind_jump(mut pictures: Vec<(usize, f64)>, to: usize) -> Vec<(usize, f64)> {
    let stale = pictures.iter().take(STALE_MAX).position(|picture| picture.0 == to);
    pictures.drain(..stale.unwrap_or(0));
    pictures
}

/// Lets GStreamer take some steps; all must succeed.
fn play(server: &crate::server::Server, over: Over, steps: &[&str]) -> Result<Played, String> {
    let source = file_pictures(Recipe::named(FILE), Video::H264)?;
    let tap = Wiretap::before(server.address());
    let folder = Scratch(scratch("play"));
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/players/play.py");
    let url = tap.url(&format!("/{FILE}"));
    let at = folder.path().display().to_string();
    let words = [program, &url, over.name(), &at];
    let arguments: Vec<_> = words.iter().chain(steps).map(|word| word.to_string()).collect();
    // Debian's own: another Python in the path has no GStreamer.
    let ended = run("/usr/bin/python3", &arguments, Duration::from_secs(40));
    let events = fs::read_to_string(folder.path().join("events")).unwrap_or_default();
    ended.map_err(|problem| {
        format!("{problem}; last events: {:?}", events.lines().rev().take(4).collect::<Vec<_>>())
    })?;
    let bytes = fs::read(folder.path().join("pictures")).unwrap_or_default();
    Ok(Played { events: parse(&events, &bytes, &source)?, tap })
}

fn parse(events: &str, bytes: &[u8], source: &[Unit]) -> Result<Vec<Event>, String> {
    let mut at = 0;
    let mut parsed = Vec::new();
    for line in events.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["step", ..] => parsed.push(Event::Step(words[1..].join(" "))),
            ["came", time, size] => {
                let end = at + size.parse::<usize>().map_err(|error| error.to_string())?;
                let pieces = picture_pieces(Video::H264, &bytes[at..end]);
                at = end;
                let number = source.iter().position(|unit| unit.pieces == pieces);
                let number = number.ok_or_else(|| format!("a picture at {time} is not one of the file"))?;
                let time = time.parse().map_err(|_| format!("picture {number} has no time"))?;
                parsed.push(Event::Came(number, time));
            }
            ["sought", "False"] => return Err("a seek was refused".into()),
            ["eos"] => parsed.push(Event::Ended),
            ["error", ..] => return Err(line.to_owned()),
            _ => {}
        }
    }
    check(matches!(parsed.last(), Some(Event::Ended)), || "the stream has not ended last".into())?;
    Ok(parsed)
}

/// Checks that these are the pictures from `first` to `last`, none missing, at the file's times but for a constant.
fn whole(pictures: &[(usize, f64)], first: usize, last: usize, tolerance: f64) -> Verdict {
    let numbers: Vec<_> = pictures.iter().map(|picture| picture.0).collect();
    check(numbers.iter().copied().eq(first..=last), || {
        format!("pictures {numbers:?}, not {first} to {last}")
    })?;
    let off = pictures.iter().find(|(number, time)| (*number as f64 / 25.0 - time).abs() > tolerance);
    off.map_or(Ok(()), |(number, time)| Err(format!("picture {number} has the time {time} s")))
}

fn pause_stops_the_packets_and_play_goes_on_without_a_gap(backend: Backend) {
    let server = server(backend, 1);
    all(&["once"], |_, over| {
        let played = play(
            &server,
            over,
            &["play", "pictures 15", "pause", "play", "pictures 15", "pause", "play", "end"],
        )?;
        whole(&played.came("", "none"), 0, 74, JITTER_S)?;
        let methods = played.tap.methods().join(" ");
        let wanted = "DESCRIBE SETUP PLAY PAUSE PLAY PAUSE PLAY";
        check(methods.starts_with(wanted), || format!("asked for {methods}"))?;
        if over == Over::Tcp {
            played.tap.check_packets(&CLOCK_RATES)?;
            played.tap.check_silence_while_paused()?;
        }
        Ok(())
    });
}

fn a_seek_begins_at_the_keyframe_before_the_point(backend: Backend) {
    let server = server(backend, 1);
    let ways: [&[&str]; 4] = [
        &["play", "pictures 15", "seek 1.5", "end"],
        &["play", "pictures 60", "seek 1.5", "end"],
        &["play", "pictures 10", "pause", "seek 1.5", "play", "end"],
        &["play", "pictures 10", "seek 2.5", "pictures 5", "pause", "seek 0.3", "seek 1.5", "play", "end"],
    ];
    all(&ways, |steps, over| {
        let played = play(&server, over, steps)?;
        let (request, answer) =
            played.tap.met("PLAY").into_iter().rfind(|(r, _)| r.start().is_some()).ok_or("no seek")?;
        check(request.start() == Some(1.5), || format!("asked for {request:?}"))?;
        let start = crate::playing::start_of(&answer);
        check((start - 1.0).abs() < 0.001, || format!("1.5 s was granted as {start} s"))?;
        if over == Over::Tcp {
            played.tap.check_packets(&CLOCK_RATES)?;
            played.tap.check_silence_while_paused()?;
        }
        whole(&behind_jump(played.came("seek 1.5", "none"), 25), 25, 74, JITTER_S)
    });
}

fn at_double_scale_every_picture_comes_in_half_the_time(backend: Backend) {
    let server = server(backend, 1);
    all(&["scale 2.0", "speed 2.0"], |step, over| {
        let played = play(&server, over, &["play", "pictures 30", step, "end"])?;
        let (name, value) = if step.starts_with("scale") { ("Scale", "2") } else { ("Speed", "2") };
        let (request, answer) = played.tap.met("PLAY").pop().ok_or("no PLAY was met")?;
        check(request.header(name) == Some(value), || format!("asked for {request:?}"))?;
        check(answer.header(name) == Some("2.0"), || format!("granted {answer:?}"))?;
        let keyframe = played.keyframe()?;
        whole(&behind_jump(played.came(step, "none"), keyframe), keyframe, 74, f64::MAX)?;
        if over == Over::Tcp {
            played.tap.check_packets(&CLOCK_RATES)?;
            let (span, took) = played.tap.last_stretch(CLOCK_RATES[0]);
            let length = (74 - keyframe) as f64 / 25.0;
            let wanted = if name == "Scale" { length / 2.0 } else { length };
            check((span - wanted).abs() < 0.01, || format!("timestamps advance by {span} s, not {wanted}"))?;
            check((length * 0.35..length * 0.95).contains(&took), || format!("{length} s took {took}"))?;
        }
        Ok(())
    });
}

fn at_high_scale_keyframes_come_alone(backend: Backend) {
    let server = server(backend, 1);
    all(&["scale 4.0", "scale 16.0"], |step, over| {
        let played = play(&server, over, &["play", "pictures 8", step, "end"])?;
        let (request, answer) = played.tap.met("PLAY").pop().ok_or("no PLAY was met")?;
        let wanted = step.trim_start_matches("scale ");
        check(request.header("Scale").is_some_and(|scale| wanted.starts_with(scale)), || {
            format!("asked for {request:?}")
        })?;
        check(answer.header("Scale") == Some(wanted), || format!("granted {answer:?}"))?;
        let pictures = behind_jump(played.came(step, "none"), 0);
        let numbers: Vec<_> = pictures.iter().map(|picture| picture.0).collect();
        check(numbers == [0, 25, 50], || format!("pictures {numbers:?}"))
    });
}

fn normal_pace_after_a_fast_one_misses_nothing(backend: Backend) {
    let server = server(backend, 1);
    all(&["once"], |_, over| {
        let played =
            play(&server, over, &["play", "pictures 5", "scale 2.0", "pictures 10", "scale 1.0", "end"])?;
        let keyframe = played.keyframe()?;
        whole(&behind_jump(played.came("scale 1.0", "none"), keyframe), keyframe, 74, f64::MAX)?;
        if over == Over::Tcp { played.tap.check_packets(&CLOCK_RATES) } else { Ok(()) }
    });
}

fn a_looped_file_is_one_long_file(backend: Backend) {
    for plays in [2, 3] {
        let server = server(backend, plays);
        all(&["once"], |_, over| {
            let played = play(&server, over, &["play", "end"])?;
            let pictures = played.came("", "none");
            let numbers: Vec<_> = pictures.iter().map(|picture| picture.0).collect();
            let wanted = (0..plays).flat_map(|_| 0..75);
            check(numbers.iter().copied().eq(wanted), || format!("pictures {numbers:?}"))?;
            for pair in pictures.windows(2) {
                let step = pair[1].1 - pair[0].1;
                // Only growing: when a machine stands still for a while, the jitter buffer moves what follows.
                check(step >= 0.0, || format!("{step} s from {:?} to {:?}", pair[0], pair[1]))?;
            }
            if over == Over::Tcp { played.tap.check_packets(&CLOCK_RATES) } else { Ok(()) }
        });
    }
}

fn a_seek_to_the_very_end_is_an_end_and_not_an_error(backend: Backend) {
    let server = server(backend, 1);
    all(&["seek 2.999", "seek 3.0"], |step, over| {
        let played = play(&server, over, &["play", "pictures 10", step, "end"])?;
        let (request, _) = played.tap.met("PLAY").pop().ok_or("no PLAY was met")?;
        check(request.start().is_some_and(|start| start > 2.9), || format!("asked for {request:?}"))
    });
}

on_both_backends!(;
    "ffmpeg":
    pause_stops_the_packets_and_play_goes_on_without_a_gap,
    a_seek_begins_at_the_keyframe_before_the_point,
    at_double_scale_every_picture_comes_in_half_the_time,
    at_high_scale_keyframes_come_alone,
    normal_pace_after_a_fast_one_misses_nothing,
    a_looped_file_is_one_long_file,
    a_seek_to_the_very_end_is_an_end_and_not_an_error,
);
