//! Who publishes under which path: the registry of the program, whose owner takes questions in their order and some
//! time after they were asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::time::Time;
use ringcaster::driver::sim::Random;
use ringcaster::stream::catalog::{
    Claim, Grant, Notice, ShardIndex, StreamError, StreamId, StreamName, Subscriber,
};
use ringcaster::stream::registry::{OnRepublish, Registry};

/// Streams that clients publish have numbers above this.
pub const FIRST_PUBLISHED: StreamId = 1 << 32;

/// The registry behind its questions.
#[derive(Debug)]
pub struct Claims(Mutex<State>);

#[derive(Debug)]
struct State {
    now: Time,
    random: Random,
    registry: Registry,
    /// Longest time that a question waits.
    delay: Duration,
    /// With the time of each answer, in the order in which they were asked.
    questions: VecDeque<(Time, Question)>,
    last_id: StreamId,
}

#[derive(Debug)]
enum Question {
    Claim(Claim),
    Release(Grant),
    Subscribe(Arc<str>, Subscriber),
    Unsubscribe(String, StreamId, ShardIndex),
}

impl Claims {
    pub fn new(random: Random) -> Claims {
        Claims(Mutex::new(State {
            now: Time::ZERO,
            random,
            registry: Registry::new(OnRepublish::Stale, Vec::new()),
            delay: Duration::ZERO,
            questions: VecDeque::new(),
            last_id: FIRST_PUBLISHED,
        }))
    }

    /// What becomes of a publisher when another one wants its path, and how long questions wait at most; before
    /// anything is asked.
    pub fn set(&self, policy: OnRepublish, delay: Duration) {
        let mut state = self.0.lock().unwrap();
        (state.registry, state.delay) = (Registry::new(policy, Vec::new()), delay);
    }

    /// Answers what is due.
    pub fn step(&self, now: Time) {
        let state = &mut *self.0.lock().unwrap();
        state.now = now;
        while state.questions.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, question)) = state.questions.pop_front() else { return };
            state.answer(question);
        }
    }

    /// When the next answer is due.
    pub fn due(&self) -> Option<Time> {
        self.0.lock().unwrap().questions.front().map(|(at, _)| *at)
    }

    /// Whether anything was ever published.
    pub fn has_any(&self) -> bool {
        self.0.lock().unwrap().last_id > FIRST_PUBLISHED
    }

    /// Whether somebody publishes under a path, as far as questions are answered.
    pub fn has(&self, path: &str) -> bool {
        let deliver = Arc::new(|_| true);
        self.0.lock().unwrap().registry.subscribe(&path.into(), Subscriber { shard: 0, deliver }).is_ok()
    }

    pub fn attend(&self, subscriber: Subscriber) {
        self.0.lock().unwrap().registry.attend(subscriber);
    }

    pub fn claim(&self, claim: Claim) {
        self.ask(Question::Claim(claim));
    }

    pub fn release(&self, grant: Grant) {
        self.ask(Question::Release(grant));
    }

    pub fn subscribe(&self, path: &Arc<str>, subscriber: Subscriber) {
        self.ask(Question::Subscribe(path.clone(), subscriber));
    }

    pub fn unsubscribe(&self, path: &str, stream: StreamId, shard: ShardIndex) {
        self.ask(Question::Unsubscribe(path.to_owned(), stream, shard));
    }

    fn ask(&self, question: Question) {
        let state = &mut *self.0.lock().unwrap();
        let at = state.now + state.random.time(&(Duration::ZERO..state.delay));
        let at = state.questions.back().map_or(at, |(last, _)| at.max(*last));
        state.questions.push_back((at, question));
    }
}

impl State {
    fn answer(&mut self, question: Question) {
        match question {
            Question::Claim(claim) => {
                let last_id = &mut self.last_id;
                let new_id = || {
                    *last_id += 1;
                    *last_id
                };
                self.registry.claim(claim, new_id);
            }
            Question::Release(grant) => self.registry.release(grant),
            Question::Subscribe(path, subscriber) => {
                if let Err(subscriber) = self.registry.subscribe(&path, subscriber) {
                    let answer = Err(StreamError::NotFound);
                    (subscriber.deliver)(Notice::Subscribed { name: StreamName::plain(path), answer });
                }
            }
            Question::Unsubscribe(path, stream, shard) => {
                self.registry.unsubscribe(&path, stream, shard);
            }
        }
    }
}
