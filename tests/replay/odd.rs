//! Files that are made in an odd way: groups of pictures of very different length, lengths that nobody wrote down, keyframes
//! at the beginning alone.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use super::{JPEG, Unit, cseq, make, numbers, open, played, units};
use crate::client::rtp::Report;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::server::{Backend, Server, on_both_backends};

on_both_backends!(;
    "ffmpeg":
    reverse_goes_on_through_a_group_that_is_longer_than_the_one_behind_it,
    keyframes_at_the_beginning_do_not_make_all_pictures_stand_alone,
    the_last_of_a_track_is_the_only_one_that_says_so,
    a_file_without_a_length_goes_back_from_its_end,
    what_begins_between_two_pictures_says_which_of_them_it_begins_with,
    pictures_of_many_packets_leave_at_the_stated_pace,
);

/// Eight seconds, with keyframes at 0, 6 and 7 s.
const UNEVEN: &str = "/uneven.mp4";

/// Eight seconds of 25 pictures each, of which the first ten are keyframes, and then every 50th.
const STORM: &str = "/storm.mp4";

/// Four seconds of JPEG with sound.
const SPOKEN: &str = "/spoken.mkv";

/// Four seconds with a keyframe a second that were written into a pipe, where the length cannot be put in front.
const PIPED: &str = "/piped.mkv";

/// Two seconds of JPEG of more than 64 KiB each.
const LARGE: &str = "/large.avi";

const RECORDED: &str = "-metadata creation_time=2026-01-01T00:00:00Z -threads 1";

/// The folder with them, made at first use.
fn odd_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("replay-odd-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let film = |seconds: u32, keyframes: &str| {
            format!(
                "-f lavfi -i testsrc2=s=160x96:r=25:d={seconds} -c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 0 \
                 -sc_threshold 0 {keyframes} {RECORDED}"
            )
        };
        let jpeg = "-c:v mjpeg -pix_fmt yuvj420p -huffman default";
        let sound = "-f lavfi -i sine=sample_rate=8000:duration=4 -c:a pcm_alaw";
        make(&folder.join(&UNEVEN[1..]), &film(8, "-g 1000 -force_key_frames 0,6,7"));
        make(&folder.join(&STORM[1..]), &film(8, "-g 50 -force_key_frames expr:lt(n,10)+eq(mod(n,50),0)"));
        make(
            &folder.join(&SPOKEN[1..]),
            &format!("-f lavfi -i testsrc2=s=320x176:r=25:d=4 {sound} {jpeg} -q:v 5 {RECORDED}"),
        );
        make(&folder.join(&PIPED[1..]), &(film(4, "-g 25") + " -f matroska pipe:"));
        make(
            &folder.join(&LARGE[1..]),
            &format!("-f lavfi -i testsrc2=s=480x272:r=25:d=2 -vf noise=alls=100:allf=t {jpeg} -q:v 3"),
        );
        folder
    })
}

fn server(backend: Backend) -> Server {
    Server::with(backend).media(odd_folder()).start()
}

/// Where the server says that playing is, in seconds.
fn position(viewer: &mut Viewer) -> f64 {
    let control = viewer.description.control.clone();
    let headers = [("Content-Type", "text/parameters"), ("Content-Length", "10")];
    let answer = viewer.client.request_with_body("GET_PARAMETER", &control, &headers, "position\r\n");
    let text = answer.expect(200).text();
    text.split_once("npt=").expect("a position").1.trim().parse().unwrap()
}

fn has_ended(viewer: &Viewer) -> bool {
    viewer.tracks[0].has_ended()
}

fn reverse_goes_on_through_a_group_that_is_longer_than_the_one_behind_it(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, UNEVEN, Over::Tcp);
    // The group of six seconds is due from three seconds before it is shown, when two are over.
    viewer.play(&[("Range", "npt=8-"), ("Scale", "-2.0"), ("Rate-Control", "yes")]);
    let mut positions = Vec::new();
    while !viewer.receive_until(Duration::from_millis(100), has_ended) && positions.len() < 300 {
        positions.push(position(&mut viewer));
    }
    assert!(has_ended(&viewer), "{positions:?}");
    positions.pop();
    assert!(positions.is_sorted_by(|a, b| a >= b), "it falls: {positions:?}");
    assert_eq!(units(&viewer.tracks[0]).len(), 200);
}

fn keyframes_at_the_beginning_do_not_make_all_pictures_stand_alone(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = open(&server, STORM, over);
        let (answer, pictures) = played(&mut viewer, &[("Range", "npt=3.5-"), ("Rate-Control", "no")]);
        assert_eq!(answer.header("Range"), Some("npt=2.000-"));
        assert!(pictures[0].clean);
        assert_eq!(numbers(&pictures), (50..200).collect::<Vec<_>>(), "{over:?}");
        let groups = |firsts: &[i64], end: i64| -> Vec<i64> {
            let ends = [end].into_iter().chain(firsts.iter().copied());
            firsts.iter().zip(ends).flat_map(|(first, end)| *first..end).collect()
        };
        let firsts: Vec<i64> = [150, 100, 50].into_iter().chain((0..10).rev()).collect();
        for (range, wanted, ends) in [
            ("npt=8-", groups(&firsts, 200), true),
            ("npt=3-1", groups(&[50, 9], 76), false),
            ("npt=3-0.3", groups(&[50, 9, 8, 7], 76), false),
        ] {
            let headers = [("Range", range), ("Rate-Control", "no"), ("Scale", "-1.0")];
            let (answer, pictures) = played(&mut viewer, &headers);
            let pictures: Vec<Unit> =
                pictures.into_iter().filter(|unit| unit.cseq == cseq(&answer)).collect();
            assert_eq!(numbers(&pictures), wanted, "{over:?} {range}");
            assert!(pictures.iter().all(|unit| unit.clean == unit.jumps), "each group begins with a jump");
            let (last, others) = pictures.split_last().unwrap();
            assert!(last.terminal && last.ends == ends, "{last:?}");
            assert!(others.iter().all(|unit| !unit.terminal && !unit.ends));
        }
    }
}

fn the_last_of_a_track_is_the_only_one_that_says_so(backend: Backend) {
    let server = server(backend);
    for from in ["npt=3.98-", "npt=4-", "npt=4.3-", "npt=1-"] {
        let mut viewer = open(&server, SPOKEN, Over::Tcp);
        played(&mut viewer, &[("Range", from), ("Rate-Control", "no")]);
        for track in &viewer.tracks {
            let units = units(track);
            let Some((last, others)) = units.split_last() else { continue };
            assert!(last.terminal && last.ends, "{from}: {last:?}");
            assert!(others.iter().all(|unit| !unit.terminal && !unit.ends), "{from}: {others:?}");
        }
    }
}

fn a_file_without_a_length_goes_back_from_its_end(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, PIPED, Over::Tcp);
    let told = viewer.description.text.lines().find(|line| line.starts_with("a=range:"));
    assert_eq!(told, Some("a=range:clock=20260101T000000Z-"), "it tells no length");
    let wanted: Vec<i64> = (0..4).rev().flat_map(|group| group * 25..(group + 1) * 25).collect();
    for (range, control) in
        [(None, "no"), (Some("npt=9000000000-"), "no"), (Some("npt=100-"), "yes"), (Some("npt=4-"), "no")]
    {
        let headers = [("Rate-Control", control), ("Scale", "-2.0")].into_iter();
        let headers: Vec<_> = headers.chain(range.map(|range| ("Range", range))).collect();
        let (answer, pictures) = played(&mut viewer, &headers);
        let told = answer.header("Range").unwrap();
        assert!(
            told.starts_with("npt=4.0") || told.starts_with("clock=20260101T000004"),
            "{range:?}: {told}"
        );
        let pictures: Vec<Unit> = pictures.into_iter().filter(|unit| unit.cseq == cseq(&answer)).collect();
        assert_eq!(numbers(&pictures), wanted, "{range:?}");
        assert!(pictures.last().unwrap().terminal && pictures.last().unwrap().ends);
    }
    // A place in the middle needs no length.
    let headers = [("Range", "npt=2-1"), ("Rate-Control", "no"), ("Scale", "-1.0")];
    let (answer, pictures) = played(&mut viewer, &headers);
    assert_eq!(answer.header("Range"), Some("npt=2.000-1.000"));
    assert_eq!(numbers(&pictures), [50].into_iter().chain(25..50).collect::<Vec<_>>());
}

fn what_begins_between_two_pictures_says_which_of_them_it_begins_with(backend: Backend) {
    let server = super::server(backend);
    for control in ["no", "yes"] {
        for (asked, first) in [("npt=1.45-", 36), ("npt=1.96-", 49), ("npt=2.3-", 49)] {
            let mut viewer = open(&server, JPEG, Over::Tcp);
            let (answer, pictures) = played(&mut viewer, &[("Range", asked), ("Rate-Control", control)]);
            let told = format!("npt={:.3}-", f64::from(first) / 25.0);
            assert_eq!(answer.header("Range"), Some(&*told), "{asked}");
            assert_eq!(pictures.len(), 50 - first as usize, "{asked}");
            let since = super::since_start(&answer, &pictures[0]);
            assert!(since.abs() < 0.001, "{asked}: {since} behind what the answer tells");
        }
    }
}

fn pictures_of_many_packets_leave_at_the_stated_pace(backend: Backend) {
    let server = server(backend);
    let mut viewer = open(&server, LARGE, Over::Udp);
    let begun = std::time::Instant::now();
    viewer.play(&[("Rate-Control", "no")]);
    let byes = |viewer: &Viewer| {
        viewer.tracks[0].reports.iter().any(|(_, report)| matches!(report, Report::Bye { .. }))
    };
    assert!(viewer.receive_until(Duration::from_secs(30), byes));
    // BYE lingers for half a second behind the last.
    let last = viewer.tracks[0].packets.last().unwrap().at;
    let bytes: usize = viewer.tracks[0].packets.iter().map(|packet| packet.payload.len()).sum();
    let largest = units(&viewer.tracks[0]).iter().map(|unit| unit.packets.len()).max().unwrap();
    assert!(bytes > 2_500_000 && largest > 60, "{bytes} bytes, {largest} packets in the largest picture");
    // Four packets of 1,400 bytes a millisecond are 45 Mbit/s.
    let rate = bytes as f64 * 8e-6 / (last - begun).as_secs_f64();
    assert!(rate < 60.0, "{rate} Mbit/s");
}
