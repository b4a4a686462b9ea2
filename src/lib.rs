//! Ringcaster, an RTSP server for media hosts.
//!
//! The rooms, in the order a frame walks through them:
//!
//! - [`media`]: where frames come from. The only place that names FFmpeg.
//! - [`stream`]: one published stream for all its viewers.
//! - [`shard`]: one thread with its listeners, connections and sessions.
//! - [`egress`]: what leaves next for one viewer, and what is shed.
//! - [`driver`]: sockets. The ring, the portable fallback, the simulation.
//!
//! And for people: [`config`], [`control`], [`cli`].

pub mod cli;
pub mod config;
pub mod control;
pub mod driver;
pub mod egress;
pub mod media;
pub mod shard;
pub mod stream;
