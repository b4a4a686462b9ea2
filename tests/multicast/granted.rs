//! What is described, granted and refused.

use super::listener::{Group, Listener};
use super::{FILE, groups, on_loopback, on_loopback_in};
use crate::client::Client;
use crate::server::{Backend, Server, on_both_backends};

const MULTICAST: (&str, &str) = ("Transport", "RTP/AVP;multicast");

pub(crate) fn a_description_names_the_groups_that_are_granted(backend: Backend) {
    let server = on_loopback(backend).setting("multicast_ttl", 9).start();
    for path in ["test", FILE] {
        let mut groups = Vec::new();
        for asked in ["&t=multicast", "?t=Multicast", "?multicast", "?vlcmulticast"] {
            let listener = Listener::open(server.address(), &server.url(&format!("/{path}{asked}")));
            let text = &listener.description.text;
            assert!(text.contains("a=range:npt=now-\r\n"), "all see the same: {text}");
            for track in &listener.tracks {
                let Group { address, port } = track.group;
                let section = format!("m={} {port} RTP/AVP", track.media.kind);
                let (_, section) = text.split_once(&section).unwrap_or_else(|| panic!("{section} in {text}"));
                let mut lines = section.lines().skip(1);
                assert_eq!(lines.next(), Some(format!("c=IN IP4 {address}/9").as_str()), "{text}");
                assert_eq!(track.setup.transport("ttl"), Some("9"));
                // RFC 2326 section 12.39.
                assert_eq!(track.setup.transport("ssrc"), None);
            }
            let (session, _) = text.split_once("m=").unwrap();
            let first = listener.tracks[0].group.address;
            assert!(session.contains(&format!("c=IN IP4 {first}/9\r\n")), "{text}");
            groups.push(listener.tracks.iter().map(|track| track.group).collect::<Vec<_>>());
        }
        assert_ne!(groups[0][0].address, groups[0][1].address);
        assert_ne!(groups[0][0].port, groups[0][1].port);
        assert!(groups.iter().all(|other| *other == groups[0]), "{groups:?}");
        // Without asking there is no group in it, and it can be set up all the same.
        let plain = Listener::open(server.address(), &server.url(&format!("/{path}")));
        assert!(plain.description.text.contains("c=IN IP4 0.0.0.0\r\n"), "{}", plain.description.text);
        assert_eq!(plain.tracks[0].group, groups[0][0]);
    }
}

fn every_presentation_has_groups_of_its_own(backend: Backend) {
    let server = on_loopback(backend).shards(3).start();
    let mut seen = Vec::new();
    for path in
        ["test", FILE, "h265_aac.mp4", "jpeg_pcmu.mov", "vp8_opus.webm", "mpeg4_aac.mp4", "h264_opus.mkv"]
    {
        let listener = Listener::open(server.address(), &server.url(&format!("/{path}")));
        seen.extend(listener.tracks.iter().map(|track| track.group));
    }
    let count = seen.len();
    seen.sort_by_key(|group| (group.address, group.port));
    seen.dedup();
    assert_eq!((count, seen.len()), (14, 14), "{seen:?}");
}

fn multicast_that_is_off_is_refused_and_the_next_offer_taken(backend: Backend) {
    let server = Server::with(backend).start();
    let url = server.url("/test");
    let mut client = Client::connect(server.address());
    let described = client.request("DESCRIBE", &(url.clone() + "&t=multicast"), &[]).expect(200);
    assert!(described.text().contains("c=IN IP4 0.0.0.0"), "{}", described.text());
    let control = url + "/trackID=0";
    let refused = client.request("SETUP", &control, &[MULTICAST]).expect(461);
    assert_eq!(refused.session(), None);
    let both = "RTP/AVP;multicast,RTP/AVP/TCP;unicast;interleaved=0-1";
    let granted = client.request("SETUP", &control, &[("Transport", both)]).expect(200);
    assert_eq!(granted.transport("interleaved"), Some("0-1"));
}

fn what_a_client_may_not_choose_is_refused(backend: Backend) {
    let [first, last] = groups();
    let server = on_loopback_in(backend, [first, last]).setting("multicast_ttl", 9).start();
    let url = server.url("/test");
    let mut client = Client::connect(server.address());
    let control = url.clone() + "/trackID=0";
    let setup = |client: &mut Client, parameters: &str| {
        let transport = format!("RTP/AVP;multicast{parameters}");
        client.request("SETUP", &control, &[("Transport", &transport)])
    };
    // Anybody, another group, and one that another presentation of the range might have.
    for wish in ["192.0.2.1", "239.255.1.1", "ff15::1", "example.org", &first.to_string(), &last.to_string()]
    {
        let refused = setup(&mut client, &format!(";destination={wish}")).expect(461);
        assert!(refused.session().is_none() && refused.text().contains("is sent to"), "{}", refused.text());
    }
    assert!(setup(&mut client, ";ttl=0").expect(461).text().contains("ttl=0"));
    let granted = setup(&mut client, ";ttl=3;port=7000-7001").expect(200);
    assert_eq!(granted.transport("ttl"), Some("9"), "all have one");
    let group = Group::granted(&granted);
    assert_ne!(group.port, 7_000);
    for parameters in [format!(";destination={}", group.address), ";ttl=255".into(), ";ttl=256".into()] {
        let mut client = Client::connect(server.address());
        assert_eq!(Group::granted(&setup(&mut client, &parameters).expect(200)), group, "{parameters}");
    }
    // Where one offer cannot be had, the next may be.
    let mut client = Client::connect(server.address());
    let granted = setup(&mut client, ";ttl=0,RTP/AVP/TCP;unicast;interleaved=4-5").expect(200);
    assert_eq!(granted.transport("interleaved"), Some("4-5"));
}

fn the_tracks_of_a_session_come_by_the_same_transport(backend: Backend) {
    let server = on_loopback(backend).start();
    let url = server.url("/test");
    let mut listener = Listener::describe(server.address(), &url);
    listener.setup(0);
    let tracks = [url.clone() + "/trackID=0", url + "/trackID=1"];
    let client = &mut listener.client;
    client.request("SETUP", &tracks[1], &[("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")]).expect(400);
    client
        .request("SETUP", &tracks[1], &[("Transport", "RTP/AVP;unicast;client_port=9000-9001")])
        .expect(400);
    client.request("SETUP", &tracks[0], &[MULTICAST]).expect(400);
    client.request("SETUP", &tracks[1], &[MULTICAST]).expect(200);
    let mut other = Client::connect(server.address());
    let unicast = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    other.session = other.request("SETUP", &tracks[0], &unicast).expect(200).session().map(str::to_owned);
    other.request("SETUP", &tracks[1], &[MULTICAST]).expect(400);
}

fn nobody_talks_to_a_group(backend: Backend) {
    let server = on_loopback(backend).start();
    let mut client = Client::connect(server.address());
    client.require = Some("www.onvif.org/ver20/backchannel");
    let refused = client.request("DESCRIBE", &server.url("/test&t=multicast"), &[]).expect(551);
    assert_eq!(refused.header("Unsupported"), client.require);
}

fn nobody_publishes_to_a_group(backend: Backend) {
    let server = on_loopback(backend).start();
    let (mut client, answer) = crate::client::publisher::Publisher::announce(
        server.address(),
        &server.url("/a"),
        crate::client::publisher::SDP,
    );
    answer.expect(200);
    let record = [("Transport", "RTP/AVP;multicast;mode=record")];
    client.request("SETUP", &server.url("/a/streamid=0"), &record).expect(461);
}

fn a_presentation_for_which_no_group_is_left_is_refused(backend: Backend) {
    let [first, _] = groups();
    let builder = on_loopback_in(backend, [first, first]).shards(1);
    // Two pairs of ports.
    let port = crate::server::free_ports();
    let builder = builder.port(port).setting("udp_port_min", port + 10).setting("udp_port_max", port + 13);
    let server = builder.start();
    let one = Listener::open(server.address(), &server.url("/test"));
    assert_eq!(one.tracks.len(), 2);
    let mut client = Client::connect(server.address());
    let url = server.url(&format!("/{FILE}"));
    let refused = client.request("SETUP", &(url.clone() + "/trackID=0"), &[MULTICAST]).expect(453);
    assert!(refused.text().contains("multicast_ip_max"), "{}", refused.text());
    client.request("DESCRIBE", &(url.clone() + "&t=multicast"), &[]).expect(453);
    let mut first = one;
    first.ask("TEARDOWN", &[]).expect(200);
    client.request("SETUP", &(url + "/trackID=0"), &[MULTICAST]).expect(200);
}

on_both_backends!(
    multicast_that_is_off_is_refused_and_the_next_offer_taken,
    what_a_client_may_not_choose_is_refused,
    the_tracks_of_a_session_come_by_the_same_transport,
    nobody_publishes_to_a_group,
    nobody_talks_to_a_group;
    "ffmpeg":
    a_description_names_the_groups_that_are_granted,
    every_presentation_has_groups_of_its_own,
    a_presentation_for_which_no_group_is_left_is_refused,
);
