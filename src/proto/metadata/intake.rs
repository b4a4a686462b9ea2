//! Documents that come one behind the other: each ends with a byte that is zero, which XML has no use for, the last one
//! perhaps with the connection.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use super::DOCUMENT_BYTES_MAX;

/// What ends a document.
const END: u8 = 0;

/// A document is larger than [`DOCUMENT_BYTES_MAX`]; what comes up to its end is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a document is larger than {DOCUMENT_BYTES_MAX} bytes")]
pub struct TooLong;

/// What has come of a document.
#[derive(Debug, Default)]
pub struct Intake {
    pending: BytesMut,
    /// Whether the rest of a document is left out.
    is_skipping: bool,
}

impl Intake {
    /// Takes some bytes, and hands on each document that is whole, or is too large to be. Where there is nothing but
    /// white space there is no document.
    pub fn take(&mut self, mut bytes: &[u8], mut out: impl FnMut(Result<Bytes, TooLong>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == END) {
            if let Err(error) = self.keep(&bytes[..end]) {
                out(Err(error));
            }
            if let Some(document) = self.finish() {
                out(Ok(document));
            }
            bytes = &bytes[end + 1..];
        }
        if let Err(error) = self.keep(bytes) {
            out(Err(error));
        }
    }

    /// Nothing more comes: what there is may be a document.
    pub fn finish(&mut self) -> Option<Bytes> {
        let document = self.pending.split().freeze();
        let was_skipping = std::mem::take(&mut self.is_skipping);
        (!was_skipping && !document.iter().all(u8::is_ascii_whitespace)).then_some(document)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.is_skipping {
            return Ok(());
        }
        if self.pending.len() + bytes.len() > DOCUMENT_BYTES_MAX {
            self.pending = BytesMut::new();
            self.is_skipping = true;
            return Err(TooLong);
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Bytes, TooLong>> {
        let (mut intake, mut read) = (Intake::default(), Vec::new());
        for piece in pieces {
            intake.take(piece, |document| read.push(document));
        }
        read.extend(intake.finish().map(Ok));
        read
    }

    #[test]
    fn documents_end_with_a_zero_or_with_the_connection() {
        let expected: Vec<_> = ["<a/>\n", "<b/>", "<c/>"].map(|text| Ok(Bytes::from(text))).into();
        assert_eq!(read([&b"<a/>\n\0<b/>\0\n\0\0<c"[..], b"/>"]), expected);
        assert_eq!(read([&b" \n"[..]]), []);
    }

    #[test]
    fn what_is_too_long_is_left_out_and_what_follows_is_not() {
        let long = vec![b'a'; DOCUMENT_BYTES_MAX];
        assert_eq!(read([&long[..], b"\0"]), [Ok(Bytes::from(long.clone()))]);
        assert_eq!(read([&long[..], b"aa", &long, b"a\0<b/>\0"]), [Err(TooLong), Ok(Bytes::from("<b/>"))]);
        assert_eq!(read([&long[..], b"a"]), [Err(TooLong)]);
    }

    proptest! {
        #[test]
        fn documents_are_the_same_however_they_are_cut(
            documents in vec(vec(1u8..128, 0..40), 0..8), size in 1usize..50,
        ) {
            let bytes = documents.join(&END);
            let whole: Vec<_> = (documents.into_iter())
                .filter(|document| !document.iter().all(u8::is_ascii_whitespace))
                .map(|document| Ok(Bytes::from(document)))
                .collect();
            prop_assert_eq!(read(bytes.chunks(size)), whole);
        }
    }
}
