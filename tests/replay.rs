//! Recordings replayed as ONVIF has it (streaming specification chapter 6): forward and backward, with all pictures or
//! some, at the viewer's pace or at the server's; every access unit tells when it was recorded.

mod backward;
mod bounded;
mod forward;
mod gstreamer;
mod hostile;
mod kinds;
mod odd;
mod refused;
mod resumed;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::client::rtp::{Packet, Report};
use crate::client::viewer::{Over, Track, Viewer};
use crate::client::{Client, Response};
use crate::server::{Backend, Server};

/// What a client asks for that wants a recording.
pub(crate) const TAG: &str = "onvif-replay";

/// Four seconds of 25 pictures each with sound, a keyframe every second, two pictures of three predicted from both
/// sides, recorded from 2026-01-01T00:00:00Z on.
const FILM: &str = "/film.mp4";

/// A minute of small pictures from that time on, a keyframe every two seconds.
const LONG: &str = "/long.mkv";

/// Two seconds of JPEG, 25 pictures a second, that do not tell when they were recorded.
const JPEG: &str = "/pictures.avi";

/// Two seconds of 25 pictures each in other codecs, a keyframe every 25 and every 10 pictures, and three seconds of sound
/// alone.
const H265: &str = "/h265.mp4";
const MPEG4: &str = "/mpeg4.mp4";
const SOUND: &str = "/sound.mp4";

/// Seconds from 1900 to 2026.
const BEGAN_S: f64 = 3_976_214_400.0;

/// When the last moment of the file of JPEG was, which it was changed at.
const JPEG_ENDED: &str = "2026-02-01T00:00:00Z";

/// Makes a file with FFmpeg: what ends with `pipe:` goes through its standard output, where no length can be put in front.
fn make(path: &Path, arguments: &str) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y"]).args(arguments.split_whitespace());
    match arguments.ends_with("pipe:") {
        true => command.stdout(File::create(path).unwrap()),
        false => command.arg(path),
    };
    assert!(command.status().expect("ffmpeg is installed").success(), "{path:?} is made");
}

/// The folder with them, made at first use.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("replay-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let recorded = "-metadata creation_time=2026-01-01T00:00:00Z -threads 1";
        let closed = "-sc_threshold 0 -b_strategy 0 -x264-params b-pyramid=none";
        let make = |name: &str, arguments: String| make(&folder.join(&name[1..]), &arguments);
        make(
            FILM,
            format!(
                "-f lavfi -i testsrc2=s=640x360:r=25:d=4 -f lavfi -i sine=frequency=440:sample_rate=48000:duration=4 \
                 -c:v libx264 -preset veryfast -pix_fmt yuv420p -g 25 -bf 2 {closed} -c:a aac {recorded}"
            ),
        );
        make(
            LONG,
            format!(
                "-f lavfi -i testsrc2=s=160x96:r=25:d=60 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50 -bf 0 \
                 {recorded}"
            ),
        );
        make(
            JPEG,
            "-f lavfi -i testsrc2=s=320x176:r=25:d=2 -c:v mjpeg -q:v 5 -pix_fmt yuvj420p -huffman default".into(),
        );
        let pictures = "-f lavfi -i testsrc2=s=320x176:r=25:d=2 -pix_fmt yuv420p -bf 0";
        let x265 = "-preset ultrafast -x265-params scenecut=0:open-gop=0:keyint=25:min-keyint=25:bframes=0:log-level=none";
        make(H265, format!("{pictures} -c:v libx265 {x265} {recorded}"));
        make(MPEG4, format!("{pictures} -c:v mpeg4 -g 10 -sc_threshold 1000000000 {recorded}"));
        make(SOUND, format!("-f lavfi -i sine=sample_rate=48000:duration=3 -c:a aac {recorded}"));
        let touched = Command::new("touch").args(["-d", JPEG_ENDED]).arg(folder.join(&JPEG[1..])).status();
        assert!(touched.unwrap().success());
        folder
    })
}

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).start()
}

/// What the extension of an access unit says, and what it consists of.
#[derive(Clone, Debug)]
struct Unit {
    /// Number of the picture in the order in which they are shown, by the time at which it was recorded.
    number: i64,
    /// Seconds since the first moment of the film.
    seconds: f64,
    clean: bool,
    ends: bool,
    jumps: bool,
    terminal: bool,
    cseq: u8,
    packets: Vec<Packet>,
}

impl Unit {
    fn timestamp(&self) -> u32 {
        self.packets[0].timestamp
    }
}

/// The access units of a track. Every packet must have the extension: what jumps does so in the first of a unit, what ends
/// in the last.
#[track_caller]
fn units(track: &Track) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for packet in &track.packets {
        let said = said(packet).expect("every packet has the extension");
        let Some(unit) = units.last_mut().filter(|unit| unit.timestamp() == packet.timestamp) else {
            units.push(said);
            continue;
        };
        assert!(!unit.ends && !unit.terminal, "it ended before its last packet: {unit:?}");
        assert!(!said.jumps, "nothing jumps within an access unit: {said:?}");
        assert_eq!((said.seconds, said.clean, said.cseq), (unit.seconds, unit.clean, unit.cseq));
        (unit.ends, unit.terminal) = (said.ends, said.terminal);
        unit.packets.push(packet.clone());
    }
    units
}

/// What the extension of a packet says; None when it has none.
#[track_caller]
fn said(packet: &Packet) -> Option<Unit> {
    let (head, content) = packet.extension.as_deref()?.split_first_chunk::<4>()?;
    assert_eq!((head, content.len()), (&[0xab, 0xac, 0, 3], 12), "{content:?}");
    let word = |at: usize| u32::from_be_bytes(content[at..at + 4].try_into().unwrap());
    let seconds = f64::from(word(0)) + f64::from(word(4)) / 2f64.powi(32) - BEGAN_S;
    let flag = |bit: u8| content[8] & bit != 0;
    assert_eq!((content[8] & 0x0f, &content[10..]), (0, &[0, 0][..]), "what must be zero is zero");
    Some(Unit {
        number: (seconds * 25.0).round() as i64,
        seconds,
        clean: flag(0x80),
        ends: flag(0x40),
        jumps: flag(0x20),
        terminal: flag(0x10),
        cseq: content[9],
        packets: vec![packet.clone()],
    })
}

fn numbers(units: &[Unit]) -> Vec<i64> {
    units.iter().map(|unit| unit.number).collect()
}

/// The numbers of the pictures of a film in the order in which they are decoded, by ffprobe.
fn decoded(path: &str) -> Vec<i64> {
    let words = "-v error -select_streams v:0 -show_entries packet=pts_time -of csv=p=0";
    let output =
        Command::new("ffprobe").args(words.split(' ')).arg(folder().join(&path[1..])).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let times = text.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
    times.map(|time| (time * 25.0).round() as i64).collect()
}

/// The numbers of the pictures of a type, by ffprobe.
fn of_type(path: &str, kind: char) -> Vec<i64> {
    let words = "-v error -select_streams v:0 -show_entries frame=pict_type -of csv=p=0";
    let output =
        Command::new("ffprobe").args(words.split(' ')).arg(folder().join(&path[1..])).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let types = (0..).zip(text.lines().filter(|line| !line.is_empty()));
    types.filter(|(_, line)| line.starts_with(kind)).map(|(number, _)| number).collect()
}

/// A viewer who has said in every request that it wants a recording.
#[track_caller]
fn described(server: &Server, path: &str, over: Over) -> Viewer {
    let mut client = Client::connect(server.address());
    client.require = Some(TAG);
    Viewer::describe_on(client, &server.url(path), over)
}

/// The same with all tracks set up.
#[track_caller]
fn open(server: &Server, path: &str, over: Over) -> Viewer {
    described(server, path, over).set_up()
}

/// Seconds of the film as a point of a clock range.
fn clock(seconds: f64) -> String {
    let millis = (seconds * 1e3).round() as u64;
    format!("20260101T0000{:02}.{:03}Z", millis / 1_000, millis % 1_000)
}

/// A range of the film.
fn range(from: f64, to: Option<f64>) -> String {
    format!("clock={}-{}", clock(from), to.map_or(String::new(), clock))
}

/// PLAYs and receives until all has ended; the answer, and the access units of the pictures.
#[track_caller]
fn played(viewer: &mut Viewer, headers: &[(&str, &str)]) -> (Response, Vec<Unit>) {
    let before = viewer.tracks[0].packets.len();
    let ends = viewer.tracks[0].reports.len();
    let answer = viewer.play(headers);
    let ended = viewer.receive_until(Duration::from_secs(30), |viewer| {
        let mut reports = viewer.tracks[0].reports[ends..].iter();
        reports.any(|(_, report)| matches!(report, Report::Bye { .. }))
    });
    assert!(ended, "no BYE: {} packets after {answer:?}", viewer.tracks[0].packets.len() - before);
    // The last datagrams may come behind BYE on another socket.
    viewer.receive(Duration::from_millis(100));
    assert_eq!(viewer.tracks[0].gaps(), []);
    let track = &viewer.tracks[0];
    let all = units(track);
    let first = all.iter().scan(0, |seen, unit| {
        let at = *seen;
        *seen += unit.packets.len();
        Some(at)
    });
    let first = first.take_while(|at| *at < before).count();
    (answer, all[first..].to_vec())
}

/// Low byte of the `CSeq` that an answer repeats.
fn cseq(answer: &Response) -> u8 {
    answer.header("CSeq").and_then(|value| value.parse::<u64>().ok()).unwrap() as u8
}

/// How far a timestamp is from the one that the answer tells for the range's beginning, in seconds.
fn since_start(answer: &Response, unit: &Unit) -> f64 {
    let (_, _, start) = crate::playing::rtp_info(answer)[0].clone();
    f64::from(unit.timestamp().wrapping_sub(start.unwrap()) as i32) / 90_000.0
}
