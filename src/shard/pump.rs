//! Sends what one session may send at this moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proto::io::Pieces;
use proto::rtp::batch::Batch;
use proto::time::Time;

use super::file::Next;
use super::live::LiveCursor;
use super::session::{Carrier, Numbers, Session, SessionId, SessionKey, Source, State};
use super::turn::{Asker, Shard};
use crate::egress::heads::Heads;
use crate::egress::numbering::{Numbering, TimestampMap};
use crate::egress::track::TrackOut;
use crate::stream::catalog::{StreamId, Want};
use crate::stream::window::Window;

/// Bytes of media in one send on a connection: what a stalled viewer holds beyond its queue.
const SEND_BYTES_MAX: usize = 256 * 1024;

/// Bytes of the first send to a viewer: most of the past that it begins with leaves when it has shown that it takes
/// more, for many only look whether something is there.
const FIRST_SEND_BYTES_MAX: usize = 32 * 1024;

/// The same on a connection in TLS, where no other viewer shares the bytes.
const SEALED_BYTES_MAX: usize = 32 * 1024;

/// Pieces of one send on a connection.
const SEND_PIECES_MAX: usize = 64;

/// Batches of one session in one turn, so that a session that catches up does not hold up the others.
const BATCHES_A_PUMP: usize = 64;

/// Datagrams of a backlog that leave together: a viewer who joins gets the cached pictures at the pace of a large one.
const BACKLOG_PACKETS: u32 = 12;

/// Datagrams a millisecond of a recording that the viewer wants as fast as it can come: 45 Mbit/s of 1,400 bytes.
const UNPACED_PACKETS: u32 = 4;

/// Batches of all tracks that may come in one turn without making a backlog.
const LATEST_BATCHES: u64 = 4;

/// Between two trains of one paced batch, and between two parts of a backlog.
const PACE: Duration = Duration::from_millis(1);

/// BYE follows the end by so much over UDP, where it overtakes what a busy player has not read: FFmpeg 5 stops at once
/// when it is there, whatever waits in its sockets.
const LINGER: Duration = Duration::from_millis(500);

/// What stopped a pump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Nothing more is due before this time.
    Until(Time),
    /// What comes next is on its way; its arrival makes the session ready.
    Awaits,
    /// More could leave at once, but others come first.
    Yields,
    /// Everything asked for was sent.
    Finished(Time),
}

impl Shard {
    /// Asks for a keyframe, if that is what a session waits for.
    fn ask_keyframe_for(&mut self, key: SessionKey) {
        if let Some(Source::Live(LiveCursor { stream, next: None, .. })) =
            self.sessions.get(key).map(|session| &session.source)
        {
            self.ask_keyframe(*stream);
        }
    }

    /// Has the source of a live stream asked for a keyframe.
    pub(super) fn ask_keyframe(&mut self, stream: StreamId) {
        if let Some(description) = self.live.may_ask_keyframe(self.now, stream) {
            self.ports.catalog.want(description.path(), stream, Want::Keyframe);
        }
    }

    /// Sends what is due of a session, and sees to it that it is looked at again.
    pub(super) fn pump(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        if matches!(session.source, Source::Ingest(_)) {
            return self.pump_ingest(key);
        }
        let is_member = matches!(session.source, Source::Member(_));
        let (state, conn, carrier) = (session.state, session.conn, session.carrier);
        let before = session.numbers;
        self.report_to_talker(key);
        if state != State::Playing || is_member {
            if let Some(conn) = conn {
                self.flush(conn);
            }
            return;
        }
        self.tell_file_metadata(key);
        let (stop, linger) = match carrier {
            Carrier::Interleaved => (self.pump_interleaved(key), Duration::ZERO),
            Carrier::Unicast | Carrier::Multicast | Carrier::Groups(_) => {
                (Some(self.pump_datagrams(key)), LINGER)
            }
        };
        self.count_sent(key, before);
        let stop = match stop {
            Some(Stop::Finished(at)) => Some(Stop::Finished(at + linger)),
            other => other,
        };
        self.send_due_reports(key);
        self.prefetch(key);
        match stop {
            None => {}
            Some(Stop::Awaits) => self.ask_keyframe_for(key),
            Some(Stop::Until(at)) => self.wake_session_at(key, at),
            Some(Stop::Yields) => self.make_ready(key),
            Some(Stop::Finished(at)) if at <= self.now => self.finish(key),
            Some(Stop::Finished(at)) => self.wake_session_at(key, at),
        }
    }

    /// Sends replies between two media sends; where media flows they leave with it.
    pub(super) fn flush_between_media(&mut self, conn: proto::io::Conn) {
        let Some(connection) = self.connections.get(conn) else { return };
        let carrying = connection.sessions.iter().copied().find(|key| {
            let session = self.sessions.get(*key);
            session.is_some_and(|s| s.state == State::Playing && s.carrier == Carrier::Interleaved)
        });
        match carrying {
            Some(key) => self.make_ready(key),
            None => self.flush(conn),
        }
    }

    /// One send with everything that is due. None when a send is under way already: its completion comes back here.
    fn pump_interleaved(&mut self, key: SessionKey) -> Option<Stop> {
        let session = self.sessions.get_mut(key)?;
        let connection = self.connections.get_mut(session.conn?)?;
        if connection.is_sending {
            return None;
        }
        let mut pieces = Pieces::new();
        connection.take_out(&mut pieces);
        wait_for_reader(session, self.now, self.settings.slow_reader);
        // What is sealed is the viewer's own, and waits in memory for as long as it does not read.
        let bound = if connection.secure.is_some() { SEALED_BYTES_MAX } else { SEND_BYTES_MAX };
        let most = if session.numbers.bytes == 0 { FIRST_SEND_BYTES_MAX } else { bound };
        let mut bytes = 0;
        session.is_behind = false;
        let stop = loop {
            // The reply to PLAY comes before what it promises, however many replies wait before it.
            if connection.has_waiting() || bytes >= most || pieces.len() >= SEND_PIECES_MAX {
                session.is_behind = bytes > 0;
                break None;
            }
            if let Some(at) = waits_for_share(session, self.now) {
                break Some(Stop::Until(at));
            }
            match next(session, &self.live, self.now, self.settings.slow_reader) {
                Ok(batch) => {
                    let sent = gather(session, &batch, &mut self.heads, &mut pieces);
                    note_share(session, self.now, sent);
                    bytes += sent;
                    advance(session);
                }
                Err(stop) => break Some(stop),
            }
        };
        session.numbers.bytes += bytes as u64;
        if !pieces.is_empty() || connection.door.has_own() {
            let conn = connection.conn;
            self.transmit(conn, pieces);
        }
        stop
    }

    fn pump_datagrams(&mut self, key: SessionKey) -> Stop {
        let Some(session) = self.sessions.get_mut(key) else { return Stop::Awaits };
        let mut packets = 0;
        session.is_behind = false;
        for _ in 0..BATCHES_A_PUMP {
            if packets >= BACKLOG_PACKETS && is_catching_up(session, &self.live, self.now) {
                session.is_behind = true;
                return Stop::Until(self.now + pause_behind(session, packets));
            }
            if let Some(at) = waits_for_share(session, self.now) {
                return Stop::Until(at);
            }
            let batch = match next(session, &self.live, self.now, self.settings.slow_reader) {
                Ok(batch) => batch,
                Err(stop) => return stop,
            };
            wait_for_reader(session, self.now, self.settings.slow_reader);
            let Some(slot) = renumber(session, &batch) else {
                advance(session);
                continue;
            };
            let Some(to) = session.tracks[slot].media_to() else { return Stop::Awaits };
            let batch = session.tracks[slot].protected(batch);
            let pending = &batch.trains()[session.trains_sent.min(batch.trains().len())..];
            let now_sent = if batch.is_paced() { pending.len().min(1) } else { pending.len() };
            for train in &pending[..now_sent] {
                let op = session.tracks[slot].datagrams(&to, &batch, train, &mut self.heads);
                session.numbers.bytes += u64::from(train.bytes);
                packets += train.count;
                self.ports.driver.submit(op);
            }
            note_share(session, self.now, pending[..now_sent].iter().map(|train| train.bytes as usize).sum());
            session.trains_sent += now_sent;
            if session.trains_sent < batch.trains().len() {
                return Stop::Until(self.now + pause_behind(session, packets));
            }
            advance(session);
        }
        Stop::Yields
    }

    /// Sends the rest of a picture whose first trains have left, so that no receiver is left with half of one.
    pub(super) fn finish_batch(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.trains_sent == 0 {
            return;
        }
        let before = session.numbers;
        let Ok(batch) = next(session, &self.live, self.now, self.settings.slow_reader) else { return };
        let slot = if session.trains_sent == 0 { None } else { renumber(session, &batch) };
        let Some(slot) = slot else { return };
        let Some(to) = session.tracks[slot].media_to() else { return };
        let batch = session.tracks[slot].protected(batch);
        for train in &batch.trains()[session.trains_sent.min(batch.trains().len())..] {
            let op = session.tracks[slot].datagrams(&to, &batch, train, &mut self.heads);
            session.numbers.bytes += u64::from(train.bytes);
            self.ports.driver.submit(op);
        }
        advance(session);
        self.count_sent(key, before);
    }

    /// Adds to what the shard has sent what a session has since then.
    fn count_sent(&mut self, key: SessionKey, before: Numbers) {
        let Some(session) = self.sessions.get(key) else { return };
        if before.bytes == 0
            && session.numbers.bytes > 0
            && let Some(played) = session.played
        {
            self.counted.first_media.note(self.now.since(played).as_micros() as u64);
        }
        self.counted.bytes_sent += session.numbers.bytes - before.bytes;
        self.counted.batches_shed += session.numbers.skipped - before.skipped;
    }

    /// Asks the media threads ahead of a file's viewer.
    pub(super) fn prefetch(&mut self, key: SessionKey) {
        let (now, is_short) = (self.now, self.ports.library.is_short_of_memory());
        let wanted = match self.sessions.get_mut(key).map(|session| &mut session.source) {
            Some(Source::File(file)) => file.wanted(now, is_short).map(|wanted| (wanted, file.info.clone())),
            Some(Source::Replay(replay)) => replay.wanted().map(|it| ((it, false), replay.info.clone())),
            _ => None,
        };
        let Some(((wanted, is_rewound), info)) = wanted else { return };
        let (ticket, reply) = self.ticket(Asker::Session(key, is_rewound));
        match self.sessions.get_mut(key).map(|session| &mut session.source) {
            Some(Source::File(file)) => file.asked = Some(ticket),
            Some(Source::Replay(replay)) => replay.asked = Some(ticket),
            _ => {}
        }
        self.ports.library.segment(&info, wanted, ticket, &reply);
    }
}

/// Whether a live viewer still has more before it than the latest batches of its tracks, or a file's is late.
fn is_catching_up(session: &Session, live: &super::live::LiveStreams, now: Time) -> bool {
    let cursor = match &session.source {
        Source::Live(cursor) => cursor,
        Source::File(file) => return file.is_late(now),
        Source::Replay(replay) => return replay.is_late(now),
        Source::Ingest(_) | Source::Member(_) => return false,
    };
    let Some(stream) = live.get(cursor.stream) else { return false };
    cursor.next.is_some_and(|next| next + LATEST_BATCHES < stream.window.end())
}

/// The batch that leaves next, or why none does.
fn next(
    session: &mut Session,
    live: &super::live::LiveStreams,
    now: Time,
    patience: Duration,
) -> Result<Arc<Batch>, Stop> {
    match &mut session.source {
        Source::File(file) => due(file.peek(now)),
        Source::Replay(replay) => due(replay.peek(now)),
        Source::Live(cursor) => {
            let stream = live.get(cursor.stream).ok_or(Stop::Awaits)?;
            let before = cursor.next;
            // Half of a picture is of no use: what has begun to leave is finished.
            let patience = if session.trains_sent > 0 { Duration::MAX } else { patience };
            let rest = stream.finished.as_ref().map_or(Stop::Awaits, |(at, _)| Stop::Finished(*at));
            let batch = next_live(cursor, &stream.window, now, patience).ok_or(rest);
            if let (Some(before), Some(after)) = (before, cursor.next) {
                session.numbers.skipped += after - before;
                if after != before {
                    session.trains_sent = 0;
                    note_shed(&mut session.numbers, session.id, session.peer, after - before);
                }
            } else if let Some(before) = before {
                // What it has not seen is gone, and so is the keyframe behind it.
                let batches = stream.window.end() - before;
                session.numbers.skipped += batches;
                session.trains_sent = 0;
                note_shed(&mut session.numbers, session.id, session.peer, batches);
            }
            batch
        }
        Source::Ingest(_) | Source::Member(_) => Err(Stop::Awaits),
    }
}

fn due(next: Next) -> Result<Arc<Batch>, Stop> {
    match next {
        Next::Due(batch) => Ok(batch),
        Next::At(at) => Err(Stop::Until(at)),
        Next::Starved => Err(Stop::Awaits),
        Next::Finished(at) => Err(Stop::Finished(at)),
    }
}

/// Shifts a file's clock for a viewer that has read too slowly.
fn wait_for_reader(session: &mut Session, now: Time, patience: Duration) {
    match &mut session.source {
        Source::File(file) => file.wait_for_reader(now, patience),
        Source::Replay(replay) => replay.wait_for_reader(now, patience),
        Source::Live(_) | Source::Ingest(_) | Source::Member(_) => {}
    }
}

/// Until when a recording waits that the viewer wants as fast as it can come, where there is a bound of what is sent.
fn waits_for_share(session: &Session, now: Time) -> Option<Time> {
    match &session.source {
        Source::Replay(replay) if session.promise.is_some() => replay.waits_for_share(now),
        _ => None,
    }
}

fn note_share(session: &mut Session, now: Time, bytes: usize) {
    if let (Source::Replay(replay), Some(promise)) = (&mut session.source, &session.promise) {
        replay.note_share(now, bytes, promise.share());
    }
}

/// How long a backlog, or the next train of one paced batch, waits behind some datagrams. Nothing but this holds up those
/// that the viewer wants as fast as they can come.
fn pause_behind(session: &Session, packets: u32) -> Duration {
    match &session.source {
        Source::Replay(replay) if replay.is_unpaced() => PACE * packets.div_ceil(UNPACED_PACKETS),
        _ => PACE,
    }
}

/// Counts a jump of a slow viewer, and says so at the first, second, fourth, eighth and so on.
fn note_shed(numbers: &mut Numbers, session: SessionId, peer: SocketAddr, batches: u64) {
    numbers.sheds += 1;
    if numbers.sheds.is_power_of_two() {
        let count = numbers.sheds;
        tracing::warn!(%session, %peer, batches, count, "a viewer is too slow: it goes on at the latest keyframe");
    }
}

/// The batch at a live cursor. A cursor that the window's tail has overtaken, or that lags beyond patience, jumps to
/// the latest keyframe: whole groups of pictures are shed, never half of one.
fn next_live(cursor: &mut LiveCursor, window: &Window, now: Time, patience: Duration) -> Option<Arc<Batch>> {
    let position = match cursor.next {
        None => window.keyframe().filter(|keyframe| *keyframe >= cursor.not_before)?,
        Some(position) => {
            let waits = |arrival: Time| now.since(arrival.max(cursor.since)) > patience;
            let lags = window.arrival(position).is_some_and(waits);
            let is_lost = position < window.start();
            match window.keyframe() {
                Some(keyframe) if (is_lost || lags) && keyframe > position => keyframe,
                None if is_lost => {
                    (cursor.next, cursor.not_before) = (None, window.end());
                    return None;
                }
                _ => position,
            }
        }
    };
    cursor.next = Some(position);
    window.get(position).cloned()
}

fn advance(session: &mut Session) {
    session.trains_sent = 0;
    match &mut session.source {
        Source::File(file) => file.advance(),
        Source::Replay(replay) => replay.advance(),
        Source::Live(cursor) => cursor.next = cursor.next.map(|next| next + 1),
        Source::Ingest(_) | Source::Member(_) => {}
    }
}

/// Adds a batch to a send; returns its bytes on the wire.
fn gather(session: &mut Session, batch: &Arc<Batch>, heads: &mut Heads, pieces: &mut Pieces) -> usize {
    let Some(slot) = renumber(session, batch) else { return 0 };
    let track = &mut session.tracks[slot];
    let crate::egress::track::Route::Interleaved { rtp, .. } = track.route else { return 0 };
    let batch = &track.protected(batch.clone());
    track.gather(batch, rtp, heads, pieces);
    batch.rtp().len()
}

/// Finds the track that a batch belongs to and brings its numbers up to date; None when the track does not flow.
fn renumber(session: &mut Session, batch: &Batch) -> Option<usize> {
    let slot = session.tracks.iter().position(|track| track.track == batch.meta().track && track.enabled)?;
    let track = &mut session.tracks[slot];
    if track.awaits_keyframe && !batch.meta().keyframe {
        return None;
    }
    track.awaits_keyframe = false;
    let near = batch.meta().pts;
    match &session.source {
        Source::File(file) if session.trains_sent == 0 => {
            number_on(track, batch, file.timestamp_map(track.track, near));
        }
        Source::Replay(replay) if session.trains_sent == 0 => {
            number_on(track, batch, replay.timestamp_map(track.track, near));
        }
        Source::File(_) | Source::Replay(_) | Source::Ingest(_) | Source::Member(_) => {}
        Source::Live(cursor) => {
            if let (Some(catch_up), Some(index)) = (&cursor.catch_up, cursor.next) {
                track.numbering.timestamp = catch_up.map(index, batch)?;
            }
            track.next_sequence = Some(batch.sequence().wrapping_add(batch.packets().len() as u16));
        }
    }
    Some(slot)
}

/// Has a file's batch follow what was sent of its track.
fn number_on(track: &mut TrackOut, batch: &Batch, timestamp: TimestampMap) {
    let sequence = track.next_sequence.unwrap_or(batch.sequence());
    track.numbering = Numbering {
        ssrc: track.numbering.ssrc,
        sequence_delta: sequence.wrapping_sub(batch.sequence()),
        timestamp,
    };
    track.next_sequence = Some(sequence.wrapping_add(batch.packets().len() as u16));
}
