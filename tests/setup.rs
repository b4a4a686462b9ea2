//! SETUP: URLs of tracks, offers of transport, and what is refused (RFC 2326 sections 10.4 and 12.39).

use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use crate::client::viewer::{BOTH, Over, Viewer, port_pair};
use crate::client::{Client, Response};
use crate::corpus::folder;
use crate::server::{Backend, Server, on_both_backends};

const FILE: &str = "/h264_aac.mp4";
const TCP: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).start()
}

/// Sends SETUP with a Transport header.
#[track_caller]
fn setup(client: &mut Client, url: &str, transport: &str) -> Response {
    client.request("SETUP", url, &[("Transport", transport)])
}

/// URLs of the tracks of a path.
fn tracks(client: &mut Client, url: &str) -> Vec<String> {
    let answer = client.request("DESCRIBE", url, &[]).expect(200);
    let base = answer.header("Content-Base").unwrap_or(url).to_owned();
    let description = crate::client::sdp::Description::parse(&answer.text(), &base);
    description.media.into_iter().map(|media| media.control).collect()
}

/// SETs UP and keeps the session.
#[track_caller]
fn begin(client: &mut Client, url: &str, transport: &str) -> Response {
    let answer = setup(client, url, transport).expect(200);
    client.session = answer.session().map(str::to_owned);
    answer
}

fn urls_of_tracks_in_every_clients_style_reach_the_track(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let video = tracks(&mut client, &server.url(FILE)).remove(1);
    let (base, track) = video.rsplit_once('/').expect("a track has a URL of its own");
    for url in [
        video.clone(),
        format!("{video}/"),
        // FFmpeg appends the control attribute to what it was given, parameters and all.
        format!("{base}?s=1/{track}"),
        format!("{base}&s=1/{track}"),
        // GStreamer keeps the parameters behind it.
        format!("{base}/{track}?s=1"),
        format!("{base}/?s=1/{track}"),
        format!("{FILE}/{track}"),
    ] {
        let mut client = Client::connect(server.address());
        let answer = setup(&mut client, &url, TCP);
        assert_eq!(answer.status, 200, "{url}: {answer:?}");
    }
}

fn a_track_that_is_not_there_is_not_found(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let video = tracks(&mut client, &server.url(FILE)).remove(0);
    let missing = video.replace("=0", "=7").replace("track0", "track7");
    assert_ne!(missing, video);
    setup(&mut client, &missing, TCP).expect(404);
    setup(&mut client, &server.url("/nowhere.mp4/track=0"), TCP).expect(404);
}

fn setup_of_a_whole_presentation_of_several_tracks_is_refused(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    setup(&mut client, &server.url(FILE), TCP).expect(459);
    // With one track there is no doubt which is meant.
    setup(&mut client, &server.url("/h264.264"), TCP).expect(200);
}

fn one_track_is_set_up_once(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let tracks = tracks(&mut client, &server.url(FILE));
    begin(&mut client, &tracks[0], TCP);
    setup(&mut client, &tracks[0], "RTP/AVP/TCP;unicast;interleaved=4-5").expect(400);
    setup(&mut client, &tracks[1], "RTP/AVP/TCP;unicast;interleaved=2-3").expect(200);
}

fn all_tracks_of_a_session_take_one_transport(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let tracks = tracks(&mut client, &server.url(FILE));
    begin(&mut client, &tracks[0], TCP);
    setup(&mut client, &tracks[1], "RTP/AVP;unicast;client_port=40000-40001").expect(400);
}

fn all_tracks_of_a_session_belong_to_one_presentation(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let first = tracks(&mut client, &server.url(FILE));
    let other = tracks(&mut client, &server.url("/h265_aac.mp4"));
    begin(&mut client, &first[0], TCP);
    setup(&mut client, &other[1], "RTP/AVP/TCP;unicast;interleaved=2-3").expect(400);
}

fn client_ports_of_another_session_of_the_address_are_refused(backend: Backend) {
    let server = server(backend);
    let (rtp, _rtcp) = port_pair();
    let port = rtp.local_addr().unwrap().port();
    let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
    let mut first = Client::connect(server.address());
    let track = tracks(&mut first, &server.url(FILE)).remove(0);
    begin(&mut first, &track, &transport);
    // On whichever shard they land.
    for _ in 0..6 {
        let mut second = Client::connect(server.address());
        setup(&mut second, &track, &transport).expect(461);
        // Of several offers the next one is taken.
        let both = format!("{transport},RTP/AVP/TCP;unicast;interleaved=0-1");
        let answer = setup(&mut second, &track, &both).expect(200);
        assert_eq!(answer.transport("interleaved"), Some("0-1"));
        second = Client::connect(server.address());
    }
    first.request("TEARDOWN", &server.url(FILE), &[]).expect(200);
    let mut third = Client::connect(server.address());
    setup(&mut third, &track, &transport).expect(200);
}

fn a_newcomer_gets_the_client_ports_of_a_viewer_that_vanished(backend: Backend) {
    let server = Server::with(backend).media(folder()).setting("loop_nums", -1).start();
    let (rtp, _rtcp) = port_pair();
    let port = rtp.local_addr().unwrap().port();
    let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
    let mut vanished: Option<String> = None;
    // On whichever shards they land.
    for _ in 0..8 {
        let mut client = Client::connect(server.address());
        let track = tracks(&mut client, &server.url(FILE)).remove(0);
        let end = Instant::now() + Duration::from_secs(5);
        let mut answer = setup(&mut client, &track, &transport);
        while answer.status == 461 && Instant::now() < end {
            // The server may not have seen yet that the other is gone.
            std::thread::sleep(Duration::from_millis(20));
            answer = setup(&mut client, &track, &transport);
        }
        client.session = answer.expect(200).session().map(str::to_owned);
        client.request("PLAY", &server.url(FILE), &[]).expect(200);
        if let Some(session) = vanished {
            server.wait_for_log(&format!("session ended session={session}"), Duration::from_secs(2));
            let mut other = Client::connect(server.address());
            other.session = Some(session);
            other.request("PLAY", &server.url(FILE), &[]).expect(454);
        }
        vanished = client.session.clone();
    }
    // Exactly one of them still sends here.
    let mut client = Client::connect(server.address());
    client.session = vanished;
    client.request("TEARDOWN", &server.url(FILE), &[]).expect(200);
    std::thread::sleep(Duration::from_millis(200));
    rtp.set_nonblocking(true).unwrap();
    let mut buffer = [0; 2_048];
    while rtp.recv_from(&mut buffer).is_ok() {}
    std::thread::sleep(Duration::from_millis(400));
    assert!(rtp.recv_from(&mut buffer).is_err(), "nobody sends any more");
}

fn a_viewer_who_begins_anew_on_its_connection_keeps_its_ports(backend: Backend) {
    let server = server(backend);
    let (rtp, _rtcp) = port_pair();
    let port = rtp.local_addr().unwrap().port();
    let transport = format!("RTP/AVP;unicast;client_port={port}-{}", port + 1);
    let mut client = Client::connect(server.address());
    let track = tracks(&mut client, &server.url(FILE)).remove(0);
    let first = setup(&mut client, &track, &transport).expect(200).session().map(str::to_owned);
    // It has forgotten its session.
    let second = setup(&mut client, &track, &transport).expect(200).session().map(str::to_owned);
    client.session = first;
    client.request("PLAY", &server.url(FILE), &[]).expect(454);
    client.session = second;
    client.request("PLAY", &server.url(FILE), &[]).expect(200);
    rtp.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    rtp.recv_from(&mut [0; 2_048]).expect("media comes");
}

fn a_track_is_not_set_up_while_the_session_plays(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let tracks = tracks(&mut client, &server.url(FILE));
    begin(&mut client, &tracks[0], TCP);
    client.request("PLAY", &server.url(FILE), &[]).expect(200);
    setup(&mut client, &tracks[1], "RTP/AVP/TCP;unicast;interleaved=2-3").expect(455);
    // The refusal has changed nothing.
    client.request("PAUSE", &server.url(FILE), &[]).expect(200);
    setup(&mut client, &tracks[1], "RTP/AVP/TCP;unicast;interleaved=2-3").expect(200);
    client.request("PLAY", &server.url(FILE), &[]).expect(200);
}

fn sessions_beyond_the_bound_are_refused_until_one_ends(backend: Backend) {
    for bound in ["max_sessions", "max_sessions_per_ip"] {
        let server = Server::with(backend).media(folder()).setting(bound, 1).start();
        let mut first = Client::connect(server.address());
        let track = tracks(&mut first, &server.url(FILE)).remove(0);
        begin(&mut first, &track, TCP);
        // On whichever shard they land.
        for _ in 0..4 {
            let answer = setup(&mut Client::connect(server.address()), &track, TCP).expect(453);
            assert!(answer.text().contains(bound), "the answer says why: {answer:?}");
        }
        first.request("TEARDOWN", &server.url(FILE), &[]).expect(200);
        setup(&mut Client::connect(server.address()), &track, TCP).expect(200);
    }
}

fn tcp_without_channels_is_given_some(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let tracks = tracks(&mut client, &server.url(FILE));
    let answer = begin(&mut client, &tracks[0], "RTP/AVP/TCP;unicast");
    assert_eq!(answer.transport("interleaved"), Some("0-1"));
    let answer = setup(&mut client, &tracks[1], "RTP/AVP/TCP;unicast").expect(200);
    assert_eq!(answer.transport("interleaved"), Some("2-3"));
}

fn channels_that_are_taken_are_moved(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let tracks = tracks(&mut client, &server.url(FILE));
    begin(&mut client, &tracks[0], TCP);
    let answer = setup(&mut client, &tracks[1], TCP).expect(200);
    assert_eq!(answer.transport("interleaved"), Some("2-3"));
}

fn channels_may_be_odd_high_and_apart(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let tracks = tracks(&mut client, &server.url(FILE));
    let answer = begin(&mut client, &tracks[0], "RTP/AVP/TCP;unicast;interleaved=253-7");
    assert_eq!(answer.transport("interleaved"), Some("253-7"));
    client.request("PLAY", &server.url(FILE), &[]).expect(200);
    let message = loop {
        match client.next(Duration::from_secs(2)) {
            Some(crate::client::Message::Frame { channel, .. }) if channel == 253 => break channel,
            Some(crate::client::Message::Frame { channel, .. }) => assert_eq!(channel, 7),
            other => panic!("no packet on channel 253: {other:?}"),
        }
    };
    assert_eq!(message, 253);
}

fn one_client_port_means_no_rtcp(backend: Backend) {
    let server = server(backend);
    let (rtp, rtcp) = port_pair();
    let port = rtp.local_addr().unwrap().port();
    let mut client = Client::connect(server.address());
    let track = tracks(&mut client, &server.url(FILE)).remove(0);
    let answer = begin(&mut client, &track, &format!("RTP/AVP;unicast;client_port={port}"));
    let ports = answer.transport("server_port").expect("the server names its port").to_owned();
    assert!(ports.parse::<u16>().is_ok(), "one server_port: {ports}");
    client.request("PLAY", &server.url(FILE), &[]).expect(200);
    for socket in [&rtp, &rtcp] {
        socket.set_read_timeout(Some(Duration::from_millis(1_000))).unwrap();
    }
    let mut buffer = [0; 2_048];
    rtp.recv_from(&mut buffer).expect("RTP comes");
    assert!(rtcp.recv_from(&mut buffer).is_err(), "no RTCP comes");
}

fn the_first_offer_that_can_be_met_is_taken(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let track = tracks(&mut client, &server.url(FILE)).remove(0);
    let offers = "RTP/SAVP;unicast;client_port=5000-5001, RAW/RAW/UDP;unicast, \
                  RTP/AVP/TCP;unicast;interleaved=4-5, RTP/AVP;unicast;client_port=5000-5001";
    let answer = setup(&mut client, &track, offers).expect(200);
    assert_eq!(answer.transport("interleaved"), Some("4-5"));
    assert_eq!(answer.header("Transport").unwrap().matches("RTP/").count(), 1);
    let mut client = Client::connect(server.address());
    let answer =
        client.request("SETUP", &track, &[("Transport", "RTP/SAVP"), ("Transport", TCP)]).expect(200);
    assert_eq!(answer.transport("interleaved"), Some("0-1"));
}

fn a_transport_that_cannot_be_met_is_refused(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let track = tracks(&mut client, &server.url(FILE)).remove(0);
    for offer in [
        "RTP/SAVP;unicast;client_port=5000-5001",
        "RAW/RAW/UDP;unicast;client_port=5000-5001",
        "RTP/AVP;multicast",
        "RTP/AVP;unicast;client_port=0-0",
        "RTP/AVP;unicast;client_port=5000-5001;mode=RECORD",
        "nonsense",
    ] {
        let answer = setup(&mut client, &track, offer);
        assert_eq!(answer.status, 461, "{offer}: {answer:?}");
    }
    client.request("SETUP", &track, &[]).expect(400);
}

fn a_transport_without_unicast_or_multicast_means_unicast(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let track = tracks(&mut client, &server.url(FILE)).remove(0);
    let answer = setup(&mut client, &track, "RTP/AVP;client_port=45000-45001").expect(200);
    assert!(answer.header("Transport").unwrap().contains("unicast"), "{answer:?}");
    let mut client = Client::connect(server.address());
    let answer = setup(&mut client, &track, "RTP/AVP/TCP;interleaved=0-1;mode=\"PLAY\"").expect(200);
    assert_eq!(answer.transport("interleaved"), Some("0-1"));
}

fn packets_are_not_sent_to_a_destination_that_the_client_names(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let track = tracks(&mut client, &server.url(FILE)).remove(0);
    let answer = setup(&mut client, &track, "RTP/AVP;unicast;destination=127.0.0.9;client_port=45010-45011");
    let named = answer.transport("destination").unwrap_or_default();
    assert_ne!(named, "127.0.0.9", "{answer:?}");
}

fn the_transport_says_which_ssrc_comes(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::open(server.address(), &server.url(FILE), over);
        viewer.play(&[]);
        viewer.receive_until(Duration::from_secs(3), |viewer| {
            viewer.tracks.iter().all(|t| t.packets.len() > 3)
        });
        for track in &viewer.tracks {
            let ssrc = track.setup.transport("ssrc").expect("the transport names the ssrc");
            assert_eq!(ssrc.len(), 8, "eight digits: {ssrc}");
            let ssrc = u32::from_str_radix(ssrc, 16).unwrap();
            assert!(!track.packets.is_empty(), "{over:?}");
            assert!(track.packets.iter().all(|packet| packet.ssrc == ssrc), "{over:?}");
        }
    }
}

fn a_failed_setup_leaves_no_session(backend: Backend) {
    let server = Server::with(backend).media(folder()).setting("max_sessions", 1).start();
    let mut client = Client::connect(server.address());
    let track = tracks(&mut client, &server.url(FILE)).remove(0);
    for _ in 0..3 {
        let answer = setup(&mut client, &track, "RTP/SAVP;unicast;client_port=5000-5001").expect(461);
        assert_eq!(answer.session(), None);
    }
    // The one session that there may be is still free.
    begin(&mut client, &track, TCP);
}

fn readers_with_different_transports_get_one_file_at_once(backend: Backend) {
    let server = server(backend);
    let mut viewers: Vec<_> =
        BOTH.iter().map(|over| Viewer::open(server.address(), &server.url(FILE), *over)).collect();
    for viewer in &mut viewers {
        viewer.play(&[]);
    }
    for viewer in &mut viewers {
        viewer.receive_all(Duration::from_secs(8));
    }
    let payloads = |viewer: &Viewer| -> Vec<Vec<u8>> {
        viewer.tracks[0].packets.iter().map(|packet| packet.payload.clone()).collect()
    };
    assert!(payloads(&viewers[0]).len() > 50);
    assert_eq!(payloads(&viewers[0]), payloads(&viewers[1]));
}

fn only_the_tracks_that_were_set_up_flow(backend: Backend) {
    let server = server(backend);
    for over in BOTH {
        let mut viewer = Viewer::describe(server.address(), &server.url(FILE), over);
        let audio = viewer.description.media.iter().position(|media| media.kind == "audio").unwrap();
        viewer.setup(audio);
        let answer = viewer.play(&[]);
        assert_eq!(answer.header("RTP-Info").unwrap_or_default().matches("url=").count(), 1, "{answer:?}");
        // The client fails by itself when a packet comes on a channel that was not set up.
        viewer.receive(Duration::from_millis(800));
        let packets = &viewer.tracks[0].packets;
        assert!(packets.len() > 10, "{over:?}: {} packets", packets.len());
        assert!(packets.iter().all(|packet| packet.payload_type == viewer.tracks[0].media.payload_type));
    }
}

fn two_presentations_play_on_one_connection(backend: Backend) {
    let server = server(backend);
    let mut client = Client::connect(server.address());
    let first = tracks(&mut client, &server.url(FILE)).remove(0);
    let second = tracks(&mut client, &server.url("/h265_aac.mp4")).remove(0);
    begin(&mut client, &first, "RTP/AVP/TCP;unicast;interleaved=0-1");
    client.request("PLAY", &server.url(FILE), &[]).expect(200);
    client.session = None;
    begin(&mut client, &second, "RTP/AVP/TCP;unicast;interleaved=0-1");
    client.request("PLAY", &server.url("/h265_aac.mp4"), &[]).expect(200);
    let mut seen = [0; 4];
    for _ in 0..60 {
        if let Some(crate::client::Message::Frame { channel, .. }) = client.next(Duration::from_secs(1)) {
            seen[usize::from(channel)] += 1;
        }
    }
    assert!(seen[0] > 0 && seen[2] > 0, "packets by channel: {seen:?}");
}

fn over_udp_the_server_names_a_port_pair(backend: Backend) {
    let server = server(backend);
    let viewer = Viewer::open(server.address(), &server.url(FILE), Over::Udp);
    for track in &viewer.tracks {
        let (rtp, rtcp) = track.server_addresses(server.address().ip());
        assert_eq!(rtp.port() % 2, 0, "an even port");
        assert_eq!(rtcp.port(), rtp.port() + 1);
        let port = track.sockets().0.local_addr().unwrap().port();
        assert_eq!(track.setup.transport("client_port"), Some(format!("{port}-{}", port + 1).as_str()));
    }
}

/// An address that every interface has for itself, so that it leads nowhere without the interface's index; None where
/// this machine has no IPv6 beyond loopback.
fn link_local() -> Option<SocketAddrV6> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    table.lines().find_map(|line| {
        // Address, index, prefix length, scope, flags and name; an address that is still being tried cannot be bound.
        let fields: Vec<_> = line.split_whitespace().collect();
        let number = |field: usize| u32::from_str_radix(fields.get(field)?, 16).ok();
        let is_usable = number(3)? == 0x20 && number(4)? & 0x48 == 0;
        let address = u128::from_str_radix(fields.first()?, 16).ok()?;
        is_usable.then_some(SocketAddrV6::new(Ipv6Addr::from(address), 0, 0, number(1)?))
    })
}

fn over_udp_media_reach_a_link_local_address(backend: Backend) {
    let Some(mut address) = link_local() else { return };
    let server = Server::with(backend)
        .media(folder())
        .setting("serverip", "127.0.0.1")
        .setting("serverip", "::")
        .start();
    let mut sockets = (0..100).filter_map(|_| {
        let rtp = UdpSocket::bind(address).ok()?;
        let mut next = rtp.local_addr().ok()?;
        next.set_port(next.port() + 1);
        (next.port() % 2 == 1).then_some((rtp, UdpSocket::bind(next).ok()?))
    });
    let (rtp, rtcp) = sockets.next().expect("a free pair of UDP ports");
    let port = rtp.local_addr().unwrap().port();
    address.set_port(server.port());
    let mut client = Client::connect(address.into());
    let track = tracks(&mut client, &server.url(FILE)).remove(0);
    begin(&mut client, &track, &format!("RTP/AVP;unicast;client_port={port}-{}", port + 1));
    client.request("PLAY", &server.url(FILE), &[]).expect(200);
    for socket in [&rtp, &rtcp] {
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let (_, from) = socket.recv_from(&mut [0; 2_048]).expect("datagrams come");
        assert_eq!(from.ip(), *address.ip(), "from the address that the client knows");
    }
}

on_both_backends!(;
    "ffmpeg":
    urls_of_tracks_in_every_clients_style_reach_the_track,
    a_track_that_is_not_there_is_not_found,
    setup_of_a_whole_presentation_of_several_tracks_is_refused,
    one_track_is_set_up_once,
    all_tracks_of_a_session_take_one_transport,
    all_tracks_of_a_session_belong_to_one_presentation,
    client_ports_of_another_session_of_the_address_are_refused,
    a_newcomer_gets_the_client_ports_of_a_viewer_that_vanished,
    a_viewer_who_begins_anew_on_its_connection_keeps_its_ports,
    over_udp_media_reach_a_link_local_address,
    a_track_is_not_set_up_while_the_session_plays,
    sessions_beyond_the_bound_are_refused_until_one_ends,
    tcp_without_channels_is_given_some,
    channels_that_are_taken_are_moved,
    channels_may_be_odd_high_and_apart,
    one_client_port_means_no_rtcp,
    the_first_offer_that_can_be_met_is_taken,
    a_transport_that_cannot_be_met_is_refused,
    a_transport_without_unicast_or_multicast_means_unicast,
    packets_are_not_sent_to_a_destination_that_the_client_names,
    the_transport_says_which_ssrc_comes,
    a_failed_setup_leaves_no_session,
    readers_with_different_transports_get_one_file_at_once,
    only_the_tracks_that_were_set_up_flow,
    two_presentations_play_on_one_connection,
    over_udp_the_server_names_a_port_pair,
);
