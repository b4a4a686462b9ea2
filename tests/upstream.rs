//! Other RTSP servers to pull from: a scripted camera, GStreamer's server, and networks to put them in.

pub(crate) mod camera;
pub(crate) mod digest;
pub(crate) mod gstreamer;
pub(crate) mod network;
pub(crate) mod sending;
