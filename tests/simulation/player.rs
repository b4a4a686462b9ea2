//! One player: what it does follows from its random numbers, and from what the server says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use proto::rtcp::write;
use proto::time::Time;
use ringcaster::driver::sim::{Net, Random, Status, Wire};

use super::dialogue::{Ask, Asked, Line, Playing};
use super::faults::{Counts, Kind};
use super::flow::Fault;
use super::habits::{Habit, Habits};
use super::mishaps::wrong;
use super::rules::Rules;
use super::session::{Over, Route, Session, State, seconds};
use super::streams::SimStreams;

/// What is around a player.
pub struct World<'a> {
    pub now: Time,
    pub rules: &'a Rules,
    pub streams: &'a SimStreams,
    pub net: &'a Net,
    /// Whether the server was told to stop.
    pub is_stopping: bool,
    /// Whether to print what is asked.
    pub traces: bool,
}

/// A player with everything it has ever set up.
pub struct Player {
    pub id: u32,
    pub address: IpAddr,
    pub habits: Habits,
    pub random: Random,
    pub lines: Vec<Line>,
    /// The connection that it speaks on.
    pub line: Option<usize>,
    pub sessions: Vec<Session>,
    /// The session that it plays.
    pub current: Option<usize>,
    pub counts: Counts,
    /// Replies that were judged.
    pub replies: u64,
    /// Status of the last one.
    pub last_status: u16,
    /// Every UDP address that it has said or used.
    pub addresses: Vec<SocketAddr>,
    /// Whether it goes on after its present session.
    pub is_leaving: bool,
    /// What it plays, or will.
    pub name: String,
    wanted: Vec<u8>,
    is_described: bool,
    next_at: Time,
    /// When it reads again.
    pub reads_at: Time,
    alive_at: Time,
    cseq: u32,
    next_port: u16,
    /// Ports said in the last SETUP over UDP.
    said_port: u16,
}

pub const MS: fn(u64) -> Duration = Duration::from_millis;

impl Player {
    pub fn new(id: u32, rules: &Rules, mut random: Random) -> Player {
        let habits = Habits::draw(&mut random);
        let starts = MS(random.below(5_000) as u64);
        let mut player = Player {
            id,
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, id as u8 + 1)),
            habits,
            random,
            lines: Vec::new(),
            line: None,
            sessions: Vec::new(),
            current: None,
            counts: Counts::new(),
            replies: 0,
            last_status: 200,
            addresses: Vec::new(),
            is_leaving: false,
            name: String::new(),
            wanted: Vec::new(),
            is_described: false,
            next_at: Time::from_millis(1_000) + starts,
            reads_at: Time::ZERO,
            alive_at: Time::ZERO,
            cseq: 0,
            next_port: 6_000,
            said_port: 0,
        };
        player.choose(rules);
        player
    }

    /// Whether nothing that it does holds up its media.
    pub fn is_calm(&self) -> bool {
        self.habits.over == Over::Udp || !self.habits.reads_badly()
    }

    /// When it does something next.
    pub fn due(&self) -> Time {
        if self.is_leaving {
            return Time::from_nanos(u64::MAX);
        }
        let is_stalled = self.habits.over == Over::Tcp && self.habits.reads_badly();
        if is_stalled { self.next_at.min(self.reads_at.max(Time::from_millis(1))) } else { self.next_at }
    }

    /// Does what it wants to do at this moment.
    pub fn step(&mut self, world: &World<'_>) -> Result<(), Fault> {
        self.read(world);
        self.receive(world);
        if world.now >= self.next_at { self.act(world) } else { Ok(()) }
    }

    pub fn track_url(&self, name: &str, track: u8) -> String {
        format!("rtsp://192.0.2.1/{name}/trackID={track}")
    }

    /// Goes away, one way or another.
    pub fn leave(&mut self, world: &World<'_>) {
        self.is_leaving = true;
        match self.random.below(3) {
            0 => self.vanish(world),
            1 => self.hang_up(world, false),
            _ => self.hang_up(world, true),
        }
        self.next_at = Time::from_nanos(u64::MAX);
    }

    /// Reads everything from here on: what still comes is judged as before.
    pub fn drain(&mut self, world: &World<'_>) {
        for line in self.lines.iter_mut().filter(|line| !line.is_left || line.is_faulty) {
            while let Some(bytes) = world.net.read(line.wire, usize::MAX) {
                line.read += bytes.len() as u64;
            }
        }
    }

    pub(super) fn fired(&mut self, kind: Kind) {
        *self.counts.entry(kind).or_default() += 1;
    }

    fn choose(&mut self, rules: &Rules) {
        self.name = if self.random.chance(0.35) {
            super::streams::PATH.to_owned()
        } else {
            self.random.pick(&rules.files.keys().collect::<Vec<_>>()).to_string()
        };
        let count = rules.content(&self.name).map_or(0, super::content::Content::track_count);
        self.wanted = (0..count).collect();
        if count > 1 && self.random.chance(0.25) {
            self.wanted.remove(self.random.below(2));
        }
        if self.random.chance(0.3) {
            self.wanted.reverse();
        }
        self.is_described = false;
    }

    fn read(&mut self, world: &World<'_>) {
        for (place, line) in self.lines.iter_mut().enumerate() {
            let is_slow = self.habits.has(Habit::Slow) && self.line == Some(place);
            if line.is_left && line.closed.is_none() && !line.is_faulty {
                // Its player has vanished.
                continue;
            }
            if self.habits.reads_badly() && world.now < self.reads_at {
                continue;
            }
            if is_slow {
                let size = self.random.within(200..20_000);
                if let Some(bytes) = world.net.read(line.wire, size) {
                    line.read += bytes.len() as u64;
                }
                self.reads_at = world.now + MS(100);
            } else {
                while let Some(bytes) = world.net.read(line.wire, usize::MAX) {
                    line.read += bytes.len() as u64;
                }
            }
            while line.replies.front().is_some_and(|end| *end <= line.read) {
                line.replies.pop_front();
            }
        }
        if self.habits.reads_badly() && self.reads_at <= world.now {
            self.reads_at = world.now + MS(100);
        }
    }

    fn receive(&mut self, world: &World<'_>) {
        for address in self.addresses.iter().rev().take(8) {
            while world.net.receive(*address).is_some() {}
        }
    }

    fn act(&mut self, world: &World<'_>) -> Result<(), Fault> {
        self.next_at = world.now + self.random.time(&(MS(0)..MS(150)));
        let Some(line) = self.line else {
            self.connect(world);
            return Ok(());
        };
        if world.net.status(self.lines[line].wire) != Status::Open || self.lines[line].closed.is_some() {
            self.lose_line();
            return Ok(());
        }
        if self.current.is_some_and(|place| self.sessions[place].ended.is_some()) {
            self.current = None;
            if self.random.chance(0.5) {
                self.choose(world.rules);
            }
        }
        if let Some(oldest) = self.lines[line].asked.front() {
            let patience =
                Duration::from_secs(4) + world.rules.lateness(1.0) + world.rules.library.delays.end * 6;
            if self.is_calm() && world.now > oldest.at + patience && !self.lines[line].is_faulty {
                return Err(format!("no answer since {} to {oldest:?}", seconds(oldest.at)));
            }
            return Ok(());
        }
        if !self.lines[line].replies.is_empty() {
            // Sent, but not here yet.
            return Ok(());
        }
        let is_playing = self.is_playing();
        if let Some(habit) = self.habits.mishap(&mut self.random, is_playing) {
            self.misbehave(world, line, habit);
            return Ok(());
        }
        self.go_on(world, line);
        Ok(())
    }

    fn is_playing(&self) -> bool {
        self.current.is_some_and(|place| self.sessions[place].state == State::Playing)
    }

    fn connect(&mut self, world: &World<'_>) {
        let from = SocketAddr::new(self.address, 30_000 + self.lines.len() as u16);
        let wire = world.net.connect(self.id, from, world.rules.server());
        self.lines.push(Line::new(wire, world.now));
        self.line = Some(self.lines.len() - 1);
        self.is_described = false;
    }

    /// The next step of an ordinary player.
    pub(super) fn go_on(&mut self, world: &World<'_>, line: usize) {
        let Some(place) = self.current else {
            let ask = match (self.is_described, self.random.below(4)) {
                (false, 0) => Ask::Options,
                (false, _) => {
                    self.is_described = true;
                    Ask::Describe(self.name.clone())
                }
                (true, _) => Ask::Setup(self.name.clone(), self.wanted[0], self.habits.over),
            };
            self.ask(world, line, ask, None);
            if self.last_status >= 400 {
                // A world that refuses everything is not asked all the time.
                self.next_at = world.now + MS(700);
            }
            return;
        };
        let session = &self.sessions[place];
        let missing =
            self.wanted.iter().find(|index| !session.tracks.iter().any(|(t, _)| t.index == **index));
        if let (State::AtStart, Some(index), None) = (session.state, missing, session.play) {
            let ask = Ask::Setup(self.name.clone(), *index, session.over);
            self.ask(world, line, ask, Some(place));
            return;
        }
        match session.state {
            State::AtStart | State::Paused => {
                let playing = self.playing(world, place);
                self.ask(world, line, Ask::Play(playing), Some(place));
                self.next_at = world.now + self.random.time(&(MS(100)..MS(4_000)));
            }
            State::Playing => self.go_on_playing(world, line, place),
        }
    }

    fn go_on_playing(&mut self, world: &World<'_>, line: usize, place: usize) {
        let timeout = world.rules.settings.session_timeout;
        self.next_at = world.now + self.random.time(&(MS(100)..timeout.mul_f64(0.4).min(MS(5_000))));
        if self.habits.has(Habit::Silent) && self.habits.over == Over::Udp {
            self.fired(Kind::PlayerSilent);
            self.next_at = world.now + timeout + MS(2_500);
            if self.random.chance(0.5) {
                return;
            }
        }
        let track = *self.random.pick(&self.wanted);
        let is_fast = self.sessions[place].play.is_some_and(|play| play.scale > 2.0);
        let ask = match self.random.below(20) {
            // Sound alone is silent then, and nobody could see its end.
            3 | 7 | 10 if is_fast => Ask::Options,
            0..=2 => Ask::Pause(None),
            3 => Ask::Pause(Some(track)),
            4..=6 => Ask::Play(self.playing(world, place)),
            7 => Ask::Play(Playing { track: Some(track), ..Playing::default() }),
            8 => Ask::Play(Playing::default()),
            9 => Ask::Teardown(None),
            10 => Ask::Teardown(Some(track)),
            11 => Ask::Setup(self.name.clone(), track, self.habits.over),
            12..=14 => {
                self.report(world, place);
                if world.rules.weather.loss == 0.0 && self.habits.over == Over::Udp {
                    return;
                }
                Ask::Parameter(None)
            }
            15 => Ask::Parameter(Some(self.random.chance(0.7))),
            16 => Ask::Options,
            _ => Ask::Parameter(None),
        };
        self.ask(world, line, ask, Some(place));
    }

    /// A PLAY that can be granted, or nearly so.
    pub(super) fn playing(&mut self, world: &World<'_>, place: usize) -> Playing {
        let session = &self.sessions[place];
        let Some(content) = world.rules.content(&session.name) else { return Playing::default() };
        if content.is_live {
            return Playing::default();
        }
        let duration = content.presentation.duration.as_nanos() as usize;
        let random = &mut self.random;
        let from = random.chance(0.5).then(|| {
            let beyond = if random.chance(0.05) { duration / 2 } else { 0 };
            // Milliseconds, as players write them.
            (random.below(duration + beyond) / 1_000_000 * 1_000_000) as i64
        });
        let until = (from.is_some() && random.chance(0.2))
            .then(|| from.unwrap_or(0) + random.within(0..6_000) as i64 * 1_000_000 - 200_000_000)
            .filter(|until| *until > 0);
        let has_video = session.tracks.iter().all(|(track, _)| track.enabled)
            && session.tracks.iter().any(|(track, _)| track.kind == proto::track::Kind::Video);
        let scales: &[f64] = if has_video { &[0.5, 1.0, 1.5, 2.0, 3.0, 8.0, 16.0] } else { &[0.5, 1.0, 2.0] };
        let scale = random.chance(0.3).then(|| *random.pick(scales));
        let speed = random.chance(0.15).then(|| *random.pick(&[0.5, 1.0, 2.0, 4.0]));
        Playing { from, until, scale, speed, track: None }
    }

    pub(super) fn ask(&mut self, world: &World<'_>, line: usize, ask: Ask, session: Option<usize>) {
        let bytes = self.request(world, line, ask, session);
        if self.habits.has(Habit::SplitsRequests) {
            self.fired(Kind::RequestSplit);
            for byte in bytes {
                world.net.write(self.lines[line].wire, Bytes::copy_from_slice(&[byte]));
            }
        } else {
            world.net.write(self.lines[line].wire, bytes);
        }
    }

    /// Writes a request and notes that its reply is awaited.
    pub(super) fn request(
        &mut self,
        world: &World<'_>,
        line: usize,
        ask: Ask,
        session: Option<usize>,
    ) -> Bytes {
        self.cseq += 1;
        // Any request is a sign of life of the sessions of its connection.
        for session in self.sessions.iter_mut().filter(|session| session.line == line) {
            session.signs = world.now;
        }
        if world.traces {
            println!("{} player {} on {line}: {ask:?} in {session:?}", seconds(world.now), self.id);
        }
        let (method, url, mut headers) = self.words(world, line, &ask, session);
        headers.push(("CSeq".to_owned(), self.cseq.to_string()));
        if let Some(place) = session {
            let session = &mut self.sessions[place];
            headers.push(("Session".to_owned(), session.id.clone()));
            session.signs = world.now;
            session.may_end |= matches!(ask, Ask::Teardown(_));
            // Whoever names it on another connection speaks for it from there.
            if session.over == Over::Udp {
                session.line = line;
            }
        }
        let body = match &ask {
            Ask::Parameter(Some(true)) => "position\r\n",
            Ask::Parameter(Some(false)) => "weather\r\n",
            Ask::Wrong(451) => "weather: fine\r\n",
            _ => "",
        };
        if !body.is_empty() {
            headers.push(("Content-Length".to_owned(), body.len().to_string()));
            headers.push(("Content-Type".to_owned(), "text/parameters".to_owned()));
        }
        let version = if ask == Ask::Wrong(505) { "RTSP/2.0" } else { "RTSP/1.0" };
        let mut text = format!("{method} {url} {version}\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text += body;
        self.lines[line].asked.push_back(Asked { cseq: self.cseq, ask, session, at: world.now });
        self.alive_at = world.now;
        Bytes::from(text)
    }

    fn words(
        &mut self,
        world: &World<'_>,
        line: usize,
        ask: &Ask,
        session: Option<usize>,
    ) -> (&'static str, String, Vec<(String, String)>) {
        let name = session.map_or(self.name.clone(), |place| self.sessions[place].name.clone());
        let base = format!("rtsp://192.0.2.1/{name}");
        let of = |track: Option<u8>| track.map_or(base.clone(), |track| format!("{base}/trackID={track}"));
        let header = |name: &str, value: String| vec![(name.to_owned(), value)];
        match ask {
            Ask::Options => ("OPTIONS", base, Vec::new()),
            Ask::Describe(name) => {
                ("DESCRIBE", format!("rtsp://192.0.2.1/{name}"), header("Accept", "application/sdp".into()))
            }
            Ask::Setup(name, track, over) => {
                let transport = self.transport(world, line, *over, session);
                ("SETUP", self.track_url(name, *track), header("Transport", transport))
            }
            Ask::Play(playing) => ("PLAY", of(playing.track), play_headers(playing)),
            Ask::Pause(track) => ("PAUSE", of(*track), Vec::new()),
            Ask::Teardown(track) => ("TEARDOWN", of(*track), Vec::new()),
            Ask::Parameter(_) => ("GET_PARAMETER", base, Vec::new()),
            Ask::Wrong(status) => wrong(*status, base),
        }
    }

    fn transport(&mut self, world: &World<'_>, line: usize, over: Over, session: Option<usize>) -> String {
        if over == Over::Tcp {
            // Channels of sessions that ended on this line may be used again.
            let taken = session.map_or(0, |place| self.sessions[place].tracks.len() as u8);
            let is_alone = !self.sessions.iter().any(|other| other.line == line && other.ended.is_none());
            return if is_alone || session.is_some() && self.random.chance(0.8) {
                format!("RTP/AVP/TCP;unicast;interleaved={}-{}", taken * 2, taken * 2 + 1)
            } else {
                "RTP/AVP/TCP;unicast".to_owned()
            };
        }
        let port = self.next_port;
        self.next_port += 2;
        self.said_port = port;
        let moved = if self.is_translated(world) { 20_000 } else { 0 };
        for port in [port, port + 1] {
            self.addresses.push(SocketAddr::new(self.address, port));
            let own = SocketAddr::new(self.address, port + moved);
            if moved > 0 {
                self.addresses.push(own);
            }
            world.net.bind(self.id, own);
        }
        format!("RTP/AVP;unicast;client_port={port}-{}", port + 1)
    }

    /// Notes that it shows life; what comes from the ports of a session that has ended may count for another one, as if
    /// a router had given it those.
    pub(super) fn show_life(&mut self, world: &World<'_>, place: usize) {
        let may_be_gone = self.sessions[place].may_be_gone(world.rules, world.now);
        for (other, session) in self.sessions.iter_mut().enumerate() {
            if other == place || (may_be_gone && session.over == Over::Udp) {
                session.signs = world.now;
            }
        }
    }

    /// Receiver reports about every track.
    pub(super) fn report(&mut self, world: &World<'_>, place: usize) {
        self.show_life(world, place);
        let session = &mut self.sessions[place];
        for (track, route) in &session.tracks {
            let mut bytes = BytesMut::new();
            let block = proto::rtcp::report::ReportBlock {
                ssrc: track.ssrc.unwrap_or_default(),
                fraction_lost: 3,
                cumulative_lost: 1,
                highest_sequence: u32::from(track.next_sequence.unwrap_or_default()),
                jitter: 9,
                last_sr: 0,
                delay_since_last_sr: 0,
            };
            write::receiver_report(&mut bytes, 0x5eed + self.id, &[block], "player");
            match route {
                Route::Channels(_, rtcp) => {
                    let mut frame = BytesMut::from(&[b'$', *rtcp][..]);
                    frame.put_u16(bytes.len() as u16);
                    frame.extend_from_slice(&bytes);
                    world.net.write(self.lines[session.line].wire, frame.freeze());
                }
                Route::Ports(ports) => {
                    let from = ports.translated_rtcp.unwrap_or(ports.rtcp);
                    world.net.send_to(from, ports.server_rtcp, bytes.freeze());
                    if world.rules.weather.loss == 0.0 && !session.may_be_gone(world.rules, world.now) {
                        session.seen = world.now;
                    }
                }
            }
            if matches!(route, Route::Ports(_)) && world.rules.weather.loss == 0.0 {
                // One is enough.
                break;
            }
        }
    }

    /// Whether it sits behind a router. Where datagrams are lost nobody could tell which port is which track's.
    fn is_translated(&self, world: &World<'_>) -> bool {
        self.habits.has(Habit::Translated) && world.rules.weather.loss == 0.0
    }

    /// The router of a player behind one gives each port another number, which the server learns from datagrams.
    pub fn open_router(&mut self, world: &World<'_>, place: usize) {
        if !self.is_translated(world) {
            return;
        }
        self.counts.entry(Kind::PlayerTranslated).and_modify(|count| *count += 1).or_insert(1);
        let session = &mut self.sessions[place];
        let Some((_, Route::Ports(ports))) = session.tracks.last_mut() else { return };
        let moved = |address: SocketAddr| SocketAddr::new(address.ip(), address.port() + 20_000);
        ports.translated = Some(moved(ports.rtp));
        ports.translated_rtcp = Some(moved(ports.rtcp));
        let weather = &world.rules.weather;
        let travel = weather.latency.end + weather.hold.end + world.rules.stall + MS(5);
        ports.translated_by = (weather.loss == 0.0).then_some(world.now + travel);
        let punch = Bytes::from_static(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        world.net.send_to(moved(ports.rtp), ports.server_rtp, punch);
        let mut bytes = BytesMut::new();
        write::receiver_report(&mut bytes, 0x5eed + self.id, &[], "player");
        world.net.send_to(moved(ports.rtcp), ports.server_rtcp, bytes.freeze());
        session.signs = world.now;
        self.next_at = self.next_at.max(world.now + travel);
    }

    pub(super) fn lose_line(&mut self) {
        self.line = None;
        let Some(place) = self.current else { return };
        let session = &mut self.sessions[place];
        if session.over == Over::Tcp || session.ended.is_some() || !self.random.chance(0.7) {
            session.may_end = true;
            self.current = None;
        } else {
            *self.counts.entry(Kind::SessionContinuedElsewhere).or_default() += 1;
        }
    }

    /// The connection of a wire.
    pub fn has(&self, wire: Wire) -> bool {
        self.lines.iter().any(|line| line.wire == wire)
    }
}

fn play_headers(playing: &Playing) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let at = |nanos: i64| format!("{}.{:03}", nanos / 1_000_000_000, nanos / 1_000_000 % 1_000);
    if let Some(from) = playing.from {
        let until = playing.until.map_or(String::new(), at);
        headers.push(("Range".to_owned(), format!("npt={}-{until}", at(from))));
    }
    if let Some(scale) = playing.scale {
        headers.push(("Scale".to_owned(), scale.to_string()));
    }
    if let Some(speed) = playing.speed {
        headers.push(("Speed".to_owned(), speed.to_string()));
    }
    headers
}
