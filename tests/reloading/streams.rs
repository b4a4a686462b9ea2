//! Proxies, pushers and rules that come, change and go.

use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use super::{FILE, PATIENCE, Subject, goes_on, is_over, proxy, serving, watch};
use crate::client::Client;
use crate::client::pictures::pictures;
use crate::client::publisher::{Publisher, SDP};
use crate::client::pusher::{Pusher, Way};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::server::{Backend, on_both_backends};
use crate::upstream::camera::{Camera, Script};

fn proxies_come_change_and_go_and_others_are_not_asked_again(backend: Backend) {
    let [kept, first, second] =
        [0, 0, 5_000].map(|first_picture| Camera::start(Script { first_picture, ..Script::default() }));
    let subject = Subject::start(serving(backend).xml(&proxy("kept", &kept.url(), "")));
    let mut watching = BOTH.map(|over| subject.watch("/kept", over));
    assert_eq!(subject.status("/other"), 404);
    // In front of the other, and always pulled.
    let other = proxy("other", &first.url(), "<ondemand>0</ondemand>");
    let changes = subject.reload_whole(&subject.with("").replace("<proxy>", &format!("{other}<proxy>")));
    assert_eq!(changes, "proxies +1 -0");
    first.wait_for("PLAY", 1, PATIENCE);
    let mut viewers = BOTH.map(|over| subject.watch("/other", over));
    let changes = subject.reload(&proxy("other", &second.url(), ""));
    assert_eq!(changes, "proxies +0 -0, 1 changed");
    viewers.iter_mut().for_each(is_over);
    first.wait_for("TEARDOWN", 1, PATIENCE);
    let mut viewer = subject.watch("/other", Over::Tcp);
    assert!(pictures(&viewer)[0] >= 5_000, "{:?}", pictures(&viewer));
    assert_eq!(subject.reload(""), "proxies +0 -1");
    is_over(&mut viewer);
    assert_eq!(subject.status("/other"), 404);
    watching.iter_mut().for_each(goes_on);
    assert_eq!((kept.connections(), first.connections()), (1, 1));
}

fn whoever_waits_for_a_source_is_sent_to_the_one_that_takes_its_place(backend: Backend) {
    // It takes connections and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent_url = format!("rtsp://{}/", silent.local_addr().unwrap());
    let subject = Subject::start(serving(backend).setting("source_start_ms", 20_000));
    for round in 0..4 {
        subject.reload(&proxy("cam", &silent_url, ""));
        let mut client = Client::connect(subject.server.address());
        client.patience = PATIENCE;
        client.ask("DESCRIBE", &subject.server.url("/cam"), &[]);
        let _source = silent.accept().unwrap();
        let camera = Camera::start(Script::default());
        if round % 2 == 0 {
            subject.reload(&proxy("cam", &camera.url(), ""));
            client.response().expect(200);
        } else {
            subject.reload("");
            client.response().expect(404);
        }
    }
}

fn a_publisher_gives_its_path_to_a_proxy(backend: Backend) {
    let camera = Camera::start(Script { first_picture: 7_000, ..Script::default() });
    let subject = Subject::start(serving(backend));
    let url = subject.server.url("/live/camera");
    let mut publisher = Publisher::start(subject.server.address(), &url, Over::Tcp);
    publisher.picture(0, true);
    let mut viewer = Viewer::open(subject.server.address(), &url, Over::Udp);
    viewer.play(&[]);
    subject.reload(&proxy("live/camera", &camera.url(), ""));
    is_over(&mut viewer);
    assert!(publisher.client.is_closed_within(PATIENCE));
    let viewer = subject.watch("/live/camera", Over::Udp);
    assert!(pictures(&viewer)[0] >= 7_000, "{:?}", pictures(&viewer));
    assert_eq!(Publisher::announce(subject.server.address(), &url, SDP).1.status, 405);
    subject.reload("");
    Publisher::announce(subject.server.address(), &url, SDP).1.expect(200);
}

fn a_publisher_gives_its_path_to_the_built_in_stream(backend: Backend) {
    let subject = Subject::start(serving(backend).setting("test", 0));
    let url = subject.server.url("/test");
    let mut publisher = Publisher::start(subject.server.address(), &url, Over::Tcp);
    publisher.picture(0, true);
    let mut viewer = Viewer::open(subject.server.address(), &url, Over::Udp);
    viewer.play(&[]);
    let on = subject.with("").replace("<test>0</test>", "<test>1</test>");
    assert_eq!(subject.reload_whole(&on), "test");
    is_over(&mut viewer);
    assert!(publisher.client.is_closed_within(PATIENCE));
    assert_eq!(Publisher::announce(subject.server.address(), &url, SDP).1.status, 405);
    subject.watch("/test", Over::Udp);
}

fn pusher(suffix: &str, mode: &str, sound: &str, ports: [u16; 2]) -> String {
    format!(
        "<pusher><suffix>{suffix}</suffix><video><codec>H264</codec></video><audio><codec>{sound}</codec></audio>\
         <transfer><mode>{mode}</mode><vport>{}</vport><aport>{}</aport></transfer></pusher>\n",
        ports[0], ports[1]
    )
}

/// Sends pictures, the first with what is needed to decode them, until a viewer of the path has some.
fn push(subject: &Subject, path: &str, way: Way, ports: [u16; 2]) -> Viewer {
    let end = Instant::now() + 2 * PATIENCE;
    let is_open = |port: &u16| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok();
    while way == Way::Tcp && !ports.iter().all(is_open) {
        assert!(Instant::now() < end, "the ports are not opened");
        thread::sleep(Duration::from_millis(10));
    }
    let mut sender = Pusher::connect(way, &ports);
    let mut index = 0;
    let mut send = || {
        sender.picture(index, index.is_multiple_of(10));
        index += 1;
        thread::sleep(Duration::from_millis(40));
    };
    // A port that another pusher has just left is opened a moment after the log has told so: what came before is lost, and
    // the next picture that can be decoded is the eleventh.
    (0..12).for_each(|_| send());
    while subject.status(path) != 200 {
        assert!(Instant::now() < end, "nothing is described");
        (0..10).for_each(|_| send());
    }
    let mut viewer = Viewer::open(subject.server.address(), &subject.server.url(path), Over::Tcp);
    viewer.play(&[]);
    while !viewer.receive_until(Duration::from_millis(10), |viewer| viewer.tracks[0].packets.len() > 10) {
        assert!(Instant::now() < end, "nothing comes");
        send();
    }
    viewer
}

fn pushers_come_change_and_go_with_their_ports(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let ports = [subject.server.port() + 2, subject.server.port() + 3];
    let is_free = || UdpSocket::bind((Ipv4Addr::LOCALHOST, ports[0])).is_ok();
    let mut kept = subject.watch(FILE, Over::Udp);
    assert_eq!(subject.reload(&pusher("studio", "UDP", "G711U", ports)), "pushers +1 -0");
    let mut viewer = push(&subject, "/studio", Way::Udp, ports);
    assert!(!is_free());
    // The same ports, by another sound, another name, and connections.
    let others = [
        ("studio", "UDP", "G711A", Way::Udp),
        ("stage", "UDP", "G711A", Way::Udp),
        ("stage", "TCP", "G711A", Way::Tcp),
    ];
    for (suffix, mode, sound, way) in others {
        subject.reload(&pusher(suffix, mode, sound, ports));
        is_over(&mut viewer);
        viewer = push(&subject, &format!("/{suffix}"), way, ports);
    }
    assert_eq!(subject.reload(""), "pushers +0 -1");
    is_over(&mut viewer);
    assert_eq!((subject.status("/stage"), subject.status("/studio")), (404, 404));
    let end = Instant::now() + PATIENCE;
    while !(is_free() && TcpListener::bind((Ipv4Addr::LOCALHOST, ports[0])).is_ok()) {
        assert!(Instant::now() < end, "the ports are still in use");
        thread::sleep(Duration::from_millis(10));
    }
    goes_on(&mut kept);
}

fn another_rule_is_for_those_who_come_next(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let tracks = |path: &str| {
        let viewer = Viewer::describe(subject.server.address(), &subject.server.url(path), Over::Tcp);
        viewer.description.media.len()
    };
    let mut watching = [FILE, "/test"].map(|path| subject.watch(path, Over::Udp));
    assert_eq!([FILE, "/test"].map(tracks), [2, 2]);
    let silent = |url: &str| format!("<output><url>{url}</url><audio><codec>NONE</codec></audio></output>");
    assert_eq!(subject.reload(&[silent("*.mp4"), silent("/test")].concat()), "output");
    assert_eq!([FILE, "/test"].map(tracks), [1, 1]);
    watching.iter_mut().for_each(goes_on);
    // Those who watch the silent ones go on as well.
    let mut silent = [FILE, "/test"].map(|path| subject.watch(path, Over::Tcp));
    assert_eq!(subject.reload("<output><url>*.mp4</url><live>1</live></output>"), "output");
    assert_eq!([FILE, "/test"].map(tracks), [2, 2]);
    watching.iter_mut().chain(&mut silent).for_each(goes_on);
    // The file is a live channel: both are at the same point.
    let live = [(); 2].map(|()| subject.watch(FILE, Over::Tcp));
    let ssrc = live.each_ref().map(|viewer| viewer.tracks[0].packets[0].ssrc);
    assert_eq!(ssrc[0], ssrc[1]);
}

fn the_built_in_channel_comes_and_goes(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let mut viewer = subject.watch("/test", Over::Tcp);
    let mut other = subject.watch(FILE, Over::Tcp);
    assert_eq!(subject.reload("<test>0</test>"), "test");
    is_over(&mut viewer);
    assert_eq!(subject.status("/test"), 404);
    subject.reload("");
    watch(Viewer::open(subject.server.address(), &subject.server.url("/test"), Over::Udp));
    goes_on(&mut other);
}

on_both_backends!(
    proxies_come_change_and_go_and_others_are_not_asked_again,
    whoever_waits_for_a_source_is_sent_to_the_one_that_takes_its_place,
    a_publisher_gives_its_path_to_a_proxy,
    a_publisher_gives_its_path_to_the_built_in_stream;
    "ffmpeg":
    pushers_come_change_and_go_with_their_ports,
    another_rule_is_for_those_who_come_next,
    the_built_in_channel_comes_and_goes,
);
