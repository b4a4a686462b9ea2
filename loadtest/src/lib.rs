//! A swarm of RTSP clients that measures any server.
#![cfg(target_os = "linux")]

pub mod annexb;
pub mod bits;
pub mod chart;
pub mod churn;
pub mod clock;
pub mod compare;
pub mod connection;
pub mod counter;
pub mod interleaved;
pub mod keyframe;
pub mod limit;
pub mod meter;
pub mod picture;
pub mod plan;
pub mod process;
pub mod publisher;
pub mod report;
pub mod ring;
pub mod sdp;
pub mod sink;
pub mod sockets;
pub mod source;
pub mod stamp;
pub mod swarm;
pub mod viewer;
