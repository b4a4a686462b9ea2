//! One seed of publishers and viewers, from its beginning to its end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use proto::io::Driver;
use proto::time::Time;
use rand::SeedableRng;
use rand::rngs::StdRng;
use ringcaster::driver::sim::{Departure, Net, Random};
use ringcaster::media::memory::{MemoryLibrary, Presentation};
use ringcaster::shard::inbox::{Inbox, Outside};
use ringcaster::shard::{Census, ClientPorts, Ports, Shard, Tapped};

use super::super::faults::{Counts, Kind};
use super::super::session::seconds;
use super::super::streams::SimStreams;
use super::super::world::NoNames;
use super::super::world::{Outcome, trace};
use super::caller::World;
use super::history::History;
use super::ledger::Ledger;
use super::publisher::{Publisher, url};
use super::rules::{RUN, Rules};
use super::viewer::Viewer;

/// Turns without a step of the clock after which a shard is taken to run in a circle.
const TURNS_MAX: usize = 20_000;

/// Everything of one seed.
pub(super) struct Run {
    pub rules: Rules,
    pub net: Net,
    pub shards: Vec<Shard>,
    pub publishers: Vec<Publisher>,
    pub viewers: Vec<Viewer>,
    pub ledger: Ledger,
    pub histories: Vec<History>,
    random: Random,
    stalled: Vec<Option<Time>>,
    next_stall: Option<Time>,
    streams: Arc<SimStreams>,
    hasher: DefaultHasher,
    faults: Counts,
    traces: bool,
}

/// Plays one seed. Whatever is wrong is a panic that names the time and the one it happened to.
pub fn play(seed: u64, traces: bool) -> Outcome {
    let mut random = Random::new(seed ^ 0x9b1a);
    let rules = Rules::draw(&mut random);
    if traces {
        println!("{rules:#?}");
    }
    let mut run = Run::new(rules, random, traces);
    let end = run.net.now() + RUN;
    run.run_until(end);
    run.finish()
}

impl Run {
    pub fn new(rules: Rules, mut random: Random, traces: bool) -> Run {
        let net = Net::new(random.draw(), rules.weather.clone());
        net.keep_departures();
        let library = Arc::new(MemoryLibrary::new(1_400));
        let streams = SimStreams::new(Presentation::default(), rules.streams.clone(), random.fork());
        streams.claims().set(rules.policy, rules.claim_delay);
        let streams = Arc::new(streams);
        let client_ports = Arc::new(ClientPorts::default());
        let drivers: Vec<_> = (0..rules.shards).map(|_| net.driver()).collect();
        let (inboxes, outsides): (Vec<_>, Vec<Outside>) =
            drivers.iter().enumerate().map(|(index, d)| Inbox::new(index as u16, d.waker())).unzip();
        let mut shards = Vec::new();
        for ((index, driver), inbox) in drivers.into_iter().enumerate().zip(inboxes) {
            let ports = Ports {
                driver: Tapped::new(Box::new(driver)),
                library: library.clone(),
                catalog: streams.clone(),
                names: Arc::new(NoNames),
                inbox,
                shards: outsides.clone(),
                client_ports: client_ports.clone(),
                random: StdRng::seed_from_u64(random.draw()),
            };
            shards.push(Shard::new(index as u16, rules.settings.clone(), ports).expect("it listens"));
        }
        let mut run = Run {
            stalled: vec![None; shards.len()],
            next_stall: (!rules.stall.is_zero()).then(|| Time::from_millis(3_000)),
            histories: vec![History::default(); rules.paths],
            publishers: Vec::new(),
            viewers: Vec::new(),
            ledger: Ledger::default(),
            random,
            net,
            shards,
            streams,
            hasher: DefaultHasher::new(),
            faults: Counts::new(),
            rules,
            traces,
        };
        let (mut publishers, mut viewers) = (run.random.fork(), run.random.fork());
        let world = run.world();
        let count = world.rules.publishers as u32;
        let made = (0..count).map(|index| Publisher::new(index, &world, publishers.fork())).collect();
        let watching = count..count + world.rules.viewers as u32;
        let watching = watching.map(|index| Viewer::new(index, &world, viewers.fork())).collect();
        (run.publishers, run.viewers) = (made, watching);
        run
    }

    pub fn world(&self) -> World<'_> {
        let (rules, net, streams) = (&self.rules, &self.net, &*self.streams);
        World { now: net.now(), rules, net, streams, traces: self.traces }
    }

    /// Lets everything happen up to a time.
    pub fn run_until(&mut self, end: Time) {
        let mut turns = 0;
        loop {
            let now = self.net.now();
            self.stall(now);
            let mut is_busy = self.turn_shards(now);
            is_busy |= self.step_everyone(now);
            self.streams.step(now, self.rules.wall(now));
            if is_busy {
                turns += 1;
                assert!(turns < TURNS_MAX, "something runs in a circle at {}", seconds(now));
                continue;
            }
            turns = 0;
            let next = self.next_time();
            if next > end {
                self.net.advance_to(end);
                return;
            }
            self.net.advance_to(next.max(now + Duration::from_nanos(1)));
        }
    }

    fn next_time(&self) -> Time {
        let shards = (0..self.shards.len()).filter_map(|host| {
            let due = if self.net.wants_turn(host) { Some(self.net.now()) } else { self.net.turn_due(host) };
            self.stalled[host].or(due)
        });
        let publishers = self.publishers.iter().filter_map(Publisher::due);
        let viewers = self.viewers.iter().filter_map(Viewer::due);
        let others = [self.net.next_arrival(), self.streams.due(), self.next_stall];
        let all = shards.chain(publishers).chain(viewers).chain(others.into_iter().flatten());
        all.min().unwrap_or(Time::from_nanos(u64::MAX))
    }

    fn stall(&mut self, now: Time) {
        for stalled in &mut self.stalled {
            if stalled.is_some_and(|until| until <= now) {
                *stalled = None;
            }
        }
        if self.next_stall.is_some_and(|at| at <= now) {
            let host = self.random.below(self.shards.len());
            self.stalled[host] = Some(now + self.rules.stall.mul_f64(self.random.fraction()));
            self.next_stall = Some(now + Duration::from_millis(self.random.within(1_000..6_000) as u64));
            *self.faults.entry(Kind::ShardStoodStill).or_default() += 1;
        }
    }

    /// One turn of each shard that has something to do, in any order.
    fn turn_shards(&mut self, now: Time) -> bool {
        let count = self.shards.len();
        let first = self.random.below(count);
        let mut is_busy = false;
        for host in (0..count).map(|step| (first + step) % count) {
            if self.stalled[host].is_some() || !self.net.wants_turn(host) {
                continue;
            }
            assert!(self.shards[host].turn().expect("the driver works"), "shard {host} stops");
            is_busy = true;
            self.judge(now);
        }
        is_busy
    }

    /// Has everything judged that shards have just sent.
    fn judge(&mut self, now: Time) {
        for departure in self.net.take_departures() {
            self.note(now, &departure);
            let (rules, net, streams) = (&self.rules, &self.net, &*self.streams);
            let world = World { now, rules, net, streams, traces: self.traces };
            let (ledger, histories) = (&mut self.ledger, &mut self.histories[..]);
            let is_of = |address, wire| match &departure {
                Departure::Datagram { to, .. } => to.ip() == address,
                Departure::Bytes { wire: other, .. } | Departure::Close { wire: other } => {
                    wire == Some(*other)
                }
            };
            let wire = |caller: &super::caller::Caller| caller.line.as_ref().map(|line| line.wire);
            for publisher in &mut self.publishers {
                if is_of(publisher.caller.address, wire(&publisher.caller)) {
                    let taken = publisher.take(&world, &departure, ledger, histories);
                    taken.unwrap_or_else(|fault| blame(now, &publisher.caller, &fault));
                }
            }
            for viewer in &mut self.viewers {
                if is_of(viewer.caller.address, wire(&viewer.caller)) {
                    let taken = viewer.take(&world, &departure, ledger, histories);
                    taken.unwrap_or_else(|fault| blame(now, &viewer.caller, &fault));
                }
            }
        }
    }

    fn step_everyone(&mut self, now: Time) -> bool {
        let count = self.publishers.len();
        let is_due = |due: Option<Time>| due.is_some_and(|at| at <= now);
        let mut due: Vec<_> = (0..count).filter(|index| is_due(self.publishers[*index].due())).collect();
        let viewers = (0..self.viewers.len()).filter(|index| is_due(self.viewers[*index].due()));
        due.extend(viewers.map(|index| index + count));
        while let Some(peer) = self.net.next_touched() {
            due.push(peer as usize);
        }
        let (rules, net, streams) = (&self.rules, &self.net, &*self.streams);
        let world = World { now, rules, net, streams, traces: self.traces };
        let (ledger, histories) = (&mut self.ledger, &mut self.histories[..]);
        for index in &due {
            match index.checked_sub(count) {
                None => {
                    let publisher = &mut self.publishers[*index];
                    let stepped = publisher.step(&world, ledger, histories);
                    stepped.unwrap_or_else(|fault| blame(now, &publisher.caller, &fault));
                }
                Some(index) => {
                    let viewer = &mut self.viewers[index];
                    let stepped = viewer.step(&world, ledger, histories);
                    stepped.unwrap_or_else(|fault| blame(now, &viewer.caller, &fault));
                }
            }
        }
        !due.is_empty()
    }

    fn note(&mut self, now: Time, departure: &Departure) {
        now.hash(&mut self.hasher);
        match departure {
            Departure::Datagram { to, bytes, .. } => (to, bytes).hash(&mut self.hasher),
            Departure::Bytes { bytes, .. } => bytes.hash(&mut self.hasher),
            Departure::Close { .. } => 0.hash(&mut self.hasher),
        }
        if self.traces {
            trace(now, departure);
        }
    }

    /// Everyone goes away; then nothing may be left.
    pub fn finish(mut self) -> Outcome {
        let (rules, net, streams) = (&self.rules, &self.net, &*self.streams);
        let world = World { now: net.now(), rules, net, streams, traces: self.traces };
        self.viewers.iter_mut().for_each(|viewer| viewer.end(&world));
        self.publishers.iter_mut().for_each(|publisher| publisher.end(&world, &mut self.histories));
        for viewer in &self.viewers {
            for watch in &viewer.watches {
                let whole = watch.check_whole(&self.ledger);
                whole.unwrap_or_else(|fault| blame(net.now(), &viewer.caller, &fault));
            }
        }
        let callers = || {
            let publishers = self.publishers.iter().map(|publisher| &publisher.caller);
            publishers.chain(self.viewers.iter().map(|viewer| &viewer.caller))
        };
        callers().flat_map(|caller| &caller.left).for_each(|wire| net.reset(*wire));
        let limit =
            self.rules.settings.session_timeout + self.rules.settings.source_grace + Duration::from_secs(60);
        let limit = self.net.now() + limit;
        let keeps = |shard: &Shard| shard.census() != Census::default();
        loop {
            self.run_until(self.net.now() + Duration::from_secs(2));
            if self.net.now() > limit || !self.shards.iter().any(keeps) {
                break;
            }
        }
        // The last questions are answered.
        self.run_until(self.net.now() + Duration::from_secs(1));
        for (index, shard) in self.shards.iter().enumerate() {
            assert_eq!(shard.census(), Census::default(), "shard {index} keeps something");
        }
        // Two for all viewers of a shard; those of publishers are closed with them.
        let (most, open) = (2 * self.shards.len(), self.net.sockets_of_drivers());
        assert!(open <= most, "{open} sockets are open");
        for path in 0..self.rules.paths {
            assert!(!self.streams.claims().has(&url(path)[17..]), "the path {path} is still published to");
        }
        self.outcome()
    }

    fn outcome(mut self) -> Outcome {
        let net = self.net.counts();
        let watches = || self.viewers.iter().flat_map(|viewer| &viewer.watches);
        let found = [
            (Kind::DatagramLost, net.lost),
            (Kind::DatagramDoubled, net.duplicated),
            (Kind::DatagramsReordered, net.reordered),
            (Kind::TransferHeldUp, net.delayed),
            (Kind::TransferSplit, net.split),
            (Kind::SendWaited, net.waited),
            (Kind::AcceptRefused, net.refused),
            (Kind::InboxFull, self.streams.dropped()),
            (Kind::ViewerShed, watches().map(|watch| watch.shed).sum()),
        ];
        let publishers = self.publishers.iter().flat_map(|publisher| publisher.counts.clone());
        let own = publishers.chain(self.viewers.iter().flat_map(|viewer| viewer.counts.clone()));
        for (kind, count) in found.into_iter().chain(own) {
            *self.faults.entry(kind).or_default() += count;
        }
        Outcome {
            hash: self.hasher.finish(),
            replies: self.ledger.sources.len() as u64,
            packets: watches().map(|watch| watch.packets).sum(),
            sessions: watches().count() as u64,
            faults: self.faults,
        }
    }
}

fn blame(now: Time, caller: &super::caller::Caller, fault: &str) -> ! {
    panic!("at {}, {}: {fault}", seconds(now), caller.address);
}
