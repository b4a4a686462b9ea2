//! AES-GCM with keys of either size (RFC 7714): encrypts and authenticates at once.

use aes::cipher::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm, Nonce, Tag};

use super::SrtpError;

/// Bytes of what authenticates a packet.
pub const TAG_BYTES: usize = 16;

/// A cipher with its key. Boxed: its tables are hundreds of bytes.
pub enum Gcm {
    /// A key of 16 bytes.
    Aes128(Box<Aes128Gcm>),
    /// A key of 32 bytes.
    Aes256(Box<Aes256Gcm>),
}

impl Gcm {
    /// A cipher; None for a key of another size.
    pub fn new(key: &[u8]) -> Option<Gcm> {
        match key.len() {
            16 => Aes128Gcm::new_from_slice(key).ok().map(|cipher| Gcm::Aes128(cipher.into())),
            _ => Aes256Gcm::new_from_slice(key).ok().map(|cipher| Gcm::Aes256(cipher.into())),
        }
    }

    /// Encrypts `payload` where it is; what authenticates it together with `clear`.
    pub fn seal(&self, nonce: &Nonce<U12>, clear: &[u8], payload: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = match self {
            Gcm::Aes128(cipher) => cipher.encrypt_inout_detached(nonce, clear, payload.into()),
            Gcm::Aes256(cipher) => cipher.encrypt_inout_detached(nonce, clear, payload.into()),
        };
        // Fails for packets of 64 GiB alone.
        tag.unwrap_or_default().into()
    }

    /// The reverse.
    pub fn open(
        &self,
        nonce: &Nonce<U12>,
        clear: &[u8],
        payload: &mut [u8],
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        let tag = Tag::try_from(tag).map_err(|_| SrtpError::Malformed)?;
        let opened = match self {
            Gcm::Aes128(cipher) => cipher.decrypt_inout_detached(nonce, clear, payload.into(), &tag),
            Gcm::Aes256(cipher) => cipher.decrypt_inout_detached(nonce, clear, payload.into(), &tag),
        };
        opened.map_err(|_| SrtpError::NotAuthentic)
    }
}
