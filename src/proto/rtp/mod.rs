//! RTP (RFC 3550) and its payload formats.

pub mod batch;
pub mod depacketize;
pub mod header;
pub mod jpeg;
mod nal;
pub(crate) mod obu;
pub mod packetize;
pub mod parameter_sets;
pub mod refragment;
pub mod reorder;
