//! ONVIF metadata (`<metadata>`): every stream has a track with documents that an XML parser reads, whichever way it
//! comes, and nothing of it without the setting.

mod document;
mod given;
mod own;
mod players;

use std::net::SocketAddr;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::publisher::Publisher;
use crate::client::pusher::{self, Pusher};
use crate::client::rtp::{Packet, Report};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::folder;
use crate::multicast::{listener::Listener, on_loopback};
use crate::server::{Backend, Builder, Server, free_ports, on_both_backends};
use crate::tunnels::bridge::{Door, bridge};
use crate::upstream::camera::{Camera, Script};
use document::{Event, documents, events};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What ONVIF asks for, and as much for a machine that is busy now and then.
const APART_MAX: Duration = Duration::from_millis(2_000);

/// A server whose streams have metadata.
fn telling(backend: Backend) -> Builder {
    Server::with(backend).setting("metadata", 1).media(folder())
}

/// Index of the only track of metadata, which must be described as ONVIF has it.
#[track_caller]
fn index_of(viewer: &Viewer) -> usize {
    let media = &viewer.description.media;
    let text = &viewer.description.text;
    let found: Vec<_> = (0..media.len()).filter(|index| media[*index].kind == "application").collect();
    assert_eq!(found.len(), 1, "{text}");
    let track = &media[found[0]];
    assert_eq!(track.rtpmap.as_deref(), Some("vnd.onvif.metadata/90000"), "{text}");
    assert!((96..128).contains(&track.payload_type), "{text}");
    let same = media.iter().filter(|other| other.payload_type == track.payload_type);
    assert_eq!(same.count(), 1, "{text}");
    let section = text.split("m=application").nth(1).unwrap();
    assert!(section.contains("a=recvonly\r\n"), "{text}");
    assert!(section.lines().any(|line| line.starts_with("a=control:")), "{text}");
    found[0]
}

/// The metadata that a viewer has of a track.
#[track_caller]
fn told(packets: &[Packet]) -> Vec<Event> {
    documents(packets).iter().flat_map(|(_, document)| events(document)).collect()
}

fn has_told(track: usize, count: usize) -> impl Fn(&Viewer) -> bool {
    move |viewer| viewer.tracks[track].packets.iter().filter(|packet| packet.marker).count() >= count
}

/// Watches everything until metadata has come several times; the documents' events.
#[track_caller]
fn hear(address: SocketAddr, url: &str, over: Over, count: usize) -> (Viewer, usize, Vec<Event>) {
    let mut viewer = Viewer::open(address, url, over);
    let index = index_of(&viewer);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, has_told(index, count)), "{url} {over:?}");
    let told = told(&viewer.tracks[index].packets);
    (viewer, index, told)
}

/// Checks that documents, of which each may have several events, come as often as they should and tell the time of day.
#[track_caller]
fn is_punctual(what: &str, told: &[Event]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let last = told.last().unwrap().at;
    assert!(now.abs_diff(last) < PATIENCE, "{what}: {now:?} and {last:?}");
    for pair in told.windows(2) {
        let apart = pair[1].at.checked_sub(pair[0].at);
        assert!(apart.is_some_and(|apart| apart <= APART_MAX), "{what}: {pair:?}");
    }
}

/// Whether a viewer was told that so many watch.
fn tells_viewers(viewer: &Viewer, count: &str) -> bool {
    let told = told(&viewer.tracks[index_of(viewer)].packets);
    told.iter().any(|event| event.topic == "Stream/Traffic" && event.item("Viewers") == count)
}

/// Sends pictures until it is let go of.
struct Sending(Option<(Sender<()>, JoinHandle<()>)>);

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.0.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

fn keep_sending(mut send: impl FnMut(u32) + Send + 'static) -> Sending {
    let (stop, stopped) = channel::<()>();
    let thread = thread::spawn(move || {
        for index in 0.. {
            send(index);
            if stopped.recv_timeout(Duration::from_millis(40)) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    });
    Sending(Some((stop, thread)))
}

fn every_stream_tells_its_state(backend: Backend) {
    let camera = Camera::start(Script::default());
    let port = free_ports();
    let pusher = format!(
        "<pusher><suffix>pushed</suffix><video><codec>H264</codec></video>
        <transfer><mode>UDP</mode><vport>{}</vport></transfer></pusher>
        <output><url>h264_pcma.mkv</url><live>1</live></output>",
        port + 2
    );
    let server = telling(backend).port(port).proxy("gate", &camera.url(), &[]).xml(&pusher).start();
    server.wait_for_log("pushed: ", PATIENCE);
    let mut sender = Pusher::connect(pusher::Way::Udp, &[port + 2]);
    let _pushing = keep_sending(move |index| sender.picture(index, index % 25 == 0));
    let mut publisher = Publisher::start(server.address(), &server.url("/live/a"), Over::Tcp);
    let _publishing = keep_sending(move |index| publisher.picture(index, index % 25 == 0));
    thread::scope(|scope| {
        for path in ["/test", "/gate", "/pushed", "/live/a", "/h264_pcma.mkv"] {
            for over in BOTH {
                let server = &server;
                scope.spawn(move || {
                    let (viewer, index, told) = hear(server.address(), &server.url(path), over, 4);
                    let (source, traffic): (Vec<_>, Vec<_>) =
                        told.into_iter().partition(|event| event.topic == "Stream/Source");
                    assert!(source.len() >= 4 && source.len() == traffic.len(), "{path} {over:?}");
                    is_punctual(path, &source);
                    assert!(source.iter().all(|event| event.stream == path[1..]), "{source:?}");
                    assert!(source.iter().all(|event| event.item("State") == "Connected"), "{source:?}");
                    let last = traffic.last().unwrap();
                    assert!(last.item("BitRate").parse::<u64>().unwrap() > 1_000, "{path}: {last:?}");
                    assert!(last.item("Viewers").parse::<u32>().unwrap() >= 1, "{path}: {last:?}");
                    assert!(viewer.tracks[..index].iter().any(|track| !track.packets.is_empty()));
                    assert_eq!(viewer.tracks[index].gaps(), [], "{path} {over:?}");
                });
            }
        }
    });
}

fn a_file_tells_each_viewer_where_it_is(backend: Backend) {
    let server = telling(backend).start();
    for over in BOTH {
        let url = server.url("/h264_aac.mp4");
        let mut viewer = Viewer::open(server.address(), &url, over);
        let index = index_of(&viewer);
        viewer.play(&[]);
        viewer.receive_all(PATIENCE);
        let told = told(&viewer.tracks[index].packets);
        is_punctual("a file", &told);
        assert!(told.len() >= 4, "{told:?}");
        assert_eq!(viewer.tracks[index].gaps(), []);
        assert!(told.iter().all(|event| event.topic == "Stream/Playback" && event.stream == "h264_aac.mp4"));
        let number = |event: &Event, name: &str| event.item(name).parse::<f64>().unwrap();
        let positions: Vec<_> = told.iter().map(|event| number(event, "Position")).collect();
        assert!(positions.windows(2).all(|pair| pair[0] < pair[1]), "{positions:?}");
        assert!(positions[0] < 0.5, "{positions:?}");
        // Playing runs as the clock does.
        let passed = (told[2].at - told[0].at).as_secs_f64();
        assert!((positions[2] - positions[0] - passed).abs() < 0.2, "{told:?}");
        let states: Vec<_> = told.iter().map(|event| event.item("State")).collect();
        let (last, before) = states.split_last().unwrap();
        assert!(*last == "Ended" && before.iter().all(|state| *state == "Playing"), "{states:?}");
        assert!((positions.last().unwrap() - number(&told[0], "Duration")).abs() < 0.3, "{told:?}");
        // And again from elsewhere, under timestamps that go on.
        viewer.play(&[("Range", "npt=2-")]);
        let before = viewer.tracks[index].packets.len();
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[index].packets.len() > before));
        let again = &viewer.tracks[index].packets[before..];
        let position = number(&self::told(again)[0], "Position");
        assert!((1.0..3.0).contains(&position), "{position}");
    }
}

fn a_paused_file_tells_nothing(backend: Backend) {
    let server = telling(backend).start();
    let (mut viewer, index, _) = hear(server.address(), &server.url("/h264_aac.mp4"), Over::Tcp, 1);
    viewer.pause();
    viewer.receive(Duration::from_millis(100));
    let before = viewer.tracks[index].packets.len();
    viewer.receive(Duration::from_millis(1_500));
    assert_eq!(viewer.tracks[index].packets.len(), before);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[index].packets.len() > before));
    assert_eq!(viewer.tracks[index].gaps(), []);
}

fn times_of_documents_are_those_that_reports_tell(backend: Backend) {
    let server = telling(backend).start();
    let mut publisher = Publisher::start(server.address(), &server.url("/live/a"), Over::Udp);
    let _publishing = keep_sending(move |index| publisher.picture(index, index % 25 == 0));
    for path in ["/test", "/live/a", "/h264_aac.mp4"] {
        for over in BOTH {
            let (mut viewer, index, _) = hear(server.address(), &server.url(path), over, 3);
            let has_report = |viewer: &Viewer| !viewer.tracks[index].reports.is_empty();
            assert!(viewer.receive_until(PATIENCE, has_report), "{path} {over:?}");
            let track = &viewer.tracks[index];
            let Report::Sender { ntp, timestamp, packets, .. } = track.reports[0].1 else {
                panic!("{path}: {:?}", track.reports)
            };
            assert!(packets > 0);
            let seconds = ntp as f64 / 2f64.powi(32) - 2_208_988_800.0;
            for (at, document) in documents(&track.packets) {
                let by_report = seconds + f64::from(at.wrapping_sub(timestamp) as i32) / 90_000.0;
                let utc = events(&document)[0].at.as_secs_f64();
                assert!((by_report - utc).abs() < 0.25, "{path} {over:?}: {by_report} and {utc}");
            }
        }
    }
}

fn who_sets_up_only_pictures_gets_no_documents_and_who_sets_up_only_documents_gets_them(backend: Backend) {
    let server = telling(backend).start();
    for path in ["/test", "/h264_aac.mp4"] {
        for over in BOTH {
            let mut pictures = Viewer::describe(server.address(), &server.url(path), over);
            pictures.setup(0);
            pictures.play(&[]);
            let mut only = Viewer::describe(server.address(), &server.url(path), over);
            let index = index_of(&only);
            only.setup(index);
            only.play(&[]);
            assert!(only.receive_until(PATIENCE, has_told(0, 3)), "{path} {over:?}");
            is_punctual(path, &told(&only.tracks[0].packets));
            // What comes on a channel that was not set up is a failure of the viewer.
            assert!(pictures.receive_until(PATIENCE, |viewer| viewer.tracks[0].units().len() > 20));
            let of_pictures = pictures.tracks[0].media.payload_type;
            assert!(pictures.tracks[0].packets.iter().all(|packet| packet.payload_type == of_pictures));
        }
    }
}

fn documents_come_through_tunnels_and_to_groups(backend: Backend) {
    let server = telling(backend).http().start();
    for door in [Door::Http, Door::WebSocket] {
        for path in ["/test", "/h264_aac.mp4"] {
            let (_, _, told) = hear(bridge(server.http_address(), door), &server.url(path), Over::Tcp, 2);
            assert_eq!(told[0].stream, path[1..], "{door:?}");
        }
    }
    let server = on_loopback(backend).setting("metadata", 1).start();
    for path in ["/test", "/h264_aac.mp4"] {
        let mut listener = Listener::play_of(server.address(), &server.url(path));
        listener.hear(2, 3);
        let told = told(&listener.tracks[2].ears.packets);
        assert!(told.len() >= 2 && told[0].stream == path[1..], "{told:?}");
    }
}

fn viewers_are_counted_wherever_they_are(backend: Backend) {
    let server = telling(backend).shards(3).start();
    let mut viewers: Vec<_> = (0..6)
        .map(|index| {
            let mut viewer = Viewer::open(server.address(), &server.url("/test"), BOTH[index % 2]);
            viewer.play(&[]);
            viewer
        })
        .collect();
    assert!(viewers[0].receive_until(PATIENCE, |viewer| tells_viewers(viewer, "6")));
    for viewer in &mut viewers[1..] {
        viewer.teardown();
    }
    assert!(viewers[0].receive_until(PATIENCE, |viewer| tells_viewers(viewer, "1")));
}

fn a_source_that_is_lost_and_comes_back_is_told_of(backend: Backend) {
    let server = telling(backend).start();
    let url = server.url("/live/a");
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    publisher.picture(0, true);
    let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
    let index = index_of(&viewer);
    viewer.play(&[]);
    let states = |viewer: &Viewer| -> Vec<(String, String)> {
        let told = told(&viewer.tracks[index].packets);
        let source = told.iter().filter(|event| event.topic == "Stream/Source");
        source.map(|event| (event.item("State").to_owned(), event.operation.clone())).collect()
    };
    let has = |state: &'static str, operation: &'static str| {
        move |viewer: &Viewer| states(viewer).contains(&(state.to_owned(), operation.to_owned()))
    };
    assert!(viewer.receive_until(PATIENCE, has("Connected", "Initialized")));
    drop(publisher);
    assert!(viewer.receive_until(PATIENCE, has("Lost", "Changed")), "{:?}", states(&viewer));
    // It is told again while it is away.
    assert!(viewer.receive_until(PATIENCE, has("Lost", "Initialized")), "{:?}", states(&viewer));
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    publisher.picture(1, true);
    assert!(viewer.receive_until(PATIENCE, has("Connected", "Changed")), "{:?}", states(&viewer));
    assert_eq!(viewer.tracks[index].gaps(), []);
}

fn a_stream_in_another_format_has_its_metadata_as_well(backend: Backend) {
    let server = telling(backend).lifetime(Duration::from_secs(120)).start();
    let (mut viewer, index, told) = hear(server.address(), &server.url("/test?w=160&h=120"), Over::Tcp, 3);
    assert_eq!(told[0].stream, "test");
    // Whoever watches is counted, in whatever format.
    assert!(viewer.receive_until(PATIENCE, |viewer| tells_viewers(viewer, "1")));
    is_punctual("made anew", &told);
    assert_eq!(viewer.tracks[index].gaps(), []);
}

fn without_the_setting_there_is_none(backend: Backend) {
    let server = Server::with(backend).media(folder()).start();
    for path in ["/test", "/h264_aac.mp4"] {
        let viewer = Viewer::describe(server.address(), &server.url(path), Over::Tcp);
        let text = &viewer.description.text;
        assert!(!text.contains("application") && !text.contains("recvonly"), "{text}");
    }
}

on_both_backends!(
    viewers_are_counted_wherever_they_are,
    a_source_that_is_lost_and_comes_back_is_told_of;
    "ffmpeg":
    every_stream_tells_its_state,
    a_file_tells_each_viewer_where_it_is,
    a_paused_file_tells_nothing,
    times_of_documents_are_those_that_reports_tell,
    who_sets_up_only_pictures_gets_no_documents_and_who_sets_up_only_documents_gets_them,
    documents_come_through_tunnels_and_to_groups,
    a_stream_in_another_format_has_its_metadata_as_well,
    without_the_setting_there_is_none,
);
