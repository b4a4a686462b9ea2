//! Files through FFmpeg's demuxers.

pub mod raw;
pub mod report;
