//! What must hold of the media that one session is sent: numbers, times and contents, packet by packet.

use std::time::Duration;

use proto::rtcp::parse::{Compound, Packet};
use proto::rtcp::report::SenderInfo;
use proto::rtp::header::Header;
use proto::time::{NtpTime, Time};
use proto::track::Kind;

use super::content::{Content, nanos, unit_begun};
use super::rules::Rules;
use super::session::Over;

/// What is wrong.
pub type Fault = String;

/// Batches leave in ticks of this length.
pub const TICK: Duration = Duration::from_millis(5);

/// Nothing of a file comes earlier than this: datagrams for the sake of other viewers, on a connection what leaves
/// together.
fn early_max(over: Over) -> Duration {
    match over {
        Over::Tcp => Duration::from_millis(85),
        Over::Udp => Duration::from_millis(50),
    }
}

/// Sound begins up to a unit before the picture it goes with.
const PREROLL: Duration = Duration::from_millis(22);

/// Longest time between two sender reports: 5 s times 1.5, divided by e - 3/2 (RFC 3550 section 6.3.1).
const REPORTS: Duration = Duration::from_millis(6_160);

/// A track on its way to a player.
#[derive(Clone, Debug)]
pub struct Track {
    pub index: u8,
    pub kind: Kind,
    pub rate: i64,
    pub url: String,
    pub enabled: bool,
    /// None: the next packet brings a new one.
    pub ssrc: Option<u32>,
    pub old_ssrcs: Vec<u32>,
    pub next_sequence: Option<u16>,
    /// Packets and octets under this SSRC.
    pub sent: (u32, u32),
    /// Number of the last unit that began, and in which round of the file.
    pub last: Option<(u64, u32)>,
    pub timestamp: Option<u32>,
    latest: Option<u32>,
    pub map: Option<Map>,
    pub expects: Expects,
    pub said_bye: bool,
    pub began: Option<Time>,
    pub reported: Option<Time>,
    has_flowed: bool,
    flowed: Option<Time>,
    silence: Duration,
}

/// From content to timestamps.
#[derive(Clone, Copy, Debug)]
pub struct Map {
    pub timestamp: u32,
    /// Content time of it, in nanoseconds, rounds of the file counted on.
    pub content: i64,
    pub scale: f64,
}

/// Which unit comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    /// The one behind the last.
    Next,
    /// The first of a stretch that was asked for at this content time.
    Start(i64),
    /// One that decoding can begin with.
    Keyframe,
    /// Whichever is due.
    Due,
}

/// A stretch of playing.
#[derive(Clone, Copy, Debug)]
pub struct Play {
    /// When the reply left.
    pub replied: Time,
    /// When `content` was due, or a time before that.
    pub origin: Time,
    /// Whether it was exactly then.
    pub is_exact: bool,
    /// How much earlier playing may have begun: the reply may have waited for room on its connection.
    pub waited: Duration,
    /// How much before `content` it may have begun: pictures may be decoded before the first moment, which is what a
    /// reply says then.
    pub preroll: Duration,
    pub content: i64,
    pub scale: f64,
    pub speed: f64,
    /// The fastest pace since the last jump, at which what is read ahead may have been used up.
    pub fastest: f64,
    pub until: Option<i64>,
    /// Further rounds of the file that may come; None = endless.
    pub rounds_left: Option<u32>,
    /// How many of them may not come.
    pub rounds_lack: u32,
}

impl Track {
    pub fn new(index: u8, content: &Content, url: String, ssrc: u32) -> Track {
        Track {
            index,
            kind: content.kind(index),
            rate: content.rate(index),
            url,
            enabled: true,
            ssrc: Some(ssrc),
            old_ssrcs: Vec::new(),
            next_sequence: None,
            sent: (0, 0),
            last: None,
            timestamp: None,
            latest: None,
            map: None,
            expects: Expects::Due,
            said_bye: false,
            began: None,
            reported: None,
            has_flowed: false,
            flowed: None,
            silence: Duration::ZERO,
        }
    }

    /// The next timestamp may be any.
    pub fn forget_latest(&mut self) {
        self.latest = None;
    }

    /// The source ends; the next one has another name.
    pub fn renew(&mut self) {
        self.old_ssrcs.extend(self.ssrc.take());
        self.sent = (0, 0);
        self.last = None;
        self.latest = None;
        self.map = None;
    }

    /// Whether it has ever flowed.
    pub fn has_flowed(&self) -> bool {
        self.has_flowed
    }

    /// It does not flow for a while.
    pub fn rest(&mut self, content: &Content) {
        self.expects = Expects::again(self.kind);
        // Its reports keep their own pace.
        (self.began, self.reported) = (None, Some(Time::ZERO));
        if content.is_live {
            self.next_sequence = None;
        }
    }

    fn take_header(&mut self, header: &Header, payload_octets: usize) -> Result<(), Fault> {
        let index = self.index;
        if header.payload_type != 96 + index {
            return Err(format!("track {index}: payload type {}", header.payload_type));
        }
        match self.ssrc {
            Some(ssrc) if ssrc == header.ssrc => {}
            Some(ssrc) => return Err(format!("track {index}: SSRC {:08x}, not {ssrc:08x}", header.ssrc)),
            None if self.old_ssrcs.contains(&header.ssrc) => {
                return Err(format!("track {index}: SSRC {:08x} goes on behind its BYE", header.ssrc));
            }
            None => {
                self.ssrc = Some(header.ssrc);
                self.said_bye = false;
            }
        }
        if self.said_bye {
            return Err(format!("track {index}: a packet behind BYE"));
        }
        self.has_flowed = true;
        self.sent.0 += 1;
        self.sent.1 += payload_octets as u32;
        Ok(())
    }
}

impl Expects {
    /// What a track begins with that did not flow for a while.
    pub fn again(kind: Kind) -> Expects {
        if kind == Kind::Video { Expects::Keyframe } else { Expects::Due }
    }
}

impl Map {
    pub fn timestamp_of(&self, content: i64, rate: i64) -> u32 {
        let ticks = (content - self.content) as f64 * rate as f64 / self.scale / 1e9;
        self.timestamp.wrapping_add(ticks.round() as i64 as u32)
    }
}

impl Play {
    /// Content nanoseconds a nanosecond.
    pub fn pace(&self) -> f64 {
        self.scale * self.speed
    }

    /// The content time that is due.
    pub fn content_at(&self, at: Time) -> i64 {
        let elapsed = at.as_nanos() as f64 - self.origin.as_nanos() as f64;
        self.content + (elapsed * self.pace()) as i64
    }

    /// The content time that is reached: what is due, up to the end of everything that was asked for.
    pub fn reached(&self, at: Time, content: &Content) -> i64 {
        self.content_at(at).min(self.last(content))
    }

    /// Where everything that was asked for ends.
    pub fn last(&self, content: &Content) -> i64 {
        let rounds = self.rounds_left.map(|left| i64::from(left) + 1);
        let end = rounds.map_or(i64::MAX, |rounds| content.end_nanos() * rounds);
        end.min(self.until.unwrap_or(i64::MAX))
    }

    /// The earliest place where that may be.
    pub fn last_at_least(&self, content: &Content) -> i64 {
        let rounds_left = self.rounds_left.map(|left| left.saturating_sub(self.rounds_lack));
        Play { rounds_left, ..*self }.last(content)
    }

    /// When a content time is due, in nanoseconds of the clock.
    fn due(&self, content: i64) -> f64 {
        self.origin.as_nanos() as f64 + (content - self.content) as f64 / self.pace()
    }
}

/// What is known beside the packet itself.
pub struct Scene<'a> {
    pub at: Time,
    pub rules: &'a Rules,
    pub content: &'a Content,
    /// How it travels.
    pub over: Over,
    /// Whether nothing that the player does holds up its media.
    pub is_calm: bool,
    /// Whether a live stream may lack something here.
    pub may_skip: bool,
    /// When the live source began, and the timestamp of its content zero on this track.
    pub live: Option<(Time, u32)>,
}

/// What a packet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    Whole,
    /// A live stream left something out.
    Skipped,
}

/// Judges one RTP packet.
pub fn take_rtp(track: &mut Track, play: &mut Play, scene: &Scene<'_>, bytes: &[u8]) -> Result<Took, Fault> {
    let index = track.index;
    let (header, payload) = Header::parse(bytes).ok_or_else(|| format!("track {index}: not RTP"))?;
    track.take_header(&header, payload.len())?;
    let expected = track.next_sequence.replace(header.sequence.wrapping_add(1));
    let mut took = Took::Whole;
    if expected.is_some_and(|expected| expected != header.sequence) {
        let expected = expected.unwrap_or_default();
        if !(scene.content.is_live && scene.may_skip) {
            return Err(format!("track {index}: sequence {} follows {expected}", header.sequence));
        }
        took = Took::Skipped;
        if track.kind == Kind::Video {
            track.expects = Expects::Keyframe;
        } else {
            track.expects = Expects::Due;
        }
    }
    report_is_due(track, scene)?;
    let is_new = track.timestamp != Some(header.timestamp);
    track.timestamp = Some(header.timestamp);
    match unit_begun(track.kind, &bytes[payload]) {
        Some(unit) => {
            take_unit(track, play, scene, unit, header.timestamp)?;
            let is_keyframe = track.kind == Kind::Video && scene.content.unit(index, unit).keyframe;
            if is_keyframe && scene.content.is_live && scene.may_skip {
                // What is missing before it may have been of the other tracks alone.
                took = Took::Skipped;
            }
        }
        // Parameter sets may stand before the first bytes of the picture.
        None if is_new && track.kind == Kind::Video => {}
        None if is_new => return Err(format!("track {index}: a timestamp changes within a unit")),
        None => {}
    }
    Ok(took)
}

fn take_unit(
    track: &mut Track,
    play: &mut Play,
    scene: &Scene<'_>,
    unit: u64,
    timestamp: u32,
) -> Result<(), Fault> {
    let (index, content) = (track.index, scene.content);
    if unit >= content.unit_count(index) {
        return Err(format!("track {index}: there is no unit {unit}"));
    }
    let round = check_order(track, play, scene, unit, timestamp)?;
    let facts = content.unit(index, unit);
    let lap = if content.is_live { 0 } else { i64::from(round) * content.end_nanos() };
    let pts = nanos(facts.pts, track.rate) + lap;
    let dts = nanos(facts.dts, track.rate) + lap;
    if play.until.is_some_and(|until| dts >= until) {
        return Err(format!("track {index}: unit {unit} lies behind the end of the range"));
    }
    let predicted = match scene.live {
        Some((_, base)) => Some(base.wrapping_add(facts.pts as u32)),
        None => track.map.map(|map| map.timestamp_of(pts, track.rate)),
    };
    if let Some(predicted) = predicted {
        let off = timestamp.wrapping_sub(predicted) as i32;
        if off.unsigned_abs() > 2 + round {
            return Err(format!("track {index}: unit {unit} has timestamp {timestamp}, {off} ticks off"));
        }
    }
    let is_start = matches!(track.expects, Expects::Start(_));
    if let Some(latest) = track.latest {
        let step = timestamp.wrapping_sub(latest) as i32;
        if is_start && step <= 0 {
            return Err(format!("track {index}: timestamp {timestamp} of a new stretch goes back {step}"));
        }
        if step > 0 {
            track.latest = Some(timestamp);
        }
    } else {
        track.latest = Some(timestamp);
    }
    track.last = Some((unit, round));
    track.expects = Expects::Next;
    check_time(track, play, scene, unit, dts)
}

/// Whether this is the unit that must come; returns the round of the file that it is in.
fn check_order(
    track: &Track,
    play: &Play,
    scene: &Scene<'_>,
    unit: u64,
    timestamp: u32,
) -> Result<u32, Fault> {
    let (index, content) = (track.index, scene.content);
    let is_fast = play.scale > 2.0 && !content.is_live;
    if is_fast && !(track.kind == Kind::Video && content.unit(index, unit).keyframe) {
        return Err(format!("track {index}: unit {unit} is sent at scale {}", play.scale));
    }
    let wrong = |expected: &str| Err(format!("track {index}: unit {unit} comes where {expected} is due"));
    match track.expects {
        Expects::Next => {
            let Some((last, round)) = track.last else { return Ok(0) };
            let gop = u64::from(content.presentation.gop_frames);
            let next = if is_fast { last - last % gop + gop } else { last + 1 };
            if next < content.unit_count(index) {
                return if unit == next { Ok(round) } else { wrong(&format!("unit {next}")) };
            }
            let has_more = play.rounds_left.is_none_or(|left| left > round);
            if unit == 0 && has_more { Ok(round + 1) } else { wrong("the end") }
        }
        Expects::Start(asked) => check_start(track, content, asked, unit).map(|()| 0),
        Expects::Keyframe if !content.unit(index, unit).keyframe => wrong("a keyframe"),
        Expects::Keyframe | Expects::Due => {
            let round = round_at(track, play, scene, unit, timestamp);
            if play.rounds_left.is_none_or(|left| left >= round) { Ok(round) } else { wrong("the end") }
        }
    }
}

/// The round of the file that a unit belongs to, as its timestamp tells, or else in which it is closest to what is due.
fn round_at(track: &Track, play: &Play, scene: &Scene<'_>, unit: u64, timestamp: u32) -> u32 {
    if scene.content.is_live {
        return 0;
    }
    let end = scene.content.end_nanos().max(1);
    let due = play.content_at(scene.at);
    let Some(map) = track.map else {
        let ahead = due - scene.content.dts_nanos(track.index, unit);
        return ((ahead + end / 2).max(0) / end) as u32;
    };
    let pts = nanos(scene.content.unit(track.index, unit).pts, track.rate);
    let off = |round: &i64| {
        let predicted = map.timestamp_of(pts + round * end, track.rate);
        (timestamp.wrapping_sub(predicted) as i32).unsigned_abs()
    };
    (0..due.max(0) / end + 2).min_by_key(off).unwrap_or(0) as u32
}

/// The first unit of a stretch: the last keyframe at or before the time asked for, sound with it.
fn check_start(track: &Track, content: &Content, asked: i64, unit: u64) -> Result<(), Fault> {
    let index = track.index;
    let preroll = PREROLL.as_nanos() as i64;
    if track.kind == Kind::Video {
        let key = content.keyframe_at(asked);
        if unit != key {
            return Err(format!("playing from {asked} ns begins with unit {unit} and not with {key}"));
        }
        return Ok(());
    }
    let begin = content.dts_nanos(index, unit);
    let range = if content.kind(0) == Kind::Video {
        let key = content.dts_nanos(0, content.keyframe_at(asked));
        key - preroll..=key.max(0) + preroll
    } else {
        let asked = asked.min(content.end_nanos());
        asked - 500_000_000 - preroll..=asked + preroll
    };
    if range.contains(&begin) {
        Ok(())
    } else {
        Err(format!("sound from {asked} ns begins at {begin} ns (unit {unit}), not within {range:?}"))
    }
}

fn check_time(track: &Track, play: &Play, scene: &Scene<'_>, unit: u64, dts: i64) -> Result<(), Fault> {
    let at = scene.at.as_nanos() as f64;
    let due = match scene.live {
        Some((origin, _)) => (origin.as_nanos() as f64 + dts as f64).max(play.replied.as_nanos() as f64),
        None => play.due(dts),
    };
    let index = track.index;
    // Viewers are kept in step, and sound comes with the picture before it.
    let step = early_max(scene.over) * if track.kind == Kind::Video { 1 } else { 2 };
    // A microsecond, for the reply states its times in microseconds.
    let early = due - at - (TICK + step + play.waited).as_nanos() as f64 - 2_000.0;
    if early > 0.0 && scene.live.is_none() {
        return Err(format!("track {index}: unit {unit} comes {:.1} ms too early", early / 1e6));
    }
    if scene.is_calm && (play.is_exact || scene.live.is_some()) {
        // A round begins when the round before was sent, sound and all: pictures that are decoded long before they
        // are shown are late then.
        let frame = Duration::from_secs(1) / scene.content.presentation.framerate;
        let wait = if scene.content.presentation.has_b_frames { frame } else { PREROLL };
        // A backlog is sent at the pace of a large picture.
        let backlog = Duration::from_millis(if scene.live.is_some() { 60 } else { 0 });
        let slack = scene.rules.lateness_of(scene.content, play.fastest, scene.over)
            + backlog
            + wait.max(PREROLL).mul_f64(1.0 / play.pace());
        let slack = slack + play.preroll.mul_f64(1.0 / play.pace());
        let late = at - due - slack.as_nanos() as f64;
        if late > 0.0 {
            let (total, slack) = ((at - due) / 1e6, slack.as_millis());
            return Err(format!(
                "track {index}: unit {unit} comes {total:.1} ms late, at most {slack} are due"
            ));
        }
    }
    Ok(())
}

/// Reports come with the first packets, and from then on at the RFC's pace.
fn report_is_due(track: &mut Track, scene: &Scene<'_>) -> Result<(), Fault> {
    // Reports come with media: in a silence of the source there is none to come.
    let gap = track.flowed.replace(scene.at).map_or(Duration::ZERO, |flowed| scene.at.since(flowed));
    track.silence = track.silence.max(gap);
    let silence = track.silence;
    let since = *track.began.get_or_insert(scene.at);
    let slack = scene.rules.lateness(1.0) + silence;
    let (since, allowed) = match track.reported {
        Some(reported) => (reported.max(since), REPORTS),
        None => (since, Duration::from_millis(5)),
    };
    if scene.is_calm && scene.at.since(since) > allowed + slack {
        let silence = scene.at.since(since).as_millis();
        return Err(format!("track {}: no sender report for {silence} ms", track.index));
    }
    Ok(())
}

/// What an RTCP packet says; None for a goodbye that is missing.
pub struct Heard {
    pub info: SenderInfo,
    pub is_bye: bool,
}

/// Reads a compound of the server: a report, a name, perhaps a goodbye, all of one source.
pub fn read_report(bytes: &[u8]) -> Result<Heard, Fault> {
    let compound = Compound::parse(bytes).map_err(|error| format!("RTCP cannot be read: {error}"))?;
    let mut packets = compound.iter();
    let Some(Packet::SenderReport { info, .. }) = packets.next() else {
        return Err("a compound begins without a sender report".into());
    };
    let Some(Packet::SourceDescription(names)) = packets.next() else {
        return Err("no source description behind a report".into());
    };
    let name = names.iter().next();
    if name.is_none_or(|(ssrc, name)| ssrc != info.ssrc || name.is_none_or(<[u8]>::is_empty)) {
        return Err(format!("no CNAME of {:08x}: {name:?}", info.ssrc));
    }
    match packets.next() {
        None => Ok(Heard { info, is_bye: false }),
        Some(Packet::Bye { ssrcs, .. }) if ssrcs.iter().eq([info.ssrc]) => Ok(Heard { info, is_bye: true }),
        other => Err(format!("behind report and name: {other:?}")),
    }
}

/// Judges a sender report.
pub fn take_report(
    track: &mut Track,
    play: Option<&Play>,
    scene: &Scene<'_>,
    info: &SenderInfo,
) -> Result<(), Fault> {
    let index = track.index;
    if track.ssrc.is_none() && info.packets == 0 {
        // A track that was silent so far says goodbye all the same.
        return Ok(());
    }
    if track.ssrc != Some(info.ssrc) {
        return Err(format!("track {index}: a report of {:08x}, not of {:?}", info.ssrc, track.ssrc));
    }
    if (info.packets, info.octets) != track.sent {
        let counts = (info.packets, info.octets);
        return Err(format!("track {index}: the report counts {counts:?}, sent were {:?}", track.sent));
    }
    let wall = scene.rules.wall(scene.at);
    let off = apart(wall, info.ntp);
    // What waits for room on a connection was written earlier.
    if scene.is_calm && off > scene.rules.lateness(1.0) + Duration::from_millis(100) {
        return Err(format!("track {index}: the report's clock is {off:?} off"));
    }
    track.reported = Some(scene.at);
    track.silence = Duration::ZERO;
    let content_rate = track.rate as f64;
    let (predicted, slack) = match (scene.live, track.map, play) {
        (Some((origin, base)), ..) if scene.is_calm => {
            let elapsed = scene.at.since(origin).as_nanos() as f64;
            (base.wrapping_add((elapsed * content_rate / 1e9) as u64 as u32), Duration::ZERO)
        }
        (_, Some(map), Some(play)) if play.is_exact && scene.is_calm => {
            // A unit may be decoded before the first moment.
            let frame = Duration::from_secs(1) / scene.content.presentation.framerate;
            let slack = (PREROLL + frame).mul_f64(1.0 / play.pace());
            (map.timestamp_of(play.content_at(scene.at), track.rate), slack)
        }
        _ => return Ok(()),
    };
    // What waits for room on a connection was written earlier.
    let slack = slack
        + scene.rules.lateness_of(scene.content, play.map_or(1.0, |play| play.fastest), scene.over)
        + Duration::from_millis(50);
    let speed = play.map_or(1.0, |play| play.speed);
    let off = f64::from(info.rtp.wrapping_sub(predicted) as i32) / content_rate;
    if off.abs() > slack.as_secs_f64() * speed.max(1.0) + 0.001 {
        return Err(format!("track {index}: the report's timestamp is {:.1} ms off", off * 1e3));
    }
    Ok(())
}

fn apart(one: NtpTime, other: NtpTime) -> Duration {
    let (one, other) = (one.to_unix(), other.to_unix());
    one.saturating_sub(other) + other.saturating_sub(one)
}
