//! What all resources share: the way to every shard, the settings, and who listens.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Sender, TrySendError};
use proto::time::Time;
use tokio::sync::{Semaphore, broadcast, oneshot, watch};
use tokio::time::timeout;

use super::Asking;
use super::problem::Problem;
use super::snapshot::Album;
use crate::config::Settings;
use crate::control::reload::Asked;
use crate::media::capture::Devices;
use crate::media::library::Library;
use crate::media::transcode::Makes;
use crate::shard::gate::{Access, Subject, Suspects, delay};
use crate::shard::inbox::{Message, Outside};
use crate::shard::settings::Listen;
use crate::shard::steering::{Happening, Question, Reply};
use crate::stream::catalog::{Catalog, ShardIndex};

/// How long shards may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sessions whose packets are kept at once, each in 16 MiB at most.
const DUMPS_MAX: usize = 4;

/// What serves all requests.
pub(super) struct App {
    /// As what a configuration is looked at that somebody asks about.
    pub(super) asking: Asking,
    obeyed: watch::Sender<Obeyed>,
    /// There once the shards run.
    program: OnceLock<Program>,
    /// Whether it is there.
    is_open: watch::Sender<bool>,
    /// What happens, to everybody who listens.
    pub(super) happenings: broadcast::Sender<Happening>,
    /// Who listens.
    pub(super) listeners: AtomicUsize,
    /// Connections from elsewhere that are served.
    pub(super) connections: Arc<AtomicUsize>,
    /// Connections from this machine that are served.
    pub(super) local_connections: Arc<AtomicUsize>,
    /// Connections by the socket of `api_socket` that are served.
    pub(super) socket_connections: Arc<AtomicUsize>,
    pub(super) log_ins_failed: AtomicU64,
    pub(super) began: SystemTime,
    /// What came of streams when that was last asked.
    pub(super) rates: Mutex<HashMap<Arc<str>, Rate>>,
    /// Places for sessions whose packets are kept.
    pub(super) dumps: Semaphore,
    /// Stills that were made a moment ago.
    pub(super) album: Album,
    clock: Instant,
    suspects: Mutex<Suspects>,
}

/// What the configuration of the moment says.
#[derive(Clone)]
pub(super) struct Obeyed {
    pub(super) settings: Arc<Settings>,
    /// The users; None where nobody is asked.
    pub(super) access: Option<Arc<Access>>,
    /// Ports that are open.
    pub(super) listen: Vec<Listen>,
}

impl Obeyed {
    /// Whether the same clients may use the API.
    fn has_rights_of(&self, other: &Obeyed) -> bool {
        let is_same_access = match (&self.access, &other.access) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        is_same_access && self.settings.may_steer() == other.settings.may_steer()
    }
}

/// The rest of the program.
pub struct Program {
    /// The ways into the shards, by index.
    pub shards: Vec<Outside>,
    /// Files.
    pub library: Arc<dyn Library>,
    /// Screens, cameras and microphones.
    pub devices: Arc<dyn Devices>,
    /// The driver's name.
    pub backend: &'static str,
    /// Live streams.
    pub catalog: Arc<dyn Catalog>,
    /// What makes pictures anew.
    pub makes: Arc<dyn Makes + Send + Sync>,
    /// Where the control thread is asked for what only it can do.
    pub control: Sender<Asked>,
}

/// How much had come of a stream, when, and how fast that was.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) at: Instant,
    pub(super) bytes: u64,
    pub(super) bits_per_second: Option<u64>,
}

impl App {
    pub(super) fn new(obeyed: Obeyed, asking: Asking, happenings: broadcast::Sender<Happening>) -> App {
        App {
            asking,
            obeyed: watch::Sender::new(obeyed),
            program: OnceLock::new(),
            is_open: watch::Sender::new(false),
            happenings,
            listeners: AtomicUsize::new(0),
            connections: Arc::default(),
            local_connections: Arc::default(),
            socket_connections: Arc::default(),
            log_ins_failed: AtomicU64::new(0),
            began: SystemTime::now(),
            rates: Mutex::default(),
            dumps: Semaphore::new(DUMPS_MAX),
            album: Album::default(),
            clock: Instant::now(),
            suspects: Mutex::default(),
        }
    }

    /// What is obeyed now.
    pub(super) fn obeyed(&self) -> Obeyed {
        self.obeyed.borrow().clone()
    }

    /// Obeys another configuration from now on.
    pub(super) fn obey(&self, obeyed: Obeyed) {
        self.obeyed.send_replace(obeyed);
    }

    /// Waits until others may use the API than might at some time before.
    pub(super) async fn other_rights(&self, before: &Obeyed) {
        // The other end is here.
        let _ = self.obeyed.subscribe().wait_for(|obeyed| !obeyed.has_rights_of(before)).await;
    }

    /// The time by a clock of our own: nonces are given and taken here alone.
    pub(super) fn now(&self) -> Time {
        Time::from_millis(1) + self.clock.elapsed()
    }

    /// How many connections are served.
    pub(super) fn connection_count(&self) -> usize {
        let all = [&self.connections, &self.local_connections, &self.socket_connections];
        all.map(|count| count.load(Ordering::Relaxed)).iter().sum()
    }

    /// Since when it runs.
    pub(super) fn uptime(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Lets it know the rest of the program.
    pub(super) fn open(&self, program: Program) {
        // The program starts once.
        let _ = self.program.set(program);
        self.is_open.send_replace(true);
    }

    /// Waits for that: clients may be there a moment earlier.
    pub(super) async fn opened(&self) {
        // The other end is here.
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await;
    }

    /// The rest of the program; an error until it has started.
    pub(super) fn program(&self) -> Result<&Program, Problem> {
        self.program.get().ok_or_else(|| Problem::unavailable("the server is starting"))
    }

    /// Counts a wrong password here and where all shards have theirs counted; how long its answer is kept back.
    pub(super) fn suspect(&self, access: &Access, subject: Subject) -> Duration {
        self.log_ins_failed.fetch_add(1, Ordering::Relaxed);
        if let Some(program) = self.program.get() {
            let home = usize::from(subject.home(program.shards.len()));
            if let Some(outside) = program.shards.get(home) {
                outside.send(Message::LogInFailed(subject));
            }
        }
        let now = self.now();
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.forget_old(now, access.ban);
        let count = suspects.fail(now, subject, access.ban);
        if access.ban_after.is_some_and(|after| count >= after) {
            // Who comes anew is kept out by the shards: this is for the connections that were there before.
            suspects.ban(subject, now + access.ban);
        }
        delay(count)
    }

    /// Whether too many wrong passwords came from an address.
    pub(super) fn is_banned(&self, address: IpAddr) -> bool {
        let suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.is_banned(self.now(), address)
    }

    /// Asks the control thread.
    pub(super) async fn ask_control<T: Send + 'static>(
        &self,
        question: impl FnOnce(Reply<T>) -> Asked,
    ) -> Result<T, Problem> {
        let (sender, answer) = oneshot::channel();
        // Who has given up waiting needs no answer, and the log has it.
        let reply = Reply::new(move |answer| drop(sender.send(answer)));
        self.program()?.control.try_send(question(reply)).map_err(|error| match error {
            TrySendError::Full(_) => {
                Problem::unavailable("others have asked for such a thing and still wait")
            }
            TrySendError::Disconnected(_) => Problem::unavailable("the server stops"),
        })?;
        answer.await.map_err(|_| Problem::unavailable("the server stops"))
    }

    /// Asks one shard.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        shard: ShardIndex,
        question: impl FnOnce(Reply<T>) -> Question,
    ) -> Result<T, Problem> {
        let outside = self.program()?.shards.get(usize::from(shard));
        let outside = outside.ok_or_else(|| Problem::not_found("shard"))?;
        let (sender, answer) = oneshot::channel();
        // Who has given up waiting needs no answer.
        let reply = Reply::new(move |answer| drop(sender.send(answer)));
        outside.send(Message::Asked(question(reply)));
        match timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Problem::unavailable(format!("shard {shard} does not answer"))),
        }
    }

    /// Tells one shard to do something; one that is not there needs not.
    pub(super) fn order(&self, shard: ShardIndex, order: Question) {
        if let Some(outside) = self.program().ok().and_then(|it| it.shards.get(usize::from(shard))) {
            outside.send(Message::Asked(order));
        }
    }

    /// Asks every shard, in their order.
    pub(super) async fn ask_all<T: Send + 'static>(
        &self,
        question: impl Fn(Reply<T>) -> Question,
    ) -> Result<Vec<T>, Problem> {
        let count = self.program()?.shards.len() as ShardIndex;
        let asked = (0..count).map(|shard| self.ask(shard, &question));
        futures_util::future::try_join_all(asked).await
    }
}
