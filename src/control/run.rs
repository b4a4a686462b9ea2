//! The life of the program: everything is started, signals are obeyed, everything ends in order.

use std::net::IpAddr;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select, tick};
use proto::rtsp::uri::percent_encode;

use super::access::access;
use super::additions::Additions;
use super::addresses::{self, AddressError, Held};
use super::certificate::{Certificate, CertificateError};
use super::documents::Intake;
use super::doors;
use super::hooks::WebHooks;
use super::http::{Asking, Http, Program};
use super::lookup::Lookup;
use super::making::{CurrentRules, devices, pool_settings, shards_by_default, sources, transcodes_max};
use super::manager::Manager;
use super::multicast::multicast;
use super::names::SystemNames;
use super::obeyed::{Ground, bounds, cache_limits, on_republish, shard_settings};
use super::privileges::{self, PrivilegesError};
use super::proxies::{self, Tenures};
use super::pushers;
use super::reading::{Reading, Rereading};
use super::reload::{Asked, Reloader};
use super::shards::{Common, ShardError, Shards};
use super::signals::{Signal, Signals};
use super::socket::Socket;
use super::streams::Streams;
use super::watch::{Lookout, Watch};
use super::watchdog::Watchdog;
use crate::config::{Publish, Settings};
use crate::driver::Backend;
use crate::media;
use crate::media::capture::Devices;
use crate::media::folder::Folder;
use crate::media::hardware::{self, Hardware, Wanted};
use crate::media::pool::{self, Pool};
use crate::media::transcode::slots::Slots;
use crate::shard::limits::Limits;
use crate::shard::settings::{Listen, PortKind};

/// Files whose URLs are printed at start.
const FILES_LISTED_MAX: usize = 20;

/// How often it is looked whether the certificate has been renewed.
const LOOK_AT_CERTIFICATES_EVERY: Duration = Duration::from_secs(1);

/// Requests for another configuration that wait at once; one more is refused.
const ASKED_MAX: usize = 8;

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
    /// There is no socket for programs of this machine.
    #[error("{0}")]
    Socket(String),
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

/// Runs the server until it is told to stop; `ready` is called once clients can connect.
pub fn run(
    settings: &Settings,
    rereading: Rereading,
    signals: &Signals,
    ready: impl FnOnce(&Started),
) -> Result<(), RunError> {
    let watch = rereading.file.as_deref().filter(|_| settings.reload).map(Watch::new);
    let lookout = Lookout::new(watch)
        .map_err(|error| RunError::System("no thread to look at the configuration", error))?;
    let additions = Additions::open(settings.state_folder());
    let mut settings = settings.clone();
    additions.join(&mut settings);
    let settings = Arc::new(settings);
    let backend = Backend::choose(settings.backend).map_err(RunError::Backend)?;
    let count = settings.shards.unwrap_or_else(shards_by_default);
    let nonce_key = std::array::from_fn(|_| rand::random());
    let mut tenures = Tenures::default();
    // Documents of metadata come in until it is dropped.
    let (ground, certificate, _intake) =
        lay_ground(&settings, (backend, count), &rereading, nonce_key, &mut tenures)?;
    let slots = Slots::new(transcodes_max(&settings));
    let rules: CurrentRules = Arc::new(RwLock::new(Arc::new(settings.rules())));
    let devices = devices(&settings);
    let (catalog, library) = streams_and_files(&settings, &ground, devices.clone(), &rules, &slots)?;
    let common = Common {
        backend,
        zero_copy: settings.zero_copy,
        settings: Arc::new(shard_settings(&settings, &ground)),
        library: library.clone(),
        names: Arc::new(SystemNames::default()),
        catalog: catalog.clone(),
    };
    warn_of_few_ports(&settings, usize::from(count) * ground.hosts.len());
    let shards = Shards::start(count, &common)?;
    // Who steps down owns the socket that is made behind it.
    let stepped = privileges::step_down(&settings, rereading.file.as_deref()).map_err(RunError::from);
    if let Err(error) = stepped.and_then(|()| open_socket(&settings, &ground.http)) {
        shards.stop();
        ground.http.finish();
        return Err(error);
    }
    let (ask, asked) = bounded(ASKED_MAX);
    open_http(&ground.http, &shards, &common, devices, ask);
    say_serving(&settings, &ground, backend, count);
    ready(&started(&settings, &ground.listen));
    let manager = Manager::of_this_process(backend.name(), shards.count());
    let mut reloader = Reloader {
        settings,
        ground,
        certificate,
        nonce_key,
        tenures,
        additions,
        shards: count,
        slots,
        rules,
        catalog,
        library,
        rereading,
        reading: Reading::default(),
        retired: Vec::new(),
        lookout,
    };
    manager.ready();
    let result = wait((signals, &asked), &shards, &mut reloader, &manager);
    tracing::info!("stopping");
    manager.stopping();
    let until = Instant::now() + Duration::from_secs(reloader.settings.shutdown_s.into());
    shards.stop();
    reloader.ground.http.finish();
    // What ended with the shards is still told.
    reloader.finish_hooks(until);
    result
}

/// Finds out, opens and makes what the configuration needs that the program starts with.
fn lay_ground(
    settings: &Arc<Settings>,
    (backend, shards): (Backend, u16),
    rereading: &Rereading,
    nonce_key: [u8; 64],
    tenures: &mut Tenures,
) -> Result<(Ground, Option<Certificate>, Option<Intake>), RunError> {
    let names = Lookup::of(settings);
    let hosts = addresses::hosts(settings, &names)?;
    let listen = doors::ports(settings, &hosts, None, &Held::default())?;
    let certificate = if doors::have_tls(&listen) { Certificate::open(settings, &hosts)? } else { None };
    if let Wanted::Only(kind) = settings.hwaccel {
        hardware::choose(settings.hwaccel).map_err(|error| RunError::Hardware(kind, error))?;
    }
    let multicast = multicast(settings, backend, shards)?;
    let proxies = proxies::proxies(settings, shards, (&[], &[]), tenures);
    let nothing = (&[][..], &Held::default());
    let pushers = pushers::pushers(settings, (&hosts, &listen, &names), shards, nothing, tenures)?;
    let intake = settings.metadata.then(|| Intake::start(&settings.metadata_sources));
    let intake = intake.transpose().map_err(RunError::Documents)?;
    let hooks = WebHooks::start(&settings.http_notify).map_err(RunError::Hooks)?;
    let access = access(settings, nonce_key);
    let is_confined = rereading.confined.narrows(settings);
    let asked = Asking { file: rereading.file.clone(), is_confined };
    let http = Http::start(settings.clone(), asked, access.clone(), listen.clone());
    let ground = Ground {
        hosts,
        listen,
        tls: certificate.as_ref().map(Certificate::server),
        multicast,
        proxies,
        pushers,
        metadata: intake.as_ref().map(Intake::documents),
        hooks,
        limits: Arc::new(Limits::new(bounds(settings))),
        access,
        http: http.map_err(|error| RunError::System("no thread for HTTP", error))?,
    };
    Ok((ground, certificate, intake))
}

/// The threads behind live streams, and those behind files.
fn streams_and_files(
    settings: &Settings,
    ground: &Ground,
    devices: Arc<dyn Devices>,
    rules: &CurrentRules,
    slots: &Slots,
) -> Result<(Arc<Streams>, Arc<Pool>), RunError> {
    let (cache, republish) = (cache_limits(settings), on_republish(settings));
    let made_of = sources(settings, devices, slots, ground.metadata.clone());
    let catalog = Streams::start(made_of, settings.mtu.into(), cache, republish, ground.reserved())
        .map_err(|error| RunError::System("no thread for the streams", error))?;
    let library = pool_settings(settings, rules, slots.clone());
    let library = Pool::start(&library, pool::opener(settings.transcode_unsupported))
        .map_err(|error| RunError::System("no thread for media", error))?;
    Ok((Arc::new(catalog), Arc::new(library)))
}

/// Says where clients can come in, and what others may do here that nobody may have meant.
fn say_serving(settings: &Settings, ground: &Ground, backend: Backend, shards: u16) {
    let addresses: Vec<_> = ground.listen.iter().map(|door| door.address).collect();
    tracing::info!(backend = backend.name(), shards, listen = ?addresses, "serving");
    look_for_hardware(settings.hwaccel);
    warn_of_publishers(settings, &ground.hosts);
}

/// From now on requests of HTTP are answered, and what they ask of the control thread goes to `ask`.
fn open_http(http: &Http, shards: &Shards, common: &Common, devices: Arc<dyn Devices>, ask: Sender<Asked>) {
    let program = Program {
        shards: shards.outsides().to_vec(),
        library: common.library.clone(),
        devices,
        backend: common.backend.name(),
        catalog: common.catalog.clone(),
        makes: Arc::from(media::converters()),
        control: ask,
    };
    http.open(program);
}

/// Has programs of this machine served under the name of `api_socket`.
fn open_socket(settings: &Settings, http: &Http) -> Result<(), RunError> {
    let Some(path) = &settings.api_socket else { return Ok(()) };
    let refused = |error: std::io::Error| {
        let setting = settings.cite("api_socket");
        RunError::Socket(format!("{setting}: cannot listen on {}: {error}", path.display()))
    };
    http.serve(Socket::listen(path).map_err(refused)?);
    tracing::info!(socket = %path.display(), "who may open it may use the API");
    Ok(())
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
pub fn warn_of_publishers(settings: &Settings, hosts: &[IpAddr]) {
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
    (signals, asked): (&Signals, &Receiver<Asked>),
    shards: &Shards,
    reloader: &mut Reloader,
    manager: &Manager,
) -> Result<(), RunError> {
    let mut watchdog = Watchdog::new(shards.count(), manager.watchdog_period());
    let look = tick(LOOK_AT_CERTIFICATES_EVERY);
    loop {
        select! {
            recv(signals.0) -> signal => match signal {
                // The log has it, whatever comes of it.
                Ok(Signal::Reload) => reloader.ask_for_reload(None, manager),
                Ok(Signal::Stop) | Err(_) => return Ok(()),
            },
            recv(asked) -> asked => if let Ok(asked) = asked {
                reloader.obey(asked, shards, manager);
            },
            recv(look) -> _ => {
                if let Some(certificate) = &mut reloader.certificate {
                    certificate.look();
                }
            }
            recv(reloader.lookout.changed()) -> changed => if changed.is_ok() {
                reloader.ask_for_reload(None, manager);
            },
            recv(reloader.reading.answers()) -> read => if let Ok(read) = read {
                reloader.reload(read, shards, manager);
            },
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
