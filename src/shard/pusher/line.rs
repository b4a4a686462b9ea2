//! The connections of senders in TCP mode: one for each track.

use std::iter;
use std::net::SocketAddr;

use bytes::Bytes;
use proto::io::{Conn, Listener, Op, Span};
use proto::rtp::pushed::Deframer;
use proto::time::Time;
use smallvec::SmallVec;

use super::arrive::is_media;
use super::{Origin, PusherKey};
use crate::shard::turn::Shard;
use crate::stream::relay::SILENCE;

/// Connections of one track beside its sender's; one more ends the oldest of them.
const CANDIDATES_MAX: usize = 8;

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) key: PusherKey,
    track: u8,
    pub(super) peer: SocketAddr,
    deframer: Deframer,
    /// Whether nothing more comes.
    has_ended: bool,
    /// How many bytes of garbage the log has been told of.
    told_bytes: u64,
    standing: Standing,
    /// Since when that is its standing.
    since: Time,
}

/// What a connection is to its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is the sender's.
    Sends,
    /// It becomes the sender's with its first packet of media. Whoever connects and sends none changes nothing.
    Arrives,
    /// It is not read while another sends, whose end may be on its way.
    Waits,
}

impl Shard {
    /// Somebody has connected to the port of a track.
    pub(in crate::shard) fn pusher_connected(&mut self, listener: Listener, conn: Conn, peer: SocketAddr) {
        let Some(&(key, track)) = self.pushers.doors.get(&listener) else { return };
        let Some(pusher) = self.pushers.get_mut(key) else { return };
        tracing::debug!(path = %pusher.spec.path, track, from = %peer, "a connection to the port of a track");
        self.make_room(key, track);
        let line = Line {
            key,
            track,
            peer,
            deframer: Deframer::new(),
            has_ended: false,
            told_bytes: 0,
            standing: Standing::Arrives,
            since: self.now,
        };
        self.pushers.lines.insert(conn, line);
        self.hold_if_busy(conn);
    }

    /// Bytes have come on a connection.
    pub(in crate::shard) fn pusher_received(&mut self, conn: Conn, span: Span) {
        let Some(line) = self.pushers.lines.get_mut(&conn) else { return };
        line.deframer.handle_bytes(self.ports.driver.bytes(span));
        self.pass_pushed(conn);
    }

    /// A connection has ended.
    pub(in crate::shard) fn pusher_ended(&mut self, conn: Conn, error: Option<std::io::Error>) {
        if let Some(line) = self.pushers.lines.get_mut(&conn) {
            line.has_ended = true;
            self.pass_pushed(conn);
        }
        self.ports.driver.submit(Op::Close(conn));
        let Some(line) = self.pushers.lines.remove(&conn) else { return };
        let (key, track, from) = (line.key, line.track, line.peer);
        let Some(pusher) = self.pushers.get_mut(key) else { return };
        if line.standing != Standing::Sends {
            tracing::debug!(path = %pusher.spec.path, track, %from, ?error, "a connection that sent nothing has ended");
            return;
        }
        tracing::info!(path = %pusher.spec.path, track, %from, ?error, "sender left");
        pusher.sources[usize::from(track)] = Default::default();
        self.tend_pusher(key);
        let waits = |line: &Line| (line.key, line.track) == (key, track);
        for conn in self.waiting(waits) {
            self.let_in(conn);
        }
    }

    /// Decides about those that wait: the sender is silent, or it is still there after a moment.
    pub(super) fn keep_lines(&mut self) {
        let now = self.now;
        for conn in self.waiting(|line| now.since(line.since) >= SILENCE) {
            let Some(line) = self.pushers.lines.get(&conn) else { continue };
            let Some(pusher) = self.pushers.slots.get_mut(line.key) else { continue };
            if pusher.is_silent(now, line.track) {
                self.let_in(conn);
            } else {
                pusher.turn_away(line.peer);
                self.pushers.lines.remove(&conn);
                self.ports.driver.submit(Op::Close(conn));
            }
        }
    }

    /// Those that wait and are meant, in the order in which they began to.
    fn waiting(&self, is_meant: impl Fn(&Line) -> bool) -> SmallVec<[Conn; 4]> {
        let lines = self.pushers.lines.iter();
        let meant = lines.filter(|(_, line)| line.standing == Standing::Waits && is_meant(line));
        let mut conns: SmallVec<[(Time, Conn); 4]> = meant.map(|(conn, line)| (line.since, *conn)).collect();
        conns.sort_unstable_by_key(|(since, _)| *since);
        conns.into_iter().map(|(_, conn)| conn).collect()
    }

    /// Ends the oldest connection of a track beside its sender's, if there are as many as may be.
    fn make_room(&mut self, key: PusherKey, track: u8) {
        let is_candidate =
            |line: &Line| (line.key, line.track) == (key, track) && line.standing != Standing::Sends;
        let candidates = || self.pushers.lines.iter().filter(|(_, line)| is_candidate(line));
        if candidates().count() < CANDIDATES_MAX {
            return;
        }
        if let Some(oldest) = candidates().min_by_key(|(_, line)| line.since).map(|(conn, _)| *conn) {
            self.pushers.lines.remove(&oldest);
            self.ports.driver.submit(Op::Close(oldest));
        }
    }

    /// Reads a connection no more while another one sends; whether that is so.
    fn hold_if_busy(&mut self, conn: Conn) -> bool {
        let now = self.now;
        let Some(line) = self.pushers.lines.get_mut(&conn) else { return false };
        let Some(pusher) = self.pushers.slots.get(line.key) else { return false };
        if pusher.is_silent(now, line.track) {
            return false;
        }
        (line.standing, line.since) = (Standing::Waits, now);
        self.ports.driver.submit(Op::Stop(conn));
        true
    }

    /// Reads a connection that has waited.
    fn let_in(&mut self, conn: Conn) {
        let now = self.now;
        let Some(line) = self.pushers.lines.get_mut(&conn) else { return };
        (line.standing, line.since) = (Standing::Arrives, now);
        if !self.hold_if_busy(conn) {
            self.ports.driver.submit(Op::Resume(conn));
            self.pass_pushed(conn);
        }
    }

    /// A connection becomes the sender's; the one before is closed.
    fn take_over_track(&mut self, conn: Conn) {
        let now = self.now;
        let Some(line) = self.pushers.lines.get_mut(&conn) else { return };
        (line.standing, line.since) = (Standing::Sends, now);
        let (key, track) = (line.key, line.track);
        let Some(pusher) = self.pushers.slots.get_mut(key) else { return };
        tracing::info!(path = %pusher.spec.path, track, from = %line.peer, "sender");
        let before = pusher.sources[usize::from(track)].from;
        pusher.change_source(track, Origin::Connection(conn));
        if let Some(Origin::Connection(before)) = before {
            self.pushers.lines.remove(&before);
            self.ports.driver.submit(Op::Close(before));
        }
    }

    /// The packet with which a connection becomes the sender's; None while there is none, or another one sends.
    fn first_packet(&mut self, conn: Conn) -> Option<Bytes> {
        if self.pushers.lines.get(&conn)?.standing == Standing::Waits || self.hold_if_busy(conn) {
            return None;
        }
        let line = self.pushers.lines.get_mut(&conn)?;
        // What it reports before is of no source of ours.
        let first = iter::from_fn(|| line.poll()).find(|packet| is_media(packet))?;
        self.take_over_track(conn);
        Some(first)
    }

    /// Passes on the packets that are complete.
    fn pass_pushed(&mut self, conn: Conn) {
        let at = self.arrival();
        let Some(line) = self.pushers.lines.get(&conn) else { return };
        let (key, track, standing) = (line.key, line.track, line.standing);
        let first = match standing {
            Standing::Sends => None,
            Standing::Arrives | Standing::Waits => match self.first_packet(conn) {
                Some(first) => Some(first),
                None => return,
            },
        };
        self.begin_pushed(key);
        let Some(line) = self.pushers.lines.get_mut(&conn) else { return };
        let Some(pusher) = self.pushers.slots.get_mut(key) else { return };
        let before = pusher.numbers;
        for packet in first.into_iter().chain(iter::from_fn(|| line.poll())) {
            pusher.handle(at, track, Origin::Connection(conn), &packet);
        }
        self.counted.took(before, pusher.numbers);
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
    /// The next packet; at the end also the one that waits for proof by another.
    fn poll(&mut self) -> Option<Bytes> {
        let last = |deframer: &mut Deframer| self.has_ended.then(|| deframer.poll_last()).flatten();
        let pushed = self.deframer.poll().or_else(|| last(&mut self.deframer))?;
        Some(pushed.packet)
    }
}
