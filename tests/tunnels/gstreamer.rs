//! GStreamer publishes through its own tunnel, which FFmpeg's publisher has not.

use std::time::Duration;

use super::server;
use crate::corpus::{Recipe, folder};
use crate::judge;
use crate::published::{await_stream, spawn};
use crate::server::{Backend, on_both_backends};

/// Pictures and sound that every player takes.
const FILE: &str = "h264_aac.mp4";

fn gstreamer_publishes_through_its_tunnel(backend: Backend) {
    let server = server(backend).setting("gop_cache", 2).start();
    let recipe = Recipe::named(FILE);
    let (file, http) = (folder().join(FILE), server.http_address());
    let arguments = format!(
        "-q filesrc location={} ! qtdemux name=d d.video_0 ! queue ! h264parse ! \
         rtspclientsink name=s location=rtsph://{http}/live/g d.audio_0 ! queue ! aacparse ! s.",
        file.display()
    );
    let _publishing = spawn("gst-launch-1.0", &arguments);
    await_stream(&server, &server.url("/live/g")).unwrap();
    // Its muxer gives times of its own, so pictures alone are compared; and it does not always end at the end.
    let url = format!("rtsp://{http}/live/g");
    let input = ["-rtsp_transport", "http", "-t", "1.5", "-i", &url];
    let played = judge::ffmpeg::see(&input, recipe, Duration::from_secs(25)).unwrap().pictures.sums;
    let source = judge::ffmpeg::source(recipe);
    let is_part = source.pictures.sums.windows(played.len()).any(|part| *part == played);
    assert!(played.len() > 25 && is_part, "{} pictures", played.len());
}

on_both_backends!(gstreamer_publishes_through_its_tunnel);
