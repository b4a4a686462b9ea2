//! The pool on computed presentations that count what is done with them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use proto::frame::Frame;
use proto::rtsp::headers::date::Utc;
use proto::time::MediaTime;

use super::recent::Recent;
use super::shelf::{Context, Grant, Identity, Job, SLOW, Shelf, Work};
use super::{Pool, PoolSettings};
use crate::media::cut::Cutter;
use crate::media::demux::Demux;
use crate::media::format::Format;
use crate::media::library::{Answer, FileInfo, Library, MediaError, ReplyTo, Wanted};
use crate::media::memory::Presentation;
use crate::media::opener::{Opened, Opener};
use crate::media::reader::Reader;
use crate::media::segment::Segment;
use crate::media::transcode::slots::Slots;

/// What was done with all files of one test.
#[derive(Default)]
struct Counts {
    opened: AtomicUsize,
    frames: AtomicUsize,
    seeks: AtomicUsize,
}

struct Counting(Arc<Counts>);

struct Counted {
    demux: Box<dyn Demux>,
    counts: Arc<Counts>,
    has_fault: bool,
}

impl Opener for Counting {
    fn open(&self, _: File, path: &Path, _: &Format) -> Result<Opened, MediaError> {
        self.0.opened.fetch_add(1, SeqCst);
        let presentation = Presentation::default();
        let has_fault = path.ends_with("fault.mp4");
        Ok(Opened {
            demux: Box::new(Counted { demux: presentation.demux(), counts: self.0.clone(), has_fault }),
            tracks: presentation.tracks(),
            duration: Some(presentation.duration),
            recorded: None,
            seekable: true,
            foreign: Vec::new(),
            left_out: Vec::new(),
            made_anew: Vec::new(),
            is_transcoded: false,
        })
    }
}

impl Demux for Counted {
    fn next_frame(&mut self) -> Result<Option<Frame>, MediaError> {
        let frames = self.counts.frames.fetch_add(1, SeqCst);
        assert!(!self.has_fault || frames < 60, "a fault for the test");
        self.demux.next_frame()
    }

    fn seek(&mut self, time: MediaTime) -> Result<(), MediaError> {
        self.counts.seeks.fetch_add(1, SeqCst);
        self.demux.seek(time)
    }

    fn rewind(&mut self) -> Result<(), MediaError> {
        self.demux.rewind()
    }

    fn has_exact_index(&self) -> bool {
        true
    }
}

/// A pool on a folder of its own, and the answers that came.
struct Bench {
    folder: PathBuf,
    pool: Pool,
    counts: Arc<Counts>,
    reply: ReplyTo,
    answers: mpsc::Receiver<Answer>,
}

impl Bench {
    fn new(name: &str, files: &[&str]) -> Bench {
        Bench::with_cache(name, files, 64 * 1024 * 1024)
    }

    fn with_cache(name: &str, files: &[&str], cache_bytes: usize) -> Bench {
        let folder = std::env::temp_dir().join(format!("ringcaster-pool-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        for file in files {
            fs::write(folder.join(file), "computed").unwrap();
        }
        let counts = Arc::<Counts>::default();
        let settings = PoolSettings {
            media_dir: folder.clone(),
            follow_symlinks: false,
            format_of: Arc::new(|_| Format::default()),
            has_metadata: false,
            mtu_bytes: 1_400,
            cache_bytes,
            threads: 2,
            transcode_threads: 1,
            slots: Slots::new(1),
            still: None,
            at_thread_start: || {},
        };
        let pool = Pool::start(&settings, Box::new(Counting(counts.clone()))).unwrap();
        let (sender, answers) = mpsc::channel();
        let reply: ReplyTo = Arc::new(move |answer| sender.send(answer).unwrap());
        Bench { folder, pool, counts, reply, answers }
    }

    fn answer(&self) -> Answer {
        self.answers.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    fn describe(&self, path: &str) -> Result<Arc<FileInfo>, MediaError> {
        self.pool.describe(path, &[], 7, &self.reply);
        match self.answer() {
            Answer::Described(7, result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// The first answer that is another than before: what has changed on the disk is seen a moment later.
    fn describe_anew(&self, path: &str, before: &Arc<FileInfo>) -> Result<Arc<FileInfo>, MediaError> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.describe(path);
            if found.as_ref().ok().is_none_or(|found| !Arc::ptr_eq(found, before)) {
                return found;
            }
            assert!(Instant::now() < end, "{path} stays what it was");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn segment(&self, file: &Arc<FileInfo>, wanted: Wanted) -> Result<Arc<Segment>, MediaError> {
        self.pool.segment(file, wanted, 8, &self.reply);
        match self.answer() {
            Answer::Segment(8, result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn whole(&self, file: &Arc<FileInfo>) -> Vec<Arc<Segment>> {
        let mut segments = vec![self.segment(file, Wanted::Seek(MediaTime::ZERO)).unwrap()];
        while let Some(next) = segments.last().unwrap().next {
            segments.push(self.segment(file, Wanted::At(next)).unwrap());
        }
        segments
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn playing_on_never_seeks_and_numbers_run_on() {
    let bench = Bench::new("on", &["film.mp4"]);
    let file = bench.describe("/film.mp4").unwrap();
    let segments = bench.whole(&file);
    for pair in segments.windows(2) {
        let first = pair[0].first[0];
        assert_eq!(first.sequence.wrapping_add(first.packets as u16), pair[1].first[0].sequence);
    }
    assert_eq!((bench.counts.opened.load(SeqCst), bench.counts.seeks.load(SeqCst)), (1, 0));
}

#[test]
fn many_viewers_cost_one_reading() {
    let bench = Bench::new("many", &["film.mp4"]);
    let file = bench.describe("/film.mp4").unwrap();
    let frames = |bench: &Bench| bench.counts.frames.load(SeqCst);
    bench.whole(&file);
    let once = frames(&bench);
    for _ in 0..20 {
        bench.whole(&file);
    }
    assert_eq!(frames(&bench), once);
}

/// Three viewers and two contexts: each group of pictures is read once, though the cache is full of what was played.
#[test]
fn viewers_far_apart_cost_one_reading_each_also_behind_others() {
    let bench = Bench::with_cache("apart", &["film.mp4", "other.mp4"], 1_500_000);
    let other = bench.describe("/other.mp4").unwrap();
    let whole = bench.whole(&other);
    assert!(whole.iter().map(|segment| segment.bytes).sum::<usize>() > 1_130_000);
    let file = bench.describe("/film.mp4").unwrap();
    let before = bench.counts.frames.load(SeqCst);
    let starts = [0, 4, 8].map(|second| Wanted::Seek(MediaTime(second * 1_000_000_000)));
    let mut viewers = starts.map(|start| bench.segment(&file, start).unwrap());
    // Four parts of a group.
    for _ in 1..4 {
        viewers = viewers.map(|segment| bench.segment(&file, Wanted::At(segment.next.unwrap())).unwrap());
    }
    // Two seconds of 25 pictures and 47 parts of sound each, and what stands behind their ends.
    let frames = bench.counts.frames.load(SeqCst) - before;
    assert!((400..560).contains(&frames), "{frames} frames were read");
}

#[test]
fn questions_at_the_same_time_share_one_job() {
    let bench = Bench::new("share", &["film.mp4"]);
    let file = bench.describe("/film.mp4").unwrap();
    for ticket in 0..50 {
        bench.pool.segment(&file, Wanted::Seek(MediaTime(5_000_000_000)), ticket, &bench.reply);
    }
    let mut tickets: Vec<_> = (0..50)
        .map(|_| match bench.answer() {
            Answer::Segment(ticket, Ok(segment)) => {
                assert_eq!(segment.position.keyframe, MediaTime(4_000_000_000));
                ticket
            }
            other => panic!("{other:?}"),
        })
        .collect();
    tickets.sort_unstable();
    assert_eq!(tickets, (0..50).collect::<Vec<_>>());
    assert_eq!(bench.counts.seeks.load(SeqCst), 1);
}

#[test]
fn a_file_is_opened_once_until_it_changes() {
    let bench = Bench::new("change", &["film.mp4"]);
    let file = bench.describe("/film.mp4").unwrap();
    assert!(Arc::ptr_eq(&file, &bench.describe("/film.mp4").unwrap()));
    fs::write(bench.folder.join("film.mp4"), "computed differently").unwrap();
    let changed = bench.describe_anew("/film.mp4", &file).unwrap();
    assert_ne!(file.id, changed.id);
    assert!(
        bench.segment(&file, Wanted::Seek(MediaTime::ZERO)).is_ok(),
        "whoever plays the old one plays on"
    );
}

#[test]
fn a_file_that_vanished_plays_on_and_is_not_found_again() {
    let bench = Bench::new("vanish", &["film.mp4"]);
    let file = bench.describe("/film.mp4").unwrap();
    fs::remove_file(bench.folder.join("film.mp4")).unwrap();
    assert_eq!(bench.describe_anew("/film.mp4", &file).unwrap_err(), MediaError::NotFound);
    assert!(!bench.whole(&file).is_empty());
}

#[test]
fn what_was_found_is_told_again_to_the_same_question_for_a_moment() {
    let bench = Bench::new("recent", &["film.mp4"]);
    let file = bench.describe("/film.mp4").unwrap();
    let (mut recent, begun) = (Recent::default(), Instant::now());
    let after = |millis| begun + Duration::from_millis(millis);
    let era = recent.era();
    let at = |millis| (after(millis), era);
    let asked = |text: &str| vec![("w".to_owned(), text.to_owned())];
    recent.keep(at(0), "/film.mp4".into(), Vec::new(), file.clone());
    recent.keep(at(50), "/film.mp4".into(), asked("320"), file.clone());
    assert!(recent.find(after(99), "/film.mp4", &[]).is_some());
    assert!(recent.find(after(99), "/film.mp4", &asked("640")).is_none());
    assert!(recent.find(after(99), "/other.mp4", &[]).is_none());
    assert!(recent.find(after(101), "/film.mp4", &[]).is_none());
    assert!(recent.find(after(101), "/film.mp4", &asked("320")).is_some());
    (0..1_000).for_each(|number| recent.keep(at(102), number.to_string(), Vec::new(), file.clone()));
    assert!(recent.find(after(102), "/film.mp4", &asked("320")).is_none(), "few are kept");
    assert!(recent.find(after(102), "999", &[]).is_some());
    recent.forget();
    assert!(recent.find(after(102), "999", &[]).is_none());
    recent.keep(at(103), "999".into(), Vec::new(), file);
    assert!(recent.find(after(103), "999", &[]).is_none(), "other rules count since it was looked for");
}

#[test]
fn a_fault_ends_one_session_and_not_the_thread() {
    let bench = Bench::new("fault", &["fault.mp4", "film.mp4"]);
    let file = bench.describe("/fault.mp4").unwrap();
    for _ in 0..4 {
        let end = bench.segment(&file, Wanted::Seek(MediaTime(9_000_000_000)));
        assert!(matches!(end, Err(MediaError::Broken(_))));
    }
    let film = bench.describe("/film.mp4").unwrap();
    assert!(bench.segment(&film, Wanted::Seek(MediaTime::ZERO)).is_ok());
}

#[test]
fn threads_end_with_the_pool() {
    let Bench { pool, .. } = &Bench::new("end", &[]);
    let shared = Arc::downgrade(&pool.shared);
    assert!(shared.strong_count() >= 3);
    pool.shared.shelf().close();
    pool.shared.has_reading.notify_all();
    pool.shared.has_transcoding.notify_all();
    let deadline = Instant::now() + Duration::from_secs(10);
    while shared.strong_count() > 1 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(shared.strong_count(), 1);
}

/// A shelf with one file, whose context is idle.
fn shelf() -> (Shelf, Arc<FileInfo>) {
    let mut shelf = Shelf::new(1 << 20);
    let info = add(&mut shelf, "film.mp4");
    (shelf, info)
}

fn add(shelf: &mut Shelf, name: &str) -> Arc<FileInfo> {
    let presentation = Presentation::default();
    let tracks = presentation.tracks();
    let reader = Reader::open(presentation.demux(), &tracks, None).unwrap();
    let plan = reader.plan();
    let info = FileInfo {
        id: shelf.new_id(),
        name: name.to_owned(),
        format: Format::default(),
        ssrc: vec![1, 2],
        timestamp_base: vec![0, 0],
        tracks,
        duration: None,
        recorded: Utc::default(),
        is_intra: false,
        bits_per_second: None,
        seekable: true,
        left_out: Vec::new(),
        is_transcoded: false,
    };
    let cutter = Cutter::new(reader, Arc::new(info), 1_400, 0);
    let identity = Identity {
        path: PathBuf::from(name),
        name: name.into(),
        format: Format::default(),
        inode: 1,
        modified: None,
        size: 1,
    };
    shelf.learn(identity, 0, plan, cutter)
}

fn grant(shelf: &mut Shelf, file: &Arc<FileInfo>, began: Instant) -> Grant {
    let wanted = Wanted::Seek(MediaTime(1));
    shelf.context(file.id, wanted, began, Job::Segment { file: file.clone(), wanted })
}

#[test]
fn a_file_has_two_contexts_at_most() {
    let (mut shelf, file) = shelf();
    let now = Instant::now();
    assert!(matches!(grant(&mut shelf, &file, now), Grant::Context(Context::Open { .. })));
    let Grant::Context(Context::Idle(cutter)) = grant(&mut shelf, &file, now) else { panic!("one is idle") };
    assert!(matches!(grant(&mut shelf, &file, now), Grant::Waits));
    assert!(shelf.next(Work::Reading).is_none());
    shelf.give_back(file.id, Some(cutter), now);
    assert!(shelf.next(Work::Reading).is_some(), "the job that waited goes on");
}

#[test]
fn a_read_that_hangs_confines_its_file_to_one_thread() {
    let (mut shelf, file) = shelf();
    let now = Instant::now();
    let long_ago = now.checked_sub(SLOW * 2).unwrap();
    let wanted = Wanted::At(crate::media::segment::Position { keyframe: MediaTime::ZERO, part: 0 });
    let job = Job::Segment { file: file.clone(), wanted };
    let Grant::Context(Context::Idle(cutter)) = shelf.context(file.id, wanted, long_ago, job) else {
        panic!("it stands there");
    };
    assert!(matches!(grant(&mut shelf, &file, now), Grant::Waits));
    shelf.give_back(file.id, Some(cutter), long_ago);
    assert!(
        matches!(grant(&mut shelf, &file, now), Grant::Context(Context::Idle(_))),
        "no second one is opened"
    );
}

#[test]
fn idle_contexts_of_other_files_are_closed_beyond_the_bound() {
    let mut shelf = Shelf::new(1 << 20);
    let files: Vec<_> = (0..70).map(|index| add(&mut shelf, &format!("{index}.mp4"))).collect();
    let now = Instant::now();
    let is_idle = |grant| matches!(grant, Grant::Context(Context::Idle(_)));
    let wanted = Wanted::At(crate::media::segment::Position { keyframe: MediaTime::ZERO, part: 0 });
    let mut stands = |file: &Arc<FileInfo>| {
        is_idle(shelf.context(file.id, wanted, now, Job::Segment { file: file.clone(), wanted }))
    };
    assert!(!stands(&files[0]), "the context used longest ago was closed");
    assert!(stands(&files[69]));
}
