//! A server's nonces. Each carries when it was given, and to which connection, under a seal: nobody keeps a list.
//!
//! ```text
//! 8 bytes moment in nanoseconds | 8 bytes connection | 16 bytes of HMAC-SHA-256 over both      in hexadecimal
//! ```

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::rtsp::digest::hex;
use crate::time::Time;

/// How long a nonce is good for. A client is told that an older one is stale, and goes on with another.
pub const NONCE_LIFE: Duration = Duration::from_secs(300);

/// What a nonce says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce {
    /// When it was given.
    pub given: Time,
    /// The connection that it was given to, by an unpredictable name.
    pub line: u64,
}

/// Seals nonces. Whoever has the same key knows them for its own.
#[derive(Clone)]
pub struct NonceKey([u8; 64]);

impl NonceKey {
    /// A key of unpredictable bytes.
    pub fn new(bytes: [u8; 64]) -> NonceKey {
        NonceKey(bytes)
    }

    /// The text of a nonce.
    pub fn seal(&self, nonce: Nonce) -> String {
        let body = [nonce.given.as_nanos().to_be_bytes(), nonce.line.to_be_bytes()].concat();
        let seal = self.mac(&body).finalize().into_bytes();
        hex(&[&body, &seal[..SEAL_BYTES]].concat())
    }

    /// What a text says; None when it was not sealed with this key.
    pub fn open(&self, text: &str) -> Option<Nonce> {
        let bytes = unhex(text)?;
        let (body, seal) = bytes.split_at(BODY_BYTES);
        self.mac(body).verify_truncated_left(seal).ok()?;
        let (given, line) = body.split_first_chunk()?;
        Some(Nonce {
            given: Time::from_nanos(u64::from_be_bytes(*given)),
            line: u64::from_be_bytes(line.try_into().ok()?),
        })
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        Hmac::<Sha256>::new(&self.0.into()).chain_update(body)
    }
}

/// Without the key.
impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey")
    }
}

impl Nonce {
    /// Whether it is too old.
    pub fn is_stale(&self, now: Time) -> bool {
        now.since(self.given) > NONCE_LIFE
    }
}

/// The bytes of a nonce's text; None when it has another length or anything but hexadecimal digits.
fn unhex(text: &str) -> Option<[u8; BODY_BYTES + SEAL_BYTES]> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let mut bytes = [0; BODY_BYTES + SEAL_BYTES];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Moment and connection.
const BODY_BYTES: usize = 8 + 8;

/// 128 bits cannot be guessed within the life of a key.
const SEAL_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: Nonce = Nonce { given: Time::from_millis(1_234_567), line: 0xfedc_ba98_7654_3210 };

    #[test]
    fn a_nonce_is_stale_after_its_life() {
        assert!(!NONCE.is_stale(NONCE.given + NONCE_LIFE));
        assert!(NONCE.is_stale(NONCE.given + NONCE_LIFE + Duration::from_nanos(1)));
        // Another shard's clock may be read a moment earlier.
        assert!(!NONCE.is_stale(NONCE.given - Duration::from_millis(5)));
    }

    #[test]
    fn a_nonce_that_was_changed_anywhere_or_sealed_by_another_is_not_opened() {
        let key = NonceKey::new([7; 64]);
        let text = key.seal(NONCE);
        assert_eq!(key.open(&text), Some(NONCE));
        assert_eq!(NonceKey::new([8; 64]).open(&text), None);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(key.open(std::str::from_utf8(&changed).unwrap()), None, "{at}");
        }
        for wrong in [&text[1..], &text[2..], &format!("{text}0"), "", "é"] {
            assert_eq!(key.open(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_nonce_is_read_back_and_no_other_text_is(given: u64, line: u64, text in ".{0,70}") {
            let key = NonceKey::new([1; 64]);
            let nonce = Nonce { given: Time::from_nanos(given), line };
            prop_assert_eq!(key.open(&key.seal(nonce)), Some(nonce));
            prop_assert_eq!(key.open(&text), None);
        }
    }
}
