//! Files that are not what they should be: refused with a reason, or played as far as they go; the end is always clean
//! and other viewers notice nothing.

mod hostile;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::viewer::{BOTH, Over, Viewer};
use crate::client::{Client, Response};
use crate::corpus::{Recipe, folder};
use crate::judge::elementary::{file_pictures, received_picture};
use crate::judge::ffmpeg::words;
use crate::judge::{raw, run};
use crate::playing::start_of;
use crate::server::{Backend, Server, can_be_unprivileged, on_both_backends, scratch};

/// The file that another viewer watches meanwhile.
const STEADY: &str = "h264_aac.mp4";

/// A media folder of a test's own.
struct Media(PathBuf);

impl Media {
    fn new(name: &str) -> Media {
        let media = Media(scratch(name));
        fs::copy(folder().join(STEADY), media.path(STEADY)).unwrap();
        media
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file.
    fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Makes a file from one of the corpus with arguments of `ffmpeg`: those before `-i` for the input, those behind it for the output.
    fn remux(&self, source: &str, arguments: &str, name: &str) {
        let mut all = words("-nostdin -v error -y");
        let (before, behind) = arguments.split_once("-i").unwrap_or(("", arguments));
        all.extend(words(before));
        all.extend(["-i".to_owned(), folder().join(source).display().to_string()]);
        all.extend(words("-map 0 -c copy"));
        all.extend(words(behind));
        all.push(self.path(name).display().to_string());
        run("ffmpeg", &all, Duration::from_secs(30)).unwrap();
    }

    /// Puts the first half of some files of the corpus here.
    fn put_halves(&self, names: &[&str]) {
        for name in names {
            let whole = fs::read(folder().join(name)).unwrap();
            self.put(name, &whole[..whole.len() / 2]);
        }
    }

    fn server(&self, backend: Backend) -> Server {
        Server::with(backend).media(&self.0).lifetime(Duration::from_secs(120)).start()
    }

    /// A server that may not read everything; None where there can be none.
    fn unprivileged_server(&self, backend: Backend) -> Option<Server> {
        if can_be_unprivileged() {
            return Some(Server::with(backend).media(&self.0).unprivileged().start());
        }
        println!("skipped: run by root in a folder that nobody else may enter");
        None
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Somebody who watches a good file while something happens to others.
struct Neighbour(Viewer);

impl Neighbour {
    fn begin(server: &Server) -> Neighbour {
        let mut viewer = Viewer::open(server.address(), &server.url(&format!("/{STEADY}")), Over::Tcp);
        viewer.play(&[]);
        Neighbour(viewer)
    }

    /// Fails unless everything came, in time.
    #[track_caller]
    fn saw_everything(mut self) {
        self.0.receive_all(Duration::from_secs(10));
        let verdict = raw::compare(&self.0, Recipe::named(STEADY));
        assert_eq!(verdict, Ok(()), "another viewer was disturbed");
        let packets = &self.0.tracks[0].packets;
        let took = packets[packets.len() - 1].at - packets[0].at;
        assert!(took < Duration::from_secs(6), "another viewer waited: three seconds took {took:?}");
    }
}

fn describe(server: &Server, name: &str) -> Response {
    Client::connect(server.address()).request("DESCRIBE", &server.url(&format!("/{name}")), &[])
}

/// Asks for a point of a file; where it is granted, everything behind it must come. None where it is refused by 457.
#[track_caller]
fn seek(server: &Server, name: &str, range: &str) -> Option<(Response, Viewer)> {
    let mut viewer = Viewer::open(server.address(), &server.url(&format!("/{name}")), Over::Tcp);
    let url = viewer.url.clone();
    let answer = viewer.client.request("PLAY", &url, &[("Range", range), ("Speed", "4")]);
    if answer.status == 457 {
        return None;
    }
    let answer = answer.expect(200);
    viewer.receive_all(Duration::from_secs(10));
    Some((answer, viewer))
}

/// Plays to the end, faster than its content where `speed` says so.
#[track_caller]
fn play_all(server: &Server, name: &str, over: Over, speed: &str) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(&format!("/{name}")), over);
    viewer.play(&[("Speed", speed)]);
    viewer.receive_all(Duration::from_secs(15));
    viewer.teardown();
    viewer
}

/// How many pictures came, which must be the first ones of a file; the last may be cut.
#[track_caller]
fn first_pictures(viewer: &Viewer, recipe: &'static Recipe) -> usize {
    let (video, _) = recipe.video.expect("a file with pictures");
    let source = file_pictures(recipe, video).unwrap();
    let track = viewer.tracks.iter().find(|track| track.media.kind == "video").expect("a video track");
    assert_eq!(track.gaps(), [], "{}", recipe.name);
    let units = track.units();
    assert!(units.len() <= source.len(), "{}: {} pictures", recipe.name, units.len());
    for (number, unit) in units.iter().enumerate().take(units.len() - 1) {
        let pieces = received_picture(video, unit).unwrap();
        assert_eq!(pieces, source[number].pieces, "{}: picture {number}", recipe.name);
    }
    units.len()
}

fn what_is_no_media_is_refused_with_a_reason(backend: Backend) {
    let media = Media::new("refused");
    // The index is at the end of this one.
    media.put_halves(&["h264_aac.mov"]);
    media.put("empty.mp4", "");
    media.put("empty.ts", "");
    media.put("text.mp4", "Not a film.\n".repeat(500));
    media.put("noise.ts", hostile::noise(200_000));
    media.put("noise.mkv", hostile::noise(200_000));
    media.put("header.flv", b"FLV\x01\x05\0\0\0\x09\0\0\0\0");
    let server = media.server(backend);
    let neighbour = Neighbour::begin(&server);
    for name in ["h264_aac.mov", "empty.mp4", "empty.ts", "text.mp4", "noise.ts", "noise.mkv", "header.flv"] {
        let answer = describe(&server, name);
        assert_eq!(answer.status, 415, "{name}: {answer:?}");
        assert!(answer.text().trim().len() > 10, "{name}: no reason: {answer:?}");
        server.wait_for_log(name, Duration::from_secs(2));
    }
    neighbour.saw_everything();
}

fn what_is_no_file_is_not_found_and_holds_nobody_up(backend: Backend) {
    let media = Media::new("no-file");
    fs::create_dir(media.path("folder.mp4")).unwrap();
    let fifo = media.path("fifo.mp4").display().to_string();
    run("mkfifo", &[fifo], Duration::from_secs(5)).unwrap();
    for (name, target) in [
        ("nowhere.mp4", "gone"),
        ("device.mp4", "/dev/zero"),
        ("linked.mp4", "fifo.mp4"),
        ("self.mp4", "self.mp4"),
    ] {
        std::os::unix::fs::symlink(target, media.path(name)).unwrap();
    }
    let server = media.server(backend);
    let neighbour = Neighbour::begin(&server);
    for name in ["folder.mp4", "folder.mp4/", "nowhere.mp4", "device.mp4", "self.mp4"] {
        let answer = describe(&server, name);
        assert!(matches!(answer.status, 403 | 404), "{name}: {answer:?}");
    }
    // More than there are threads for media.
    for _ in 0..8 {
        for name in ["fifo.mp4", "linked.mp4"] {
            assert_eq!(describe(&server, name).status, 404, "{name}");
        }
    }
    assert!(describe(&server, STEADY).status == 200);
    neighbour.saw_everything();
}

fn a_file_without_permission_is_forbidden(backend: Backend) {
    let media = Media::new("forbidden");
    fs::copy(folder().join(STEADY), media.path("secret.mp4")).unwrap();
    hostile::forbid(&media.path("secret.mp4"));
    let Some(server) = media.unprivileged_server(backend) else { return };
    let neighbour = Neighbour::begin(&server);
    let answer = describe(&server, "secret.mp4");
    assert_eq!(answer.status, 403, "{answer:?}");
    neighbour.saw_everything();
}

fn a_folder_that_is_closed_while_a_file_in_it_plays_ends_cleanly(backend: Backend) {
    let media = Media::new("closed");
    fs::create_dir(media.path("sub")).unwrap();
    media.remux("h264_aac.mp4", "-stream_loop 7 -i", "sub/a.mkv");
    let Some(server) = media.unprivileged_server(backend) else { return };
    let neighbour = Neighbour::begin(&server);
    let mut viewer = Viewer::open(server.address(), &server.url("/sub/a.mkv"), Over::Tcp);
    viewer.play(&[("Speed", "8")]);
    viewer.receive_until(Duration::from_secs(5), |viewer| viewer.tracks[0].packets.len() > 20);
    hostile::forbid(&media.path("sub"));
    viewer.receive_all(Duration::from_secs(15));
    assert_eq!(viewer.tracks[0].gaps(), []);
    let answer = describe(&server, "sub/a.mkv");
    hostile::allow(&media.path("sub"));
    assert_eq!(answer.status, 403, "{answer:?}");
    neighbour.saw_everything();
}

fn a_file_that_was_cut_plays_as_far_as_it_goes(backend: Backend) {
    let media = Media::new("cut");
    let names = [
        "h264_faststart.mp4",
        "h264_fragmented.mp4",
        "h264_opus.mkv",
        "h264_aac.flv",
        "h264_mp3.avi",
        "h264_aac.ts",
        "h264_mp3.mpg",
        "h264.264",
        "vp8_opus.webm",
    ];
    media.put_halves(&names);
    let server = media.server(backend);
    let neighbour = Neighbour::begin(&server);
    for name in names {
        let viewer = play_all(&server, name, Over::Tcp, "4");
        let count = first_pictures(&viewer, Recipe::named(name));
        assert!((20..60).contains(&count), "{name}: {count} pictures of about 37");
    }
    neighbour.saw_everything();
}

fn a_seek_into_what_was_cut_off_ends_cleanly(backend: Backend) {
    let media = Media::new("cut-seek");
    let names = ["h264_faststart.mp4", "h264_opus.mkv", "h264_aac.ts", "h264_aac.flv", "h264_mp3.avi"];
    media.put_halves(&names);
    let server = media.server(backend);
    let neighbour = Neighbour::begin(&server);
    for name in names {
        seek(&server, name, "npt=2.8-");
    }
    neighbour.saw_everything();
}

fn a_file_that_vanishes_ends_cleanly(backend: Backend) {
    let media = Media::new("vanish");
    fs::create_dir(media.path("sub")).unwrap();
    let names = ["sub/a.mp4", "sub/a.mkv", "sub/a.ts"];
    for name in names {
        media.remux("h264_aac.mp4", "-stream_loop 7 -i", name);
    }
    let server = media.server(backend);
    let neighbour = Neighbour::begin(&server);
    let mut viewers: Vec<_> = (names.iter().zip([Over::Tcp, Over::Udp, Over::Tcp]))
        .map(|(name, over)| {
            let mut viewer = Viewer::open(server.address(), &server.url(&format!("/{name}")), over);
            viewer.play(&[("Speed", "8")]);
            viewer
        })
        .collect();
    for viewer in &mut viewers {
        viewer.receive_until(Duration::from_secs(5), |viewer| viewer.tracks[0].packets.len() > 20);
    }
    fs::remove_dir_all(media.path("sub")).unwrap();
    for (viewer, name) in viewers.iter_mut().zip(names) {
        viewer.receive_all(Duration::from_secs(15));
        assert_eq!(viewer.tracks[0].gaps(), [], "{name}");
        assert_eq!(describe(&server, name).status, 404, "{name}");
    }
    neighbour.saw_everything();
}

fn a_file_that_is_replaced_ends_cleanly_and_the_new_one_plays(backend: Backend) {
    let media = Media::new("replaced");
    media.remux("h264_aac.mp4", "-stream_loop 7 -i", "a.mkv");
    let server = media.server(backend);
    let neighbour = Neighbour::begin(&server);
    let mut viewer = Viewer::open(server.address(), &server.url("/a.mkv"), Over::Tcp);
    viewer.play(&[("Speed", "8")]);
    viewer.receive_until(Duration::from_secs(5), |viewer| viewer.tracks[0].packets.len() > 20);
    // Once under its name, once over its bytes.
    fs::copy(folder().join("vp8_opus.webm"), media.path("b.mkv")).unwrap();
    fs::rename(media.path("b.mkv"), media.path("a.mkv")).unwrap();
    viewer.receive_all(Duration::from_secs(15));
    assert_eq!(viewer.tracks[0].gaps(), []);
    let again = play_all(&server, "a.mkv", Over::Tcp, "4");
    assert_eq!(raw::compare(&again, Recipe::named("vp8_opus.webm")), Ok(()));
    let mut viewer = Viewer::open(server.address(), &server.url("/a.mkv"), Over::Tcp);
    viewer.play(&[]);
    media.put("a.mkv", hostile::noise(500_000));
    viewer.receive_all(Duration::from_secs(15));
    assert_eq!(describe(&server, "a.mkv").status, 415);
    neighbour.saw_everything();
}

fn a_file_that_grows_plays_what_is_there(backend: Backend) {
    let media = Media::new("grow");
    let names = ["h264_aac.ts", "h264_opus.mkv", "h264_aac.flv"];
    media.put_halves(&names);
    let server = media.server(backend);
    let neighbour = Neighbour::begin(&server);
    for name in names {
        let mut viewer = Viewer::open(server.address(), &server.url(&format!("/{name}")), Over::Tcp);
        viewer.play(&[]);
        let whole = fs::read(folder().join(name)).unwrap();
        for share in [60, 70, 80, 90, 100] {
            viewer.receive(Duration::from_millis(150));
            let end = whole.len() * share / 100;
            hostile::append_up_to(&media.path(name), &whole[..end]);
        }
        viewer.receive_all(Duration::from_secs(15));
        let count = first_pictures(&viewer, Recipe::named(name));
        assert!(count >= 20, "{name}: {count} pictures");
        // The next viewer gets what the file has become.
        let viewer = play_all(&server, name, Over::Tcp, "4");
        assert_eq!(raw::compare(&viewer, Recipe::named(name)), Ok(()), "{name}");
    }
    neighbour.saw_everything();
}

fn a_file_without_index_duration_or_description_plays_whole(backend: Backend) {
    let media = Media::new("bare");
    media.remux("h264_opus.mkv", "-i -live 1 -f matroska", "no_cues.mkv");
    media.remux("h264_aac.flv", "-i -flvflags no_metadata+no_duration_filesize", "no_metadata.flv");
    media.put("no_index.avi", hostile::without_index(&fs::read(folder().join("h264_mp3.avi")).unwrap()));
    let server = media.server(backend);
    let neighbour = Neighbour::begin(&server);
    for (name, recipe) in [
        ("no_cues.mkv", "h264_opus.mkv"),
        ("no_metadata.flv", "h264_aac.flv"),
        ("no_index.avi", "h264_mp3.avi"),
    ] {
        for over in BOTH {
            let viewer = play_all(&server, name, over, "4");
            assert_eq!(raw::compare(&viewer, Recipe::named(recipe)), Ok(()), "{name} {over:?}");
        }
        if let Some((answer, viewer)) = seek(&server, name, "npt=1.5-") {
            let start = start_of(&answer);
            assert!((0.0..=1.5).contains(&start), "{name}: {answer:?}");
            let count = viewer.tracks[0].units().len();
            let wanted = ((3.0 - start) * 25.0) as usize;
            assert!(count.abs_diff(wanted) <= 3, "{name}: {count} pictures from {start} s on");
        }
    }
    neighbour.saw_everything();
}

fn a_length_that_is_a_lie_takes_nothing_away(backend: Backend) {
    let media = Media::new("lies");
    let wav = fs::read(folder().join("l16_mono.wav")).unwrap();
    let mp4 = fs::read(folder().join("h264_faststart.mp4")).unwrap();
    for (name, size) in [("zero.wav", 0), ("endless.wav", u32::MAX), ("long.wav", 1 << 30)] {
        media.put(name, hostile::with_data_size(&wav, size));
    }
    for (name, duration) in [("zero.mp4", 0), ("short.mp4", 500), ("endless.mp4", 0x7fff_fff0)] {
        media.put(name, hostile::with_durations(&mp4, hostile::HEADERS, duration));
    }
    let server = media.server(backend);
    let neighbour = Neighbour::begin(&server);
    for (name, recipe) in [
        ("zero.wav", "l16_mono.wav"),
        ("endless.wav", "l16_mono.wav"),
        ("long.wav", "l16_mono.wav"),
        ("zero.mp4", "h264_faststart.mp4"),
        ("short.mp4", "h264_faststart.mp4"),
        ("endless.mp4", "h264_faststart.mp4"),
    ] {
        let viewer = play_all(&server, name, Over::Tcp, "4");
        assert_eq!(raw::compare(&viewer, Recipe::named(recipe)), Ok(()), "{name}");
    }
    // A point that there is by the header alone.
    for name in ["endless.mp4", "endless.wav", "long.wav"] {
        seek(&server, name, "npt=100-");
    }
    neighbour.saw_everything();
}

fn a_wrong_index_ends_cleanly(backend: Backend) {
    let media = Media::new("index");
    let mp4 = fs::read(folder().join("h264_faststart.mp4")).unwrap();
    media.put("no_edits.mp4", hostile::with_durations(&mp4, hostile::EDITS, 0));
    media.put("short_edits.mp4", hostile::with_durations(&mp4, hostile::EDITS, 500));
    media.put("sizes.mp4", hostile::with_sample_sizes(&mp4, |size| size * 3));
    media.put("some_sizes.mp4", hostile::with_sample_sizes(&mp4, |size| size + (size & 1) * 1_000_000));
    media.put("huge_sizes.mp4", hostile::with_sample_sizes(&mp4, |size| size | 0x7fff_0000));
    media.put("no_sizes.mp4", hostile::with_sample_sizes(&mp4, |_| 0));
    let server = media.server(backend);
    let neighbour = Neighbour::begin(&server);
    let before = server.memory_bytes();
    for name in
        ["no_edits.mp4", "short_edits.mp4", "sizes.mp4", "some_sizes.mp4", "huge_sizes.mp4", "no_sizes.mp4"]
    {
        let answer = describe(&server, name);
        if answer.status == 415 {
            assert!(answer.text().trim().len() > 10, "{name}: no reason: {answer:?}");
            continue;
        }
        answer.expect(200);
        let viewer = play_all(&server, name, Over::Tcp, "4");
        assert!(viewer.tracks.iter().all(|track| track.gaps().is_empty()), "{name}");
    }
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    neighbour.saw_everything();
}

on_both_backends!(;
    "ffmpeg":
    what_is_no_media_is_refused_with_a_reason,
    what_is_no_file_is_not_found_and_holds_nobody_up,
    a_file_without_permission_is_forbidden,
    a_file_that_was_cut_plays_as_far_as_it_goes,
    a_seek_into_what_was_cut_off_ends_cleanly,
    a_file_that_vanishes_ends_cleanly,
    a_file_that_is_replaced_ends_cleanly_and_the_new_one_plays,
    a_file_that_grows_plays_what_is_there,
    a_file_without_index_duration_or_description_plays_whole,
    a_length_that_is_a_lie_takes_nothing_away,
    a_wrong_index_ends_cleanly,
    a_folder_that_is_closed_while_a_file_in_it_plays_ends_cleanly,
);
