//! What the media threads share: jobs, open files and what was read.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use proto::time::MediaTime;

use super::cache::Cache;
use crate::media::cut::Cutter;
use crate::media::library::{Answer, FileInfo, MediaError, ReplyTo, Ticket, Wanted};
use crate::media::reader::Plan;
use crate::media::segment::{Position, Segment};

/// Open contexts of one file: one for those who play on, one for those who jump.
const CONTEXTS_A_FILE: usize = 2;

/// Open contexts in all: one of a long mp4 holds tens of megabytes.
const CONTEXTS_MAX: usize = 64;

/// Files whose facts are remembered.
const FILES_MAX: usize = 4_096;

/// Answered jumps that are remembered for a file.
const JUMPS_MAX: usize = 64;

/// A question.
pub enum Job {
    /// What does this path offer?
    Describe {
        /// As the URL has it.
        path: String,
        /// Whose question.
        ticket: Ticket,
        /// To whom the answer goes.
        reply: ReplyTo,
    },
    /// A stretch of a file.
    Segment {
        /// Which.
        file: Arc<FileInfo>,
        /// Where.
        wanted: Wanted,
        /// Whose question.
        ticket: Ticket,
        /// To whom the answer goes.
        reply: ReplyTo,
    },
}

/// One version of a file: another one has another identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Where it is.
    pub path: PathBuf,
    /// Which file that is on its disk; a file that was replaced has another.
    pub inode: u64,
    /// When it was changed last.
    pub modified: Option<SystemTime>,
    /// Its size in bytes.
    pub size: u64,
}

impl Identity {
    /// The version that is there at the moment.
    pub fn of(path: &Path, metadata: &std::fs::Metadata) -> Identity {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Identity { path: path.to_owned(), inode, modified: metadata.modified().ok(), size: metadata.len() }
    }
}

/// A file that was opened once.
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// What it offers.
    pub info: Arc<FileInfo>,
    /// How it is cut.
    pub plan: Arc<Plan>,
    /// Where its numbering begins.
    pub sequence: u16,
    identity: Identity,
    idle: Vec<Cutter>,
    contexts: usize,
    is_slow: bool,
    waiting: VecDeque<Job>,
    jumps: VecDeque<(MediaTime, Position)>,
    used: u64,
}

/// What becomes of a job that needs a context.
pub enum Grant {
    /// It can be done now.
    Context(Context),
    /// It is kept until a context of its file is free.
    Waits,
    /// Its version of the file is forgotten.
    Gone,
}

/// A context, or leave to open one.
pub enum Context {
    /// A context of the file, wherever it stands.
    Idle(Cutter),
    /// One more may be opened.
    Open {
        /// Where the file is.
        path: PathBuf,
        /// How it is cut.
        plan: Arc<Plan>,
        /// Where its numbering begins.
        sequence: u16,
    },
}

/// The shared state.
pub struct Shelf {
    jobs: VecDeque<Job>,
    files: HashMap<u64, File>,
    ids: HashMap<Identity, u64>,
    cache: Cache,
    last_id: u64,
    uses: u64,
    contexts: usize,
    is_closed: bool,
}

impl Shelf {
    /// Nothing open, nothing asked.
    pub fn new(cache_bytes: usize) -> Shelf {
        Shelf {
            jobs: VecDeque::new(),
            files: HashMap::new(),
            ids: HashMap::new(),
            cache: Cache::new(cache_bytes),
            last_id: 0,
            uses: 0,
            contexts: 0,
            is_closed: false,
        }
    }

    /// No more jobs: the workers end.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether the workers are to end.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Adds a job.
    pub fn add(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// The next job.
    pub fn next(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    /// A segment that was read before.
    pub fn cached(&mut self, file: u64, wanted: Wanted) -> Option<Arc<Segment>> {
        let position = match wanted {
            Wanted::At(position) => position,
            Wanted::Seek(time) => self
                .files
                .get(&file)?
                .jumps
                .iter()
                .find(|(asked, _)| *asked == time)
                .map(|(_, found)| *found)?,
        };
        self.cache.get((file, position))
    }

    /// What is known of a version of a file.
    pub fn known(&mut self, identity: &Identity) -> Option<Arc<FileInfo>> {
        let file = self.files.get_mut(self.ids.get(identity)?)?;
        self.uses += 1;
        file.used = self.uses;
        Some(file.info.clone())
    }

    /// A name for a version of a file.
    pub fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Remembers a file that was opened, with the context that stands at its start. Older versions of it are
    /// forgotten once nobody plays them.
    pub fn learn(
        &mut self,
        identity: Identity,
        info: Arc<FileInfo>,
        sequence: u16,
        plan: Arc<Plan>,
        cutter: Cutter,
    ) {
        self.forget_older(&identity.path);
        self.uses += 1;
        let id = info.id;
        let file = File {
            path: identity.path.clone(),
            info,
            plan,
            sequence,
            identity: identity.clone(),
            idle: vec![cutter],
            contexts: 1,
            is_slow: false,
            waiting: VecDeque::new(),
            jumps: VecDeque::new(),
            used: self.uses,
        };
        self.contexts += 1;
        self.ids.insert(identity, id);
        self.files.insert(id, file);
        self.shrink(id);
    }

    /// A context for a job.
    pub fn context(&mut self, id: u64, wanted: Wanted, job: Job) -> Grant {
        self.uses += 1;
        let Some(file) = self.files.get_mut(&id) else { return Grant::Gone };
        file.used = self.uses;
        let stands_there =
            |cutter: &Cutter| matches!(wanted, Wanted::At(position) if cutter.next() == Some(position));
        if let Some(index) = file.idle.iter().position(stands_there) {
            return Grant::Context(Context::Idle(file.idle.swap_remove(index)));
        }
        let contexts_max = if file.is_slow { 1 } else { CONTEXTS_A_FILE };
        if file.contexts < contexts_max {
            file.contexts += 1;
            let open =
                Context::Open { path: file.path.clone(), plan: file.plan.clone(), sequence: file.sequence };
            self.contexts += 1;
            self.shrink(id);
            return Grant::Context(open);
        }
        match file.idle.pop() {
            Some(cutter) => Grant::Context(Context::Idle(cutter)),
            None => {
                file.waiting.push_back(job);
                Grant::Waits
            }
        }
    }

    /// Takes a context back, with what it has read; jobs that waited for it go on.
    pub fn give_back(&mut self, id: u64, cutter: Option<Cutter>, was_slow: bool) {
        let Some(file) = self.files.get_mut(&id) else {
            self.contexts -= 1;
            return;
        };
        file.is_slow = was_slow;
        match cutter {
            Some(cutter) => file.idle.insert(0, cutter),
            None => {
                file.contexts -= 1;
                self.contexts -= 1;
            }
        }
        // All of them: the first may find its answer in the cache, and would then hand nothing back to the next.
        for job in file.waiting.drain(..).rev() {
            self.jobs.push_front(job);
        }
    }

    /// Keeps a segment, and where a jump led.
    pub fn keep(&mut self, id: u64, wanted: Wanted, segment: &Arc<Segment>) {
        if let (Wanted::Seek(time), Some(file)) = (wanted, self.files.get_mut(&id)) {
            if file.jumps.len() == JUMPS_MAX {
                file.jumps.pop_front();
            }
            file.jumps.push_back((time, segment.position));
        }
        self.cache.insert((id, segment.position), segment.clone());
    }

    fn forget_older(&mut self, path: &Path) {
        let older: Vec<_> = (self.files.iter())
            .filter(|(_, file)| file.path == path && Arc::strong_count(&file.info) == 1 + file.idle.len())
            .map(|(id, _)| *id)
            .collect();
        for id in older {
            self.forget(id);
        }
    }

    /// Closes idle contexts of other files, and forgets files, beyond the bounds.
    fn shrink(&mut self, keep: u64) {
        while self.contexts > CONTEXTS_MAX {
            let idle = self.files.iter_mut().filter(|(id, file)| **id != keep && !file.idle.is_empty());
            let Some((_, file)) = idle.min_by_key(|(_, file)| file.used) else { break };
            file.idle.pop();
            file.contexts -= 1;
            self.contexts -= 1;
        }
        while self.files.len() > FILES_MAX {
            let unused =
                self.files.iter().filter(|(id, file)| **id != keep && file.contexts == file.idle.len());
            let Some(id) = unused.min_by_key(|(_, file)| file.used).map(|(id, _)| *id) else { return };
            self.forget(id);
        }
    }

    fn forget(&mut self, id: u64) {
        let Some(file) = self.files.remove(&id) else { return };
        self.ids.remove(&file.identity);
        self.contexts -= file.idle.len();
        self.cache.forget(id);
        for job in file.waiting {
            if let Job::Segment { ticket, reply, .. } = job {
                reply(Answer::Segment(ticket, Err(MediaError::Broken("the file was replaced".to_owned()))));
            }
        }
    }
}
