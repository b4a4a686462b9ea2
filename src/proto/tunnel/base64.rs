//! The base64 of a tunnel's POST, in whatever pieces it arrives (RFC 4648 section 4).
//!
//! Each request is encoded by itself and may be padded, so the letters are read four at a time and padding may stand
//! anywhere between two of these quanta. Line breaks and spaces do not count.

use bytes::{BufMut, BytesMut};
use thiserror::Error;

/// A byte that belongs to no base64, or a letter where there can be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("byte {0:#04x} is no base64 there")]
pub struct NotBase64(pub u8);

/// The reader of one direction of one connection. Holds no memory beside itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Base64Reader {
    /// The letters of the quantum that is not complete, six bits each.
    bits: u32,
    /// Their count.
    letters: u8,
    /// Count of `=` behind them.
    padding: u8,
}

impl Base64Reader {
    /// Appends what the letters stand for to `out`; up to three letters wait for the rest of their quantum. An error is
    /// the end: what was read before it stays in `out`.
    pub fn read(&mut self, text: &[u8], out: &mut BytesMut) -> Result<(), NotBase64> {
        out.reserve(text.len() / 4 * 3 + 3);
        for &byte in text {
            match VALUES[usize::from(byte)] {
                SPACE => {}
                PADDING if self.letters >= 2 => {
                    self.padding += 1;
                    if self.letters + self.padding == 4 {
                        let bits = self.bits << (6 * self.padding);
                        out.put_slice(&bits.to_be_bytes()[1..4 - usize::from(self.padding)]);
                        *self = Base64Reader::default();
                    }
                }
                value @ 0..64 if self.padding == 0 => {
                    self.bits = self.bits << 6 | u32::from(value);
                    self.letters += 1;
                    if self.letters == 4 {
                        out.put_slice(&self.bits.to_be_bytes()[1..]);
                        *self = Base64Reader::default();
                    }
                }
                _ => return Err(NotBase64(byte)),
            }
        }
        Ok(())
    }
}

const SPACE: u8 = 64;
const PADDING: u8 = 65;
const FOREIGN: u8 = 66;

/// What each byte stands for.
const VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [FOREIGN; 256];
    let mut at = 0;
    while at < 64 {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values[b'=' as usize] = PADDING;
    values[b'\r' as usize] = SPACE;
    values[b'\n' as usize] = SPACE;
    values[b' ' as usize] = SPACE;
    values[b'\t' as usize] = SPACE;
    values
};

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::Engine;
    use ::base64::engine::general_purpose::STANDARD;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> Result<BytesMut, NotBase64> {
        let (mut reader, mut out) = (Base64Reader::default(), BytesMut::new());
        for piece in pieces {
            reader.read(piece, &mut out)?;
        }
        Ok(out)
    }

    #[test]
    fn padding_may_stand_between_two_requests() {
        assert_eq!(read(&[b"YQ==YWI=\r\nYWJjYQ=", b"="]).unwrap(), "aababca");
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for (text, wrong) in
            [("YWJj$", b'$'), ("Y=Q=", b'='), ("YQ=Q", b'Q'), ("=", b'='), ("YW_j", b'_'), ("a\0", 0)]
        {
            assert_eq!(read(&[text.as_bytes()]), Err(NotBase64(wrong)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn requests_come_out_as_they_went_in_however_they_are_cut(
            requests in vec(vec(any::<u8>(), 0..50), 0..8),
            line in 1..80_usize,
            piece in 1..40_usize,
        ) {
            let text: String = requests.iter().map(|request| STANDARD.encode(request)).collect();
            let broken: Vec<u8> =
                text.as_bytes().chunks(line).flat_map(|line| [line, b"\r\n"].concat()).collect();
            let pieces: Vec<&[u8]> = broken.chunks(piece).collect();
            prop_assert_eq!(read(&pieces).unwrap().to_vec(), requests.concat());
        }
    }
}
