//! A build without TLS.

use super::Received;

/// What there is not.
#[derive(Clone, Debug)]
pub struct TlsConfig;

/// What there is not.
#[derive(Debug)]
pub enum TlsClient {}

impl TlsConfig {
    /// Nothing to prepare.
    pub fn new(_is_verified: bool) -> TlsConfig {
        TlsConfig
    }
}

impl TlsClient {
    /// Always an error.
    pub fn new(_config: &TlsConfig, _host: &str) -> Result<TlsClient, String> {
        Err("this build has no TLS: build it with the feature tls".to_owned())
    }

    /// Never called.
    pub fn handle_bytes(&mut self, _bytes: &[u8]) -> Result<Received, String> {
        match *self {}
    }

    /// Never called.
    pub fn write(&mut self, _plain: &[u8]) -> Result<(), String> {
        match *self {}
    }

    /// Never called.
    pub fn close(&mut self) {
        match *self {}
    }

    /// Never called.
    pub fn take_output(&mut self) -> Vec<u8> {
        match *self {}
    }
}
