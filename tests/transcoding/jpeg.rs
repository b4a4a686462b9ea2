//! Pictures in JPEG that RFC 2435 does not carry as they are: without a loss where only their form is another, else as good
//! as they look; and those of more than 2040 pixels, whose size stands in an extension.

use std::collections::HashSet;
use std::fs;

use super::{PATIENCE, kept, likeness, likeness_by, probed};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::judge::ffmpeg::{Scratch, words};
use crate::judge::{Turn, run};
use crate::mjpeg::Camera;
use crate::server::{Backend, Server, on_both_backends, scratch};

const PICTURES: &str = "-f lavfi -i testsrc2=s=320x176:r=25:d=3";

fn ffmpeg(arguments: &str) -> String {
    let output = run("ffmpeg", &words(&format!("-nostdin -v error -y {arguments}")), PATIENCE).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A checksum of each picture of an input as it is decoded.
fn sums(input: &str) -> Vec<String> {
    let listed = ffmpeg(&format!("{input} -map 0:v -fps_mode passthrough -f framemd5 -"));
    let lines = listed.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Has ImageMagick make a picture anew.
fn convert(arguments: &str) {
    // By its path: other programs go by that name, too.
    run("/usr/bin/convert", &words(arguments), PATIENCE).unwrap();
}

/// JPEG files one behind the other, each made by ImageMagick with these arguments.
fn by_imagemagick(media: &Scratch, name: &str, arguments: &str) -> String {
    ffmpeg(&format!("{PICTURES} -frames:v 25 {}", media.file("part%02d.png")));
    let mut bytes = Vec::new();
    for index in 1..=25 {
        let (from, to) = (media.file(&format!("part{index:02}.png")), media.file("part.jpg"));
        convert(&format!("{from} {arguments} {to}"));
        bytes.extend(fs::read(to).unwrap());
    }
    fs::write(media.file(name), bytes).unwrap();
    media.file(name)
}

fn media() -> Scratch {
    Scratch(scratch("jpeg"))
}

fn what_differs_in_form_alone_comes_without_a_loss(backend: Backend) {
    let media = media();
    let encoded = |name: &str, arguments: &str| {
        let file = media.file(name);
        ffmpeg(&format!("{PICTURES} -c:v mjpeg -q:v 3 {arguments} {file}"));
        file
    };
    let files = [
        ("optimal.avi", encoded("optimal.avi", "-huffman optimal -pix_fmt yuvj420p")),
        ("optimal422.mov", encoded("optimal422.mov", "-huffman optimal -pix_fmt yuvj422p")),
        ("odd.mkv", encoded("odd.mkv", "-huffman optimal -pix_fmt yuvj420p -vf crop=312:168")),
        (
            "magick.mjpeg",
            by_imagemagick(&media, "magick.mjpeg", "-interlace none -sampling-factor 2x2 -quality 85"),
        ),
    ];
    let progressive =
        ("progressive.mjpeg", by_imagemagick(&media, "progressive.mjpeg", "-interlace JPEG -quality 85"));
    let server = Server::with(backend).media(media.path()).start();
    for (index, (name, source)) in files.iter().chain([&progressive]).enumerate() {
        let _turn = Turn::wait();
        let (url, over) = (server.url(&format!("/{name}")), BOTH[index % 2]);
        let played = sums(&format!("-rtsp_transport {} -i {url}", over.name()));
        let wanted = sums(&format!("-i {source}"));
        assert!(wanted.len() >= 25, "{name}: {} pictures", wanted.len());
        assert_eq!(played, wanted, "{name}");
    }
    assert_eq!(server.lines("left out"), 0);
    assert_eq!(server.lines("made anew"), 0);
}

fn what_rtp_cannot_say_is_encoded_and_looks_alike(backend: Backend) {
    let media = media();
    let sampled = media.file("sampled.avi");
    ffmpeg(&format!("{PICTURES} -c:v mjpeg -q:v 3 -pix_fmt yuvj444p {sampled}"));
    let files = [
        ("sampled.avi", sampled),
        (
            "narrow.mjpeg",
            by_imagemagick(&media, "narrow.mjpeg", "-interlace none -sampling-factor 4x1 -quality 85"),
        ),
    ];
    let server = Server::with(backend).media(media.path()).start();
    for (index, (name, source)) in files.iter().enumerate() {
        let (url, scratch) = (server.url(&format!("/{name}")), Scratch(scratch("kept")));
        let file = kept(&scratch, &url, BOTH[index % 2], "-an");
        assert_eq!(probed(&file, "codec_name,width,height").trim(), "mjpeg,320,176", "{name}");
        let likeness = likeness(&file, source);
        println!("{name}: {likeness}");
        assert!(likeness > 0.97, "{name}: {likeness}");
        // What is asked for otherwise is made of the source itself.
        let other = probed(&format!("-rtsp_transport tcp {url}&ve=H264"), "codec_name,width");
        assert_eq!(other.trim(), "h264,320", "{name}");
    }
    assert_eq!(server.lines("is made anew as JPEG"), files.len());
}

/// A folder with some pictures, made with these arguments of ImageMagick.
fn pictures(arguments: &str) -> Scratch {
    let folder = Scratch(scratch("camera"));
    for index in 1..=5 {
        let from = folder.file("from.png");
        ffmpeg(&format!(
            "-f lavfi -i testsrc2=s=320x176:r=25 -vf select=eq(n\\,{}) -frames:v 1 {from}",
            10 * index
        ));
        convert(&format!("{from} {arguments} {}", folder.file(&format!("{index}.jpg"))));
        fs::remove_file(from).unwrap();
    }
    folder
}

fn pictures_of_a_camera_are_made_anew_as_they_come(backend: Backend) {
    for (arguments, is_exact) in [
        ("-interlace none -sampling-factor 2x2", true),
        ("-interlace JPEG -sampling-factor 2x1", true),
        ("-sampling-factor 1x1", false),
    ] {
        let folder = pictures(&format!("{arguments} -quality 85"));
        let camera = Camera::of(folder.path(), &[]);
        let source = format!("http://127.0.0.1:{}/video", camera.port);
        let server = Server::with(backend).proxy("gate", &source, &[]).start();
        for over in BOTH {
            let (url, scratch) = (server.url("/gate"), Scratch(scratch("kept")));
            let file = kept(&scratch, &url, over, "-frames:v 20 -an");
            let seen = sums(&format!("-i {file}"));
            assert_eq!(seen.len(), 20, "{arguments}");
            if is_exact {
                let sent: HashSet<_> = (1..=5)
                    .flat_map(|index| sums(&format!("-i {}", folder.file(&format!("{index}.jpg")))))
                    .collect();
                assert!(seen.iter().all(|sum| sent.contains(sum)), "{arguments}: {seen:?} of {sent:?}");
                continue;
            }
            let alike = |index: usize| {
                let picture = format!("-i {}", folder.file(&format!("{index}.jpg")));
                likeness_by(&file, &picture, "trim=start_frame=10:end_frame=11,setpts=0", "setpts=0")
            };
            let best = (1..=5).map(alike).fold(0.0, f64::max);
            println!("{arguments}: {best}");
            assert!(best > 0.97, "{arguments}: {best}");
        }
        assert!(server.lines("pictures of a source that RTP does not carry are made anew") > 0);
    }
}

fn an_owner_who_wants_nothing_decoded_gets_what_comes_without_a_loss(backend: Backend) {
    let serve = |folder: &Scratch| {
        let camera = Camera::of(folder.path(), &[]);
        let source = format!("http://127.0.0.1:{}/video", camera.port);
        let server = Server::with(backend).setting("transcode_unsupported", 0);
        (server.media(folder.path()).proxy("gate", &source, &[]).start(), camera)
    };
    let folder = pictures("-interlace none -sampling-factor 2x2 -quality 85");
    let (server, _camera) = serve(&folder);
    let scratch = Scratch(scratch("kept"));
    let file = kept(&scratch, &server.url("/gate"), Over::Tcp, "-frames:v 5 -an");
    assert_eq!(sums(&format!("-i {file}")).len(), 5);
    let folder = pictures("-sampling-factor 1x1 -quality 85");
    by_imagemagick(&folder, "sampled.mjpeg", "-sampling-factor 1x1");
    let (server, _camera) = serve(&folder);
    let mut client = crate::client::Client::connect(server.address());
    client.request("DESCRIBE", &server.url("/gate"), &[]);
    server.wait_for_log("transcode_unsupported is 0", PATIENCE);
    let refused = client.request("DESCRIBE", &server.url("/sampled.mjpeg"), &[]).expect(415);
    assert!(refused.text().contains("sampling"), "{}", refused.text());
}

/// 10 pictures of 2560 by 1440.
fn large(media: &Scratch) -> String {
    let file = media.file("large.mov");
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=2560x1440:r=10:d=1 -c:v mjpeg -q:v 6 -huffman default -pix_fmt yuvj420p {file}"
    ));
    file
}

/// Has GStreamer play so many pictures of a URL, and make files of them; their checksums.
fn played_by_gstreamer(url: &str, over: Over, count: usize) -> Vec<String> {
    let _turn = Turn::wait();
    let scratch = Scratch(scratch("kept"));
    let file = scratch.file("played.mjpeg");
    let way = over.name();
    let arguments = format!(
        "-q rtspsrc location={url} protocols={way} ! rtpjpegdepay ! identity eos-after={count} ! filesink location={file}"
    );
    run("gst-launch-1.0", &words(&arguments), PATIENCE).unwrap();
    let sums = sums(&format!("-f mjpeg -i {file}"));
    assert!(sums.len() + 2 >= count, "{} pictures", sums.len());
    sums
}

fn large_pictures_tell_their_size_in_an_extension(backend: Backend) {
    let media = media();
    let wanted: HashSet<_> = sums(&format!("-i {}", large(&media))).into_iter().collect();
    let film = media.file("film.mp4");
    ffmpeg(&format!("-f lavfi -i testsrc2=s=2560x1440:r=10:d=1 -c:v libx264 -preset ultrafast {film}"));
    let looping = Server::with(backend).media(media.path()).setting("loop_nums", -1).start();
    for over in BOTH {
        let played = played_by_gstreamer(&looping.url("/large.mov"), over, 10);
        assert!(played.iter().all(|sum| wanted.contains(sum)), "{over:?}: {played:?}");
    }
    // What is asked for in JPEG is as large as its source.
    played_by_gstreamer(&looping.url("/film.mp4&ve=JPEG"), Over::Tcp, 10);
    let server = Server::with(backend).media(media.path()).start();
    let mut viewer = Viewer::open(server.address(), &server.url("/film.mp4&ve=JPEG"), Over::Tcp);
    viewer.play(&[]);
    viewer.receive_all(PATIENCE);
    let units = viewer.tracks[0].units();
    assert_eq!(units.len(), 10);
    for unit in units {
        // Width and height are zero (ONVIF streaming specification section 5.1.4).
        assert!(unit.iter().all(|packet| packet.payload[6..8] == [0, 0]));
        let extension = unit[0].extension.as_ref().expect("the first packet has an extension");
        assert_eq!(extension[..4], [0xff, 0xd8, 0, 5]);
        assert_eq!(extension[4..13], [0xff, 0xc0, 0, 17, 8, 5, 160, 10, 0]);
        assert!(unit[1..].iter().all(|packet| packet.extension.is_none()));
    }
}

fn large_pictures_of_another_server_are_passed_on_and_made_anew(backend: Backend) {
    let media = media();
    let wanted: HashSet<_> = sums(&format!("-i {}", large(&media))).into_iter().collect();
    let rule = "<output><url>*.mov</url><live>1</live></output>";
    let origin = Server::with(backend).media(media.path()).xml(rule).start();
    let server = Server::with(backend).proxy("gate", &origin.url("/large.mov"), &[]).start();
    let url = server.url("/gate");
    let played = played_by_gstreamer(&url, Over::Tcp, 6);
    assert!(played.iter().all(|sum| wanted.contains(sum)), "{played:?}");
    let input = format!("-rtsp_transport tcp {url}&ve=H264&w=640");
    assert_eq!(probed(&input, "codec_name,width,height").trim(), "h264,640,360");
}

on_both_backends!(;
    "ffmpeg":
    what_differs_in_form_alone_comes_without_a_loss,
    what_rtp_cannot_say_is_encoded_and_looks_alike,
    pictures_of_a_camera_are_made_anew_as_they_come,
    an_owner_who_wants_nothing_decoded_gets_what_comes_without_a_loss,
    large_pictures_tell_their_size_in_an_extension,
    large_pictures_of_another_server_are_passed_on_and_made_anew,
);
