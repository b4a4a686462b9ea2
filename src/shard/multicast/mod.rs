//! How does one presentation reach all who listen to its groups, sent once whatever their number?
//!
//! A *transmission* is a presentation on its way to its groups: on one shard, its home, a session without a client plays
//! it to them as it would to a viewer. The sessions of those who listen are *members*; they are on any shard, carry
//! nothing, and are counted:
//!
//! ```text
//! member's shard                            home
//!   Describe ── DESCRIBE, SETUP ──────────▶   groups are taken
//!            ◀────────────── groups ───────  Described
//!   Enter    ── SETUP has made a session ──▶  the sender is there
//!   Listen   ── PLAY, PAUSE ───────────────▶  it sends what anybody listens to
//!            ◀────── what comes next ──────  Flows
//!            ◀── a report from its address ─  Heard
//!   Leave    ── end of session ────────────▶  it stops with the last
//!            ◀── end of the stream ────────  Ended
//! ```

mod hear;
mod home;
mod member;
mod offer;
mod sender;
mod transmissions;

use std::net::IpAddr;
use std::sync::Arc;

use proto::sdp::Group;
use smallvec::SmallVec;

use super::connection::{Mount, Refusal};
use super::session::SessionId;
use crate::media::library::{FileInfo, Ticket};
use crate::stream::catalog::{ShardIndex, StreamName};

pub(super) use member::Member;
pub(super) use offer::{Asked, GroupWish};
pub(super) use transmissions::{TransmissionKey, Transmissions};

/// What is sent to groups, and to which.
#[derive(Debug)]
pub struct Offer {
    /// The shard that sends it.
    pub home: ShardIndex,
    /// Its name there.
    pub key: TransmissionKey,
    /// What is sent.
    pub mount: Mount,
    /// One group for each of its tracks.
    pub groups: Box<[Group]>,
}

/// What a client has named.
#[derive(Clone, Debug)]
pub enum Named {
    /// A live stream.
    Live(StreamName),
    /// A file.
    File(Arc<FileInfo>),
}

/// Indices of tracks.
pub type Tracks = SmallVec<[u8; 4]>;

/// For each track that is sent, sequence number and timestamp of what comes next; None before its first packet.
pub type Starts = SmallVec<[(u8, Option<(u16, u32)>); 2]>;

/// What the home of a transmission is told.
#[derive(Debug)]
pub enum ToHome {
    /// A client asks for groups, on that shard under that ticket.
    Describe(Named, ShardIndex, Ticket),
    /// A session of a client at that address is set up.
    Enter(TransmissionKey, SessionId, IpAddr),
    /// It listens to these tracks from now on; to none while it is paused.
    Listen(TransmissionKey, SessionId, Tracks),
    /// It has ended.
    Leave(TransmissionKey, SessionId),
}

/// What the home says.
#[derive(Debug)]
pub enum FromHome {
    /// The groups, or why there are none.
    Described(Ticket, Result<Arc<Offer>, Refusal>),
    /// What a session listens to is sent, or cannot be.
    Flows(SessionId, Result<Starts, Refusal>),
    /// A report has come from the address of a session.
    Heard(SessionId),
    /// Nothing more is sent to a session, and why.
    Ended(SessionId, String),
}

impl Named {
    /// What a mount is named by.
    fn of(mount: &Mount) -> Named {
        match mount {
            Mount::Live(stream) => Named::Live(stream.name.clone()),
            Mount::File(file) => Named::File(file.clone()),
        }
    }

    fn name(&self) -> &str {
        match self {
            Named::Live(stream) => &stream.path,
            Named::File(file) => &file.name,
        }
    }
}
