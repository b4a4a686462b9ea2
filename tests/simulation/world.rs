//! One seed from its beginning to its end: shards, players, library, stream and network under one clock.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use proto::io::Driver;
use proto::time::Time;
use rand::SeedableRng;
use rand::rngs::StdRng;
use ringcaster::driver::sim::{Departure, Net, Random};
use ringcaster::media::memory::MemoryLibrary;
use ringcaster::shard::inbox::{Inbox, Message, Outside};
use ringcaster::shard::names::{AddressesReply, Names};
use ringcaster::shard::{Census, ClientPorts, Ports, Shard, Tapped};

use super::faults::{Counts, Kind};
use super::library::SlowLibrary;
use super::player::{self, Player};
use super::rules::{RUN, Rules};
use super::session::{Over, State, seconds};
use super::streams::SimStreams;

/// Turns without a step of the clock after which a shard is taken to run in a circle.
const TURNS_MAX: usize = 20_000;

/// What a seed came to.
#[derive(Debug)]
pub struct Outcome {
    /// Of everything that the server sent, when and to whom.
    pub hash: u64,
    pub faults: Counts,
    pub replies: u64,
    pub packets: u64,
    pub sessions: u64,
}

struct Run {
    rules: Rules,
    random: Random,
    net: Net,
    shards: Vec<Option<Shard>>,
    outsides: Vec<Outside>,
    stalled: Vec<Option<Time>>,
    next_stall: Option<Time>,
    players: Vec<Player>,
    library: Arc<SlowLibrary>,
    streams: Arc<SimStreams>,
    client_ports: Arc<ClientPorts>,
    is_stopping: bool,
    hasher: DefaultHasher,
    faults: Counts,
    traces: bool,
}

/// Plays one seed. Whatever is wrong is a panic that names the time and the player.
pub fn play(seed: u64, traces: bool) -> Outcome {
    let mut run = Run::new(seed, traces);
    let end = run.net.now() + RUN;
    run.run_until(end);
    run.finish()
}

impl Run {
    fn new(seed: u64, traces: bool) -> Run {
        let mut random = Random::new(seed);
        let rules = Rules::draw(&mut random);
        if traces {
            println!("{rules:#?}");
        }
        let net = Net::new(random.draw(), rules.weather.clone());
        net.keep_departures();
        let inner = MemoryLibrary::new(1_400);
        for (name, content) in &rules.files {
            inner.add(name, content.presentation.clone());
        }
        let library = Arc::new(SlowLibrary::new(inner, rules.library.clone(), random.fork()));
        let streams = SimStreams::new(rules.live.presentation.clone(), rules.streams.clone(), random.fork());
        let streams = Arc::new(streams);
        let client_ports = Arc::new(ClientPorts::default());
        let drivers: Vec<_> = (0..rules.shards).map(|_| net.driver()).collect();
        let (inboxes, outsides): (Vec<_>, Vec<_>) =
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
            shards.push(Some(Shard::new(index as u16, rules.settings.clone(), ports).expect("it listens")));
        }
        let players = (0..rules.players).map(|id| Player::new(id as u32, &rules, random.fork())).collect();
        let next_stall = (!rules.stall.is_zero()).then(|| Time::from_millis(3_000));
        Run {
            stalled: vec![None; shards.len()],
            next_stall,
            random,
            net,
            shards,
            outsides,
            players,
            library,
            streams,
            client_ports,
            is_stopping: false,
            hasher: DefaultHasher::new(),
            faults: Counts::new(),
            rules,
            traces,
        }
    }

    /// Lets everything happen up to a time.
    fn run_until(&mut self, end: Time) {
        let mut turns = 0;
        loop {
            let now = self.net.now();
            self.stall(now);
            let mut is_busy = self.turn_shards(now);
            is_busy |= self.step_players(now);
            self.library.step(now);
            self.streams.step(now, self.rules.wall(now));
            if is_busy {
                turns += 1;
                assert!(turns < TURNS_MAX, "a shard runs in a circle at {}", seconds(now));
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
        let shards = (0..self.shards.len()).filter(|host| self.shards[*host].is_some()).filter_map(|host| {
            let due = if self.net.wants_turn(host) { Some(self.net.now()) } else { self.net.turn_due(host) };
            self.stalled[host].or(due)
        });
        let players = self.players.iter().map(Player::due);
        let others = [self.net.next_arrival(), self.library.due(), self.streams.due(), self.next_stall];
        shards.chain(players).chain(others.into_iter().flatten()).min().unwrap_or(Time::from_nanos(u64::MAX))
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
            self.next_stall = Some(now + Duration::from_millis(self.random.within(1_000..9_000) as u64));
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
            let Some(shard) = &mut self.shards[host] else { continue };
            let goes_on = shard.turn().expect("the driver works");
            is_busy = true;
            if !goes_on {
                assert!(self.is_stopping, "shard {host} stops at {}", seconds(now));
                self.shards[host] = None;
            }
            self.judge(now);
        }
        is_busy
    }

    /// Has everything judged that shards have just sent.
    fn judge(&mut self, now: Time) {
        for departure in self.net.take_departures() {
            self.note(now, &departure);
            let player = match &departure {
                Departure::Datagram { to, .. } => self.players.iter().position(|p| p.address == to.ip()),
                Departure::Bytes { wire, .. } | Departure::Close { wire } => {
                    self.players.iter().position(|player| player.has(*wire))
                }
            };
            let Some(player) = player else { continue };
            let world = player::World {
                now,
                rules: &self.rules,
                streams: &self.streams,
                net: &self.net,
                is_stopping: self.is_stopping,
                traces: self.traces,
            };
            let player = &mut self.players[player];
            if let Err(fault) = player.take(&world, &departure) {
                blame(player, now, &fault);
            }
        }
    }

    fn step_players(&mut self, now: Time) -> bool {
        let mut due: Vec<_> = (0..self.players.len()).filter(|id| self.players[*id].due() <= now).collect();
        while let Some(id) = self.net.next_touched() {
            due.push(id as usize);
        }
        let world = player::World {
            now,
            rules: &self.rules,
            streams: &self.streams,
            net: &self.net,
            is_stopping: self.is_stopping,
            traces: self.traces,
        };
        for id in &due {
            let player = &mut self.players[*id];
            let stepped = if player.is_leaving {
                player.drain(&world);
                Ok(())
            } else {
                player.step(&world)
            };
            if let Err(fault) = stepped {
                blame(player, now, &fault);
            }
        }
        !due.is_empty()
    }

    fn note(&mut self, now: Time, departure: &Departure) {
        let hasher = &mut self.hasher;
        now.hash(hasher);
        match departure {
            Departure::Datagram { from, to, bytes, is_lost } => {
                (from, to, is_lost, bytes.len(), &bytes[..bytes.len().min(16)]).hash(hasher);
            }
            Departure::Bytes { bytes, .. } => (bytes.len(), &bytes[..bytes.len().min(300)]).hash(hasher),
            Departure::Close { .. } => 0.hash(hasher),
        }
        if self.traces {
            trace(now, departure);
        }
    }

    /// Everyone goes away, or the server stops; then nothing may be left.
    fn finish(mut self) -> Outcome {
        if self.rules.ends_by_shutdown {
            self.shut_down();
        } else {
            self.empty();
        }
        for player in &self.players {
            for address in &player.addresses {
                assert!(self.client_ports.is_free(*address), "{address} is claimed by nobody");
            }
        }
        self.outcome()
    }

    fn shut_down(&mut self) {
        self.is_stopping = true;
        let mut playing = 0;
        for player in &mut self.players {
            for session in &mut player.sessions {
                let is_on = session.state == State::Playing && session.ended.is_none();
                playing += u64::from(is_on && session.packets > 0);
                session.may_end = true;
            }
        }
        *self.faults.entry(Kind::ShutdownWhilePlaying).or_default() += playing;
        for outside in &self.outsides {
            outside.send(Message::Shutdown);
        }
        let limit = self.rules.settings.shutdown + self.rules.stall + Duration::from_millis(100);
        self.run_until(self.net.now() + limit);
        for (index, shard) in self.shards.iter().enumerate() {
            assert!(shard.is_none(), "shard {index} does not stop");
        }
        self.check_goodbyes();
    }

    /// Everyone who could hear it was told that it is over.
    fn check_goodbyes(&self) {
        for player in &self.players {
            for session in &player.sessions {
                // A PLAY without an answer leaves it open what belonged to it.
                let missing = session.held.is_empty()
                    && session.tracks.iter().any(|(t, _)| t.sent.0 > 0 && !t.said_bye);
                let is_heard = session.over == Over::Udp || (session.is_calm && session.ended.is_none());
                let is_on = session.state == State::Playing;
                assert!(!(missing && is_heard && is_on), "player {}: no BYE: {session:?}", player.id);
            }
        }
    }

    fn run_while_something_is_kept(&mut self, limit: Time) {
        let keeps = |shard: &Shard| shard.census() != Census::default();
        while self.net.now() < limit && self.shards.iter().flatten().any(keeps) {
            self.run_until(self.net.now() + Duration::from_secs(5));
        }
    }

    fn empty(&mut self) {
        let now = self.net.now();
        let world = player::World {
            now,
            rules: &self.rules,
            streams: &self.streams,
            net: &self.net,
            is_stopping: false,
            traces: self.traces,
        };
        for player in &mut self.players {
            player.leave(&world);
        }
        // The longest life of what nobody speaks for: a session's, then its connection's. Only what is sent on a
        // connection that nobody reads may find room for longer, until the system finds out that the host is gone.
        let silence = self.rules.settings.session_timeout + Duration::from_secs(60 + 15);
        self.run_while_something_is_kept(now + silence);
        let addresses = |shard: &Option<Shard>| shard.as_ref().map_or(0, |shard| shard.census().addresses);
        assert_eq!(
            self.shards.iter().map(addresses).sum::<usize>(),
            0,
            "addresses of silent players are kept"
        );
        for line in self.players.iter().flat_map(|player| &player.lines) {
            self.net.reset(line.wire);
        }
        self.run_while_something_is_kept(self.net.now() + Duration::from_secs(15));
        self.check_goodbyes();
        for (index, shard) in self.shards.iter().enumerate() {
            let census = shard.as_ref().map(Shard::census);
            assert_eq!(census, Some(Census::default()), "shard {index} keeps something");
        }
    }

    fn outcome(mut self) -> Outcome {
        let net = self.net.counts();
        let (slow, failed, vanished) = self.library.counts();
        let (lost, refused) = self.streams.counts();
        let found = [
            (Kind::DatagramLost, net.lost),
            (Kind::DatagramUnreachable, net.unreachable),
            (Kind::DatagramDoubled, net.duplicated),
            (Kind::DatagramsReordered, net.reordered),
            (Kind::TransferHeldUp, net.delayed),
            (Kind::TransferSplit, net.split),
            (Kind::SendWaited, net.waited),
            (Kind::AcceptRefused, net.refused),
            (Kind::ConnectionMoved, net.moved),
            (Kind::LibrarySlow, slow),
            (Kind::LibraryFailed, failed),
            (Kind::FileVanished, vanished),
            (Kind::SourceLost, lost),
            (Kind::SourceRefused, refused),
            (Kind::InboxFull, self.streams.dropped()),
        ];
        let own = self.players.iter().flat_map(|player| player.counts.clone());
        for (kind, count) in found.into_iter().chain(own) {
            *self.faults.entry(kind).or_default() += count;
        }
        Outcome {
            hash: self.hasher.finish(),
            faults: self.faults,
            replies: self.players.iter().map(|player| player.replies).sum(),
            packets: self.players.iter().flat_map(|p| &p.sessions).map(|session| session.packets).sum(),
            sessions: self.players.iter().map(|player| player.sessions.len() as u64).sum(),
        }
    }
}

fn blame(player: &Player, now: Time, fault: &str) -> ! {
    let session = player.current.and_then(|place| player.sessions.get(place));
    let session = session.map(|session| (&session.name, session.over, session.state, session.play));
    panic!("at {}, player {} ({:?}, {session:?}): {fault}", seconds(now), player.id, player.habits);
}

pub fn trace(now: Time, departure: &Departure) {
    match departure {
        Departure::Datagram { from, to, bytes, is_lost } => {
            let head = &bytes[..bytes.len().min(12)];
            println!("{} {from} > {to} {} {head:02x?} lost: {is_lost}", seconds(now), bytes.len());
        }
        Departure::Bytes { wire, bytes } if bytes.starts_with(b"RTSP") => {
            println!("{} {wire:?} {}", seconds(now), String::from_utf8_lossy(bytes));
        }
        Departure::Bytes { wire, bytes } => {
            println!("{} {wire:?} {} {:02x?}", seconds(now), bytes.len(), &bytes[..bytes.len().min(16)]);
        }
        Departure::Close { wire } => println!("{} {wire:?} closed", seconds(now)),
    }
}

/// A network without names.
pub struct NoNames;

impl Names for NoNames {
    fn look_up(&self, host: &str, _: u16, reply: AddressesReply) {
        reply(Err(format!("{host} is not known here")));
    }
}
