//! Encrypted RTP and RTCP: the secure profile (RFC 3711), and AES-GCM in it (RFC 7714).

mod gcm;
mod keys;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;

pub use keys::{Keys, MKI_BYTES_MAX, MasterKey, RANDOM_BYTES, Suite};
pub use receiver::Receiver;
pub use sender::Sender;

/// Why a packet is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// It is shorter than a packet can be, or not of version 2.
    #[error("not a packet of SRTP")]
    Malformed,
    /// It names another key.
    #[error("a packet under another key")]
    OtherKey,
    /// It was changed on its way, or protected with another key.
    #[error("a packet that is not authentic")]
    NotAuthentic,
    /// It came before, or is too old to tell.
    #[error("a packet that came before")]
    Replayed,
    /// There are too many synchronization sources.
    #[error("too many sources")]
    TooManySources,
}
