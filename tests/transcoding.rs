//! Files in another format than their own: what a URL or the configuration asks for is what players get.

mod bounds;
mod foreign;
mod jpeg;
mod lips;
mod live;

use std::time::Duration;

use crate::client::Client;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::{Recipe, folder};
use crate::judge::ffmpeg::{Scratch, judge, words};
use crate::judge::{Turn, run};
use crate::server::{Backend, Builder, Server, on_both_backends, scratch};

/// 3 s of 320x176 at 25 pictures a second in H.264, and 44.1 kHz mono in AAC: a tone of 440 Hz with a pip each second.
const FILE: &str = "h264_ip_aac.mp4";

/// Hertz.
const TONE: f64 = 440.0;

const PATIENCE: Duration = Duration::from_secs(30);

fn server(backend: Backend) -> Builder {
    // Where everything is made anew, and nothing is in a hurry, a test of many formats takes its time.
    Server::with(backend).media(folder()).lifetime(Duration::from_secs(300))
}

/// What FFmpeg's `ffprobe` says of an input, a line a stream.
fn probed(input: &str, entries: &str) -> String {
    let arguments = format!("-v error -show_entries stream={entries} -of csv=p=0 {input}");
    let output = run("ffprobe", &words(&arguments), PATIENCE).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Has FFmpeg keep what it gets of a URL; the file.
fn kept(folder: &Scratch, url: &str, over: Over, streams: &str) -> String {
    let _turn = Turn::wait();
    let file = folder.file("kept.mkv");
    let arguments = format!("-v error -y -rtsp_transport {} -i {url} -c copy {streams} {file}", over.name());
    run("ffmpeg", &words(&arguments), PATIENCE).unwrap();
    file
}

/// How much two files look alike: 1 is the same (structural similarity).
fn likeness(file: &str, other: &str) -> f64 {
    likeness_by(file, &format!("-i {other}"), "setpts=PTS-STARTPTS", "setpts=PTS-STARTPTS")
}

/// The same of an input and another, each through a filter.
fn likeness_by(file: &str, other: &str, filter: &str, other_filter: &str) -> f64 {
    let filter =
        format!("[1:v]{other_filter}[b];[0:v]{filter}[c];[b][c]scale2ref[d][a];[a][d]ssim=shortest=1");
    let mut arguments = words(&format!("-v info -i {file} {other} -lavfi"));
    arguments.push(filter);
    arguments.extend(words("-f null -"));
    let output = run("ffmpeg", &arguments, PATIENCE).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let all = said.rsplit_once("All:").unwrap_or_else(|| panic!("{said}")).1;
    all.split_whitespace().next().unwrap().parse().unwrap()
}

/// The second second of a file's sound: its level, and the share of the tone in it.
fn heard(file: &str) -> (f64, f64) {
    let samples = sound(file);
    share(&samples, TONE, samples.len())
}

/// The same of a tone of so many hertz that a device gives, moment by moment: where a busy machine has left something out
/// the tone goes on elsewhere in its turn.
pub(crate) fn heard_at(file: &str, hertz: f64) -> (f64, f64) {
    share(&sound(file), hertz, MOMENT)
}

/// Samples of 20 ms.
const MOMENT: usize = 960;

fn sound(file: &str) -> Vec<f64> {
    let mut arguments =
        words(&format!("-v error -ss 1.2 -t 0.7 -i {file} -af pan=mono|c0=c0 -ar 48000 -f f32le -"));
    arguments.insert(0, "-nostdin".to_owned());
    let output = run("ffmpeg", &arguments, PATIENCE).unwrap();
    let samples: Vec<f64> =
        output.stdout.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect();
    assert!(samples.len() > 24_000, "{} samples", samples.len());
    samples
}

/// Power of all, and the share of a tone in it that stays in step for so many samples.
fn share(samples: &[f64], hertz: f64, moment: usize) -> (f64, f64) {
    let power = samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64;
    let moments = samples.chunks_exact(moment);
    let count = moments.len() as f64;
    let of_tone = moments.map(|moment| power_at(moment, hertz)).sum::<f64>() / count;
    (power, of_tone / power)
}

fn power_at(moment: &[f64], hertz: f64) -> f64 {
    let turn = |index: usize| (index as f64 * hertz / 48_000.0 * std::f64::consts::TAU).sin_cos();
    let (sine, cosine) = moment.iter().enumerate().fold((0.0, 0.0), |(sine, cosine), (index, sample)| {
        let (of_sine, of_cosine) = turn(index);
        (sine + sample * of_sine, cosine + sample * of_cosine)
    });
    2.0 * (sine * sine + cosine * cosine) / (moment.len() as f64).powi(2)
}

pub(crate) fn pictures_come_in_the_codec_size_and_rate_that_a_url_asks_for(backend: Backend) {
    let server = server(backend).start();
    let source = Recipe::named(FILE).path();
    for (index, (asked, is, pictures)) in [
        ("ve=H265", "hevc,320,176", 75),
        ("ve=MP4&w=240&h=132", "mpeg4,240,132", 75),
        ("ve=JPEG", "mjpeg,320,176", 75),
        ("w=160", "h264,160,88", 75),
        ("ve=h265&fr=10", "hevc,320,176", 30),
        ("fr=50&h=100", "h264,180,100", 150),
        ("ve=MJPEG&w=203", "mjpeg,200,104", 75),
    ]
    .into_iter()
    .enumerate()
    {
        let scratch = Scratch(scratch("transcoding"));
        let url = server.url(&format!("/{FILE}&{asked}"));
        let file = kept(&scratch, &url, BOTH[index % 2], "-an");
        assert_eq!(probed(&file, "codec_name,width,height").trim(), is, "{asked}");
        let count = probed(&format!("-count_frames {file}"), "nb_read_frames");
        let count: i64 = count.trim().trim_end_matches(',').parse().unwrap();
        assert!((count - pictures).abs() <= 1, "{asked}: {count} pictures");
        let likeness = likeness(&file, source.to_str().unwrap());
        println!("{asked}: {likeness}");
        assert!(likeness > 0.9, "{asked}: {likeness}");
    }
}

pub(crate) fn sound_comes_in_the_codec_rate_and_channels_that_a_url_asks_for(backend: Backend) {
    let server = server(backend).start();
    let source = Recipe::named(FILE).path();
    let (level, of_tone) = heard(source.to_str().unwrap());
    assert!(of_tone > 0.9, "{of_tone}");
    for (index, (asked, is)) in [
        ("ae=OPUS", "opus,48000,2"),
        ("ae=G711A&sr=8000", "pcm_alaw,8000,1"),
        ("ae=PCMU&ch=2", "pcm_mulaw,44100,2"),
        ("ae=G722", "adpcm_g722,16000,1"),
        ("ae=G726", "adpcm_g726le,8000,1"),
        ("ae=AAC&sr=16000", "aac,16000,1"),
        ("ch=2&ab=96", "aac,44100,2"),
    ]
    .into_iter()
    .enumerate()
    {
        let scratch = Scratch(scratch("transcoding"));
        let url = server.url(&format!("/{FILE}?{asked}"));
        let over = BOTH[index % 2];
        let input = format!("-rtsp_transport {} -select_streams a {url}", over.name());
        assert_eq!(probed(&input, "codec_name,sample_rate,channels").trim(), is, "{asked}");
        // No container has all of these.
        let file = kept(&scratch, &url, over, "-vn -c:a pcm_s16le");
        let (its_level, its_tone) = heard(&file);
        println!("{asked}: level {:.2}, tone {its_tone:.3}", its_level / level);
        assert!(its_tone > 0.9, "{asked}: {its_tone}");
        // Two channels share the power of one.
        assert!((0.45..1.6).contains(&(its_level / level)), "{asked}: {its_level} for {level}");
    }
}

fn sound_of_every_codec_comes_in_another(backend: Backend) {
    let server = server(backend).start();
    for name in
        ["h264_opus.mkv", "h265_opus.mkv", "h264_pcma.mkv", "jpeg_pcmu.mov", "jpeg_g722.mkv", "g726_32.wav"]
    {
        let scratch = Scratch(scratch("transcoding"));
        let source = Recipe::named(name).path();
        let (level, _) = heard(source.to_str().unwrap());
        let url = server.url(&format!("/{name}&ae=AAC&sr=16000"));
        let (its_level, its_tone) = heard(&kept(&scratch, &url, Over::Tcp, "-vn -c:a pcm_s16le"));
        println!("{name}: level {:.2}, tone {its_tone:.3}", its_level / level);
        assert!(its_tone > 0.8, "{name}: {its_tone}");
        assert!((0.4..1.8).contains(&(its_level / level)), "{name}: {its_level} for {level}");
    }
}

fn what_agrees_with_what_is_asked_for_comes_as_it_is(backend: Backend) {
    let server =
        server(backend).xml("<output><url>mp4</url><video><codec>H264</codec></video></output>").start();
    let recipe = Recipe::named(FILE);
    for asked in ["", "&ve=H264&w=320&h=176&fr=25&vb=100&ae=AAC&sr=44100&ch=1"] {
        let url = server.url(&format!("/{FILE}{asked}"));
        assert_eq!(judge(&url, Over::Tcp, recipe), Ok(()), "{asked}");
    }
}

fn rules_of_the_configuration_are_met_and_urls_override_them(backend: Backend) {
    let rules = "<output><url>*.mp4</url><video><codec>H265</codec><width>160</width></video>\
         <audio><codec>G711U</codec><samplerate>8000</samplerate></audio></output>\
         <output><audio><codec>NONE</codec></audio></output>";
    let server = server(backend).xml(rules).start();
    let shown = |path: &str| {
        let url = server.url(path);
        probed(&format!("-rtsp_transport tcp {url}"), "codec_name,width,sample_rate")
    };
    assert_eq!(shown(&format!("/{FILE}")), "hevc,160\npcm_mulaw,8000\n");
    assert_eq!(shown(&format!("/{FILE}&ve=JPEG&ae=none")), "mjpeg,160\n");
    assert_eq!(shown("/h264_aac.ts").lines().count(), 1);
}

fn playing_begins_at_a_keyframe_before_the_time_asked_for(backend: Backend) {
    let server = server(backend).start();
    let url = server.url(&format!("/{FILE}&ve=H265&ae=G711A&sr=8000"));
    let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
    let start = |answer: &crate::client::Response| {
        let range = answer.header("Range").unwrap().to_owned();
        let begin = range.strip_prefix("npt=").unwrap().split('-').next().unwrap().to_owned();
        begin.parse::<f64>().unwrap()
    };
    // Keyframes stand at every second second.
    for (asked, begins) in [("npt=2.5-", 2.0), ("npt=1.5-", 0.0)] {
        let answer = viewer.play(&[("Range", asked)]);
        assert!((start(&answer) - begins).abs() < 0.05, "{asked}: {}", start(&answer));
        let before = viewer.tracks.iter().map(|track| track.packets.len()).collect::<Vec<_>>();
        assert!(viewer.receive_until(PATIENCE, |viewer| {
            viewer.tracks.iter().zip(&before).all(|(track, before)| track.packets.len() > before + 5)
        }));
        viewer.pause();
    }
    assert!(viewer.tracks.iter().all(|track| track.gaps().is_empty()));
}

fn viewers_of_one_format_share_what_was_made_once(backend: Backend) {
    let server = server(backend).start();
    let url = server.url(&format!("/{FILE}&w=160&ae=none"));
    let watched = || {
        let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
        viewer.play(&[]);
        viewer.receive_all(PATIENCE);
        let packets = viewer.tracks[0].packets.iter();
        packets.map(|packet| packet.payload.clone()).collect::<Vec<_>>()
    };
    let (first, second) = (watched(), watched());
    assert!(first.len() > 75 && first == second, "{} and {} packets", first.len(), second.len());
}

fn what_cannot_be_made_is_refused_with_its_reason(backend: Backend) {
    let server = server(backend).start();
    let mut client = Client::connect(server.address());
    for (asked, reason) in [
        ("ve=H266", "ve=H266 is not understood"),
        ("w=x", "w=x is not understood"),
        ("sr=9000", "sr=9000 is not understood"),
        ("ve=none&ae=none", "nothing of it is asked for"),
    ] {
        let answer = client.request("DESCRIBE", &server.url(&format!("/{FILE}&{asked}")), &[]).expect(415);
        assert!(answer.text().contains(reason), "{}", answer.text());
    }
    // What is no question of format is none of its business.
    client.request("DESCRIBE", &server.url(&format!("/{FILE}&t=unicast&x=y&p=tcp")), &[]).expect(200);
}

on_both_backends!(;
    "ffmpeg":
    pictures_come_in_the_codec_size_and_rate_that_a_url_asks_for,
    sound_comes_in_the_codec_rate_and_channels_that_a_url_asks_for,
    sound_of_every_codec_comes_in_another,
    what_agrees_with_what_is_asked_for_comes_as_it_is,
    rules_of_the_configuration_are_met_and_urls_override_them,
    playing_begins_at_a_keyframe_before_the_time_asked_for,
    viewers_of_one_format_share_what_was_made_once,
    what_cannot_be_made_is_refused_with_its_reason,
);
