//! Whom clients in TLS see: the certificate of the configuration, or one of our own, and what becomes of it when its
//! files change.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod files;
#[cfg(feature = "tls")]
mod own;
#[cfg(feature = "tls")]
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod threads;

use std::io;
use std::path::PathBuf;

use crate::shard::tls::IdentityError;

#[cfg(not(feature = "tls"))]
pub use absent::{Certificate, Prepared};
#[cfg(feature = "tls")]
pub use files::{Certificate, Prepared};

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{setting}: {} cannot be read: {error}", file.display())]
    Unreadable {
        /// The setting that names it.
        setting: String,
        /// Which.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{setting}: {}: {error}", file.display())]
    Unusable {
        /// The setting that names it.
        setting: String,
        /// Which.
        file: PathBuf,
        /// Why not.
        error: IdentityError,
    },
    /// None could be made.
    #[error("no certificate could be made ({0}): set cert_file and key_file")]
    Unmade(String),
    /// No thread that shakes hands.
    #[error("no thread for handshakes: {0}")]
    Thread(io::Error),
}

impl CertificateError {
    /// Whether it is for the configuration to be put right.
    pub fn is_of_configuration(&self) -> bool {
        matches!(self, CertificateError::Unreadable { .. } | CertificateError::Unusable { .. })
    }
}
