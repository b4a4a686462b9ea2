//! One media thread: takes a job, reads, answers.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use proto::rtsp::headers::date::Utc;
use proto::track::Track;
use rand::RngExt;

use super::Shared;
use super::shelf::{Askers, Context, Grant, Identity, Job, Work};
use crate::media::cut::Cutter;
use crate::media::format::Format;
use crate::media::library::{Answer, FileInfo, MediaError, Wanted};
use crate::media::reader::{Plan, Reader};
use crate::media::segment::Segment;
use crate::media::transcode::jpeg::carried;

/// Segments that are read ahead behind a jump, at most to the next keyframe: going there again would mean reading
/// everything since the keyframe again.
const AHEAD_BEHIND_JUMP: usize = 4;

/// Does work of one kind until the pool is dropped.
pub fn run(shared: &Shared, work: Work) {
    loop {
        let mut shelf = shared.shelf();
        let job = loop {
            if shelf.is_closed() {
                return;
            }
            match shelf.next(work) {
                Some(job) => break job,
                None => {
                    shelf = shared.bell(work).wait(shelf).unwrap_or_else(std::sync::PoisonError::into_inner)
                }
            }
        };
        drop(shelf);
        match job {
            Job::Describe { path, parameters, work, ticket, reply } => {
                let era = shared.recent().era();
                match guarded(|| describe(shared, &path, &parameters, work)) {
                    Ok(Some(info)) => {
                        shared.recent().keep((Instant::now(), era), path, parameters, info.clone());
                        reply(Answer::Described(ticket, Ok(info)));
                    }
                    Err(error) => reply(Answer::Described(ticket, Err(error))),
                    Ok(None) => {
                        let work = Work::Transcoding;
                        shared.add(Job::Describe { path, parameters, work, ticket, reply });
                    }
                }
            }
            Job::Segment { file, wanted } => serve(shared, &file, wanted),
            Job::Picture { picture, ticket, reply } => {
                reply(Answer::Picture(ticket, guarded(|| carried(&picture, shared.still))));
            }
        }
    }
}

/// Media that brings a decoder to its knees must not take the thread along.
fn guarded<T>(work: impl FnOnce() -> Result<T, MediaError>) -> Result<T, MediaError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(MediaError::Broken("reading failed by a fault of this program".to_owned())))
}

/// What a file offers; None where that is found out by those who transcode.
fn describe(
    shared: &Shared,
    path: &str,
    parameters: &[(String, String)],
    work: Work,
) -> Result<Option<Arc<FileInfo>>, MediaError> {
    let found = shared.folder.find(path)?;
    let format = (shared.format_of)(&found.name).with_parameters(parameters);
    let format = format.map_err(MediaError::Unsupported)?;
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => MediaError::NotFound,
        _ => MediaError::Forbidden(format!("{} cannot be read: {error}", found.name)),
    };
    let file = fs::File::open(&found.path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let identity = Identity::of(&found.path, &found.name, format, &metadata);
    if let Some(info) = shared.shelf().known(&identity) {
        return Ok(Some(info));
    }
    if work == Work::Reading && format != Format::default() {
        return Ok(None);
    }
    let opened = shared.opener.open(file, &found.path, &format)?;
    if work == Work::Reading && opened.is_transcoded {
        return Ok(None);
    }
    for sentence in &opened.left_out {
        tracing::warn!(file = %found.name, "{sentence}");
    }
    for sentence in &opened.made_anew {
        tracing::info!(file = %found.name, "{sentence} (transcode_unsupported is 1)");
    }
    let reader = Reader::open(opened.demux, &opened.tracks, opened.duration)?;
    let mut tracks = opened.tracks;
    if shared.has_metadata {
        tracks.push(Track::metadata_behind(&tracks));
    }
    let mut random = rand::rng();
    let info = Arc::new(FileInfo {
        id: shared.shelf().new_id(),
        name: found.name,
        format,
        ssrc: tracks.iter().map(|_| random.random()).collect(),
        timestamp_base: tracks.iter().map(|_| random.random()).collect(),
        tracks,
        duration: opened.duration,
        recorded: opened.recorded.unwrap_or_else(|| recorded_before(&metadata, opened.duration)),
        is_intra: reader.plan().is_intra(),
        bits_per_second: average(metadata.len(), opened.duration),
        seekable: opened.seekable,
        left_out: opened.left_out,
        is_transcoded: opened.is_transcoded,
    });
    let sequence = random.random();
    let plan = reader.plan();
    let cutter = Cutter::new(reader, info, shared.mtu_bytes, sequence);
    Ok(Some(shared.shelf().learn(identity, sequence, plan, cutter)))
}

/// When a file was begun whose last moment is the one at which it was changed last.
fn recorded_before(metadata: &fs::Metadata, duration: Option<Duration>) -> Utc {
    let changed = metadata.modified().ok();
    let changed =
        changed.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
    Utc(changed.saturating_sub(duration.unwrap_or_default()))
}

/// Bits a second of so many bytes.
fn average(bytes: u64, duration: Option<Duration>) -> Option<u64> {
    let nanos = duration?.as_nanos();
    (nanos > 0).then(|| (u128::from(bytes) * 8 * 1_000_000_000 / nanos) as u64)
}

fn serve(shared: &Shared, file: &Arc<FileInfo>, wanted: Wanted) {
    let began = Instant::now();
    let granted = {
        let mut shelf = shared.shelf();
        if !shelf.is_asked(file.id, wanted) {
            return;
        }
        // Somebody else's job may have read it meanwhile.
        if let Some(segment) = shelf.cached(file.id, wanted) {
            let askers = shelf.askers(file.id, wanted);
            drop(shelf);
            return answer(askers, &Ok(segment));
        }
        shelf.context(file.id, wanted, began, Job::Segment { file: file.clone(), wanted })
    };
    let context = match granted {
        Grant::Context(context) => context,
        Grant::Waits => return,
        Grant::Gone => {
            let askers = shared.shelf().askers(file.id, wanted);
            return answer(askers, &Err(MediaError::Broken("the file was replaced".to_owned())));
        }
    };
    let cutter = match context {
        Context::Idle(cutter) => Ok(cutter),
        Context::Open { identity, plan, sequence } => {
            guarded(|| open_again(shared, file, &identity, plan, sequence))
        }
    };
    if cutter.is_err() && shared.shelf().confine(file.id) {
        let mut shelf = shared.shelf();
        shelf.give_back(file.id, None, began);
        shelf.add(Job::Segment { file: file.clone(), wanted });
        drop(shelf);
        shared.bell(Work::on(file)).notify_one();
        return;
    }
    let reading = Reading { shared, file, began };
    let cutter = cutter.and_then(|cutter| guarded(|| reading.read(cutter, wanted)));
    let cutter = match cutter {
        Ok((mut cutter, segment, has_jumped)) => {
            reading.keep(wanted, &segment);
            guarded(|| reading.read_ahead(&mut cutter, &segment, has_jumped)).ok().map(|()| cutter)
        }
        Err(error) => {
            tracing::warn!(file = %file.name, %error, "reading failed");
            let askers = shared.shelf().askers(file.id, wanted);
            answer(askers, &Err(error));
            None
        }
    };
    shared.shelf().give_back(file.id, cutter, began);
    shared.bell(Work::on(file)).notify_all();
}

fn answer(askers: Askers, result: &Result<Arc<Segment>, MediaError>) {
    for (ticket, reply) in askers {
        reply(Answer::Segment(ticket, result.clone()));
    }
}

fn open_again(
    shared: &Shared,
    info: &Arc<FileInfo>,
    identity: &Identity,
    plan: Arc<Plan>,
    sequence: u16,
) -> Result<Cutter, MediaError> {
    let broken = |error: std::io::Error| MediaError::Broken(format!("{} cannot be read: {error}", info.name));
    // Opening what has become a pipe would wait for a writer.
    if !fs::metadata(&identity.path).map_err(broken)?.is_file() {
        return Err(MediaError::Broken(format!("{} has changed", info.name)));
    }
    let file = fs::File::open(&identity.path).map_err(broken)?;
    let found =
        Identity::of(&identity.path, &identity.name, identity.format, &file.metadata().map_err(broken)?);
    let opened = shared.opener.open(file, &identity.path, &identity.format)?;
    if !identity.goes_on_as(&found) || opened.tracks != info.media() {
        return Err(MediaError::Broken(format!("{} has changed", info.name)));
    }
    Ok(Cutter::new(Reader::with_plan(opened.demux, plan), info.clone(), shared.mtu_bytes, sequence))
}

/// One read with a context.
struct Reading<'a> {
    shared: &'a Shared,
    file: &'a Arc<FileInfo>,
    began: Instant,
}

impl Reading<'_> {
    /// The wanted segment, and whether the context had to go elsewhere for it.
    fn read(&self, mut cutter: Cutter, wanted: Wanted) -> Result<(Cutter, Arc<Segment>, bool), MediaError> {
        let stood = cutter.next();
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
        Ok((cutter, Arc::new(segment), stood != Some(position)))
    }

    /// Keeps what was read, and answers those who asked for it by this or by its position.
    fn keep(&self, wanted: Wanted, segment: &Arc<Segment>) {
        let id = self.file.id;
        let askers = self.shared.shelf().keep(id, wanted, segment, self.began);
        answer(askers, &Ok(segment.clone()));
    }

    /// Reads on while the context stands there: one segment while nobody waits, several behind a jump.
    fn read_ahead(&self, cutter: &mut Cutter, segment: &Segment, has_jumped: bool) -> Result<(), MediaError> {
        let count = if has_jumped { AHEAD_BEHIND_JUMP } else { 1 };
        let (mut part, mut next) = (segment.position.part, segment.next);
        for _ in 0..count {
            let Some(position) = next else { return Ok(()) };
            let mut shelf = self.shared.shelf();
            let is_asked = shelf.is_asked(self.file.id, Wanted::At(position));
            // The first part of a group alone would be in vain: who comes for the next one reads it again.
            let is_group_small = part == 0 && position.part == 0;
            let is_idle = shelf.is_idle(Work::on(self.file)) && (!has_jumped || is_group_small);
            let is_worth_it = is_asked || is_idle || (has_jumped && position.part > 0);
            if !is_worth_it || !shelf.lacks(self.file.id, position) {
                return Ok(());
            }
            drop(shelf);
            let Some(ahead) = cutter.segment()?.map(Arc::new) else { return Ok(()) };
            (part, next) = (position.part, ahead.next);
            self.keep(Wanted::At(position), &ahead);
        }
        Ok(())
    }
}
