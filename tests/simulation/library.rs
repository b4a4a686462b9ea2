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
}

enum Job {
    Describe(String, Ticket, ReplyTo),
    Segment(Arc<FileInfo>, Wanted, Ticket, ReplyTo),
}

impl SlowLibrary {
    pub fn new(inner: MemoryLibrary, temper: Temper, random: Random) -> SlowLibrary {
        let state = State { now: Time::ZERO, random, jobs: Vec::new(), delayed: 0, failed: 0 };
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

    /// Answers that came late, and failures.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap();
        (state.delayed, state.failed)
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
        let fails = state.random.chance(self.temper.failure);
        state.failed += u64::from(fails);
        drop(state);
        let error = || MediaError::Broken("the disk is gone".into());
        match job {
            Job::Describe(_, ticket, reply) if fails => reply(Answer::Described(ticket, Err(error()))),
            Job::Segment(_, _, ticket, reply) if fails => reply(Answer::Segment(ticket, Err(error()))),
            Job::Describe(path, ticket, reply) => self.inner.describe(&path, ticket, &reply),
            Job::Segment(file, wanted, ticket, reply) => self.inner.segment(&file, wanted, ticket, &reply),
        }
    }
}

impl Library for SlowLibrary {
    fn describe(&self, path: &str, ticket: Ticket, reply: &ReplyTo) {
        self.take(Job::Describe(path.to_owned(), ticket, reply.clone()));
    }

    fn segment(&self, file: &Arc<FileInfo>, wanted: Wanted, ticket: Ticket, reply: &ReplyTo) {
        self.take(Job::Segment(file.clone(), wanted, ticket, reply.clone()));
    }
}
