//! Sources in another format than their own: exactly what differs from what is asked for is made anew.
//!
//! - [`plan`]: what has to be done to each track.
//! - [`Convert`]: the port to whatever decodes and encodes.
//! - [`demux`]: a container whose tracks are in another format.

pub mod demux;
pub mod plan;

use proto::frame::Frame;
use proto::time::MediaTime;
use proto::track::Track;

use super::library::MediaError;
use plan::{AudioTarget, VideoTarget};

/// Keyframes stand at the first picture behind each multiple of this on the content's timeline, and pictures behind one
/// need none before it: whoever begins anywhere makes the same.
pub const KEYFRAME_NANOS: i64 = 2_000_000_000;

/// One track on its way into another format.
pub trait Convert: Send {
    /// What comes out of it.
    fn track(&self) -> &Track;

    /// Takes a frame of the source and hands on what it makes of it, perhaps of earlier ones.
    fn push(&mut self, frame: &Frame, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError>;

    /// Hands on what is still to come: the source has ended.
    fn finish(&mut self, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError>;

    /// Forgets what came: the next frame is from elsewhere, and nothing before `from` is wanted.
    fn reset(&mut self, from: MediaTime);
}

/// Makes converters. Errors are of what this build or the machine lacks.
pub trait Makes {
    /// One for pictures of `track`, which becomes track `index` of its presentation.
    fn video(&self, track: &Track, index: u8, target: &VideoTarget) -> Result<Box<dyn Convert>, MediaError>;

    /// One for its sound.
    fn audio(&self, track: &Track, index: u8, target: &AudioTarget) -> Result<Box<dyn Convert>, MediaError>;
}
