//! `<pusher>`: streams that are sent to ports of their own.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::publisher::{self, Publisher};
use crate::client::pusher::{Pusher, WAYS, Way};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::folder;
use crate::server::{Backend, Builder, Server, free_ports, on_both_backends};

const PATH: &str = "/pusher";

const PATIENCE: Duration = Duration::from_secs(10);

/// A sender is silent after this long.
const SILENCE: Duration = Duration::from_millis(1_100);

/// The manual's own sample of a pusher, but for mode and ports.
fn node(way: Way, ports: &[u16; 2]) -> String {
    let mode = if way == Way::Udp { "UDP" } else { "TCP" };
    format!(
        "<pusher><suffix>pusher</suffix><video><codec>H264</codec></video>
        <audio><codec>G711U</codec><samplerate>8000</samplerate><channels>1</channels></audio>
        <transfer><mode>{mode}</mode><ip></ip><vport>{}</vport><aport>{}</aport></transfer>
        <output></output></pusher>",
        ports[0], ports[1]
    )
}

/// A server with a pusher whose ports are neighbours, as in the manual.
fn builder(backend: Backend, way: Way) -> (Builder, [u16; 2]) {
    let port = free_ports();
    let ports = [port + 2, port + 3];
    let builder = Server::with(backend).port(port).setting("gop_cache", 2).xml(&node(way, &ports));
    (builder, ports)
}

fn start(backend: Backend, way: Way) -> (Server, [u16; 2]) {
    let (builder, ports) = builder(backend, way);
    (open(builder), ports)
}

/// A server whose ports are open for senders: each shard opens its own.
fn open(builder: Builder) -> Server {
    let server = builder.start();
    server.wait_for_log("pushed: ", PATIENCE);
    server
}

/// Numbers of the pictures that a viewer has, in the order in which they came.
fn pictures(viewer: &Viewer) -> Vec<u32> {
    let units = viewer.tracks[0].units();
    let number = |payload: &[u8]| u32::from_be_bytes(payload[2..6].try_into().unwrap());
    units
        .iter()
        .filter(|unit| unit.last().unwrap().marker)
        .map(|unit| number(&unit.last().unwrap().payload))
        .collect()
}

/// Whether a viewer has so many pictures and their sound. Two ways in have no common order: the first two packets of
/// sound may come before the keyframe with which a viewer begins.
fn has_pictures(count: usize) -> impl Fn(&Viewer) -> bool {
    move |viewer| pictures(viewer).len() >= count && viewer.tracks[1].packets.len() + 2 >= count
}

#[track_caller]
fn watch(server: &Server, over: Over) -> Viewer {
    let mut viewer = Viewer::open(server.address(), &server.url(PATH), over);
    viewer.play(&[]);
    viewer
}

/// Connections that are where the stream is: each may have had to move there from another shard.
fn connections(server: &Server) -> usize {
    server.log().matches("a connection to the port of a track").count()
}

#[track_caller]
fn await_connections(server: &Server, count: usize) {
    let until = Instant::now() + PATIENCE;
    while connections(server) < count {
        assert!(Instant::now() < until, "the connections are not where they belong");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A sender whose connections are there: before that, what the one brings might come before what the other does.
fn connect(server: &Server, way: Way, ports: &[u16]) -> Pusher {
    let before = connections(server);
    let pusher = Pusher::connect(way, ports);
    if way == Way::Tcp {
        await_connections(server, before + ports.len());
    }
    pusher
}

/// Whether what a viewer has is one stream from picture 0 to `count`.
#[track_caller]
fn assert_continuous(viewer: &mut Viewer, count: u32) {
    assert!(viewer.receive_until(PATIENCE, has_pictures(count as usize)), "{:?}", pictures(viewer));
    assert_eq!(pictures(viewer), (0..count).collect::<Vec<_>>());
    for track in &viewer.tracks {
        assert_eq!(track.gaps(), []);
        let first = &track.packets[0];
        assert!(track.packets.iter().all(|packet| packet.ssrc == first.ssrc));
        assert!(track.packets.iter().all(|packet| packet.payload_type == first.payload_type));
        assert!(!track.has_ended());
    }
}

fn what_is_pushed_comes_to_every_viewer_as_it_was_sent(backend: Backend) {
    for way in WAYS {
        let (server, ports) = start(backend, way);
        let mut pusher = connect(&server, way, &ports);
        pusher.tracks[1].payload_type = 97;
        pusher.picture(0, true);
        let mut viewers = BOTH.map(|over| watch(&server, over));
        for index in 1..60 {
            pusher.picture(index, index % 20 == 0);
            thread::sleep(Duration::from_millis(5));
        }
        for viewer in &mut viewers {
            assert_continuous(viewer, 60);
            let [video, audio] = &viewer.tracks[..] else { panic!("two tracks") };
            let first = video.packets[0].timestamp;
            for (unit, index) in video.units().iter().zip(0..) {
                assert_eq!(unit[0].timestamp.wrapping_sub(first), 3_600 * index, "{way:?}");
                assert_eq!(unit[unit.len() - 2].payload[6..], [1; 700]);
            }
            assert!(audio.packets.iter().zip(0u8..).all(|(packet, index)| packet.payload == [index; 320]));
            assert_eq!((video.packets[0].payload_type, audio.packets[0].payload_type), (96, 0));
            let fmtp = viewer.description.media[0].fmtp.as_deref().unwrap();
            assert!(
                fmtp.contains("sprop-parameter-sets=Z0IAKeKQ,aM48gA=="),
                "learned from the stream: {fmtp}"
            );
        }
    }
}

fn garbage_and_single_bytes_between_packets_cost_none_of_them(backend: Backend) {
    for way in [Way::Tcp, Way::TcpSwapped] {
        let (server, ports) = start(backend, way);
        let mut pusher = connect(&server, way, &ports);
        pusher.picture(0, true);
        let mut viewer = watch(&server, Over::Tcp);
        for index in 1..20u32 {
            if index % 3 == 0 {
                pusher.tracks[0].write(&[0x24, 0, 0xff, 0xff, 0x80]);
                pusher.tracks[1].write(b"$$$ this is no packet $$$");
            }
            if index % 5 == 0 {
                // A picture of one packet.
                let body = [&[0x61, 0][..], &index.to_be_bytes(), &[7; 300]].concat();
                pusher.trickle(0, true, 1_000 + 3_600 * index, &body);
                pusher.trickle(1, false, 77 + 320 * index, &[index as u8; 320]);
            } else {
                pusher.picture(index, false);
            }
        }
        assert_continuous(&mut viewer, 20);
        server.wait_for_log("between its packets is left out", PATIENCE);
    }
}

fn a_sender_that_begins_again_goes_on_with_its_viewers(backend: Backend) {
    for way in WAYS {
        let (server, ports) = start(backend, way);
        let mut pusher = connect(&server, way, &ports);
        pusher.picture(0, true);
        let mut viewers = BOTH.map(|over| watch(&server, over));
        let mut sent = 1;
        // Another socket with another source, another socket with the same source, and the same socket: each counts
        // from a lower number.
        for (is_new, ssrc, sequence) in [(true, 0x3000, 5), (true, 0x3000, 3), (false, 0x3000, 4)] {
            for viewer in &mut viewers {
                // The first packet of a connection is taken when the next one comes.
                assert!(
                    viewer.receive_until(PATIENCE, |viewer| pictures(viewer).len() == sent as usize),
                    "{way:?}: {:?}",
                    pictures(viewer)
                );
            }
            if is_new {
                // The next one connects before the server has seen the end of this one.
                drop(pusher);
                pusher = connect(&server, way, &ports);
            }
            if way == Way::Udp || !is_new {
                // Only a connection says that it is another sender.
                thread::sleep(SILENCE);
            }
            for (track, ssrc) in pusher.tracks.iter_mut().zip(ssrc..) {
                (track.ssrc, track.sequence) = (ssrc, sequence);
            }
            for index in sent..sent + 10 {
                pusher.picture(index, index == sent);
            }
            sent += 10;
        }
        for viewer in &mut viewers {
            assert_continuous(viewer, sent);
            for track in &viewer.tracks {
                let is_later = |pair: &[crate::client::rtp::Packet]| {
                    pair[1].timestamp.wrapping_sub(pair[0].timestamp) < 90_000 * 10
                };
                assert!(track.packets.windows(2).all(is_later), "time goes on");
            }
        }
    }
}

fn a_flood_from_elsewhere_is_left_out_and_hardly_logged(backend: Backend) {
    let (server, ports) = start(backend, Way::Udp);
    let mut pusher = Pusher::connect(Way::Udp, &ports);
    pusher.picture(0, true);
    let mut viewer = watch(&server, Over::Tcp);
    let flood = UdpSocket::bind("127.0.0.1:0").unwrap();
    for index in 1..40u32 {
        for step in 0..100u32 {
            let mut packet = vec![0x80, 0xe0, step as u8, index as u8, 0, 0, 0, 1, 0, 0, 0, 9];
            packet.extend([0x65; 500]);
            // A report of a source that is not the track's, and what is no packet at all.
            let bytes = [&packet[..], &[0x80, 200, 0, 1, 0, 0, 0, 9], b"garbage"][step as usize % 3];
            let _ = flood.send_to(bytes, ("127.0.0.1", ports[step as usize % 2]));
        }
        pusher.picture(index, false);
        thread::sleep(Duration::from_millis(5));
    }
    assert_continuous(&mut viewer, 40);
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains("left out")).count();
    assert!((1..40).contains(&lines), "{lines} lines about 3900 packets");
}

fn a_second_connection_is_turned_away_until_the_first_is_silent(backend: Backend) {
    let (server, ports) = start(backend, Way::Tcp);
    let mut first = connect(&server, Way::Tcp, &ports);
    first.picture(0, true);
    let mut viewer = watch(&server, Over::Tcp);
    first.picture(1, false);
    assert!(viewer.receive_until(PATIENCE, has_pictures(2)));
    first.picture(2, false);
    let mut second = connect(&server, Way::Tcp, &ports);
    second.picture(99, false);
    let mut sent = 3;
    while !second.tracks.iter_mut().all(|track| track.is_closed_within(Duration::from_millis(20))) {
        first.picture(sent, false);
        sent += 1;
        assert!(sent < 500, "a second sender stays");
    }
    assert_continuous(&mut viewer, sent);
    thread::sleep(SILENCE);
    let mut second = connect(&server, Way::Tcp, &ports);
    for index in sent..sent + 3 {
        second.picture(index, false);
    }
    assert!(first.tracks.iter_mut().all(|track| track.is_closed_within(PATIENCE)));
    assert_continuous(&mut viewer, sent + 3);
}

fn connections_that_send_no_packet_end_no_sender_and_are_not_in_the_log(backend: Backend) {
    let (server, ports) = start(backend, Way::Tcp);
    // Who came early and waits keeps nobody out.
    let silent = || ports.map(|port| TcpStream::connect(("127.0.0.1", port)).unwrap());
    let early: Vec<_> = (0..20).map(|_| silent()).collect();
    await_connections(&server, 40);
    let mut pusher = connect(&server, Way::Tcp, &ports);
    pusher.picture(0, true);
    // Sound is believed when its second packet is there.
    pusher.picture(1, false);
    let mut viewer = watch(&server, Over::Tcp);
    assert!(viewer.receive_until(PATIENCE, has_pictures(2)), "{:?}", pictures(&viewer));
    thread::sleep(SILENCE);
    let scans: Vec<_> = (0..20)
        .map(|index| {
            let mut scan = silent();
            for stream in &mut scan {
                let bytes = [&b""[..], b"GET / HTTP/1.0\r\n\r\n", &[0x24, 0, 0, 20, 0x80, 0]][index % 3];
                stream.write_all(bytes).unwrap();
            }
            // One half stays.
            (index % 2 == 0).then_some(scan)
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    for index in 2..10 {
        pusher.picture(index, false);
    }
    assert_continuous(&mut viewer, 10);
    drop((early, scans));
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains(" sender") || line.contains("left out"));
    assert_eq!(lines.count(), 2, "the sender's own two: {log}");
}

fn describe_waits_for_the_first_packets_and_then_says_what_is_missing(backend: Backend) {
    for way in [Way::Udp, Way::Tcp] {
        let (builder, ports) = builder(backend, way);
        let server = open(builder.setting("source_start_ms", 500));
        let describe = |client: &mut Client| client.request("DESCRIBE", &server.url(PATH), &[]);
        let answer = describe(&mut Client::connect(server.address())).expect(503);
        assert!(answer.reason.contains("Unavailable"), "{answer:?}");
        let reason =
            format!("nothing has come to vport {}, nothing has come to aport {}", ports[0], ports[1]);
        server.wait_for_log(&reason, PATIENCE);
        let mut pusher = connect(&server, way, &ports);
        pusher.picture(0, false);
        describe(&mut Client::connect(server.address())).expect(503);
        server.wait_for_log(&format!("no parameter sets have come to vport {}", ports[0]), PATIENCE);
        let mut waiting = Client::connect(server.address());
        waiting.ask("DESCRIBE", &server.url(PATH), &[]);
        pusher.picture(1, true);
        pusher.picture(2, false);
        waiting.response().expect(200);
    }
}

fn viewers_of_a_silent_sender_are_kept_for_a_while(backend: Backend) {
    let (builder, ports) = builder(backend, Way::Udp);
    let server = open(builder.setting("source_grace_s", 3));
    let mut pusher = Pusher::connect(Way::Udp, &ports);
    pusher.picture(0, true);
    let mut viewers = BOTH.map(|over| watch(&server, over));
    thread::sleep(Duration::from_secs(2));
    pusher.picture(1, true);
    for viewer in &mut viewers {
        assert_continuous(viewer, 2);
        viewer.receive_all(PATIENCE);
    }
    server.wait_for_log("the sender is silent", PATIENCE);
    // What comes then is another stream.
    pusher.picture(7, true);
    pusher.picture(8, false);
    let mut viewer = watch(&server, Over::Tcp);
    assert!(viewer.receive_until(PATIENCE, has_pictures(2)), "{:?}", pictures(&viewer));
    assert_eq!(pictures(&viewer), [7, 8]);
}

fn a_path_with_ports_of_its_own_is_nobody_elses(backend: Backend) {
    let port = free_ports();
    let xml = node(Way::Udp, &[port + 2, port + 3]).replace(">pusher<", ">h264_aac.mp4<");
    let server =
        Server::with(backend).port(port).setting("source_start_ms", 300).media(folder()).xml(&xml).start();
    let url = server.url("/h264_aac.mp4");
    let (_, answer) = Publisher::announce(server.address(), &url, publisher::SDP);
    answer.expect(405);
    Client::connect(server.address()).request("DESCRIBE", &url, &[]).expect(503);
}

fn a_path_that_is_kept_for_a_publisher_waits_for_one(backend: Backend) {
    let xml = "<pusher><suffix>h264_aac.mp4</suffix><transfer><mode>RTSP</mode></transfer></pusher>";
    let server = Server::with(backend).media(folder()).xml(xml).start();
    let url = server.url("/h264_aac.mp4");
    for over in BOTH {
        let mut waiting: Vec<_> = (0..6).map(|_| Client::connect(server.address())).collect();
        for client in &mut waiting {
            client.ask("DESCRIBE", &url, &[]);
        }
        thread::sleep(Duration::from_millis(200));
        let mut publisher = Publisher::start(server.address(), &url, over);
        publisher.picture(0, true);
        for client in &mut waiting {
            let answer = client.response().expect(200);
            assert!(answer.text().contains("Z0IAKeKQFAe2AtwEBAaQeJEV"), "the publisher's and not the file's");
        }
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
    }
}

fn a_path_that_is_kept_for_a_publisher_is_never_unknown(backend: Backend) {
    let xml = "<pusher><suffix>stage</suffix><transfer><mode>RTSP</mode></transfer></pusher>";
    let server = Server::with(backend).setting("source_start_ms", 500).xml(xml).start();
    let url = server.url("/stage");
    let describe = || Client::connect(server.address()).request("DESCRIBE", &url, &[]);
    for _ in 0..3 {
        let asked = Instant::now();
        describe().expect(503);
        assert!(asked.elapsed() > Duration::from_millis(450), "{:?}", asked.elapsed());
        let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
        publisher.picture(0, true);
        describe().expect(200);
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
        thread::sleep(Duration::from_millis(100));
    }
    server.wait_for_log("nobody publishes it yet", PATIENCE);
}

fn a_port_in_use_is_an_error_that_names_the_setting(backend: Backend) {
    let (builder, ports) = builder(backend, Way::Udp);
    let _taken = UdpSocket::bind(("127.0.0.1", ports[1])).unwrap();
    let ended = builder.run_to_end(PATIENCE);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let sentence =
        format!("cannot listen on 127.0.0.1:{}: port {} is in use; change aport", ports[1], ports[1]);
    assert!(ended.output.contains(&sentence), "{ended:?}");
    assert!(ended.output.contains("of the pusher \"pusher\""), "{ended:?}");

    let port = free_ports();
    let own = Server::with(backend).port(port).xml(&node(Way::Tcp, &[port + 2, port]));
    let ended = own.run_to_end(PATIENCE);
    assert!(ended.output.contains("change aport of the pusher"), "serverport is taken, too: {ended:?}");
}

fn the_start_tells_where_streams_are_pushed_to(backend: Backend) {
    let (server, ports) = start(backend, Way::Udp);
    let url = server.url(PATH);
    server.wait_for_log(&format!("\n{url}\n"), PATIENCE);
    let line = format!("/pusher by UDP, video H264 at port {}, audio G711U at port {}", ports[0], ports[1]);
    server.wait_for_log(&format!("pushed: {line}"), PATIENCE);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtspserver"));
    let output = command.args(["check", "-c"]).arg(server.configuration_file()).output().unwrap();
    let checked = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(checked.contains(&line), "{checked}");
}

on_both_backends!(
    what_is_pushed_comes_to_every_viewer_as_it_was_sent,
    garbage_and_single_bytes_between_packets_cost_none_of_them,
    a_sender_that_begins_again_goes_on_with_its_viewers,
    a_flood_from_elsewhere_is_left_out_and_hardly_logged,
    a_second_connection_is_turned_away_until_the_first_is_silent,
    connections_that_send_no_packet_end_no_sender_and_are_not_in_the_log,
    describe_waits_for_the_first_packets_and_then_says_what_is_missing,
    viewers_of_a_silent_sender_are_kept_for_a_while,
    a_path_with_ports_of_its_own_is_nobody_elses,
    a_path_that_is_kept_for_a_publisher_waits_for_one,
    a_path_that_is_kept_for_a_publisher_is_never_unknown,
    a_port_in_use_is_an_error_that_names_the_setting,
    the_start_tells_where_streams_are_pushed_to,
);
