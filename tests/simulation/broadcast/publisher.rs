//! One publisher: it announces, sets up, records and sends, and what goes wrong on its side follows from its random
//! numbers.

use std::net::SocketAddr;
use std::time::Duration;

use proto::rtcp::write;
use proto::rtp::reorder::HELD_MAX;
use proto::rtsp::headers::transport::Transport;
use proto::time::Time;
use ringcaster::driver::sim::{Departure, Random};

use super::super::dialogue::{Item, Response};
use super::super::faults::{Counts, Kind};
use super::super::flow::Fault;
use super::super::session::{Over, seconds};
use super::caller::{Caller, Leaving, Ports, World};
use super::history::{Deed, History};
use super::ledger::Ledger;
use super::source::{LAYOUTS, Source, Style, description};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// How far a publisher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It does nothing until then.
    Away(Time),
    Announcing,
    SettingUp,
    Starting,
    Sending,
    /// PAUSE was asked.
    Pausing,
    /// Until then.
    Paused(Time),
    /// TEARDOWN was asked.
    Leaving,
}

/// How a track goes to the server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Channels(u8, u8),
    Ports { own: Ports, media: SocketAddr, reports: SocketAddr },
}

/// A publisher.
#[derive(Debug)]
pub struct Publisher {
    pub caller: Caller,
    pub counts: Counts,
    pub path: usize,
    pub(super) random: Random,
    pub(super) over: Over,
    pub(super) layout: usize,
    pub(super) stage: Stage,
    pub(super) session: String,
    pub(super) ways: Vec<Way>,
    pub(super) source: Option<Source>,
    pub(super) style: Style,
    /// Nothing leaves before this time.
    pub(super) held_until: Option<Time>,
    /// Whether what was held back leaves then; else it is left out.
    pub(super) keeps_held: bool,
    /// How many of the next packets are left out by the source.
    pub(super) leaves_out: u32,
    pub(super) mishap_at: Time,
    /// When it comes back; None as it pleases.
    pub(super) away: Option<Duration>,
    report_at: Option<Time>,
    alive_at: Time,
    drifts: Option<[f64; 2]>,
    /// Ports of SETUPs that are not answered.
    said: Option<Ports>,
    /// Whether anything may still be done.
    pub is_done: bool,
}

/// Paths that are published to.
pub fn url(path: usize) -> String {
    format!("rtsp://192.0.2.1/cam{path}")
}

impl Publisher {
    pub fn new(index: u32, world: &World<'_>, mut random: Random) -> Publisher {
        let starts = MS(random.below(if index == 0 { 500 } else { 15_000 }) as u64);
        let style = Style::draw(&mut random);
        Publisher {
            caller: Caller::new(index),
            counts: Counts::new(),
            path: random.below(world.rules.paths),
            over: if random.chance(0.5) { Over::Tcp } else { Over::Udp },
            layout: 0,
            stage: Stage::Away(world.now + starts),
            session: String::new(),
            ways: Vec::new(),
            source: None,
            style,
            held_until: None,
            keeps_held: false,
            leaves_out: 0,
            mishap_at: Time::ZERO,
            away: None,
            report_at: None,
            alive_at: Time::ZERO,
            drifts: None,
            said: None,
            is_done: false,
            random,
        }
    }

    pub(super) fn fired(&mut self, kind: Kind) {
        *self.counts.entry(kind).or_default() += 1;
    }

    /// When it does something next.
    pub fn due(&self) -> Option<Time> {
        if self.is_done {
            return None;
        }
        match self.stage {
            Stage::Away(until) => Some(until),
            Stage::Sending | Stage::Pausing | Stage::Paused(_) => {
                let source = self.source.as_ref().map(|source| source.next().0);
                let media = self.held_until.or(source);
                let report = self.report_at.filter(|_| self.held_until.is_none());
                let pause = match self.stage {
                    Stage::Paused(until) if self.caller.asked.is_none() => Some(until),
                    _ => None,
                };
                let own = [media, report, Some(self.mishap_at), Some(self.alive_at), pause];
                own.into_iter().flatten().min()
            }
            _ => None,
        }
    }

    pub fn step(
        &mut self,
        world: &World<'_>,
        ledger: &mut Ledger,
        histories: &mut [History],
    ) -> Result<(), Fault> {
        self.caller.read(world, usize::MAX);
        for way in &self.ways {
            if let Way::Ports { own, .. } = way {
                while world.net.receive(own.rtcp).is_some() {}
            }
        }
        if self.is_done {
            return Ok(());
        }
        let has_lost_line = self.caller.line.is_some() && !self.caller.is_connected(world);
        if has_lost_line {
            self.closed(world, histories);
        }
        let is_owner = histories[self.path].owner() == Some(self.caller.peer);
        if self.stage == Stage::Sending && self.caller.line.is_none() && !is_owner {
            // Nobody could tell it that another has taken over.
            self.lose(world, histories, Leaving::Vanishes);
        }
        match self.stage {
            Stage::Away(until) if until <= world.now => self.announce(world, histories),
            Stage::Sending | Stage::Pausing | Stage::Paused(_) => self.go_on(world, ledger, histories),
            _ => {}
        }
        Ok(())
    }

    /// Takes what the server sends to it.
    pub fn take(
        &mut self,
        world: &World<'_>,
        departure: &Departure,
        ledger: &mut Ledger,
        histories: &mut [History],
    ) -> Result<(), Fault> {
        let Departure::Bytes { wire, bytes } = departure else { return Ok(()) };
        for item in self.caller.take(*wire, bytes)? {
            if let Item::Response(response) = item {
                self.answered(world, &response, ledger, histories)?;
            }
        }
        Ok(())
    }

    /// It sends pictures of this style and sound, reports, and its clocks run faster than ours by so much: that of its
    /// reports, and that of its sound against it.
    pub fn drift(&mut self, style: Style, [pace, sound]: [f64; 2]) {
        self.style = style;
        self.drifts = Some([1.0 + pace, 1.0 + sound]);
    }

    /// Goes away for good.
    pub fn end(&mut self, world: &World<'_>, histories: &mut [History]) {
        self.lose(world, histories, Leaving::Finishes);
        self.is_done = true;
    }

    fn announce(&mut self, world: &World<'_>, histories: &mut [History]) {
        let history = &mut histories[self.path];
        self.source = None;
        self.ways.clear();
        self.over = if self.random.chance(0.5) { Over::Tcp } else { Over::Udp };
        let usual = history.last_layout().unwrap_or(self.random.below(LAYOUTS.len()));
        self.layout = if self.random.chance(0.8) { usual } else { self.random.below(LAYOUTS.len()) };
        if self.drifts.is_some() {
            self.layout = 0;
        }
        if let Some(left) = history.left() {
            let is_back = world.now.since(left) < world.rules.settings.source_grace;
            let kind = if is_back { Kind::PublisherBackInGrace } else { Kind::PublisherBackLate };
            self.fired(kind);
        }
        if history.owner().is_some_and(|owner| owner != self.caller.peer) {
            let is_same = history.last_layout() == Some(self.layout);
            self.fired(if is_same { Kind::RepublishedAlike } else { Kind::RepublishedOtherwise });
        }
        histories[self.path].note(world.now, self.caller.peer, Deed::Asks { layout: self.layout });
        if !self.caller.is_connected(world) {
            self.caller.connect(world);
        }
        self.caller.ask(world, "ANNOUNCE", &url(self.path), &[], &description(self.layout));
        self.stage = Stage::Announcing;
    }

    fn set_up(&mut self, world: &World<'_>) {
        let index = self.ways.len();
        let transport = match self.over {
            Over::Tcp => {
                format!("RTP/AVP/TCP;unicast;interleaved={}-{};mode=record", 2 * index, 2 * index + 1)
            }
            Over::Udp => {
                let ports = self.caller.ports(world);
                self.said = Some(ports);
                let port = ports.rtp.port();
                format!("RTP/AVP;unicast;client_port={port}-{};mode=record", port + 1)
            }
        };
        let track = format!("{}/track{index}", url(self.path));
        let session = self.session.clone();
        self.caller.ask(world, "SETUP", &track, &[("Transport", &transport), ("Session", &session)], "");
        self.stage = Stage::SettingUp;
    }

    fn answered(
        &mut self,
        world: &World<'_>,
        response: &Response,
        ledger: &mut Ledger,
        histories: &mut [History],
    ) -> Result<(), Fault> {
        let asked = self.caller.answered(response)?;
        let history = &mut histories[self.path];
        let is_owner = history.owner() == Some(self.caller.peer);
        match (asked.method, response.status) {
            ("ANNOUNCE", 200) => {
                if history.must_refuse(world.rules, self.caller.peer, asked.at) {
                    return Err("the path is another's, and on_republish is refuse".into());
                }
                history.note(world.now, self.caller.peer, Deed::Granted { layout: self.layout });
                self.session.clear();
                if self.random.chance(0.05) {
                    self.fired(Kind::PublisherNeverBegan);
                    self.lose(world, histories, Leaving::Finishes);
                } else {
                    self.set_up(world);
                }
            }
            ("ANNOUNCE", 403) if history.may_refuse(world.rules, asked.at) => {
                self.fired(Kind::PublisherRefused);
                history.note(world.now, self.caller.peer, Deed::Refused);
                self.stage = Stage::Away(world.now + self.random.time(&(MS(500)..MS(4_000))));
            }
            ("SETUP", 200) => self.granted(world, response)?,
            ("RECORD", 200) => self.recorded(world, ledger, histories),
            ("PAUSE", 200) => {
                let until = world.now + self.random.time(&(MS(100)..MS(2_500)));
                self.stage = Stage::Paused(until);
            }
            ("TEARDOWN", 200 | 454) => {
                let at_once = self.random.chance(0.5);
                let wait = if at_once { Duration::ZERO } else { self.random.time(&(MS(0)..MS(4_000))) };
                if !at_once {
                    self.caller.leave(world, Leaving::Finishes);
                }
                self.forget(world);
                self.stage = Stage::Away(world.now + wait);
            }
            ("GET_PARAMETER", 200) => {}
            // Another one has taken the path: nothing of this one is there any more.
            (_, 403 | 454 | 455 | 459 | 461 | 400) if !is_owner => {
                self.lose(world, histories, Leaving::Finishes)
            }
            _ => return Err(format!("{asked:?} of a publisher is answered {response:?}")),
        }
        Ok(())
    }

    fn granted(&mut self, world: &World<'_>, response: &Response) -> Result<(), Fault> {
        let session = response.header("Session").ok_or("SETUP without a session")?;
        self.session = session.split(';').next().unwrap_or_default().to_owned();
        let transport = response.header("Transport").and_then(Transport::parse).ok_or("no transport")?;
        let way = match (self.over, transport.interleaved, transport.server_port) {
            (Over::Tcp, Some(pair), None) => Way::Channels(pair.rtp, pair.rtcp.ok_or("one channel")?),
            (Over::Udp, None, Some(pair)) => {
                let theirs = |port| SocketAddr::new(world.rules.server().ip(), port);
                Way::Ports {
                    own: self.said.take().ok_or("no ports were said")?,
                    media: theirs(pair.rtp),
                    reports: theirs(pair.rtcp.ok_or("one port")?),
                }
            }
            _ => return Err(format!("another transport was granted: {response:?}")),
        };
        self.ways.push(way);
        if self.ways.len() < LAYOUTS[self.layout].len() {
            self.set_up(world);
        } else {
            let session = self.session.clone();
            self.caller.ask(world, "RECORD", &url(self.path), &[("Session", &session)], "");
            self.stage = Stage::Starting;
        }
        Ok(())
    }

    fn recorded(&mut self, world: &World<'_>, ledger: &mut Ledger, histories: &mut [History]) {
        // The reply has to travel before it can be obeyed.
        let heard = world.now + world.rules.weather.latency.start;
        match &mut self.source {
            Some(source) => source.skip_to(heard),
            None => {
                histories[self.path].note(world.now, self.caller.peer, Deed::Records);
                self.style =
                    if self.random.chance(0.3) { Style::draw(&mut self.random) } else { self.style.clone() };
                let number = ledger.begin(self.path, self.layout, &self.style);
                let mut source =
                    Source::new(number, self.layout, self.style.clone(), heard, &mut self.random);
                if self.over == Over::Udp {
                    source.packets_max = HELD_MAX - 4;
                    source.begin_anew(heard + world.rules.jitter());
                }
                if let Some([pace, sound]) = self.drifts {
                    source.pace = pace;
                    source.tracks.iter_mut().skip(1).for_each(|track| track.drift = sound);
                }
                self.source = Some(source);
                self.report_at = (self.drifts.is_some() || self.random.chance(0.8)).then_some(heard);
            }
        }
        self.stage = Stage::Sending;
        // Once everything flows.
        self.mishap_at = world.now + MS(800) + world.rules.calm.mul_f64(2.0 * self.random.fraction());
        self.alive_at = world.now + MS(1_000);
    }

    fn go_on(&mut self, world: &World<'_>, ledger: &mut Ledger, histories: &mut [History]) {
        let now = world.now;
        if let Stage::Paused(until) = self.stage
            && until <= now
            && self.caller.asked.is_none()
        {
            let session = self.session.clone();
            self.caller.ask(world, "RECORD", &url(self.path), &[("Session", &session)], "");
            self.stage = Stage::Starting;
            return;
        }
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
            if let (Some(source), false) = (&mut self.source, self.keeps_held) {
                source.skip_to(now);
            }
        }
        if self.held_until.is_none() {
            self.send(world, ledger);
            self.send_reports(world, ledger);
        }
        if self.alive_at <= now {
            self.alive_at = now + MS(1_000);
            if self.caller.asked.is_none() && self.caller.line.is_some() {
                let session = self.session.clone();
                self.caller.ask(world, "GET_PARAMETER", &url(self.path), &[("Session", &session)], "");
            }
        }
        if self.mishap_at <= now {
            self.mishap_at = now + world.rules.calm.mul_f64(2.0 * self.random.fraction());
            if self.stage == Stage::Sending && self.held_until.is_none() && self.caller.asked.is_none() {
                let before = self.counts.clone();
                self.misfortune(world, ledger, histories);
                if world.traces {
                    let happened = self.counts.iter().filter(|(kind, count)| before.get(kind) != Some(count));
                    let happened: Vec<_> = happened.map(|(kind, _)| kind).collect();
                    println!("{} {} meets {happened:?}", seconds(now), self.caller.peer);
                }
            }
        }
    }

    fn send(&mut self, world: &World<'_>, ledger: &mut Ledger) {
        let Some(source) = &mut self.source else { return };
        let rules = world.rules;
        let mut wraps = Vec::new();
        while let (due, index) = source.next()
            && due <= world.now
        {
            let before = source.tracks[index].clone();
            let packets = source.take(world.now, index);
            let after = &source.tracks[index];
            wraps.extend((after.sequence < before.sequence).then_some(Kind::SequenceWrapped));
            let stamps = packets.last().map(|packet| packet.header.timestamp);
            let early = before.timestamp(packets.first().map_or(0, |packet| packet.media) - 200_000_000);
            wraps.extend(stamps.filter(|stamp| *stamp < early).map(|_| Kind::TimestampWrapped));
            for packet in packets {
                let mut may_lack = self.stage != Stage::Sending;
                if self.leaves_out > 0 {
                    self.leaves_out -= 1;
                    may_lack = true;
                } else {
                    match self.ways[index] {
                        Way::Channels(rtp, _) => self.caller.frame(world, rtp, &packet.bytes),
                        Way::Ports { own, media, .. } => {
                            let is_lost = world.net.send_to(own.rtp, media, packet.bytes.clone());
                            // A burst may be more than is put in order.
                            may_lack |= is_lost || rules.is_disorderly() || packet.lag > MS(100);
                        }
                    }
                }
                let track = &source.tracks[index];
                may_lack |= track.is_new_until.is_some_and(|until| world.now < until);
                ledger.sent(world.now, &packet, track.run, track.epoch, may_lack);
            }
        }
        wraps.into_iter().for_each(|kind| self.fired(kind));
    }

    /// Tells where its clocks stand, of all tracks at once.
    fn send_reports(&mut self, world: &World<'_>, ledger: &mut Ledger) {
        let Some(source) = self.source.as_ref().filter(|_| self.report_at.is_some_and(|at| at <= world.now))
        else {
            return;
        };
        for (index, way) in self.ways.iter().enumerate() {
            let info = source.report(world.now, world.rules.wall(world.now), index);
            let mut bytes = bytes::BytesMut::new();
            write::sender_report(&mut bytes, &info, "source");
            let is_lost = match way {
                Way::Channels(_, rtcp) => {
                    self.caller.frame(world, *rtcp, &bytes);
                    false
                }
                Way::Ports { own, reports, .. } => world.net.send_to(own.rtcp, *reports, bytes.freeze()),
            };
            // It must not come before the packets that it is about.
            let changed = source.tracks[index].changed;
            let is_new = changed.is_some_and(|at| world.now < at + world.rules.jitter() + MS(250));
            let settled = &mut ledger.sources[usize::from(source.number)].settled[index];
            if !is_lost && !is_new {
                settled.get_or_insert(world.now);
            }
        }
        self.report_at = Some(world.now + self.random.time(&(MS(500)..MS(2_000))));
    }

    /// The server has closed the connection.
    fn closed(&mut self, world: &World<'_>, histories: &mut [History]) {
        self.lose(world, histories, Leaving::Finishes);
    }

    /// Goes away without a goodbye, to come back some time.
    pub(super) fn lose(&mut self, world: &World<'_>, histories: &mut [History], how: Leaving) {
        let is_udp = self.over == Over::Udp && self.stage != Stage::Announcing;
        let notice = History::notice(world.rules, how == Leaving::Vanishes, is_udp);
        histories[self.path].note(world.now, self.caller.peer, Deed::Leaves { notice });
        self.caller.leave(world, how);
        self.forget(world);
        let away = self.away.take().unwrap_or(self.random.time(&(MS(200)..MS(6_000))));
        self.stage = Stage::Away(world.now + away);
    }

    fn forget(&mut self, world: &World<'_>) {
        for way in self.ways.drain(..) {
            if let Way::Ports { own, .. } = way {
                world.net.unbind(own.rtp);
                world.net.unbind(own.rtcp);
            }
        }
        (self.source, self.held_until, self.leaves_out, self.report_at) = (None, None, 0, None);
    }
}
