//! HTTP for people and programs: the page, the API, metrics, and whether all is well. On one thread of its own, so that no shard
//! ever waits for it; shards pass on the bytes of connections that ask for this.

mod configuration;
mod devices;
mod dump;
mod events;
mod files;
mod gate;
mod health;
mod local;
mod log;
mod metrics;
mod openapi;
mod page;
mod paging;
mod pipe;
mod problem;
mod process;
mod proxies;
mod reload;
mod sent;
mod serve;
mod sessions;
mod snapshot;
mod state;
mod stats;
mod streams;
mod tracks;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use tokio::sync::{broadcast, mpsc, oneshot};

use self::serve::{Newcomer, Place};
pub use self::state::Program;
use self::state::{App, Obeyed};
use super::socket::Socket;
use crate::config::Settings;
use crate::shard::gate::Access;
use crate::shard::settings::Listen;
use crate::shard::steering::{Caller, Happening, Steering, WayBack, WayIn};
use crate::stream::catalog::{Notice, ShardIndex, Subscriber};

/// Connections from elsewhere that are served at once; one more is answered with 503.
const CONNECTIONS_MAX: usize = 256;

/// Connections from this machine beside them: whoever fills the others does not lock those out who are here.
const LOCAL_CONNECTIONS_MAX: usize = 64;

/// Happenings that wait to be told, and that whoever listens may be behind: beyond it some are left out for it.
const HAPPENINGS_MAX: usize = 1_024;

/// As whom the catalog is attended: no shard, and no receiver of a stream, has this number.
const ATTENDANT: ShardIndex = (1 << 12) - 1;

/// As what a configuration is looked at that somebody asks about.
#[derive(Clone, Debug)]
pub struct Asking {
    /// As if it stood in this file, the one that was read; None when there is none.
    pub file: Option<PathBuf>,
    /// Whether the program may look into less than one that starts.
    pub is_confined: bool,
}

/// The thread that serves.
pub struct Http {
    app: Arc<App>,
    newcomers: mpsc::UnboundedSender<Newcomer>,
    happenings: mpsc::Sender<Happening>,
    /// Where a socket goes that is to be served; None once it has.
    socket: Mutex<Option<oneshot::Sender<Socket>>>,
    thread: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Http {
    /// Starts the thread.
    pub fn start(
        settings: Arc<Settings>,
        asking: Asking,
        access: Option<Arc<Access>>,
        listen: Vec<Listen>,
    ) -> std::io::Result<Arc<Http>> {
        let (told, _) = broadcast::channel(HAPPENINGS_MAX);
        let app = Arc::new(App::new(Obeyed { settings, access, listen }, asking, told));
        let (newcomers, arriving) = mpsc::unbounded_channel();
        let (happenings, happening) = mpsc::channel(HAPPENINGS_MAX);
        let (stop, stopped) = oneshot::channel();
        let (socket, opened) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = app.clone();
        let thread = thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(async {
                tokio::spawn(events::spread(happening, served.happenings.clone()));
                tokio::spawn(devices::watch(served.clone()));
                tokio::spawn(local::serve(served.clone(), opened));
                tokio::select! {
                    () = serve::serve(served, arriving) => {}
                    _ = stopped => {}
                }
            });
            // A folder that is still being read holds nobody up.
            runtime.shutdown_background();
        })?;
        let (socket, thread) = (Mutex::new(Some(socket)), Mutex::new(Some((stop, thread))));
        Ok(Arc::new(Http { app, newcomers, happenings, socket, thread }))
    }

    /// Lets it know the rest of the program: from now on requests can be answered.
    pub fn open(&self, program: Program) {
        let catalog = program.catalog.clone();
        self.app.open(program);
        let (app, happenings) = (self.app.clone(), self.happenings.clone());
        let deliver = move |notice| {
            if let Notice::Published { path, is_there } = notice
                && app.listeners.load(Ordering::Relaxed) > 0
            {
                // Whoever listens is told how much it has missed.
                let _ = happenings.try_send(Happening::Published { path: path.to_string(), is_there });
            }
            true
        };
        catalog.attend(Subscriber { shard: ATTENDANT, deliver: Arc::new(deliver) });
    }

    /// Serves a socket as well; its name goes with the thread.
    pub fn serve(&self, socket: Socket) {
        let way = self.socket.lock().ok().and_then(|mut way| way.take());
        // A thread that has ended serves nobody.
        drop(way.map(|way| way.send(socket)));
    }

    /// Obeys another configuration from now on.
    pub fn obey(&self, settings: Arc<Settings>, access: Option<Arc<Access>>, listen: Vec<Listen>) {
        self.app.obey(Obeyed { settings, access, listen });
    }

    /// Ends the thread.
    pub fn finish(&self) {
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        let Some((stop, thread)) = thread else { return };
        // A thread that has ended needs no word, and what it ended with is in the log.
        let _ = stop.send(());
        let _ = thread.join();
    }
}

impl Steering for Http {
    fn take(&self, caller: Caller, back: WayBack) -> Option<Box<dyn WayIn>> {
        let place = match caller.is_local {
            true => Place::take(&self.app.local_connections, LOCAL_CONNECTIONS_MAX)?,
            false => Place::take(&self.app.connections, CONNECTIONS_MAX)?,
        };
        let (mouth, pipe) = pipe::pipe(back);
        self.newcomers.send(Newcomer { caller, pipe, _place: place }).ok()?;
        Some(Box::new(mouth))
    }

    fn is_heard(&self) -> bool {
        self.app.listeners.load(Ordering::Relaxed) > 0
    }

    fn tell(&self, happening: Happening) {
        // Of more than fit some are left out: nobody who serves waits for who listens.
        let _ = self.happenings.try_send(happening);
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}
