//! The reference product's whole configuration template, as one server: every stream in it plays, as it asks.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::screen::Screen;
use super::sound::session;
use crate::client::Client;
use crate::corpus::folder;
use crate::judge::ffmpeg::words;
use crate::judge::{Turn, run};
use crate::published::{Publishing, await_stream, spawn};
use crate::server::{Backend, Server, free_ports, on_both_backends};
use crate::talking::TAG;

const PATIENCE: Duration = Duration::from_secs(60);

/// The template with the source of its proxy filled in; its ports are those that this run may use.
pub(crate) fn template(port: u16, pusher: u16, source: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/samples/happytime-template.xml");
    let mut text = fs::read_to_string(file).unwrap();
    let ports = [
        ("serverport", "554", port),
        ("http_port", "8080", port + 1),
        ("https_port", "443", port + 3),
        ("vport", "50001", pusher),
        ("aport", "50002", pusher + 1),
    ];
    let filled = ports.map(|(node, before, after)| {
        (format!("<{node}>{before}</{node}>"), format!("<{node}>{after}</{node}>"))
    });
    let proxy = "<suffix>proxy</suffix>\n    <url>";
    let source = (format!("{proxy}</url>"), format!("{proxy}{source}</url>"));
    for (before, after) in filled.into_iter().chain([source]) {
        assert_eq!(text.matches(&before).count(), 1, "{before} in the template");
        text = text.replace(&before, &after);
    }
    text
}

/// Pictures and sound to a pusher's two ports. Reports go elsewhere: the ports are neighbours.
fn push(port: u16) -> Publishing {
    let pictures = "-re -f lavfi -i testsrc=size=320x240:rate=25 -re -f lavfi -i sine=frequency=440";
    let video = "-map 0:v -c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p";
    let audio = "-map 1:a -c:a pcm_mulaw -ar 8000 -ac 1";
    let [to_video, to_audio] = [port, port + 1]
        .map(|port| format!("-f rtp rtp://127.0.0.1:{port}?pkt_size=1200&rtcpport={}", port + 8));
    spawn("ffmpeg", &format!("-nostdin -v error {pictures} {video} {to_video} {audio} {to_audio}"))
}

/// What FFmpeg makes of a URL: a line for each track, with its rate of pictures or of samples.
fn shown(url: &str) -> Vec<String> {
    let _turn = Turn::wait();
    let entries = "stream=codec_name,codec_type,width,height,sample_rate,channels";
    let arguments = format!("-v error -rtsp_transport tcp -show_entries {entries} -of csv=p=0 {url}");
    let output = run("ffprobe", &words(&arguments), PATIENCE).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.contains("data")).map(str::to_owned).collect()
}

/// Pictures and sound of two seconds, decoded.
fn plays(url: &str) {
    let _turn = Turn::wait();
    let arguments =
        format!("-nostdin -v error -rtsp_transport tcp -i {url} -map 0:v -map 0:a? -t 2 -f null -");
    run("ffmpeg", &words(&arguments), PATIENCE).unwrap_or_else(|problem| panic!("{url}: {problem}"));
}

fn every_stream_of_the_template_plays_as_it_asks(backend: Backend) {
    let screen = Screen::start();
    let origin = Server::with(backend).lifetime(Duration::from_secs(240)).start();
    let (port, pusher) = (free_ports(), free_ports());
    let server = session()
        .server(backend)
        .port(port)
        .file(template(port, pusher, &origin.url("/test")))
        .environment("DISPLAY", &screen.display)
        .environment("RINGCASTER_RTSPS_PORT", &(port + 2).to_string())
        .environment("RINGCASTER_MEDIA_DIR", &folder().display().to_string())
        .environment("RINGCASTER_UDP_PORT_MIN", &(port + 4).to_string())
        .environment("RINGCASTER_UDP_PORT_MAX", &(port + 56).to_string())
        .lifetime(Duration::from_secs(240))
        .start();
    let _pushed = push(pusher);
    await_stream(&server, &server.url("/pusher")).unwrap();

    // Its own rule's, the general rule's, those that bring an output of their own, and what no rule is for.
    let asked = [
        ("/screenlive", &["h264,video,640,720"][..]),
        ("/screenlive1", &["h264,video,640,720"]),
        ("/screenlive+audiodevice", &["h264,video,640,720", "pcm_mulaw,audio,8000,1"]),
        ("/audiodevice", &["pcm_mulaw,audio,8000,2"]),
        ("/h265_aac.mp4", &["h264,video,320,176", "pcm_mulaw,audio,44100,2"]),
        ("/proxy", &["h264,video,640,480", "aac,audio,32000,2"]),
        ("/pusher", &["h264,video,640,480", "aac,audio,32000,2"]),
    ];
    for (path, tracks) in asked {
        assert_eq!(shown(&server.url(path)), tracks, "{path}");
        let has_pictures = tracks[0].contains("video");
        if has_pictures {
            plays(&server.url(path));
        }
        is_open_for_talk(&server, path);
    }
    plays(&server.url("/test"));
}

/// ONVIF's two dialogues: a client that names the feature is offered a track of its own, another is not.
fn is_open_for_talk(server: &Server, path: &str) {
    let describe = |tag: Option<&'static str>| {
        let mut client = Client::connect(server.address());
        client.require = tag;
        client.request("DESCRIBE", &server.url(path), &[]).expect(200).text()
    };
    assert!(describe(Some(TAG)).contains("a=sendonly"), "{path}");
    assert!(!describe(None).contains("a=sendonly"), "{path}");
}

on_both_backends!(;
    "ffmpeg":
    every_stream_of_the_template_plays_as_it_asks,
);
