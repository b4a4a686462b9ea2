//! What a shard needs to know of the configuration.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use proto::rtsp::message::Headers;
use proto::srtp::Suite;
use proto::tunnel::http::Answer;

use super::gate::{Access, Visitors};
use super::hooks::Hooks;
use super::limits::{Bounds, Limits};
use super::proxy::ProxySpec;
use super::pusher::PusherSpec;
use super::steering::Steering;
pub use super::talk::LoudspeakerSpec;
use super::tls::TlsServer;
use crate::config::{AddressRange, GopCache, Rules};
use crate::media::documents::Documents;
use crate::stream::groups::GroupRange;
use crate::stream::relay::LiveLimits;

/// The part of the configuration that shards obey.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where connections are accepted.
    pub listen: Vec<Listen>,
    /// What clients on ports for TLS shake hands with; None where there are none.
    pub tls: Option<TlsServer>,
    /// Who may come in by HTTP and WebSocket.
    pub doors: Doors,
    /// How media is encrypted for viewers in TLS who ask for it; None where it is not offered.
    pub srtp: Option<Suite>,
    /// Whether packets of SRTP name their key; None for all but players that cannot read it.
    pub srtp_mki: Option<bool>,
    /// Which addresses may connect.
    pub visitors: Visitors,
    /// The users and what is asked of them. None where nobody is asked.
    pub access: Option<Arc<Access>>,
    /// Whose connections begin with the address of the client that they are for.
    pub forwarders: Vec<AddressRange>,
    /// The web services that are asked and told. None where there are none.
    pub hooks: Option<Arc<dyn Hooks>>,
    /// Who serves the API and metrics. None where nobody does.
    pub steering: Option<Arc<dyn Steering>>,
    /// What is said to streams whose source does not take it itself. None where nobody can.
    pub loudspeaker: Option<LoudspeakerSpec>,
    /// Which files are live channels, and the formats of live streams.
    pub rules: Arc<Rules>,
    /// How long a session lives without a sign of life; zero = for ever.
    pub session_timeout: Duration,
    /// How long a live viewer may lag before it is moved to the next keyframe, and a datagram may wait for a full
    /// socket.
    pub slow_reader: Duration,
    /// Plays of a file in all; None = endless.
    pub loops: Option<u32>,
    /// Ports that UDP pairs are taken from.
    pub udp_ports: RangeInclusive<u16>,
    /// What is sent to groups; None when nothing is.
    pub multicast: Option<Multicast>,
    /// Time to live of multicast datagrams.
    pub multicast_ttl: u8,
    /// How many sessions there may be on all shards.
    pub limits: Arc<Limits>,
    /// How a live viewer starts.
    pub gop_cache: GopCache,
    /// What others say of streams, where each stream has metadata; None where none is added.
    pub metadata: Option<Arc<Documents>>,
    /// What the packets of published streams and the past of live ones keep to.
    pub live: LiveLimits,
    /// Who may publish.
    pub may_publish: MayPublish,
    /// How long DESCRIBE of a stream waits that is starting.
    pub source_start: Duration,
    /// How long the viewers of a stream are kept whose source is lost.
    pub source_grace: Duration,
    /// How long a live stream is received on that nobody here watches any more.
    pub linger: Duration,
    /// How long a source may leave us without datagrams before it is asked for another transfer.
    pub udp_to_tcp: Duration,
    /// Largest RTP packet that is made here.
    pub mtu_bytes: usize,
    /// What is pulled from other servers, on all shards.
    pub proxies: Vec<Arc<ProxySpec>>,
    /// Streams that are pushed to us, those of all shards.
    pub pushers: Vec<Arc<PusherSpec>>,
    /// How long viewers are given to see their BYE when the program ends.
    pub shutdown: Duration,
}

/// One address that clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// Which of our ports that is.
    pub kind: PortKind,
}

impl Listen {
    /// The port of RTSP at an address.
    pub fn rtsp(address: SocketAddr) -> Listen {
        Listen { address, kind: PortKind::Rtsp }
    }
}

/// Which of our ports a client came to. All of them tell what it speaks by its first bytes; the names are those of
/// the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// `serverport`.
    Rtsp,
    /// `http_port`.
    Http,
    /// `rtsps_port`.
    Rtsps,
    /// `https_port`.
    Https,
}

impl PortKind {
    /// Whether everything on it is inside TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, PortKind::Rtsps | PortKind::Https)
    }
}

/// Whether RTSP may come inside of HTTP and WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doors {
    /// On ports without TLS.
    pub http: bool,
    /// On ports with TLS.
    pub https: bool,
    /// The origins whose pages may; all when empty. Programs that are no browser name none and may always.
    pub origins: Vec<String>,
}

impl Default for Doors {
    fn default() -> Doors {
        Doors { http: true, https: true, origins: Vec::new() }
    }
}

impl Doors {
    /// Whether that port takes it.
    pub fn is_open(&self, port: PortKind) -> bool {
        if port.is_tls() { self.https } else { self.http }
    }

    /// Whether a request comes from a page that may (RFC 6454).
    pub fn admits_origin(&self, headers: &Headers) -> bool {
        let admits = |origin: &str| self.origins.iter().any(|other| other.eq_ignore_ascii_case(origin));
        self.origins.is_empty() || headers.get_all("Origin").all(admits)
    }

    /// Lets the page that asks read the answer, if it may.
    pub fn share(&self, answer: Answer, headers: &Headers) -> Answer {
        match headers.get("Origin") {
            Some(origin) if self.admits_origin(headers) => {
                answer.header("Access-Control-Allow-Origin", origin).header("Vary", "Origin")
            }
            _ => answer,
        }
    }
}

/// How presentations are sent to groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multicast {
    /// Address of the interface that they leave by; its port is zero.
    pub local: SocketAddr,
    /// Number of that interface, where groups of IPv6 need it; else zero.
    pub scope: u32,
    /// What groups are taken from.
    pub range: GroupRange,
}

impl Multicast {
    /// The address of a group with its interface, without which a group of a link leads nowhere.
    pub fn group_address(&self, group: IpAddr, port: u16) -> SocketAddr {
        match group {
            IpAddr::V4(group) => (group, port).into(),
            IpAddr::V6(group) => SocketAddrV6::new(group, port, 0, self.scope).into(),
        }
    }
}

/// Who may publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MayPublish {
    /// No client.
    Nobody,
    /// Clients on this machine.
    Local,
    /// Users with the permission.
    Users,
    /// Every client.
    #[default]
    Everybody,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: Vec::new(),
            tls: None,
            srtp: None,
            srtp_mki: None,
            doors: Doors::default(),
            visitors: Visitors::default(),
            access: None,
            forwarders: Vec::new(),
            hooks: None,
            steering: None,
            loudspeaker: None,
            rules: Arc::default(),
            session_timeout: Duration::from_secs(60),
            slow_reader: Duration::from_millis(1_000),
            loops: Some(1),
            udp_ports: 20_000..=59_999,
            multicast: None,
            multicast_ttl: 16,
            limits: Arc::new(Limits::new(Bounds::default())),
            gop_cache: GopCache::TrueTimes,
            metadata: None,
            live: LiveLimits::default(),
            may_publish: MayPublish::Everybody,
            source_start: Duration::from_secs(5),
            source_grace: Duration::from_secs(10),
            linger: Duration::from_secs(10),
            udp_to_tcp: Duration::from_secs(3),
            mtu_bytes: 1_400,
            proxies: Vec::new(),
            pushers: Vec::new(),
            shutdown: Duration::from_secs(2),
        }
    }
}
