//! The connections of senders in TCP mode: one for each track.

use std::net::SocketAddr;

use proto::io::{Conn, Listener, Op, Span};
use proto::rtp::pushed::Deframer;
use proto::time::Time;
use smallvec::SmallVec;

use super::{Origin, PusherKey};
use crate::shard::turn::Shard;
use crate::stream::relay::SILENCE;

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    key: PusherKey,
    track: u8,
    peer: SocketAddr,
    deframer: Deframer,
    /// How many bytes of garbage the log has been told of.
    told_bytes: u64,
    /// Since when it waits for the end of the one before; None when it is the track's.
    waits_since: Option<Time>,
}

impl Shard {
    /// A sender has connected. It takes the place of one that is silent; else it waits for a moment, because the end of
    /// the one before may be on its way, and then it is turned away.
    pub(in crate::shard) fn pusher_connected(&mut self, listener: Listener, conn: Conn, peer: SocketAddr) {
        let now = self.now;
        let Some(&(key, track)) = self.pushers.doors.get(&listener) else { return };
        let Some(pusher) = self.pushers.slots.get_mut(key.0 as usize) else { return };
        let has_sender = pusher.sources[usize::from(track)].from.is_some();
        let is_busy = has_sender && !pusher.is_silent(now, track);
        if is_busy && self.pushers.lines.values().any(|line| line.waits_at(key, track)) {
            pusher.turn_away(peer);
            self.ports.driver.submit(Op::Close(conn));
            return;
        }
        let deframer = Deframer::new();
        let line = Line { key, track, peer, deframer, told_bytes: 0, waits_since: is_busy.then_some(now) };
        self.pushers.lines.insert(conn, line);
        match is_busy {
            true => self.ports.driver.submit(Op::Stop(conn)),
            false => self.take_over_track(conn),
        }
    }

    /// Bytes have come from a sender.
    pub(in crate::shard) fn pusher_received(&mut self, conn: Conn, span: Span) {
        let Some(line) = self.pushers.lines.get_mut(&conn) else { return };
        line.deframer.handle_bytes(self.ports.driver.bytes(span));
        if line.waits_since.is_none() {
            self.pass_pushed(conn);
        }
    }

    /// A sender has left.
    pub(in crate::shard) fn pusher_ended(&mut self, conn: Conn, error: Option<std::io::Error>) {
        self.ports.driver.submit(Op::Close(conn));
        let at = self.arrival();
        let Some(mut line) = self.pushers.lines.remove(&conn) else { return };
        let Some(pusher) = self.pushers.get_mut(line.key) else { return };
        if line.waits_since.is_some() {
            return;
        }
        if let Some(pushed) = line.deframer.poll_last() {
            pusher.handle(at, line.track, Origin::Connection(conn), &pushed.packet);
        }
        tracing::info!(path = %pusher.spec.path, track = line.track, from = %line.peer, ?error, "sender left");
        pusher.sources[usize::from(line.track)] = Default::default();
        self.tend_pusher(line.key);
        let mut lines = self.pushers.lines.iter();
        if let Some((next, _)) = lines.find(|(_, other)| other.waits_at(line.key, line.track)) {
            self.take_over_track(*next);
        }
    }

    /// Decides about those that wait.
    pub(super) fn keep_lines(&mut self) {
        let now = self.now;
        let is_late = |line: &Line| line.waits_since.is_some_and(|since| now.since(since) >= SILENCE);
        let lines = self.pushers.lines.iter().filter(|(_, line)| is_late(line));
        let late: SmallVec<[(Conn, PusherKey, u8); 4]> =
            lines.map(|(conn, line)| (*conn, line.key, line.track)).collect();
        for (conn, key, track) in late {
            let Some(pusher) = self.pushers.slots.get_mut(key.0 as usize) else { continue };
            if pusher.is_silent(now, track) {
                self.take_over_track(conn);
            } else if let Some(line) = self.pushers.lines.remove(&conn) {
                pusher.turn_away(line.peer);
                self.ports.driver.submit(Op::Close(conn));
            }
        }
    }

    /// A connection becomes the one of its track; the one before is closed.
    fn take_over_track(&mut self, conn: Conn) {
        let Some(line) = self.pushers.lines.get_mut(&conn) else { return };
        let (key, track) = (line.key, line.track);
        if line.waits_since.take().is_some() {
            self.ports.driver.submit(Op::Resume(conn));
        }
        let Some(pusher) = self.pushers.slots.get_mut(key.0 as usize) else { return };
        tracing::info!(path = %pusher.spec.path, track, from = %line.peer, "sender");
        let before = pusher.sources[usize::from(track)].from;
        pusher.change_source(track, Origin::Connection(conn));
        if let Some(Origin::Connection(before)) = before {
            self.pushers.lines.remove(&before);
            self.ports.driver.submit(Op::Close(before));
        }
        self.pass_pushed(conn);
    }

    /// Passes on the packets that are complete.
    fn pass_pushed(&mut self, conn: Conn) {
        let at = self.arrival();
        let Some(key) = self.pushers.lines.get(&conn).map(|line| line.key) else { return };
        self.begin_pushed(key);
        let Some(line) = self.pushers.lines.get_mut(&conn) else { return };
        let Some(pusher) = self.pushers.slots.get_mut(key.0 as usize) else { return };
        while let Some(pushed) = line.deframer.poll() {
            pusher.handle(at, line.track, Origin::Connection(conn), &pushed.packet);
        }
        let skipped = line.deframer.skipped_bytes();
        if skipped > 2 * line.told_bytes {
            line.told_bytes = skipped;
            tracing::warn!(path = %pusher.spec.path, from = %line.peer, bytes = skipped,
                "what a sender sent between its packets is left out");
        }
        self.tend_pusher(key);
    }
}

impl Line {
    /// Whether it waits for the track of a pusher.
    fn waits_at(&self, key: PusherKey, track: u8) -> bool {
        self.waits_since.is_some() && (self.key, self.track) == (key, track)
    }
}
