//! One viewer of what is published: it comes and goes, pauses, reads slowly.

use std::net::SocketAddr;
use std::time::Duration;

use proto::rtsp::headers::rtp_info::RtpInfo;
use proto::rtsp::headers::transport::Transport;
use proto::time::Time;
use ringcaster::driver::sim::{Departure, Random};

use super::super::dialogue::{Item, Response};
use super::super::faults::{Counts, Kind};
use super::super::flow::Fault;
use super::super::session::{Over, seconds};
use super::caller::{Asked, Caller, Leaving, Ports, World};
use super::history::History;
use super::ledger::Ledger;
use super::publisher::url;
use super::source::LAYOUTS;
use super::watch::{Route, Track, Watch};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What a viewer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Away,
    Asking,
    SettingUp,
    Watching,
}

/// A viewer.
#[derive(Debug)]
pub struct Viewer {
    pub caller: Caller,
    pub counts: Counts,
    /// Everything that it watches or has watched.
    pub watches: Vec<Watch>,
    random: Random,
    over: Over,
    is_slow: bool,
    reads_at: Time,
    path: usize,
    layout: usize,
    stage: Stage,
    next_at: Time,
    said: Option<Ports>,
    described_at: Time,
    is_done: bool,
}

impl Viewer {
    pub fn new(index: u32, world: &World<'_>, mut random: Random) -> Viewer {
        Viewer {
            caller: Caller::new(index),
            counts: Counts::new(),
            watches: Vec::new(),
            over: if random.chance(0.5) { Over::Tcp } else { Over::Udp },
            is_slow: random.chance(0.2),
            reads_at: Time::ZERO,
            path: random.below(world.rules.paths),
            layout: 0,
            stage: Stage::Away,
            next_at: world.now + MS(random.below(8_000) as u64),
            said: None,
            described_at: Time::ZERO,
            is_done: false,
            random,
        }
    }

    fn fired(&mut self, kind: Kind) {
        *self.counts.entry(kind).or_default() += 1;
    }

    pub fn due(&self) -> Option<Time> {
        let reads =
            (self.is_slow && self.over == Over::Tcp && self.caller.line.is_some()).then_some(self.reads_at);
        [(!self.is_done).then_some(self.next_at), reads].into_iter().flatten().min()
    }

    pub fn step(&mut self, world: &World<'_>, ledger: &Ledger, histories: &[History]) -> Result<(), Fault> {
        self.read(world);
        if self.is_done || world.now < self.next_at {
            return Ok(());
        }
        if self.caller.line.is_some() && !self.caller.is_connected(world) {
            self.leave(world, Leaving::Finishes);
        }
        self.next_at = world.now + self.random.time(&(MS(50)..MS(400)));
        if let Some(asked) = &self.caller.asked {
            let patience = world.rules.lateness() + world.rules.settings.source_start + MS(2_500);
            if world.now > asked.at + patience && !(self.is_slow && self.over == Over::Tcp) {
                return Err(format!("no answer since {} to {asked:?}", seconds(asked.at)));
            }
            return Ok(());
        }
        match self.stage {
            Stage::Away => self.describe(world),
            Stage::Watching => self.watch(world, ledger, histories)?,
            Stage::Asking | Stage::SettingUp => {}
        }
        Ok(())
    }

    /// Takes what the server sends to it.
    pub fn take(
        &mut self,
        world: &World<'_>,
        departure: &Departure,
        ledger: &mut Ledger,
        histories: &[History],
    ) -> Result<(), Fault> {
        match departure {
            Departure::Datagram { to, bytes, .. } => {
                let mut watches = self.watches.iter_mut().rev();
                let found = watches.find_map(|watch| {
                    let (slot, is_report) = watch.slot_of(*to)?;
                    Some((watch, slot, is_report))
                });
                let (watch, slot, is_report) = found.ok_or("a datagram that no session asked for")?;
                watch.take(world, slot, is_report, bytes, ledger, histories)
            }
            Departure::Bytes { wire, bytes } => {
                for item in self.caller.take(*wire, bytes)? {
                    match item {
                        Item::Response(response) => self.answered(world, &response, histories)?,
                        Item::Frame(channel, bytes) => {
                            let watch = self.watches.last_mut().ok_or("media without a session")?;
                            let (slot, is_report) = watch.slot_on(channel).ok_or("another channel")?;
                            watch.take(world, slot, is_report, &bytes, ledger, histories)?;
                        }
                        Item::Alert => return Err("an alert of TLS to who spoke none".into()),
                    }
                }
                Ok(())
            }
            Departure::Close { wire } => {
                let has_ended = self.watches.last().is_none_or(Watch::is_over);
                if self.caller.has(*wire) && self.stage != Stage::Away && !has_ended {
                    return Err("the server closes the connection of a viewer without BYE".into());
                }
                Ok(())
            }
        }
    }

    /// Goes away for good.
    pub fn end(&mut self, world: &World<'_>) {
        self.leave(world, Leaving::Finishes);
        self.is_done = true;
    }

    fn read(&mut self, world: &World<'_>) {
        if self.is_slow && self.over == Over::Tcp {
            if world.now >= self.reads_at {
                self.reads_at = world.now + MS(100);
                let size = self.random.within(100..6_000);
                self.caller.read(world, size);
            }
        } else {
            self.caller.read(world, usize::MAX);
        }
        for watch in self.watches.iter().rev().take(1) {
            for ports in watch.ports() {
                while world.net.receive(ports.rtp).is_some() {}
                while world.net.receive(ports.rtcp).is_some() {}
            }
        }
    }

    fn describe(&mut self, world: &World<'_>) {
        if self.caller.line.is_none() {
            self.over = if self.random.chance(0.5) { Over::Tcp } else { Over::Udp };
            self.caller.connect(world);
        }
        if self.random.chance(0.3) {
            self.path = self.random.below(world.rules.paths);
        }
        self.described_at = world.now;
        self.caller.ask(world, "DESCRIBE", &url(self.path), &[], "");
        self.stage = Stage::Asking;
    }

    fn set_up(&mut self, world: &World<'_>) {
        let (index, session) = match (self.stage, self.watches.last()) {
            (Stage::SettingUp, Some(watch)) => (watch.tracks.len(), watch.id.clone()),
            _ => (0, String::new()),
        };
        let transport = match self.over {
            Over::Tcp => format!("RTP/AVP/TCP;unicast;interleaved={}-{}", 2 * index, 2 * index + 1),
            Over::Udp => {
                let ports = self.caller.ports(world);
                self.said = Some(ports);
                format!("RTP/AVP;unicast;client_port={}-{}", ports.rtp.port(), ports.rtcp.port())
            }
        };
        let track = format!("{}/trackID={index}", url(self.path));
        self.caller.ask(world, "SETUP", &track, &[("Transport", &transport), ("Session", &session)], "");
    }

    fn ask_of_session(&mut self, world: &World<'_>, method: &'static str) {
        let Some(watch) = self.watches.last() else { return };
        let id = watch.id.clone();
        self.caller.ask(world, method, &url(self.path), &[("Session", &id)], "");
    }

    fn watch(&mut self, world: &World<'_>, ledger: &Ledger, histories: &[History]) -> Result<(), Fault> {
        let Some(watch) = self.watches.last_mut() else { return Ok(()) };
        if watch.is_over() {
            self.leave(world, Leaving::Finishes);
            return Ok(());
        }
        watch.check_alive(world, ledger, histories)?;
        let (is_playing, is_new) = (watch.is_playing(), watch.played.is_none());
        self.next_at = world.now + self.random.time(&(MS(300)..MS(1_500)));
        match self.random.below(24) {
            _ if !is_playing => {
                if !is_new && self.random.chance(0.3) {
                    self.ask_of_session(world, "GET_PARAMETER");
                    return Ok(());
                }
                watch.ask_play(world.now);
                self.ask_of_session(world, "PLAY");
            }
            0 | 1 => {
                self.fired(Kind::ViewerPaused);
                self.ask_of_session(world, "PAUSE");
            }
            2 => {
                watch.say_goodbye();
                self.ask_of_session(world, "TEARDOWN");
            }
            3 => {
                self.fired(Kind::ViewerLeft);
                let how = *self.random.pick(&[Leaving::Finishes, Leaving::Resets, Leaving::Vanishes]);
                self.leave(world, how);
            }
            _ => self.ask_of_session(world, "GET_PARAMETER"),
        }
        Ok(())
    }

    fn leave(&mut self, world: &World<'_>, how: Leaving) {
        self.caller.leave(world, how);
        if let Some(watch) = self.watches.last_mut() {
            watch.forsake(world.now);
            if how != Leaving::Vanishes {
                for ports in watch.ports() {
                    world.net.unbind(ports.rtp);
                    world.net.unbind(ports.rtcp);
                }
            }
        }
        self.stage = Stage::Away;
        self.next_at = world.now + self.random.time(&(MS(100)..MS(3_000)));
    }

    fn answered(
        &mut self,
        world: &World<'_>,
        response: &Response,
        histories: &[History],
    ) -> Result<(), Fault> {
        let asked = self.caller.answered(response)?;
        let history = &histories[self.path];
        match (asked.method, response.status) {
            ("DESCRIBE", 200) => {
                let sdp = String::from_utf8_lossy(&response.body);
                let layout = LAYOUTS.iter().position(|forms| is_described(&sdp, forms));
                self.layout = layout.ok_or_else(|| format!("nobody has announced {sdp}"))?;
                self.set_up(world);
            }
            ("DESCRIBE", 404 | 503) => {
                let before = asked.at.as_nanos().saturating_sub(world.rules.lateness().as_nanos() as u64);
                if history.is_on_since(Time::from_nanos(before)) {
                    return Err(format!("a stream that runs is answered {}", response.status));
                }
                self.stage = Stage::Away;
                self.next_at = world.now + self.random.time(&(MS(200)..MS(1_500)));
            }
            // What was described is no more, and what is set up may be something else.
            ("SETUP", 200) if !history.is_whole_since(world.rules, self.described_at, self.layout) => {
                self.leave(world, Leaving::Finishes);
            }
            ("SETUP", 200) => self.granted(world, response)?,
            ("PLAY", 200) => {
                let infos = RtpInfo::parse_list(response.header("RTP-Info").ok_or("no RTP-Info")?);
                let watch = self.watches.last_mut().ok_or("no session")?;
                watch.play(world, &infos, self.is_slow && self.over == Over::Tcp)?;
                if self.is_slow && self.over == Over::Tcp {
                    self.fired(Kind::ViewerSlow);
                }
            }
            ("PAUSE", 200) => self.watches.last_mut().ok_or("no session")?.pause(),
            ("GET_PARAMETER", 200) => {}
            ("TEARDOWN", 200) => self.leave(world, Leaving::Finishes),
            _ => self.refused(world, &asked, response, history)?,
        }
        Ok(())
    }

    /// A stream may have ended under its viewers, or become another.
    fn refused(
        &mut self,
        world: &World<'_>,
        asked: &Asked,
        response: &Response,
        history: &History,
    ) -> Result<(), Fault> {
        let since = Time::from_nanos(asked.at.as_nanos().saturating_sub(5_000_000_000));
        let may_be_gone = history.may_end(world.rules, world.now, self.layout)
            || self.watches.last().is_some_and(Watch::is_over)
            || !history.is_on_since(since);
        if matches!(response.status, 400 | 404 | 454 | 503) && may_be_gone {
            self.leave(world, Leaving::Finishes);
            return Ok(());
        }
        Err(format!("{asked:?} of a viewer is answered {response:?}"))
    }

    fn granted(&mut self, world: &World<'_>, response: &Response) -> Result<(), Fault> {
        let session = response.header("Session").ok_or("SETUP without a session")?;
        let id = session.split(';').next().unwrap_or_default().to_owned();
        let transport = response.header("Transport").and_then(Transport::parse).ok_or("no transport")?;
        let ssrc = transport.ssrc.ok_or("no SSRC")?;
        let route = match (self.over, transport.interleaved, transport.server_port) {
            (Over::Tcp, Some(pair), None) => Route::Channels(pair.rtp, pair.rtcp.ok_or("one channel")?),
            (Over::Udp, None, Some(pair)) => {
                let theirs = SocketAddr::new(world.rules.server().ip(), pair.rtp);
                Route::Ports(self.said.take().ok_or("no ports")?, theirs)
            }
            _ => return Err(format!("another transport was granted: {response:?}")),
        };
        if self.stage != Stage::SettingUp {
            self.watches.push(Watch::new(id.clone(), self.path, self.layout, world.now));
            self.stage = Stage::SettingUp;
        }
        let watch = self.watches.last_mut().ok_or("no session")?;
        if watch.id != id {
            return Err("SETUP within a session answers with another one".into());
        }
        let form = LAYOUTS[self.layout][watch.tracks.len()];
        watch.tracks.push(Track::new(form, ssrc, route));
        if watch.tracks.len() < LAYOUTS[self.layout].len() {
            self.set_up(world);
        } else {
            self.stage = Stage::Watching;
        }
        Ok(())
    }
}

/// Whether a description is about these tracks.
fn is_described(sdp: &str, forms: &[super::source::Form]) -> bool {
    let types = sdp.lines().filter_map(|line| line.strip_prefix("m=")?.split(' ').nth(3)?.parse::<u8>().ok());
    types.eq(forms.iter().map(|form| form.payload_type()))
}
