//! The settings as the program uses them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use proto::client::Url;
use proto::rtsp::digest::Algorithm;
use proto::track::BitOrder;

use super::camera::Camera;
use super::metadata_source::MetadataSource;
use super::network::AddressRange;
use super::origin::{Origin, Place};
use super::output::Output;
use super::problem::Problem;
use super::service::RunAs;
use super::steering::Api;
use super::user::User;
use crate::media::format::{AudioCodec, VideoCodec};
use crate::media::hardware::Wanted;

/// Everything that can be set, with defaults where nobody set it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `serverip`: addresses to listen on. Empty means those of the default route's interface, and loopback.
    pub server_ips: Vec<Host>,
    /// `serverport`: RTSP over TCP.
    pub server_port: u16,
    /// `rtsps_port`: RTSP in TLS. None closes the door.
    pub rtsps_port: Option<u16>,
    /// `rtsp_over_http`: whether the HTTP port is open and tunnels and `ws` are let in.
    pub rtsp_over_http: bool,
    /// `http_port`.
    pub http_port: u16,
    /// `ws_origin`: pages that may tunnel; empty means all.
    pub ws_origins: Vec<String>,
    /// `rtsp_over_https`: whether the HTTPS port is open and tunnels in TLS and `wss` are let in.
    pub rtsp_over_https: bool,
    /// `https_port`.
    pub https_port: u16,
    /// `cert_file`: certificate chain, PEM. None means a self-signed one.
    pub cert_file: Option<PathBuf>,
    /// `key_file`: private key, PEM. None means the one made with the self-signed certificate.
    pub key_file: Option<PathBuf>,
    /// `srtp`: how media is encrypted for viewers in TLS.
    pub srtp: Srtp,
    /// `srtp_mki`: whether encrypted packets name their key; None for `auto`.
    pub srtp_mki: Option<bool>,

    /// The folder of the configuration file, or an empty path for the working folder.
    pub folder: PathBuf,
    /// `media_dir`: the folder whose files are served.
    pub media_dir: PathBuf,
    /// `follow_symlinks`: whether links in `media_dir` may lead out of it.
    pub follow_symlinks: bool,
    /// `loop_nums`: how often a file plays.
    pub loops: Loops,
    /// `file_cache_mb`: bound of the memory that holds packetized parts of files, in MiB.
    pub file_cache_mb: u32,
    /// `transcode_unsupported`: whether tracks of files are made anew that RTP does not carry.
    pub transcode_unsupported: bool,
    /// `transcode_threads`: threads that make files anew in another format; 0 for one a processor.
    pub transcode_threads: u16,
    /// `max_transcodes`: streams and files that are made anew in another format at once; 0 for four a processor.
    pub max_transcodes: u16,
    /// `keyframe_interval_s`: seconds from one keyframe to the next where pictures are made here, at most.
    pub keyframe_interval_s: u16,
    /// `hwaccel`: what encodes pictures beside the processor.
    pub hwaccel: Wanted,
    /// `show_cursor`: whether the pointer is seen on screens.
    pub show_cursor: bool,
    /// `test`: whether the built-in channel `/test` exists.
    pub test: bool,
    /// `metadata`: whether streams carry an ONVIF metadata track.
    pub metadata: bool,

    /// `multicast`: whether viewers may ask for multicast.
    pub multicast: bool,
    /// `multicast_ip_min`: lowest group address.
    pub multicast_ip_min: IpAddr,
    /// `multicast_ip_max`: highest group address.
    pub multicast_ip_max: IpAddr,
    /// `multicast_ttl`: hops that multicast packets live.
    pub multicast_ttl: u8,
    /// `multicast_interface`: by which interface multicast leaves. None leaves it to routing.
    pub multicast_interface: Option<Host>,
    /// `udp_port_min`: lowest UDP port used for media.
    pub udp_port_min: u16,
    /// `udp_port_max`: highest UDP port used for media.
    pub udp_port_max: u16,
    /// `mtu`: largest RTP packet, in bytes of UDP payload.
    pub mtu: u16,

    /// `need_auth`: whether a name and a password are asked for.
    pub need_auth: bool,
    /// `<user>`s that may log in.
    pub users: Vec<User>,
    /// `realm`: what passwords are for, as players show it; their hashes hold it.
    pub realm: String,
    /// `auth_algorithm`: hash functions of Digest, in the order in which they are offered; at least one.
    pub auth_algorithms: Vec<Algorithm>,
    /// `auth_basic`: whether passwords are taken as they are.
    pub auth_basic: bool,
    /// `ban_after`: wrong passwords of one address after which it is banned; 0 never bans.
    pub ban_after: u32,
    /// `ban_s`: how long a ban lasts, and within which time wrong passwords are counted together.
    pub ban_s: u32,
    /// `allow`: who may connect; empty means everybody.
    pub allow: Vec<AddressRange>,
    /// `deny`: who may not.
    pub deny: Vec<AddressRange>,
    /// `proxy_protocol`: whose connections begin with the address that they stand for; empty means nobody's.
    pub proxy_protocol: Vec<AddressRange>,
    /// `api`: who may use the API; None where nobody has said, see [`Settings::may_steer`].
    pub api: Option<Api>,
    /// `api_socket`: where programs of this machine find the API, without a password. None means nowhere.
    pub api_socket: Option<PathBuf>,
    /// `<http_notify>`: requests that ask or tell a web service.
    pub http_notify: HttpNotify,

    /// `session_timeout`: seconds of silence after which a session is ended.
    pub session_timeout_s: u32,
    /// `max_sessions`: sessions held at once; 0 means no bound but memory.
    pub max_sessions: u32,
    /// `max_sessions_per_ip`: sessions of one address at once; 0 means no bound of its own.
    pub max_sessions_per_ip: u32,
    /// `max_connections`: connections of clients held at once; 0 means no bound but descriptors.
    pub max_connections: u32,
    /// `max_bitrate_mbps`: Mbit/s that are sent to all viewers together; 0 means no bound.
    pub max_bitrate_mbps: u32,
    /// `gop_cache`: how a new viewer of a live stream starts.
    pub gop_cache: GopCache,
    /// `gop_cache_s`: age in seconds of the oldest keyframe that a new viewer starts at.
    pub gop_cache_s: u32,
    /// `gop_cache_mb`: bound of the memory that holds a live stream's past, in MiB.
    pub gop_cache_mb: u32,
    /// `slow_reader_ms`: age at which what a slow viewer has not taken is dropped.
    pub slow_reader_ms: u32,
    /// `publish`: who may publish streams by ANNOUNCE and RECORD; None where nobody has said, see
    /// [`Settings::may_publish`].
    pub publish: Option<Publish>,
    /// `on_republish`: what becomes of a publisher when another one wants its path.
    pub on_republish: OnRepublish,
    /// `source_grace_s`: seconds that viewers are kept when their live source is lost.
    pub source_grace_s: u32,
    /// `source_start_ms`: how long DESCRIBE waits for a stream that is starting.
    pub source_start_ms: u32,
    /// `ondemand_close_s`: seconds after the last viewer until a source is left that is pulled on demand.
    pub ondemand_close_s: u32,
    /// `udp_to_tcp_ms`: how long a source may leave us without datagrams before it is asked for TCP.
    pub udp_to_tcp_ms: u32,
    /// `shutdown_s`: seconds within which the program is gone after SIGTERM.
    pub shutdown_s: u32,

    /// `<output>` rules, in the order of the file.
    pub outputs: Vec<Output>,
    /// `<proxy>`s with a URL; those without are switched off and left out.
    pub proxies: Vec<Proxy>,
    /// `<pusher>`s.
    pub pushers: Vec<Pusher>,
    /// `<videodevice>`s: cameras under numbers of their own.
    pub cameras: Vec<Camera>,
    /// `<backchannel>`. None means that sound from viewers is not taken.
    pub backchannel: Option<Backchannel>,
    /// `<metadata_source>`s.
    pub metadata_sources: Vec<MetadataSource>,

    /// `backend`: which driver does the sockets.
    pub backend: BackendChoice,
    /// `zerocopy`: when sends lend their bytes to the kernel.
    pub zero_copy: ZeroCopy,
    /// `shards`: threads that serve. None means one per core.
    pub shards: Option<u16>,
    /// `reload`: whether the configuration is read again when its file has changed.
    pub reload: bool,

    /// `log_enable`: whether anything is logged.
    pub log_enable: bool,
    /// `log_level`: the least severe lines that are logged.
    pub log_level: LogLevel,
    /// `log_format`.
    pub log_format: LogFormat,
    /// `log_file`: where lines go. None means the standard error.
    pub log_file: Option<PathBuf>,
    /// `log_file_mb`: size at which the log file is rotated, in MiB.
    pub log_file_mb: u32,
    /// `log_files`: rotated log files that are kept.
    pub log_files: u32,

    /// `state_dir`: where the program keeps what it makes itself. None means [`Settings::folder`].
    pub state_dir: Option<PathBuf>,
    /// `run_as`: whom the program runs as once it listens. None means whoever has started it.
    pub run_as: Option<RunAs>,
    /// `landlock`: whether the process may open only the folders that it needs; None where it can be had.
    pub landlock: Option<bool>,

    /// Where the values of root settings came from; what is not in it is a default.
    pub(super) origins: BTreeMap<&'static str, Origin>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A literal address; `0.0.0.0` and `::` stand for all.
    Address(IpAddr),
    /// A name to resolve, or an address with a zone (`fe80::1%eth0`).
    Name(String),
}

/// How often a file plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loops {
    /// This many times in all, at least 1.
    Times(u32),
    /// Until the viewer leaves.
    Endless,
}

/// How a new viewer of a live stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GopCache {
    /// At the next keyframe.
    Off,
    /// At the latest keyframe, catching up with the live picture.
    CatchUp,
    /// At the latest keyframe, with true times.
    TrueTimes,
}

/// When large sends over TCP lend their bytes to the kernel in place of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroCopy {
    /// Until the kernel says of a connection that it copies all the same, as it does for peers on this machine.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// How media is encrypted for viewers in TLS who can take it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Srtp {
    /// AES in counter mode, authenticated by HMAC-SHA-1.
    AesCm,
    /// AES-GCM.
    AesGcm,
    /// AES-GCM with keys of 256 bits.
    AesGcm256,
    /// Not beyond TLS: datagrams leave in the clear.
    Off,
}

/// Who may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// Nobody.
    Off,
    /// Clients on this machine.
    Local,
    /// Clients that have logged in.
    Auth,
    /// Every client.
    On,
}

/// What becomes of a publisher when another one wants its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRepublish {
    /// It stays.
    Refuse,
    /// It goes.
    Replace,
    /// It goes when the other comes from its address, or when it has been silent for 5 s.
    Stale,
}

/// A password; it shows itself to nobody who only prints it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// URLs called when something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpNotify {
    /// A client connects.
    pub on_connect: Option<Url>,
    /// A viewer wants to play.
    pub on_play: Option<Url>,
    /// A publisher wants to publish.
    pub on_publish: Option<Url>,
    /// A session has ended.
    pub on_done: Option<Url>,
    /// Method of the requests.
    pub method: NotifyMethod,
    /// `notify_timeout_ms`: how long an answer may take.
    pub timeout_ms: u32,
    /// `notify_fail`: what becomes of a client when there is no answer.
    pub fail: NotifyFail,
}

/// Method of `<http_notify>` requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotifyMethod {
    /// Arguments as a form in the body.
    #[default]
    Post,
    /// Arguments in the query.
    Get,
}

/// What becomes of a client that nobody has answered for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotifyFail {
    /// It is refused.
    #[default]
    Deny,
    /// It is let pass.
    Allow,
}

/// A stream pulled from elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// Path without the leading slash.
    pub suffix: String,
    /// Where the stream is: rtsp, rtsps, http or https.
    pub url: String,
    /// Name for the source; empty means none.
    pub user: String,
    /// Password for the source.
    pub pass: Secret,
    /// Transport towards the source.
    pub transfer: Transfer,
    /// Whether it is pulled only while somebody watches.
    pub ondemand: bool,
    /// Whether a source that is asked over TLS must prove who it is.
    pub verify: bool,
    /// Whether a viewer who asks to talk is let through to the source; it is asked for nothing of the kind before.
    pub backchannel: bool,
    /// What to send instead of the source's format. None means the source's.
    pub output: Option<Output>,
    /// Who has written it down.
    pub holder: Holder,
}

/// Who has a proxy written down, and may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The configuration.
    File,
    /// The API has added it.
    Api {
        /// Whether it is there again after a restart.
        is_kept: bool,
    },
}

/// Transport of a proxy towards its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// Interleaved.
    #[default]
    Tcp,
    /// Unicast datagrams.
    Udp,
    /// Multicast.
    Multicast,
}

impl Transfer {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Transfer::Tcp => "TCP",
            Transfer::Udp => "UDP",
            Transfer::Multicast => "MULTICAST",
        }
    }
}

/// A stream that is pushed to us.
#[derive(Clone, Debug, PartialEq)]
pub struct Pusher {
    /// Path without the leading slash.
    pub suffix: String,
    /// How the data comes.
    pub mode: PusherMode,
    /// Address that receives. None means those of `serverip`.
    pub ip: Option<Host>,
    /// Video track. None means that there is none.
    pub video: Option<PusherVideo>,
    /// Audio track. None means that there is none.
    pub audio: Option<PusherAudio>,
    /// What to send instead of the pushed format. None means the pushed one.
    pub output: Option<Output>,
    /// Where the node is.
    pub place: Place,
}

/// How a pusher's data comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PusherMode {
    /// RTP over TCP behind a header of 4 bytes.
    Tcp,
    /// RTP over UDP.
    Udp,
    /// ANNOUNCE and RECORD.
    #[default]
    Rtsp,
}

/// Video track of a pusher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PusherVideo {
    /// Its codec.
    pub codec: VideoCodec,
    /// Port it arrives at; None in RTSP mode.
    pub port: Option<u16>,
}

/// Audio track of a pusher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PusherAudio {
    /// Its codec.
    pub codec: AudioCodec,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// AudioSpecificConfig of AAC. None makes it from rate and channels.
    pub config: Option<Bytes>,
    /// Bits of a codeword of G.726: 2 to 5.
    pub g726_bits: u8,
    /// Order of the codewords of G.726 in an octet.
    pub g726_order: BitOrder,
    /// Port it arrives at; None in RTSP mode.
    pub port: Option<u16>,
}

/// Format of the sound that viewers send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backchannel {
    /// Its codec.
    pub codec: AudioCodec,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// The loudspeaker that it is heard on; empty is the system's own choice.
    pub device: String,
    /// How many viewers may talk at once: the system mixes what they say.
    pub talkers: u8,
    /// Where the node is.
    pub place: Place,
}

/// Which driver does the sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendChoice {
    /// The ring where the kernel allows it, else the fallback.
    #[default]
    Auto,
    /// The ring, or no start.
    Uring,
    /// The fallback.
    Fallback,
}

/// Least severe lines that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// 0.
    Trace,
    /// 1.
    Debug,
    /// 2.
    Info,
    /// 3.
    Warn,
    /// 4.
    Error,
    /// 5: only what ends the program.
    Fatal,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Publish {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Publish::Off => "off",
            Publish::Local => "local",
            Publish::Auth => "auth",
            Publish::On => "on",
        }
    }
}

impl Pusher {
    /// The ports that it comes to, by the names of their settings; none in RTSP mode.
    pub fn ports(&self) -> impl Iterator<Item = (&'static str, u16)> {
        let video = self.video.and_then(|video| Some(("vport", video.port?)));
        let audio = self.audio.as_ref().and_then(|audio| Some(("aport", audio.port?)));
        [video, audio].into_iter().flatten()
    }
}

impl Settings {
    /// Where the program keeps what it makes itself.
    pub fn state_folder(&self) -> &Path {
        self.state_dir.as_deref().unwrap_or(&self.folder)
    }

    /// Who may publish: who asks viewers for passwords asks publishers for them as well, unless told otherwise.
    pub fn may_publish(&self) -> Publish {
        self.publish.unwrap_or(if self.need_auth { Publish::Auth } else { Publish::On })
    }

    /// Whether anybody is asked for a password.
    pub fn has_logins(&self) -> bool {
        self.need_auth || self.may_publish() == Publish::Auth || self.may_steer() == Api::Auth
    }

    /// Who chose the value of root setting `key`.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Whether somebody asked for the value of `key`; a default may be replaced when it cannot be had.
    pub fn is_named(&self, key: &str) -> bool {
        self.origin(key).is_named()
    }

    /// The setting with its origin, for messages: `serverport, rtspserver.xml:6`.
    pub fn cite(&self, key: &str) -> String {
        self.origin(key).cite(key)
    }

    /// Something about the value of a setting, where that stands.
    pub fn problem(&self, key: &str, text: impl Into<String>) -> Problem {
        match self.origin(key) {
            Origin::File(place) => Problem::at(place, format!("config/{key}"), text),
            origin => Problem::outside(origin.cite(key), text),
        }
    }
}

impl Default for Settings {
    #[expect(clippy::too_many_lines, reason = "one a setting")]
    fn default() -> Settings {
        Settings {
            server_ips: Vec::new(),
            server_port: 554,
            rtsps_port: Some(322),
            rtsp_over_http: true,
            http_port: 8080,
            ws_origins: Vec::new(),
            rtsp_over_https: true,
            https_port: 443,
            cert_file: None,
            key_file: None,
            // Everybody who knows SRTP knows this.
            srtp: Srtp::AesCm,
            srtp_mki: None,
            folder: PathBuf::new(),
            media_dir: PathBuf::from("media"),
            follow_symlinks: false,
            loops: Loops::Times(1),
            file_cache_mb: 256,
            transcode_unsupported: true,
            transcode_threads: 0,
            max_transcodes: 0,
            keyframe_interval_s: 2,
            hwaccel: Wanted::Auto,
            show_cursor: true,
            test: true,
            metadata: false,
            multicast: false,
            // Organization-local scope of RFC 2365.
            multicast_ip_min: IpAddr::V4(Ipv4Addr::new(239, 192, 0, 1)),
            multicast_ip_max: IpAddr::V4(Ipv4Addr::new(239, 192, 255, 254)),
            multicast_ttl: 16,
            multicast_interface: None,
            // Below the ports that Linux (from 32768) and Windows (from 49152) hand out by themselves.
            udp_port_min: 20_000,
            udp_port_max: 29_999,
            mtu: 1400,
            need_auth: false,
            users: Vec::new(),
            realm: "rtspserver".to_string(),
            // FFmpeg 5 and most players know no other.
            auth_algorithms: vec![Algorithm::MD5],
            auth_basic: false,
            ban_after: 10,
            ban_s: 300,
            allow: Vec::new(),
            deny: Vec::new(),
            proxy_protocol: Vec::new(),
            api: None,
            api_socket: None,
            http_notify: HttpNotify::default(),
            session_timeout_s: 60,
            max_sessions: 20_000,
            max_sessions_per_ip: 0,
            max_connections: 0,
            max_bitrate_mbps: 0,
            gop_cache: GopCache::CatchUp,
            gop_cache_s: 15,
            gop_cache_mb: 16,
            slow_reader_ms: 2_000,
            publish: None,
            on_republish: OnRepublish::Stale,
            source_grace_s: 10,
            source_start_ms: 5_000,
            ondemand_close_s: 10,
            udp_to_tcp_ms: 3_000,
            shutdown_s: 2,
            outputs: Vec::new(),
            proxies: Vec::new(),
            pushers: Vec::new(),
            cameras: Vec::new(),
            backchannel: None,
            metadata_sources: Vec::new(),
            backend: BackendChoice::Auto,
            zero_copy: ZeroCopy::Auto,
            shards: None,
            reload: false,
            log_enable: true,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            log_file: None,
            log_file_mb: 10,
            log_files: 5,
            state_dir: None,
            run_as: None,
            landlock: None,
            origins: BTreeMap::new(),
        }
    }
}

impl Default for HttpNotify {
    fn default() -> HttpNotify {
        HttpNotify {
            on_connect: None,
            on_play: None,
            on_publish: None,
            on_done: None,
            method: NotifyMethod::Post,
            timeout_ms: 3_000,
            fail: NotifyFail::Deny,
        }
    }
}

impl HttpNotify {
    /// Whether any of them is called.
    pub fn is_used(&self) -> bool {
        [&self.on_connect, &self.on_play, &self.on_publish, &self.on_done].into_iter().any(Option::is_some)
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Host::Address(address) => address.fmt(f),
            Host::Name(name) => name.fmt(f),
        }
    }
}

impl Secret {
    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.to_string())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"***\"")
    }
}
