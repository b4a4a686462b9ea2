//! SDP (RFC 8866): how a presentation is described.

mod format;
mod write;

pub use write::Description;
