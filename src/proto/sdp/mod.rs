//! SDP (RFC 8866): how is a presentation described?

mod av1;
mod format;
mod group;
mod parse;
mod write;

pub use group::{Group, Multicast};
pub use parse::{Direction, MEDIA_MAX, Media, SDP_BYTES_MAX, SdpError, Session, parse};
pub use write::{Description, Recording};

#[cfg(test)]
mod tests;
