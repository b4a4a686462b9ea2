//! One media thread: takes a job, reads, answers.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::Shared;
use super::shelf::{Context, Grant, Identity, Job};
use crate::media::cut::Cutter;
use crate::media::library::{Answer, FileInfo, MediaError, Wanted};
use crate::media::reader::Reader;
use crate::media::segment::Segment;

/// A file that takes longer than this for one read, on a disk that hangs say, may occupy one thread only.
const SLOW: Duration = Duration::from_secs(2);

/// Works until the pool is dropped.
pub fn run(shared: &Shared) {
    loop {
        let mut shelf = shared.shelf();
        let job = loop {
            if shelf.is_closed() {
                return;
            }
            match shelf.next() {
                Some(job) => break job,
                None => {
                    shelf = shared.has_work.wait(shelf).unwrap_or_else(std::sync::PoisonError::into_inner)
                }
            }
        };
        drop(shelf);
        match job {
            Job::Describe { path, ticket, reply } => {
                let answer = guarded(|| describe(shared, &path));
                reply(Answer::Described(ticket, answer));
            }
            job @ Job::Segment { .. } => serve(shared, job),
        }
    }
}

/// Media that brings a decoder to its knees must not take the thread along.
fn guarded<T>(work: impl FnOnce() -> Result<T, MediaError>) -> Result<T, MediaError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(MediaError::Broken("reading failed by a fault of this program".to_owned())))
}

fn describe(shared: &Shared, path: &str) -> Result<Arc<FileInfo>, MediaError> {
    let found = shared.folder.find(path)?;
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => MediaError::NotFound,
        _ => MediaError::Forbidden(format!("{} cannot be read: {error}", found.name)),
    };
    let file = fs::File::open(&found.path).map_err(unreadable)?;
    let identity = Identity::of(&found.path, &file.metadata().map_err(unreadable)?);
    if let Some(info) = shared.shelf().known(&identity) {
        return Ok(info);
    }
    let opened = shared.opener.open(file, &found.path)?;
    for sentence in &opened.left_out {
        tracing::warn!(file = %found.name, "{sentence}");
    }
    let reader = Reader::open(opened.demux, &opened.tracks, opened.duration)?;
    // Who asked at the same time must be given the same names.
    if let Some(info) = shared.shelf().known(&identity) {
        return Ok(info);
    }
    let mut random = rand::rng();
    let info = Arc::new(FileInfo {
        id: shared.shelf().new_id(),
        name: found.name,
        ssrc: opened.tracks.iter().map(|_| random.random()).collect(),
        timestamp_base: opened.tracks.iter().map(|_| random.random()).collect(),
        tracks: opened.tracks,
        duration: opened.duration,
        seekable: opened.seekable,
        left_out: opened.left_out,
    });
    let sequence = random.random();
    let plan = reader.plan();
    let cutter = Cutter::new(reader, info.clone(), shared.mtu_bytes, sequence);
    shared.shelf().learn(identity, info.clone(), sequence, plan, cutter);
    Ok(info)
}

fn serve(shared: &Shared, job: Job) {
    let Job::Segment { file, wanted, ticket, reply } = &job else { return };
    let (file, wanted, ticket, reply) = (file.clone(), *wanted, *ticket, reply.clone());
    let context = {
        let mut shelf = shared.shelf();
        // Somebody else's job may have read it meanwhile.
        if let Some(segment) = shelf.cached(file.id, wanted) {
            drop(shelf);
            reply(Answer::Segment(ticket, Ok(segment)));
            return;
        }
        shelf.context(file.id, wanted, job)
    };
    let context = match context {
        Grant::Context(context) => context,
        Grant::Waits => return,
        Grant::Gone => {
            reply(Answer::Segment(ticket, Err(MediaError::Broken("the file was replaced".to_owned()))));
            return;
        }
    };
    let began = Instant::now();
    let result = guarded(|| read(shared, &file, context, wanted));
    let was_slow = began.elapsed() > SLOW;
    let mut shelf = shared.shelf();
    let answer = match result {
        Ok((cutter, segment)) => {
            let segment = Arc::new(segment);
            shelf.keep(file.id, wanted, &segment);
            shelf.give_back(file.id, Some(cutter), was_slow);
            Ok(segment)
        }
        Err(error) => {
            tracing::warn!(file = %file.name, %error, "reading failed");
            shelf.give_back(file.id, None, was_slow);
            Err(error)
        }
    };
    drop(shelf);
    shared.has_work.notify_all();
    reply(Answer::Segment(ticket, answer));
}

fn read(
    shared: &Shared,
    info: &Arc<FileInfo>,
    context: Context,
    wanted: Wanted,
) -> Result<(Cutter, Segment), MediaError> {
    let mut cutter = match context {
        Context::Idle(cutter) => cutter,
        Context::Open { path, plan, sequence } => {
            let broken =
                |error: std::io::Error| MediaError::Broken(format!("{} cannot be read: {error}", info.name));
            let file = fs::File::open(&path).map_err(broken)?;
            let opened = shared.opener.open(file, &path)?;
            if opened.tracks != info.tracks {
                return Err(MediaError::Broken(format!("{} has changed", info.name)));
            }
            Cutter::new(Reader::with_plan(opened.demux, plan), info.clone(), shared.mtu_bytes, sequence)
        }
    };
    let position = cutter.go_to(wanted)?;
    let segment = cutter.segment()?.unwrap_or_else(|| Segment {
        // A file that ends sooner than it said.
        position,
        next: None,
        entries: Vec::new(),
        first: Default::default(),
        end: position.keyframe,
        bytes: size_of::<Segment>(),
    });
    Ok((cutter, segment))
}
