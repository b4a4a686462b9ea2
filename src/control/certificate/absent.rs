//! A build without TLS.

use std::net::IpAddr;

use super::CertificateError;
use crate::config::Settings;
use crate::shard::tls::TlsServer;

/// What there is not.
#[derive(Debug)]
pub enum Certificate {}

impl Certificate {
    /// Always none.
    pub fn open(_settings: &Settings, _hosts: &[IpAddr]) -> Result<Option<Certificate>, CertificateError> {
        Ok(None)
    }

    /// Nothing to check.
    pub fn check(_settings: &Settings) -> Result<(), CertificateError> {
        Ok(())
    }

    /// Never called.
    pub fn server(&self) -> TlsServer {
        match *self {}
    }

    /// Never called.
    pub fn look(&mut self) {
        match *self {}
    }
}
