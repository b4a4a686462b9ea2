//! Sources that send Motion JPEG over HTTP: their pictures come by RTP (RFC 2435) as they were.

use super::{PATH, PATIENCE, describe, pulling, watch};
use crate::client::rtp::Packet;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::judge;
use crate::mjpeg::{Camera, pictures};
use crate::server::{Backend, Server, on_both_backends};

fn server(backend: Backend, camera: &Camera, nodes: &[(&str, &str)]) -> Server {
    pulling(backend, &format!("http://127.0.0.1:{}/video", camera.port), nodes).start()
}

/// The entropy-coded part of a JPEG file: between the header of its scan and its end marker.
fn scan_of(file: &[u8]) -> &[u8] {
    let at = file.windows(2).position(|marker| marker == [0xff, 0xda]).expect("a scan");
    let size = usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
    &file[at + 2 + size..file.len() - 2]
}

/// The same of a picture's packets; None when one of them is missing.
fn scan_in(unit: &[Packet]) -> Option<Vec<u8>> {
    let mut scan = Vec::new();
    for packet in unit {
        let payload = &packet.payload;
        let offset = u32::from_be_bytes([0, payload[1], payload[2], payload[3]]) as usize;
        let tables = match (offset, payload[5]) {
            (0, 128..) => 4 + usize::from(u16::from_be_bytes([payload[10], payload[11]])),
            _ => 0,
        };
        (offset == scan.len()).then_some(())?;
        scan.extend(&payload[8 + tables..]);
    }
    unit.last()?.marker.then_some(scan)
}

/// Waits for so many pictures, each of which must be one of the camera's.
#[track_caller]
pub(super) fn see_pictures(server: &Server, over: Over, count: usize) -> Viewer {
    let mut viewer = watch(server, over);
    let whole = |viewer: &Viewer| viewer.tracks[0].packets.iter().filter(|packet| packet.marker).count();
    assert!(viewer.receive_until(PATIENCE, |viewer| whole(viewer) >= count), "{} pictures", whole(&viewer));
    assert_eq!(viewer.tracks[0].gaps(), []);
    let files: Vec<_> = pictures().1.iter().map(|file| scan_of(file)).collect();
    let mut units = viewer.tracks[0].units();
    if !units.last().is_some_and(|unit| unit.last().is_some_and(|last| last.marker)) {
        units.pop();
    }
    for unit in units {
        let scan = scan_in(unit).expect("a whole picture");
        assert!(files.contains(&&scan[..]), "{} bytes that are no picture of the camera", scan.len());
    }
    viewer
}

fn pictures_come_byte_for_byte(backend: Backend) {
    let oddities: &[&[&str]] =
        &[&[], &["--boundary-dashes", "--no-length"], &["--chunked"], &["--snapshot"], &["--redirect"]];
    for options in oddities {
        let camera = Camera::start(options);
        let server = server(backend, &camera, &[]);
        for over in BOTH {
            see_pictures(&server, over, 5);
        }
    }
}

fn players_show_them(backend: Backend) {
    let camera = Camera::start(&[]);
    let server = server(backend, &camera, &[]);
    let url = server.url(PATH);
    for over in BOTH {
        let ffmpeg = ["-v", "error", "-xerror", "-rtsp_transport", over.name(), "-i", &url];
        let ffmpeg = ffmpeg.into_iter().chain(["-frames:v", "20", "-f", "null", "-"]);
        let gstreamer = ["-q", "rtspsrc", &format!("location={url}"), &format!("protocols={}", over.name())]
            .map(str::to_owned)
            .into_iter()
            .chain(
                ["!", "rtpjpegdepay", "!", "jpegdec", "!", "fakesink", "num-buffers=20"].map(str::to_owned),
            );
        judge::run("ffmpeg", &ffmpeg.map(str::to_owned).collect::<Vec<_>>(), PATIENCE * 2).unwrap();
        judge::run("gst-launch-1.0", &gstreamer.collect::<Vec<_>>(), PATIENCE * 2).unwrap();
    }
}

fn passwords_are_given_and_wrong_ones_are_said(backend: Backend) {
    for auth in ["basic", "digest", "digest-sha256"] {
        let camera = Camera::start(&["--user", "admin", "--password", "s@cret", "--auth", auth]);
        let right = server(backend, &camera, &[("user", "admin"), ("pass", "s@cret")]);
        see_pictures(&right, Over::Tcp, 3);
        let wrong = server(backend, &camera, &[("user", "admin"), ("pass", "other")]);
        let answer = describe(&wrong);
        assert_eq!(answer.status, 503, "{auth}");
        assert!(answer.text().contains("refuses this user and password"), "{auth}: {}", answer.text());
        assert!(!right.log().contains("s@cret") && !wrong.log().contains("other"), "{auth}");
    }
}

fn a_stream_that_ends_or_stalls_is_asked_for_again(backend: Backend) {
    for options in [["--stop-after", "30"], ["--stall-after", "30"]] {
        let camera = Camera::start(&options);
        let server = server(backend, &camera, &[]);
        let mut viewer = watch(&server, Over::Tcp);
        let count = |viewer: &Viewer| viewer.tracks[0].packets.iter().filter(|packet| packet.marker).count();
        assert!(viewer.receive_until(PATIENCE * 3, |viewer| count(viewer) > 40), "{options:?}");
        let track = &viewer.tracks[0];
        assert_eq!(track.gaps(), [], "{options:?}");
        let steps = track.packets.windows(2).map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp));
        assert!(steps.max().unwrap() < 1 << 31, "{options:?}: time goes on");
        assert!(server.log().contains("source lost"), "{options:?}");
    }
}

fn what_is_no_motion_jpeg_is_refused_with_its_reason(backend: Backend) {
    let camera = Camera::start(&["--status", "404"]);
    let server = server(backend, &camera, &[]);
    let answer = describe(&server);
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("404"), "{}", answer.text());
}

on_both_backends!(
    pictures_come_byte_for_byte,
    players_show_them,
    passwords_are_given_and_wrong_ones_are_said,
    a_stream_that_ends_or_stalls_is_asked_for_again,
    what_is_no_motion_jpeg_is_refused_with_its_reason,
);
