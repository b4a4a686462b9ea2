//! A build without TLS.

use std::net::IpAddr;

use super::CertificateError;
use crate::config::Settings;
use crate::shard::tls::TlsServer;

/// What there is not.
#[derive(Debug)]
pub enum Certificate {}

/// What there is not.
#[derive(Debug)]
pub enum Prepared {}

impl Certificate {
    /// Always none.
    pub fn open(_settings: &Settings, _hosts: &[IpAddr]) -> Result<Option<Certificate>, CertificateError> {
        Ok(None)
    }

    /// Nothing to check.
    pub fn check(_settings: &Settings) -> Result<(), CertificateError> {
        Ok(())
    }

    /// Never called: no port is for TLS.
    pub fn prepare(_settings: &Settings, _hosts: &[IpAddr]) -> Result<Prepared, CertificateError> {
        Err(CertificateError::Unmade("this build has no TLS".to_owned()))
    }

    /// Never called.
    pub fn adopt(&mut self, prepared: Prepared) {
        match prepared {}
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
