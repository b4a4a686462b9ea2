//! A configuration that cannot be had changes nothing, and the log says why.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use super::{FILE, Subject, goes_on, proxy, serving, user};
use crate::client::viewer::{BOTH, Over};
use crate::server::{Backend, on_both_backends};

fn a_wrong_file_changes_nothing_and_says_where_it_is_wrong(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let mut viewers = BOTH.map(|over| subject.watch(FILE, over));
    let lines = subject.base.lines().count() as u32;
    let silent = "<output><audio><codec>NONE</codec></audio></output>";
    let cases = [
        ("<max_sessions>many</max_sessions>", 15, "config/max_sessions"),
        ("<need_auth>1</need_auth>", 1, "1 without a <user>"),
        ("<proxy><suffix>a</suffix><url>ftp://h/</url></proxy>", 31, "config/proxy/url"),
        ("<user><username>a</user>", 1, ""),
    ];
    for (wrong, column, what) in cases {
        let why = subject.refuse(&subject.with(&format!("{silent}\n<deny>127.0.0.1</deny>\n{wrong}")));
        let place = format!("rtspserver.xml:{}", lines + 3);
        assert!(why.contains(&place) && why.contains(what), "{wrong}: {why}");
        if !what.contains("without") && !what.is_empty() {
            assert!(why.contains(&format!("{place}:{column}: ")), "{wrong}: {why}");
        }
        assert_eq!(subject.status(FILE), 200, "{wrong}");
    }
    viewers.iter_mut().for_each(goes_on);
    // Nothing of all that is there.
    assert_eq!(subject.watch(FILE, Over::Tcp).tracks.len(), 2);
    assert_eq!(subject.reload(""), "nothing has changed");
}

fn what_cannot_be_had_leaves_all_else_as_it_was(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let mut viewers = BOTH.map(|over| subject.watch(FILE, over));
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken_udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (tcp, udp) = (taken.local_addr().unwrap().port(), taken_udp.local_addr().unwrap().port());
    let pusher = |mode: &str, port: u16| {
        format!(
            "<pusher><suffix>p</suffix><video><codec>H264</codec></video>\
             <transfer><mode>{mode}</mode><vport>{port}</vport></transfer></pusher>"
        )
    };
    let cases = [
        (format!("<rtsp_over_http>1</rtsp_over_http><http_port>{tcp}</http_port>"), "http_port, "),
        (format!("<serverport>{tcp}</serverport>"), "serverport, "),
        (pusher("UDP", udp), "vport of the pusher \"p\""),
        (pusher("TCP", tcp), "vport of the pusher \"p\""),
        (pusher("TCP", subject.server.port()), "vport of the pusher \"p\""),
        (
            format!(
                "<rtsps_port>{}</rtsps_port><cert_file>nowhere.pem</cert_file><key_file>nowhere.pem</key_file>",
                subject.server.port() + 2
            ),
            "nowhere.pem",
        ),
    ];
    let rest = [
        "<max_sessions>1</max_sessions>\n<test>0</test>\n".to_owned(),
        proxy("other", "rtsp://127.0.0.1:1/", ""),
        user("a", "b", "play"),
    ];
    for (wrong, what) in cases {
        let why = subject.refuse(&subject.with(&format!("{}\n{wrong}", rest.concat())));
        assert!(why.contains(what), "{wrong}: {why}");
        assert_eq!((subject.status("/test"), subject.status("/other")), (200, 404), "{wrong}");
    }
    viewers.iter_mut().for_each(goes_on);
    drop((taken, taken_udp));
    // What was wrong because of others is right once they are gone.
    let changes = subject.reload(&format!("{}{}", rest.concat(), pusher("UDP", udp)));
    assert!(changes.starts_with("users +1 -0; proxies +1 -0; pushers +1 -0; "), "{changes}");
    assert_eq!(subject.status("/test"), 404);
    viewers.iter_mut().for_each(goes_on);
}

fn what_is_decided_at_start_is_named_and_the_rest_applied(backend: Backend) {
    let subject = Subject::start(serving(backend));
    let mut viewer = subject.watch(FILE, Over::Udp);
    let changes = subject.reload("<mtu>1200</mtu><metadata>1</metadata><test>0</test>");
    assert_eq!(changes, "test; takes effect at the next start: mtu, metadata");
    assert_eq!(subject.status("/test"), 404);
    goes_on(&mut viewer);
    let other = subject.watch(FILE, Over::Tcp);
    assert_eq!(other.tracks.len(), 2);
    assert!(
        other.tracks[0].packets.iter().any(|packet| packet.payload.len() > 1_250),
        "packets are what they were"
    );
}

on_both_backends!(;
    "ffmpeg":
    a_wrong_file_changes_nothing_and_says_where_it_is_wrong,
    what_cannot_be_had_leaves_all_else_as_it_was,
    what_is_decided_at_start_is_named_and_the_rest_applied,
);
