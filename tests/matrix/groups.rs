//! The cells of multicast, between machines: nothing else tells two players on one machine apart.

use std::net::IpAddr;
use std::time::Duration;

use super::Stream;
use crate::corpus::folder;
use crate::multicast::FILE;
use crate::multicast::players::{by_ffmpeg, by_gstreamer, once_more, publish};
use crate::server::{Backend, Builder, Server};
use crate::upstream::network::Networks;

/// First and last group, and the server's address.
const FAMILIES: [[&str; 3]; 2] =
    [["239.71.1.1", "239.71.1.99", "10.71.0.1"], ["ff15::71:1:1", "ff15::71:1:99", "fd00:71::1"]];

/// Each player at once, of each family behind the other.
pub(crate) fn comes_by_multicast(backend: Backend, stream: Stream) {
    let Some(networks) = Networks::at_a_switch(3) else { return };
    let start = |builder: Builder| networks.inside(0, || builder.start());
    let builder = || {
        let builder =
            Server::with(backend).media(folder()).setting("serverip", "0.0.0.0").setting("serverip", "::");
        builder.lifetime(Duration::from_secs(120))
    };
    // It sends the file without end.
    let source = start(builder().setting("loop_nums", -1));
    for [first, last, host] in FAMILIES {
        let builder = builder().setting("multicast", 1).setting("multicast_interface", "cable");
        let builder = builder.setting("multicast_ip_min", first).setting("multicast_ip_max", last);
        let server = start(builder.proxy("pulled", &source.url(&format!("/{FILE}")), &[]));
        let (path, from) = match stream {
            Stream::File => (FILE, Some(0)),
            Stream::Live => ("live", None),
            Stream::Proxy => ("pulled", None),
        };
        let _publishing = (stream == Stream::Live).then(|| networks.inside(0, || publish(&server, "/live")));
        let host = match host.parse::<IpAddr>().unwrap() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let url = format!("rtsp://{host}:{}/{path}&t=multicast", server.port());
        // A file begins with its first viewer: the second waits for it to end.
        for (end, player) in [by_ffmpeg as fn(&str, Option<usize>) -> _, by_gstreamer].into_iter().enumerate()
        {
            let verdict = networks.inside(end + 1, || once_more(|| player(&url, from)));
            assert_eq!(verdict, Ok(()), "{url} at machine {end}");
        }
    }
}
