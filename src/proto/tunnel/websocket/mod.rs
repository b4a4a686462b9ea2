//! The WebSocket that carries RTSP (RFC 6455; ONVIF Streaming Specification section 5.1.1.6).
//!
//! Its messages are pieces of one stream of bytes: where a frame ends says nothing about where a request ends.

pub mod frame;
pub mod reader;
pub mod upgrade;
