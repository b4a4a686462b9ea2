//! The media threads: files are opened and read here, never on a shard.
//!
//! Few demuxers serve many viewers: what was read is cached, questions for the same segment share one job, and a
//! context that stands at the right place is used again.

mod cache;
mod recent;
mod shelf;
#[cfg(test)]
mod tests;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use proto::time::MediaTime;

use self::recent::Recent;
use self::shelf::{Job, Shelf, Work};
use super::folder::Folder;
use super::format::Format;
use super::library::{Answer, FileInfo, Library, MediaError, ReplyTo, Ticket, Wanted};
use super::opener::Opener;
use super::transcode::Still;
use super::transcode::pipelines::{Pipeline, Pipelines};
use super::transcode::slots::Slots;

/// The format that is asked for a file by its name.
pub type FormatOf = Arc<dyn Fn(&str) -> Format + Send + Sync>;

/// What the library of files needs to know.
#[derive(Clone)]
pub struct PoolSettings {
    /// The folder that files are served from.
    pub media_dir: PathBuf,
    /// Whether links may lead out of it.
    pub follow_symlinks: bool,
    /// In which format a file is sent where its URL says nothing.
    pub format_of: FormatOf,
    /// Whether each file has a track of metadata.
    pub has_metadata: bool,
    /// Largest RTP packet, in bytes.
    pub mtu_bytes: usize,
    /// Budget of the segments that are kept.
    pub cache_bytes: usize,
    /// Threads that read.
    pub threads: usize,
    /// Threads that transcode: those who read wait for none of them.
    pub transcode_threads: usize,
    /// The places that there are for all that is made anew.
    pub slots: Slots,
    /// What makes pictures anew that RTP does not carry; None where that may not be.
    pub still: Option<Still>,
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
    format_of: FormatOf,
    has_metadata: bool,
    mtu_bytes: usize,
    begun: Instant,
    pipelines: Pipelines,
    still: Option<Still>,
    is_short_of_memory: Arc<AtomicBool>,
    shelf: Mutex<Shelf>,
    recent: Mutex<Recent>,
    has_reading: Condvar,
    has_transcoding: Condvar,
}

impl Pool {
    /// Starts the media threads. An error when the system grants no thread.
    pub fn start(settings: &PoolSettings, opener: Box<dyn Opener>) -> std::io::Result<Pool> {
        let shelf = Shelf::new(settings.cache_bytes);
        let shared = Arc::new(Shared {
            folder: Folder::new(settings.media_dir.clone(), settings.follow_symlinks),
            opener,
            format_of: settings.format_of.clone(),
            has_metadata: settings.has_metadata,
            mtu_bytes: settings.mtu_bytes,
            begun: Instant::now(),
            pipelines: Pipelines::new(settings.slots.clone()),
            still: settings.still,
            is_short_of_memory: shelf.is_short_of_memory(),
            shelf: Mutex::new(shelf),
            recent: Mutex::default(),
            has_reading: Condvar::new(),
            has_transcoding: Condvar::new(),
        });
        let reading = (0..settings.threads.max(1)).map(|index| (format!("media {index}"), Work::Reading));
        let transcoding = 0..settings.transcode_threads.max(1);
        let transcoding = transcoding.map(|index| (format!("transcode {index}"), Work::Transcoding));
        for (name, work) in reading.chain(transcoding) {
            let (shared, at_start) = (shared.clone(), settings.at_thread_start);
            thread::Builder::new().name(name).spawn(move || {
                at_start();
                worker::run(&shared, work);
            })?;
        }
        Ok(Pool { shared })
    }

    /// Finds out anew what files offer, as other rules count from now on; segments stay.
    pub fn forget_answers(&self) {
        self.shared.recent().forget();
    }

    /// As many threads as suit this machine, for reading: two at least, so that one slow file does not hold up the others.
    pub fn threads_by_default() -> usize {
        thread::available_parallelism().map_or(2, |cores| (cores.get() / 2).max(2))
    }
}

/// The opener of this build; whether it makes tracks anew that RTP does not carry.
#[cfg(feature = "ffmpeg")]
pub fn opener(makes_unsupported: bool) -> Box<dyn Opener> {
    use super::ffmpeg::{Containers, Unsupported};
    let unsupported = if makes_unsupported { Unsupported::MadeAnew } else { Unsupported::LeftOut };
    Box::new(Containers { unsupported })
}

/// The opener of this build.
#[cfg(not(feature = "ffmpeg"))]
pub fn opener(_: bool) -> Box<dyn Opener> {
    Box::new(super::opener::Absent)
}

impl Library for Pool {
    fn describe(&self, path: &str, parameters: &[(String, String)], ticket: Ticket, reply: &ReplyTo) {
        let found = self.shared.recent().find(Instant::now(), path, parameters);
        if let Some(info) = found {
            return reply(Answer::Described(ticket, Ok(info)));
        }
        let (path, parameters) = (path.to_owned(), parameters.to_owned());
        let (work, reply) = (Work::Reading, reply.clone());
        self.shared.add(Job::Describe { path, parameters, work, ticket, reply });
    }

    fn segment(&self, file: &Arc<FileInfo>, wanted: Wanted, ticket: Ticket, reply: &ReplyTo) {
        let mut shelf = self.shared.shelf();
        if let Some(segment) = shelf.cached(file.id, wanted) {
            drop(shelf);
            reply(Answer::Segment(ticket, Ok(segment)));
        } else if shelf.ask(file, wanted, ticket, reply) {
            drop(shelf);
            self.shared.bell(Work::on(file)).notify_one();
        }
    }

    fn admit(
        &self,
        file: &FileInfo,
        begins: Option<MediaTime>,
        place: &mut Option<Arc<Pipeline>>,
    ) -> Result<(), MediaError> {
        if !file.is_transcoded {
            return Ok(());
        }
        let now = self.shared.begun.elapsed().as_nanos() as i64;
        let offset = begins.map(|begins| now.saturating_sub(begins.0));
        let length = file.duration.map(|duration| duration.as_nanos() as i64);
        Ok(self.shared.pipelines.join(file.id, length, offset, place)?)
    }

    fn is_short_of_memory(&self) -> bool {
        self.shared.is_short_of_memory.load(Ordering::Relaxed)
    }

    fn rewrite(&self, picture: Bytes, ticket: Ticket, reply: &ReplyTo) {
        self.shared.add(Job::Picture { picture, ticket, reply: reply.clone() });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shelf().close();
        self.shared.has_reading.notify_all();
        self.shared.has_transcoding.notify_all();
    }
}

impl Shared {
    fn add(&self, job: Job) {
        let work = job.work();
        self.shelf().add(job);
        self.bell(work).notify_one();
    }

    /// What wakes those who do a kind of work.
    fn bell(&self, work: Work) -> &Condvar {
        match work {
            Work::Reading => &self.has_reading,
            Work::Transcoding => &self.has_transcoding,
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shared state. A worker that panicked has left it whole: it is changed in steps that cannot fail.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
