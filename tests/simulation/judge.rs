//! Judges everything that a server sends to one player, in the order in which it is sent.

use std::time::Duration;

use proto::rtsp::headers::range::{Npt, Range, Span};
use proto::rtsp::headers::rtp_info::RtpInfo;
use proto::rtsp::headers::transport::Transport;
use proto::time::Time;
use ringcaster::driver::sim::Departure;

use super::content::Content;
use super::dialogue::{Ask, Asked, Item, Playing, Response};
use super::flow::{self, Fault, Track};
use super::player::{Player, World};
use super::promises::{Stage, paused, play_file, play_live};
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
                        let (place, slot) = self.taken_over(place, slot, is_report, bytes);
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
                        Item::Alert if self.lines[line].is_faulty => {}
                        Item::Alert => return Err("an alert of TLS to who spoke none".into()),
                    }
                }
                Ok(())
            }
            Departure::Close { wire } => self.take_close(world, *wire),
        }
    }

    /// The session that a report belongs to which comes to a port of another one that has ended: what its player sent
    /// from there when it did not know that looks as if a router had given that port to another session of the host.
    fn taken_over(&self, place: usize, slot: usize, is_report: bool, bytes: &[u8]) -> (usize, usize) {
        let Some(heard) = flow::read_report(bytes).ok().filter(|_| is_report) else { return (place, slot) };
        let session = &self.sessions[place];
        let has_ended = session.ended.is_some() || session.tracks[slot].0.ssrc.is_none();
        let others = self.sessions[..place].iter().enumerate().rev();
        let mut others =
            others.filter(|(_, other)| has_ended && other.over == Over::Udp && other.ended.is_none());
        let found = others.find_map(|(place, other)| {
            let slot = other.tracks.iter().position(|(track, _)| {
                let has_sent = track.sent.0 > 0 && track.sent == (heard.info.packets, heard.info.octets);
                track.ssrc == Some(heard.info.ssrc) && has_sent
            });
            slot.map(|slot| (place, slot))
        });
        found.unwrap_or((place, slot))
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
        if response.is_http {
            return match state.is_faulty {
                true => Ok(()),
                false => Err(format!("HTTP in place of a reply: {response:?}")),
            };
        }
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
            if matches!(response.status, 404 | 500) && matches!(asked.ask, Ask::Play(_)) {
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

    /// What a farewell is answered: one to a track that is not there ends nothing.
    fn farewell(&self, asked: &Asked) -> u16 {
        let (Ask::Teardown(Some(index)), Some(place)) = (&asked.ask, asked.session) else { return 200 };
        let has_track = self.sessions[place].tracks.iter().any(|(track, _)| track.index == *index);
        if has_track { 200 } else { 404 }
    }

    /// The statuses that a reply may have at this moment.
    fn allowed(&self, world: &World<'_>, line: usize, asked: &Asked) -> Vec<u16> {
        let rules = world.rules;
        let session = asked.session.map(|place| &self.sessions[place]);
        let mut allowed = Vec::new();
        let farewell = self.farewell(asked);
        if let Some(session) = session {
            let is_bound_elsewhere = session.over == Over::Tcp && session.line != line;
            if session.ended.is_some() || is_bound_elsewhere {
                return vec![454];
            }
            if session.dying.is_some_and(|dying| asked.at > dying) {
                let is_farewell = matches!(asked.ask, Ask::Teardown(_));
                return if is_farewell { vec![farewell, 454] } else { vec![454] };
            }
            if session.may_be_gone(rules, world.now) || world.is_stopping {
                allowed.push(454);
            }
        }
        let is_file = |name: &str| rules.files.contains_key(name);
        match &asked.ask {
            Ask::Options | Ask::Pause(_) | Ask::Parameter(None | Some(true)) => allowed.push(200),
            Ask::Teardown(_) => allowed.push(farewell),
            Ask::Parameter(Some(false)) => allowed.push(451),
            Ask::Describe(name) | Ask::Setup(name, ..) => {
                if rules.content(name).is_none() {
                    allowed.push(404);
                } else if !is_file(name) {
                    allowed.extend((rules.streams.refusal > 0.0).then_some(503));
                }
                if !is_file(name) && rules.content(name).is_some() || !rules.files_fail() {
                } else {
                    allowed.extend([404, 500]);
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
                    allowed.extend(rules.files_fail().then_some([404, 500]).into_iter().flatten());
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
            allowed.extend([404, 500]);
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
                    Some(_) if response.status == 404 => {}
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
            dying: None,
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
