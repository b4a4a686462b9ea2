//! Where the body of a response ends, and what of the bytes is its content (RFC 9112 sections 6 and 7).

use super::error::MjpegError;

/// What is left of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Sized(u64),
    /// Chunks.
    Chunked(Chunk),
    /// All that comes.
    UntilClosed,
}

/// Where in the chunked transfer coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In the line with the size.
    Size {
        /// As far as it is read; None before its first digit.
        size: Option<u64>,
        /// Whether the digits are over.
        is_read: bool,
        line_bytes: usize,
    },
    /// In the content.
    Content(u64),
    /// In the line end behind the content.
    ContentEnd,
    /// In a line behind the last chunk.
    Trailer { line_bytes: usize },
    /// Behind it all.
    Over,
}

impl Body {
    pub(super) fn chunked() -> Body {
        Body::Chunked(Chunk::BEGIN)
    }

    /// Takes some of the content from the front of `bytes`; empty when there is none in them.
    pub(super) fn read<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<&'a [u8], MjpegError> {
        match self {
            Body::Sized(left) => Ok(take(bytes, left)),
            Body::UntilClosed => Ok(std::mem::take(bytes)),
            Body::Chunked(chunk) => {
                while let Some((&byte, rest)) = bytes.split_first() {
                    match chunk {
                        Chunk::Over => break,
                        Chunk::Content(left) => {
                            let content = take(bytes, left);
                            if *left == 0 {
                                *chunk = Chunk::ContentEnd;
                            }
                            return Ok(content);
                        }
                        _ => {
                            *chunk = chunk.behind(byte).ok_or(MjpegError::Chunk)?;
                            *bytes = rest;
                        }
                    }
                }
                Ok(&[])
            }
        }
    }

    /// Whether its end has come. Of one that lasts as long as the connection that is never told.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Body::Sized(0) | Body::Chunked(Chunk::Over))
    }

    /// Whether its end is told by something else than that of the connection.
    pub(super) fn is_delimited(&self) -> bool {
        !matches!(self, Body::UntilClosed)
    }
}

impl Chunk {
    const BEGIN: Chunk = Chunk::Size { size: None, is_read: false, line_bytes: 0 };

    /// Where the byte behind that one stands; None when that one cannot stand there.
    fn behind(self, byte: u8) -> Option<Chunk> {
        match self {
            Chunk::Size { size, is_read, line_bytes } => behind_size(size, is_read, line_bytes + 1, byte),
            Chunk::ContentEnd => match byte {
                b'\r' => Some(self),
                b'\n' => Some(Chunk::BEGIN),
                _ => None,
            },
            Chunk::Trailer { line_bytes } => match byte {
                b'\n' if line_bytes == 0 => Some(Chunk::Over),
                b'\n' => Some(Chunk::Trailer { line_bytes: 0 }),
                b'\r' => Some(self),
                _ => Some(Chunk::Trailer { line_bytes: line_bytes + 1 })
                    .filter(|_| line_bytes < CHUNK_LINE_BYTES_MAX),
            },
            Chunk::Content(_) | Chunk::Over => Some(self),
        }
    }
}

/// In the line `1f;extension`.
fn behind_size(size: Option<u64>, is_read: bool, line_bytes: usize, byte: u8) -> Option<Chunk> {
    if line_bytes > CHUNK_LINE_BYTES_MAX {
        return None;
    }
    match (byte, size) {
        (b'\n', Some(0)) => Some(Chunk::Trailer { line_bytes: 0 }),
        (b'\n', Some(size)) => Some(Chunk::Content(size)),
        // Some servers pad the digits.
        (b' ' | b'\t' | b'\r', None) => Some(Chunk::Size { size, is_read, line_bytes }),
        (b' ' | b'\t' | b'\r' | b';', Some(_)) => Some(Chunk::Size { size, is_read: true, line_bytes }),
        _ if is_read => Some(Chunk::Size { size, is_read, line_bytes }),
        _ => {
            let digit = char::from(byte).to_digit(16)?;
            let size = size.unwrap_or(0).checked_mul(16)?.checked_add(u64::from(digit))?;
            Some(Chunk::Size { size: Some(size), is_read, line_bytes })
        }
    }
}

/// As many of the bytes as are left.
fn take<'a>(bytes: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let count = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    *left -= count as u64;
    taken
}

/// Of a line with a size or behind the last chunk.
pub(super) const CHUNK_LINE_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The content, and what is left behind the end when that has come.
    fn read(pieces: &[&[u8]], mut body: Body) -> Result<(Vec<u8>, Option<usize>), MjpegError> {
        let mut content = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() && !body.is_over() {
                content.extend(body.read(&mut rest)?);
            }
            if body.is_over() {
                return Ok((content, Some(rest.len())));
            }
        }
        Ok((content, None))
    }

    #[test]
    fn chunks_are_put_together() {
        for text in [
            "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nnext",
            "003;x=\"y\"\r\nabc\r\n2 \r\nde\r\n0;z\r\nTrailer: x\r\nY: z\r\n\r\nnext",
            " 3\nabc\n2\nde\n0\n\nnext",
        ] {
            let bytes = text.as_bytes();
            let expected = Ok((b"abcde".to_vec(), Some(4)));
            assert_eq!(read(&[bytes], Body::chunked()), expected, "{text}");
            for at in 0..bytes.len() - 4 {
                assert_eq!(read(&[&bytes[..at], &bytes[at..]], Body::chunked()), expected, "{text} at {at}");
            }
        }
        assert_eq!(read(&[b"5\r\nab"], Body::chunked()), Ok((b"ab".to_vec(), None)));
    }

    #[test]
    fn broken_chunks_are_refused() {
        let long = format!("1;{}", "x".repeat(CHUNK_LINE_BYTES_MAX));
        let trailer = format!("0\r\n{}", "x".repeat(CHUNK_LINE_BYTES_MAX + 1));
        for text in ["x\r\n", "\n", "3\r\nabcd", "ffffffffffffffff1\r\n", "-1\r\n", &long, &trailer] {
            assert_eq!(read(&[text.as_bytes()], Body::chunked()), Err(MjpegError::Chunk), "{text}");
        }
        // The largest size there is can be counted down.
        assert_eq!(read(&[b"ffffffffffffffff\r\nab"], Body::chunked()), Ok((b"ab".to_vec(), None)));
    }

    #[test]
    fn a_length_ends_a_body() {
        assert_eq!(read(&[b"ab", b"cde"], Body::Sized(4)), Ok((b"abcd".to_vec(), Some(1))));
        assert_eq!(read(&[b"ab", b"cde"], Body::UntilClosed), Ok((b"abcde".to_vec(), None)));
    }
}
