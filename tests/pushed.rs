//! Files that are pushed as RTP come to real players as they are, from a keyframe to the last frame.

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use proto::frame::Frame;
use proto::rtcp::report::SenderInfo;
use proto::rtcp::write;
use proto::rtp::batch::{Batch, Numbering};
use proto::rtp::packetize::Packetizer;
use proto::time::NtpTime;
use ringcaster::media::format::Format;
use ringcaster::media::pool::opener;

use crate::client::Client;
use crate::client::pusher::{Pusher, WAYS, Way};
use crate::client::viewer::{BOTH, Over};
use crate::corpus::{Recipe, Video, folder};
use crate::judge::ffmpeg::{Listing, Scratch, source};
use crate::judge::{self, Verdict, gstreamer};
use crate::published::{await_stream, once_more, plays, rest_of, spawn, watch, watch_within};
use crate::server::{Backend, Server, free_ports, on_both_backends, scratch};

/// What is pushed, and how the configuration calls its sound.
const FILES: [(&str, &str); 3] = [
    ("h264_aac.mp4", "<codec>AAC</codec><samplerate>48000</samplerate><channels>2</channels>"),
    ("h264_pcma.mkv", "<codec>G711A</codec>"),
    ("h265_aac.mp4", "<codec>AAC</codec><samplerate>44100</samplerate><channels>2</channels>"),
];

/// What else a pusher may be of, and what its sound is then called: bytes alone do not say.
const OTHER_FILES: [(&str, &str, &str); 4] = [
    (
        "mpeg4_aac.mp4",
        "<codec>AAC</codec><samplerate>48000</samplerate><channels>2</channels>",
        " mpeg4-generic/48000/2",
    ),
    ("jpeg_g722.mkv", "<codec>G722</codec>", " G722/8000"),
    ("jpeg_pcmu.mov", "<codec>G711U</codec>", " PCMU/8000"),
    (
        "h264_opus.mkv",
        "<codec>OPUS</codec><samplerate>48000</samplerate><channels>2</channels>",
        " opus/48000/2",
    ),
];

/// Sound that no container holds beside pictures, and what it is called: bytes do not say their order.
const SOUND: [(&str, &str, &str); 3] = [
    ("g726_32.au", "<codec>G726</codec><bitorder>LSB</bitorder>", " G726-32/8000"),
    ("g726_32.wav", "<codec>G726</codec><bitorder>MSB</bitorder>", " AAL2-G726-32/8000"),
    ("g726_24.wav", "<codec>G726</codec><bitrate>24</bitrate><bitorder>MSB</bitorder>", " AAL2-G726-24/8000"),
];

/// A server with a pusher whose ports are neighbours.
fn start(backend: Backend, way: Way, (name, audio): (&str, &str)) -> (Server, [u16; 2]) {
    let port = free_ports();
    let ports = [port + 2, port + 3];
    let mode = if way == Way::Udp { "UDP" } else { "TCP" };
    let video = match Recipe::named(name).video {
        Some((Video::H264, _)) => "H264",
        Some((Video::H265, _)) => "H265",
        Some((Video::Mpeg4, _)) => "MP4",
        Some((Video::Jpeg, _)) => "JPEG",
        Some((other, _)) => panic!("no pusher is of {other:?}"),
        None => "",
    };
    let xml = format!(
        "<pusher><suffix>pusher</suffix><video><codec>{video}</codec></video><audio>{audio}</audio>
        <transfer><mode>{mode}</mode><vport>{}</vport><aport>{}</aport></transfer></pusher>",
        ports[0], ports[1]
    );
    let server = Server::with(backend)
        .port(port)
        .setting("gop_cache", 2)
        .setting("source_grace_s", 2)
        .setting("source_start_ms", 2_000);
    let server = server.xml(&xml).lifetime(Duration::from_secs(180)).start();
    // Each shard opens its own ports.
    server.wait_for_log("pushed: ", Duration::from_secs(10));
    (server, ports)
}

/// Sends a file in real time, each track to its port under payload types of no meaning.
fn push(way: Way, ports: &[u16], name: &str) {
    let path = folder().join(name);
    let mut opened = opener(true).open(File::open(&path).unwrap(), &path, &Format::default()).unwrap();
    let mut pusher = Pusher::connect(way, ports);
    let wall = NtpTime::from_unix(Duration::from_secs(1_700_000_000));
    let mut reports = Vec::new();
    let mut packetizers: Vec<_> = (opened.tracks.iter().enumerate())
        .map(|(index, track)| {
            let numbering = Numbering {
                ssrc: 0x7000 + index as u32,
                payload_type: 100 + index as u8,
                sequence: 65_000,
                timestamp: 4_000_000_000,
            };
            let info = SenderInfo {
                ssrc: numbering.ssrc,
                ntp: wall,
                rtp: numbering.timestamp,
                packets: 0,
                octets: 0,
            };
            let mut report = BytesMut::new();
            write::sender_report(&mut report, &info, "test");
            reports.push(Some(report));
            Packetizer::new(track, index as u8, numbering, 1_400)
        })
        .collect();
    let began = Instant::now();
    while let Some(frame) = opened.demux.next_frame().unwrap() {
        let clock_rate = f64::from(opened.tracks[usize::from(frame.track)].clock_rate);
        let due = Duration::from_secs_f64(frame.dts.max(0) as f64 / clock_rate);
        thread::sleep(due.saturating_sub(began.elapsed()));
        let track = usize::from(frame.track);
        send(&mut pusher, &mut packetizers[track], &frame);
        if let Some(report) = reports[track].take() {
            // Reports go to the port above, which is the other track's for the first one.
            pusher.forward(if way == Way::Udp { ports.len() - 1 } else { track }, &report);
        }
    }
}

fn send(pusher: &mut Pusher, packetizer: &mut Packetizer, frame: &Frame) {
    let batch: Option<Batch> = packetizer.packetize(frame).unwrap();
    for (packet, batch) in
        batch.iter().flat_map(|batch| batch.packets().iter().map(move |packet| (packet, batch)))
    {
        pusher.forward(usize::from(frame.track), batch.packet(packet));
    }
}

pub(crate) fn what_is_pushed_is_what_ffmpeg_plays(backend: Backend) {
    for (way, file) in WAYS.into_iter().zip(FILES) {
        let recipe = Recipe::named(file.0);
        for over in BOTH {
            let verdict = once_more(over, || {
                let (server, ports) = start(backend, way, file);
                thread::scope(|scope| {
                    scope.spawn(|| push(way, &ports, file.0));
                    await_stream(&server, &server.url("/pusher"))?;
                    watch(&server.url("/pusher"), over, recipe)
                })
            });
            assert_eq!(verdict, Ok(()), "{file:?} {way:?} {over:?}");
        }
    }
}

/// Waits until the stream is described, with sound of that name.
fn await_sound(server: &Server, wanted: &str) -> Verdict {
    let url = server.url("/pusher");
    await_stream(server, &url)?;
    let described = Client::connect(server.address()).request("DESCRIBE", &url, &[]).expect(200).text();
    if described.contains(wanted) { Ok(()) } else { Err(format!("no{wanted} in {described}")) }
}

fn other_codecs_that_are_pushed_are_what_ffmpeg_plays(backend: Backend) {
    for ((name, audio, wanted), way) in OTHER_FILES.into_iter().zip(WAYS.into_iter().cycle()) {
        // The way that the sender has is not the player's.
        let over = if way == Way::Udp { Over::Tcp } else { Over::Udp };
        let verdict = once_more(Over::Udp, || {
            let (server, ports) = start(backend, way, (name, audio));
            thread::scope(|scope| {
                scope.spawn(|| push(way, &ports, name));
                await_sound(&server, wanted)?;
                watch(&server.url("/pusher"), over, Recipe::named(name))
            })
        });
        assert_eq!(verdict, Ok(()), "{name} {way:?} {over:?}");
    }
}

fn sound_that_is_pushed_alone_is_what_ffmpeg_plays(backend: Backend) {
    for (name, audio, wanted) in SOUND {
        let recipe = Recipe::named(name);
        let verdict = once_more(Over::Udp, || {
            let (server, [_, aport]) = start(backend, Way::Udp, (name, audio));
            let (path, loops) = (recipe.path(), plays(recipe) - 1);
            let arguments = format!(
                "-v error -re -stream_loop {loops} -i {} -c copy -f rtp rtp://127.0.0.1:{aport}",
                path.display()
            );
            let _pushing = spawn("ffmpeg", &arguments);
            await_sound(&server, wanted)?;
            watch(&server.url("/pusher"), Over::Tcp, recipe)
        });
        assert_eq!(verdict, Ok(()), "{name}");
    }
}

fn what_ffmpeg_pushes_is_what_ffmpeg_plays(backend: Backend) {
    for file in &FILES[..2] {
        let recipe = Recipe::named(file.0);
        let verdict = once_more(Over::Udp, || {
            let (server, ports) = start(backend, Way::Udp, *file);
            let [vport, aport] = ports;
            let arguments = format!(
                "-v error -re -i {} -map 0:v -c copy -bsf:v h264_mp4toannexb -f rtp rtp://127.0.0.1:{vport} \
                 -map 0:a -c copy -f rtp rtp://127.0.0.1:{aport}",
                recipe.path().display()
            );
            let _pushing = spawn("ffmpeg", &arguments);
            await_stream(&server, &server.url("/pusher"))?;
            // It reports on pictures alone: its other reports go to a port above ours. Clocks are those of arrival.
            watch_within(0.1, &server.url("/pusher"), Over::Tcp, recipe)
        });
        assert_eq!(verdict, Ok(()), "{file:?}");
    }
}

/// Plays with GStreamer until the stream ends; its pictures must be the rest of the file's.
fn play_by_gstreamer(url: &str, recipe: &'static Recipe) -> Verdict {
    let folder = Scratch(scratch("pushed"));
    let file = folder.file("video.264");
    let arguments = format!(
        "-q rtspsrc location={url} protocols=tcp name=s s. ! application/x-rtp,media=video ! \
         rtph264depay ! h264parse ! video/x-h264,stream-format=byte-stream ! filesink location={file} \
         s. ! application/x-rtp,media=audio ! fakesink"
    );
    let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    // The server closes the connection at the end; whether GStreamer calls that an error is a race of its own. The
    // last picture shows that it got there.
    let ended = judge::run("gst-launch-1.0", &arguments, Duration::from_secs(25));
    let arguments: Vec<String> =
        ["-v", "error", "-i", &file, "-f", "framemd5", "-"].map(str::to_owned).into();
    let output = judge::run("ffmpeg", &arguments, Duration::from_secs(20))?;
    let played = Listing::parse(&String::from_utf8_lossy(&output.stdout));
    fs::remove_file(&file).map_err(|error| error.to_string())?;
    let verdict = rest_of("pictures", &source(recipe).pictures.sums, &played.sums, 0);
    verdict.map(|_| ()).map_err(|problem| format!("{problem}; {:?}", ended.err()))
}

fn what_is_pushed_is_what_gstreamer_plays(backend: Backend) {
    let file = FILES[0];
    let run = || {
        let (server, ports) = start(backend, Way::Tcp, file);
        thread::scope(|scope| {
            scope.spawn(|| push(Way::Tcp, &ports, file.0));
            await_stream(&server, &server.url("/pusher"))?;
            play_by_gstreamer(&server.url("/pusher"), Recipe::named(file.0))
        })
    };
    let mut verdict = run();
    for _ in 1..gstreamer::RUNS_MAX {
        let Err(problem) = &verdict else { break };
        println!("once more: {problem}");
        verdict = run();
    }
    assert_eq!(verdict, Ok(()));
}

on_both_backends!(
    sound_that_is_pushed_alone_is_what_ffmpeg_plays,
    what_ffmpeg_pushes_is_what_ffmpeg_plays;
    "ffmpeg":
    what_is_pushed_is_what_ffmpeg_plays,
    other_codecs_that_are_pushed_are_what_ffmpeg_plays,
    what_is_pushed_is_what_gstreamer_plays,
);
