//! Bare send loops: what the kernel's interfaces cost with nothing around them.
//!
//! The rivals that the send path has to beat, in `benches` within one process and in `loadtest` over the wire.
//! `unsafe` is at home here: a safe wrapper would be measured with the call.
#![cfg(target_os = "linux")]

mod datagrams;
mod ring;
mod streams;
pub mod sys;

pub use datagrams::{Call, Datagrams, RingDatagrams};
pub use streams::RingStreams;
