//! Media threads that take their time and sometimes fail.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::time::Time;
use ringcaster::driver::sim::Random;
use ringcaster::media::library::{Answer, FileInfo, Library, MediaError, ReplyTo, Ticket, Wanted};
use ringcaster::media::memory::MemoryLibrary;

/// How a library behaves.
#[derive(Clone, Debug)]
pub struct Temper {
    /// Probability that an answer comes later.
    pub delay: f64,
    /// How much later.
    pub delays: Range<Duration>,
    /// Probability that the answer is a failure.
    pub failure: f64,
}

/// A library of computed files behind slow threads.
pub struct SlowLibrary {
    inner: MemoryLibrary,
    temper: Temper,
    state: Mutex<State>,
}

struct State {
    now: Time,
    random: Random,
    jobs: Vec<(Time, Job)>,
    delayed: u64,
    failed: u64,
    vanished: u64,
}

enum Job {
    Describe(String, Ticket, ReplyTo),
    Segment(Arc<FileInfo>, Wanted, Ticket, ReplyTo),
}

impl SlowLibrary {
    pub fn new(inner: MemoryLibrary, temper: Temper, random: Random) -> SlowLibrary {
        let state = State { now: Time::ZERO, random, jobs: Vec::new(), delayed: 0, failed: 0, vanished: 0 };
        SlowLibrary { inner, temper, state: Mutex::new(state) }
    }

    /// Gives the answers that are due.
    pub fn step(&self, now: Time) {
        loop {
            let mut state = self.state.lock().unwrap();
            state.now = now;
            let Some(place) = state.jobs.iter().position(|(at, _)| *at <= now) else { return };
            let (_, job) = state.jobs.remove(place);
            drop(state);
            self.answer(job);
        }
    }

    /// When the next answer is due.
    pub fn due(&self) -> Option<Time> {
        self.state.lock().unwrap().jobs.iter().map(|(at, _)| *at).min()
    }

    /// Answers that came late, disks that failed, and files that had vanished.
    pub fn counts(&self) -> (u64, u64, u64) {
        let state = self.state.lock().unwrap();
        (state.delayed, state.failed, state.vanished)
    }

    fn take(&self, job: Job) {
        let mut state = self.state.lock().unwrap();
        if state.random.chance(self.temper.delay) {
            let at = state.now + state.random.time(&self.temper.delays);
            state.jobs.push((at, job));
            state.delayed += 1;
            return;
        }
        drop(state);
        self.answer(job);
    }

    fn answer(&self, job: Job) {
        let mut state = self.state.lock().unwrap();
        let mut failure = None;
        if state.random.chance(self.temper.failure) && state.random.chance(0.5) {
            state.vanished += 1;
            failure = Some(MediaError::NotFound);
        } else if state.random.chance(self.temper.failure) {
            state.failed += 1;
            failure = Some(MediaError::Broken("the disk is gone".into()));
        }
        drop(state);
        match (job, failure) {
            (Job::Describe(_, ticket, reply), Some(error)) => reply(Answer::Described(ticket, Err(error))),
            (Job::Segment(_, _, ticket, reply), Some(error)) => reply(Answer::Segment(ticket, Err(error))),
            (Job::Describe(path, ticket, reply), None) => self.inner.describe(&path, &[], ticket, &reply),
            (Job::Segment(file, wanted, ticket, reply), None) => {
                self.inner.segment(&file, wanted, ticket, &reply);
            }
        }
    }
}

impl Library for SlowLibrary {
    fn describe(&self, path: &str, _: &[(String, String)], ticket: Ticket, reply: &ReplyTo) {
        self.take(Job::Describe(path.to_owned(), ticket, reply.clone()));
    }

    fn segment(&self, file: &Arc<FileInfo>, wanted: Wanted, ticket: Ticket, reply: &ReplyTo) {
        self.take(Job::Segment(file.clone(), wanted, ticket, reply.clone()));
    }
}
