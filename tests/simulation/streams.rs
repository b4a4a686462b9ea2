//! A live source that a virtual clock drives, that is lost at times and comes back as another run.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proto::time::{NtpTime, Time};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use ringcaster::driver::sim::Random;
use ringcaster::media::memory::Presentation;
use ringcaster::stream::catalog::{
    Catalog, Claim, ClaimError, Description, Grant, Notice, ShardIndex, StreamError, StreamId, StreamName,
    Subscriber, Want,
};
use ringcaster::stream::publish::Publisher;
use ringcaster::stream::window::WindowLimits;

use super::claims::{Claims, FIRST_PUBLISHED};
use super::content::{Content, nanos};

/// How long a source runs on with nobody watching.
const LINGER: Duration = Duration::from_secs(5);

/// How a source behaves.
#[derive(Clone, Debug)]
pub struct Temper {
    /// Mean time until it is lost; None for never.
    pub loss: Option<Duration>,
    /// Probability that it does not start.
    pub refusal: f64,
    /// Mean time between two moments in which shards cannot take batches; None for never.
    pub congestion: Option<Duration>,
}

/// The path of the only stream.
pub const PATH: &str = "live";

/// A catalog of one stream of its own, and of what clients publish.
pub struct SimStreams {
    content: Content,
    tracks: Vec<proto::track::Track>,
    temper: Temper,
    state: Mutex<State>,
    /// Whether inboxes are full at the moment.
    is_full: Arc<AtomicBool>,
    dropped: Arc<AtomicU64>,
    dropped_at: Arc<AtomicU64>,
    now: Arc<AtomicU64>,
    /// Everything about the paths that clients publish under.
    claims: Claims,
}

struct State {
    now: Time,
    random: Random,
    running: Option<Running>,
    pending: Vec<(Time, Arc<str>, Subscriber)>,
    unsubscribed: Vec<(StreamId, ShardIndex)>,
    full_until: Option<Time>,
    full_at: Option<Time>,
    /// All runs so far, the last one may still run.
    runs: Vec<Run>,
    refused: u64,
    lost: u64,
}

struct Running {
    publisher: Publisher,
    origin: Time,
    /// Index of the next unit of each track.
    next: Vec<u64>,
    lost_at: Option<Time>,
    idle_since: Option<Time>,
}

/// What is known of one run.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: StreamId,
    pub origin: Time,
    pub lost: Arc<AtomicBool>,
    /// None until a shard has been told.
    pub description: Arc<Mutex<Option<Arc<Description>>>>,
}

impl Run {
    /// Whether its source has gone.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl SimStreams {
    pub fn new(presentation: Presentation, temper: Temper, mut random: Random) -> SimStreams {
        // A sequence of its own, so that claims change nothing of what the stream draws.
        let claims = Claims::new(random.clone().fork());
        let full_at = temper.congestion.map(|mean| Time::ZERO + mean.mul_f64(2.0 * random.fraction()));
        let state = State {
            now: Time::ZERO,
            random,
            running: None,
            pending: Vec::new(),
            unsubscribed: Vec::new(),
            full_until: None,
            full_at,
            runs: Vec::new(),
            refused: 0,
            lost: 0,
        };
        SimStreams {
            tracks: presentation.tracks(),
            content: Content { presentation, is_live: true },
            temper,
            state: Mutex::new(state),
            is_full: Arc::default(),
            dropped: Arc::default(),
            dropped_at: Arc::default(),
            now: Arc::default(),
            claims,
        }
    }

    /// What clients publish.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Does what is due.
    pub fn step(&self, now: Time, wall: NtpTime) {
        let state = &mut *self.state.lock().unwrap();
        state.now = now;
        self.now.store(now.as_nanos(), Ordering::Relaxed);
        self.congest(state);
        self.claims.step(now);
        self.obey(state, wall);
        self.publish(state);
    }

    /// When there is something to do next.
    pub fn due(&self) -> Option<Time> {
        let state = self.state.lock().unwrap();
        let pending = state.pending.iter().map(|(at, ..)| *at).min();
        let unsubscribed = (!state.unsubscribed.is_empty()).then_some(state.now);
        let running = state.running.as_ref();
        let frame = running.map(|running| self.next_frame(running).0);
        let lost = running.and_then(|running| running.lost_at);
        // Inboxes that are full concern only a stream that runs.
        let has_streams = running.is_some() || self.claims.has_any();
        let full = state.full_until.or(state.full_at).filter(|_| has_streams);
        [pending, unsubscribed, frame, lost, full, self.claims.due()].into_iter().flatten().min()
    }

    /// The run that an SSRC belongs to.
    pub fn run_of(&self, ssrc: u32) -> Option<Run> {
        let state = self.state.lock().unwrap();
        let mut runs = state.runs.iter();
        let of = |run: &&Run| {
            run.description.lock().unwrap().as_ref().is_some_and(|known| known.ssrc.contains(&ssrc))
        };
        runs.find(of).cloned()
    }

    /// Batches that shards had no room for so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// When a shard last had no room; before everything when that never was.
    pub fn last_drop(&self) -> Time {
        if self.dropped() == 0 {
            return Time::ZERO;
        }
        Time::from_nanos(self.dropped_at.load(Ordering::Relaxed))
    }

    /// Runs that were lost, subscriptions that were refused.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.state.lock().unwrap();
        (state.lost, state.refused)
    }

    fn congest(&self, state: &mut State) {
        let Some(mean) = self.temper.congestion else { return };
        let now = state.now;
        if state.full_until.is_some_and(|until| until <= now) {
            state.full_until = None;
            state.full_at = Some(now + mean.mul_f64(2.0 * state.random.fraction()));
            self.is_full.store(false, Ordering::Relaxed);
        }
        if state.full_at.is_some_and(|at| at <= now) {
            state.full_at = None;
            state.full_until = Some(now + Duration::from_millis(state.random.within(30..600) as u64));
            self.is_full.store(true, Ordering::Relaxed);
        }
    }

    fn obey(&self, state: &mut State, wall: NtpTime) {
        for (stream, shard) in std::mem::take(&mut state.unsubscribed) {
            if let Some(running) = &mut state.running
                && state.runs.last().is_some_and(|run| run.id == stream)
            {
                running.publisher.fanout().unsubscribe(shard);
            }
        }
        while let Some(place) = state.pending.iter().position(|(at, ..)| *at <= state.now) {
            let (_, path, subscriber) = state.pending.remove(place);
            if state.running.is_none() {
                if state.random.chance(self.temper.refusal) {
                    state.refused += 1;
                    let answer = Err(StreamError::Unavailable("the camera is off".into()));
                    (subscriber.deliver)(Notice::Subscribed { name: StreamName::plain(path), answer });
                    continue;
                }
                self.start(state, wall);
            }
            let description = state.runs[state.runs.len() - 1].description.clone();
            let subscriber = self.wrapped(subscriber, description);
            if let Some(running) = &mut state.running {
                running.publisher.fanout().subscribe(&path, subscriber);
            }
        }
    }

    fn start(&self, state: &mut State, wall: NtpTime) {
        let id = state.runs.len() as u64 + 1;
        let mut random = SmallRng::seed_from_u64(state.random.draw());
        let publisher = Publisher::new(
            id,
            StreamName::plain(PATH.into()),
            self.tracks.clone(),
            wall,
            1_400,
            WindowLimits::default(),
            &mut random,
        );
        let lost_at = self.temper.loss.map(|mean| state.now + mean.mul_f64(2.0 * state.random.fraction()));
        state.running = Some(Running {
            publisher,
            origin: state.now,
            next: vec![0; self.tracks.len()],
            lost_at,
            idle_since: None,
        });
        state.runs.push(Run { id, origin: state.now, lost: Arc::default(), description: Arc::default() });
    }

    fn publish(&self, state: &mut State) {
        let now = state.now;
        loop {
            let Some(running) = &mut state.running else { return };
            let is_lost = running.lost_at.is_some_and(|at| at <= now);
            let idle_since = if running.publisher.fanout().is_idle() {
                Some(*running.idle_since.get_or_insert(now))
            } else {
                running.idle_since = None;
                None
            };
            if is_lost || idle_since.is_some_and(|since| now.since(since) > LINGER) {
                state.lost += u64::from(is_lost);
                running.publisher.fanout().end(if is_lost { "the source is lost" } else { "nobody watches" });
                state.running = None;
                if let Some(run) = state.runs.last() {
                    run.lost.store(is_lost, Ordering::Relaxed);
                }
                return;
            }
            let (at, track) = self.next_frame(running);
            if at > now {
                return;
            }
            let index = running.next[usize::from(track)];
            running.next[usize::from(track)] += 1;
            running.publisher.publish(&self.content.frame(track, index));
        }
    }

    /// When the next frame is due, and of which track.
    fn next_frame(&self, running: &Running) -> (Time, u8) {
        let due = running.next.iter().enumerate().map(|(track, index)| {
            let unit = self.content.unit(track as u8, *index);
            let dts = nanos(unit.dts, self.content.rate(track as u8)).max(0) as u64;
            (running.origin + Duration::from_nanos(dts), track as u8)
        });
        due.min().expect("a stream has tracks")
    }

    /// A subscriber whose inbox is full at times.
    fn wrapped(&self, subscriber: Subscriber, known: Arc<Mutex<Option<Arc<Description>>>>) -> Subscriber {
        let (is_full, dropped) = (self.is_full.clone(), self.dropped.clone());
        let (dropped_at, now) = (self.dropped_at.clone(), self.now.clone());
        let deliver = subscriber.deliver;
        let deliver = move |notice| {
            if let Notice::Subscribed { answer: Ok(snapshot), .. } = &notice {
                *known.lock().unwrap() = Some(snapshot.description.clone());
            }
            if matches!(notice, Notice::Batch { .. }) && is_full.load(Ordering::Relaxed) {
                dropped.fetch_add(1, Ordering::Relaxed);
                dropped_at.store(now.load(Ordering::Relaxed), Ordering::Relaxed);
                return false;
            }
            deliver(notice)
        };
        Subscriber { shard: subscriber.shard, deliver: Arc::new(deliver) }
    }
}

impl Catalog for SimStreams {
    fn attend(&self, subscriber: Subscriber) {
        self.claims.attend(subscriber);
    }

    fn claim(&self, claim: Claim) {
        if !self.owns(&claim.path) {
            return self.claims.claim(claim);
        }
        let Claim { ticket, owner, .. } = claim;
        (owner.deliver)(Notice::Claimed { ticket, answer: Err(ClaimError::Owned) });
    }

    fn release(&self, grant: Grant) {
        self.claims.release(grant);
    }

    fn owns(&self, path: &str) -> bool {
        path == PATH
    }

    fn subscribe(&self, name: &StreamName, subscriber: Subscriber) {
        let path = &name.path;
        if !self.owns(path) {
            return self.claims.subscribe(path, self.wrapped(subscriber, Arc::default()));
        }
        let state = &mut *self.state.lock().unwrap();
        let at = state.now + Duration::from_millis(state.random.below(300) as u64);
        state.pending.push((at, path.clone(), subscriber));
    }

    fn want(&self, _: &str, _: StreamId, _: Want) {}

    fn name_stream(&self) -> StreamId {
        0
    }

    fn unsubscribe(&self, path: &str, stream: StreamId, shard: ShardIndex) {
        if stream > FIRST_PUBLISHED {
            return self.claims.unsubscribe(path, stream, shard);
        }
        self.state.lock().unwrap().unsubscribed.push((stream, shard));
    }
}
