//! What a viewer says is heard on a loudspeaker of the machine (ONVIF backchannel), in every format and by every way.

use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::sound::session;
use crate::client::viewer::{Over, Viewer};
use crate::client::{Client, Message};
use crate::corpus::folder;
use crate::judge::ffmpeg::{Scratch, words};
use crate::published::{Publishing, spawn};
use crate::server::{Backend, Builder, Server, on_both_backends, scratch};
use crate::talking::TAG;
use crate::transcoding::heard_at;
use crate::tunnels::bridge::{DOORS, connect};

/// What the viewer says, in hertz.
const TONE: f64 = 700.0;

/// How long it says it: longer than is recorded.
const SAID: Duration = Duration::from_secs(5);

pub(crate) fn name(backend: Backend) -> String {
    match backend {
        Backend::Windows(_) => "talk-windows".to_owned(),
        _ => format!("talk-{}", backend.name()),
    }
}

fn server(backend: Backend, codec: &str) -> Builder {
    talked_to(backend, codec, &format!("<device>{}</device>", name(backend)))
}

pub(crate) fn talked_to(backend: Backend, codec: &str, nodes: &str) -> Builder {
    let node = format!("<backchannel><codec>{codec}</codec>{nodes}</backchannel>");
    session().server(backend).xml(&node).media(folder()).http()
}

pub(crate) fn tagged(mut client: Client) -> Client {
    client.require = Some(TAG);
    client
}

/// Payload type of a format, by its name in SDP.
pub(crate) fn payload_type(viewer: &Viewer, name: &str) -> u8 {
    let text = &viewer.description.text;
    let section = text.rsplit("m=audio").next().unwrap();
    assert!(section.contains("a=sendonly"), "{text}");
    let is_named = |line: &&str| line.to_lowercase().contains(&name.to_lowercase());
    let line = section.lines().filter(|line| line.starts_with("a=rtpmap:")).find(is_named);
    let line = line.unwrap_or_else(|| panic!("{name} in {text}"));
    line["a=rtpmap:".len()..].split(' ').next().unwrap().parse().unwrap()
}

/// Has FFmpeg make packets of a tone, which come here.
fn packets(tone: f64, payload_type: u8, encoding: &str) -> (UdpSocket, Publishing) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let to = socket.local_addr().unwrap();
    let source = format!("-re -f lavfi -i sine=frequency={tone}:sample_rate=48000");
    let arguments = format!(
        "-nostdin -v error {source} {encoding} -payload_type {payload_type} -f rtp rtp://{to}?pkt_size=1200"
    );
    (socket, spawn("ffmpeg", &arguments))
}

/// A program that keeps three seconds of what a loudspeaker plays.
fn recorder(loudspeaker: &str, file: &str) -> Command {
    let mut record = session().tool("timeout");
    let source = format!("-f pulse -i {loudspeaker}.monitor");
    record.args(words(&format!("20 ffmpeg -nostdin -v error -y {source} -t 3 {file}")));
    record.stdin(Stdio::null());
    record
}

/// Says the tone for a while and listens to the loudspeaker meanwhile: the share of the tone in what is heard.
pub(crate) fn said(backend: Backend, viewer: &mut Viewer, payload_type: u8, encoding: &str) -> f64 {
    let track = viewer.tracks.len() - 1;
    let (socket, _packets) = packets(TONE, payload_type, encoding);
    let folder = Scratch(scratch("talk"));
    let file = folder.file("heard.wav");
    let mut record = recorder(&name(backend), &file);
    let mut recording = None;
    let (begin, mut bytes) = (Instant::now(), [0; 2_048]);
    while begin.elapsed() < SAID {
        let Ok(size) = socket.recv(&mut bytes) else { continue };
        viewer.say(track, &bytes[..size]);
        if recording.is_none() && begin.elapsed() > Duration::from_millis(800) {
            recording = Some(record.spawn().unwrap());
        }
    }
    let status = recording.expect("something was said").wait().unwrap();
    assert!(status.success(), "the loudspeaker cannot be listened to");
    let (level, of_tone) = heard_at(&file, TONE);
    println!("level {level}, tone {of_tone}");
    assert!(level > 1e-5, "nothing is heard: {level}");
    of_tone
}

/// Formats by their names in the configuration and in SDP, and how FFmpeg makes them.
const FORMATS: [(&str, &str, &str); 6] = [
    ("G711A", "PCMA/8000", "-c:a pcm_alaw -ar 8000 -ac 1"),
    ("G711U", "PCMU/8000", "-c:a pcm_mulaw -ar 8000 -ac 1"),
    ("G722", "G722/8000", "-c:a g722 -ar 16000 -ac 1"),
    ("G726", "G726-32/8000", "-c:a g726le -ar 8000 -ac 1 -b:a 32k"),
    ("AAC", "MPEG4-GENERIC/8000", "-c:a aac -ar 8000 -ac 1"),
    ("OPUS", "opus/48000/2", "-c:a libopus -ac 1"),
];

fn what_a_viewer_says_is_heard_in_every_format(backend: Backend) {
    for (index, (codec, name, encoding)) in FORMATS.into_iter().enumerate() {
        let server = server(backend, codec).start();
        let over = [Over::Udp, Over::Tcp][index % 2];
        let client = tagged(Client::connect(server.address()));
        let mut viewer = Viewer::describe_on(client, &server.url("/test"), over).set_up();
        // The one that is asked for stands first.
        let payload_type = payload_type(&viewer, name);
        let section = viewer.description.text.rsplit("m=audio").next().unwrap();
        assert!(section.starts_with(&format!(" 0 RTP/AVP {payload_type} ")), "{section}");
        viewer.play(&[]);
        let of_tone = said(backend, &mut viewer, payload_type, encoding);
        assert!(of_tone > 0.7, "{codec} over {over:?}: {of_tone}");
        // Pictures come beside it.
        assert!(viewer.receive_until(Duration::from_secs(10), |viewer| viewer.tracks[0].packets.len() > 20));
    }
}

fn what_a_viewer_says_is_heard_through_tunnels_and_beside_a_file(backend: Backend) {
    let server = server(backend, "G711U").start();
    for way in DOORS {
        let client = tagged(connect(server.http_address(), way));
        let mut viewer = Viewer::describe_on(client, &server.url("/h264_aac.mp4"), Over::Tcp).set_up();
        let payload_type = payload_type(&viewer, "PCMU/8000");
        viewer.play(&[]);
        let of_tone = said(backend, &mut viewer, payload_type, FORMATS[1].2);
        assert!(of_tone > 0.7, "{way:?}: {of_tone}");
        viewer.teardown();
    }
}

fn a_second_talker_is_refused_until_the_first_has_ended(backend: Backend) {
    let server = server(backend, "G711U").start();
    let open = || {
        let client = tagged(Client::connect(server.address()));
        Viewer::describe_on(client, &server.url("/test"), Over::Tcp)
    };
    let first = open().set_up();
    let mut second = open();
    let media = second.description.media.last().unwrap().control.clone();
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=4-5")];
    let refused = second.client.request("SETUP", &media, &transport).expect(453);
    assert!(refused.text().contains("somebody else is talking"), "{}", refused.text());
    drop(first);
    let end = Instant::now() + Duration::from_secs(10);
    while second.client.request("SETUP", &media, &transport).status != 200 {
        assert!(Instant::now() < end, "the place is not given back");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn as_many_are_heard_at_once_as_the_configuration_allows(backend: Backend) {
    let device = format!("mixed-{}", backend.name());
    let nodes = format!("<device>{device}</device><talkers>2</talkers>");
    let server = talked_to(backend, "G711U", &nodes).start();
    let open = || {
        let client = tagged(Client::connect(server.address()));
        Viewer::describe_on(client, &server.url("/test"), Over::Tcp)
    };
    let tones = [TONE, 1_900.0];
    let mut talkers = tones.map(|tone| {
        let mut viewer = open().set_up();
        let payload_type = payload_type(&viewer, "PCMU/8000");
        viewer.play(&[]);
        let (socket, packets) = packets(tone, payload_type, FORMATS[1].2);
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        (viewer, socket, packets)
    });
    let mut third = open();
    let media = third.description.media.last().unwrap().control.clone();
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=4-5")];
    third.client.request("SETUP", &media, &transport).expect(453);

    let folder = Scratch(scratch("mixed"));
    let file = folder.file("heard.wav");
    let mut record = recorder(&device, &file);
    let mut recording = None;
    let (begin, mut bytes) = (Instant::now(), [0; 2_048]);
    while begin.elapsed() < SAID {
        for (viewer, socket, _) in &mut talkers {
            let Ok(size) = socket.recv(&mut bytes) else { continue };
            let track = viewer.tracks.len() - 1;
            viewer.say(track, &bytes[..size]);
        }
        if recording.is_none() && begin.elapsed() > Duration::from_millis(800) {
            recording = Some(record.spawn().unwrap());
        }
    }
    assert!(recording.expect("something was said").wait().unwrap().success());
    // Two tones of one level: each is half of what is heard.
    for tone in tones {
        let (level, of_tone) = heard_at(&file, tone);
        assert!(level > 1e-5 && of_tone > 0.25, "{tone} Hz: level {level}, share {of_tone}");
    }
}

fn the_two_dialogues_of_onvif_hold(backend: Backend) {
    // Without a backchannel the tag is refused, and without the tag nothing of it is said.
    let plain = Server::with(backend).start();
    let mut client = tagged(Client::connect(plain.address()));
    client.ask("DESCRIBE", &plain.url("/test"), &[]);
    let Some(Message::Response(answer)) = client.next(Duration::from_secs(10)) else { panic!("no answer") };
    let answer = answer.expect(551);
    assert_eq!(answer.header("Unsupported"), Some(TAG));
    let server = server(backend, "G711U").start();
    let viewer = Viewer::describe(server.address(), &server.url("/test"), Over::Tcp);
    assert!(!viewer.description.text.contains("only"), "{}", viewer.description.text);
}

on_both_backends!(
    a_second_talker_is_refused_until_the_first_has_ended,
    the_two_dialogues_of_onvif_hold;
    "ffmpeg":
    what_a_viewer_says_is_heard_in_every_format,
    what_a_viewer_says_is_heard_through_tunnels_and_beside_a_file,
    as_many_are_heard_at_once_as_the_configuration_allows,
);
