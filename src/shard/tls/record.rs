//! Records of TLS 1.2 and 1.3, sealed and opened where they lie (RFC 8446 section 5, RFC 5246 section 6.2, RFC 5288,
//! RFC 7905).
//!
//! ```text
//! TLS 1.3:       17 03 03 size | payload, its type | tag
//! TLS 1.2:       type 03 03 size | payload | tag
//! with AES-GCM:  type 03 03 size | 8 bytes of nonce | payload | tag
//! ```

use std::fmt;

use bytes::{BufMut, BytesMut};
use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

/// Most bytes of payload in one record.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 14;

/// Bytes before a record: type, version, size.
pub(super) const HEAD_BYTES: usize = 5;

/// Part of the nonce that TLS 1.2 sends with each record of AES-GCM.
const EXPLICIT_BYTES: usize = 8;

/// Most bytes that a record has beside payload and head: for TLS 1.2 the nonce and the tag, for 1.3 type and tag.
pub(super) const OVERHEAD_BYTES_MAX: usize = EXPLICIT_BYTES + MAX_TAG_LEN;

/// Most bytes behind a head (RFC 8446 section 5.2, RFC 5246 section 6.2.3).
const SIZE_MAX_1_3: usize = PAYLOAD_BYTES_MAX + 256;
const SIZE_MAX_1_2: usize = PAYLOAD_BYTES_MAX + 2_048;

/// What a record holds (RFC 8446 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A word about the connection itself.
    Alert,
    /// A part of a handshake.
    Handshake,
    /// What the connection is for.
    Data,
}

/// Why a record cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    /// It is not like a record.
    #[error("not a record of TLS")]
    Malformed,
    /// It is larger than any.
    #[error("a record that is too large")]
    TooLarge,
    /// It was changed on its way, or sealed with another key.
    #[error("a record that is not authentic")]
    NotAuthentic,
}

/// One direction of a connection.
pub(super) struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
    form: Form,
}

/// How records look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Tls13,
    Tls12,
    Tls12Gcm,
}

impl Keys {
    /// Keys that count on from `sequence`. None for a cipher or a version that is not known.
    pub fn new(
        version: ProtocolVersion,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Option<Keys> {
        let (algorithm, key, iv, is_gcm) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, false),
            _ => return None,
        };
        let form = match version {
            ProtocolVersion::TLSv1_3 => Form::Tls13,
            ProtocolVersion::TLSv1_2 if is_gcm => Form::Tls12Gcm,
            ProtocolVersion::TLSv1_2 => Form::Tls12,
            _ => return None,
        };
        Some(Keys {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?),
            iv: iv.as_ref().try_into().ok()?,
            sequence,
            form,
        })
    }

    /// How many records went through, those of a handshake included.
    pub fn count(&self) -> u64 {
        self.sequence
    }

    pub fn is_1_3(&self) -> bool {
        self.form == Form::Tls13
    }

    /// Writes one record behind `out`, whose payload `write` gives: at most [`PAYLOAD_BYTES_MAX`] bytes.
    pub fn seal(&mut self, content: Content, out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        let head = out.len();
        out.put_bytes(0, HEAD_BYTES);
        let nonce = self.nonce();
        if self.form == Form::Tls12Gcm {
            out.put_slice(&nonce[NONCE_LEN - EXPLICIT_BYTES..]);
        }
        let start = out.len();
        write(out);
        let payload = out.len() - start;
        debug_assert!(payload <= PAYLOAD_BYTES_MAX);
        let outer = match self.form {
            Form::Tls13 => {
                out.put_u8(content.code());
                Content::Data.code()
            }
            Form::Tls12 | Form::Tls12Gcm => content.code(),
        };
        let size = out.len() - head - HEAD_BYTES + MAX_TAG_LEN;
        out[head..head + HEAD_BYTES].copy_from_slice(&record_head(outer, size));
        let aad = self.additional(outer, payload, size);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad.as_ref()), &mut out[start..]);
        self.sequence += 1;
        match sealed {
            Ok(tag) => out.put_slice(tag.as_ref()),
            // Only payloads of 64 GiB fail; nothing that could be read leaves.
            Err(_) => out.truncate(head),
        }
    }

    /// Bytes behind a head, of which five are there.
    pub fn size(&self, head: &[u8]) -> Result<usize, RecordError> {
        let [20..=23, 3, 1..=3, high, low] = head[..HEAD_BYTES] else { return Err(RecordError::Malformed) };
        let size = usize::from(u16::from_be_bytes([high, low]));
        let max = if self.is_1_3() { SIZE_MAX_1_3 } else { SIZE_MAX_1_2 };
        if size > max { Err(RecordError::TooLarge) } else { Ok(size) }
    }

    /// Opens one whole record and adds its payload to `plain`.
    pub fn open(&mut self, record: &[u8], plain: &mut Vec<u8>) -> Result<Content, RecordError> {
        let (head, body) = record.split_at(HEAD_BYTES);
        let outer = head[0];
        if self.is_1_3() && outer != Content::Data.code() {
            return Err(RecordError::Malformed);
        }
        let mut nonce = self.nonce();
        let sealed = match self.form {
            Form::Tls12Gcm => {
                let (explicit, sealed) =
                    body.split_at_checked(EXPLICIT_BYTES).ok_or(RecordError::Malformed)?;
                nonce[NONCE_LEN - EXPLICIT_BYTES..].copy_from_slice(explicit);
                sealed
            }
            Form::Tls12 | Form::Tls13 => body,
        };
        let payload = sealed.len().checked_sub(MAX_TAG_LEN).ok_or(RecordError::Malformed)?;
        let aad = self.additional(outer, payload, body.len());
        let start = plain.len();
        plain.extend_from_slice(sealed);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = self.key.open_in_place(nonce, Aad::from(aad.as_ref()), &mut plain[start..]);
        let size = match opened {
            Ok(opened) => opened.len(),
            Err(_) => {
                plain.truncate(start);
                return Err(RecordError::NotAuthentic);
            }
        };
        self.sequence += 1;
        plain.truncate(start + size);
        let code = match self.form {
            Form::Tls12 | Form::Tls12Gcm => outer,
            Form::Tls13 => {
                // The type is the last byte that is not padding.
                let padded = plain[start..].iter().rposition(|byte| *byte != 0);
                let place = start + padded.ok_or(RecordError::Malformed)?;
                let code = plain[place];
                plain.truncate(place);
                code
            }
        };
        if plain.len() - start > PAYLOAD_BYTES_MAX {
            return Err(RecordError::TooLarge);
        }
        Content::from_code(code).ok_or(RecordError::Malformed)
    }

    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        let sequence = self.sequence.to_be_bytes();
        nonce[NONCE_LEN - 8..].iter_mut().zip(sequence).for_each(|(byte, sequence)| *byte ^= sequence);
        nonce
    }

    /// What is authenticated beside the payload.
    fn additional(&self, code: u8, payload: usize, size: usize) -> Additional {
        let mut bytes = [0; 8 + HEAD_BYTES];
        match self.form {
            Form::Tls13 => {
                bytes[..HEAD_BYTES].copy_from_slice(&record_head(code, size));
                Additional { bytes, size: HEAD_BYTES }
            }
            Form::Tls12 | Form::Tls12Gcm => {
                bytes[..8].copy_from_slice(&self.sequence.to_be_bytes());
                bytes[8..].copy_from_slice(&record_head(code, payload));
                Additional { bytes, size: bytes.len() }
            }
        }
    }
}

struct Additional {
    bytes: [u8; 8 + HEAD_BYTES],
    size: usize,
}

impl AsRef<[u8]> for Additional {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

fn record_head(code: u8, size: usize) -> [u8; HEAD_BYTES] {
    let [high, low] = (size as u16).to_be_bytes();
    [code, 3, 3, high, low]
}

impl Content {
    fn code(self) -> u8 {
        match self {
            Content::Alert => 21,
            Content::Handshake => 22,
            Content::Data => 23,
        }
    }

    fn from_code(code: u8) -> Option<Content> {
        match code {
            21 => Some(Content::Alert),
            22 => Some(Content::Handshake),
            23 => Some(Content::Data),
            _ => None,
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("form", &self.form)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
