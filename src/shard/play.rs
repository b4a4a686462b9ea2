//! PLAY and PAUSE (RFC 2326 sections 10.5 and 10.6).

use std::sync::Arc;
use std::time::Duration;

use proto::io::Conn;
use proto::rtsp::headers::range::{FrameCount, Npt, Range, Span, Timecode};
use proto::rtsp::headers::rtp_info::RtpInfo;
use proto::rtsp::headers::scale::{Scale, Speed};
use proto::rtsp::message::{Request, Response};
use proto::rtsp::status::Status;
use proto::rtsp::uri::Target;
use proto::time::MediaTime;

use super::catch_up::CatchUp;
use super::connection::Refusal;
use super::file::{FilePlayback, Pace, Way};
use super::live::{LiveCursor, LiveStream};
use super::replay::{Begun, ReplayAbsent, Unit};
use super::request::Outcome;
use super::resolve::status_of;
use super::session::{Carrier, Session, SessionKey, Source, State};
use super::talk::TalkError;
use super::turn::{Asker, Shard};
use crate::config::GopCache;
use crate::egress::numbering::TimestampMap;
use crate::egress::track::TrackOut;
use crate::media::library::{MediaError, Ticket, Wanted};
use crate::media::segment::Segment;

/// Slowest and fastest speed that is granted, forward.
pub(super) const SCALE_GRANTED: (f64, f64) = (0.5, 16.0);

/// Slowest and fastest rate of delivery that is granted.
pub(super) const SPEED_GRANTED: (f64, f64) = (0.25, 16.0);

/// How far behind the end a range may begin and is still answered with the last group of pictures and an end. Players
/// round the end that the description tells, and FFmpeg 5 adds the first timestamp that it saw, half a second at most
/// of reordered pictures or late sound. A refusal leaves FFmpeg waiting for ever, because it has sent PAUSE before.
pub(super) const BEHIND_END_GRANTED: Duration = Duration::from_millis(500);

/// What PLAY asks for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    from: Option<MediaTime>,
    until: Option<MediaTime>,
    /// How the range counted frames, where it did; the reply does the same.
    frames: Option<FrameCount>,
    pace: Option<Pace>,
    has_scale: bool,
    has_speed: bool,
}

impl Shard {
    /// Answers PLAY. A file's first segment is awaited, because `RTP-Info` must be true.
    pub(super) fn play(
        &mut self,
        conn: Conn,
        request: &Request,
        target: &Target,
        session: Option<SessionKey>,
    ) -> Outcome {
        let Some(key) = session else {
            return Refusal::new(Status::SESSION_NOT_FOUND, "PLAY needs a session: SETUP first").into();
        };
        if !self.sessions[key].is_meant_by(target) {
            return Refusal::new(Status::NOT_FOUND, "the session is of another URL").into();
        }
        self.sessions[key].played.get_or_insert(self.now);
        if self.cannot_replay(request, key) {
            return ReplayAbsent.into();
        }
        if self.is_replayed(request, key) {
            return self.play_replay(conn, request, target, key);
        }
        let asked = match asked(request) {
            Ok(asked) => asked,
            Err(refusal) => return refusal.into(),
        };
        if let Some(outcome) = self.hinders_play(conn, request, key) {
            return outcome;
        }
        let is_retrying = self.connections.get(conn).is_some_and(|connection| connection.is_retrying);
        if !is_retrying {
            // What is refused changes nothing.
            if let Err(refusal) = self.check_play(key, &asked) {
                return refusal.into();
            }
            if let Err(refusal) = self.promise(key, asked.pace.unwrap_or_default()) {
                return refusal.into();
            }
            if let Err(refusal) = self.admit(key, asked.from, asked.pace.unwrap_or_default()) {
                return refusal.into();
            }
            self.finish_batch(key);
            self.enable(key, target);
        }
        match &self.sessions[key].source {
            Source::Ingest(_) => {
                let reason = "the session was set up to record";
                Refusal::new(Status::METHOD_NOT_VALID_IN_THIS_STATE, reason).into()
            }
            Source::Live(_) => self.play_live(key, &asked),
            Source::Member(_) => {
                let mut outcome = self.play_member(conn, key);
                if let Outcome::Reply(response) = &mut outcome {
                    grant_pace(response, &asked, 1.0, 1.0);
                }
                outcome
            }
            Source::File(_) if is_retrying && self.sessions[key].state == State::Playing => {
                self.confirm(key, &asked)
            }
            Source::File(_) => self.play_file(conn, key, asked),
            // Those have been answered.
            Source::Replay(_) => Outcome::Wait,
        }
    }

    /// What a PLAY has to be answered with, or waits for, whatever it asks for.
    pub(super) fn hinders_play(&mut self, conn: Conn, request: &Request, key: SessionKey) -> Option<Outcome> {
        if let Some(refusal) = self.sessions[key].failed.take() {
            return Some(refusal.into());
        }
        if self.sessions[key].state == State::Starting {
            // The segment is on its way; only its arrival brings this request back.
            return Some(self.await_start(conn, key));
        }
        self.lacks_talk(request, key).then(|| TalkError::Absent.into())
    }

    /// Answers PAUSE: of one track, or of all. Pausing what is paused changes nothing.
    pub(super) fn pause(&mut self, target: &Target, session: Option<SessionKey>) -> Outcome {
        let Some(key) = session else {
            return Refusal::new(Status::SESSION_NOT_FOUND, "").into();
        };
        if let Source::Member(member) = &self.sessions[key].source
            && member.is_of_file()
        {
            return goes_on().into();
        }
        self.finish_batch(key);
        self.pause_talk(key, target.track);
        let session = &mut self.sessions[key];
        let response = Response::new(Status::OK).header("Session", session.id.to_string());
        if target.track.is_some_and(|index| session.is_talk(index)) && !session.tracks.is_empty() {
            return Outcome::Reply(response);
        }
        if let Some(track) =
            target.track.and_then(|index| session.tracks.iter_mut().find(|t| t.track == index))
        {
            track.enabled = false;
            let talks = session.talk.as_ref().is_some_and(|talk| talk.enabled);
            if talks || session.tracks.iter().any(|track| track.enabled) {
                self.listen(key);
                return Outcome::Reply(response);
            }
        }
        match session.state {
            State::Ready => return Outcome::Reply(stay(session, response)),
            State::Starting => {
                let reason = "PLAY is being prepared";
                return Refusal::new(Status::METHOD_NOT_VALID_IN_THIS_STATE, reason).into();
            }
            State::Playing => {}
        }
        session.rest();
        let response = match &mut session.source {
            Source::Live(cursor) => {
                self.live.leave(cursor.stream, key);
                response
            }
            // What comes from now on is not taken.
            Source::Ingest(_) => response,
            Source::Member(_) => {
                self.listen(key);
                response
            }
            Source::File(file) => {
                let at = file.pause(self.now);
                response.header("Range", range(at, file, None).to_string())
            }
            Source::Replay(replay) => {
                let at = replay.pause(self.now);
                response.header("Range", replay.range(at, Unit::Clock).to_string())
            }
        };
        Outcome::Reply(response)
    }

    /// Takes a segment that a session asked for.
    pub(super) fn segment_arrived(&mut self, ticket: Ticket, answer: Result<Arc<Segment>, MediaError>) {
        let Some(Asker::Session(key, is_rewound)) = self.waiting.remove(&ticket) else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let asked = match &mut session.source {
            Source::File(file) => &mut file.asked,
            Source::Replay(replay) => &mut replay.asked,
            Source::Live(_) | Source::Ingest(_) | Source::Member(_) => return,
        };
        if asked.take_if(|asked| *asked == ticket).is_none() {
            return;
        }
        let segment = match answer {
            Ok(segment) => segment,
            Err(error) if session.state == State::Starting => {
                session.state = State::Ready;
                session.give_back_promise();
                match &mut session.source {
                    Source::File(file) => file.place = None,
                    Source::Replay(replay) => replay.fail(),
                    Source::Live(_) | Source::Ingest(_) | Source::Member(_) => {}
                }
                // What flows next is aligned anew.
                session.tracks.iter_mut().for_each(|track| track.report_at = None);
                session.failed = Some(Refusal::new(status_of(&error), error.to_string()));
                tracing::warn!(session = %session.id, url = %session.url, %error, "cannot be played");
                self.retry_awaited(key);
                return;
            }
            Err(error) => {
                self.end_session(key, &error.to_string());
                return;
            }
        };
        let is_starting = session.state == State::Starting;
        let (from, pace) = session.starting.take().unwrap_or_default();
        let way = match session.carrier {
            Carrier::Interleaved => Way::Stream,
            Carrier::Unicast | Carrier::Multicast | Carrier::Groups(_) => Way::Datagrams,
        };
        match &mut session.source {
            Source::File(file) if is_starting => {
                session.start_granted = file.begin(self.now, from, segment, pace, way);
            }
            Source::File(file) => file.push(segment, is_rewound),
            Source::Replay(replay) if is_starting => match replay.begin(self.now, segment) {
                Begun::At(start) => session.start_granted = start,
                Begun::Needs(wanted) => return self.ask_first(key, wanted),
            },
            Source::Replay(replay) => replay.push(segment),
            Source::Live(_) | Source::Ingest(_) | Source::Member(_) => {}
        }
        if !is_starting {
            self.make_ready(key);
            return;
        }
        self.begin_tracks(key);
        self.begin_talk(key);
        self.sessions[key].state = State::Playing;
        // First, so that media flows even when nobody is left who asked for it.
        self.make_ready(key);
        self.retry_awaited(key);
    }

    /// Keeps a PLAY until the session's first segment has come or cannot come.
    pub(super) fn await_start(&mut self, conn: Conn, key: SessionKey) -> Outcome {
        let awaited_by = &mut self.sessions[key].awaited_by;
        if !awaited_by.contains(&conn) {
            awaited_by.push(conn);
        }
        Outcome::Wait
    }

    pub(super) fn retry_awaited(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if let Carrier::Groups(transmission) = session.carrier {
            return self.sender_began(transmission);
        }
        for conn in std::mem::take(&mut session.awaited_by) {
            self.retry(conn);
        }
    }

    /// After the end of a file: the next PLAY starts under new synchronization sources.
    pub(super) fn renew_sources(&mut self, key: SessionKey) {
        let loops = self.settings.loops;
        let Some(session) = self.sessions.get_mut(key) else { return };
        match &mut session.source {
            Source::File(file) => file.rewind(loops),
            Source::Replay(replay) => replay.end(),
            Source::Live(_) | Source::Ingest(_) | Source::Member(_) => return,
        }
        for track in &mut session.tracks {
            track.numbering.ssrc = rand::RngExt::random(&mut self.ports.random);
            track.sent = Default::default();
            track.report_at = None;
        }
    }

    /// Whether a PLAY asks for something that there is.
    fn check_play(&self, key: SessionKey, asked: &Asked) -> Result<(), Refusal> {
        let session = &self.sessions[key];
        if let Source::Member(member) = &session.source
            && member.is_of_file()
            && asked.from.is_some_and(|from| from > MediaTime::ZERO)
        {
            return Err(goes_on());
        }
        let Source::File(file) = &session.source else { return Ok(()) };
        check_range(file, asked)?;
        let here = match session.state {
            State::Playing => file.reached(self.now),
            State::Ready | State::Starting => file.paused_at(),
        };
        let from = asked.from.or(session.start).unwrap_or(here);
        if asked.until.is_some_and(|until| until <= from) {
            return Err(Refusal::new(Status::INVALID_RANGE, "Range ends before it begins"));
        }
        Ok(())
    }

    /// Finds a session of a file that is made anew its place among all that is.
    pub(super) fn admit(
        &mut self,
        key: SessionKey,
        from: Option<MediaTime>,
        pace: Pace,
    ) -> Result<(), Refusal> {
        let session = &mut self.sessions[key];
        let (is_playing, start) = (session.state == State::Playing, session.start);
        let Source::File(file) = &mut session.source else { return Ok(()) };
        let here = if is_playing { file.reached(self.now) } else { file.paused_at() };
        let begins = (pace == Pace::default()).then(|| from.or(start).unwrap_or(here));
        let admitted = self.ports.library.admit(&file.info, begins, &mut file.place);
        admitted.map_err(|error| {
            tracing::warn!(session = %session.id, url = %session.url, %error, "not played");
            Refusal::new(status_of(&error), error.to_string())
        })
    }

    /// PLAY of one track's URL lets that track flow; of the presentation, all.
    pub(super) fn enable(&mut self, key: SessionKey, target: &Target) {
        let session = &mut self.sessions[key];
        let is_playing = session.state == State::Playing;
        let only = target.track.filter(|index| session.track(*index).is_some() || session.is_talk(*index));
        if let Some(talk) = &mut session.talk {
            talk.enabled = only.is_none_or(|index| talk.track == index || (is_playing && talk.enabled));
        }
        for track in &mut session.tracks {
            let was_enabled = track.enabled;
            track.enabled = only.is_none_or(|index| track.track == index || (is_playing && was_enabled));
            track.awaits_keyframe |= track.enabled && !was_enabled;
        }
    }

    fn play_live(&mut self, key: SessionKey, asked: &Asked) -> Outcome {
        let session = &mut self.sessions[key];
        let Source::Live(cursor) = &mut session.source else { return Outcome::Wait };
        let Some(stream) = self.live.get(cursor.stream) else {
            return Refusal::new(Status::SERVICE_UNAVAILABLE, "the stream has ended").into();
        };
        if session.state != State::Playing {
            let paused = cursor.next;
            if self.settings.gop_cache != GopCache::Off || paused.is_some() {
                let begins = stream.window.begin_or_resume(paused);
                cursor.next = begins.filter(|begins| *begins >= cursor.not_before);
            } else {
                cursor.not_before = stream.window.end();
            }
            // What is protected once for all has the same times for all.
            let is_shared = session.tracks.iter().any(|track| track.protection.is_some());
            if is_shared {
                cursor.catch_up = None;
            }
            // Whoever goes on where it was goes on as it did.
            if cursor.next != paused {
                let catches_up = self.settings.gop_cache == GopCache::CatchUp && !is_shared;
                let first = cursor.next.filter(|_| catches_up);
                cursor.catch_up = first.and_then(|first| CatchUp::new(stream, first));
                session
                    .tracks
                    .iter_mut()
                    .for_each(|track| track.numbering.timestamp = TimestampMap::Offset(0));
            }
            cursor.since = self.now;
            session.state = State::Playing;
        }
        let infos: Vec<_> = (session.tracks.iter().filter(|track| track.enabled))
            .map(|track| live_info(stream, cursor, track))
            .collect();
        let stream = cursor.stream;
        let mut response = Response::new(Status::OK)
            .header("Session", session.id.to_string())
            .header("Range", Range::from(Span::Npt { from: Some(Npt::Now), to: None }).to_string());
        if !infos.is_empty() {
            response = response.header("RTP-Info", RtpInfo::write_list(&infos));
        }
        grant_pace(&mut response, asked, 1.0, 1.0);
        self.live.join(stream, key);
        // There may be a past to begin with.
        self.sessions[key].is_behind = true;
        self.begin_tracks(key);
        self.begin_talk(key);
        self.make_ready(key);
        Outcome::Reply(response)
    }

    fn play_file(&mut self, conn: Conn, key: SessionKey, asked: Asked) -> Outcome {
        let session = &mut self.sessions[key];
        let Source::File(file) = &mut session.source else { return Outcome::Wait };
        let mut from = asked.from.or(session.start.take());
        let mut plays = self.settings.loops;
        let mut until = asked.until.filter(|until| !is_the_end(file, *until));
        let pace = asked.pace.unwrap_or_default();
        if from.is_none() {
            file.play_until(until);
            if session.state == State::Playing && (asked.pace.is_none() || pace == file.pace()) {
                // A sign of life, or another track that begins to flow.
                session.start_granted = file.reached(self.now);
                return self.confirm(key, &asked);
            }
            if file.is_paused_midway() && !file.has_skipped(pace) {
                session.start_granted = file.resume(self.now, pace);
                session.state = State::Playing;
                self.begin_tracks(key);
                self.begin_talk(key);
                return self.confirm(key, &asked);
            }
            if file.is_paused_midway() {
                // Fast playing stands before its next keyframe: what lies between was not read on purpose.
                from = Some(match session.state {
                    State::Playing => file.reached(self.now),
                    State::Ready | State::Starting => file.paused_at(),
                });
                (plays, until) = (file.plays_left.map(|left| left.saturating_add(1)), file.until);
            }
        }
        let from = from.unwrap_or(MediaTime::ZERO);
        file.jump(plays, until);
        self.seek(key, from, pace);
        self.await_start(conn, key)
    }

    /// Has the playing of a file begin at a content time, once its segment there has come.
    pub(super) fn seek(&mut self, key: SessionKey, from: MediaTime, pace: Pace) {
        let session = &mut self.sessions[key];
        let Source::File(file) = &session.source else { return };
        let info = file.info.clone();
        session.await_segment();
        session.starting = Some((from, pace));
        let (ticket, reply) = self.ticket(Asker::Session(key, false));
        if let Source::File(file) = &mut self.sessions[key].source {
            file.asked = Some(ticket);
        }
        self.ports.library.segment(&info, Wanted::Seek(from), ticket, &reply);
    }

    /// The reply to a PLAY that flows: what is granted, from where, and with which numbers.
    fn confirm(&mut self, key: SessionKey, asked: &Asked) -> Outcome {
        let session = &mut self.sessions[key];
        let Source::File(file) = &session.source else { return Outcome::Wait };
        let start = session.start_granted;
        let sequence = |track| file.first_sequence(track);
        let infos =
            first_numbers(&mut session.tracks, sequence, |track| Some(file.rtp_timestamp(track, start)));
        let mut response = Response::new(Status::OK)
            .header("Session", session.id.to_string())
            .header("Range", range(start, file, asked.frames).to_string())
            .header("RTP-Info", infos);
        let granted = file.pace();
        grant_pace(&mut response, asked, granted.scale, granted.speed);
        self.make_ready(key);
        Outcome::Reply(response)
    }

    /// Every track that flows reports at once, so that a player can align them.
    pub(super) fn begin_tracks(&mut self, key: SessionKey) {
        self.begin_file_metadata(key);
        for track in &mut self.sessions[key].tracks {
            if track.enabled && track.report_at.is_none() {
                track.report_at = Some(self.now);
            }
        }
    }
}

/// `RTP-Info` of a file: what the tracks that flow begin with; `timestamp` is None of one that does not. What is told here
/// holds, wherever in the segment a track begins.
pub(super) fn first_numbers(
    tracks: &mut [TrackOut],
    sequence: impl Fn(u8) -> Option<u16>,
    timestamp: impl Fn(u8) -> Option<u32>,
) -> String {
    let flowing = tracks.iter_mut().filter(|track| track.enabled);
    let infos = flowing.filter_map(|track| {
        let rtptime = Some(timestamp(track.track)?);
        track.next_sequence = track.next_sequence.or_else(|| sequence(track.track));
        Some(RtpInfo { url: track.url.clone(), seq: track.next_sequence, rtptime })
    });
    RtpInfo::write_list(&infos.collect::<Vec<_>>())
}

/// What a track of a live stream begins with. All tracks tell their timestamp of one moment, whichever of them has a
/// packet first.
fn live_info(stream: &LiveStream, cursor: &LiveCursor, track: &TrackOut) -> RtpInfo {
    let first = cursor.next.unwrap_or(stream.window.end());
    let coming = (first..stream.window.end()).filter_map(|index| Some((index, stream.window.get(index)?)));
    let next = coming.into_iter().find(|(index, batch)| {
        let meta = batch.meta();
        let is_sent = cursor.catch_up.is_none_or(|it| it.map(*index, batch).is_some());
        meta.track == track.track && is_sent && (meta.keyframe || !track.awaits_keyframe)
    });
    let start = stream.window.get(first).map(|batch| batch.meta().pts);
    let start = start.map(|start| cursor.catch_up.map_or(start, |it| it.shown_at(start)));
    let (known, content) = stream.clocks[usize::from(track.track)];
    RtpInfo {
        url: track.url.clone(),
        seq: next.map(|(_, batch)| batch.sequence()),
        rtptime: start.map(|start| {
            let ahead = MediaTime(start.0 - content.0);
            known.wrapping_add(ahead.to_ticks(track.clock_rate) as u32)
        }),
    }
}

/// The reply to a PAUSE of what does not play.
fn stay(session: &mut Session, response: Response) -> Response {
    match &mut session.source {
        Source::Replay(replay) => match replay.stay() {
            Some(at) => response.header("Range", replay.range(at, Unit::Clock).to_string()),
            None => response,
        },
        Source::File(_) | Source::Live(_) | Source::Ingest(_) | Source::Member(_) => response,
    }
}

/// What all see at once is nobody's to stop or to move.
fn goes_on() -> Refusal {
    let reason = "a file in multicast is a live channel";
    Refusal::new(Status::METHOD_NOT_VALID_IN_THIS_STATE, reason)
}

/// Reads `Range`, `Scale` and `Speed`. Times of day and tape counts are not kept for files: 457.
fn asked(request: &Request) -> Result<Asked, Refusal> {
    let headers = &request.headers;
    let scale = headers.get("Scale").map(Scale::parse).transpose();
    let scale =
        scale.map_err(|_| Refusal::new(Status::BAD_REQUEST, "Scale is not a number above or below zero"))?;
    let speed = headers.get("Speed").map(Speed::parse).transpose();
    let speed = speed.map_err(|_| Refusal::new(Status::BAD_REQUEST, "Speed is not a number above zero"))?;
    let range = headers.get("Range").map(Range::parse).transpose();
    let range = range.map_err(|error| Refusal::new(error.status(), format!("Range: {error}")))?;
    let (from, until, frames) = match range.map(|range| range.span) {
        None => (None, None, None),
        Some(Span::Npt { from, to }) => (from.and_then(at), to.and_then(at), None),
        Some(Span::Smpte { count, from, to }) => {
            let time = |code: Timecode| media_time(code.to_duration(count));
            (Some(time(from)), to.map(time), Some(count))
        }
        Some(Span::Clock { .. }) => {
            return Err(Refusal::new(
                Status::INVALID_RANGE,
                "times of day are for replay: Require: onvif-replay, or npt",
            ));
        }
    };
    // Reverse is not offered: what cannot be granted is played at normal speed, and the reply says so.
    let grant = |scale: Scale| {
        if scale.ratio() < 0.0 { 1.0 } else { scale.ratio().clamp(SCALE_GRANTED.0, SCALE_GRANTED.1) }
    };
    let pace = (scale.is_some() || speed.is_some()).then(|| Pace {
        scale: scale.map_or(1.0, grant),
        speed: speed.map_or(1.0, |speed| speed.ratio().clamp(SPEED_GRANTED.0, SPEED_GRANTED.1)),
    });
    Ok(Asked { from, until, frames, pace, has_scale: scale.is_some(), has_speed: speed.is_some() })
}

fn check_range(file: &FilePlayback, asked: &Asked) -> Result<(), Refusal> {
    let invalid = |reason| Err(Refusal::new(Status::INVALID_RANGE, reason));
    let from = asked.from.unwrap_or(MediaTime::ZERO);
    if let Some(duration) = file.info.duration
        && from > media_time(duration + BEHIND_END_GRANTED)
    {
        return invalid("Range begins behind the end");
    }
    if from > MediaTime::ZERO && !file.info.seekable {
        return invalid("this file can only be played from its start");
    }
    Ok(())
}

/// Whether a range up to there has no other end than the file. GStreamer asks for the whole range of the description,
/// which is rounded to a millisecond and says nothing of repetition.
fn is_the_end(file: &FilePlayback, until: MediaTime) -> bool {
    file.info.duration.is_some_and(|duration| until + Duration::from_millis(1) >= media_time(duration))
}

fn at(npt: Npt) -> Option<MediaTime> {
    match npt {
        Npt::Now => None,
        Npt::At(time) => Some(media_time(time)),
    }
}

fn media_time(duration: Duration) -> MediaTime {
    MediaTime::ZERO + duration
}

/// The range from a content time on, as a reply states it: in frames where the request counted them. It has an end
/// where the request named one: GStreamer 1.22 drops what comes later than that by its own clock, which runs ahead by
/// the time that starting took.
fn range(start: MediaTime, file: &FilePlayback, frames: Option<FrameCount>) -> Range {
    let until = file.until.map(|until| until.since(MediaTime::ZERO));
    let end = until.map(|until| file.info.duration.map_or(until, |duration| until.min(duration)));
    let start = start.since(MediaTime::ZERO);
    match frames {
        None => Range::npt(start, end),
        Some(count) => {
            let code = |moment| Timecode::from_duration(count, moment);
            Range::from(Span::Smpte { count, from: code(start), to: end.map(code) })
        }
    }
}

/// A reply repeats what was asked with what is granted (RFC 2326 sections 12.34 and 12.35).
fn grant_pace(response: &mut Response, asked: &Asked, scale: f64, speed: f64) {
    if asked.has_scale {
        response.headers.push("Scale", Scale::new(scale).unwrap_or(Scale::NORMAL).to_string());
    }
    if asked.has_speed {
        response.headers.push("Speed", Speed::new(speed).unwrap_or(Speed::NORMAL).to_string());
    }
}
