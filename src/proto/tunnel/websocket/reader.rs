//! Frames of a client to the bytes that they carry, in whatever pieces they arrive (RFC 6455 sections 5 and 6.2).

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;
use thiserror::Error;

use super::frame::{BINARY, CLOSE, CONTROL_BYTES_MAX, CloseCode, FIN, PING, PONG};

/// Bytes that one frame may have. What has come is passed on at once, so this bounds no memory; nobody sends a picture
/// of that size.
pub const FRAME_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A control frame that asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// To be answered with a pong of the same payload.
    Ping(SmallVec<[u8; 16]>),
    /// The client has said its last.
    Close,
}

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Clients mask what they send (RFC 6455 section 5.1).
    #[error("a frame is not masked")]
    Unmasked,
    /// A bit of an extension that was not agreed on, or an unknown opcode.
    #[error("the frame's first byte {0:#04x} has no meaning")]
    Unknown(u8),
    /// A control frame is split, or has more than [`CONTROL_BYTES_MAX`] bytes.
    #[error("a control frame is split or too large")]
    Control,
    /// A message begins within another, or goes on without having begun.
    #[error("the fragments of a message are out of order")]
    Fragment,
    /// The topmost bit of a size is zero.
    #[error("a frame claims 2^63 bytes or more")]
    Size,
    /// Only binary messages carry RTSP.
    #[error("a text message")]
    Text,
    /// A frame passes [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes")]
    TooBig(u64),
}

impl Violation {
    /// What the client is told.
    pub fn code(self) -> CloseCode {
        match self {
            Violation::Text => CloseCode::Unacceptable,
            Violation::TooBig(_) => CloseCode::TooBig,
            _ => CloseCode::ProtocolError,
        }
    }
}

/// The reader of one connection. Holds at most one control frame.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    /// Bytes of a head that is not complete.
    head: SmallVec<[u8; 16]>,
    /// Of the frame whose head was read: what is still to come.
    rest: u64,
    /// Its key, turned so that it begins at the next byte.
    mask: [u8; 4],
    /// Its opcode; None between two frames.
    opcode: Option<u8>,
    /// Whether a message has begun whose last fragment has not come.
    is_within: bool,
    /// The payload of a control frame, as far as it has come.
    control: SmallVec<[u8; 16]>,
}

impl Reader {
    /// Takes bytes off `input` and appends those that binary frames carry to `out`, until a control frame asks for
    /// something (call again behind it) or all are taken. An error is the end.
    pub fn read(&mut self, input: &mut &[u8], out: &mut BytesMut) -> Result<Option<Control>, Violation> {
        loop {
            let opcode = match self.opcode {
                Some(opcode) => opcode,
                None => match self.read_head(input)? {
                    Some(opcode) => opcode,
                    None => return Ok(None),
                },
            };
            let count = self.rest.min(input.len() as u64) as usize;
            let (taken, behind) = input.split_at(count);
            *input = behind;
            self.rest -= count as u64;
            if opcode < CLOSE {
                unmask(taken, self.mask, out);
            } else {
                let mut payload = BytesMut::with_capacity(count);
                unmask(taken, self.mask, &mut payload);
                self.control.extend_from_slice(&payload);
            }
            self.mask.rotate_left(count % 4);
            if self.rest > 0 {
                return Ok(None);
            }
            self.opcode = None;
            let payload = std::mem::take(&mut self.control);
            match opcode {
                PING => return Ok(Some(Control::Ping(payload))),
                CLOSE => return Ok(Some(Control::Close)),
                _ => {}
            }
        }
    }

    /// The opcode of the next frame, when its head is complete.
    fn read_head(&mut self, input: &mut &[u8]) -> Result<Option<u8>, Violation> {
        loop {
            let wanted = head_bytes(&self.head)?;
            if let Some(wanted) = wanted.filter(|wanted| *wanted == self.head.len()) {
                let size = match wanted {
                    6 => u64::from(self.head[1] & 0x7f),
                    8 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
                    _ => self.head[2..10].iter().fold(0, |size, byte| size << 8 | u64::from(*byte)),
                };
                self.mask.copy_from_slice(&self.head[wanted - 4..]);
                let opcode = self.begin(self.head[0], size)?;
                self.head.clear();
                return Ok(Some(opcode));
            }
            let Some((&byte, behind)) = input.split_first() else { return Ok(None) };
            *input = behind;
            self.head.push(byte);
            // A frame that nobody wants is refused before it has come.
            self.look_at(self.head.len())?;
        }
    }

    /// Refuses a frame as soon as its head shows why, when that many bytes of it are there.
    fn look_at(&self, count: usize) -> Result<(), Violation> {
        let first = self.head[0];
        let (opcode, is_last) = (first & 0x0f, first & FIN != 0);
        match count {
            1 if first & 0x70 != 0 || !matches!(opcode, 0..=BINARY | CLOSE..=PONG) => {
                Err(Violation::Unknown(first))
            }
            1 if opcode == 1 => Err(Violation::Text),
            1 if opcode >= CLOSE && !is_last => Err(Violation::Control),
            1 if opcode < CLOSE && self.is_within != (opcode == 0) => Err(Violation::Fragment),
            2 if self.head[1] & 0x80 == 0 => Err(Violation::Unmasked),
            2 if opcode >= CLOSE && usize::from(self.head[1] & 0x7f) > CONTROL_BYTES_MAX => {
                Err(Violation::Control)
            }
            3 if self.head[1] & 0x7f == 127 && self.head[2] & 0x80 != 0 => Err(Violation::Size),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, first: u8, size: u64) -> Result<u8, Violation> {
        if size > FRAME_BYTES_MAX {
            return Err(Violation::TooBig(size));
        }
        let opcode = first & 0x0f;
        if opcode < CLOSE {
            self.is_within = first & FIN == 0;
        }
        self.rest = size;
        self.opcode = Some(opcode);
        Ok(opcode)
    }
}

/// Bytes of a masked frame's head, as soon as its beginning tells.
fn head_bytes(head: &[u8]) -> Result<Option<usize>, Violation> {
    Ok(head.get(1).map(|size| match size & 0x7f {
        126 => 8,
        127 => 14,
        _ => 6,
    }))
}

/// Appends what a client has masked.
fn unmask(masked: &[u8], mask: [u8; 4], out: &mut BytesMut) {
    let at = out.len();
    out.put_slice(masked);
    for word in out[at..].chunks_mut(4) {
        word.iter_mut().zip(mask).for_each(|(byte, key)| *byte ^= key);
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{put_binary_head, put_close, put_pong};
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A frame as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut head = BytesMut::new();
        put_binary_head(&mut head, payload.len());
        head[0] = first;
        head[1] |= 0x80;
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        head.put_slice(&mask);
        head.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        head.to_vec()
    }

    fn read(bytes: &[u8], piece: usize) -> (Vec<u8>, Vec<Control>, Option<Violation>) {
        let (mut reader, mut out, mut controls) = (Reader::default(), BytesMut::new(), Vec::new());
        for mut piece in bytes.chunks(piece) {
            loop {
                match reader.read(&mut piece, &mut out) {
                    Ok(Some(control)) => controls.push(control),
                    Ok(None) => break,
                    Err(violation) => return (out.to_vec(), controls, Some(violation)),
                }
            }
        }
        (out.to_vec(), controls, None)
    }

    #[test]
    fn fragments_are_one_stream_and_controls_may_stand_between_them() {
        let bytes = [
            frame(BINARY, b"OPTI"),
            frame(FIN | PING, b"hi"),
            frame(0, b""),
            frame(FIN, b"ONS"),
            frame(FIN | PONG, b"x"),
            frame(FIN | BINARY, b" *"),
            frame(FIN | CLOSE, &[3, 232]),
        ]
        .concat();
        for piece in 1..bytes.len() {
            let (out, controls, violation) = read(&bytes, piece);
            assert_eq!((&out[..], violation), (&b"OPTIONS *"[..], None), "{piece}");
            assert_eq!(controls, [Control::Ping(SmallVec::from_slice(b"hi")), Control::Close]);
        }
    }

    #[test]
    fn every_breach_has_its_code() {
        let cases: &[(&[u8], Violation, CloseCode)] = &[
            (&[0x81], Violation::Text, CloseCode::Unacceptable),
            (&[0x82, 0x05], Violation::Unmasked, CloseCode::ProtocolError),
            (&[0xc2], Violation::Unknown(0xc2), CloseCode::ProtocolError),
            (&[0x83], Violation::Unknown(0x83), CloseCode::ProtocolError),
            (&[0x8b], Violation::Unknown(0x8b), CloseCode::ProtocolError),
            (&[0x09], Violation::Control, CloseCode::ProtocolError),
            (&[0x89, 0xfe], Violation::Control, CloseCode::ProtocolError),
            (&[0x80], Violation::Fragment, CloseCode::ProtocolError),
            (&[0x82, 0xff, 0x80], Violation::Size, CloseCode::ProtocolError),
            (
                &[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0],
                Violation::TooBig(0x100_0001),
                CloseCode::TooBig,
            ),
        ];
        for (bytes, violation, code) in cases {
            for piece in [1, 20] {
                assert_eq!(read(bytes, piece), (Vec::new(), Vec::new(), Some(*violation)), "{bytes:?}");
            }
            assert_eq!(violation.code(), *code);
        }
        let within = [frame(BINARY, b"a"), frame(FIN | BINARY, b"b")].concat();
        assert_eq!(read(&within, 99), (b"a".to_vec(), Vec::new(), Some(Violation::Fragment)));
    }

    #[test]
    fn a_servers_heads_have_2_4_or_10_bytes() {
        for (size, bytes) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = BytesMut::new();
            put_binary_head(&mut out, size);
            assert_eq!(out.len(), bytes, "{size}");
        }
        let mut out = BytesMut::new();
        put_pong(&mut out, b"hi");
        put_close(&mut out, CloseCode::Normal);
        assert_eq!(&out[..], [0x8a, 2, b'h', b'i', 0x88, 2, 3, 232]);
    }

    proptest! {
        #[test]
        fn payloads_come_out_as_they_went_in_however_they_are_cut(
            payloads in vec((vec(any::<u8>(), 0..300), any::<bool>()), 1..10),
            piece in 1..200_usize,
        ) {
            let (mut bytes, mut is_within) = (Vec::new(), false);
            for (payload, is_last) in &payloads {
                let first = if is_within { 0 } else { BINARY } | if *is_last { FIN } else { 0 };
                bytes.extend(frame(first, payload));
                is_within = !is_last;
            }
            let expected: Vec<u8> = payloads.iter().flat_map(|(payload, _)| payload.clone()).collect();
            prop_assert_eq!(read(&bytes, piece), (expected, Vec::new(), None));
        }

        #[test]
        fn any_bytes_are_read_the_same_in_any_pieces(bytes in vec(any::<u8>(), 0..200), piece in 1..50_usize) {
            prop_assert_eq!(read(&bytes, piece), read(&bytes, usize::MAX));
        }
    }
}
