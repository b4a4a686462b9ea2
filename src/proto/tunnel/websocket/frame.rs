//! Frames that a server sends: never masked, never split (RFC 6455 section 5.2).
//!
//! ```text
//!  0               1               2               3
//! |F|R|R|R|opcode |M| size (7)    | size (16 or 64) if size (7) is 126 or 127 ...
//! ```

use bytes::{BufMut, BytesMut};

/// Bytes that the payload of a control frame can have (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

pub(super) const FIN: u8 = 0x80;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;

/// Appends the head of a message of that many bytes, which follow as they are: 2, 4 or 10 bytes.
pub fn put_binary_head(out: &mut BytesMut, size: usize) {
    out.put_u8(FIN | BINARY);
    match size {
        0..126 => out.put_u8(size as u8),
        126..65_536 => {
            out.put_u8(126);
            out.put_u16(size as u16);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(size as u64);
        }
    }
}

/// Appends the answer to a ping, which repeats its payload of at most [`CONTROL_BYTES_MAX`].
pub fn put_pong(out: &mut BytesMut, payload: &[u8]) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    out.put_slice(&[FIN | PONG, payload.len() as u8]);
    out.put_slice(payload);
}

/// Appends the frame that ends a connection; nothing may follow it.
pub fn put_close(out: &mut BytesMut, code: CloseCode) {
    out.put_slice(&[FIN | CLOSE, 2]);
    out.put_u16(code as u16);
}

/// Why a connection ends (RFC 6455 section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCode {
    /// Its purpose is fulfilled.
    Normal = 1000,
    /// The server stops.
    GoingAway = 1001,
    /// The peer broke the protocol.
    ProtocolError = 1002,
    /// The peer sent text, and only binary messages are taken.
    Unacceptable = 1003,
    /// A frame is larger than is taken.
    TooBig = 1009,
}
