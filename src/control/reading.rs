//! Reading the configuration again, on a thread of its own: a file over a network and names that the system looks up may take
//! long, and who waits for signs of life waits for the control thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::changes::Changes;
use super::confine::Confined;
use super::lookup::Lookup;
use super::reload::ReloadError;
use super::watch::Watch;
use crate::config::{ConfigError, Loaded, LogLevel};
use crate::shard::steering::Reply;

/// Who may wait for another reading; one more is refused.
const WAITING_MAX: usize = 8;

/// Reads a configuration.
type Load = Arc<dyn Fn(&Path) -> Result<Loaded, ConfigError> + Send + Sync>;

/// Who is told what came of it.
pub type Waiting = Reply<Result<Changes, Arc<ReloadError>>>;

/// How the configuration is read again, and what of it is obeyed outside of this room.
pub struct Rereading {
    /// Reads a file, the environment and the command line as at start.
    pub load: Load,
    /// The file; None when there is none.
    pub file: Option<PathBuf>,
    /// Changes which lines are logged.
    pub set_log_level: Box<dyn Fn(LogLevel)>,
    /// How far the process is confined.
    pub confined: Confined,
}

/// A configuration that was read.
pub struct Read {
    /// What it says, with the addresses of its names.
    pub loaded: Result<(Loaded, Lookup), ConfigError>,
    /// What stood in the file before it was read: what changes meanwhile is seen at the next look. None where nobody looks.
    pub watch: Option<Watch>,
}

/// At most one reading at a time; who asks while it goes on waits for the next, as the file may have changed.
pub struct Reading {
    sender: Sender<Read>,
    answers: Receiver<Read>,
    is_going_on: bool,
    /// Who waits for the one that goes on.
    now: Vec<Waiting>,
    /// Whether there is to be another one, and who waits for that.
    is_wanted_again: bool,
    next: Vec<Waiting>,
}

impl Default for Reading {
    fn default() -> Reading {
        let (sender, answers) = unbounded();
        let (now, next) = Default::default();
        Reading { sender, answers, is_going_on: false, now, is_wanted_again: false, next }
    }
}

impl Reading {
    /// What was read, for [`Reading::finish`].
    pub fn answers(&self) -> &Receiver<Read> {
        &self.answers
    }

    /// Has the file read, which may be looked at for changes, for one who waits or for nobody; whether that begins now.
    pub fn ask(&mut self, rereading: &Rereading, is_watched: bool, waiting: Option<Waiting>) -> bool {
        let Some(file) = rereading.file.clone() else {
            refuse(waiting, ReloadError::NoFile);
            return false;
        };
        if self.is_going_on {
            if self.next.len() >= WAITING_MAX {
                refuse(waiting, ReloadError::Busy);
            } else {
                self.is_wanted_again = true;
                self.next.extend(waiting);
            }
            return false;
        }
        self.now.extend(waiting);
        let (load, sender) = (rereading.load.clone(), self.sender.clone());
        let read = move || {
            let watch = is_watched.then(|| Watch::new(&file));
            let loaded = load(&file).map(|loaded| {
                let names = Lookup::of(&loaded.settings);
                (loaded, names)
            });
            // Nobody listens any more only when the program is over.
            let _ = sender.send(Read { loaded, watch });
        };
        if let Err(error) = thread::Builder::new().name("configuration".into()).spawn(read) {
            tracing::error!(%error, "no thread to read the configuration");
            self.now.drain(..).for_each(|waiting| refuse(Some(waiting), ReloadError::Busy));
            return false;
        }
        self.is_going_on = true;
        true
    }

    /// What was read is obeyed, or not: who has waited for that. Another reading may be begun.
    pub fn finish(&mut self) -> Vec<Waiting> {
        self.is_going_on = false;
        std::mem::take(&mut self.now)
    }

    /// Begins the next one if it is wanted; whether that is so.
    pub fn go_on(&mut self, rereading: &Rereading, is_watched: bool) -> bool {
        if !std::mem::take(&mut self.is_wanted_again) {
            return false;
        }
        self.now = std::mem::take(&mut self.next);
        self.ask(rereading, is_watched, None)
    }
}

fn refuse(waiting: Option<Waiting>, error: ReloadError) {
    match waiting {
        Some(waiting) => waiting.answer(Err(Arc::new(error))),
        None => tracing::error!("the configuration stays as it was: {error}"),
    }
}
