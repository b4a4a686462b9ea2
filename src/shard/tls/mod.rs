//! TLS as bytes in and bytes out, towards other servers and towards our own clients; a build without it says so when it
//! is wanted.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod client;
#[cfg(feature = "tls")]
mod handshake;
#[cfg(feature = "tls")]
mod identity;
#[cfg(feature = "tls")]
mod record;
#[cfg(feature = "tls")]
mod server;
#[cfg(feature = "tls")]
mod session;
#[cfg(feature = "tls")]
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod trust;

#[cfg(not(feature = "tls"))]
pub use absent::{Handshake, HandshakeJob, Identity, TlsClient, TlsConfig, TlsServer, TlsSession};
#[cfg(feature = "tls")]
pub use client::{TlsClient, TlsConfig};
#[cfg(feature = "tls")]
pub use handshake::Handshake;
#[cfg(feature = "tls")]
pub use identity::Identity;
#[cfg(feature = "tls")]
pub use server::{HandshakeJob, TlsServer};
#[cfg(feature = "tls")]
pub use session::TlsSession;

/// First byte of a handshake record (RFC 8446 section 5.1): no request of RTSP or HTTP begins with it.
pub const HANDSHAKE_RECORD: u8 = 22;

/// The alert by which a handshake is refused (RFC 8446 section 6.2), for those who come to a port without TLS.
pub const HANDSHAKE_FAILURE: &[u8] = &[21, 3, 3, 0, 2, 2, 40];

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

/// How a handshake stands when all that has come was looked at.
#[derive(Debug)]
pub enum Step {
    /// The client is to say more.
    Waits(Box<Handshake>),
    /// It is complete. The bytes are what the client has said behind it.
    Complete(Box<TlsSession>, Vec<u8>),
    /// It has failed.
    Failed(String),
}

/// Why an identity cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The certificates cannot be read.
    #[error("{0}")]
    Certificate(String),
    /// The key cannot be read.
    #[error("{0}")]
    Key(String),
    /// Both can be read and do not fit.
    #[error("the key does not belong to the certificate")]
    Mismatch,
}
