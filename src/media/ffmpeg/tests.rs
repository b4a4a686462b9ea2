//! Files of many kinds, made by the `ffmpeg` program, read through reader and container.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use proto::frame::Frame;
use proto::time::MediaTime;
use proto::track::{Codec, Kind, Track};

use super::{Containers, Unsupported};
use crate::media::format::Format;
use crate::media::library::MediaError;
use crate::media::opener::{Opened, Opener};
use crate::media::reader::{Reader, Stretch};

const PICTURE: &str = "-f lavfi -i testsrc2=s=320x240:r=25:d=4";
const SOUND: &str = "-f lavfi -i sine=440:d=4:r=44100";
const X264: &str = "-c:v libx264 -preset veryfast -g 25 -bf 3";

/// Names and arguments of files with pictures and sound, in an order in which they can be made.
fn recipes() -> Vec<(&'static str, String)> {
    let both = |rest: &str| format!("{PICTURE} {SOUND} {rest}");
    let picture = |rest: &str| format!("{PICTURE} {rest}");
    let telephone = |rest: &str| format!("{SOUND} -ar 8000 -ac 1 {rest}");
    let again = |rest: &str| format!("-i film.mp4 {rest}");
    vec![
        ("film.mp4", both(&format!("{X264} -c:a aac"))),
        ("plain.mp4", both("-c:v libx264 -preset veryfast -g 50 -bf 0 -c:a aac -ac 2 -ar 48000")),
        ("film.mov", again("-c copy")),
        ("film.mkv", again("-c copy")),
        ("film.ts", again("-c copy")),
        ("film.flv", again("-c copy")),
        ("film.avi", again("-c copy")),
        ("late.mkv", format!("-itsoffset 7 {PICTURE} -itsoffset 5 {SOUND} {X264} -c:a aac -copyts")),
        ("film.264", again("-c copy -an")),
        ("plain.264", "-i plain.mp4 -c copy -an".to_owned()),
        (
            "film.265",
            picture("-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=25:bframes=3"),
        ),
        (
            "film265.mp4",
            picture("-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=25:bframes=3"),
        ),
        ("xvid.avi", both("-c:v mpeg4 -bf 2 -g 25 -c:a libmp3lame")),
        ("xvid.mkv", both("-c:v mpeg4 -bf 2 -g 25 -c:a libmp3lame")),
        ("open.mkv", picture("-c:v libx264 -preset veryfast -x264-params open-gop=1:keyint=25:bframes=3")),
        ("xvid.m4v", picture("-c:v mpeg4 -bf 2 -g 25 -f m4v")),
        ("jpeg.avi", both("-c:v mjpeg -huffman default -c:a pcm_s16le")),
        ("jpeg.mjpeg", picture("-c:v mjpeg -huffman default")),
        ("vp8.webm", both("-c:v libvpx -deadline realtime -g 25 -c:a libopus")),
        ("vp9.webm", both("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -c:a libopus")),
        ("av1.mkv", picture("-c:v libaom-av1 -usage realtime -cpu-used 8 -g 25")),
        ("av1.mp4", "-i av1.mkv -c copy".to_owned()),
        ("dvd.mpg", both("-c:v mpeg2video -c:a mp2")),
        ("song.aac", again("-c copy -vn")),
        ("song.mp3", format!("{SOUND} -c:a libmp3lame")),
        ("song.opus", format!("{SOUND} -c:a libopus")),
        ("song.m4a", again("-c copy -vn")),
        ("alaw.wav", telephone("-c:a pcm_alaw")),
        ("mulaw.mov", telephone("-c:a pcm_mulaw")),
        ("s16.wav", format!("{SOUND} -ac 2 -c:a pcm_s16le")),
        ("g722.wav", format!("{SOUND} -ar 16000 -ac 1 -c:a g722")),
        ("bare.g722", format!("{SOUND} -ar 16000 -ac 1 -c:a g722")),
        ("g726.wav", telephone("-c:a g726 -b:a 32k")),
        ("bare.g726", telephone("-c:a g726 -b:a 32k -f g726")),
        ("bare.g726le", telephone("-c:a g726le -b:a 32k -f g726le")),
        ("lossless.flac", SOUND.to_owned()),
    ]
}

/// The folder with the files; None without the program.
fn corpus() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("ringcaster-media-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, arguments) in recipes() {
            let arguments = arguments.split_whitespace();
            let status = Command::new("ffmpeg")
                .current_dir(&folder)
                .args(["-v", "error", "-nostdin", "-y"])
                .args(arguments)
                .arg(name)
                .status();
            match status {
                Err(_) => return None,
                Ok(status) => assert!(status.success(), "{name} was not made"),
            }
        }
        Some(folder)
    });
    if folder.is_none() {
        eprintln!("skipped: there is no ffmpeg program");
    }
    folder.as_deref()
}

fn open(path: &Path) -> Result<Opened, MediaError> {
    let containers = Containers { unsupported: Unsupported::LeftOut };
    containers.open(File::open(path).unwrap(), path, &Format::default())
}

fn reader(path: &Path) -> (Reader, Vec<Track>) {
    let opened = open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (Reader::open(opened.demux, &opened.tracks, opened.duration).unwrap(), opened.tracks)
}

fn stretches(reader: &mut Reader) -> Vec<Stretch> {
    std::iter::from_fn(|| reader.stretch().unwrap()).collect()
}

fn frames(path: &Path, kind: Kind) -> (Track, Vec<Frame>) {
    let (mut reader, tracks) = reader(path);
    let index = tracks.iter().position(|track| track.kind() == kind).unwrap();
    let all = stretches(&mut reader).into_iter().flat_map(|stretch| stretch.frames);
    (tracks[index].clone(), all.filter(|frame| usize::from(frame.track) == index).collect())
}

/// Sizes of a stream's packets as the program's demuxer has them.
fn packet_sizes(path: &Path, kind: Kind) -> Vec<usize> {
    let selector = if kind == Kind::Video { "v:0" } else { "a:0" };
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", selector, "-show_entries", "packet=size", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}

/// Files of the corpus that can be played.
fn playable(folder: &Path) -> impl Iterator<Item = PathBuf> {
    recipes().into_iter().filter(|(name, _)| *name != "lossless.flac").map(move |(name, _)| folder.join(name))
}

#[test]
fn every_packet_becomes_a_frame() {
    let Some(folder) = corpus() else { return };
    for path in playable(folder) {
        let (_, tracks) = reader(&path);
        for kind in [Kind::Video, Kind::Audio] {
            let Some(track) = tracks.iter().find(|track| track.kind() == kind) else { continue };
            let sizes: Vec<_> = frames(&path, kind).1.iter().map(|frame| frame.payload.len()).collect();
            let mut told = packet_sizes(&path, kind);
            if told.is_empty() {
                // The program does not recognize it by its name.
                told.push(fs::metadata(&path).unwrap().len() as usize);
            }
            let (sum, told_sum): (usize, usize) = (sizes.iter().sum(), told.iter().sum());
            let is_raw = matches!(
                track.codec,
                Codec::G711 { .. } | Codec::G722 { .. } | Codec::G726 { .. } | Codec::L16 { .. }
            );
            match &track.codec {
                _ if is_raw => assert_eq!(sum, told_sum, "{}", path.display()),
                // ADTS headers of seven bytes are gone.
                Codec::Aac { .. } if sum != told_sum => {
                    assert_eq!(
                        (sizes.len(), sum),
                        (told.len(), told_sum - 7 * told.len()),
                        "{}",
                        path.display()
                    );
                }
                _ => assert_eq!(sizes, told, "{}", path.display()),
            }
        }
    }
}

#[test]
fn pictures_are_shown_evenly_from_the_first_moment_on() {
    let Some(folder) = corpus() else { return };
    for path in playable(folder) {
        if !reader(&path).1.iter().any(|track| track.kind() == Kind::Video) {
            continue;
        }
        let (_, frames) = frames(&path, Kind::Video);
        let name = path.display();
        assert_eq!(frames.len(), 100, "{name}");
        assert!(frames[0].keyframe, "{name}");
        for pair in frames.windows(2) {
            assert!(pair[0].dts <= pair[1].dts, "{name}: {} then {}", pair[0].dts, pair[1].dts);
        }
        assert!(frames.iter().all(|frame| frame.dts <= frame.pts), "{name}");
        let mut shown: Vec<_> = frames.iter().map(|frame| frame.pts).collect();
        shown.sort_unstable();
        // Its pictures begin two seconds behind its sound, all others with it.
        let offset = if path.ends_with("late.mkv") { 180_000 } else { 0 };
        // AVI tells decoding times only: reordering delays its first picture by two.
        let first_max =
            if path.extension().is_some_and(|extension| extension == "avi") { 7_200 } else { 4_500 };
        assert!((0..=first_max).contains(&(shown[0] - offset)), "{name} begins at {}", shown[0]);
        for pair in shown.windows(2) {
            // Millisecond time bases are off by half a millisecond at either end.
            assert!((pair[1] - pair[0] - 3_600).abs() <= 90, "{name}: {} then {}", pair[0], pair[1]);
        }
    }
}

type Facts = Vec<(u8, i64, i64, bool, usize)>;

fn facts(stretch: &Stretch) -> Facts {
    let fact = |frame: &Frame| (frame.track, frame.pts, frame.dts, frame.keyframe, frame.payload.len());
    stretch.frames.iter().map(fact).collect()
}

#[test]
fn a_position_yields_the_same_frames_however_it_was_reached() {
    let Some(folder) = corpus() else { return };
    for path in playable(folder) {
        let (mut straight, _) = reader(&path);
        let plan = straight.plan();
        let stretches = stretches(&mut straight);
        assert!(stretches.len() >= 4, "{}", path.display());
        for stretch in stretches.iter().rev() {
            let opened = open(&path).unwrap();
            let mut fresh = Reader::with_plan(opened.demux, plan.clone());
            let gone = fresh.go_to(stretch.position);
            assert_eq!(gone, Ok(()), "{} at {:?}", path.display(), stretch.position);
            let again = fresh.stretch().unwrap().unwrap();
            assert_eq!(facts(&again), facts(stretch), "{} at {:?}", path.display(), stretch.position);
            assert_eq!(again.next, stretch.next, "{}", path.display());
        }
    }
}

#[test]
fn seeking_finds_the_last_keyframe_at_or_before_the_time() {
    let Some(folder) = corpus() else { return };
    for path in playable(folder) {
        let (mut straight, _) = reader(&path);
        let starts: Vec<_> = (stretches(&mut straight).iter())
            .filter(|stretch| stretch.position.part == 0)
            .map(|stretch| stretch.position.keyframe)
            .collect();
        for millis in [0, 10, 999, 1_000, 1_500, 2_040, 3_990, 100_000] {
            let time = MediaTime(millis * 1_000_000);
            let expected = starts.iter().rev().find(|start| **start <= time).unwrap_or(&starts[0]);
            let (mut fresh, _) = reader(&path);
            let found = fresh.seek(time).unwrap();
            assert_eq!(found.keyframe, *expected, "{} at {millis} ms", path.display());
            let again = straight.seek(time).unwrap();
            assert_eq!(again, found, "{} at {millis} ms, once all is known", path.display());
        }
    }
}

#[test]
fn a_transport_stream_is_entered_where_a_keyframe_and_its_sound_lie() {
    let Some(folder) = corpus() else { return };
    let opened = open(&folder.join("film.ts")).unwrap();
    let rates: Vec<_> = opened.tracks.iter().map(|track| track.clock_rate).collect();
    let lead = opened.tracks.iter().position(|track| track.kind() == Kind::Video).unwrap() as u8;
    let time = |frame: &Frame, ticks| MediaTime::from_ticks(ticks, rates[usize::from(frame.track)]);
    let mut demux = opened.demux;
    let mut keys = Vec::new();
    while let Some(frame) = demux.next_frame().unwrap() {
        if frame.track == lead && frame.keyframe {
            keys.push((time(&frame, frame.pts), time(&frame, frame.dts)));
        }
    }
    assert_eq!(keys.len(), 4);
    for (pts, dts) in keys.into_iter().skip(1) {
        let mut demux = open(&folder.join("film.ts")).unwrap().demux;
        while demux.place(pts).is_none() {
            assert!(demux.next_frame().unwrap().is_some(), "no place of {pts:?}");
        }
        let byte = demux.place(pts).unwrap();
        demux.seek_place(byte).unwrap();
        let (mut pictures, mut sound) = (0, None);
        let found = loop {
            let frame = demux.next_frame().unwrap().unwrap();
            if frame.track != lead {
                sound.get_or_insert(time(&frame, frame.dts));
            } else if frame.keyframe {
                break time(&frame, frame.pts);
            }
            pictures += u32::from(frame.track == lead);
        };
        while sound.is_none() {
            let frame = demux.next_frame().unwrap().unwrap();
            sound = (frame.track != lead).then(|| time(&frame, frame.dts));
        }
        assert_eq!(found, pts);
        assert!(sound.unwrap() < dts && pictures < 25, "{pictures} pictures in front, sound from {sound:?}");
    }
}

#[test]
fn a_container_that_calls_every_picture_a_keyframe_is_not_believed() {
    let Some(folder) = corpus() else { return };
    let keys = |path: &Path| {
        let (_, frames) = frames(path, Kind::Video);
        frames.iter().filter(|frame| frame.keyframe).map(|frame| frame.pts).collect::<Vec<_>>()
    };
    let honest = folder.join("film.mp4");
    let mut bytes = fs::read(&honest).unwrap();
    // Without its table of sync samples all of them are such (ISO/IEC 14496-12 section 8.6.2).
    let at = bytes.windows(4).position(|name| name == b"stss").unwrap();
    bytes[at..at + 4].copy_from_slice(b"free");
    let liar = std::env::temp_dir().join(format!("ringcaster-liar-{}.mp4", std::process::id()));
    fs::write(&liar, bytes).unwrap();
    let found = keys(&liar);
    fs::remove_file(&liar).unwrap();
    assert_eq!(found.len(), 4);
    assert_eq!(found, keys(&honest));
}

#[test]
fn samples_arrive_as_they_are() {
    let Some(folder) = corpus() else { return };
    for (name, format) in [("s16.wav", "s16be"), ("alaw.wav", "alaw"), ("mulaw.mov", "mulaw")] {
        let path = folder.join(name);
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(&path)
            .args(["-f", format, "-"])
            .output()
            .unwrap();
        let (_, frames) = frames(&path, Kind::Audio);
        let payload: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.to_vec()).collect();
        assert!(payload == output.stdout, "{name}");
    }
}

#[test]
fn what_cannot_be_carried_is_named() {
    let Some(folder) = corpus() else { return };
    let Err(MediaError::Unsupported(reason)) = open(&folder.join("lossless.flac")) else {
        panic!("FLAC has no payload format here");
    };
    assert!(reason.contains("flac"), "{reason}");
    let opened = open(&folder.join("dvd.mpg")).unwrap();
    assert!(opened.left_out[0].contains("mpeg2video"), "{:?}", opened.left_out);
    let text = folder.join("text.mp4");
    fs::write(&text, "no film").unwrap();
    assert!(matches!(open(&text), Err(MediaError::Unsupported(_))));
}

#[test]
fn a_truncated_file_ends_at_its_last_whole_frame() {
    let Some(folder) = corpus() else { return };
    let whole = folder.join("film.mkv");
    let bytes = fs::read(&whole).unwrap();
    let cut = folder.join("cut.mkv");
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let (_, all) = frames(&whole, Kind::Video);
    let (_, some) = frames(&cut, Kind::Video);
    assert!((20..80).contains(&some.len()), "{}", some.len());
    for (left, right) in some.iter().zip(&all) {
        assert_eq!(left.payload, right.payload);
    }
}

#[test]
fn damage_never_panics() {
    let Some(folder) = corpus() else { return };
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize
    };
    for name in ["film.mp4", "film.mkv", "film.ts", "film.avi", "film.264", "xvid.avi", "s16.wav", "song.aac"]
    {
        let bytes = fs::read(folder.join(name)).unwrap();
        for round in 0..6 {
            let mut damaged = bytes.clone();
            for _ in 0..50 {
                let place = random() % damaged.len();
                damaged[place] = random() as u8;
            }
            let path = folder.join(format!("damaged{round}-{name}"));
            fs::write(&path, &damaged).unwrap();
            let Ok(opened) = open(&path) else { continue };
            let Ok(mut reader) = Reader::open(opened.demux, &opened.tracks, opened.duration) else {
                continue;
            };
            while let Ok(Some(_)) = reader.stretch() {}
            let _ = reader.seek(MediaTime(2_000_000_000));
        }
    }
}
