//! GStreamer as a client of ONVIF: its rtspsrc asks by the words of the specification, its rtponvifparse reads them.

use std::fs;
use std::time::Duration;

use super::{BEGAN_S, FILM, decoded, folder, of_type, server};
use crate::client::viewer::BOTH;
use crate::judge::ffmpeg::{Scratch, words};
use crate::judge::{Verdict, run, same};
use crate::server::{Backend, Server, on_both_backends, scratch};

on_both_backends!(;
    "ffmpeg":
    forward_gets_every_picture,
    backward_gets_every_group,
    some_of_the_pictures,
);

/// What GStreamer was given.
struct Given {
    /// Numbers of the pictures by the times at which they were recorded.
    numbers: Vec<i64>,
    /// Those that follow a discontinuity.
    discontinuous: Vec<i64>,
    /// Those that are clean points.
    keys: Vec<i64>,
    /// The numbers of those that leave the depayloader, by the times that it gives them.
    pictures: Vec<i64>,
    /// Their coded slices.
    slices: Vec<Vec<u8>>,
}

fn replay(
    server: &Server,
    over: &str,
    rate: &str,
    from: f64,
    to: f64,
    frames: &str,
) -> Result<Given, String> {
    let folder = Scratch(scratch("replay"));
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replay/replay.py");
    let place = folder.path().display().to_string();
    let (from, to) = (format!("{:.3}", BEGAN_S + from), format!("{:.3}", BEGAN_S + to));
    let url = server.url(FILM);
    let arguments = [program, &url, over, &place, rate, &from, &to, frames].map(str::to_owned);
    // Debian's own: another Python in the path has no GStreamer.
    run("/usr/bin/python3", &arguments, Duration::from_secs(30))?;
    let written = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let (events, times) = (written("events"), written("times"));
    let number = |line: &str| -> Option<i64> {
        let seconds: f64 = line.split(' ').next()?.parse().ok()?;
        Some(((seconds - BEGAN_S) * 25.0).round() as i64)
    };
    let with = |word: &str| {
        events.lines().filter(|line| line.split(' ').any(|other| other == word)).filter_map(number).collect()
    };
    Ok(Given {
        numbers: events.lines().filter_map(number).collect(),
        discontinuous: with("discont"),
        keys: with("key"),
        pictures: times.lines().filter_map(number).collect(),
        slices: slices(&fs::read(folder.path().join("pictures")).unwrap_or_default()),
    })
}

/// The slices of a byte stream, one a picture.
fn slices(bytes: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<_> =
        bytes.windows(3).enumerate().filter(|(_, code)| *code == [0, 0, 1]).map(|(at, _)| at + 3).collect();
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([bytes.len()]);
    let units = starts.iter().zip(ends).map(|(start, end)| &bytes[*start..end]);
    let units = units.filter(|unit| unit.first().is_some_and(|kind| matches!(kind & 0x1f, 1 | 5)));
    // Zeros between units belong to neither.
    let trimmed =
        |unit: &[u8]| unit[..unit.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)].to_vec();
    units.map(trimmed).collect()
}

/// The slices of some pictures of the film, in the order in which the numbers stand.
fn of_film(numbers: &[i64]) -> Vec<Vec<u8>> {
    let output = Scratch(scratch("slices"));
    let mut arguments = words("-nostdin -v error -y -i");
    arguments.push(folder().join(&FILM[1..]).display().to_string());
    arguments.extend(words("-map 0:v -c copy -f h264"));
    arguments.push(output.file("all"));
    run("ffmpeg", &arguments, Duration::from_secs(20)).unwrap();
    let all = slices(&fs::read(output.file("all")).unwrap());
    let order = decoded(FILM);
    assert_eq!(all.len(), order.len());
    let place = |number: &i64| order.iter().position(|other| other == number).unwrap();
    numbers.iter().map(|number| all[place(number)].clone()).collect()
}

fn check(given: &Given, wanted: &[i64]) -> Verdict {
    same("access units", wanted, &given.numbers)?;
    same("pictures", wanted, &given.pictures)?;
    same("slices", &of_film(wanted), &given.slices)
}

/// GStreamer on a busy machine may lose its own races; it gets some chances.
fn by_some_chance(try_it: impl Fn() -> Verdict) {
    let mut verdict = try_it();
    for _ in 0..2 {
        let Err(problem) = &verdict else { return };
        println!("once more: {problem}");
        verdict = try_it();
    }
    verdict.unwrap();
}

fn forward_gets_every_picture(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        by_some_chance(|| {
            let given = replay(&server, over.name(), "1.0", 1.0, 3.0, "")?;
            let wanted: Vec<_> =
                decoded(FILM).into_iter().filter(|number| (25..75).contains(number)).collect();
            check(&given, &wanted)?;
            same("keys", &[25, 50], &given.keys)
        });
    }
}

fn backward_gets_every_group(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        by_some_chance(|| {
            let given = replay(&server, over.name(), "-1.0", 1.0, 2.86, "")?;
            let order = decoded(FILM);
            let group =
                |from: i64, to: i64| order.iter().copied().filter(move |number| (from..to).contains(number));
            let wanted: Vec<_> = group(50, 72).chain(group(25, 50)).collect();
            check(&given, &wanted)?;
            same("keys", &[50, 25], &given.keys)?;
            same("discontinuities", &[50, 25], &given.discontinuous)
        });
    }
}

fn some_of_the_pictures(backend: Backend) {
    let server = server(backend);
    let from_both = of_type(FILM, 'B');
    let others: Vec<_> = decoded(FILM).into_iter().filter(|number| !from_both.contains(number)).collect();
    for (rate, frames, wanted) in [
        ("1.0", "intra", vec![0, 25, 50, 75]),
        ("1.0", "intra/2000", vec![0, 50]),
        ("1.0", "predicted", others),
        ("-1.0", "intra", vec![75, 50, 25, 0]),
    ] {
        by_some_chance(|| check(&replay(&server, "tcp", rate, 0.0, 4.0, frames)?, &wanted));
    }
}
