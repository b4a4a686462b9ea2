//! RTSP 1.0 messages (RFC 2326): bytes to checked types and back, without knowing what they lead to.

pub mod auth;
pub mod digest;
mod head;
pub mod headers;
pub mod message;
pub mod parse;
pub mod status;
pub mod uri;
pub mod write;

#[cfg(test)]
mod dialogue_tests;
