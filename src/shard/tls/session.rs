//! One connection behind its handshake: what leaves is sealed, what comes is opened.
//!
//! rustls has shaken hands and keeps what new keys are made of. It would copy and allocate for each record; here
//! records are sealed in the buffer that is sent, and an idle connection holds two keys and nothing else.

use std::fmt;

use bytes::{BufMut, BytesMut};
use proto::io::Piece;
use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{ProtocolVersion, SupportedCipherSuite};

use super::record::{Content, HEAD_BYTES, Keys, OVERHEAD_BYTES_MAX, PAYLOAD_BYTES_MAX};

/// New keys that a client may ask for without sending anything else: each costs us several hashes.
const KEY_UPDATES_MAX: u32 = 32;

/// The message by which keys are renewed (RFC 8446 section 4.6.3).
const KEY_UPDATE: u8 = 24;

/// A whole KeyUpdate: its type, the size, and whether an answer is wanted.
const KEY_UPDATE_BYTES: usize = 5;

/// Levels and descriptions of alerts (RFC 8446 section 6).
const WARNING: u8 = 1;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;

/// An open connection.
pub struct TlsSession {
    kernel: KernelConnection<ServerConnectionData>,
    tx: Keys,
    rx: Keys,
    /// Records after which keys are renewed; with more of them the cipher would give something away.
    records_max: u64,
    /// The beginning of a record whose end has not come.
    partial: Vec<u8>,
    /// The client's renewals since its last bytes.
    updates: u32,
    /// Whether it waits for us to renew ours.
    owes_update: bool,
    is_ended: bool,
    has_said_goodbye: bool,
}

impl TlsSession {
    /// Takes over from a handshake that is complete. `rest` has come and not been looked at; nothing does when the client
    /// has ended its part already.
    pub(super) fn new(
        connection: UnbufferedServerConnection,
        rest: Vec<u8>,
        is_ended: bool,
    ) -> Result<TlsSession, String> {
        let (secrets, kernel) =
            connection.dangerous_into_kernel_connection().map_err(|error| error.to_string())?;
        let version = kernel.protocol_version();
        let records_max = match kernel.negotiated_cipher_suite() {
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
        };
        let keys = |secrets| Keys::new(version, secrets).ok_or("a cipher that is not known");
        Ok(TlsSession {
            tx: keys(secrets.tx)?,
            rx: keys(secrets.rx)?,
            kernel,
            records_max,
            partial: rest,
            updates: 0,
            owes_update: false,
            is_ended,
            has_said_goodbye: false,
        })
    }

    /// Opens what came and adds it to `plain`. An error ends the connection.
    pub fn open(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        while !self.partial.is_empty() && !self.is_ended {
            if !fill(&mut self.partial, HEAD_BYTES, &mut bytes) {
                return Ok(());
            }
            let size = HEAD_BYTES + self.rx.size(&self.partial).map_err(|error| error.to_string())?;
            if !fill(&mut self.partial, size, &mut bytes) {
                return Ok(());
            }
            // What a handshake has left may be more than one record.
            let mut partial = std::mem::take(&mut self.partial);
            self.open_record(&partial[..size], plain)?;
            if partial.len() > size {
                partial.drain(..size);
                self.partial = partial;
            }
        }
        while bytes.len() >= HEAD_BYTES && !self.is_ended {
            let size = HEAD_BYTES + self.rx.size(bytes).map_err(|error| error.to_string())?;
            let Some((record, rest)) = bytes.split_at_checked(size) else { break };
            self.open_record(record, plain)?;
            bytes = rest;
        }
        if !self.is_ended {
            self.partial.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Seals what the pieces hold and writes the records behind `out`. False when the keys are used up and there is no
    /// way to renew them: the connection is to end.
    pub fn seal(&mut self, pieces: &[Piece], out: &mut BytesMut) -> bool {
        self.renew(out);
        let mut slices = pieces.iter().flat_map(Piece::slices);
        let mut slice: &[u8] = slices.next().unwrap_or_default();
        loop {
            while slice.is_empty() {
                let Some(next) = slices.next() else { return true };
                slice = next;
            }
            if self.tx.count() >= self.records_max {
                if !self.tx.is_1_3() {
                    return false;
                }
                self.owes_update = true;
                self.renew(out);
            }
            self.tx.seal(Content::Data, out, |out| {
                let mut room = PAYLOAD_BYTES_MAX;
                while room > 0 {
                    let (now, rest) = slice.split_at(room.min(slice.len()));
                    out.put_slice(now);
                    room -= now.len();
                    slice = rest;
                    if slice.is_empty() {
                        let Some(next) = slices.next() else { break };
                        slice = next;
                    }
                }
            });
        }
    }

    /// Bytes that [`TlsSession::seal`] may write for so many of payload.
    pub fn sealed_size_max(payload: usize) -> usize {
        let records = payload.div_ceil(PAYLOAD_BYTES_MAX) + 1;
        payload + records * (HEAD_BYTES + OVERHEAD_BYTES_MAX)
    }

    /// Says that nothing more will be sent, once.
    pub fn say_goodbye(&mut self, out: &mut BytesMut) {
        self.has_said_goodbye = true;
        self.tx.seal(Content::Alert, out, |out| out.put_slice(&[WARNING, CLOSE_NOTIFY]));
    }

    /// Whether that was said.
    pub fn has_said_goodbye(&self) -> bool {
        self.has_said_goodbye
    }

    /// Whether the client has said so: an end without it may be somebody's on the way.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Has keys be used up after so many records.
    #[cfg(test)]
    pub(super) fn wear_out_after(&mut self, records: u64) {
        self.records_max = records;
    }

    fn open_record(&mut self, record: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        let start = plain.len();
        let content = self.rx.open(record, plain).map_err(|error| error.to_string())?;
        if content == Content::Data {
            if plain.len() > start {
                self.updates = 0;
            }
            return Ok(());
        }
        let message = plain.split_off(start);
        match (content, &message[..]) {
            (Content::Alert, [_, CLOSE_NOTIFY]) => self.is_ended = true,
            (Content::Alert, [_, USER_CANCELED]) => {}
            (Content::Alert, [level, code]) if *level == WARNING && !self.rx.is_1_3() => {
                tracing::trace!(code, "a warning of TLS");
            }
            (Content::Alert, [_, code]) => return Err(format!("the client says alert {code}")),
            (Content::Handshake, [KEY_UPDATE, 0, 0, 1, asked @ 0..=1]) if self.rx.is_1_3() => {
                self.handle_key_update(*asked == 1)?;
            }
            _ => return Err("a message of TLS that is out of place".to_owned()),
        }
        Ok(())
    }

    fn handle_key_update(&mut self, is_answer_wanted: bool) -> Result<(), String> {
        self.updates += 1;
        if self.updates > KEY_UPDATES_MAX {
            return Err("new keys again and again".to_owned());
        }
        let secrets = self.kernel.update_rx_secret().map_err(|error| error.to_string())?;
        self.rx = Keys::new(ProtocolVersion::TLSv1_3, secrets).ok_or("a cipher that is not known")?;
        self.owes_update |= is_answer_wanted;
        Ok(())
    }

    /// Renews our keys if that is due.
    fn renew(&mut self, out: &mut BytesMut) {
        if !std::mem::take(&mut self.owes_update) {
            return;
        }
        let Ok(secrets) = self.kernel.update_tx_secret() else { return };
        let Some(keys) = Keys::new(ProtocolVersion::TLSv1_3, secrets) else { return };
        let message: [u8; KEY_UPDATE_BYTES] = [KEY_UPDATE, 0, 0, 1, 0];
        self.tx.seal(Content::Handshake, out, |out| out.put_slice(&message));
        self.tx = keys;
    }
}

/// Whether `partial` has so many bytes, taking from `bytes` what is missing.
fn fill(partial: &mut Vec<u8>, size: usize, bytes: &mut &[u8]) -> bool {
    let missing = size.saturating_sub(partial.len());
    let (more, rest) = bytes.split_at(missing.min(bytes.len()));
    partial.extend_from_slice(more);
    *bytes = rest;
    partial.len() >= size
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession").field("tx", &self.tx).field("rx", &self.rx).finish_non_exhaustive()
    }
}
