//! TLS towards other servers, as bytes in and bytes out; a build without it says so when it is wanted.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod trust;

#[cfg(not(feature = "tls"))]
pub use absent::{TlsClient, TlsConfig};
#[cfg(feature = "tls")]
pub use client::{TlsClient, TlsConfig};

/// What received bytes came to.
#[derive(Debug, Default)]
pub struct Received {
    /// What was in them.
    pub plain: Vec<u8>,
    /// Whether the handshake is complete since now.
    pub is_ready: bool,
    /// Whether the other side has said that it will send no more.
    pub is_ended: bool,
}
