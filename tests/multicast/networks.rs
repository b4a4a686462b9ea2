//! Between machines: real players, one copy on the wire, interfaces, IPv6 and groups of one source.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::listener::{Ears, Listener};
use super::players::{by_ffmpeg, by_gstreamer, once_more, publish};
use super::{FILE, PATIENCE};
use crate::client::Client;
use crate::corpus::folder;
use crate::server::{Backend, Builder, Server, on_both_backends};
use crate::upstream::network::Networks;

/// The server is the first, at a switch with others.
const SERVER: &str = "10.71.0.1";

fn server(backend: Backend) -> Builder {
    let builder = Server::with(backend).media(folder()).ip("0.0.0.0").setting("multicast", 1);
    builder.lifetime(Duration::from_secs(180))
}

fn url(server: &Server, host: &str, path: &str) -> String {
    format!("rtsp://{host}:{}/{path}", server.port())
}

fn players_get_a_file_from_its_beginning_and_again(backend: Backend) {
    let Some(networks) = Networks::at_a_switch(2) else { return };
    let server = networks.inside(0, || server(backend).start());
    let (plain, named) = (url(&server, SERVER, FILE), url(&server, SERVER, &format!("{FILE}&t=multicast")));
    networks.inside(1, || {
        for url in [&plain, &named] {
            assert_eq!(once_more(|| by_ffmpeg(url, Some(0))), Ok(()), "FFmpeg {url}");
            assert_eq!(once_more(|| by_gstreamer(url, Some(0))), Ok(()), "GStreamer {url}");
        }
    });
    assert!(server.lines("multicast begins") >= 4);
    assert_eq!(server.lines("transport=\"udp\"") + server.lines("transport=\"tcp\""), 0);
}

fn three_machines_get_a_live_stream_bit_by_bit(backend: Backend) {
    let Some(networks) = Networks::at_a_switch(4) else { return };
    let server = networks.inside(0, || server(backend).start());
    let _publishing = networks.inside(0, || publish(&server, "/live"));
    let (plain, named) = (url(&server, SERVER, "live"), url(&server, SERVER, "live?multicast"));
    thread::scope(|scope| {
        let judges = [
            scope.spawn(|| networks.inside(1, || once_more(|| by_ffmpeg(&named, None)))),
            scope.spawn(|| networks.inside(2, || once_more(|| by_gstreamer(&named, None)))),
            scope.spawn(|| networks.inside(3, || once_more(|| by_ffmpeg(&plain, None)))),
        ];
        for judge in judges {
            assert_eq!(judge.join().unwrap(), Ok(()));
        }
    });
}

/// Bytes that a device has sent and received.
fn traffic(networks: &Networks, end: usize, device: &str) -> (u64, u64) {
    networks.inside(end, || {
        let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{device}:"))).unwrap();
        let numbers: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        (numbers[8], numbers[0])
    })
}

fn three_receivers_cost_one_copy_on_the_wire(backend: Backend) {
    let Some(networks) = Networks::at_a_switch(4) else { return };
    let server = networks.inside(0, || server(backend).start());
    let address: SocketAddr = (SERVER.parse::<IpAddr>().unwrap(), server.port()).into();
    let url = url(&server, SERVER, "test");
    let mut listeners: Vec<Listener> = Vec::new();
    // Bytes a second on the server's cable, with one, with all three, with two, with the third back again, with one.
    for (count, at_most) in [(1, 1), (3, 1), (2, 1), (3, 1), (1, 1)] {
        while listeners.len() > count {
            listeners.pop().unwrap().ask("TEARDOWN", &[]).expect(200);
        }
        while listeners.len() < count {
            let end = listeners.len() + 1;
            listeners.push(networks.inside(end, || Listener::play_of(address, &url)));
        }
        listeners.iter_mut().for_each(|listener| listener.hear(0, 50));
        listeners.iter_mut().flat_map(|it| &mut it.tracks).for_each(|track| track.ears.forget());
        let (before, _) = traffic(&networks, 0, "cable");
        let (_, received_before) = traffic(&networks, 3, "cable");
        listeners.iter_mut().for_each(|listener| listener.hear(0, 200));
        for listener in &mut listeners {
            listener.until(Duration::from_millis(50), |_| false);
        }
        let (sent, received) =
            (traffic(&networks, 0, "cable").0 - before, traffic(&networks, 3, "cable").1 - received_before);
        let heard = |listener: &Listener| -> u64 {
            let packets = listener.tracks.iter().flat_map(|track| &track.ears.packets);
            packets.map(|packet| packet.payload.len() as u64 + 12).sum()
        };
        for listener in &listeners {
            assert_eq!(listener.tracks[0].ears.gaps(), [], "{count} listen");
            // With the headers below; what comes between two looks at the counters is some packets.
            assert!(
                sent < at_most * heard(listener) * 6 / 5 + 60_000,
                "{sent} sent, {} heard by {count}",
                heard(listener)
            );
        }
        assert!(received * 5 > sent * 4, "the last machine hears what is sent: {received} of {sent}");
    }
    let mut spy =
        networks.inside(1, || Ears::join(listeners[0].tracks[0].group, "10.71.0.2".parse().unwrap()));
    listeners.pop().unwrap().ask("TEARDOWN", &[]).expect(200);
    let end = Instant::now() + PATIENCE;
    while !spy.has_bye() {
        assert!(Instant::now() < end, "no BYE");
        spy.listen(Duration::from_millis(20));
    }
    let (before, _) = traffic(&networks, 0, "cable");
    thread::sleep(Duration::from_secs(1));
    let sent = traffic(&networks, 0, "cable").0 - before;
    assert!(sent < 10_000, "{sent} bytes for nobody");
}

fn multicast_leaves_by_one_of_two_interfaces(backend: Backend) {
    let Some(networks) = Networks::at_a_switch(2) else { return };
    networks.join([0, 1], "other", 72);
    // By routing; by name; by address.
    for (interface, device, apart) in [
        ("", "cable", "other"),
        ("other", "other", "cable"),
        ("10.72.0.1", "other", "cable"),
        ("cable", "cable", "other"),
    ] {
        let server = networks.inside(0, || server(backend).setting("multicast_interface", interface).start());
        server.wait_for_lines(&format!("multicast leaves by {device} ("), 1);
        // Whichever way the request came.
        for host in [SERVER, "10.72.0.1"] {
            let address: SocketAddr = (host.parse::<IpAddr>().unwrap(), server.port()).into();
            let mut listener = networks.inside(1, || {
                let mut listener = Listener::describe(address, &url(&server, host, "test"));
                listener.setup(0);
                listener
            });
            let group = listener.tracks[0].group;
            let addresses = ["10.71.0.2", "10.72.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
            let (by, not_by) = if device == "cable" { (0, 1) } else { (1, 0) };
            let mut ears = networks.inside(1, || Ears::join(group, addresses[by]));
            listener.play(&[]).expect(200);
            let end = Instant::now() + PATIENCE;
            while ears.packets.len() < 100 {
                assert!(Instant::now() < end, "{interface} {host}: {} packets", ears.packets.len());
                ears.listen(Duration::from_millis(20));
            }
            assert_eq!(ears.gaps(), []);
            let source = ears.source.unwrap().ip().to_string();
            assert_eq!(source, if device == "cable" { SERVER } else { "10.72.0.1" });
            let (before, _) = traffic(&networks, 0, apart);
            ears.listen(Duration::from_secs(1));
            let sent = traffic(&networks, 0, apart).0 - before;
            assert!(sent < 10_000, "{interface}: {sent} bytes by {apart}, {not_by}");
            listener.ask("TEARDOWN", &[]).expect(200);
        }
    }
}

fn groups_of_one_source_and_of_ipv6_reach_players(backend: Backend) {
    let Some(networks) = Networks::at_a_switch(2) else { return };
    let ranges = [
        ("232.71.0.1", "232.71.0.99", SERVER, Some("IP4")),
        ("ff15::71:1", "ff15::71:99", "fd00:71::1", None),
        ("ff12::71:1", "ff12::71:99", "fd00:71::1", None),
        ("ff3e::8000:1", "ff3e::8000:99", "fd00:71::1", Some("IP6")),
    ];
    for (first, last, source, filter) in ranges {
        let server = networks.inside(0, || {
            let builder = server(backend).setting("serverip", "0.0.0.0").setting("serverip", "::");
            let builder = builder.setting("multicast_ip_min", first).setting("multicast_ip_max", last);
            // A group of the link is of no use without its interface.
            builder.setting("multicast_interface", "cable").start()
        });
        let host = if source.contains(':') { format!("[{source}]") } else { source.into() };
        let address: SocketAddr = (source.parse::<IpAddr>().unwrap(), server.port()).into();
        let named = url(&server, &host, &format!("{FILE}&t=multicast"));
        networks.inside(1, || {
            let mut listener = Listener::play_of(address, &named);
            let group = listener.tracks[0].group.address;
            let line = format!("a=source-filter: incl IN {} {group} {source}\r\n", filter.unwrap_or("IP6"));
            assert_eq!(
                listener.description.text.contains(&line),
                filter.is_some(),
                "{}",
                listener.description.text
            );
            assert_eq!(listener.tracks[0].setup.transport("source"), filter.map(|_| source));
            listener.hear(0, 100);
            listener.hear(1, 20);
            let ears = &listener.tracks[0].ears;
            assert_eq!((ears.gaps(), ears.source.unwrap().ip()), (Vec::new(), address.ip()));
            listener.ask("TEARDOWN", &[]).expect(200);
            thread::sleep(Duration::from_millis(200));
            // Players do not find the interface of a group of the link.
            if first.starts_with("ff12") {
                return;
            }
            assert_eq!(once_more(|| by_ffmpeg(&named, Some(0))), Ok(()), "FFmpeg {first}");
            assert_eq!(once_more(|| by_gstreamer(&named, Some(0))), Ok(()), "GStreamer {first}");
        });
    }
}

fn a_machine_without_a_route_says_so_and_serves_all_the_rest(backend: Backend) {
    let Some(networks) = Networks::at_a_switch(1) else { return };
    networks.inside(0, || {
        Command::new("ip").args(["route", "del", "default"]).status().unwrap();
        let server = server(backend).start();
        server.wait_for_lines("multicast is off: no route leads to 239.192.0.1", 1);
        assert!(server.log().contains("multicast_interface"));
        let mut client = Client::connect(server.address());
        let multicast = [("Transport", "RTP/AVP;multicast")];
        client.request("SETUP", &server.url("/test/trackID=0"), &multicast).expect(461);
        let tcp = [("Transport", "RTP/AVP/TCP;unicast")];
        client.request("SETUP", &server.url("/test/trackID=0"), &tcp).expect(200);
    });
}

fn an_interface_that_is_down_is_found_out_at_start(backend: Backend) {
    let Some(networks) = Networks::at_a_switch(1) else { return };
    networks.inside(0, || {
        Command::new("ip").args(["link", "set", "cable", "multicast", "off"]).status().unwrap();
        Command::new("ip").args(["link", "set", "cable", "down"]).status().unwrap();
        let server = server(backend).setting("multicast_interface", SERVER).start();
        server.wait_for_lines("multicast is off: cable (10.71.0.1) does not carry it", 1);
    });
}

on_both_backends!(
    three_machines_get_a_live_stream_bit_by_bit,
    three_receivers_cost_one_copy_on_the_wire,
    multicast_leaves_by_one_of_two_interfaces,
    a_machine_without_a_route_says_so_and_serves_all_the_rest,
    an_interface_that_is_down_is_found_out_at_start;
    "ffmpeg":
    players_get_a_file_from_its_beginning_and_again,
    groups_of_one_source_and_of_ipv6_reach_players,
);
