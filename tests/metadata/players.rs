//! Players that know of metadata read it: FFmpeg as a stream of data, GStreamer by its caps.

use std::fs;
use std::time::Duration;

use super::{document, telling};
use crate::client::viewer::{BOTH, Over};
use crate::judge::ffmpeg::{Scratch, words};
use crate::judge::{Turn, run};
use crate::server::{Backend, on_both_backends, scratch};

const LONG: Duration = Duration::from_secs(40);

/// The documents of ours in bytes that hold one behind the other.
#[track_caller]
fn ours(bytes: &[u8]) -> Vec<document::Event> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    let (head, end) = ("<?xml", "</tt:MetadataStream>");
    let whole = text.split_inclusive(end).filter(|document| document.ends_with(end));
    let documents: Vec<_> = whole.map(|document| &document[document.find(head).unwrap()..]).collect();
    documents.iter().flat_map(|text| document::events(text.as_bytes())).collect()
}

fn ffmpeg_sees_a_stream_of_data(backend: Backend) {
    let server = telling(backend).setting("gop_cache", 2).start();
    let _turn = Turn::wait();
    let folder = Scratch(scratch("metadata"));
    for path in ["/test", "/h264_aac.mp4"] {
        for over in BOTH {
            let url = server.url(path);
            let transport = over.name();
            let shown = format!(
                "-v error -rtsp_transport {transport} -show_entries stream=codec_type -of csv=p=0 {url}"
            );
            let seen = run("ffprobe", &words(&shown), LONG).unwrap();
            let mut kinds: Vec<_> = str::from_utf8(&seen.stdout).unwrap().split_whitespace().collect();
            kinds.sort_unstable();
            assert_eq!(kinds, ["audio", "data", "video"], "{path} {over:?}");
            let out = folder.file("out");
            let taken = format!(
                "-nostdin -v error -y -rtsp_transport {transport} -i {url} -t 2.5 -map 0:d -c copy -f data {out} \
                 -t 2.5 -map 0:v -c copy -f null -"
            );
            run("ffmpeg", &words(&taken), LONG).unwrap();
            let told = ours(&fs::read(&out).unwrap());
            assert!(!told.is_empty() && told.iter().all(|event| event.stream == path[1..]), "{told:?}");
        }
    }
}

fn gstreamer_sees_it_by_its_caps(backend: Backend) {
    let server = telling(backend).start();
    let _turn = Turn::wait();
    let folder = Scratch(scratch("metadata"));
    for path in ["/test", "/h264_aac.mp4"] {
        for over in [Over::Tcp, Over::Udp] {
            let (url, out, protocol) = (server.url(path), folder.file("out"), over.name());
            // Its own depayloader is not in Debian's packages: each packet has twelve bytes in front of its document.
            let line = format!(
                "-q -e rtspsrc location={url} protocols={protocol} latency=50 name=s s. ! \
                 application/x-rtp,media=application,encoding-name=VND.ONVIF.METADATA,clock-rate=90000 ! \
                 identity eos-after=3 ! filesink location={out}"
            );
            run("gst-launch-1.0", &words(&line), LONG).unwrap();
            let bytes = fs::read(&out).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let end = "</tt:MetadataStream>";
            let documents: Vec<_> = text.split_inclusive(end).filter(|it| it.ends_with(end)).collect();
            assert!(!documents.is_empty(), "{path} {over:?}: {text}");
            for one in documents {
                let told = document::events(&one.as_bytes()[one.find("<?xml").unwrap()..]);
                assert!(told.iter().all(|event| event.stream == path[1..]), "{told:?}");
            }
        }
    }
}

on_both_backends!(;
    "ffmpeg":
    ffmpeg_sees_a_stream_of_data,
    gstreamer_sees_it_by_its_caps,
);
