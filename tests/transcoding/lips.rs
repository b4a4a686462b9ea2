//! Is sound where it was beside the pictures, when both are made anew?

use super::{PATIENCE, kept};
use crate::client::viewer::Over;
use crate::judge::ffmpeg::{Scratch, words};
use crate::judge::run;
use crate::published::{await_stream, spawn};
use crate::server::{Backend, Server, on_both_backends, scratch};

/// Sound may be this far from its picture, in seconds.
const APART_MAX: f64 = 0.04;

/// What is not looked at, in seconds.
const BEGINNING: f64 = 1.2;

/// 6 s in which each second begins with a white picture, and a tone comes so much later, as all of the sound does.
fn clip(folder: &Scratch, behind: f64) -> String {
    let file = folder.file("clip.mp4");
    let moment = "lt(mod(t\\,1)\\,0.12)";
    let video = format!("color=black:s=320x180:r=25:d=6,drawbox=color=white:t=fill:enable={moment}");
    let audio = format!("aevalsrc=0.8*sin(2*PI*1000*t)*{moment}:s=48000:d=6");
    let mut arguments = words("-nostdin -v error -y -f lavfi -i");
    arguments.push(video);
    arguments.extend(words(&format!("-itsoffset {behind} -f lavfi -i")));
    arguments.push(audio);
    arguments.extend(words("-c:v libx264 -bf 0 -g 25 -pix_fmt yuv420p -c:a aac -threads 1"));
    arguments.push(file.clone());
    run("ffmpeg", &arguments, PATIENCE).unwrap();
    file
}

fn said(program: &str, arguments: &str) -> Vec<u8> {
    run(program, &words(arguments), PATIENCE).unwrap().stdout
}

fn numbers(text: &[u8]) -> Vec<f64> {
    let text = String::from_utf8_lossy(text).into_owned();
    text.lines().filter_map(|line| line.trim_matches([',', ' ']).parse().ok()).collect()
}

/// When white pictures begin.
fn flashes(file: &str) -> Vec<f64> {
    let times = numbers(&said(
        "ffprobe",
        &format!("-v error -select_streams v -show_entries frame=pts_time -of csv=p=0 {file}"),
    ));
    let grey = said(
        "ffmpeg",
        &format!(
            "-nostdin -v error -i {file} -an -fps_mode passthrough -vf scale=1:1,format=gray -f rawvideo -"
        ),
    );
    assert_eq!(times.len(), grey.len());
    let edges = grey.windows(2).zip(&times[1..]).filter(|(pair, _)| pair[0] < 128 && pair[1] >= 128);
    edges.map(|(_, time)| *time).collect()
}

/// When tones begin.
fn tones(file: &str) -> Vec<f64> {
    let begins = format!(
        "-v error -select_streams a -show_entries packet=pts_time -read_intervals %+#1 -of csv=p=0 {file}"
    );
    let begins = numbers(&said("ffprobe", &begins))[0];
    let samples = said("ffmpeg", &format!("-nostdin -v error -i {file} -vn -ac 1 -ar 48000 -f f32le -"));
    let (mut quiet, mut found) = (0, Vec::new());
    for (index, bytes) in samples.as_chunks::<4>().0.iter().enumerate() {
        if f32::from_le_bytes(*bytes).abs() < 0.1 {
            quiet += 1;
            continue;
        }
        if quiet > 24_000 {
            found.push(begins + index as f64 / 48_000.0);
        }
        quiet = 0;
    }
    found
}

/// Whether each tone begins so many seconds behind its picture.
fn are_together(file: &str, behind: f64, what: &str) {
    let (flashes, tones) = (flashes(file), tones(file));
    let mut pairs = 0;
    // A player is brought to the present first: pictures of the past follow each other faster than they were.
    for flash in flashes.iter().filter(|flash| **flash > BEGINNING) {
        let apart = tones.iter().map(|tone| tone - flash).min_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        // Of a second at the edge of the recording only one of both may be there.
        if apart.abs() < 0.5 {
            println!("{what}: {:.1} ms", apart * 1e3);
            assert!((apart - behind).abs() < APART_MAX, "{what}: sound is {apart:.3} s behind its picture");
            pairs += 1;
        }
    }
    assert!(pairs >= 2, "{what}: {flashes:?} {tones:?}");
}

/// What pictures and sound are asked for in; G.711 is heard without what a decoder adds.
const ASKED: [&str; 4] = [
    "ae=G711A&sr=8000",
    "ve=JPEG&ae=PCMU&sr=48000",
    "ve=H265&w=160&ae=G711A",
    "ve=MP4&fr=50&ae=PCMU&sr=16000",
];

fn sound_of_a_file_stays_with_its_pictures(backend: Backend) {
    let folder = Scratch(scratch("lips"));
    clip(&folder, 0.0);
    let server = Server::with(backend).media(&folder.0).start();
    for asked in ASKED {
        let scratch = Scratch(scratch("lips"));
        are_together(&kept(&scratch, &server.url(&format!("/clip.mp4&{asked}")), Over::Tcp, ""), 0.0, asked);
    }
}

/// Sound of a publisher that begins so much later than its pictures is where it was beside them.
fn published_with_sound_behind(backend: Backend, behind: f64) {
    let folder = Scratch(scratch("lips"));
    let clip = clip(&folder, behind);
    let server = Server::with(backend).start();
    let url = server.url("/live");
    let sending = format!("-v error -re -stream_loop -1 -i {clip} -c copy -f rtsp -rtsp_transport tcp {url}");
    let _publishing = spawn("ffmpeg", &sending);
    await_stream(&server, &url).unwrap();
    for asked in ASKED {
        let scratch = Scratch(scratch("lips"));
        are_together(&kept(&scratch, &format!("{url}&{asked}"), Over::Tcp, "-t 4"), behind, asked);
    }
}

fn sound_of_a_publisher_stays_with_its_pictures(backend: Backend) {
    published_with_sound_behind(backend, 0.0);
}

fn sound_that_begins_later_stays_where_it_is(backend: Backend) {
    published_with_sound_behind(backend, 0.3);
}

on_both_backends!(;
    "ffmpeg":
    sound_of_a_file_stays_with_its_pictures,
    sound_of_a_publisher_stays_with_its_pictures,
    sound_that_begins_later_stays_where_it_is,
);
