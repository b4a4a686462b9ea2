//! Judges everything that a server sends to one player, in the order in which it is sent.

use std::time::Duration;

use proto::rtsp::headers::range::{Npt, Range, Span};
use proto::rtsp::headers::rtp_info::RtpInfo;
use proto::rtsp::headers::transport::Transport;
use proto::time::Time;
use proto::track::Kind;
use ringcaster::driver::sim::Departure;

use super::content::Content;
use super::dialogue::{Ask, Asked, Item, Playing, Response};
use super::flow::{Expects, Fault, Map, Play, Track};
use super::player::{Player, World};
use super::session::{Over, Ports, Route, Session, State};

impl Player {
    /// Takes something that the server has sent to this player.
    pub fn take(&mut self, world: &World<'_>, departure: &Departure) -> Result<(), Fault> {
        match departure {
            Departure::Datagram { from, to, bytes, .. } => {
                for (place, session) in self.sessions.iter().enumerate().rev() {
                    let found =
                        session.tracks.iter().enumerate().find_map(|(slot, (_, route))| match route {
                            Route::Ports(ports) if ports.is_media(*from, *to, world.now) => {
                                Some((slot, false))
                            }
                            Route::Ports(ports) if ports.is_report(*from, *to, world.now) => {
                                Some((slot, true))
                            }
                            _ => None,
                        });
                    if let Some((slot, is_report)) = found {
                        let is_asked = self.is_play_asked(place);
                        return self.sessions[place].take_datagram(world, slot, is_report, bytes, is_asked);
                    }
                }
                Err(format!("a datagram from {from} to {to}, which no session has"))
            }
            Departure::Bytes { wire, bytes } => {
                let Some(line) = self.lines.iter().position(|line| line.wire == *wire) else { return Ok(()) };
                for item in self.lines[line].take(bytes)? {
                    match item {
                        Item::Response(response) => self.take_reply(world, line, &response)?,
                        Item::Frame(channel, bytes) => self.take_frame(world, line, channel, &bytes)?,
                    }
                }
                Ok(())
            }
            Departure::Close { wire } => self.take_close(world, *wire),
        }
    }

    /// Whether a PLAY of a session is not answered yet.
    fn is_play_asked(&self, place: usize) -> bool {
        let mut asked = self.lines.iter().flat_map(|line| &line.asked);
        asked.any(|asked| asked.session == Some(place) && matches!(asked.ask, Ask::Play(_)))
    }

    fn take_frame(&mut self, world: &World<'_>, line: usize, channel: u8, bytes: &[u8]) -> Result<(), Fault> {
        let of_line = self.sessions.iter_mut().rev().filter(|session| session.line == line);
        for session in of_line {
            let found = session.tracks.iter().enumerate().find_map(|(slot, (_, route))| match route {
                Route::Channels(rtp, _) if *rtp == channel => Some((slot, false)),
                Route::Channels(_, rtcp) if *rtcp == channel => Some((slot, true)),
                _ => None,
            });
            if let Some((slot, is_report)) = found {
                return session.take(world, world.now, slot, is_report, bytes);
            }
        }
        Err(format!("a frame on channel {channel}, which no session has"))
    }

    fn take_close(&mut self, world: &World<'_>, wire: ringcaster::driver::sim::Wire) -> Result<(), Fault> {
        let Some(place) = self.lines.iter().position(|line| line.wire == wire) else { return Ok(()) };
        let line = &mut self.lines[place];
        line.closed = Some(world.now);
        let idle = world.now.since(line.served);
        let mut has_reason = line.is_faulty || world.is_stopping || idle > Duration::from_secs(60);
        for session in &mut self.sessions {
            if session.line == place && session.over == Over::Tcp {
                has_reason |= session.may_be_gone(world.rules, world.now);
                session.ended.get_or_insert(world.now);
            }
        }
        if has_reason { Ok(()) } else { Err("the server closes a connection without a reason".into()) }
    }

    fn take_reply(&mut self, world: &World<'_>, line: usize, response: &Response) -> Result<(), Fault> {
        for name in ["Server", "Date"] {
            if response.header(name).is_none() {
                return Err(format!("a reply without {name}: {response:?}"));
            }
        }
        let cseq = response.header("CSeq");
        let is_next = |asked: &Asked| cseq.is_some_and(|cseq| cseq == asked.cseq.to_string());
        let state = &mut self.lines[line];
        if state.is_faulty && !state.asked.front().is_some_and(is_next) && response.status >= 400 {
            // What followed garbage may be part of it.
            return Ok(());
        }
        let Some(asked) = state.asked.pop_front() else {
            return Err(format!("a reply that nobody waits for: {response:?}"));
        };
        if !is_next(&asked) {
            return Err(format!("the reply to {asked:?} has CSeq {cseq:?}"));
        }
        state.served = asked.at;
        let allowed = self.allowed(world, line, &asked);
        if !allowed.contains(&response.status) {
            let state = asked.session.map(|place| &self.sessions[place]);
            let state = state.map(|session| (session.state, session.may_be_gone(world.rules, world.now)));
            return Err(format!("{asked:?} is answered {response:?}, not {allowed:?} (session: {state:?})"));
        }
        self.replies += 1;
        self.last_status = response.status;
        if let Some(place) = asked.session {
            let session = &mut self.sessions[place];
            if matches!(asked.ask, Ask::Play(_)) {
                let infos = RtpInfo::parse_list(response.header("RTP-Info").unwrap_or_default());
                session.take_held_before(world, &infos)?;
            }
            if response.status == 500 && matches!(asked.ask, Ask::Play(_)) {
                // What was read is forgotten, and the new place could not be read.
                if session.state == State::AtStart && session.play.is_some() {
                    session.tracks.iter_mut().for_each(|(track, _)| track.renew());
                }
                (session.state, session.play) = (State::AtStart, None);
            }
            if response.status == 454 {
                session.ended.get_or_insert(world.now);
            } else {
                session.seen = session.seen.max(asked.at);
            }
        }
        if response.status == 200 { self.granted(world, line, &asked, response) } else { Ok(()) }
    }

    /// The statuses that a reply may have at this moment.
    fn allowed(&self, world: &World<'_>, line: usize, asked: &Asked) -> Vec<u16> {
        let rules = world.rules;
        let session = asked.session.map(|place| &self.sessions[place]);
        let mut allowed = Vec::new();
        if let Some(session) = session {
            let is_bound_elsewhere = session.over == Over::Tcp && session.line != line;
            if session.ended.is_some() || is_bound_elsewhere {
                return vec![454];
            }
            if session.is_dying {
                let is_farewell = matches!(asked.ask, Ask::Teardown(_));
                return if is_farewell { vec![200, 454] } else { vec![454] };
            }
            if session.may_be_gone(rules, world.now) || world.is_stopping {
                allowed.push(454);
            }
        }
        let is_file = |name: &str| rules.files.contains_key(name);
        match &asked.ask {
            Ask::Options | Ask::Pause(_) | Ask::Teardown(_) | Ask::Parameter(None | Some(true)) => {
                allowed.push(200);
            }
            Ask::Parameter(Some(false)) => allowed.push(451),
            Ask::Describe(name) | Ask::Setup(name, ..) => {
                if rules.content(name).is_none() {
                    allowed.push(404);
                } else if !is_file(name) {
                    allowed.extend((rules.streams.refusal > 0.0).then_some(503));
                }
                if !is_file(name) && rules.content(name).is_some() || !rules.files_fail() {
                } else {
                    allowed.push(500);
                }
                match (&asked.ask, session) {
                    _ if rules.content(name).is_none() => {}
                    (Ask::Setup(_, track, _), Some(session)) if session.state == State::Playing => {
                        allowed.push(455);
                        if session.may_be_over(rules, world.now) {
                            let is_there = session.tracks.iter().any(|(other, _)| other.index == *track);
                            allowed.push(if is_there { 400 } else { 200 });
                        }
                    }
                    (Ask::Setup(_, track, _), Some(session)) => {
                        if session.live.as_ref().is_some_and(super::streams::Run::is_lost) {
                            // What was set up first belongs to a run that is over.
                            allowed.push(400);
                        }
                        let is_there = session.tracks.iter().any(|(other, _)| other.index == *track);
                        allowed.push(if is_there { 400 } else { 200 });
                    }
                    (Ask::Setup(..), None) if rules.settings.limits.are_bounded() => {
                        allowed.extend([200, 453]);
                    }
                    _ => allowed.push(200),
                }
            }
            Ask::Play(playing) => match session {
                None => allowed.push(454),
                Some(session) => self.allowed_play(world, session, playing, &mut allowed),
            },
            Ask::Wrong(status) => {
                allowed.push(*status);
                if matches!(status, 400 | 404 | 459 | 461) {
                    allowed.extend(rules.files_fail().then_some(500));
                    allowed.extend((rules.streams.refusal > 0.0).then_some(503));
                }
            }
        }
        allowed
    }

    fn allowed_play(&self, world: &World<'_>, session: &Session, playing: &Playing, allowed: &mut Vec<u16>) {
        let Some(content) = world.rules.content(&session.name) else { return };
        if content.is_live {
            allowed.push(200);
            allowed.extend(session.live.as_ref().is_some_and(super::streams::Run::is_lost).then_some(503));
            return;
        }
        let from = playing.from.unwrap_or(0);
        // Players round the end, and add what they saw first: half a second is forgiven.
        let end = content.presentation.duration + Duration::from_millis(500);
        let is_beyond = from as u128 > end.as_nanos();
        if is_beyond || playing.until.is_some_and(|until| until <= from) {
            allowed.push(457);
            return;
        }
        allowed.push(200);
        if world.rules.files_fail() {
            allowed.push(500);
        }
    }

    /// What a 200 changes.
    fn granted(
        &mut self,
        world: &World<'_>,
        line: usize,
        asked: &Asked,
        response: &Response,
    ) -> Result<(), Fault> {
        let needs_session = matches!(asked.ask, Ask::Play(_) | Ask::Pause(_));
        if let (true, Some(place)) = (needs_session, asked.session)
            && response.header("Session") != Some(self.sessions[place].id.as_str())
        {
            return Err(format!("another session in {response:?}"));
        }
        match &asked.ask {
            Ask::Options => {
                let public = response.header("Public").unwrap_or_default();
                let methods = ["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER"];
                let missing = methods.iter().find(|method| !public.split(", ").any(|own| own == **method));
                missing.map_or(Ok(()), |method| Err(format!("OPTIONS does not list {method}")))
            }
            Ask::Describe(name) => {
                let sdp = String::from_utf8_lossy(&response.body);
                let count = sdp.lines().filter(|line| line.starts_with("m=")).count();
                let wanted = world.rules.content(name).map_or(0, Content::track_count);
                let is_right = count == usize::from(wanted);
                if is_right { Ok(()) } else { Err(format!("{count} tracks of {wanted} described")) }
            }
            Ask::Setup(name, track, over) => self.set_up(world, line, asked, (name, *track, *over), response),
            Ask::Play(playing) => {
                let Some(place) = asked.session else { return Ok(()) };
                self.played(world, place, asked, *playing, response)?;
                self.sessions[place].take_held_behind(world, asked.at)
            }
            Ask::Pause(track) => {
                let Some(place) = asked.session else { return Ok(()) };
                paused(world, &mut self.sessions[place], *track, response)
            }
            Ask::Teardown(track) => {
                let Some(place) = asked.session else { return Ok(()) };
                let session = &mut self.sessions[place];
                match track {
                    Some(index) if session.tracks.len() > 1 => {
                        session.tracks.retain(|(track, _)| track.index != *index);
                    }
                    _ => session.ended = Some(world.now),
                }
                Ok(())
            }
            Ask::Parameter(_) | Ask::Wrong(_) => Ok(()),
        }
    }

    fn set_up(
        &mut self,
        world: &World<'_>,
        line: usize,
        asked: &Asked,
        (name, index, over): (&str, u8, Over),
        response: &Response,
    ) -> Result<(), Fault> {
        let content = world.rules.content(name).ok_or("SETUP of nothing")?;
        let session = response.header("Session").ok_or("SETUP without a session")?;
        let (id, timeout) = session.split_once(";timeout=").ok_or("no timeout")?;
        if timeout != world.rules.settings.session_timeout.as_secs().to_string() {
            return Err(format!("timeout {timeout}"));
        }
        let transport = response.header("Transport").and_then(Transport::parse).ok_or("no transport")?;
        let ssrc = transport.ssrc.ok_or("no SSRC in Transport")?;
        let route = match (over, transport.interleaved, transport.server_port) {
            (Over::Tcp, Some(pair), None) => {
                Route::Channels(pair.rtp, pair.rtcp.ok_or("one channel was granted")?)
            }
            (Over::Udp, None, Some(server)) => {
                let asked = transport.client_port.ok_or("no client_port")?;
                let own = |port| std::net::SocketAddr::new(self.address, port);
                let theirs = |port| std::net::SocketAddr::new(world.rules.server().ip(), port);
                Route::Ports(Ports {
                    rtp: own(asked.rtp),
                    rtcp: own(asked.rtcp.ok_or("one client_port")?),
                    translated: None,
                    translated_rtcp: None,
                    translated_by: None,
                    server_rtp: theirs(server.rtp),
                    server_rtcp: theirs(server.rtcp.ok_or("one server_port")?),
                })
            }
            _ => return Err(format!("the transport granted is not the one asked for: {response:?}")),
        };
        let track = Track::new(index, content, self.track_url(name, index), ssrc);
        if let Some(place) = asked.session {
            let session = &mut self.sessions[place];
            if session.id != id {
                return Err("SETUP within a session answers with another one".into());
            }
            session.tracks.push((track, route));
            session.is_whole = false;
            self.open_router(world, place);
            return Ok(());
        }
        let live = if content.is_live { world.streams.run_of(ssrc) } else { None };
        if content.is_live && live.is_none() {
            return Err(format!("SSRC {ssrc:08x} is of no run of the stream"));
        }
        let is_calm = self.is_calm();
        self.sessions.push(Session {
            id: id.to_owned(),
            name: name.to_owned(),
            over,
            line,
            tracks: vec![(track, route)],
            state: State::AtStart,
            play: None,
            seen: world.now,
            signs: world.now,
            ended: None,
            is_dying: false,
            may_end: false,
            is_calm,
            live,
            keyed: Time::ZERO,
            packets: 0,
            held: Vec::new(),
            may_jump: false,
            stood: None,
            is_whole: false,
        });
        self.current = Some(self.sessions.len() - 1);
        self.open_router(world, self.sessions.len() - 1);
        Ok(())
    }

    fn played(
        &mut self,
        world: &World<'_>,
        place: usize,
        asked: &Asked,
        playing: Playing,
        response: &Response,
    ) -> Result<(), Fault> {
        let session = &mut self.sessions[place];
        let content = world.rules.content(&session.name).ok_or("PLAY of nothing")?;
        let was_playing = session.state == State::Playing;
        let one = playing.track.filter(|index| session.tracks.iter().any(|(t, _)| t.index == *index));
        for (track, _) in &mut session.tracks {
            track.enabled = match one {
                Some(index) => track.index == index || (was_playing && track.enabled),
                None => true,
            };
            if !track.enabled {
                track.rest(content);
            }
        }
        let infos = RtpInfo::parse_list(response.header("RTP-Info").ok_or("PLAY without RTP-Info")?);
        let urls = infos.iter().map(|info| info.url.as_str());
        if !urls.eq(session.tracks.iter().filter(|(t, _)| t.enabled).map(|(t, _)| t.url.as_str())) {
            return Err(format!("RTP-Info is not about the tracks that flow: {infos:?}"));
        }
        let range = response.header("Range").and_then(|range| Range::parse(range).ok());
        let Some(Span::Npt { from: Some(from), .. }) = range.map(|range| range.span) else {
            return Err(format!("no Range in {response:?}"));
        };
        if !was_playing {
            for (track, _) in &mut session.tracks {
                track.began = None;
                track.reported = track.reported.filter(|reported| *reported >= asked.at);
            }
        }
        let stage = Stage { world, content, asked, playing, was_playing, infos };
        match from {
            Npt::Now if content.is_live => play_live(session, &stage),
            Npt::At(from) if !content.is_live => play_file(session, &stage, from.as_nanos() as i64, response),
            _ => Err(format!("Range {from:?}")),
        }
    }
}

/// What a PLAY is judged by.
struct Stage<'a> {
    world: &'a World<'a>,
    content: &'a Content,
    asked: &'a Asked,
    playing: Playing,
    was_playing: bool,
    infos: Vec<RtpInfo>,
}

fn play_live(session: &mut Session, stage: &Stage<'_>) -> Result<(), Fault> {
    let world = stage.world;
    let jumps = session.tracks.iter().filter(|(track, _)| track.enabled).any(|(track, _)| {
        let info = stage.infos.iter().find(|info| info.url == track.url);
        let promised = info.and_then(|info| info.seq);
        promised.zip(track.next_sequence).is_some_and(|(promised, next)| promised != next)
    });
    for (track, _) in session.tracks.iter_mut().filter(|(track, _)| track.enabled) {
        let info = stage.infos.iter().find(|info| info.url == track.url).ok_or("no RTP-Info")?;
        if stage.was_playing && track.next_sequence.is_some() {
            if session.is_calm
                && world.streams.last_drop() < session.keyed
                && info.seq.is_some_and(|seq| Some(seq) != track.next_sequence)
            {
                return Err(format!("track {}: RTP-Info says {:?} while it flows", track.index, info.seq));
            }
            continue;
        }
        if !stage.was_playing && track.next_sequence.is_some() && !jumps {
            // Nothing is left out that decoding needs, unless a keyframe comes.
            session.may_jump |= info.seq.is_none();
            continue;
        }
        track.next_sequence = info.seq;
        track.expects = Expects::again(track.kind);
    }
    if !stage.was_playing {
        session.keyed = Time::ZERO;
        session.state = State::Playing;
        session.play = Some(Play {
            replied: world.now,
            origin: world.now,
            is_exact: false,
            content: 0,
            scale: 1.0,
            speed: 1.0,
            until: None,
            rounds_left: None,
        });
    }
    Ok(())
}

fn play_file(session: &mut Session, stage: &Stage<'_>, start: i64, response: &Response) -> Result<(), Fault> {
    let Playing { from, scale, speed, .. } = stage.playing;
    let pace = (scale.unwrap_or(1.0).clamp(0.5, 16.0), speed.unwrap_or(1.0).clamp(0.25, 16.0));
    let old = session.play;
    if from.is_none() && start == 0 && session.may_be_over(stage.world.rules, stage.world.now) {
        session.state = State::AtStart;
    }
    let is_same_scale =
        old.is_some_and(|old| (scale.is_none() && speed.is_none()) || (old.scale, old.speed) == pace);
    let (kind, (scale, speed)) = match (from, session.state) {
        (Some(_), _) | (None, State::AtStart) => (Jump::Seek, pace),
        (None, State::Playing) if is_same_scale => {
            (Jump::Stay, old.map_or(pace, |old| (old.scale, old.speed)))
        }
        (None, State::Playing | State::Paused) => (Jump::Resume, pace),
    };
    for (name, asked, granted) in
        [("Scale", stage.playing.scale, scale), ("Speed", stage.playing.speed, speed)]
    {
        let said = response.header(name).and_then(|text| text.parse::<f64>().ok());
        if asked.is_some() && said.is_none_or(|said| (said - granted).abs() > 0.001) {
            return Err(format!("{name} {granted} is granted, the reply says {said:?}"));
        }
    }
    let renewed = session.state == State::AtStart && old.is_some();
    if renewed {
        for (track, _) in &mut session.tracks {
            if !track.said_bye && track.sent.0 > 0 {
                return Err(format!("track {}: the file has ended without BYE", track.index));
            }
            track.renew();
        }
    }
    match kind {
        Jump::Seek => seek(session, stage, stage.playing.from.unwrap_or(0), start, (scale, speed)),
        // Only keyframes were read: it begins anew where it stood.
        Jump::Resume if old.is_some_and(|old| old.scale > 2.0) && scale <= 2.0 => {
            resume_anew(session, stage, start, (scale, speed))
        }
        Jump::Resume => resume(session, stage, start, (scale, speed)),
        Jump::Stay => stay(session, stage, start),
    }?;
    session.state = State::Playing;
    Ok(())
}

enum Jump {
    Seek,
    Resume,
    Stay,
}

fn resume_anew(session: &mut Session, stage: &Stage<'_>, start: i64, pace: (f64, f64)) -> Result<(), Fault> {
    let old = session.play.ok_or("resumed before it played")?;
    let end = stage.content.end_nanos().max(1);
    let stood = match stage.was_playing {
        true => Some(old.content_at(stage.world.now)).filter(|_| old.is_exact && session.is_calm),
        false => session.stood,
    };
    let frame = 1_000_000_000 / i64::from(stage.content.presentation.framerate);
    let gop = frame * i64::from(stage.content.presentation.gop_frames);
    let late = stage.world.rules.lateness(old.pace()).mul_f64(old.pace());
    if let Some(stood) = stood {
        let back = (stood - start).rem_euclid(end).min((start - stood).rem_euclid(end));
        if back > gop + 2 * frame + late.as_nanos() as i64 {
            return Err(format!("resumed at {start} ns, {} ms from where it stood", back / 1_000_000));
        }
    }
    let round = stood.map_or(0, |stood| (stood / end).max(0)) as u32;
    seek(session, stage, start, start, pace)?;
    if let Some(play) = &mut session.play {
        (play.until, play.rounds_left) = (old.until, old.rounds_left.map(|left| left.saturating_sub(round)));
    }
    Ok(())
}

fn seek(
    session: &mut Session,
    stage: &Stage<'_>,
    asked: i64,
    start: i64,
    pace: (f64, f64),
) -> Result<(), Fault> {
    let (world, content) = (stage.world, stage.content);
    let mut first_due = start;
    if content.kind(0) == Kind::Video {
        let key = content.keyframe_at(asked);
        let pts = super::content::nanos(content.unit(0, key).pts, 90_000);
        let expected = if asked == 0 { 0 } else { pts.min(asked) };
        if (start - expected).abs() > 1_000 {
            return Err(format!("playing from {asked} ns begins at {start} ns and not at {expected}"));
        }
        first_due = content.dts_nanos(0, key);
    } else if start > asked || start < asked.min(content.end_nanos()) - 600_000_000 {
        return Err(format!("sound from {asked} ns begins at {start} ns"));
    }
    for (track, _) in &mut session.tracks {
        track.expects = Expects::again(track.kind);
        track.map = None;
        track.last = None;
        if !track.enabled {
            continue;
        }
        let info = stage.infos.iter().find(|info| info.url == track.url).ok_or("no RTP-Info")?;
        take_sequence(track, info)?;
        let timestamp = info.rtptime.ok_or("no rtptime")?;
        track.map = Some(Map { timestamp, content: start, scale: pace.0 });
        track.expects = Expects::Start(asked);
    }
    let is_exact = !stage.was_playing || session.over == Over::Udp;
    // A range that ends where the file does names no end of its own: the file is played as often as it is set to be.
    let length = content.presentation.duration.as_nanos() as i64;
    let until = stage.playing.until.filter(|until| until + 1_000_000 < length);
    session.is_whole = session.tracks.iter().filter(|(track, _)| track.enabled).count()
        == usize::from(content.track_count());
    session.play = Some(Play {
        replied: world.now,
        origin: if is_exact { world.now } else { stage.asked.at },
        is_exact,
        content: first_due,
        scale: pace.0,
        speed: pace.1,
        until,
        rounds_left: match until {
            Some(_) => Some(0),
            None => world.rules.settings.loops.map(|loops| loops.saturating_sub(1)),
        },
    });
    Ok(())
}

fn resume(session: &mut Session, stage: &Stage<'_>, start: i64, pace: (f64, f64)) -> Result<(), Fault> {
    let (world, content) = (stage.world, stage.content);
    let old = session.play.ok_or("resumed before it played")?;
    let end = content.end_nanos();
    let lasts = session.tracks.iter().filter_map(|(track, _)| {
        let (unit, round) = track.last?;
        Some((content.dts_nanos(track.index, unit) + i64::from(round) * end, round))
    });
    let (last, mut round) = lasts.max().unwrap_or((old.content, 0));
    let stood = match stage.was_playing {
        true => Some(old).filter(|old| old.is_exact && session.is_calm).map(|old| old.content_at(world.now)),
        false => session.stood,
    };
    let last = stood.unwrap_or(last);
    if let (Some(stood), true) = (stood, end > 0) {
        round = (stood / end).max(0) as u32;
    }
    let guess = start + i64::from(round) * end;
    let guess = if (guess - last).abs() * 2 > end { guess + (last - guess).signum() * end } else { guess };
    let start = unrolled(session, &stage.infos, start, end).unwrap_or(guess);
    let was_fast = old.scale > 2.0;
    let frame = 1_000_000_000 / i64::from(content.presentation.framerate);
    let slack = 2 * frame + world.rules.lateness(old.pace()).mul_f64(old.pace().max(1.0)).as_nanos() as i64;
    if session.is_whole && !was_fast && (start - last).abs() > slack {
        return Err(format!("resumed at {start} ns, {} ms from where it stood", (start - last) / 1_000_000));
    }
    let is_fast = pace.0 > 2.0;
    for (track, _) in &mut session.tracks {
        if !track.enabled {
            track.map = None;
            track.expects = Expects::again(track.kind);
            continue;
        }
        let info = stage.infos.iter().find(|info| info.url == track.url).ok_or("no RTP-Info")?;
        take_sequence(track, info)?;
        take_map(track, info, start, pace.0, frame)?;
        if was_fast || is_fast {
            track.expects = Expects::again(track.kind);
        } else if old.scale != pace.0 && track.expects != Expects::Next {
            // Decoding and presentation draw together: nothing is known of the first timestamp.
            track.forget_latest();
        }
    }
    let is_exact = !stage.was_playing || session.over == Over::Udp;
    session.play = Some(Play {
        replied: world.now,
        origin: if is_exact { world.now } else { stage.asked.at },
        is_exact,
        content: start,
        scale: pace.0,
        speed: pace.1,
        ..old
    });
    Ok(())
}

fn stay(session: &mut Session, stage: &Stage<'_>, start: i64) -> Result<(), Fault> {
    let play = session.play.ok_or("goes on before it played")?;
    let end = stage.content.end_nanos();
    let due = play.content_at(stage.world.now);
    let round = if end > 0 { (due - start + end / 2).max(0) / end } else { 0 };
    let start = unrolled(session, &stage.infos, start, end).unwrap_or(start + round * end);
    for (track, _) in session.tracks.iter_mut().filter(|(track, _)| track.enabled) {
        let info = stage.infos.iter().find(|info| info.url == track.url).ok_or("no RTP-Info")?;
        // Datagrams do not wait for a reply that waits for room on its connection.
        let ahead = info.seq.zip(track.next_sequence).map(|(seq, next)| next.wrapping_sub(seq));
        let waited = if session.over == Over::Udp { 500 } else { 0 };
        if track.has_flowed() && track.map.is_some() && ahead.is_some_and(|ahead| ahead > waited) {
            return Err(format!("track {}: RTP-Info is {ahead:?} packets behind", track.index));
        }
        if track.map.is_none() {
            take_sequence(track, info)?;
            track.expects = Expects::again(track.kind);
        }
        take_map(track, info, start, play.scale, 0)?;
    }
    Ok(())
}

/// A content time of a reply with the rounds of the file before it, as the timestamp beside it tells them.
fn unrolled(session: &Session, infos: &[RtpInfo], start: i64, end: i64) -> Option<i64> {
    let (map, rate, timestamp) = session.tracks.iter().find_map(|(track, _)| {
        let info = infos.iter().find(|info| track.enabled && info.url == track.url)?;
        Some((track.map?, track.rate, info.rtptime?))
    })?;
    let rounds = 0..session.tracks.iter().filter_map(|(track, _)| track.last).map(|last| last.1).max()? + 3;
    let starts = rounds.map(|round| start + i64::from(round) * end);
    starts.min_by_key(|start| (timestamp.wrapping_sub(map.timestamp_of(*start, rate)) as i32).unsigned_abs())
}

/// The sequence number that RTP-Info promises.
fn take_sequence(track: &mut Track, info: &RtpInfo) -> Result<(), Fault> {
    // Sound is not read ahead far enough where only keyframes are sent.
    let Some(seq) = info.seq else {
        track.next_sequence = track.next_sequence.filter(|_| track.has_flowed());
        return Ok(());
    };
    match track.next_sequence.replace(seq) {
        Some(next) if next != seq && track.has_flowed() => {
            Err(format!("track {}: RTP-Info says seq {seq}, but {next} is the next one", track.index))
        }
        _ => Ok(()),
    }
}

/// The timestamp that RTP-Info promises for a content time; it must lie on the track's timeline.
fn take_map(
    track: &mut Track,
    info: &RtpInfo,
    content: i64,
    scale: f64,
    frame_nanos: i64,
) -> Result<(), Fault> {
    let frame_ticks = frame_nanos * track.rate / 1_000_000_000;
    let timestamp = info.rtptime.ok_or("no rtptime")?;
    if let Some(map) = track.map {
        let off = timestamp.wrapping_sub(map.timestamp_of(content, track.rate)) as i32;
        // A microsecond of the Range header is a tenth of a tick. Another scale may begin at a unit that is decoded
        // before the content's first moment.
        let slack = if map.scale == scale { 4 } else { 2 * frame_ticks };
        if i64::from(off).abs() > slack {
            return Err(format!(
                "track {}: rtptime of RTP-Info is {off} ticks off the timeline",
                track.index
            ));
        }
    }
    if track.map.is_none_or(|map| map.scale != scale) {
        track.map = Some(Map { timestamp, content, scale });
    }
    Ok(())
}

fn paused(
    world: &World<'_>,
    session: &mut Session,
    track: Option<u8>,
    response: &Response,
) -> Result<(), Fault> {
    if let Some(index) = track
        && let Some((track, _)) = session.tracks.iter_mut().find(|(track, _)| track.index == index)
    {
        track.enabled = false;
        session.is_whole = false;
        if let Some(content) = world.rules.content(&session.name) {
            track.rest(content);
        }
        if session.tracks.iter().any(|(track, _)| track.enabled) {
            return Ok(());
        }
    }
    if session.state != State::Playing {
        return Ok(());
    }
    let may_be_over = session.may_be_over(world.rules, world.now);
    session.state = State::Paused;
    session.stood =
        session.play.filter(|play| play.is_exact && session.is_calm).map(|play| play.content_at(world.now));
    let (Some(play), Some(content)) = (&session.play, world.rules.content(&session.name)) else {
        return Ok(());
    };
    if content.is_live {
        return Ok(());
    }
    let range = response.header("Range").and_then(|range| Range::parse(range).ok());
    let Some(Span::Npt { from: Some(Npt::At(at)), .. }) = range.map(|range| range.span) else {
        if may_be_over {
            session.state = State::AtStart;
            return Ok(());
        }
        return Err(format!("PAUSE of a file without Range: {response:?}"));
    };
    let off = (at.as_nanos() as i64 - play.content_at(world.now)).rem_euclid(content.end_nanos().max(1));
    let off = off.min(content.end_nanos() - off);
    let frames = Duration::from_secs(2) / content.presentation.framerate;
    let slack = world.rules.lateness(play.pace()).mul_f64(play.pace().max(1.0)) + frames;
    // Another round is entered as soon as nothing of the one before is left to send.
    let gop = Duration::from_secs(1) / content.presentation.framerate * content.presentation.gop_frames;
    let slack = if play.scale > 2.0 && at.is_zero() { slack + gop } else { slack };
    if session.is_calm && play.is_exact && off > slack.as_nanos() as i64 {
        return Err(format!("paused {} ms from where it plays ({at:?})", off / 1_000_000));
    }
    Ok(())
}

impl Ports {
    /// Whether a datagram is a report about this track.
    fn is_report(&self, from: std::net::SocketAddr, to: std::net::SocketAddr, now: Time) -> bool {
        from == self.server_rtcp
            && ((to == self.rtcp && self.translated_by.is_none_or(|by| now <= by))
                || Some(to) == self.translated_rtcp)
    }

    /// Whether a datagram is media of this track.
    fn is_media(&self, from: std::net::SocketAddr, to: std::net::SocketAddr, now: Time) -> bool {
        from == self.server_rtp
            && ((to == self.rtp && self.translated_by.is_none_or(|by| now <= by))
                || Some(to) == self.translated)
    }
}
