//! How a recording is played: what one PLAY grants.

use proto::rtsp::headers::frames::Frames;
use proto::time::MediaTime;

use crate::shard::file::Pace;

/// Which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// As it was recorded.
    #[default]
    Forward,
    /// In reverse: groups of pictures from the last to the first, each of them forward.
    Backward,
}

/// What one PLAY grants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Order {
    /// Where it begins, in the content.
    pub from: MediaTime,
    /// Where it ends; None = where the recording does in that direction.
    pub until: Option<MediaTime>,
    /// Which way it goes.
    pub direction: Direction,
    /// Which pictures are sent.
    pub frames: Frames,
    /// Whether anything but pictures is sent.
    pub has_sound: bool,
    /// How fast, whichever way; None = as fast as the transport takes it.
    pub pace: Option<Pace>,
    /// Low-order byte of the `CSeq` of the PLAY.
    pub cseq: u8,
    /// Whether it was to cancel what was played before.
    pub is_immediate: bool,
}

impl Order {
    /// Whether both play in the same way, wherever they begin and end.
    pub fn is_same_mode(&self, other: &Order) -> bool {
        let mode = |order: &Order| (order.direction, order.frames, order.has_sound, order.pace);
        mode(self) == mode(other)
    }
}

/// What a PLAY without a range goes on with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// Where it begins; None where the recording does in its direction.
    pub at: Option<MediaTime>,
    /// Where it ends, if it keeps the direction; None = where the recording does.
    pub until: Option<MediaTime>,
    /// In which direction that is.
    pub direction: Direction,
}

/// In what a range is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Since the content's first moment.
    Npt,
    /// By the time of day at which it was recorded, as ONVIF has it.
    #[default]
    Clock,
}
