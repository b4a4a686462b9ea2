//! One session as the dialogue has made it, and what it may be sent.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use proto::rtp::header::Header;
use proto::rtsp::headers::rtp_info::RtpInfo;
use proto::time::Time;
use proto::track::Kind;

use super::content::{Content, nanos};
use super::flow::{self, Expects, Fault, Play, Scene, Took, Track};
use super::player::World;
use super::rules::Rules;
use super::streams::Run;

/// How a session travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Tcp,
    Udp,
}

/// Where one track comes to.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::large_enum_variant, reason = "a handful of them")]
pub enum Route {
    Channels(u8, u8),
    Ports(Ports),
}

/// Addresses of a track over UDP.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The player's, as it said.
    pub rtp: SocketAddr,
    pub rtcp: SocketAddr,
    /// The player's as a router translates it.
    pub translated: Option<SocketAddr>,
    pub translated_rtcp: Option<SocketAddr>,
    /// Since when the server must know.
    pub translated_by: Option<Time>,
    pub server_rtp: SocketAddr,
    pub server_rtcp: SocketAddr,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A PLAY begins at the beginning.
    AtStart,
    Playing,
    Paused,
}

/// Where a session was paused.
#[derive(Clone, Copy, Debug)]
pub struct Stood {
    /// Content time, rounds counted on.
    pub at: i64,
    /// Whether it stood there; else it may not have come so far.
    pub is_exact: bool,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    pub id: String,
    pub name: String,
    pub over: Over,
    /// The line that speaks for it.
    pub line: usize,
    pub tracks: Vec<(Track, Route)>,
    pub state: State,
    pub play: Option<Play>,
    /// The server has seen life at this time, perhaps later.
    pub seen: Time,
    /// The player has shown life at this time at the latest.
    pub signs: Time,
    /// Nothing may flow from here on.
    pub ended: Option<Time>,
    /// BYE was said then, and not at the file's end: the session is gone or about to be.
    pub dying: Option<Time>,
    /// The player has said goodbye, or is about to lose it by what it does.
    pub may_end: bool,
    /// Its player reads at once and follows the rules.
    pub is_calm: bool,
    pub live: Option<Run>,
    /// When the latest keyframe that was sent was published: nothing is missing up to then.
    pub keyed: Time,
    /// Packets in all.
    pub packets: u64,
    /// Datagrams since a PLAY was asked whose reply is not there yet: the reply may have to wait for room on the
    /// connection, media need not.
    pub held: Vec<(Time, usize, bool, Bytes)>,
    /// A live stream may go on at the next keyframe.
    pub may_jump: bool,
    /// Where it was paused.
    pub stood: Option<Stood>,
    /// All tracks have flowed together since the last jump.
    pub is_whole: bool,
}

impl Session {
    /// Judges a datagram.
    pub fn take_datagram(
        &mut self,
        world: &World<'_>,
        slot: usize,
        is_report: bool,
        bytes: &Bytes,
        is_play_asked: bool,
    ) -> Result<(), Fault> {
        if !is_play_asked {
            return self.take(world, world.now, slot, is_report, bytes);
        }
        self.held.push((world.now, slot, is_report, bytes.clone()));
        Ok(())
    }

    /// Judges what came before the reply to a PLAY and still belongs to what was before it.
    pub fn take_held_before(&mut self, world: &World<'_>, infos: &[RtpInfo]) -> Result<(), Fault> {
        let mut held = std::mem::take(&mut self.held);
        let split = held.iter().position(|(_, slot, is_report, bytes)| {
            let track = &self.tracks[*slot].0;
            let info = infos.iter().find(|info| info.url == track.url);
            let header = Header::parse(bytes).map(|(header, _)| header);
            match (is_report, header, info.and_then(|info| info.seq)) {
                (true, ..) | (_, None, _) => false,
                (false, Some(header), Some(seq)) => header.sequence.wrapping_sub(seq) < 0x8000,
                (false, Some(_), None) => !infos.is_empty() && self.state != State::Playing,
            }
        });
        let mut split = split.unwrap_or(held.len());
        // A report may leave before the first media of what the reply is about; a goodbye is about what was before.
        let is_of_either = |(_, _, is_report, bytes): &(Time, usize, bool, Bytes)| {
            *is_report && flow::read_report(bytes).is_ok_and(|heard| !heard.is_bye)
        };
        while split > 0 && !infos.is_empty() && is_of_either(&held[split - 1]) {
            split -= 1;
        }
        self.held = held.split_off(split);
        if self.state == State::Paused && !held.is_empty() {
            // PAUSE was asked together with PLAY.
            self.state = State::Playing;
            held.iter().try_for_each(|(at, slot, is_report, bytes)| {
                self.take(world, *at, *slot, *is_report, bytes)
            })?;
            self.state = State::Paused;
            return Ok(());
        }
        held.iter()
            .try_for_each(|(at, slot, is_report, bytes)| self.take(world, *at, *slot, *is_report, bytes))
    }

    /// Judges what came up to a goodbye that was said before this moment.
    pub fn take_held_bye(&mut self, world: &World<'_>) -> Result<(), Fault> {
        let is_bye = |(_, _, is_report, bytes): &(Time, usize, bool, Bytes)| {
            *is_report && flow::read_report(bytes).is_ok_and(|heard| heard.is_bye)
        };
        let count = self.held.iter().rposition(is_bye).map_or(0, |place| place + 1);
        let held: Vec<_> = self.held.drain(..count).collect();
        held.iter()
            .try_for_each(|(at, slot, is_report, bytes)| self.take(world, *at, *slot, *is_report, bytes))
    }

    /// Judges the rest of it.
    pub fn take_held_behind(&mut self, world: &World<'_>, asked: Time) -> Result<(), Fault> {
        let held = std::mem::take(&mut self.held);
        let waited = held.iter().any(|(at, ..)| *at != world.now);
        if let Some(play) = self.play.as_mut().filter(|play| waited && play.replied == world.now) {
            (play.origin, play.is_exact) = (asked, false);
        }
        held.iter()
            .try_for_each(|(at, slot, is_report, bytes)| self.take(world, *at, *slot, *is_report, bytes))
    }

    /// Judges a packet.
    #[allow(clippy::too_many_lines, reason = "one branch a kind of packet")]
    pub fn take(
        &mut self,
        world: &World<'_>,
        at: Time,
        slot: usize,
        is_report: bool,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let (rules, streams) = (world.rules, world.streams);
        let content = rules.content(&self.name).ok_or("a session of nothing")?;
        if let Some(ended) = self.ended.filter(|ended| at >= *ended) {
            return Err(format!("track {slot} flows behind the end of its session at {}", seconds(ended)));
        }
        if self.over == Over::Udp {
            let patience = rules.settings.session_timeout + Duration::from_secs(1) + rules.lateness(1.0);
            if at > self.signs + patience + rules.weather.hold.end {
                return Err(format!("media flows, but the last sign of life was at {}", seconds(self.signs)));
            }
        } else {
            self.signs = at;
            if self.is_calm {
                self.seen = at;
            }
        }
        let leading = self.tracks.iter().find(|(track, _)| track.kind == Kind::Video);
        let has_leading = leading.is_some_and(|(track, _)| track.enabled && track.expects == Expects::Next);
        let base = |run: &Run| {
            let known = run.description.lock().unwrap().clone();
            known.map(|known| (run.origin, known.timestamp_base[usize::from(self.tracks[slot].0.index)]))
        };
        let scene = Scene {
            at,
            rules,
            content,
            over: self.over,
            is_calm: self.is_calm,
            // Whoever joins at an old keyframe goes on at the next one.
            may_skip: self.may_jump
                || self.play.is_some_and(|play| at.since(play.replied) < Duration::from_millis(100))
                || streams.last_drop() >= self.keyed
                || (self.over == Over::Tcp && !self.is_calm),
            live: self.live.as_ref().and_then(base),
        };
        let track = &mut self.tracks[slot].0;
        if is_report {
            let heard = flow::read_report(bytes)?;
            flow::take_report(track, self.play.as_ref(), &scene, &heard.info)?;
            return if heard.is_bye { self.take_bye(rules, content, at, slot) } else { Ok(()) };
        }
        if self.state != State::Playing || self.dying.is_some() {
            return Err(format!("track {} flows, but the session is {:?}", track.index, self.state));
        }
        if !track.enabled {
            return Err(format!("track {} flows, but it was not asked for", track.index));
        }
        let play = self.play.as_mut().ok_or("media before PLAY")?;
        self.packets += 1;
        let took = flow::take_rtp(track, play, &scene, bytes)?;
        if track.kind == Kind::Video || !has_leading {
            self.may_jump = false;
        }
        if let (Some((origin, _)), Some((unit, _))) = (scene.live, track.last) {
            let published = origin + Duration::from_nanos(content.dts_nanos(track.index, unit).max(0) as u64);
            if track.kind == Kind::Video && content.unit(track.index, unit).keyframe {
                self.keyed = published;
            } else if !has_leading {
                self.keyed = Time::from_nanos(published.as_nanos().saturating_sub(15_000_000_000));
            }
        }
        if took == Took::Skipped {
            let is_video = track.kind == Kind::Video;
            if is_video || !has_leading {
                // The others go on behind this keyframe, too.
                for (track, _) in &mut self.tracks {
                    if track.kind != Kind::Video {
                        track.next_sequence = None;
                        track.expects = Expects::Due;
                    }
                }
            } else {
                return Err("sound skips before its pictures do".into());
            }
        }
        Ok(())
    }

    fn take_bye(&mut self, rules: &Rules, content: &Content, at: Time, slot: usize) -> Result<(), Fault> {
        let track = &self.tracks[slot].0;
        if track.ssrc.is_none() {
            // It was silent from its beginning to its end.
            return Ok(());
        }
        if track.said_bye {
            return Err(format!("track {}: BYE twice", track.index));
        }
        let is_over = self.state == State::Playing && !content.is_live && self.is_sent(content);
        let may_be_gone = self.may_be_gone(rules, at);
        let early =
            self.play.as_ref().filter(|play| is_over && play.is_exact && self.is_calm).map_or(0, |play| {
                let end = play.last_at_least(content);
                // The last stretch may not know that a picture before it is shown behind it.
                let frame = 1_000_000_000 / i64::from(content.presentation.framerate);
                end - frame - play.content_at(at) - 6_000_000 * (play.pace().ceil() as i64)
            });
        if is_over && early <= 0 {
            self.state = State::AtStart;
        } else if is_over && !may_be_gone {
            return Err(format!("BYE {} ms before the end", early / 1_000_000));
        } else if self.state != State::AtStart && !may_be_gone {
            let lasts: Vec<_> = self.tracks.iter().map(|(track, _)| (track.index, track.last)).collect();
            return Err(format!("BYE in the middle ({:?}, {lasts:?})", self.state));
        }
        let was_start = self.state == State::AtStart;
        if was_start {
            // What was silent so far ends as well.
            let tracks = self.tracks.iter_mut().map(|(track, _)| track);
            tracks.filter(|track| track.sent.0 == 0).for_each(Track::renew);
        } else {
            self.dying = Some(at);
        }
        let track = &mut self.tracks[slot].0;
        track.said_bye = true;
        track.renew();
        Ok(())
    }

    /// Whether every track that flows was sent to the end of what was asked for.
    fn is_sent(&self, content: &Content) -> bool {
        let Some(play) = &self.play else { return false };
        let is_fast = play.scale > 2.0;
        let mut tracks = self.tracks.iter().map(|(track, _)| track);
        tracks.all(|track| {
            if !track.enabled || track.said_bye || (is_fast && track.kind != Kind::Video) {
                return true;
            }
            // A stretch may be too short for a unit of every track.
            let Some((last, round)) = track.last.filter(|_| track.expects == Expects::Next) else {
                return true;
            };
            let gop = u64::from(content.presentation.gop_frames);
            let next = if is_fast { last - last % gop + gop } else { last + 1 };
            if let Some(until) = play.until
                && next < content.unit_count(track.index)
            {
                return nanos(content.unit(track.index, next).dts, track.rate) >= until;
            }
            let may_be_last = play.rounds_left.is_some_and(|left| left <= round + play.rounds_lack);
            next >= content.unit_count(track.index) && may_be_last
        })
    }

    /// Whether a stretch without a single unit may have come to its end: that cannot be seen.
    pub fn may_be_over(&self, rules: &Rules, at: Time) -> bool {
        let (Some(play), Some(content)) = (&self.play, rules.content(&self.name)) else { return false };
        let is_silent = self.tracks.iter().all(|(track, _)| track.sent.0 == 0);
        let end = play.last_at_least(content);
        let frame = 2_000_000_000 / i64::from(content.presentation.framerate);
        self.state == State::Playing && is_silent && play.content_at(at) + frame > end
    }

    /// Whether the server may have ended the session of itself.
    pub fn may_be_gone(&self, rules: &Rules, at: Time) -> bool {
        at.since(self.seen) > rules.settings.session_timeout
            || self.dying.is_some()
            || self.may_end
            || self.ended.is_some()
            || (self.live.is_none() && rules.files_fail())
            || self.live.as_ref().is_some_and(Run::is_lost)
    }
}

/// A time as seconds, for messages.
pub fn seconds(at: Time) -> String {
    format!("{:.6} s", at.as_nanos() as f64 / 1e9)
}
