//! A container while it is read: frames in file order, and ways to other places in it.

use proto::frame::Frame;
use proto::time::MediaTime;

use super::library::MediaError;

/// An open file. Frame times count from the content's first moment.
pub trait Demux: Send {
    /// The next frame in file order; None at the end. A track's frames come in decoding order.
    fn next_frame(&mut self) -> Result<Option<Frame>, MediaError>;

    /// Goes to a place at or before the leading track's last keyframe at or before `time`. It may land elsewhere;
    /// the reader looks at what comes and asks again.
    fn seek(&mut self, time: MediaTime) -> Result<(), MediaError>;

    /// At which byte a keyframe of the leading track lies that was read not long ago. None where that is of no use to
    /// [`Demux::seek_place`], which finds it sooner than [`Demux::seek`] does where there is no index.
    fn place(&self, _key: MediaTime) -> Option<u64> {
        None
    }

    /// Goes to a place that [`Demux::place`] told, of this file or another opening of it.
    fn seek_place(&mut self, _byte: u64) -> Result<(), MediaError> {
        Err(MediaError::Broken("nothing is known of its places".into()))
    }

    /// Goes back to the first frame.
    fn rewind(&mut self) -> Result<(), MediaError>;

    /// Whether [`Demux::seek`] lands exactly at the last keyframe whose decoding time is at or before the asked one.
    fn has_exact_index(&self) -> bool;
}
