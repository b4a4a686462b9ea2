//! The kinds of fault, and how many seeds met each.

use std::collections::BTreeMap;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    DatagramLost,
    DatagramUnreachable,
    DatagramDoubled,
    DatagramsReordered,
    TransferHeldUp,
    TransferSplit,
    SendWaited,
    AcceptRefused,
    ConnectionMoved,
    ShardStoodStill,
    LibrarySlow,
    LibraryFailed,
    FileVanished,
    SourceLost,
    SourceRefused,
    InboxFull,
    PlayerStalled,
    PlayerSlow,
    PlayerFinished,
    PlayerReset,
    PlayerVanished,
    PlayerSilent,
    PlayerTranslated,
    RequestSplit,
    RequestsPipelined,
    RequestRefused,
    RequestHalf,
    GarbageSent,
    RtcpGarbageSent,
    SessionContinuedElsewhere,
    ShutdownWhilePlaying,
}

/// How often each kind has happened.
pub type Counts = BTreeMap<Kind, u64>;

/// All kinds.
pub const ALL: [Kind; 31] = [
    Kind::DatagramLost,
    Kind::DatagramUnreachable,
    Kind::DatagramDoubled,
    Kind::DatagramsReordered,
    Kind::TransferHeldUp,
    Kind::TransferSplit,
    Kind::SendWaited,
    Kind::AcceptRefused,
    Kind::ConnectionMoved,
    Kind::ShardStoodStill,
    Kind::LibrarySlow,
    Kind::LibraryFailed,
    Kind::FileVanished,
    Kind::SourceLost,
    Kind::SourceRefused,
    Kind::InboxFull,
    Kind::PlayerStalled,
    Kind::PlayerSlow,
    Kind::PlayerFinished,
    Kind::PlayerReset,
    Kind::PlayerVanished,
    Kind::PlayerSilent,
    Kind::PlayerTranslated,
    Kind::RequestSplit,
    Kind::RequestsPipelined,
    Kind::RequestRefused,
    Kind::RequestHalf,
    Kind::GarbageSent,
    Kind::RtcpGarbageSent,
    Kind::SessionContinuedElsewhere,
    Kind::ShutdownWhilePlaying,
];
