//! Stills by the API: of what, in which size, and when there is none.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::{Running, page, server};
use crate::browser::PATIENCE;
use crate::client::publisher::Publisher;
use crate::client::viewer::Over;
use crate::judge::ffmpeg::Scratch;
use crate::judge::run;
use crate::server::{Backend, Server, on_both_backends, scratch};

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: String,
    kind: String,
    /// Problems as text.
    body: Vec<u8>,
}

fn ask(server: &Server, path: &str) -> Answer {
    ask_as(server, path, "Accept: image/jpeg")
}

/// Asks with a header.
fn ask_as(server: &Server, path: &str, header: &str) -> Answer {
    let folder = Scratch(scratch("still"));
    let file = folder.file("answer");
    let url = page(server, &format!("api/v1/snapshot/{path}"));
    let arguments =
        ["-sS", "--max-time", "30", "-H", header, "-o", &file, "-w", "%{http_code} %{content_type}", &url]
            .map(str::to_owned);
    let output = run("curl", &arguments, PATIENCE).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (status, kind) = text.split_once(' ').unwrap();
    Answer { status: status.into(), kind: kind.into(), body: fs::read(&file).unwrap_or_default() }
}

/// The size of a JPEG picture, by ffprobe.
#[track_caller]
fn size(answer: &Answer) -> String {
    assert_eq!((&*answer.status, &*answer.kind), ("200", "image/jpeg"), "{answer:?}");
    let folder = Scratch(scratch("still"));
    let file = folder.file("still.jpg");
    fs::write(&file, &answer.body).unwrap();
    let show = ["-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0", &file];
    let output = run("ffprobe", &show.map(str::to_owned), PATIENCE).unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[track_caller]
fn expect_problem(answer: &Answer, status: &str, detail: &str) {
    assert_eq!((&*answer.status, &*answer.kind), (status, "application/problem+json"), "{answer:?}");
    let text = String::from_utf8_lossy(&answer.body);
    assert!(text.contains(detail), "{text}");
}

fn stills_are_of_streams_and_files_in_the_size_that_is_wanted(backend: Backend) {
    let server = server(backend).start();
    let _publisher = Running::publisher(&server, "/gate");
    let end = Instant::now() + PATIENCE;
    while ask(&server, "gate.jpg").status != "200" {
        assert!(Instant::now() < end, "{:?}", ask(&server, "gate.jpg"));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(size(&ask(&server, "gate.jpg")), "mjpeg,640,360");
    assert_eq!(size(&ask(&server, "gate.jpg?w=320")), "mjpeg,320,180");
    let first = size(&ask(&server, "h265_opus.mkv.jpg"));
    assert!(first.starts_with("mjpeg,"), "{first}");
    for file in ["h264_aac.mp4", "av1.mp4", "vp9.mkv", "mpeg4_aac.mp4", "jpeg.mp4"] {
        assert!(size(&ask(&server, &format!("{file}.jpg?w=100"))).starts_with("mjpeg,100,"), "{file}");
    }
    assert_ne!(ask(&server, "h264_aac.mp4.jpg").body, ask(&server, "h264_aac.mp4.jpg?t=1.5").body);
    // Pictures in JPEG are given as they are.
    assert_eq!(ask(&server, "jpeg.mp4.jpg").body, ask(&server, "jpeg.mp4.jpg?t=0").body);
}

fn a_stream_that_nobody_watches_is_left_alone(backend: Backend) {
    let server = server(backend).start();
    expect_problem(&ask(&server, "test.jpg"), "409", "start=1");
    assert_eq!(server.lines("source started"), 0);
    expect_problem(&ask(&server, "nothing.jpg"), "404", "there is no file");
    expect_problem(&ask(&server, "test"), "404", "there is no picture");
    expect_problem(&ask(&server, "aac.mkv.jpg"), "415", "no pictures");
    expect_problem(&ask(&server, "test.jpg?w=1"), "400", "w is 16");
    expect_problem(&ask(&server, "test.jpg?t=-1"), "400", "t is");
    expect_problem(&ask(&server, "test.jpg?x=1"), "400", "");
    for spelling in ["start=1", "w=320&start=1", "%73tart=1", "start=%31", "%73%74%61%72%74=%2B01"] {
        let path = format!("test.jpg?{spelling}");
        for header in ["Sec-Fetch-Site: cross-site", "Origin: http://evil.example"] {
            expect_problem(&ask_as(&server, &path, header), "403", "pages of other origins");
        }
    }
    let look = ask_as(&server, "test.jpg?start=0", "Sec-Fetch-Site: cross-site");
    expect_problem(&look, "409", "start=1");
    assert_eq!(server.lines("source started"), 0);
    assert!(size(&ask(&server, "test.jpg?start=1")).starts_with("mjpeg,"));
    server.wait_for_log("source stopped: nobody watches", PATIENCE);
}

fn streams_without_a_keyframe_hold_up_no_others(backend: Backend) {
    let server = server(backend).start();
    let mut publishers: Vec<_> = (0..3)
        .map(|index| Publisher::start(server.address(), &server.url(&format!("/still/{index}")), Over::Udp))
        .collect();
    let mut send = |index| publishers.iter_mut().for_each(|publisher| publisher.picture(index, false));
    (0..5).for_each(&mut send);
    thread::scope(|scope| {
        let ask = |index| {
            let server = &server;
            scope.spawn(move || ask(server, &format!("still/{index}.jpg")))
        };
        let waiting: Vec<_> = (0..3).map(ask).collect();
        // More than there are places for what is decoded, and all of them wait: their publishers are asked for a keyframe (PLI).
        for publisher in &publishers {
            let asks = |report: &[u8]| report.windows(2).any(|two| two == [0x81, 206]);
            while !asks(&publisher.heard(0, PATIENCE).expect("a keyframe is asked for")) {}
        }
        assert!(size(&super::still::ask(&server, "h264_aac.mp4.jpg")).starts_with("mjpeg,"));
        assert!(waiting.iter().all(|one| !one.is_finished()), "they were done before");
        for one in waiting {
            expect_problem(&one.join().unwrap(), "409", "no picture has come");
        }
    });
}

on_both_backends!(;
    "ffmpeg":
    stills_are_of_streams_and_files_in_the_size_that_is_wanted,
    a_stream_that_nobody_watches_is_left_alone,
    streams_without_a_keyframe_hold_up_no_others,
);
