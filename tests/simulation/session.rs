//! One session as the dialogue has made it, and what it may be sent.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
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
    /// BYE was said before the file's end: the session is gone or about to be.
    pub is_dying: bool,
    /// The player has said goodbye, or is about to lose it by what it does.
    pub may_end: bool,
    /// Its player reads at once and follows the rules.
    pub is_calm: bool,
    pub live: Option<Run>,
    /// Batches that shards had no room for when media last went on.
    pub dropped: u64,
    /// Packets in all.
    pub packets: u64,
    /// Datagrams that fit only what a PLAY has asked for whose reply is not there yet: the reply may have to wait for
    /// room on the connection, media need not.
    pub held: Vec<(Time, usize, bool, Bytes)>,
    /// A live stream may go on at the next keyframe.
    pub may_jump: bool,
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
        if self.held.is_empty() {
            let before = (self.tracks.clone(), self.play, self.state, self.is_dying, self.dropped);
            if self.take(world, world.now, slot, is_report, bytes).is_ok() {
                return Ok(());
            }
            (self.tracks, self.play, self.state, self.is_dying, self.dropped) = before;
        }
        self.held.push((world.now, slot, is_report, bytes.clone()));
        Ok(())
    }

    /// Judges what came before the reply to a PLAY that was asked at a time.
    pub fn take_held(&mut self, world: &World<'_>, asked: Time) -> Result<(), Fault> {
        let held = std::mem::take(&mut self.held);
        if let (Some(play), false) = (&mut self.play, held.is_empty()) {
            (play.origin, play.is_exact) = (asked, false);
        }
        held.iter()
            .try_for_each(|(at, slot, is_report, bytes)| self.take(world, *at, *slot, *is_report, bytes))
    }

    /// Judges a packet.
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
        if let Some(ended) = self.ended {
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
        let has_leading = leading.is_some_and(|(track, _)| track.enabled);
        let base = |run: &Run| {
            let known = run.description.lock().unwrap().clone();
            known.map(|known| (run.origin, known.timestamp_base[usize::from(self.tracks[slot].0.index)]))
        };
        let scene = Scene {
            at,
            rules,
            content,
            is_calm: self.is_calm,
            may_skip: self.may_jump
                || self.dropped != streams.dropped()
                || (self.over == Over::Tcp && !self.is_calm),
            live: self.live.as_ref().and_then(base),
        };
        let track = &mut self.tracks[slot].0;
        if is_report {
            let heard = flow::read_report(bytes)?;
            flow::take_report(track, self.play.as_ref(), &scene, &heard.info)?;
            return if heard.is_bye { self.take_bye(rules, content, at, slot) } else { Ok(()) };
        }
        if self.state != State::Playing || self.is_dying {
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
        if took == Took::Skipped {
            let is_video = track.kind == Kind::Video;
            if is_video || !has_leading {
                // The others go on behind this keyframe, too.
                self.dropped = streams.dropped();
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
        if track.said_bye {
            return Err(format!("track {}: BYE twice", track.index));
        }
        let is_over = self.state == State::Playing && !content.is_live && self.is_sent(content);
        if is_over {
            if let Some(play) = &self.play {
                let rounds = i64::from(play.rounds_left.unwrap_or(0)) + 1;
                let end = (content.end_nanos() * rounds).min(play.until.unwrap_or(i64::MAX));
                let early = end - play.content_at(at) - 6_000_000 * (play.pace().ceil() as i64);
                if play.is_exact && self.is_calm && early > 0 {
                    return Err(format!("BYE {} ms before the end", early / 1_000_000));
                }
            }
            self.state = State::AtStart;
        } else if self.state != State::AtStart && !self.may_be_gone(rules, at) {
            return Err(format!("BYE in the middle ({:?})", self.state));
        }
        let was_start = self.state == State::AtStart;
        if !was_start {
            self.is_dying = true;
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
            let Some((last, round)) = track.last else { return true };
            let gop = u64::from(content.presentation.gop_frames);
            let next = if is_fast { last - last % gop + gop } else { last + 1 };
            if let Some(until) = play.until
                && next < content.unit_count(track.index)
            {
                return nanos(content.unit(track.index, next).dts, track.rate) >= until;
            }
            next >= content.unit_count(track.index) && play.rounds_left.is_some_and(|left| left <= round)
        })
    }

    /// Whether the server may have ended the session of itself.
    pub fn may_be_gone(&self, rules: &Rules, at: Time) -> bool {
        at.since(self.seen) > rules.settings.session_timeout
            || self.is_dying
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
