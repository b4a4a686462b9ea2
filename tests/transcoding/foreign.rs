//! Files in codecs that RTP does not carry: what they become, and what leaves them out.

use std::fs;

use super::{PATIENCE, heard, kept, likeness_by, probed};
use crate::client::Client;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::judge::ffmpeg::{Scratch, words};
use crate::judge::run;
use crate::playing::start_of;
use crate::server::{Backend, Server, on_both_backends, scratch};

const PICTURES: &str = "-f lavfi -i testsrc2=s=320x176:r=25:d=3";
const SOUND: &str = "-f lavfi -i sine=440:d=3:r=48000";
const X264: &str = "-c:v libx264 -preset veryfast -g 25 -pix_fmt yuv420p";

/// Makes a file in a folder with FFmpeg; its path.
fn make(folder: &Scratch, name: &str, arguments: &str) -> String {
    let file = folder.file(name);
    run("ffmpeg", &words(&format!("-nostdin -v error -y {arguments} {file}")), PATIENCE).unwrap();
    file
}

fn media() -> Scratch {
    Scratch(scratch("foreign"))
}

fn sound_that_rtp_does_not_carry_comes_as_aac(backend: Backend) {
    let media = media();
    let files = [
        ("ac3.mkv", format!("{PICTURES} {SOUND} {X264} -c:a ac3"), "h264\naac,48000,1\n"),
        ("eac3.ts", format!("{PICTURES} {SOUND} {X264} -c:a eac3 -ac 2"), "h264\naac,48000,2\n"),
        ("flac.mkv", format!("{PICTURES} {SOUND} {X264} -c:a flac"), "h264\naac,48000,1\n"),
        ("bare.flac", format!("{SOUND} -ar 44100 -ac 2"), "aac,44100,2\n"),
        ("bare.ac3", format!("{SOUND} -ac 2"), "aac,48000,2\n"),
        ("six.ac3", format!("{SOUND} -af pan=5.1|FL=c0|FR=c0"), "aac,48000,2\n"),
        ("dts.mkv", format!("{SOUND} -ac 2 -c:a dca -strict -2"), "aac,48000,2\n"),
        ("vorbis.ogg", format!("{SOUND} -ac 2 -c:a libvorbis"), "aac,48000,2\n"),
        ("s24.wav", format!("{SOUND} -ar 96000 -c:a pcm_s24le"), "aac,48000,1\n"),
        ("f32.wav", format!("{SOUND} -ar 22050 -c:a pcm_f32le"), "aac,22050,1\n"),
        ("u8.wav", format!("{SOUND} -ar 11025 -c:a pcm_u8"), "aac,11025,1\n"),
        ("s32.mov", format!("{PICTURES} {SOUND} {X264} -c:a pcm_s32le"), "h264\naac,48000,1\n"),
    ];
    let server = Server::with(backend).media(media.path()).start();
    for (index, (name, arguments, is)) in files.iter().enumerate() {
        let source = make(&media, name, arguments);
        let (url, over) = (server.url(&format!("/{name}")), BOTH[index % 2]);
        let found =
            probed(&format!("-rtsp_transport {} {url}", over.name()), "codec_name,sample_rate,channels");
        assert_eq!(&found, is, "{name}");
        let scratch = media_of_test();
        let file = kept(&scratch, &url, over, "-map 0:a -c:a pcm_s16le");
        let ((level, _), (its_level, its_tone)) = (heard(&source), heard(&file));
        println!("{name}: level {:.2}, tone {its_tone:.3}", its_level / level);
        assert!(its_tone > 0.9, "{name}: {its_tone}");
        assert!((0.4..2.5).contains(&(its_level / level)), "{name}: {its_level} for {level}");
    }
    // Each is said once, however often it is played.
    assert_eq!(server.lines("is made anew as AAC"), files.len());
    assert_eq!(server.lines("is left out"), 0);
}

fn media_of_test() -> Scratch {
    Scratch(scratch("kept"))
}

fn pictures_that_rtp_does_not_carry_come_as_h264(backend: Backend) {
    let media = media();
    let files = [
        ("mpeg2.mpg", format!("{PICTURES} {SOUND} -c:v mpeg2video -q:v 3 -bf 2 -c:a mp2"), 0.9),
        ("mpeg2.ts", format!("{PICTURES} -c:v mpeg2video -q:v 3 -bf 2"), 0.9),
        ("prores.mov", format!("{PICTURES} -c:v prores_ks -pix_fmt yuv422p10le"), 0.9),
        ("wmv.asf", format!("{PICTURES} -c:v wmv2 -q:v 3"), 0.9),
        ("ffv1.mkv", format!("{PICTURES} -c:v ffv1"), 0.9),
    ];
    let server = Server::with(backend).media(media.path()).start();
    for (index, (name, arguments, alike)) in files.iter().enumerate() {
        let source = make(&media, name, arguments);
        let (url, over) = (server.url(&format!("/{name}")), BOTH[index % 2]);
        let scratch = media_of_test();
        let file = kept(&scratch, &url, over, "-an");
        assert_eq!(probed(&file, "codec_name,width,height").trim(), "h264,320,176", "{name}");
        let count = probed(&format!("-count_frames {file}"), "nb_read_frames");
        let count: i64 = count.trim().trim_end_matches(',').parse().unwrap();
        assert!((count - 75).abs() <= 2, "{name}: {count} pictures");
        // One by one: FFmpeg does not know the time of a first picture that comes before the first report.
        let likeness = likeness_by(&file, &format!("-i {source}"), "setpts=N/25/TB", "setpts=N/25/TB");
        println!("{name}: {likeness}");
        assert!(likeness > *alike, "{name}: {likeness}");
    }
    // What is carried beside them stays as it is.
    let found = probed(&format!("-rtsp_transport tcp {}", server.url("/mpeg2.mpg")), "codec_name");
    assert!(found.contains("mp2") || found.contains("mp3"), "{found}");
    assert_eq!(server.lines("is made anew as H264"), files.len());
}

fn urls_and_rules_say_what_it_becomes(backend: Backend) {
    let media = media();
    make(&media, "film.mkv", &format!("{PICTURES} {SOUND} -c:v mpeg2video -c:a ac3"));
    let rule = "<output><url>film.mkv</url><audio><codec>OPUS</codec></audio></output>";
    let server = Server::with(backend).media(media.path()).xml(rule).start();
    let shown = |asked: &str| {
        let url = server.url(&format!("/film.mkv{asked}"));
        probed(&format!("-rtsp_transport tcp {url}"), "codec_name,width,sample_rate")
    };
    assert_eq!(shown(""), "h264,320\nopus,48000\n");
    assert_eq!(shown("&ve=H265&w=160&ae=G711A&sr=8000"), "hevc,160\npcm_alaw,8000\n");
    assert_eq!(shown("&ae=none"), "h264,320\n");
    assert_eq!(shown("&ve=none&ae=aac"), "aac,48000\n");
    let mut client = Client::connect(server.address());
    let refused = client.request("DESCRIBE", &server.url("/film.mkv&ve=none&ae=none"), &[]).expect(415);
    assert!(refused.text().contains("nothing of it is asked for"), "{}", refused.text());
}

fn playing_begins_where_it_is_asked_to(backend: Backend) {
    let media = media();
    make(&media, "film.ts", &format!("{PICTURES} {SOUND} -c:v mpeg2video -g 12 -bf 2 -c:a ac3"));
    let server = Server::with(backend).media(media.path()).start();
    let mut viewer = Viewer::open(server.address(), &server.url("/film.ts"), Over::Tcp);
    for (asked, begins) in [("npt=2.5-", 2.0), ("npt=1.5-", 0.0)] {
        let start = start_of(&viewer.play(&[("Range", asked)]));
        assert!((start - begins).abs() < 0.1, "{asked}: {start}");
        let before = viewer.tracks.iter().map(|track| track.packets.len()).collect::<Vec<_>>();
        assert!(viewer.receive_until(PATIENCE, |viewer| {
            viewer.tracks.iter().zip(&before).all(|(track, before)| track.packets.len() > before + 5)
        }));
        viewer.pause();
    }
    assert!(viewer.tracks.iter().all(|track| track.gaps().is_empty()));
}

fn a_live_channel_of_such_a_file_plays_as_well(backend: Backend) {
    let media = media();
    make(&media, "film.mkv", &format!("{PICTURES} {SOUND} {X264} -c:a flac"));
    let rule = "<output><url>*.mkv</url><live>1</live></output>";
    let server = Server::with(backend).media(media.path()).xml(rule).start();
    let found = probed(&format!("-rtsp_transport tcp {}", server.url("/film.mkv")), "codec_name");
    assert_eq!(found, "h264\naac\n");
}

fn it_is_left_out_with_its_reason_where_the_owner_or_the_codec_wants_it_so(backend: Backend) {
    let media = media();
    let film = make(&media, "film.mkv", &format!("{PICTURES} {SOUND} {X264} -c:a ac3"));
    make(&media, "bare.flac", SOUND);
    // A codec that nobody knows: the same file under another name of its sound.
    let mut bytes = fs::read(&film).unwrap();
    let at = bytes.windows(5).position(|name| name == b"A_AC3").unwrap();
    bytes[at..at + 5].copy_from_slice(b"A_QQQ");
    fs::write(media.file("unknown.mkv"), bytes).unwrap();
    let off = Server::with(backend).media(media.path()).setting("transcode_unsupported", 0).start();
    let on = Server::with(backend).media(media.path()).start();
    for (server, path, reason) in
        [(&off, "/film.mkv", "ac3: RTP does not carry this codec here"), (&on, "/unknown.mkv", "is left out")]
    {
        let url = server.url(path);
        assert_eq!(probed(&format!("-rtsp_transport tcp {url}"), "codec_name"), "h264\n", "{path}");
        assert!(
            server.log().lines().any(|line| line.contains("left out") && line.contains(reason)),
            "{path}"
        );
    }
    let refused = Client::connect(off.address()).request("DESCRIBE", &off.url("/bare.flac"), &[]).expect(415);
    assert!(refused.text().contains("flac"), "{}", refused.text());
}

on_both_backends!(;
    "ffmpeg":
    sound_that_rtp_does_not_carry_comes_as_aac,
    pictures_that_rtp_does_not_carry_come_as_h264,
    urls_and_rules_say_what_it_becomes,
    playing_begins_where_it_is_asked_to,
    a_live_channel_of_such_a_file_plays_as_well,
    it_is_left_out_with_its_reason_where_the_owner_or_the_codec_wants_it_so,
);
