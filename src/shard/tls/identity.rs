//! Who we are to a client: a chain of certificates and the key of the first.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::IdentityError;

/// A chain of certificates with its key.
#[derive(Clone)]
pub struct Identity(pub(super) Arc<CertifiedKey>);

impl Identity {
    /// Reads both in PEM form; the key as PKCS#8, PKCS#1 or SEC1.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Identity, IdentityError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(|error| IdentityError::Certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(IdentityError::Certificate("no certificate in PEM form is in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            use rustls::pki_types::pem::Error::NoItemsFound;
            IdentityError::Key(match error {
                NoItemsFound => "no private key in PEM form is in it, PKCS#8, PKCS#1 or SEC1".to_owned(),
                error => error.to_string(),
            })
        })?;
        let provider = default_provider();
        let key = provider.key_provider.load_private_key(key);
        let key = CertifiedKey::new(chain, key.map_err(|error| IdentityError::Key(error.to_string()))?);
        match key.keys_match() {
            Ok(()) => Ok(Identity(Arc::new(key))),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(IdentityError::Mismatch),
            Err(error) => Err(IdentityError::Certificate(error.to_string())),
        }
    }

    /// SHA-256 of the first certificate, as programs show it to people.
    pub fn fingerprint(&self) -> String {
        let certificate = self.0.cert.first().map(AsRef::as_ref).unwrap_or_default();
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let bytes: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        bytes.join(":")
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.fingerprint()).finish()
    }
}
