//! Where frames come from: files, the test picture, and later cameras, screens and sound.
//!
//! A file on its way to a shard:
//!
//! - [`demux`]: the container, as frames in file order. `ffmpeg` and [`memory`] make them.
//! - [`reader`]: frames from a keyframe on, in stretches.
//! - [`cut`]: a stretch, packetized: a [`segment::Segment`].
//! - [`transcode`]: in between, where another format is asked for than the container has.
//! - [`capture`]: what the machine itself sees and hears.
//! - [`channel`]: the same frames as they are due, for a file that is a live stream.
//! - [`library`]: the port through which shards ask.
//! - [`documents`]: metadata that others write.

pub mod capture;
pub mod channel;
pub mod cut;
pub mod demux;
pub mod documents;
#[cfg(feature = "ffmpeg")]
pub mod ffmpeg;
pub mod folder;
pub mod format;
pub mod hardware;
pub mod keys;
pub mod library;
pub mod memory;
pub mod opener;
pub mod playback;
pub mod pool;
pub mod reader;
pub mod segment;
pub mod source;
pub mod synthetic;
pub mod transcode;

use self::transcode::Makes;

/// What makes frames anew in this build.
#[cfg(feature = "ffmpeg")]
pub fn converters() -> Box<dyn Makes + Send + Sync> {
    Box::new(ffmpeg::convert::Converters)
}

/// What makes frames anew in this build.
#[cfg(not(feature = "ffmpeg"))]
pub fn converters() -> Box<dyn Makes + Send + Sync> {
    Box::new(transcode::Absent)
}
