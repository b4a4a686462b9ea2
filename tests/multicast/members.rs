//! Who listens, and what is sent then.

use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use super::listener::{Ears, Listener};
use super::{FILE, PATIENCE, on_loopback};
use crate::client::publisher::Publisher;
use crate::client::pusher::{Pusher, Way};
use crate::client::viewer::{Over, Viewer};
use crate::judge::ffmpeg::Scratch;
use crate::server::{Backend, Server, free_ports, on_both_backends, scratch};

/// Long enough for a stream to be silent that had something to send.
const SILENCE: Duration = Duration::from_millis(700);

/// Somebody who has joined a track's group without a session.
fn spy(listener: &Listener, track: usize) -> Ears {
    Ears::join(listener.tracks[track].group, listener.client.local().ip())
}

/// Whether nothing is sent, but for what was on its way.
fn is_silent(ears: &mut Ears) -> bool {
    ears.listen(Duration::from_millis(200));
    ears.forget();
    ears.listen(SILENCE);
    ears.packets.is_empty()
}

/// Waits until a transmission has stopped that says goodbye.
#[track_caller]
fn stops(ears: &mut Ears) {
    let end = Instant::now() + PATIENCE;
    while !ears.has_bye() {
        assert!(Instant::now() < end, "no BYE");
        ears.listen(Duration::from_millis(20));
    }
    ears.forget();
    assert!(is_silent(ears), "{} packets behind BYE", ears.packets.len());
}

pub(crate) fn sending_starts_with_the_first_member_and_stops_with_the_last(backend: Backend) {
    let server = on_loopback(backend).start();
    for path in ["/test", "/h264_aac.mp4"] {
        let url = server.url(path);
        let mut first = Listener::open(server.address(), &url);
        let mut spies = [spy(&first, 0), spy(&first, 1)];
        assert!(is_silent(&mut spies[0]), "nobody plays");
        first.play(&[]).expect(200);
        first.hear(0, 50);
        // It begins with a keyframe: behind its parameter sets or in a packet of its own.
        let kinds: Vec<_> =
            first.tracks[0].ears.packets[..4].iter().map(|packet| packet.payload[0] & 0x1f).collect();
        assert!(kinds.iter().any(|kind| [5, 7, 24, 28].contains(kind)), "{path}: {kinds:?}");
        let mut second = Listener::play_of(server.address(), &url);
        second.hear(0, 50);
        first.ask("TEARDOWN", &[]).expect(200);
        second.hear(0, 50);
        second.hear(1, 5);
        second.ask("TEARDOWN", &[]).expect(200);
        spies.iter_mut().for_each(stops);
        // And again, in the same groups.
        let mut third = Listener::play_of(server.address(), &url);
        assert_eq!(third.tracks[0].group, second.tracks[0].group);
        third.hear(0, 50);
        for listener in [&first, &second, &third] {
            assert_eq!(listener.tracks[0].ears.gaps(), [], "{path}");
        }
        third.ask("TEARDOWN", &[]).expect(200);
        spies.iter_mut().for_each(stops);
    }
    server.wait_for_lines("multicast begins", 4);
    server.wait_for_lines("multicast ended", 4);
}

fn members_on_all_shards_hear_one_transmission(backend: Backend) {
    let server = on_loopback(backend).shards(4).start();
    let url = server.url("/test");
    let mut listeners: Vec<_> = (0..16).map(|_| Listener::play_of(server.address(), &url)).collect();
    let shards: std::collections::HashSet<_> = listeners
        .iter()
        .map(|listener| listener.client.session.as_deref().unwrap()[..2].to_owned())
        .collect();
    assert!(shards.len() > 1, "{shards:?}");
    listeners.iter_mut().for_each(|listener| listener.tracks[0].ears.forget());
    for listener in &mut listeners {
        listener.hear(0, 100);
        assert_eq!(listener.tracks[0].ears.gaps(), []);
    }
    // All were there already: they have heard the same packets, each once.
    let first = listeners[0].tracks[0].ears.packets[50].sequence;
    for listener in &mut listeners {
        let ears = &mut listener.tracks[0].ears;
        ears.hear();
        assert_eq!(ears.packets.iter().filter(|packet| packet.sequence == first).count(), 1);
    }
    server.wait_for_lines("multicast begins", 1);
    drop(listeners);
    let mut again = Listener::play_of(server.address(), &url);
    again.hear(0, 20);
}

fn only_the_tracks_that_somebody_listens_to_are_sent(backend: Backend) {
    let server = on_loopback(backend).start();
    let url = server.url("/test");
    let mut pictures = Listener::describe(server.address(), &url);
    pictures.setup(0);
    let mut both = Listener::open(server.address(), &url);
    let mut sound = spy(&both, 1);
    pictures.play(&[]).expect(200);
    pictures.hear(0, 50);
    assert!(is_silent(&mut sound), "nobody listens to it");
    both.play(&[]).expect(200);
    both.hear(1, 20);
    // PAUSE of one track alone.
    let control = both.tracks[1].media.control.clone();
    both.client.request("PAUSE", &control, &[]).expect(200);
    assert!(is_silent(&mut sound), "nobody listens any more");
    both.client.request("PLAY", &control, &[]).expect(200);
    both.hear(1, 20);
    both.client.request("TEARDOWN", &control, &[]).expect(200);
    assert!(is_silent(&mut sound), "nobody listens any more");
    both.hear(0, 50);
    assert_eq!(both.tracks[0].ears.gaps(), []);
}

fn who_pauses_a_live_stream_stops_it_for_nobody_else(backend: Backend) {
    let server = on_loopback(backend).start();
    let url = server.url("/test");
    let mut listeners = [0, 1].map(|_| Listener::play_of(server.address(), &url));
    listeners.iter_mut().for_each(|listener| listener.hear(0, 20));
    let mut spy = spy(&listeners[0], 0);
    for _ in 0..2 {
        listeners[0].ask("PAUSE", &[]).expect(200);
    }
    listeners[1].hear(0, 50);
    listeners[1].ask("PAUSE", &[]).expect(200);
    assert!(is_silent(&mut spy), "all have paused");
    for round in 0..2 {
        let answer = listeners[0].play(&[]).expect(200);
        assert_eq!(answer.header("Range"), Some("npt=now-"));
        // Before its next keyframe nobody knows the number of the first packet.
        let infos = answer.header("RTP-Info").unwrap();
        assert!(round > 0 || !infos.contains("seq="), "{infos}");
    }
    spy.listen(Duration::from_millis(1_500));
    assert!(spy.packets.len() > 20, "{}", spy.packets.len());
    assert_eq!(spy.gaps(), []);
    assert_eq!(server.lines("multicast ended"), 0);
}

fn a_file_is_a_live_channel_that_begins_with_the_first_and_begins_again(backend: Backend) {
    let server = on_loopback(backend).start();
    let url = server.url(&format!("/{FILE}"));
    let mut first = Listener::play_of(server.address(), &url);
    // It lasts three seconds.
    assert!(first.until(PATIENCE, |it| times(it, 0) > 4.5));
    let mut second = Listener::open(server.address(), &url);
    let answer = second.play(&[("Range", "npt=0.000-")]).expect(200);
    assert_eq!(answer.header("Range"), Some("npt=now-"));
    second.hear(0, 60);
    first.hear(0, 1);
    for track in first.tracks.iter().chain(&second.tracks) {
        assert_eq!(track.ears.gaps(), []);
        let rises = |pair: &[crate::client::rtp::Packet]| {
            pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32 > -90_000
        };
        assert!(track.ears.packets.windows(2).all(rises));
    }
    // All hear the same.
    first.hear(0, 60);
    let of = |listener: &Listener, sequence: u16| {
        let packet = listener.tracks[0].ears.packets.iter().find(|packet| packet.sequence == sequence);
        packet.map(|packet| (packet.timestamp, packet.ssrc, packet.payload.clone()))
    };
    let sequence = second.tracks[0].ears.packets[30].sequence;
    assert!(of(&first, sequence).is_some());
    assert_eq!(of(&first, sequence), of(&second, sequence));
}

/// Seconds between the first and the last packet of a track.
fn times(listener: &Listener, track: usize) -> f64 {
    let packets = &listener.tracks[track].ears.packets;
    let (Some(first), Some(last)) = (packets.first(), packets.last()) else { return 0.0 };
    f64::from(last.timestamp.wrapping_sub(first.timestamp) as i32)
        / f64::from(listener.tracks[track].media.clock_rate())
}

fn nobody_moves_or_pauses_a_file_that_all_see(backend: Backend) {
    let server = on_loopback(backend).start();
    let url = server.url(&format!("/{FILE}"));
    let mut listener = Listener::open(server.address(), &url);
    listener.ask("PAUSE", &[]).expect(455);
    for range in ["npt=1-", "npt=0.5-2", "smpte=0:00:01-"] {
        listener.play(&[("Range", range)]).expect(455);
    }
    listener.play(&[("Range", "npt=0-")]).expect(200);
    listener.hear(0, 30);
    listener.play(&[("Range", "npt=2-")]).expect(455);
    listener.ask("PAUSE", &[]).expect(455);
    let answer = listener.play(&[("Scale", "4"), ("Speed", "2")]).expect(200);
    assert_eq!((answer.header("Scale"), answer.header("Speed")), (Some("1.0"), Some("1.0")), "{answer:?}");
    listener.hear(0, 30);
    assert_eq!(listener.tracks[0].ears.gaps(), []);
    // Whoever plays it alone is free.
    let mut alone = Viewer::open(server.address(), &url, Over::Tcp);
    alone.play(&[("Range", "npt=1-")]);
    alone.pause();
}

fn what_comes_next_is_told_by_the_answer_to_play(backend: Backend) {
    let server = on_loopback(backend).start();
    for path in ["/test", "/h264_aac.mp4"] {
        let url = server.url(path);
        let mut first = Listener::play_of(server.address(), &url);
        first.hear(0, 50);
        let mut second = Listener::open(server.address(), &url);
        second.tracks.iter_mut().for_each(|track| track.ears.forget());
        let answer = second.play(&[]).expect(200);
        second.hear(0, 50);
        second.hear(1, 10);
        let infos = answer.header("RTP-Info").expect("it flows");
        for (track, info) in second.tracks.iter().zip(infos.split(',')) {
            let value = |name: &str| {
                let value = info.split(';').find_map(|part| part.trim().strip_prefix(name));
                value
                    .and_then(|value| value.parse::<u32>().ok())
                    .unwrap_or_else(|| panic!("{name} in {info}"))
            };
            assert!(info.contains(&track.media.control), "{info}");
            let packets = &track.ears.packets;
            let next = packets.iter().position(|packet| u32::from(packet.sequence) == value("seq="));
            // What was sent before the answer may have come as well.
            let next = next.unwrap_or_else(|| panic!("{info}: {:?}", &packets[..3]));
            let ahead = packets[next].timestamp.wrapping_sub(value("rtptime=")) as i32;
            let ahead = f64::from(ahead) / f64::from(track.media.clock_rate());
            assert!((-0.05..1.0).contains(&ahead), "{path}: {ahead} s");
        }
    }
}

fn the_end_of_a_published_stream_ends_its_members(backend: Backend) {
    let server = on_loopback(backend).start();
    let url = server.url("/live");
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    let mut number = 0;
    let mut publish = |publisher: &mut Publisher, count: u32| {
        for _ in 0..count {
            publisher.picture(number, number.is_multiple_of(10));
            number += 1;
            thread::sleep(Duration::from_millis(10));
        }
    };
    publish(&mut publisher, 5);
    let mut listener = Listener::describe(server.address(), &url);
    listener.setup(0);
    listener.play(&[]).expect(200);
    publish(&mut publisher, 30);
    listener.hear(0, 5);
    let packets = &listener.tracks[0].ears.packets;
    let first = packets.iter().find(|packet| packet.payload[0] & 0x1f == 28).expect("a picture");
    assert_eq!(first.payload[2..6], 10u32.to_be_bytes(), "no past is sent, and nothing before a keyframe");
    publisher.client.request("TEARDOWN", &url, &[]).expect(200);
    assert!(listener.until(PATIENCE, |it| it.tracks[0].ears.has_bye()));
    let end = Instant::now() + PATIENCE;
    while listener.ask("GET_PARAMETER", &[]).status != 454 {
        assert!(Instant::now() < end, "the session goes on");
        thread::sleep(Duration::from_millis(20));
    }
    server.wait_for_lines("the publisher has ended it", 2);
}

pub(crate) fn streams_that_are_pulled_or_pushed_are_sent_as_well(backend: Backend) {
    let source = Server::with(backend).start();
    let port = free_ports() + 10;
    let pusher = format!(
        "<pusher><suffix>studio</suffix><video><codec>H264</codec></video>
        <transfer><mode>UDP</mode><vport>{port}</vport></transfer></pusher>"
    );
    let server = on_loopback(backend).proxy("gate", &source.url("/test"), &[]).xml(&pusher).start();
    let mut pulled = Listener::play_of(server.address(), &server.url("/gate"));
    pulled.hear(0, 50);
    pulled.hear(1, 10);
    let mut pusher = Pusher::connect(Way::Udp, &[port]);
    thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let mut index = 0;
            while is_done.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
                pusher.picture(index, index.is_multiple_of(10));
                index += 1;
            }
        });
        let mut pushed = Listener::play_of(server.address(), &server.url("/studio"));
        pushed.hear(0, 50);
        assert_eq!(pushed.tracks[0].ears.gaps(), []);
        drop(done);
    });
    pulled.hear(0, 50);
    assert_eq!(pulled.tracks[0].ears.gaps(), []);
}

fn the_end_of_the_server_is_said_to_the_groups(backend: Backend) {
    let server = on_loopback(backend).start();
    let mut listener = Listener::play_of(server.address(), &server.url("/test"));
    listener.hear(0, 20);
    server.signal("TERM");
    assert!(listener.until(PATIENCE, |it| it.tracks.iter().all(|track| track.ears.has_bye())));
    assert!(server.wait(PATIENCE).is_some_and(|status| status.success()));
}

fn members_count_as_sessions(backend: Backend) {
    let server = on_loopback(backend).setting("max_sessions", 2).start();
    let url = server.url("/test");
    let mut listeners = [0, 1].map(|_| Listener::play_of(server.address(), &url));
    let mut third = Listener::describe(server.address(), &url);
    let control = third.description.media[0].control.clone();
    let multicast = [("Transport", "RTP/AVP;multicast")];
    third.client.request("SETUP", &control, &multicast).expect(453);
    // Those that send are nobody's.
    listeners[0].ask("TEARDOWN", &[]).expect(200);
    third.client.request("SETUP", &control, &multicast).expect(200);
}

fn a_thousand_members_come_and_go(backend: Backend) {
    let server = on_loopback(backend).shards(3).setting("log_level", 2).start();
    let url = server.url("/test");
    let mut first = Listener::play_of(server.address(), &url);
    first.hear(0, 20);
    let before = server.open_files();
    for _ in 0..20 {
        let mut clients: Vec<_> = (0..50).map(|_| crate::client::Client::connect(server.address())).collect();
        for client in &mut clients {
            let setup =
                client.request("SETUP", &(url.clone() + "/trackID=0"), &[("Transport", "RTP/AVP;multicast")]);
            client.session = setup.expect(200).session().map(str::to_owned);
            client.request("PLAY", &url, &[]).expect(200);
        }
        for client in &mut clients {
            client.request("TEARDOWN", &url, &[]).expect(200);
        }
    }
    // It was not listened to meanwhile.
    first.tracks[0].ears.forget();
    first.hear(0, 50);
    assert_eq!(first.tracks[0].ears.gaps(), []);
    first.ask("TEARDOWN", &[]).expect(200);
    let mut spy = spy(&first, 0);
    assert!(is_silent(&mut spy));
    let end = Instant::now() + PATIENCE;
    while server.open_files() >= before {
        assert!(Instant::now() < end, "{} files, {before} before", server.open_files());
        thread::sleep(Duration::from_millis(50));
    }
}

fn who_comes_while_the_last_one_leaves_is_served(backend: Backend) {
    let server = on_loopback(backend).shards(3).setting("log_level", 2).start();
    let (address, url) = (server.address(), server.url("/test"));
    let multicast = [("Transport", "RTP/AVP;multicast")];
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 0..400 {
                    let mut client = crate::client::Client::connect(address);
                    let setup = client.request("SETUP", &format!("{url}/trackID=0"), &multicast).expect(200);
                    client.session = setup.session().map(str::to_owned);
                    let answer = client.request("PLAY", &url, &[]);
                    assert_eq!(answer.status, 200, "{round}: {answer:?}");
                    client.request("TEARDOWN", &url, &[]).expect(200);
                }
            });
        }
    });
}

fn what_is_sent_to_a_group_counts_once_against_the_bitrate(backend: Backend) {
    let file = crate::corpus::folder().join(FILE);
    let bits = std::fs::metadata(&file).unwrap().len() * 8 / 3;
    let bound = bits.div_ceil(1_000_000);
    let fitting = (bound * 1_000_000 / bits) as usize;
    let media = Scratch(scratch("media"));
    (0..=fitting).for_each(|number| {
        std::fs::copy(&file, media.path().join(format!("{number}.mp4"))).unwrap();
    });
    let server =
        on_loopback(backend).media(media.path()).shards(2).setting("max_bitrate_mbps", bound).start();
    let url = |number: usize| server.url(&format!("/{number}.mp4"));
    let mut listeners: Vec<_> =
        (0..4 * fitting).map(|number| Listener::play_of(server.address(), &url(number % fitting))).collect();
    let mut late = Listener::open(server.address(), &url(fitting));
    let answer = late.play(&[]).expect(453);
    assert!(answer.text().contains("max_bitrate_mbps would be exceeded"), "{answer:?}");
    listeners[0].hear(0, 20);
    for listener in &mut listeners {
        listener.ask("TEARDOWN", &[]).expect(200);
    }
    // What was sent of late counts for a moment longer.
    let end = Instant::now() + PATIENCE;
    while late.play(&[]).status != 200 {
        assert!(Instant::now() < end, "no room is made");
        thread::sleep(Duration::from_millis(100));
    }
    late.hear(0, 20);
}

/// One that is answered like all the others.
#[track_caller]
fn is_well(server: &Server) {
    let mut viewer = Viewer::open(server.address(), &server.url("/test"), Over::Tcp);
    viewer.play(&[]);
    assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 20));
}

fn who_comes_and_goes_in_the_middle_of_a_request_leaves_nothing(backend: Backend) {
    let server = on_loopback(backend).setting("session_timeout", 2).start();
    for path in ["/test", "/h264_aac.mp4"] {
        for step in 0..12 {
            let mut client = crate::client::Client::connect(server.address());
            let url = server.url(path);
            client.ask("SETUP", &(url.clone() + "/trackID=0"), &[("Transport", "RTP/AVP;multicast")]);
            if step % 3 > 0 {
                client.session = client.response().expect(200).session().map(str::to_owned);
                client.ask("PLAY", &url, &[]);
            }
            if step % 3 > 1 {
                client.ask("TEARDOWN", &url, &[]);
            }
        }
    }
    is_well(&server);
    let end = Instant::now() + PATIENCE;
    // Those who did not say goodbye are missed after a while.
    let is_open =
        |what: &str| server.lines(&format!("{what} begins")) != server.lines(&format!("{what} ended"));
    while is_open("session") || is_open("multicast") {
        assert!(Instant::now() < end, "{} sessions", server.lines("session begins"));
        thread::sleep(Duration::from_millis(50));
    }
}

on_both_backends!(
    members_on_all_shards_hear_one_transmission,
    only_the_tracks_that_somebody_listens_to_are_sent,
    who_pauses_a_live_stream_stops_it_for_nobody_else,
    the_end_of_a_published_stream_ends_its_members,
    streams_that_are_pulled_or_pushed_are_sent_as_well,
    the_end_of_the_server_is_said_to_the_groups,
    members_count_as_sessions,
    who_comes_while_the_last_one_leaves_is_served,
    a_thousand_members_come_and_go;
    "ffmpeg":
    sending_starts_with_the_first_member_and_stops_with_the_last,
    a_file_is_a_live_channel_that_begins_with_the_first_and_begins_again,
    nobody_moves_or_pauses_a_file_that_all_see,
    what_comes_next_is_told_by_the_answer_to_play,
    what_is_sent_to_a_group_counts_once_against_the_bitrate,
    who_comes_and_goes_in_the_middle_of_a_request_leaves_nothing,
);
