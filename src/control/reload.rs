//! Another configuration while the program runs: looked at whole, then applied as far as it differs, or not at all.
//!
//! ```text
//! file ─▶ checked ─▶ everything that can fail is tried ─▶ shards add what is new ─▶ the catalog sends everybody there
//!                    an error: all stays as it was                                  ─▶ shards leave what is gone
//! ```

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::unbounded;

use super::access;
use super::additions::{Additions, Edit, EditError};
use super::addresses::{self, AddressError, Held};
use super::certificate::{Certificate, CertificateError, Prepared};
use super::changes::Changes;
use super::doors::{self, Before};
use super::hooks::WebHooks;
use super::lacking::is_certificate_denied;
use super::lookup::Lookup;
use super::making::{CurrentRules, changed};
use super::manager::Manager;
use super::obeyed::{Ground, bounds, shard_settings};
use super::proxies::{self, Tenures};
use super::pushers;
use super::reading::{Read, Reading, Rereading, Waiting};
use super::run::warn_of_publishers;
use super::shards::Shards;
use super::streams::Streams;
use super::watch::{Lookout, Watch};
use crate::config::{ConfigError, Difference, Loaded, Settings, keep_from_start, keep_origin};
use crate::media::pool::Pool;
use crate::media::transcode::slots::Slots;
use crate::shard::inbox::Message;
use crate::shard::pusher::Mode;
use crate::shard::settings::Listen;
use crate::shard::steering::Reply;

/// What is asked of the control thread while the program runs; what came of it is answered.
pub enum Asked {
    /// To read the configuration again.
    Reload(Waiting),
    /// To add, change or remove a proxy.
    Edit(Box<Edit>, Reply<Result<(), EditError>>),
}

/// Why a configuration cannot be had; the one before it stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Too many want it.
    #[error("others have asked for it and still wait")]
    Busy,
    /// There is nothing to read.
    #[error("there is no configuration file: start the server with -c FILE")]
    NoFile,
    /// It is wrong.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// A port cannot be had.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A port cannot be had by whom the program has become.
    #[error("{0}; the server has become {1}, as run_as says: restart it to have the port opened")]
    Forbidden(AddressError, String),
    /// The certificate cannot be had.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Web services cannot be called.
    #[error("{0}")]
    Hooks(String),
}

/// What the program runs by, and what outlives a change of that.
pub struct Reloader {
    pub settings: Arc<Settings>,
    pub ground: Ground,
    pub certificate: Option<Certificate>,
    /// Seals nonces: who has logged in goes on.
    pub nonce_key: [u8; 64],
    pub tenures: Tenures,
    /// Proxies beside those of the file.
    pub additions: Additions,
    /// How many shards there are.
    pub shards: u16,
    pub slots: Slots,
    pub rules: CurrentRules,
    pub catalog: Arc<Streams>,
    pub library: Arc<Pool>,
    pub rereading: Rereading,
    pub reading: Reading,
    /// Web services that are asked no more and still told of what they have admitted.
    pub retired: Vec<Arc<WebHooks>>,
    /// Where the file is read again when it changes.
    pub lookout: Lookout,
}

/// What becomes of the certificate.
enum Step {
    Stay,
    Adopt(Prepared),
    Begin(Certificate),
    Leave,
}

impl Reloader {
    /// Has the configuration read again, for one who waits or for nobody. Whoever has started the program is told.
    pub fn ask_for_reload(&mut self, waiting: Option<Waiting>, manager: &Manager) {
        if self.reading.ask(&self.rereading, self.settings.reload, waiting) {
            manager.reloading();
        }
    }

    /// Applies what was read, and says what that has changed to who has asked and to the log, and why not when it cannot be
    /// had. Whoever has started the program is told that it goes on.
    pub fn reload(&mut self, read: Read, shards: &Shards, manager: &Manager) {
        let result = self.try_to_reload(read.loaded, shards);
        let file = self.rereading.file.clone().filter(|_| self.settings.reload);
        self.lookout.follow(|| file.map(|file| read.watch.unwrap_or_else(|| Watch::new(&file))));
        match &result {
            Ok(changes) => {
                tracing::info!("configuration reloaded: {changes}");
                manager.ready();
            }
            Err(error) => {
                match error {
                    ReloadError::Configuration(ConfigError { problems }) => {
                        for problem in problems {
                            tracing::error!("the configuration stays as it was: {problem}");
                        }
                    }
                    error => tracing::error!("the configuration stays as it was: {error}"),
                }
                manager.stays(error.to_string().lines().next().unwrap_or_default());
            }
        }
        let result = result.map_err(Arc::new);
        for waiting in self.reading.finish() {
            waiting.answer(result.clone());
        }
        if self.reading.go_on(&self.rereading, self.settings.reload) {
            manager.reloading();
        }
    }

    /// Does what was asked, and answers.
    pub fn obey(&mut self, asked: Asked, shards: &Shards, manager: &Manager) {
        match asked {
            Asked::Reload(waiting) => self.ask_for_reload(Some(waiting), manager),
            Asked::Edit(edit, reply) => reply.answer(self.edit(*edit, shards)),
        }
    }

    /// Adds, changes or removes a proxy; an error changes nothing.
    fn edit(&mut self, edit: Edit, shards: &Shards) -> Result<(), EditError> {
        let what = match &edit {
            Edit::Add(it) => format!("\"{}\" is added", it.proxy.suffix),
            Edit::Change(it) => format!("\"{}\" is changed", it.proxy.suffix),
            Edit::Remove(path) => format!("\"{path}\" is removed"),
        };
        let additions = self.additions.after(edit, &self.settings)?;
        additions.keep(&self.additions).inspect_err(|error| tracing::error!("{error}"))?;
        let mut settings = (*self.settings).clone();
        additions.join(&mut settings);
        self.additions = additions;
        let running = (&self.settings.proxies[..], &self.ground.proxies[..]);
        let proxies = proxies::proxies(&settings, self.shards, running, &mut self.tenures);
        let ground = Ground { proxies, ..self.ground.clone() };
        self.apply(Arc::new(settings), ground, Step::Stay, shards);
        tracing::info!("proxy {what}, as the API asks");
        Ok(())
    }

    /// Tells the web services what has ended, until then at most.
    pub fn finish_hooks(&self, until: Instant) {
        for hooks in self.retired.iter().chain(&self.ground.hooks) {
            hooks.finish(until);
        }
    }

    fn try_to_reload(
        &mut self,
        loaded: Result<(Loaded, Lookup), ConfigError>,
        shards: &Shards,
    ) -> Result<Changes, ReloadError> {
        let (Loaded { mut settings, warnings, .. }, names) = loaded?;
        self.additions.join(&mut settings);
        let mut waiting = keep_from_start(&mut settings, &self.settings);
        waiting.extend(self.keep_certificate_beyond_reach(&mut settings));
        let (ground, step) = self.prepare(&settings, &names)?;
        // From here on nothing fails.
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let difference = Difference::between(&self.settings, &settings);
        let changes = Changes::new(difference, &self.ground.listen, &ground.listen);
        self.apply(Arc::new(settings), ground, step, shards);
        Ok(Changes { waiting, warnings, ..changes })
    }

    /// What the program could read as root, or before it was confined to the folders that it had at start, it can read at
    /// the next start: until then the certificate stays. Names the settings that wait for that.
    fn keep_certificate_beyond_reach(&self, settings: &mut Settings) -> Vec<&'static str> {
        let may_read_less = self.rereading.confined.narrows(settings);
        if self.certificate.is_none() || !may_read_less || !is_certificate_denied(settings) {
            return Vec::new();
        }
        let mut waiting = Vec::new();
        let mut keep = |name, file: &mut Option<PathBuf>, running: &Option<PathBuf>| {
            if file != running {
                tracing::warn!("{name}: the server that runs may not read it (landlock, run_as)");
                file.clone_from(running);
                waiting.push(name);
            }
        };
        keep("cert_file", &mut settings.cert_file, &self.settings.cert_file);
        keep("key_file", &mut settings.key_file, &self.settings.key_file);
        waiting.iter().for_each(|name| keep_origin(settings, &self.settings, name));
        waiting
    }

    /// Finds out, opens and makes what other settings need. What they leave alone stays what it is.
    fn prepare(&mut self, settings: &Settings, names: &Lookup) -> Result<(Ground, Step), ReloadError> {
        let of_address = |error: AddressError| match (&error, &settings.run_as) {
            (AddressError::Port { error: reason, .. }, Some(run_as))
                if reason.kind() == io::ErrorKind::PermissionDenied =>
            {
                ReloadError::Forbidden(error, run_as.to_string())
            }
            _ => ReloadError::Address(error),
        };
        let now = &self.ground;
        let hosts = addresses::hosts_again(settings, names, (&self.settings, &now.hosts))?;
        let addresses =
            |listen: &[Listen]| -> Vec<SocketAddr> { listen.iter().map(|it| it.address).collect() };
        let held = Held {
            tcp: [addresses(&now.listen), pushers::ports(&now.pushers, Mode::Tcp).collect()].concat(),
            udp: pushers::ports(&now.pushers, Mode::Udp).collect(),
        };
        let before = Before { settings: &self.settings, hosts: &now.hosts, listen: &now.listen };
        let listen = doors::ports(settings, &hosts, Some(before), &held).map_err(of_address)?;
        let step = self.next_certificate(settings, &hosts, &listen)?;
        let tenures = &mut self.tenures;
        let running = (&self.settings.proxies[..], &now.proxies[..]);
        let proxies = proxies::proxies(settings, self.shards, running, tenures);
        let running = (&now.pushers[..], &held);
        let pushers = pushers::pushers(settings, (&hosts, &listen, names), self.shards, running, tenures);
        let pushers = pushers.map_err(of_address)?;
        let access = match access::is_same(settings, &self.settings) {
            true => now.access.clone(),
            false => access::access(settings, self.nonce_key),
        };
        let hooks = match settings.http_notify == self.settings.http_notify {
            true => now.hooks.clone(),
            false => WebHooks::start(&settings.http_notify).map_err(ReloadError::Hooks)?,
        };
        let ground = Ground { hosts, listen, proxies, pushers, access, hooks, ..now.clone() };
        Ok((ground, step))
    }

    fn next_certificate(
        &self,
        settings: &Settings,
        hosts: &[IpAddr],
        listen: &[Listen],
    ) -> Result<Step, CertificateError> {
        if !doors::have_tls(listen) {
            return Ok(Step::Leave);
        }
        let files = |settings: &Settings| (settings.cert_file.clone(), settings.key_file.clone());
        match &self.certificate {
            Some(_) if files(settings) == files(&self.settings) => Ok(Step::Stay),
            Some(_) => Certificate::prepare(settings, hosts).map(Step::Adopt),
            None => Ok(Certificate::open(settings, hosts)?.map_or(Step::Leave, Step::Begin)),
        }
    }

    fn apply(&mut self, settings: Arc<Settings>, mut ground: Ground, step: Step, shards: &Shards) {
        match (step, &mut self.certificate) {
            (Step::Adopt(prepared), Some(certificate)) => certificate.adopt(prepared),
            (Step::Begin(certificate), none) => *none = Some(certificate),
            (Step::Leave, some) => *some = None,
            (Step::Stay | Step::Adopt(_), _) => {}
        }
        ground.tls = self.certificate.as_ref().map(Certificate::server);
        if settings.log_level != self.settings.log_level {
            (self.rereading.set_log_level)(settings.log_level);
        }
        ground.limits.change(bounds(&settings));
        ground.http.obey(settings.clone(), ground.access.clone(), ground.listen.clone());
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings.rules());
        self.library.forget_answers();
        let obeyed = Arc::new(shard_settings(&settings, &ground));
        shards.tell(|| Message::Settings(obeyed.clone()));
        self.catalog.change(changed(&settings, &self.slots, ground.reserved()));
        shards.tell(|| Message::Settled);
        wait_for_all(shards);
        if settings.may_publish() != self.settings.may_publish() {
            warn_of_publishers(&settings, &ground.hosts);
        }
        self.settings = settings;
        let before = std::mem::replace(&mut self.ground, ground);
        self.retire_hooks(before.hooks);
    }

    /// Web services are told of the end of what they have admitted, however late that comes.
    fn retire_hooks(&mut self, before: Option<Arc<WebHooks>>) {
        let is_asked =
            |hooks: &Arc<WebHooks>| self.ground.hooks.as_ref().is_some_and(|now| Arc::ptr_eq(now, hooks));
        self.retired.extend(before.filter(|hooks| !is_asked(hooks)));
        let unused = self.retired.extract_if(.., |hooks| Arc::strong_count(hooks) == 1);
        for hooks in unused.collect::<Vec<_>>() {
            // What is told at last may take its time, and nobody waits for it.
            let finish = move || hooks.finish(Instant::now() + FINISHED_WITHIN);
            if let Err(error) = thread::Builder::new().name("hooks end".into()).spawn(finish) {
                tracing::warn!(%error, "no thread to end the calls of web services");
            }
        }
    }
}

/// Waits until all shards have obeyed what they were told. One that hangs holds nobody up for long: the watchdog tells of it.
fn wait_for_all(shards: &Shards) {
    let (answer, answers) = unbounded();
    shards.call_roll(&answer);
    let until = Instant::now() + OBEYED_WITHIN;
    let obey = (0..shards.count()).all(|_| answers.recv_deadline(until).is_ok());
    if !obey {
        tracing::warn!("some shards are busy and obey the configuration a little later");
    }
}

/// How long what has changed is kept back until the shards obey it.
const OBEYED_WITHIN: Duration = Duration::from_secs(2);

/// How long a web service that is asked no more is told what it was not told yet.
const FINISHED_WITHIN: Duration = Duration::from_secs(60);
