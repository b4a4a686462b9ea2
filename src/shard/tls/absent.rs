//! A build without TLS.

use std::sync::Weak;

use bytes::BytesMut;
use proto::io::{Conn, Piece};

use super::{IdentityError, Received};
use crate::shard::inbox::Outside;

/// What there is not.
#[derive(Clone, Debug)]
pub struct TlsConfig;

/// What there is not.
#[derive(Debug)]
pub enum TlsClient {}

/// What there is not.
#[derive(Clone, Debug)]
pub enum TlsServer {}

/// What there is not.
#[derive(Debug)]
pub enum HandshakeJob {}

/// What there is not.
#[derive(Clone, Debug)]
pub enum Identity {}

/// What there is not.
#[derive(Debug)]
pub enum TlsSession {}

/// What there is not.
#[derive(Debug, Default)]
pub struct Handshake;

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

impl TlsServer {
    /// Never called.
    #[expect(clippy::boxed_local, reason = "as it is where there is TLS")]
    pub fn advance(&self, _handshake: Box<Handshake>, _conn: Conn, _client: Weak<()>, _reply: Outside) {
        match *self {}
    }
}

impl Identity {
    /// Always an error.
    pub fn from_pem(_certificates: &[u8], _key: &[u8]) -> Result<Identity, IdentityError> {
        Err(IdentityError::Certificate("this build has no TLS".to_owned()))
    }
}

impl Handshake {
    /// Never called.
    pub fn handle_bytes(&mut self, _bytes: &[u8]) -> Result<(), &'static str> {
        Err("this build has no TLS")
    }
}

impl TlsSession {
    /// Never called.
    pub fn open(&mut self, _bytes: &[u8], _plain: &mut Vec<u8>) -> Result<(), String> {
        match *self {}
    }

    /// Never called.
    pub fn seal(&mut self, _pieces: &[Piece], _out: &mut BytesMut) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn sealed_size_max(payload: usize) -> usize {
        payload
    }

    /// Never called.
    pub fn say_goodbye(&mut self, _out: &mut BytesMut) {
        match *self {}
    }

    /// Never called.
    pub fn has_said_goodbye(&self) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn is_ended(&self) -> bool {
        match *self {}
    }
}
