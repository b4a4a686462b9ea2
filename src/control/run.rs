//! The life of the program: everything is started, signals are obeyed, everything ends in order.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{never, select, tick};
use proto::rtsp::uri::percent_encode;
use proto::srtp::Suite;
use proto::track::Track;

use super::access::access;
use super::addresses::{self, AddressError};
use super::certificate::{Certificate, CertificateError};
use super::documents::Intake;
use super::doors::{self, Opened};
use super::hooks::WebHooks;
use super::http::{Http, Program};
use super::manager::Manager;
use super::multicast::multicast;
use super::names::SystemNames;
use super::privileges::{self, PrivilegesError};
use super::proxies;
use super::pushers;
use super::shards::{Common, ShardError, Shards};
use super::signals::{Signal, Signals};
use super::streams::{MakeChannel, MakeSource, Sources, Streams};
use super::threads;
use super::watchdog::Watchdog;
use crate::config::{self, Backchannel, Loops, Publish, Settings, Srtp};
use crate::driver::Backend;
use crate::media;
use crate::media::capture::camera::Mapped;
use crate::media::capture::hub::Hub;
use crate::media::capture::{self, Devices};
use crate::media::channel::Channel;
use crate::media::folder::Folder;
use crate::media::format::{AudioCodec, AudioFormat, Choice};
use crate::media::hardware::{self, Hardware, Wanted};
use crate::media::playback;
use crate::media::pool::{self, Pool, PoolSettings};
use crate::media::source::Source;
use crate::media::transcode::Keyframes;
use crate::media::transcode::plan;
use crate::media::transcode::slots::Slots;
use crate::shard::gate::Visitors;
use crate::shard::hooks::Hooks;
use crate::shard::limits::Limits;
use crate::shard::settings::{Listen, LoudspeakerSpec, MayPublish, PortKind, Settings as ShardSettings};
use crate::stream::refragment::PacketSizes;
use crate::stream::registry::OnRepublish;
use crate::stream::relay::LiveLimits;
use crate::stream::window::WindowLimits;

/// Files whose URLs are printed at start.
const FILES_LISTED_MAX: usize = 20;

/// Live streams and files that are made anew at once where nothing else is said, for each processor: so many of 1080p are real time.
const TRANSCODES_A_PROCESSOR: usize = 4;

/// How often it is looked whether files have changed that may be read again.
const LOOK_AT_FILES_EVERY: Duration = Duration::from_secs(1);

/// Why the program ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is nowhere to listen.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// There is nothing to show to clients in TLS.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The backend that was asked for cannot be had.
    #[error("{0}")]
    Backend(String),
    /// A shard could not start, or failed.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// It cannot run as whom it should.
    #[error(transparent)]
    Privileges(#[from] PrivilegesError),
    /// What is to encode pictures does not.
    #[error("hwaccel is {0}, which does not work here ({1}): set it to auto or off")]
    Hardware(Hardware, String),
    /// Web services cannot be called.
    #[error("{0}")]
    Hooks(String),
    /// Documents of metadata cannot be taken.
    #[error("{0}")]
    Documents(String),
    /// The system refused something else.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// What there is to say once clients can connect.
#[derive(Clone, Debug)]
pub struct Started {
    /// URLs that can be played now.
    pub urls: Vec<String>,
    /// How many more files there are.
    pub more: usize,
    /// URLs of the page and of WebSocket; none where that door is closed.
    pub tunnels: Vec<String>,
    /// What URLs in TLS begin with; None where that port is closed.
    pub secure: Option<String>,
}

/// Runs the server, whose configuration was read from `file`, until it is told to stop; `ready` is called once clients can
/// connect.
pub fn run(
    settings: Arc<Settings>,
    file: Option<PathBuf>,
    signals: &Signals,
    ready: impl FnOnce(&Started),
) -> Result<(), RunError> {
    let hosts = addresses::hosts(&settings)?;
    let Opened { listen, certificate } = doors::open(&settings, &hosts)?;
    let backend = Backend::choose(settings.backend).map_err(RunError::Backend)?;
    if let Wanted::Only(kind) = settings.hwaccel {
        hardware::choose(settings.hwaccel).map_err(|error| RunError::Hardware(kind, error))?;
    }
    let mtu_bytes = usize::from(settings.mtu);
    let count = settings.shards.unwrap_or_else(shards_by_default);
    let multicast = multicast(&settings, backend, count)?;
    let proxies = proxies::proxies(&settings, count);
    let pushers = pushers::pushers(&settings, &hosts, &listen, count)?;
    let mut reserved = proxies::reserved(&proxies);
    reserved.extend(pushers::reserved(&pushers));
    let (cache, republish) = (cache_limits(&settings), on_republish(&settings));
    let slots = Slots::new(transcodes_max(&settings));
    let intake = settings.metadata.then(|| Intake::start(&settings.metadata_sources));
    let intake = intake.transpose().map_err(RunError::Documents)?;
    let metadata = intake.as_ref().map(Intake::documents);
    let devices = devices(&settings);
    let sources = Sources { metadata: metadata.clone(), ..sources(&settings, devices.clone(), &slots) };
    let streams = Streams::start(sources, mtu_bytes, cache, republish, reserved);
    let hooks = WebHooks::start(&settings.http_notify).map_err(RunError::Hooks)?;
    let obeyed = shard_settings(&settings, &hosts);
    let http = Http::start(settings.clone(), file, obeyed.access.clone());
    let http = http.map_err(|error| RunError::System("no thread for HTTP", error))?;
    let common = Common {
        backend,
        zero_copy: settings.zero_copy,
        settings: Arc::new(ShardSettings {
            listen: listen.clone(),
            tls: certificate.as_ref().map(Certificate::server),
            multicast,
            proxies,
            pushers,
            metadata,
            hooks: hooks.clone().map(|hooks| hooks as Arc<dyn Hooks>),
            steering: Some(http.clone()),
            ..obeyed
        }),
        library: Arc::new(
            Pool::start(&pool_settings(&settings, slots), pool::opener(settings.transcode_unsupported))
                .map_err(|error| RunError::System("no thread for media", error))?,
        ),
        names: Arc::new(SystemNames::default()),
        catalog: Arc::new(streams.map_err(|error| RunError::System("no thread for the streams", error))?),
    };
    warn_of_few_ports(&settings, usize::from(count) * hosts.len());
    let shards = Shards::start(count, &common)?;
    if let Err(error) = privileges::step_down(&settings) {
        shards.stop();
        return Err(error.into());
    }
    open_http(&http, &shards, &common, devices);
    let addresses: Vec<_> = listen.iter().map(|door| door.address).collect();
    tracing::info!(backend = backend.name(), shards = count, listen = ?addresses, "serving");
    look_for_hardware(settings.hwaccel);
    warn_of_publishers(&settings, &hosts);
    ready(&started(&settings, &listen));
    let manager = Manager::of_this_process();
    manager.ready(backend.name(), shards.count());
    let result = wait(signals, &shards, certificate, &manager);
    tracing::info!("stopping");
    manager.stopping();
    let until = Instant::now() + Duration::from_secs(settings.shutdown_s.into());
    shards.stop();
    http.finish();
    if let Some(hooks) = hooks {
        // What ended with the shards is still told.
        hooks.finish(until);
    }
    result
}

/// From now on requests of HTTP are answered.
fn open_http(http: &Http, shards: &Shards, common: &Common, devices: Arc<dyn Devices>) {
    let program = Program {
        shards: shards.outsides().to_vec(),
        library: common.library.clone(),
        devices,
        backend: common.backend.name(),
        catalog: common.catalog.clone(),
        makes: Arc::from(media::converters()),
        listen: common.settings.listen.clone(),
    };
    http.open(program);
}

/// Looks for what encodes pictures beside the processor. Nobody waits for it: until it is found the processor does.
fn look_for_hardware(wanted: Wanted) {
    let look = move || match hardware::choose(wanted) {
        Ok(Some(kind)) => tracing::info!(%kind, "pictures are encoded beside the processor"),
        Ok(None) if wanted == Wanted::Auto => {
            tracing::info!("pictures are encoded by the processor: nothing beside it does (hwaccel is auto)");
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "pictures are encoded by the processor"),
    };
    if let Err(error) = thread::Builder::new().name("hardware".into()).spawn(look) {
        tracing::warn!(%error, "no thread to look for hardware");
    }
}

/// Where nobody has said who may publish, everybody may.
fn warn_of_publishers(settings: &Settings, hosts: &[IpAddr]) {
    let is_reached = hosts.iter().any(|host| !host.is_loopback()) && settings.allow.is_empty();
    if settings.may_publish() == Publish::On && is_reached {
        tracing::warn!(
            "anyone who reaches this server can publish streams to it: set publish to auth, local or off"
        );
    }
}

/// Every shard takes a pair of UDP ports for each address that viewers come to, and every publisher's track one more.
fn warn_of_few_ports(settings: &Settings, needed: usize) {
    let pairs = (usize::from(settings.udp_port_max) + 1 - usize::from(settings.udp_port_min)) / 2;
    if pairs < needed {
        tracing::warn!(
            "udp_port_min and udp_port_max leave {pairs} pairs of ports, and the shards need {needed}: some viewers \
             will be refused over UDP; widen the range or lower shards"
        );
    }
}

fn wait(
    signals: &Signals,
    shards: &Shards,
    mut certificate: Option<Certificate>,
    manager: &Manager,
) -> Result<(), RunError> {
    let mut watchdog = Watchdog::new(shards.count(), manager.watchdog_period());
    let look = certificate.as_ref().map_or_else(never, |_| tick(LOOK_AT_FILES_EVERY));
    loop {
        select! {
            recv(signals.0) -> signal => match signal {
                Ok(Signal::Reload) => {
                    tracing::warn!("SIGHUP: this build does not reload; restart to apply a changed configuration");
                }
                Ok(Signal::Stop) | Err(_) => return Ok(()),
            },
            recv(look) -> _ => {
                if let Some(certificate) = &mut certificate {
                    certificate.look();
                }
            }
            recv(watchdog.due()) -> _ => watchdog.ask(shards),
            recv(watchdog.answers()) -> answer => if watchdog.is_complete_with(answer) {
                manager.alive();
            },
            recv(shards.ended()) -> ended => return match ended {
                Ok(Err(error)) => Err(error.into()),
                Ok(Ok(())) | Err(_) => Ok(()),
            },
        }
    }
}

/// The URLs of everything that can be played, by the address that other machines are most likely to reach.
fn started(settings: &Settings, listen: &[Listen]) -> Started {
    let base = doors::base(listen, PortKind::Rtsp, "rtsp", 554).unwrap_or_default();
    let at = |kind, scheme, port, path| doors::base(listen, kind, scheme, port).map(|base| base + path);
    let tunnels = [
        at(PortKind::Http, "http", 80, "/"),
        at(PortKind::Http, "ws", 80, "/websocket"),
        at(PortKind::Https, "https", 443, "/"),
        at(PortKind::Https, "wss", 443, "/websocket"),
    ];
    let secure = at(PortKind::Rtsps, "rtsps", 322, "/");
    let folder = Folder::new(settings.media_dir.clone(), settings.follow_symlinks);
    let (files, more) = folder.list(FILES_LISTED_MAX).unwrap_or_else(|error| {
        let folder = settings.media_dir.display();
        tracing::warn!("{folder} cannot be read ({error}): set media_dir to the folder of your videos");
        Default::default()
    });
    let test = settings.test.then(|| "test".to_owned());
    let proxies = settings.proxies.iter().map(|proxy| percent_encode(&proxy.suffix));
    let pushers = settings.pushers.iter().map(|pusher| percent_encode(&pusher.suffix));
    let paths =
        test.into_iter().chain(proxies).chain(pushers).chain(files.iter().map(|name| percent_encode(name)));
    let urls = paths.map(|path| format!("{base}/{path}")).collect();
    Started { urls, more, tunnels: tunnels.into_iter().flatten().collect(), secure }
}

fn pool_settings(settings: &Settings, slots: Slots) -> PoolSettings {
    PoolSettings {
        media_dir: settings.media_dir.clone(),
        follow_symlinks: settings.follow_symlinks,
        format_of: {
            let rules = settings.rules();
            Arc::new(move |name| rules.file_format(name))
        },
        has_metadata: settings.metadata,
        mtu_bytes: usize::from(settings.mtu),
        cache_bytes: settings.file_cache_mb as usize * 1024 * 1024,
        threads: Pool::threads_by_default(),
        transcode_threads: match settings.transcode_threads {
            0 => shards_by_default().into(),
            count => count.into(),
        },
        slots,
        still: settings.transcode_unsupported.then(|| media::converters().still()),
        at_thread_start: threads::step_back,
    }
}

/// What the shards obey, but for the streams that come to them; they will listen at these addresses.
fn shard_settings(settings: &Settings, hosts: &[IpAddr]) -> ShardSettings {
    let has_ipv6 = hosts.iter().any(|host| host.is_ipv6() && !host.is_loopback())
        || (settings.multicast && settings.multicast_ip_min.is_ipv6());
    ShardSettings {
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
        limits: Arc::new(limits(settings)),
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
        access: access(settings, std::array::from_fn(|_| rand::random())),
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
        ..ShardSettings::default()
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
fn limits(settings: &Settings) -> Limits {
    let count = |setting: u32| Some(setting as usize).filter(|max| *max > 0);
    let bits_per_second = Some(u64::from(settings.max_bitrate_mbps) * 1_000_000).filter(|max| *max > 0);
    Limits::new(count(settings.max_sessions), NonZero::new(settings.max_sessions_per_ip).map(NonZero::get))
        .with_connections(count(settings.max_connections))
        .with_bitrate(bits_per_second)
}

fn cache_limits(settings: &Settings) -> WindowLimits {
    WindowLimits {
        age: Duration::from_secs(settings.gop_cache_s.into()),
        bytes: settings.gop_cache_mb as usize * 1024 * 1024,
        lag: Duration::from_millis(settings.slow_reader_ms.into()),
    }
}

fn on_republish(settings: &Settings) -> OnRepublish {
    match settings.on_republish {
        config::OnRepublish::Refuse => OnRepublish::Refuse,
        config::OnRepublish::Replace => OnRepublish::Replace,
        config::OnRepublish::Stale => OnRepublish::Stale,
    }
}

fn sources(settings: &Settings, devices: Arc<dyn Devices>, slots: &Slots) -> Sources {
    let mut built_in: HashMap<String, MakeSource> = HashMap::new();
    if settings.test {
        built_in.insert("test".to_owned(), Box::new(media::synthetic::source));
    }
    let channels = settings.rules().have_live_files().then(|| channels(settings, slots));
    Sources {
        built_in,
        channels,
        hub: Arc::new(Hub::new(devices)),
        makes: Arc::from(media::converters()),
        keyframes: Keyframes::Every(Duration::from_secs(settings.keyframe_interval_s.into())),
        slots: slots.clone(),
        metadata: None,
    }
}

fn transcodes_max(settings: &Settings) -> usize {
    match settings.max_transcodes {
        0 => TRANSCODES_A_PROCESSOR * usize::from(shards_by_default()),
        count => count.into(),
    }
}

/// The devices of this machine as the configuration numbers them.
pub fn devices(settings: &Settings) -> Arc<dyn Devices> {
    let cameras = settings.cameras.iter();
    let cameras = cameras.map(|camera| Mapped { index: camera.index, path: camera.path.clone() });
    capture::system(settings.show_cursor, cameras.collect())
}

/// The files that are live channels.
fn channels(settings: &Settings, slots: &Slots) -> MakeChannel {
    let folder = Folder::new(settings.media_dir.clone(), settings.follow_symlinks);
    let (rules, opener) = (settings.rules(), Arc::from(pool::opener(settings.transcode_unsupported)));
    let slots = slots.clone();
    Box::new(move |name| {
        let channel = || Channel::new(folder.clone(), name, Arc::clone(&opener), slots.clone());
        rules.is_live_file(name).then(|| Box::new(channel()) as Box<dyn Source>)
    })
}

fn shards_by_default() -> u16 {
    thread::available_parallelism().map_or(1, |count| count.get().min(256) as u16)
}
