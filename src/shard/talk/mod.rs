//! How does what a viewer says come to whoever takes it (ONVIF streaming specification section 5.3)?
//!
//! A *sink* takes it, one talker at a time or as many as its owner allows. It is on one shard, its viewers are on any; they know its address and what
//! can be said to each other, and nothing of what it is:
//!
//! ```text
//! viewer's shard                          sink's shard
//!   Describe  ── DESCRIBE with the tag ──▶  asks whoever takes it
//!             ◀──────────── formats ──────  Described
//!   Begin     ── SETUP of that track ────▶  one place
//!             ◀──── granted or refused ───  Begun
//!   Packet …  ── from PLAY on ───────────▶  …
//!   End       ── PAUSE, end of session ──▶  the place is free
//!             ◀───── silence, failure ────  Ended
//! ```

mod arrive;
mod ask;
mod loudspeaker;
mod setup;
mod track;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proto::track::Track;

use super::inbox::Message;
use super::turn::Shard;
use crate::media::library::Ticket;
use crate::stream::catalog::ShardIndex;

pub(super) use ask::Asked;
pub(super) use loudspeaker::Loudspeaker;
pub use loudspeaker::LoudspeakerSpec;
pub(super) use track::TalkIn;

/// Packets of one talker on their way between two shards. What comes while so many wait is lost: a shard that is that
/// far behind would play it too late.
const ROAD_PACKETS_MAX: usize = 64;

/// Where a sink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkAddress {
    /// Its shard.
    pub home: ShardIndex,
    /// Its name there.
    pub tenure: u64,
}

/// One who asks or talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TalkerId {
    /// On which shard.
    pub shard: ShardIndex,
    /// The number of the question there.
    pub ticket: Ticket,
}

/// What a sink is told.
#[derive(Debug)]
pub enum ToSink {
    /// Somebody asks what it takes.
    Describe(TalkerId),
    /// Somebody wants to talk.
    Begin(TalkerId),
    /// The talker has said this.
    Packet {
        /// Who.
        talker: TalkerId,
        /// An RTP packet that was looked at.
        packet: Bytes,
        /// Makes room for another one when it is dropped.
        on_road: OnRoad,
    },
    /// Somebody talks no more, or wants to no more.
    End(TalkerId),
}

/// What a sink says.
#[derive(Debug)]
pub enum FromSink {
    /// What it takes.
    Described(Formats),
    /// The place is granted, or not.
    Begun(Result<(), TalkError>),
    /// The place is lost.
    Ended(String),
}

/// What a sink takes, the preferred format first, or why it takes nothing.
pub type Formats = Result<Arc<[Track]>, TalkError>;

/// Why nobody can talk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TalkError {
    /// Nothing here takes sound: 551.
    #[error("nothing takes sound under this path")]
    Absent,
    /// Somebody else talks: 453.
    #[error("somebody else is talking, and no more can at once: try again later")]
    Busy,
    /// What takes it cannot be reached: 503, with the reason.
    #[error("{0}")]
    Unavailable(String),
}

/// Counts the packets of a talker that its sink has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Road(Arc<AtomicUsize>);

/// One packet on its way.
#[derive(Debug)]
pub struct OnRoad(Arc<AtomicUsize>);

impl Road {
    /// Room for one more packet; None when there is none.
    pub fn enter(&self) -> Option<OnRoad> {
        // Only the talker's own shard adds.
        (self.0.load(Ordering::Relaxed) < ROAD_PACKETS_MAX).then(|| {
            self.0.fetch_add(1, Ordering::Relaxed);
            OnRoad(self.0.clone())
        })
    }
}

impl Drop for OnRoad {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shard {
    /// Tells a sink. It is told nothing when its shard has ended.
    pub(super) fn tell_sink(&self, sink: SinkAddress, what: ToSink) {
        if let Some(outside) = self.ports.shards.get(usize::from(sink.home)) {
            outside.send(Message::ToSink(sink.tenure, what));
        }
    }

    /// Tells one who asks or talks what a sink says.
    pub(super) fn tell_talker(&self, sink: SinkAddress, talker: TalkerId, what: FromSink) {
        if let Some(outside) = self.ports.shards.get(usize::from(talker.shard)) {
            outside.send(Message::FromSink(sink, talker.ticket, what));
        }
    }

    fn talker(&self, ticket: Ticket) -> TalkerId {
        TalkerId { shard: self.index, ticket }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_road_has_room_for_some_packets_and_again_when_they_are_taken() {
        let road = Road::default();
        let mut packets: Vec<_> = std::iter::from_fn(|| road.enter()).take(1_000).collect();
        assert_eq!(packets.len(), ROAD_PACKETS_MAX);
        packets.truncate(10);
        packets.extend(std::iter::from_fn(|| road.enter()).take(1_000));
        assert_eq!(packets.len(), ROAD_PACKETS_MAX);
    }
}
