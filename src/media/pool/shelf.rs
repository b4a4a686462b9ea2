//! What the media threads share: jobs, open files and what was read.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use proto::time::MediaTime;

use super::cache::{Cache, Need};
use crate::media::cut::Cutter;
use crate::media::format::Format;
use crate::media::library::{Answer, FileInfo, MediaError, ReplyTo, Ticket, Wanted};
use crate::media::reader::Plan;
use crate::media::segment::{Position, Segment};

/// A file that takes longer than this for one read, on a disk that hangs say, may occupy one thread only.
pub const SLOW: Duration = Duration::from_secs(2);

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
        /// What the URL asks for.
        parameters: Vec<(String, String)>,
        /// Who is to open the file: where another format is asked for, encoders are opened as well.
        work: Work,
        /// Whose question.
        ticket: Ticket,
        /// To whom the answer goes.
        reply: ReplyTo,
    },
    /// A stretch of a file; who asked for it stands on the shelf.
    Segment {
        /// Which.
        file: Arc<FileInfo>,
        /// Where.
        wanted: Wanted,
    },
    /// A JPEG picture that RTP does not carry.
    Picture {
        /// The file.
        picture: Bytes,
        /// Whose question.
        ticket: Ticket,
        /// To whom the answer goes.
        reply: ReplyTo,
    },
}

/// Kinds of work, each of which has threads of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Mostly waits for a disk.
    Reading,
    /// Keeps a processor busy.
    Transcoding,
}

impl Work {
    /// What reading a file is.
    pub fn on(file: &FileInfo) -> Work {
        if file.is_transcoded { Work::Transcoding } else { Work::Reading }
    }
}

impl Job {
    /// What it is.
    pub fn work(&self) -> Work {
        match self {
            Job::Describe { work, .. } => *work,
            Job::Segment { file, .. } => Work::on(file),
            Job::Picture { .. } => Work::Transcoding,
        }
    }
}

/// Who asked for a segment.
pub type Askers = Vec<(Ticket, ReplyTo)>;

/// One version of a file: another one has another identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Where it is.
    pub path: PathBuf,
    /// By which name it is asked for: links have rules of their own.
    pub name: String,
    /// In which format.
    pub format: Format,
    /// Which file that is on its disk; a file that was replaced has another.
    pub inode: u64,
    /// When it was changed last.
    pub modified: Option<SystemTime>,
    /// Its size in bytes.
    pub size: u64,
}

impl Identity {
    /// The version that is there at the moment.
    pub fn of(path: &Path, name: &str, format: Format, metadata: &std::fs::Metadata) -> Identity {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        let (path, name) = (path.to_owned(), name.to_owned());
        Identity { path, name, format, inode, modified: metadata.modified().ok(), size: metadata.len() }
    }

    /// Whether `later` is the same file, unchanged or grown at its end as a recording does.
    pub fn goes_on_as(&self, later: &Identity) -> bool {
        self.path == later.path && self.inode == later.inode && self.size <= later.size
    }
}

/// A file that was opened once.
pub struct File {
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
    // Whether it cannot be opened again: it vanished, or another took its place.
    is_gone: bool,
    reads: Vec<Read>,
    waiting: VecDeque<Job>,
    jumps: VecDeque<(MediaTime, Position)>,
    used: u64,
}

/// A read that is under way.
struct Read {
    began: Instant,
    // The segment that it comes to next; None until that is known.
    next: Option<Position>,
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
        /// Which file that is.
        identity: Identity,
        /// How it is cut.
        plan: Arc<Plan>,
        /// Where its numbering begins.
        sequence: u16,
    },
}

/// The shared state.
pub struct Shelf {
    reading: VecDeque<Job>,
    transcoding: VecDeque<Job>,
    asked: HashMap<(u64, Wanted), Askers>,
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
            reading: VecDeque::new(),
            transcoding: VecDeque::new(),
            asked: HashMap::new(),
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
        self.jobs(job.work()).push_back(job);
    }

    /// Remembers who asks for a segment. Whether it has to be read: nobody else has asked for it yet.
    pub fn ask(&mut self, file: &Arc<FileInfo>, wanted: Wanted, ticket: Ticket, reply: &ReplyTo) -> bool {
        let askers = self.asked.entry((file.id, wanted)).or_default();
        askers.push((ticket, reply.clone()));
        let is_first = askers.len() == 1;
        if is_first {
            self.add(Job::Segment { file: file.clone(), wanted });
        }
        is_first
    }

    /// Those who asked for a segment, which is there now.
    pub fn askers(&mut self, file: u64, wanted: Wanted) -> Askers {
        self.asked.remove(&(file, wanted)).unwrap_or_default()
    }

    /// Whether somebody still waits for a segment.
    pub fn is_asked(&self, file: u64, wanted: Wanted) -> bool {
        self.asked.contains_key(&(file, wanted))
    }

    /// Whether nobody waits for any such work.
    pub fn is_idle(&mut self, work: Work) -> bool {
        self.jobs(work).is_empty()
    }

    fn jobs(&mut self, work: Work) -> &mut VecDeque<Job> {
        match work {
            Work::Reading => &mut self.reading,
            Work::Transcoding => &mut self.transcoding,
        }
    }

    /// Whether viewers hold more segments than there is room for, kept true.
    pub fn is_short_of_memory(&self) -> Arc<AtomicBool> {
        self.cache.is_short().clone()
    }

    /// Whether it is worth reading on to a position before anybody asks for it.
    pub fn lacks(&self, file: u64, position: Position) -> bool {
        self.cache.has_room_ahead() && !self.cache.contains(&(file, position))
    }

    /// The next job of a kind.
    pub fn next(&mut self, work: Work) -> Option<Job> {
        self.jobs(work).pop_front()
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
        self.cache.get(&(file, position))
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
    /// forgotten once nobody plays them. What is known already, because another thread was faster, stays.
    pub fn learn(
        &mut self,
        identity: Identity,
        sequence: u16,
        plan: Arc<Plan>,
        cutter: Cutter,
    ) -> Arc<FileInfo> {
        if let Some(known) = self.known(&identity) {
            return known;
        }
        self.forget_older(&identity);
        self.uses += 1;
        let info = cutter.info().clone();
        let id = info.id;
        let file = File {
            info: info.clone(),
            plan,
            sequence,
            identity: identity.clone(),
            idle: vec![cutter],
            contexts: 1,
            is_slow: false,
            is_gone: false,
            reads: Vec::new(),
            waiting: VecDeque::new(),
            jumps: VecDeque::new(),
            used: self.uses,
        };
        self.contexts += 1;
        self.ids.insert(identity, id);
        self.files.insert(id, file);
        self.shrink(id);
        info
    }

    /// A context for a job that begins at `now`.
    pub fn context(&mut self, id: u64, wanted: Wanted, now: Instant, job: Job) -> Grant {
        self.uses += 1;
        let Some(file) = self.files.get_mut(&id) else { return Grant::Gone };
        file.used = self.uses;
        let place = match wanted {
            Wanted::At(position) => Some(position),
            Wanted::Seek(time) => file.plan.start_for(time),
        };
        let stands_there = |cutter: &Cutter| place.is_some() && cutter.next() == place;
        if let Some(index) = file.idle.iter().position(stands_there) {
            file.reads.push(Read { began: now, next: None });
            return Grant::Context(Context::Idle(file.idle.swap_remove(index)));
        }
        let comes_there = |read: &Read| place.is_some() && read.next == place;
        if file.reads.iter().any(comes_there) {
            file.waiting.push_back(job);
            return Grant::Waits;
        }
        let is_stuck = file.reads.iter().any(|read| now.saturating_duration_since(read.began) > SLOW);
        let is_confined = file.is_slow || file.is_gone || is_stuck;
        let contexts_max = if is_confined { 1 } else { CONTEXTS_A_FILE };
        if file.contexts < contexts_max {
            file.contexts += 1;
            file.reads.push(Read { began: now, next: None });
            let open = Context::Open {
                identity: file.identity.clone(),
                plan: file.plan.clone(),
                sequence: file.sequence,
            };
            self.contexts += 1;
            self.shrink(id);
            return Grant::Context(open);
        }
        match file.idle.pop() {
            Some(cutter) => {
                file.reads.push(Read { began: now, next: None });
                Grant::Context(Context::Idle(cutter))
            }
            None => {
                file.waiting.push_back(job);
                Grant::Waits
            }
        }
    }

    /// Takes a context back whose read began at `began`; jobs that waited for it go on.
    pub fn give_back(&mut self, id: u64, cutter: Option<Cutter>, began: Instant) {
        let Some(file) = self.files.get_mut(&id) else {
            self.contexts -= 1;
            return;
        };
        file.is_slow = began.elapsed() > SLOW;
        if let Some(index) = file.reads.iter().position(|read| read.began == began) {
            file.reads.swap_remove(index);
        }
        match cutter {
            Some(cutter) => file.idle.insert(0, cutter),
            None => {
                file.contexts -= 1;
                self.contexts -= 1;
            }
        }
        // All of them: some were answered meanwhile by what was read ahead.
        let waiting = std::mem::take(&mut file.waiting);
        for job in waiting.into_iter().rev() {
            self.jobs(job.work()).push_front(job);
        }
    }

    /// A file cannot be opened again. Whether it can be read all the same, by the contexts that are open.
    pub fn confine(&mut self, id: u64) -> bool {
        let Some(file) = self.files.get_mut(&id) else { return false };
        file.is_gone = true;
        file.contexts > 1
    }

    /// Keeps a segment from the read that began at `began`, and where a jump led; those who asked for it by this or by
    /// its position.
    pub fn keep(&mut self, id: u64, wanted: Wanted, segment: &Arc<Segment>, began: Instant) -> Askers {
        let read = self.files.get_mut(&id).map(|file| &mut file.reads);
        if let Some(read) = read.and_then(|reads| reads.iter_mut().find(|read| read.began == began)) {
            read.next = segment.next;
        }
        if let (Wanted::Seek(time), Some(file)) = (wanted, self.files.get_mut(&id)) {
            if file.jumps.len() == JUMPS_MAX {
                file.jumps.pop_front();
            }
            file.jumps.push_back((time, segment.position));
        }
        let mut askers = self.askers(id, wanted);
        askers.extend(self.askers(id, Wanted::At(segment.position)));
        let need = if askers.is_empty() { Need::Ahead } else { Need::Asked };
        self.cache.insert((id, segment.position), segment.clone(), need);
        askers
    }

    fn forget_older(&mut self, identity: &Identity) {
        let is_older = |older: &Identity| {
            (&older.path, &older.name, older.format) == (&identity.path, &identity.name, identity.format)
        };
        let older: Vec<_> = (self.files.iter())
            .filter(|(_, file)| {
                is_older(&file.identity) && Arc::strong_count(&file.info) == 1 + file.idle.len()
            })
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
            let Job::Segment { wanted, .. } = job else { continue };
            for (ticket, reply) in self.askers(id, wanted) {
                reply(Answer::Segment(ticket, Err(MediaError::Broken("the file was replaced".to_owned()))));
            }
        }
    }
}
