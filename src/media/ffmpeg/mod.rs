//! Files through FFmpeg's demuxers.

mod config;
mod container;
mod pieces;
pub mod raw;
pub mod report;
