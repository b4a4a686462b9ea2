//! The client's side of one TLS connection.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::Received;
use super::trust;

/// How servers are trusted, shared by all connections.
#[derive(Clone, Debug)]
pub struct TlsConfig(Arc<rustls::ClientConfig>);

impl TlsConfig {
    /// With `is_verified` a server's certificate must be its own and signed by somebody whom the system trusts; without,
    /// any will do, as most cameras have made theirs themselves. Reads the system's certificates.
    pub fn new(is_verified: bool) -> TlsConfig {
        TlsConfig(Arc::new(trust::config(is_verified)))
    }
}

impl TlsConfig {
    /// The same for a client that makes its connections itself.
    pub fn to_rustls(&self) -> rustls::ClientConfig {
        rustls::ClientConfig::clone(&self.0)
    }
}

/// One connection.
#[derive(Debug)]
pub struct TlsClient {
    connection: ClientConnection,
    is_ready: bool,
}

impl TlsClient {
    /// A connection whose first words wait in [`TlsClient::take_output`]. An error when `host` is neither a name nor
    /// an address.
    pub fn new(config: &TlsConfig, host: &str) -> Result<TlsClient, String> {
        // A zone belongs to this machine, not to the server's name.
        let host = host.split('%').next().unwrap_or_default().to_owned();
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        let connection = ClientConnection::new(config.0.clone(), name).map_err(|error| error.to_string())?;
        Ok(TlsClient { connection, is_ready: false })
    }

    /// Takes what came from the server. An error ends the connection; what the server is told of it waits in
    /// [`TlsClient::take_output`].
    pub fn handle_bytes(&mut self, mut bytes: &[u8]) -> Result<Received, String> {
        let mut received = Received::default();
        while !bytes.is_empty() {
            // Reading from memory cannot fail but for a full buffer, which is emptied each time.
            self.connection.read_tls(&mut bytes).map_err(|error| error.to_string())?;
            let state = self.connection.process_new_packets().map_err(|error| error.to_string())?;
            let (size, is_ended) = (state.plaintext_bytes_to_read(), state.peer_has_closed());
            let start = received.plain.len();
            received.plain.resize(start + size, 0);
            let read = self.connection.reader().read_exact(&mut received.plain[start..]);
            read.map_err(|error| error.to_string())?;
            received.is_ended |= is_ended;
            if is_ended {
                break;
            }
        }
        if !self.is_ready && !self.connection.is_handshaking() {
            self.is_ready = true;
            received.is_ready = true;
        }
        Ok(received)
    }

    /// Takes what is for the server.
    pub fn write(&mut self, plain: &[u8]) -> Result<(), String> {
        self.connection.writer().write_all(plain).map_err(|error| error.to_string())
    }

    /// Says that no more will be sent.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// What is to be sent now; empty when nothing is.
    pub fn take_output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.connection.wants_write() {
            // Writing to memory cannot fail.
            if self.connection.write_tls(&mut out).is_err() {
                break;
            }
        }
        out
    }
}
