//! What a viewer says comes to the source of a proxy (ONVIF backchannel): over TCP and UDP on either side, from any
//! shard, one talker at a time; nobody else notices.

pub(crate) mod door;
mod lone;
mod places;

use std::collections::BTreeSet;
use std::fs;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::rtp::{Packet, Report};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::client::{Client, Message, Response};
use crate::judge::run;
use crate::server::{Backend, Server, on_both_backends, scratch};
use crate::tunnels::bridge::{DOORS, connect};
use door::{DOCUMENT, Door, Ear};

/// What a client asks for that wants to talk.
pub(crate) const TAG: &str = "www.onvif.org/ver20/backchannel";

on_both_backends!(
    what_a_viewer_says_comes_to_the_source,
    what_a_viewer_says_comes_through_every_door,
    viewers_on_every_shard_can_talk_one_after_the_other,
    a_session_may_consist_of_talk_alone,
    a_second_talker_is_refused_and_let_in_when_the_first_pauses_or_ends,
    a_talker_who_vanishes_or_falls_silent_makes_room,
    a_talker_who_was_silent_talks_again_without_asking,
    without_the_tag_there_is_nothing_to_talk_to,
    a_path_that_takes_no_sound_says_so,
    a_source_that_takes_no_sound_is_not_asked_again,
    a_source_that_hangs_when_it_is_asked_goes_on_showing_pictures,
    a_source_that_is_busy_is_busy_to_the_viewer,
    a_source_that_did_not_wait_for_the_talker_is_asked_again,
    a_source_that_hangs_up_and_comes_back_hears_the_talker_again,
    a_flood_is_cut,
    gstreamer_talks,
);

/// A server with that door as its proxy `/door`.
fn server(backend: Backend, door: &Door) -> Server {
    let url = door.url();
    let proxy = format!("<proxy><suffix>door</suffix><url>{url}</url></proxy>");
    Server::with(backend).xml(&proxy).start()
}

fn tagged(server: SocketAddr) -> Client {
    let mut client = Client::connect(server);
    client.require = Some(TAG);
    client
}

/// A viewer who has set up all tracks, the one to talk on last.
#[track_caller]
fn talker(server: &Server, over: Over) -> Viewer {
    let viewer = Viewer::describe_on(tagged(server.address()), &server.url("/door"), over);
    let kinds: Vec<_> = viewer.description.media.iter().map(|media| media.kind.as_str()).collect();
    assert_eq!(kinds, ["video", "application", "audio"], "{}", viewer.description.text);
    viewer.set_up()
}

/// Says packets of 20 ms with these numbers, at twice the speed.
fn say(viewer: &mut Viewer, track: usize, ssrc: u32, numbers: Range<u16>) {
    for number in numbers {
        viewer.say(track, &sound(ssrc, number));
        thread::sleep(Duration::from_millis(10));
    }
}

fn sound(ssrc: u32, number: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(65_530_u16.wrapping_add(number).to_be_bytes());
    packet.extend((160 * u32::from(number)).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([number as u8; 160]);
    packet
}

/// Whether packets follow each other, of one source.
#[track_caller]
fn assert_one_source(heard: &[Packet]) {
    for pair in heard.windows(2) {
        assert_eq!(pair[0].ssrc, pair[1].ssrc);
        assert_eq!(pair[0].sequence.wrapping_add(1), pair[1].sequence);
        assert!(pair[1].timestamp.wrapping_sub(pair[0].timestamp) < 1 << 31, "{pair:?}");
    }
}

/// The answer to DESCRIBE with the tag, which may take its time.
#[track_caller]
fn describe(server: &Server, path: &str) -> Response {
    let mut client = tagged(server.address());
    client.ask("DESCRIBE", &server.url(path), &[]);
    match client.next(Duration::from_secs(20)) {
        Some(Message::Response(response)) => response,
        other => panic!("no answer but {other:?}"),
    }
}

#[track_caller]
fn assert_absent(response: Response) {
    let response = response.expect(551);
    assert_eq!(response.header("Unsupported"), Some(TAG), "{response:?}");
}

fn what_a_viewer_says_comes_to_the_source(backend: Backend) {
    for (over, ear) in [(Over::Tcp, Ear::Tcp), (Over::Udp, Ear::Udp), (Over::Udp, Ear::Tcp)] {
        let door = Door::start(ear);
        let server = server(backend, &door);
        let mut viewer = talker(&server, over);
        assert!(viewer.description.text.contains("m=audio 0 RTP/AVP 0 8\r\n"), "{}", viewer.description.text);
        if over == Over::Tcp {
            // What comes before PLAY is nobody's.
            viewer.say(2, &sound(5, 999));
        }
        viewer.play(&[]);
        say(&mut viewer, 2, 5, 0..50);
        let heard = door.wait_for_sound(50);
        let numbers: Vec<_> = heard.iter().map(|packet| packet.payload[0]).collect();
        assert_eq!(numbers, (0..50).collect::<Vec<u8>>(), "{over:?} {ear:?}");
        assert!(heard.iter().all(|packet| packet.payload_type == 0 && packet.payload.len() == 160));
        assert_one_source(&heard);
        assert_ne!(heard[0].ssrc, 5, "the source is ours");
        // Reports to the talker, pictures and documents beside it.
        let is_whole = viewer.receive_until(Duration::from_secs(10), |viewer| {
            let [video, metadata, talk] = &viewer.tracks[..] else { return false };
            let is_reported = talk.reports.iter().any(|(_, report)| *report == Report::Other(201));
            is_reported && video.packets.len() >= 20 && metadata.packets.len() >= 4
        });
        assert!(is_whole, "{over:?} {ear:?}");
        assert!(viewer.tracks[2].packets.is_empty(), "nothing is sent on the track that takes sound");
        for packet in &viewer.tracks[1].packets {
            let text = String::from_utf8_lossy(&packet.payload);
            assert!(packet.marker && text.starts_with(DOCUMENT), "{text}");
        }
        assert!(viewer.tracks[1].gaps().is_empty());
        // The stream is pulled on another connection, without the tag.
        let asked = door.asked();
        let pulls = asked.iter().find(|asked| asked.method == "PLAY" && !asked.is_tagged).unwrap().connection;
        assert!(asked.iter().all(|asked| asked.connection != pulls || !asked.is_tagged), "{asked:?}");
        viewer.teardown();
        // Nobody talks: the source has its talker's place back, and shows pictures while somebody watches.
        door.wait_for_asked("TEARDOWN", "", 1);
    }
}

fn what_a_viewer_says_comes_through_every_door(backend: Backend) {
    for way in DOORS {
        let door = Door::start(Ear::Tcp);
        let proxy = format!("<proxy><suffix>door</suffix><url>{}</url></proxy>", door.url());
        let server = Server::with(backend).http().xml(&proxy).start();
        let mut client = connect(server.http_address(), way);
        client.require = Some(TAG);
        let mut viewer = Viewer::describe_on(client, &server.url("/door"), Over::Tcp).set_up();
        viewer.play(&[]);
        say(&mut viewer, 2, 5, 0..50);
        let heard = door.wait_for_sound(50);
        let numbers: Vec<_> = heard.iter().map(|packet| packet.payload[0]).collect();
        assert_eq!(numbers, (0..50).collect::<Vec<u8>>(), "{way:?}");
        let is_whole =
            viewer.receive_until(Duration::from_secs(10), |viewer| viewer.tracks[0].packets.len() >= 20);
        assert!(is_whole, "{way:?}");
    }
}

fn viewers_on_every_shard_can_talk_one_after_the_other(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    let mut shards = BTreeSet::new();
    let mut count = 0;
    for ssrc in 0..40 {
        let mut viewer = talker(&server, BOTH[ssrc as usize % 2]);
        viewer.play(&[]);
        say(&mut viewer, 2, ssrc, 0..5);
        count += 5;
        door.wait_for_sound(count);
        // The first byte of a session's name is its shard.
        shards.insert(viewer.client.session.clone().unwrap()[..2].to_owned());
        viewer.teardown();
        if shards.len() == 2 {
            break;
        }
    }
    assert_eq!(shards.len(), 2, "no viewer came to one of the shards");
    let heard = door.heard();
    assert_eq!(heard.len(), count);
    assert_one_source(&heard);
}

fn a_session_may_consist_of_talk_alone(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    for over in BOTH {
        let before = door.heard().len();
        let mut viewer = Viewer::describe_on(tagged(server.address()), &server.url("/door"), over);
        viewer.setup(2);
        let response = viewer.play(&[]);
        assert_eq!(response.header("RTP-Info"), None, "no track flows to the viewer");
        say(&mut viewer, 0, 5, 0..10);
        door.wait_for_sound(before + 10);
        viewer.receive(Duration::from_millis(300));
        assert!(viewer.tracks[0].packets.is_empty());
        // The track's own URL ends the session with its last track.
        let url = viewer.description.media[2].control.clone();
        viewer.client.request("TEARDOWN", &url, &[]).expect(200);
        viewer.client.request("PLAY", &server.url("/door"), &[]).expect(454);
    }
}

fn a_second_talker_is_refused_and_let_in_when_the_first_pauses_or_ends(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    for over in BOTH {
        let mut first = talker(&server, over);
        first.play(&[]);
        say(&mut first, 2, 1, 0..5);
        let mut second = Viewer::describe_on(tagged(server.address()), &server.url("/door"), Over::Tcp);
        second.setup(0);
        let back = second.description.media[2].control.clone();
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=2-3")];
        let refused = second.client.request("SETUP", &back, &transport).expect(453);
        assert!(refused.text().contains("somebody else is talking"), "{refused:?}");
        // The first one is not disturbed, and the second one watches.
        second.play(&[]);
        assert!(second.receive_until(Duration::from_secs(10), |viewer| viewer.tracks[0].packets.len() > 5));
        let before = door.heard().len();
        say(&mut first, 2, 1, 5..10);
        door.wait_for_sound(before + 5);
        second.teardown();

        first.pause();
        let mut third = talker(&server, over);
        third.play(&[]);
        let before = door.heard().len();
        say(&mut third, 2, 3, 0..5);
        door.wait_for_sound(before + 5);
        // The place is taken: the first one goes on watching, and is not heard.
        first.play(&[]);
        let before = door.heard().len();
        say(&mut first, 2, 1, 0..5);
        assert_eq!(door.heard().len(), before);
        third.teardown();
        first.teardown();
    }
    assert_one_source(&door.heard());
}

fn a_talker_who_vanishes_or_falls_silent_makes_room(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    let mut lost = talker(&server, Over::Tcp);
    lost.play(&[]);
    say(&mut lost, 2, 1, 0..5);
    door.wait_for_sound(5);
    lost.client.socket().shutdown(Shutdown::Both).unwrap();
    // Over UDP the session lives on without its connection: the place does not.
    for (ssrc, over) in [(2, Over::Udp), (3, Over::Tcp)] {
        let mut next = wait_for_place(&server, over);
        next.play(&[]);
        let before = door.heard().len();
        say(&mut next, 2, ssrc, 0..5);
        door.wait_for_sound(before + 5);
        next.client.socket().shutdown(Shutdown::Both).unwrap();
    }
}

/// A talker who tries until the place is free.
fn wait_for_place(server: &Server, over: Over) -> Viewer {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let mut viewer = Viewer::describe_on(tagged(server.address()), &server.url("/door"), over);
        let back = viewer.description.media[2].control.clone();
        // Asked in a session of its own, which a refusal leaves nothing of.
        let answer =
            viewer.client.request("SETUP", &back, &[("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")]);
        assert!([200, 453].contains(&answer.status), "{answer:?}");
        if answer.status == 200 {
            viewer.client.session = answer.session().map(str::to_owned);
            viewer.client.request("TEARDOWN", &server.url("/door"), &[]).expect(200);
            return talker(server, over);
        }
        assert!(Instant::now() < end, "the place does not become free");
        thread::sleep(Duration::from_millis(200));
    }
}

fn a_talker_who_was_silent_talks_again_without_asking(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    let mut viewer = talker(&server, Over::Tcp);
    viewer.play(&[]);
    say(&mut viewer, 2, 1, 0..5);
    // The place is taken back, and the source's with it.
    door.wait_for_asked("TEARDOWN", "", 1);
    let before = door.heard().len();
    let end = Instant::now() + Duration::from_secs(10);
    while door.heard().len() < before + 5 {
        say(&mut viewer, 2, 1, 0..5);
        assert!(Instant::now() < end, "the talker is not heard again");
    }
}

fn without_the_tag_there_is_nothing_to_talk_to(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    let mut viewer = Viewer::describe(server.address(), &server.url("/door"), Over::Tcp);
    assert!(!viewer.description.text.contains("only"), "{}", viewer.description.text);
    assert_eq!(viewer.description.media.len(), 2);
    let url = viewer.description.media[1].control.replace("trackID=1", "trackID=2");
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    viewer.client.request("SETUP", &url, &transport).expect(404);
    assert_eq!(door.tagged("DESCRIBE"), 0, "nobody asked to talk");
    // Some clients say it once: the description has told them of the track.
    let mut viewer = Viewer::describe_on(tagged(server.address()), &server.url("/door"), Over::Tcp);
    let text = &viewer.description.text;
    assert_eq!((text.matches("a=recvonly").count(), text.matches("a=sendonly").count()), (2, 1), "{text}");
    viewer.client.require = None;
    viewer.setup(2);
    viewer.play(&[]);
    say(&mut viewer, 0, 1, 0..5);
    door.wait_for_sound(5);
}

fn a_path_that_takes_no_sound_says_so(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let proxy =
        format!("<proxy><suffix>door</suffix><url>{}</url><backchannel>0</backchannel></proxy>", door.url());
    let server = Server::with(backend).xml(&proxy).start();
    for path in ["/test", "/door"] {
        assert_absent(describe(&server, path));
        let mut viewer = Viewer::describe(server.address(), &server.url(path), Over::Tcp);
        let control = viewer.description.media[0].control.clone();
        let setup = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1"), ("Require", TAG)];
        assert_absent(viewer.client.request("SETUP", &control, &setup));
        viewer.setup(0);
        assert_absent(viewer.client.request("PLAY", &server.url(path), &[("Require", TAG)]));
        viewer.play(&[]);
        assert!(viewer.receive_until(Duration::from_secs(10), |viewer| !viewer.tracks[0].packets.is_empty()));
    }
    describe(&server, "/nothing").expect(404);
    assert_eq!(door.tagged("DESCRIBE"), 0, "the setting keeps the source from being asked");
}

fn a_source_that_takes_no_sound_is_not_asked_again(backend: Backend) {
    for ear in [Ear::Refuses, Ear::Deaf] {
        let door = Door::start(ear);
        let server = server(backend, &door);
        for _ in 0..3 {
            assert_absent(describe(&server, "/door"));
        }
        assert_eq!(door.tagged("DESCRIBE"), 1, "{ear:?}");
    }
}

fn a_source_that_hangs_when_it_is_asked_goes_on_showing_pictures(backend: Backend) {
    let door = Door::start(Ear::Hangs);
    let server = server(backend, &door);
    let mut viewer = Viewer::open(server.address(), &server.url("/door"), Over::Tcp);
    viewer.play(&[]);
    assert_absent(describe(&server, "/door"));
    viewer.receive(Duration::from_millis(500));
    let last = viewer.tracks[0].packets.len();
    assert!(viewer.receive_until(Duration::from_secs(5), |viewer| viewer.tracks[0].packets.len() > last + 5));
    assert!(viewer.tracks[0].gaps().is_empty());
    assert_absent(describe(&server, "/door"));
    assert_eq!(door.tagged("DESCRIBE"), 1, "a minute long it is not asked again");
}

fn a_source_that_is_busy_is_busy_to_the_viewer(backend: Backend) {
    let door = Door::start(Ear::Busy);
    let server = server(backend, &door);
    let mut viewer = Viewer::describe_on(tagged(server.address()), &server.url("/door"), Over::Tcp);
    let back = viewer.description.media[2].control.clone();
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    for _ in 0..2 {
        viewer.client.request("SETUP", &back, &transport).expect(453);
    }
    viewer.setup(0);
    viewer.play(&[]);
    assert!(viewer.receive_until(Duration::from_secs(10), |viewer| viewer.tracks[0].packets.len() > 5));
}

fn a_source_that_did_not_wait_for_the_talker_is_asked_again(backend: Backend) {
    let door = Door::start(Ear::Impatient);
    let server = server(backend, &door);
    let mut viewer = talker(&server, Over::Tcp);
    viewer.play(&[]);
    say(&mut viewer, 2, 1, 0..5);
    door.wait_for_sound(5);
    assert_eq!(door.tagged("DESCRIBE"), 2);
}

fn a_source_that_hangs_up_and_comes_back_hears_the_talker_again(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    let mut viewer = talker(&server, Over::Tcp);
    viewer.play(&[]);
    say(&mut viewer, 2, 1, 0..5);
    door.wait_for_sound(5);
    door.hang_up();
    let end = Instant::now() + Duration::from_secs(10);
    let mut numbers = (5..).step_by(5);
    while door.heard().len() < 10 {
        let from = numbers.next().unwrap();
        say(&mut viewer, 2, 1, from..from + 5);
        assert!(Instant::now() < end, "the talker is not heard again");
    }
    let ssrcs: BTreeSet<_> = door.heard().iter().map(|packet| packet.ssrc).collect();
    assert_eq!(ssrcs.len(), 1);
}

fn a_flood_is_cut(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    let mut viewer = talker(&server, Over::Tcp);
    viewer.play(&[]);
    let begun = Instant::now();
    for number in 0..20_000 {
        viewer.say(2, &sound(5, number));
    }
    // The answer comes behind all that was said.
    viewer.client.request("GET_PARAMETER", &server.url("/door"), &[]).expect(200);
    thread::sleep(Duration::from_millis(500));
    // What comes in one turn is cut to the 64 packets that may be under way, a second to 400; seconds overlap.
    let allowed = 400 * (2 + begun.elapsed().as_secs() as usize);
    let heard = door.heard().len();
    assert!((1..=allowed).contains(&heard), "{heard} of at most {allowed}");
    // The talker is heard again when it keeps to the pace.
    thread::sleep(Duration::from_millis(1_100));
    let before = door.heard().len();
    say(&mut viewer, 2, 5, 0..5);
    door.wait_for_sound(before + 5);
}

fn gstreamer_talks(backend: Backend) {
    let door = Door::start(Ear::Tcp);
    let server = server(backend, &door);
    for over in BOTH {
        let before = door.heard().len();
        let folder = scratch("talk");
        let file = folder.join("said");
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/players/talk.py").to_owned();
        let arguments =
            [program, server.url("/door"), over.name().into(), file.display().to_string(), "4".into()];
        run("/usr/bin/python3", &arguments, Duration::from_secs(40)).unwrap();
        let said = fs::read(&file).unwrap();
        let heard = &door.heard()[before..];
        assert!(heard.len() > 30, "{over:?}: {} packets", heard.len());
        assert_one_source(heard);
        let heard: Vec<u8> = heard.iter().flat_map(|packet| packet.payload.iter().copied()).collect();
        assert!(said.windows(heard.len()).any(|part| part == heard), "{over:?}: other sound than was said");
        fs::remove_dir_all(folder).unwrap();
    }
}
