//! The server's side of one handshake, until records can be sealed and opened without rustls.

use std::fmt;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

use super::{HANDSHAKE_RECORD, Step, TlsServer, TlsSession};

/// What a client may say before its handshake is complete; a chain of its own certificates is not asked for.
const INCOMING_BYTES_MAX: usize = 128 * 1024;

/// A handshake that is not complete.
#[derive(Default)]
pub struct Handshake {
    /// None before the first bytes: who only connects costs nothing.
    connection: Option<UnbufferedServerConnection>,
    incoming: Vec<u8>,
    /// What the client has said to us behind its handshake.
    plain: Vec<u8>,
    /// Whether it has said goodbye behind that.
    is_ended: bool,
}

impl Handshake {
    /// Takes what came from the client. An error ends the connection.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let first = self.incoming.first().or(bytes.first());
        if self.connection.is_none() && first.is_some_and(|first| *first != HANDSHAKE_RECORD) {
            return Err("no TLS on a port for TLS");
        }
        if self.incoming.len() + bytes.len() > INCOMING_BYTES_MAX {
            return Err("more than a handshake before the handshake is complete");
        }
        self.incoming.extend_from_slice(bytes);
        Ok(())
    }

    /// Looks at all that has come. The bytes are for the client, whatever came of it.
    pub(super) fn step(mut self: Box<Self>, server: &TlsServer) -> (Vec<u8>, Step) {
        let mut output = Vec::new();
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => UnbufferedServerConnection::new(server.config.clone()),
        };
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => return (output, Step::Failed(error.to_string())),
        };
        match self.turn(&mut connection, &mut output) {
            Ok(true) => {
                let plain = std::mem::take(&mut self.plain);
                let session = TlsSession::new(connection, std::mem::take(&mut self.incoming), self.is_ended);
                match session {
                    Ok(session) => (output, Step::Complete(Box::new(session), plain)),
                    Err(error) => (output, Step::Failed(error)),
                }
            }
            Ok(false) => {
                self.connection = Some(connection);
                (output, Step::Waits(self))
            }
            Err(error) => {
                // What the client is told of it.
                while let UnbufferedStatus { state: Ok(state), .. } = connection.process_tls_records(&mut [])
                {
                    match state {
                        ConnectionState::EncodeTlsData(data) => encode(data, &mut output),
                        ConnectionState::TransmitTlsData(data) => data.done(),
                        _ => break,
                    }
                }
                (output, Step::Failed(error))
            }
        }
    }

    /// Whether the handshake is complete.
    fn turn(
        &mut self,
        connection: &mut UnbufferedServerConnection,
        output: &mut Vec<u8>,
    ) -> Result<bool, String> {
        loop {
            let UnbufferedStatus { mut discard, state } = connection.process_tls_records(&mut self.incoming);
            let verdict = match state.map_err(|error| error.to_string())? {
                ConnectionState::EncodeTlsData(data) => {
                    encode(data, output);
                    None
                }
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    None
                }
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| error.to_string())?;
                        discard += record.discard;
                        self.plain.extend_from_slice(record.payload);
                    }
                    None
                }
                ConnectionState::BlockedHandshake => Some(false),
                ConnectionState::WriteTraffic(_) => Some(true),
                ConnectionState::PeerClosed => {
                    self.is_ended = true;
                    Some(true)
                }
                _ => return Err("nothing that belongs into a handshake".to_owned()),
            };
            self.incoming.drain(..discard);
            if self.is_ended && connection.is_handshaking() {
                return Err("the client has closed within its handshake".to_owned());
            }
            if let Some(may_send) = verdict {
                // In TLS 1.3 a server may send before the client has proven that it is there.
                return Ok(may_send && !connection.is_handshaking());
            }
        }
    }
}

fn encode(mut data: EncodeTlsData<'_, rustls::server::ServerConnectionData>, output: &mut Vec<u8>) {
    let start = output.len();
    let mut written = data.encode(&mut []);
    if let Err(EncodeError::InsufficientSize(needed)) = &written {
        output.resize(start + needed.required_size, 0);
        written = data.encode(&mut output[start..]);
    }
    output.truncate(start + written.unwrap_or_default());
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("incoming", &self.incoming.len()).finish_non_exhaustive()
    }
}
