//! What the shards obey: the part of the configuration that is theirs, in their words.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::srtp::Suite;
use proto::track::Track;

use super::doors;
use super::hooks::WebHooks;
use super::http::Http;
use super::{proxies, pushers};
use crate::config::{self, Backchannel, Loops, Publish, Settings, Srtp};
use crate::media::documents::Documents;
use crate::media::format::{AudioCodec, AudioFormat, Choice};
use crate::media::playback;
use crate::media::transcode::plan;
use crate::shard::gate::{Access, Visitors};
use crate::shard::hooks::Hooks;
use crate::shard::limits::{Bounds, Limits};
use crate::shard::proxy::ProxySpec;
use crate::shard::pusher::PusherSpec;
use crate::shard::settings::{Listen, LoudspeakerSpec, MayPublish, Multicast, Settings as ShardSettings};
use crate::shard::tls::TlsServer;
use crate::stream::catalog::Reserved;
use crate::stream::refragment::PacketSizes;
use crate::stream::registry::OnRepublish;
use crate::stream::relay::LiveLimits;
use crate::stream::window::WindowLimits;

/// What stands behind a configuration: found out, opened or made for it, and kept where another one changes nothing of it.
#[derive(Clone)]
pub struct Ground {
    /// The addresses to listen on.
    pub hosts: Vec<IpAddr>,
    /// Every port at every address.
    pub listen: Vec<Listen>,
    /// What is shown on ports for TLS; None where there are none.
    pub tls: Option<TlsServer>,
    /// What is sent to groups.
    pub multicast: Option<Multicast>,
    /// What is pulled.
    pub proxies: Vec<Arc<ProxySpec>>,
    /// What is pushed to us.
    pub pushers: Vec<Arc<PusherSpec>>,
    /// What others say of streams.
    pub metadata: Option<Arc<Documents>>,
    /// The web services.
    pub hooks: Option<Arc<WebHooks>>,
    /// What is counted on all shards.
    pub limits: Arc<Limits>,
    /// The users; None where nobody is asked.
    pub access: Option<Arc<Access>>,
    /// The page, the API and the rest of HTTP.
    pub http: Arc<Http>,
}

impl Ground {
    /// The paths of proxies and pushers, which nobody else may have.
    pub fn reserved(&self) -> Vec<Reserved> {
        proxies::reserved(&self.proxies).into_iter().chain(pushers::reserved(&self.pushers)).collect()
    }
}

/// What the shards obey.
pub fn shard_settings(settings: &Settings, ground: &Ground) -> ShardSettings {
    let has_ipv6 = ground.hosts.iter().any(|host| host.is_ipv6() && !host.is_loopback())
        || (settings.multicast && settings.multicast_ip_min.is_ipv6());
    ShardSettings {
        listen: ground.listen.clone(),
        tls: ground.tls.clone(),
        multicast: ground.multicast.clone(),
        proxies: ground.proxies.clone(),
        pushers: ground.pushers.clone(),
        metadata: ground.metadata.clone(),
        hooks: ground.hooks.clone().map(|hooks| hooks as Arc<dyn Hooks>),
        steering: Some(ground.http.clone()),
        srtp: match settings.srtp {
            Srtp::AesCm => Some(Suite::AesCm128HmacSha1),
            Srtp::AesGcm => Some(Suite::AeadAes128Gcm),
            Srtp::AesGcm256 => Some(Suite::AeadAes256Gcm),
            Srtp::Off => None,
        },
        srtp_mki: settings.srtp_mki,
        session_timeout: Duration::from_secs(settings.session_timeout_s.into()),
        slow_reader: Duration::from_millis(settings.slow_reader_ms.into()),
        loops: match settings.loops {
            Loops::Times(times) => Some(times),
            Loops::Endless => None,
        },
        udp_ports: settings.udp_port_min..=settings.udp_port_max,
        multicast_ttl: settings.multicast_ttl,
        limits: ground.limits.clone(),
        forwarders: settings.proxy_protocol.clone(),
        loudspeaker: settings.backchannel.as_ref().map(loudspeaker),
        rules: settings.rules().into(),
        gop_cache: settings.gop_cache,
        live: LiveLimits {
            packets: PacketSizes::new(settings.mtu.into(), has_ipv6),
            cache: cache_limits(settings),
        },
        doors: doors::doors(settings),
        visitors: Visitors { allow: settings.allow.clone(), deny: settings.deny.clone() },
        access: ground.access.clone(),
        may_publish: match settings.may_publish() {
            Publish::Off => MayPublish::Nobody,
            Publish::Local => MayPublish::Local,
            Publish::Auth => MayPublish::Users,
            Publish::On => MayPublish::Everybody,
        },
        source_start: Duration::from_millis(settings.source_start_ms.into()),
        source_grace: Duration::from_secs(settings.source_grace_s.into()),
        // A client that only asks what there is comes back within a moment.
        linger: Duration::from_secs(settings.ondemand_close_s.max(2).into()),
        udp_to_tcp: Duration::from_millis(settings.udp_to_tcp_ms.into()),
        mtu_bytes: usize::from(settings.mtu),
        shutdown: Duration::from_secs(settings.shutdown_s.into()),
    }
}

/// What viewers say: in the format that is asked for, or in any other that can be decoded.
fn loudspeaker(settings: &Backchannel) -> LoudspeakerSpec {
    let Backchannel { codec, sample_rate, channels, device, talkers, .. } = settings;
    let preferred = (*codec, *sample_rate, *channels);
    let others = AudioCodec::ALL.into_iter().filter(|other| other != codec);
    let others = others.map(|codec| (codec, codec.clamp_rate(8_000), 1));
    let formats = std::iter::once(preferred).chain(others).enumerate();
    let formats = formats.map(|(index, (codec, sample_rate, channels))| {
        let asked = AudioFormat {
            codec: Choice::As(codec),
            sample_rate: Some(sample_rate),
            channels: Some(channels),
            bitrate_kbps: None,
        };
        Track::new(plan::coded(&plan::sound_of_device(&asked)), index as u8)
    });
    LoudspeakerSpec {
        formats: formats.collect(),
        device: device.clone(),
        talkers: usize::from(*talkers),
        loudspeakers: playback::system(),
    }
}

/// The bounds of all shards together; 0 means none.
pub fn bounds(settings: &Settings) -> Bounds {
    let count = |setting: u32| Some(setting as usize).filter(|max| *max > 0);
    Bounds {
        sessions: count(settings.max_sessions),
        sessions_per_ip: Some(settings.max_sessions_per_ip).filter(|max| *max > 0),
        connections: count(settings.max_connections),
        bits_per_second: Some(u64::from(settings.max_bitrate_mbps) * 1_000_000).filter(|max| *max > 0),
    }
}

/// How much of its past a live stream keeps.
pub fn cache_limits(settings: &Settings) -> WindowLimits {
    WindowLimits {
        age: Duration::from_secs(settings.gop_cache_s.into()),
        bytes: settings.gop_cache_mb as usize * 1024 * 1024,
        lag: Duration::from_millis(settings.slow_reader_ms.into()),
    }
}

/// What becomes of a publisher when another one wants its path.
pub fn on_republish(settings: &Settings) -> OnRepublish {
    match settings.on_republish {
        config::OnRepublish::Refuse => OnRepublish::Refuse,
        config::OnRepublish::Replace => OnRepublish::Replace,
        config::OnRepublish::Stale => OnRepublish::Stale,
    }
}
