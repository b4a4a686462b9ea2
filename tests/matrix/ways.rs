//! How a stream comes to a player.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::client::viewer::Over;
use crate::server::Server;
use crate::tls::opener::Opener;
use crate::tunnels::bridge::{Door, bridge};

/// Transport and door. Multicast has networks of its own: see `groups`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Udp,
    Tcp,
    Http,
    Https,
    WebSocket,
    SecureWebSocket,
    Rtsps,
    /// Encrypted beside TLS.
    Srtp(Over),
}

/// All that the program has.
pub(super) fn ways() -> impl Iterator<Item = Way> {
    WAYS.into_iter().filter(|way| cfg!(feature = "tls") || !way.is_secure())
}

const WAYS: [Way; 9] = [
    Way::Udp,
    Way::Tcp,
    Way::Http,
    Way::Https,
    Way::WebSocket,
    Way::SecureWebSocket,
    Way::Rtsps,
    Way::Srtp(Over::Udp),
    Way::Srtp(Over::Tcp),
];

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Player {
    Ffmpeg,
    GStreamer,
}

impl Way {
    /// Who knows it. No player but a browser knows WebSocket: FFmpeg sits behind a bridge of ours. It does not know SRTP
    /// in RTSP, and GStreamer takes it wherever it is in TLS.
    pub(super) fn players(self) -> &'static [Player] {
        match self {
            Way::Udp | Way::Tcp | Way::Http | Way::Https => &[Player::Ffmpeg, Player::GStreamer],
            Way::WebSocket | Way::SecureWebSocket | Way::Rtsps => &[Player::Ffmpeg],
            Way::Srtp(_) => &[Player::GStreamer],
        }
    }

    /// Whether it goes through TLS.
    pub(super) fn is_secure(self) -> bool {
        matches!(self, Way::Https | Way::SecureWebSocket | Way::Rtsps | Way::Srtp(_))
    }

    /// Whether packets may be lost.
    pub(super) fn is_udp(self) -> bool {
        matches!(self, Way::Udp | Way::Srtp(Over::Udp))
    }
}

/// IP's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// Those that the machine has.
pub(super) fn families() -> &'static [Family] {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        return &[Family::V4, Family::V6];
    }
    eprintln!("LEFT OUT: this machine has no IPv6");
    &[Family::V4]
}

/// What leads a player or publisher to a path.
pub(super) struct Entrance {
    pub(super) url: String,
    /// The word that the program has for the way there.
    pub(super) transport: &'static str,
    _opener: Option<Opener>,
}

impl Entrance {
    pub(super) fn of(way: Way, player: Player, server: &Server, family: Family, path: &str) -> Entrance {
        let at = |address: SocketAddr| match family {
            Family::V4 => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
            Family::V6 => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        };
        let (rtsp, http) = (at(server.address()), at(server.http_address()));
        let (rtsps, https) = (at(server.secure_address()), at(server.https_address()));
        let leading = |scheme: &str, address: SocketAddr, transport| Entrance {
            url: format!("{scheme}://{address}{path}"),
            transport,
            _opener: None,
        };
        match (way, player) {
            (Way::Udp, _) => leading("rtsp", rtsp, "udp"),
            (Way::Tcp, _) => leading("rtsp", rtsp, "tcp"),
            (Way::Http, Player::Ffmpeg) => leading("rtsp", http, "http"),
            (Way::Https, Player::Ffmpeg) => leading("rtsp", https, "https"),
            // The scheme says that it is a tunnel.
            (Way::Http, Player::GStreamer) => leading("rtsph", http, "tcp"),
            (Way::Https, Player::GStreamer) => leading("rtspsh", https, "tcp"),
            (Way::WebSocket, _) => leading("rtsp", bridge(http, Door::WebSocket), "tcp"),
            (Way::SecureWebSocket, _) => {
                let opener = Opener::before(https, &[]);
                let entrance = leading("rtsp", bridge(opener.address, Door::WebSocket), "tcp");
                Entrance { _opener: Some(opener), ..entrance }
            }
            (Way::Rtsps, _) => leading("rtsps", rtsps, "tcp"),
            (Way::Srtp(over), _) => leading("rtsps", rtsps, over.name()),
        }
    }

    /// The way in for a publisher. FFmpeg's tunnels are for players alone: it sits behind a bridge.
    pub(super) fn into(way: Way, server: &Server, family: Family, path: &str) -> Entrance {
        if way != Way::Http {
            return Entrance::of(way, Player::Ffmpeg, server, family, path);
        }
        let http = match family {
            Family::V4 => server.http_address(),
            Family::V6 => (Ipv6Addr::LOCALHOST, server.http_port()).into(),
        };
        Entrance {
            url: format!("rtsp://{}{path}", bridge(http, Door::Http)),
            transport: "tcp",
            _opener: None,
        }
    }
}
