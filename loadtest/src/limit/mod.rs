//! What is the least that this machine needs for the same? An RTSP server that is nothing but a send loop.
//!
//! It answers what viewers ask, makes its own pictures and hands each to all of them by one of the bare loops: no
//! publisher, no queue, no time of its own. The same viewers play from it as from the server under test, so that what
//! they measure of both can be divided.

mod dialogue;
mod fan;
mod server;
mod tls;

pub use fan::Loop;
pub use server::{Options, serve};
