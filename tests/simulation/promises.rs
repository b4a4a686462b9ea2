//! What the replies to PLAY and PAUSE promise, and what of it must hold already.

use std::time::Duration;

use proto::rtsp::headers::range::{Npt, Range, Span};
use proto::rtsp::headers::rtp_info::RtpInfo;
use proto::time::Time;
use proto::track::Kind;

use super::content::Content;
use super::dialogue::{Asked, Playing, Response};
use super::flow::{self, Expects, Fault, Map, Play, Track};
use super::player::World;
use super::session::{Over, Session, State, Stood};

/// What a PLAY is judged by.
pub struct Stage<'a> {
    pub world: &'a World<'a>,
    pub content: &'a Content,
    pub asked: &'a Asked,
    pub playing: Playing,
    pub was_playing: bool,
    pub infos: Vec<RtpInfo>,
}

impl Stage<'_> {
    /// How long ago playing may have begun.
    fn waited(&self, session: &Session) -> Duration {
        if session.over == Over::Udp { Duration::ZERO } else { self.world.now.since(self.asked.at) }
    }

    /// Whether the reply leaves when playing begins: it may have to wait for room on its connection.
    fn is_exact(&self, session: &Session) -> bool {
        session.over == Over::Udp || (!self.was_playing && session.is_calm)
    }
}

pub fn play_live(session: &mut Session, stage: &Stage<'_>) -> Result<(), Fault> {
    let world = stage.world;
    let jumps = session.tracks.iter().filter(|(track, _)| track.enabled).any(|(track, _)| {
        let info = stage.infos.iter().find(|info| info.url == track.url);
        match (info.and_then(|info| info.seq), track.next_sequence) {
            (Some(promised), Some(next)) => promised != next,
            // Pictures that begin anew do so at a keyframe, and the others with them.
            (Some(_), None) => track.kind == Kind::Video,
            (None, _) => false,
        }
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
            waited: Duration::ZERO,
            preroll: Duration::ZERO,
            content: 0,
            scale: 1.0,
            speed: 1.0,
            fastest: 1.0,
            until: None,
            rounds_left: None,
            rounds_lack: 0,
        });
    }
    Ok(())
}

pub fn play_file(
    session: &mut Session,
    stage: &Stage<'_>,
    start: i64,
    response: &Response,
) -> Result<(), Fault> {
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
        let has_said = session.tracks.iter().any(|(track, _)| track.said_bye);
        for (track, _) in &mut session.tracks {
            if !track.said_bye && track.sent.0 > 0 {
                return Err(format!("track {}: the file has ended without BYE", track.index));
            }
            // Whoever was set up behind the end has its name already.
            if !has_said {
                track.ssrc = None;
            }
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
    let stood = stands(session, stage, &old);
    let frame = 1_000_000_000 / i64::from(stage.content.presentation.framerate);
    let gop = frame * i64::from(stage.content.presentation.gop_frames);
    let late = stage
        .world
        .rules
        .lateness_of(stage.content, old.fastest, session.over)
        .mul_f64(old.pace())
        .as_nanos() as i64;
    if stood.is_exact {
        let back = (stood.at - start).rem_euclid(end).min((start - stood.at).rem_euclid(end));
        if back > gop + 2 * frame + late {
            return Err(format!("resumed at {start} ns, {} ms from where it stood", back / 1_000_000));
        }
    }
    let last_seen = session.tracks.iter().filter_map(|(track, _)| track.last).map(|last| last.1).max();
    seek(session, stage, start, start, pace)?;
    if let Some(play) = &mut session.play {
        // Near the end of a round nobody can tell which one it was in.
        let soon = stood.at + (flow::TICK.as_nanos() as f64 * old.pace()) as i64 + frame;
        let most = (soon.min(old.last(stage.content)).max(0) / end) as u32;
        let least = if stood.is_exact { ((stood.at - late - frame).max(0) / end) as u32 } else { 0 };
        let least = least.max(last_seen.unwrap_or(0)).min(most);
        play.until = old.until;
        play.rounds_left = old.rounds_left.map(|left| left.saturating_sub(least));
        play.rounds_lack = old.rounds_lack + most - least;
    }
    Ok(())
}

/// Where a session stands that goes on without saying from where; the utmost where it is not known exactly.
fn stands(session: &Session, stage: &Stage<'_>, old: &Play) -> Stood {
    let here =
        Stood { at: old.reached(stage.world.now, stage.content), is_exact: old.is_exact && session.is_calm };
    session.stood.filter(|_| !stage.was_playing).unwrap_or(here)
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
    let is_exact = stage.is_exact(session);
    // A range that ends where the file does names no end of its own: the file is played as often as it is set to be.
    let length = content.presentation.duration.as_nanos() as i64;
    let until = stage.playing.until.filter(|until| until + 1_000_000 < length);
    session.is_whole = session.tracks.iter().filter(|(track, _)| track.enabled).count()
        == usize::from(content.track_count());
    session.play = Some(Play {
        replied: world.now,
        origin: if is_exact { world.now } else { stage.asked.at },
        is_exact,
        waited: stage.waited(session),
        preroll: Duration::ZERO,
        content: first_due,
        scale: pace.0,
        speed: pace.1,
        fastest: pace.0 * pace.1,
        until,
        rounds_left: match until {
            Some(_) => Some(0),
            None => world.rules.settings.loops.map(|loops| loops.saturating_sub(1)),
        },
        rounds_lack: 0,
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
    let stood = stands(session, stage, &old);
    let last = if stood.is_exact { stood.at } else { last };
    if stood.is_exact && end > 0 {
        round = (stood.at / end).max(0) as u32;
    }
    let guess = start + i64::from(round) * end;
    let guess = if (guess - last).abs() * 2 > end { guess + (last - guess).signum() * end } else { guess };
    let start = unrolled(session, &stage.infos, start, end, stood.at).unwrap_or(guess);
    let was_fast = old.scale > 2.0;
    let frame = 1_000_000_000 / i64::from(content.presentation.framerate);
    let slack = 2 * frame
        + world.rules.lateness_of(content, old.fastest, session.over).mul_f64(old.pace().max(1.0)).as_nanos()
            as i64;
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
    let is_exact = stage.is_exact(session);
    let is_first = start.checked_rem(end) == Some(0);
    session.play = Some(Play {
        replied: world.now,
        origin: if is_exact { world.now } else { stage.asked.at },
        is_exact,
        waited: stage.waited(session),
        preroll: Duration::from_nanos(if is_first && content.presentation.has_b_frames {
            frame as u64
        } else {
            0
        }),
        content: start,
        scale: pace.0,
        speed: pace.1,
        fastest: old.fastest.max(pace.0 * pace.1),
        ..old
    });
    Ok(())
}

fn stay(session: &mut Session, stage: &Stage<'_>, start: i64) -> Result<(), Fault> {
    let play = session.play.ok_or("goes on before it played")?;
    let end = stage.content.end_nanos();
    let due = play.content_at(stage.world.now);
    let round = if end > 0 { (due - start + end / 2).max(0) / end } else { 0 };
    let start = unrolled(session, &stage.infos, start, end, due).unwrap_or(start + round * end);
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

/// A content time of a reply with the rounds of the file before it, as the timestamp beside it tells them; `most` is
/// the content time that is reached at most.
fn unrolled(session: &Session, infos: &[RtpInfo], start: i64, end: i64, most: i64) -> Option<i64> {
    let (map, rate, timestamp) = session.tracks.iter().find_map(|(track, _)| {
        let info = infos.iter().find(|info| track.enabled && info.url == track.url)?;
        Some((track.map?, track.rate, info.rtptime?))
    })?;
    let starts = (0..most / end.max(1) + 3).map(|round| start + round * end);
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

pub fn paused(
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
    session.take_held_bye(world)?;
    if session.state != State::Playing {
        return Ok(());
    }
    let may_be_over = session.may_be_over(world.rules, world.now);
    session.state = State::Paused;
    let (Some(play), Some(content)) = (&session.play, world.rules.content(&session.name)) else {
        return Ok(());
    };
    let is_exact = play.is_exact && session.is_calm;
    session.stood = Some(Stood { at: play.reached(world.now, content), is_exact });
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
    let off =
        (at.as_nanos() as i64 - play.reached(world.now, content)).rem_euclid(content.end_nanos().max(1));
    let off = off.min(content.end_nanos() - off);
    let frames = Duration::from_secs(2) / content.presentation.framerate;
    let slack =
        world.rules.lateness_of(content, play.fastest, session.over).mul_f64(play.pace().max(1.0)) + frames;
    if is_exact && off > slack.as_nanos() as i64 {
        return Err(format!("paused {} ms from where it plays ({at:?})", off / 1_000_000));
    }
    Ok(())
}
