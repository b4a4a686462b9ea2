//! What one viewer is sent of a stream, judged packet by packet.

use std::net::SocketAddr;
use std::time::Duration;

use proto::rtp::header::Header;
use proto::rtsp::headers::rtp_info::RtpInfo;
use proto::time::Time;
use ringcaster::config::GopCache;

use super::super::flow::{Fault, read_report};
use super::super::session::seconds;
use super::caller::{Ports, World};
use super::history::History;
use super::ledger::{Ledger, Place, Seen, Sent};
use super::source::Form;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Tracks may be told apart by so much (ITU-R BT.1359 has sound noticed at 45 ms).
const IN_STEP: i64 = 20_000_000;

/// Who joins at an old keyframe may go on at the next one.
const JOINS: Duration = Duration::from_millis(300);

/// Where a track comes to.
#[derive(Clone, Copy, Debug)]
pub enum Route {
    Channels(u8, u8),
    /// With where media comes from.
    Ports(Ports, SocketAddr),
}

/// One track on its way to a viewer.
#[derive(Debug)]
pub struct Track {
    form: Form,
    ssrc: u32,
    route: Route,
    last: Option<Last>,
    sent: (u32, u32),
    said_bye: bool,
    /// Whether the next packet is the first since a PLAY.
    starts: bool,
    /// What RTP-Info said that comes next.
    promised: Option<u16>,
    /// The highest timestamp, and when it was sent to the viewer.
    highest: Option<(u32, Time)>,
    step: Option<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    seen: Seen,
    sent_at: Time,
    lag: Duration,
    epoch: u32,
}

/// What a report told of a moment of the source.
#[derive(Clone, Copy, Debug)]
struct Step {
    source: u16,
    epoch: u32,
    /// Wall clock less media time, in nanoseconds.
    off: i64,
    at: Time,
}

/// A session of a viewer.
#[derive(Debug)]
pub struct Watch {
    pub id: String,
    pub tracks: Vec<Track>,
    /// When the last PLAY was answered.
    pub played: Option<Time>,
    pub packets: u64,
    /// Jumps to a later keyframe.
    pub shed: u64,
    /// The greatest difference between tracks that reports told, in nanoseconds.
    pub apart: i64,
    /// The longest way of a packet that was sent while this was watched.
    pub latest: Duration,
    path: usize,
    layout: usize,
    began: Time,
    is_playing: bool,
    play_asked: Option<Time>,
    is_slow: bool,
    is_forsaken: bool,
    says_goodbye: bool,
    ended: Option<Time>,
    /// What is missing and must be missing for everyone, by source and numbers.
    gaps: Vec<(u32, u64, u64)>,
    /// Beginnings whose earlier parts nobody can have been sent.
    firsts: Vec<(u32, usize, Place)>,
}

impl Track {
    pub fn new(form: Form, ssrc: u32, route: Route) -> Track {
        Track {
            form,
            ssrc,
            route,
            last: None,
            sent: (0, 0),
            said_bye: false,
            starts: true,
            promised: None,
            highest: None,
            step: None,
        }
    }
}

impl Watch {
    pub fn new(id: String, path: usize, layout: usize, began: Time) -> Watch {
        Watch {
            id,
            tracks: Vec::new(),
            played: None,
            packets: 0,
            shed: 0,
            apart: 0,
            latest: Duration::ZERO,
            path,
            layout,
            began,
            is_playing: false,
            play_asked: None,
            is_slow: false,
            is_forsaken: false,
            says_goodbye: false,
            ended: None,
            gaps: Vec::new(),
            firsts: Vec::new(),
        }
    }

    pub fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    pub fn is_playing(&self) -> bool {
        self.is_playing
    }

    pub fn ask_play(&mut self, now: Time) {
        self.play_asked = Some(now);
        self.tracks.iter_mut().for_each(|track| track.starts = true);
    }

    pub fn play(&mut self, world: &World<'_>, infos: &[RtpInfo], is_slow: bool) -> Result<(), Fault> {
        if infos.len() != self.tracks.len() {
            return Err(format!("RTP-Info is about {} tracks: {infos:?}", infos.len()));
        }
        (self.played, self.play_asked, self.is_playing) = (Some(world.now), None, true);
        self.is_slow |= is_slow;
        for (track, info) in self.tracks.iter_mut().zip(infos) {
            // Datagrams may have left before the reply.
            track.promised = info.seq.filter(|_| track.starts);
        }
        Ok(())
    }

    pub fn pause(&mut self) {
        self.is_playing = false;
    }

    /// Its viewer ends it.
    pub fn say_goodbye(&mut self) {
        self.says_goodbye = true;
    }

    /// Its viewer has left: nothing is judged any more.
    pub fn forsake(&mut self, now: Time) {
        self.is_forsaken = true;
        self.ended.get_or_insert(now);
    }

    pub fn ports(&self) -> impl Iterator<Item = Ports> {
        self.tracks.iter().filter_map(|track| match track.route {
            Route::Ports(ports, _) => Some(ports),
            Route::Channels(..) => None,
        })
    }

    /// The track that a datagram is of, and whether it is a report.
    pub fn slot_of(&self, to: SocketAddr) -> Option<(usize, bool)> {
        self.tracks.iter().enumerate().find_map(|(slot, track)| match track.route {
            Route::Ports(ports, _) if ports.rtp == to => Some((slot, false)),
            Route::Ports(ports, _) if ports.rtcp == to => Some((slot, true)),
            _ => None,
        })
    }

    /// The track that a channel carries, and whether it carries its reports.
    pub fn slot_on(&self, channel: u8) -> Option<(usize, bool)> {
        self.tracks.iter().enumerate().find_map(|(slot, track)| match track.route {
            Route::Channels(rtp, _) if rtp == channel => Some((slot, false)),
            Route::Channels(_, rtcp) if rtcp == channel => Some((slot, true)),
            _ => None,
        })
    }

    /// Takes a packet.
    pub fn take(
        &mut self,
        world: &World<'_>,
        slot: usize,
        is_report: bool,
        bytes: &[u8],
        ledger: &mut Ledger,
        histories: &[History],
    ) -> Result<(), Fault> {
        if self.is_forsaken {
            return Ok(());
        }
        if is_report {
            return self.take_report(world, slot, bytes, ledger, &histories[self.path]);
        }
        if self.ended.is_some() || !(self.is_playing || self.play_asked.is_some()) {
            return Err(format!("track {slot} flows, playing: {}, ended: {:?}", self.is_playing, self.ended));
        }
        let (header, payload) = Header::parse(bytes).ok_or("not RTP")?;
        let (form, ssrc) = (self.tracks[slot].form, self.tracks[slot].ssrc);
        if header.ssrc != ssrc {
            return Err(format!("track {slot}: SSRC {:08x}, not {ssrc:08x}", header.ssrc));
        }
        self.packets += 1;
        let track = &mut self.tracks[slot];
        track.sent = (track.sent.0 + 1, track.sent.1.wrapping_add(payload.len() as u32));
        let since = if self.play_asked.is_some() { None } else { self.played };
        let catches_up = world.rules.settings.gop_cache == GopCache::CatchUp;
        let is_true = |sent: &Sent| !catches_up || since.is_some_and(|played| sent.at >= played);
        let seen = ledger.see(world.rules, (self.path, form), &header, &bytes[payload], is_true)?;
        let sent = ledger.packet(seen.track, seen.place).clone();
        self.check_sequence(world, slot, &header, &seen, ledger)?;
        self.check_timestamp(world, slot, header.timestamp, &sent, ledger)?;
        self.check_time(world, &sent)?;
        let track = &mut self.tracks[slot];
        track.last = Some(Last { seen, sent_at: sent.at, lag: sent.lag, epoch: sent.epoch });
        track.starts = false;
        Ok(())
    }

    fn check_sequence(
        &mut self,
        world: &World<'_>,
        slot: usize,
        header: &Header,
        seen: &Seen,
        ledger: &Ledger,
    ) -> Result<(), Fault> {
        let joins = self.played.is_none_or(|played| world.now.since(played) < JOINS);
        let track = &mut self.tracks[slot];
        let dropped = world.streams.dropped() > 0
            && track.last.is_some_and(|last| {
                let drop = world.streams.last_drop();
                drop + world.rules.lateness() >= last.sent_at
            });
        let may_skip = self.is_slow || track.starts || joins || dropped;
        if let Some(promised) = track.promised.take()
            && promised != header.sequence
            && !(self.is_slow || dropped || world.streams.last_drop() + MS(500) > world.now)
        {
            return Err(format!("track {slot} begins with {}, RTP-Info said {promised}", header.sequence));
        }
        if let Some(last) = track.last {
            if seen.number <= last.seen.number {
                return Err(format!("track {slot}: {:?} goes back behind {:?}", seen.ident, last.seen.ident));
            }
            if seen.number == last.seen.number + 1 {
                return Ok(());
            }
            let is_explained = ledger.may_lack(seen.track, last.seen.place, seen.place)
                && last.seen.place.source == seen.place.source;
            if !may_skip {
                if !ledger.may_lack(seen.track, last.seen.place, seen.place) {
                    return Err(format!("track {slot} lacks what is between {last:?} and {seen:?}"));
                }
                self.gaps.push((track.ssrc, last.seen.number, seen.number));
                return Ok(());
            }
            if is_explained || track.form != Form::Pictures {
                return Ok(());
            }
            self.shed += u64::from(!track.starts);
        } else if track.form != Form::Pictures {
            return Ok(());
        }
        let facts = &ledger.sources[usize::from(seen.place.source)].tracks[seen.track][seen.place.order];
        if !facts.ident.is_key {
            return Err(format!("track {slot} goes on with {:?} and not with a keyframe", seen.ident));
        }
        if facts.ident.packet > 0 {
            self.firsts.push((track.ssrc, seen.track, seen.place));
        }
        Ok(())
    }

    /// What a viewer sees of timestamps, whatever they are to the stream: they go on with the time that passes.
    fn check_timestamp(
        &mut self,
        world: &World<'_>,
        slot: usize,
        timestamp: u32,
        sent: &Sent,
        ledger: &Ledger,
    ) -> Result<(), Fault> {
        let disorder = ledger.sources[usize::from(sent.ident.source)].disorder;
        let track = &mut self.tracks[slot];
        if let Some(behind) = ledger.behind(track.ssrc, sent, timestamp)
            && behind < 0
        {
            return Err(format!("{:?} is {behind} ticks behind the stream's own time", sent.ident));
        }
        let Some((highest, at)) = track.highest else {
            track.highest = Some((timestamp, world.now));
            return Ok(());
        };
        let step = i64::from(timestamp.wrapping_sub(highest) as i32) * 1_000_000 / track.form.rate();
        let last = track.last.map_or((sent.at, Duration::ZERO), |last| (last.sent_at, last.lag));
        let elapsed = world.now.since(at).max(sent.at.since(last.0)) + sent.lag + last.1;
        let slack = (world.rules.jitter() + disorder) * 2 + MS(1_000);
        // A burst that this viewer was not sent has run ahead of the time that passed.
        let unseen = || {
            let last = track.last.map(|last| ledger.longest_lag(last.seen.track, last.seen.place, sent));
            last.unwrap_or_default()
        };
        let is_ahead = |slack: Duration| step > (elapsed + slack).as_micros() as i64;
        let is_back = step < -(disorder.as_micros() as i64) - 1;
        if is_back || (is_ahead(slack) && is_ahead(slack + unseen())) {
            return Err(format!(
                "track {slot}: {:?} is {step} us behind the highest, {elapsed:?} passed",
                sent.ident
            ));
        }
        if step > 0 {
            track.highest = Some((timestamp, world.now));
        }
        Ok(())
    }

    /// What is live comes at once.
    fn check_time(&mut self, world: &World<'_>, sent: &Sent) -> Result<(), Fault> {
        if self.is_slow || self.play_asked.is_some() || self.played.is_none_or(|played| sent.at < played) {
            return Ok(());
        }
        let took = world.now.since(sent.at);
        let most = world.rules.lateness() + sent.lag + MS(200);
        self.latest = self.latest.max(took);
        if took > most {
            return Err(format!("{:?} took {took:?}, at most {most:?} is due", sent.ident));
        }
        Ok(())
    }

    fn take_report(
        &mut self,
        world: &World<'_>,
        slot: usize,
        bytes: &[u8],
        ledger: &Ledger,
        history: &History,
    ) -> Result<(), Fault> {
        let heard = read_report(bytes)?;
        let track = &mut self.tracks[slot];
        if heard.info.ssrc != track.ssrc {
            return Err(format!("track {slot}: a report of {:08x}", heard.info.ssrc));
        }
        if (heard.info.packets, heard.info.octets) != track.sent {
            return Err(format!("track {slot}: a report of {:?}, sent were {:?}", heard.info, track.sent));
        }
        if track.said_bye {
            return Err(format!("track {slot}: a report behind BYE"));
        }
        let wall = world.rules.wall(world.now);
        let off = wall.since(heard.info.ntp).0;
        if !self.is_slow && !(0..=world.rules.lateness().as_nanos() as i64).contains(&off) {
            return Err(format!("track {slot}: the report's clock is {off} ns off"));
        }
        if let (Some(last), Some((highest, _))) = (track.last, track.highest)
            && self.played.is_some_and(|played| last.sent_at >= played)
        {
            let sent = ledger.packet(last.seen.track, last.seen.place);
            let shift = ledger.behind(track.ssrc, sent, highest).unwrap_or(0);
            let timestamp = highest.wrapping_sub(shift as u32);
            let ahead =
                i64::from(timestamp.wrapping_sub(heard.info.rtp) as i32) * 1_000_000 / track.form.rate();
            let told = heard.info.ntp.since(world.rules.wall(Time::ZERO)).0 + ahead * 1_000;
            let off = told - sent.media;
            let source = last.seen.place.source;
            track.step = Some(Step { source, epoch: last.epoch, off, at: world.now });
        }
        if heard.is_bye {
            track.said_bye = true;
            let is_excused = self.ended.is_some() || self.is_slow || self.says_goodbye;
            let may_end = is_excused || history.may_end(world.rules, world.now, self.layout);
            self.ended.get_or_insert(world.now);
            return if may_end { Ok(()) } else { Err(format!("BYE without a reason: {history:?}")) };
        }
        self.check_step(world, slot, ledger)
    }

    /// Reports align the tracks.
    fn check_step(&mut self, world: &World<'_>, slot: usize, ledger: &Ledger) -> Result<(), Fault> {
        let Some(here) = self.tracks[slot].step else { return Ok(()) };
        for other in (0..self.tracks.len()).filter(|other| *other != slot) {
            let Some(there) = self.tracks[other].step else { continue };
            let is_current = |track: &Track, step: &Step| {
                track
                    .last
                    .is_some_and(|last| last.seen.place.source == step.source && last.epoch == step.epoch)
            };
            // What the next source sends moves the clocks before a viewer is sent any of it.
            let is_comparable = ledger.is_latest(here.source)
                && here.source == there.source
                && here.epoch == there.epoch
                && is_current(&self.tracks[slot], &here)
                && is_current(&self.tracks[other], &there);
            if !is_comparable {
                continue;
            }
            let facts = &ledger.sources[usize::from(here.source)];
            let first = here.at.min(there.at);
            let is_settled =
                facts.settled.iter().all(|at| at.is_some_and(|at| at + world.rules.lateness() <= first));
            let apart = (here.off - there.off).abs();
            // Until the source has told, arrival is all that is known.
            let most = if is_settled || apart <= IN_STEP {
                IN_STEP
            } else {
                let lags = facts.tracks.iter().flatten().map(|sent| sent.lag);
                let slack =
                    (world.rules.jitter() + facts.disorder) * 2 + MS(300) + lags.max().unwrap_or_default();
                IN_STEP + slack.as_nanos() as i64
            };
            if is_settled {
                self.apart = self.apart.max(apart);
            }
            if apart > most {
                let (apart, most) = (apart / 1_000_000, most / 1_000_000);
                return Err(format!("tracks are {apart} ms apart, at most {most}: {here:?} {there:?}"));
            }
        }
        Ok(())
    }

    /// What must have come by now has come, and what is over was said to be.
    pub fn check_alive(
        &self,
        world: &World<'_>,
        ledger: &Ledger,
        histories: &[History],
    ) -> Result<(), Fault> {
        let history = &histories[self.path];
        if !self.is_playing || self.is_slow || self.ended.is_some() {
            return Ok(());
        }
        let patience = world.rules.lateness() * 2 + MS(1_000);
        let long_ago = self.played.is_some_and(|played| world.now.since(played) > patience);
        if long_ago && history.must_have_ended(world.rules, world.now) {
            return Err(format!("the stream is over, nobody has said so: {history:?}"));
        }
        let (Some(played), Some(track)) = (self.played, self.tracks.first()) else { return Ok(()) };
        if track.form != Form::Pictures || !history.is_whole_since(world.rules, self.began, self.layout) {
            return Ok(());
        }
        let Some((place, at)) = ledger.sure_keyframe(self.path, world.now, patience) else { return Ok(()) };
        let has_come = track.last.is_some_and(|last| last.seen.place >= place);
        let is_due = at >= played && history.is_on_since(at);
        if is_due && !has_come && world.streams.last_drop() + MS(1_000) < at {
            let last = track.last.map(|last| last.seen);
            return Err(format!("{place:?} of {} has not come, the last is {last:?}", seconds(at)));
        }
        Ok(())
    }

    /// At the end everything is known that anybody was sent.
    pub fn check_whole(&self, ledger: &Ledger) -> Result<(), Fault> {
        for (ssrc, after, before) in &self.gaps {
            if ledger.has_between(*ssrc, *after, *before) {
                return Err(format!("others were sent what lies between {after} and {before} of {ssrc:08x}"));
            }
        }
        for (ssrc, track, place) in &self.firsts {
            if ledger.has_earlier_part(*ssrc, *track, *place) {
                return Err(format!("began with a later part of a keyframe, {place:?}"));
            }
        }
        Ok(())
    }
}
