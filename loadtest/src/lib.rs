//! A swarm of RTSP clients that measures any server.
//!
//! - [`plan`]: what a run shall do.
//! - [`swarm`]: a thread for each processor, each with its share of the viewers.
//! - [`viewer`]: one client from connect to TEARDOWN.
//! - [`report`]: what came out, for people and for machines.
//!
//! The clients run on tokio-uring and share nothing with the server but the grammar of RTSP.
#![cfg(target_os = "linux")]

pub mod connection;
pub mod interleaved;
pub mod meter;
pub mod plan;
pub mod process;
pub mod report;
pub mod sdp;
pub mod sockets;
pub mod swarm;
pub mod trains;
pub mod viewer;
