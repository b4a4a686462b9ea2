//! The media threads: files are opened and read here, never on a shard.
//!
//! Few demuxers serve many viewers: what was read is cached, questions for the same segment share one job, and a
//! context that stands at the right place is used again.

mod cache;
mod shelf;
#[cfg(test)]
mod tests;
mod worker;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use self::shelf::{Job, Shelf};
use super::folder::Folder;
use super::library::{Answer, FileInfo, Library, ReplyTo, Ticket, Wanted};
use super::opener::Opener;

/// What the library of files needs to know.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The folder that files are served from.
    pub media_dir: PathBuf,
    /// Whether links may lead out of it.
    pub follow_symlinks: bool,
    /// Largest RTP packet, in bytes.
    pub mtu_bytes: usize,
    /// Budget of the segments that are kept.
    pub cache_bytes: usize,
    /// Media threads.
    pub threads: usize,
    /// What each of them does first, such as standing back behind the shards.
    pub at_thread_start: fn(),
}

/// The library of files in a folder.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    folder: Folder,
    opener: Box<dyn Opener>,
    mtu_bytes: usize,
    shelf: Mutex<Shelf>,
    has_work: Condvar,
}

impl Pool {
    /// Starts the media threads. An error when the system grants no thread.
    pub fn start(settings: &PoolSettings, opener: Box<dyn Opener>) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared {
            folder: Folder::new(settings.media_dir.clone(), settings.follow_symlinks),
            opener,
            mtu_bytes: settings.mtu_bytes,
            shelf: Mutex::new(Shelf::new(settings.cache_bytes)),
            has_work: Condvar::new(),
        });
        for index in 0..settings.threads.max(1) {
            let (shared, at_start) = (shared.clone(), settings.at_thread_start);
            thread::Builder::new().name(format!("media {index}")).spawn(move || {
                at_start();
                worker::run(&shared);
            })?;
        }
        Ok(Pool { shared })
    }

    /// As many threads as suit this machine: two at least, so that one slow file does not hold up the others.
    pub fn threads_by_default() -> usize {
        thread::available_parallelism().map_or(2, |cores| (cores.get() / 2).max(2))
    }
}

/// The opener of this build.
#[cfg(feature = "ffmpeg")]
pub fn opener() -> Box<dyn Opener> {
    Box::new(super::ffmpeg::Containers)
}

/// The opener of this build.
#[cfg(not(feature = "ffmpeg"))]
pub fn opener() -> Box<dyn Opener> {
    Box::new(super::opener::Absent)
}

impl Library for Pool {
    fn describe(&self, path: &str, ticket: Ticket, reply: &ReplyTo) {
        self.shared.add(Job::Describe { path: path.to_owned(), ticket, reply: reply.clone() });
    }

    fn segment(&self, file: &Arc<FileInfo>, wanted: Wanted, ticket: Ticket, reply: &ReplyTo) {
        let mut shelf = self.shared.shelf();
        if let Some(segment) = shelf.cached(file.id, wanted) {
            drop(shelf);
            reply(Answer::Segment(ticket, Ok(segment)));
        } else if shelf.ask(file, wanted, ticket, reply) {
            drop(shelf);
            self.shared.has_work.notify_one();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shelf().close();
        self.shared.has_work.notify_all();
    }
}

impl Shared {
    fn add(&self, job: Job) {
        self.shelf().add(job);
        self.has_work.notify_one();
    }

    /// The shared state. A worker that panicked has left it whole: it is changed in steps that cannot fail.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
