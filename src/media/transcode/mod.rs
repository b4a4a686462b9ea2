//! Sources in another format than their own: exactly what differs from what is asked for is made anew.
//!
//! - [`plan`]: what has to be done to each track.
//! - [`Convert`]: the port to whatever decodes and encodes.
//! - [`demux`]: a container whose tracks are in another format.
//! - [`jpeg`]: pictures one by one, where RTP does not carry them as they are.
//! - [`slots`] and [`pipelines`]: how much may be made anew at once.

pub mod demux;
pub mod jpeg;
pub mod pipelines;
pub mod plan;
pub mod slots;

use std::time::Duration;

use bytes::Bytes;
use proto::frame::Frame;
use proto::time::MediaTime;
use proto::track::Track;

use super::capture::Shape;
use super::library::MediaError;
use plan::{AudioTarget, VideoTarget};

/// Keyframes stand at the first picture behind each multiple of this on the content's timeline, and pictures behind one
/// need none before it: whoever begins anywhere makes the same.
pub const KEYFRAME_NANOS: i64 = 2_000_000_000;

/// Where keyframes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyframes {
    /// At the multiples of [`KEYFRAME_NANOS`].
    OnGrid,
    /// At least as often as this, and where they are wanted.
    Every(Duration),
}

/// One track on its way into another format.
pub trait Convert: Send {
    /// What comes out of it.
    fn track(&self) -> &Track;

    /// Takes a frame of the source and hands on what it makes of it, perhaps of earlier ones.
    fn push(&mut self, frame: &Frame, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError>;

    /// Takes a frame of which nothing is to be seen, for the sake of those that follow.
    fn skip(&mut self, frame: &Frame) -> Result<(), MediaError>;

    /// The next picture is to stand alone.
    fn want_keyframe(&mut self);

    /// Hands on what is still to come: the source has ended.
    fn finish(&mut self, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError>;

    /// Forgets what came: the next frame is from elsewhere, and nothing before `from` is wanted.
    fn reset(&mut self, from: MediaTime);
}

/// Makes a JPEG picture anew as one that RTP carries. An error when it cannot be decoded.
pub type Still = fn(&Bytes) -> Result<Bytes, MediaError>;

/// Makes converters. Errors are of what this build or the machine lacks.
pub trait Makes {
    /// One for pictures of `track`, which becomes track `index` of its presentation.
    fn video(
        &self,
        track: &Track,
        index: u8,
        target: &VideoTarget,
        keyframes: Keyframes,
    ) -> Result<Box<dyn Convert>, MediaError>;

    /// One for its sound.
    fn audio(&self, track: &Track, index: u8, target: &AudioTarget) -> Result<Box<dyn Convert>, MediaError>;

    /// One for pictures that are not coded, whose times are in ticks of 90 kHz.
    fn pixels(
        &self,
        shape: Shape,
        index: u8,
        target: &VideoTarget,
        keyframes: Keyframes,
    ) -> Result<Box<dyn Convert>, MediaError>;

    /// Size in pixels of a picture of `track`; None when it is damaged.
    fn size(&self, track: &Track, frame: &Frame) -> Result<Option<(u32, u32)>, MediaError>;

    /// A picture of `track` as a JPEG file, not wider than that many pixels. An error when it cannot be decoded.
    fn picture(&self, track: &Track, frame: &Frame, width_max: u32) -> Result<Bytes, MediaError>;

    /// What makes pictures in JPEG anew, one by one.
    fn still(&self) -> Still;
}

/// A build that can make nothing anew.
pub struct Absent;

impl Makes for Absent {
    fn video(&self, _: &Track, _: u8, _: &VideoTarget, _: Keyframes) -> Result<Box<dyn Convert>, MediaError> {
        Err(absent())
    }

    fn audio(&self, _: &Track, _: u8, _: &AudioTarget) -> Result<Box<dyn Convert>, MediaError> {
        Err(absent())
    }

    fn pixels(&self, _: Shape, _: u8, _: &VideoTarget, _: Keyframes) -> Result<Box<dyn Convert>, MediaError> {
        Err(absent())
    }

    fn size(&self, _: &Track, _: &Frame) -> Result<Option<(u32, u32)>, MediaError> {
        Err(absent())
    }

    fn picture(&self, _: &Track, _: &Frame, _: u32) -> Result<Bytes, MediaError> {
        Err(absent())
    }

    fn still(&self) -> Still {
        |_| Err(absent())
    }
}

fn absent() -> MediaError {
    MediaError::Unsupported(
        "this build makes nothing in another format; it lacks the feature ffmpeg".to_owned(),
    )
}
