//! RTP (RFC 3550) and its payload formats.

pub mod batch;
pub mod header;
mod nal;
pub mod packetize;
