//! The head of a response (RFC 9112 sections 4 and 5).

use super::body::Body;
use super::error::MjpegError;
use crate::rtsp::message::Headers;
use crate::rtsp::status::Status;

/// A head, taken apart.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: Status,
    pub(super) headers: Headers,
    /// Whether the connection can serve another request when this response has ended.
    pub(super) is_persistent: bool,
}

/// Gathers a head up to its empty line.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    bytes: Vec<u8>,
    /// Of the last line, as far as it has come, without its end.
    line_bytes: usize,
}

impl HeadReader {
    /// Takes a head from the front of `bytes`; None when its end is not there.
    pub(super) fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Head>, MjpegError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.bytes.push(byte);
            match byte {
                // Empty lines before a head belong to whatever came before.
                b'\n' if self.line_bytes == 0 && self.is_blank() => self.bytes.clear(),
                b'\n' if self.line_bytes == 0 => return self.take().map(Some),
                b'\n' => self.line_bytes = 0,
                b'\r' => {}
                _ => self.line_bytes += 1,
            }
            if self.bytes.len() > HEAD_BYTES_MAX {
                return Err(MjpegError::HeadTooLong);
            }
        }
        Ok(None)
    }

    /// Whether nothing of a head has come.
    pub(super) fn is_blank(&self) -> bool {
        self.bytes.iter().all(|byte| b"\r\n".contains(byte))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn take(&mut self) -> Result<Head, MjpegError> {
        let head = parse(&self.bytes);
        *self = HeadReader::default();
        head
    }
}

impl Head {
    /// How the end of its body is told (RFC 9112 section 6.3).
    pub(super) fn body(&self) -> Body {
        if self.is_chunked() {
            return Body::chunked();
        }
        if matches!(self.status.0, 204 | 304) {
            return Body::Sized(0);
        }
        let size = self.headers.get("Content-Length").and_then(|value| value.trim().parse().ok());
        size.map_or(Body::UntilClosed, Body::Sized)
    }

    /// How the end of a stream is told, which has none: a length is invented.
    pub(super) fn stream_body(&self) -> Body {
        if self.is_chunked() { Body::chunked() } else { Body::UntilClosed }
    }

    fn is_chunked(&self) -> bool {
        has_token(&self.headers, "Transfer-Encoding", "chunked")
    }
}

fn parse(bytes: &[u8]) -> Result<Head, MjpegError> {
    let mut config = httparse::ParserConfig::default();
    config
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true)
        .ignore_invalid_headers_in_responses(true);
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut lines);
    let outcome = config.parse_response(&mut response, bytes);
    outcome.map_err(|error| MjpegError::Head(reason(error)))?;
    let (Some(code), Some(version)) = (response.code, response.version) else {
        return Err(MjpegError::Head("it has no status"));
    };
    let mut headers = Headers::new();
    for line in response.headers.iter() {
        headers.push(line.name.to_owned(), String::from_utf8_lossy(line.value).trim());
    }
    let is_persistent = match version {
        0 => has_token(&headers, "Connection", "keep-alive"),
        _ => !has_token(&headers, "Connection", "close"),
    };
    Ok(Head { status: Status(code), headers, is_persistent })
}

fn reason(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::Version => "its first line does not begin with HTTP/1.0 or HTTP/1.1",
        httparse::Error::Status => "its status is malformed",
        httparse::Error::TooManyHeaders => "it has too many headers",
        _ => "a line of its head is malformed",
    }
}

/// Whether one of the comma-separated words of a header is that, in any case.
fn has_token(headers: &Headers, name: &str, token: &str) -> bool {
    let mut words = headers.get_all(name).flat_map(|value| value.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// Some times what cameras send.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;

const HEADERS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Head, MjpegError> {
        let mut bytes = text.as_bytes();
        HeadReader::default().read(&mut bytes).map(|head| head.expect("a whole head"))
    }

    #[test]
    fn heads_are_read_as_servers_write_them() {
        for text in [
            "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\n",
            "\r\n\nHTTP/1.0 200\nContent-length:5\n\n",
            "HTTP/1.1  200 \r\nno colon here\r\nA\u{fc}: x\r\nContent-Length :  5 \r\n\r\n",
            "HTTP/1.1 200 OK\nX: folded\n  line\nContent-Length: 5\r\n\n",
        ] {
            let head = read(text).unwrap();
            assert_eq!((head.status, head.body()), (Status::OK, Body::Sized(5)), "{text}");
        }
    }

    #[test]
    fn what_is_no_response_is_refused_with_a_reason() {
        for (text, reason) in [
            ("RTSP/1.0 200 OK\r\n\r\n", "its first line does not begin with HTTP/1.0 or HTTP/1.1"),
            ("HTTP/1.1 xx OK\r\n\r\n", "its status is malformed"),
            ("ICY 200 OK\r\n\r\n", "its first line does not begin with HTTP/1.0 or HTTP/1.1"),
        ] {
            assert_eq!(read(text).unwrap_err(), MjpegError::Head(reason), "{text}");
        }
        assert!(read(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101))).is_err());
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(HEAD_BYTES_MAX));
        assert_eq!(read(&endless).unwrap_err(), MjpegError::HeadTooLong);
        assert!(HeadReader::default().read(&mut &b"HTTP/1.1 200 OK\r\n"[..]).unwrap().is_none());
    }

    #[test]
    fn a_connection_lasts_as_its_version_and_header_say() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", true),
        ] {
            assert_eq!(read(text).unwrap().is_persistent, expected, "{text}");
        }
    }

    #[test]
    fn the_end_of_a_body_is_told_by_chunks_before_length_before_the_connection() {
        let chunked =
            read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: Chunked\r\n\r\n").unwrap();
        assert_eq!((chunked.body(), chunked.stream_body()), (Body::chunked(), Body::chunked()));
        let sized = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap();
        assert_eq!((sized.body(), sized.stream_body()), (Body::Sized(5), Body::UntilClosed));
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").unwrap().body(), Body::UntilClosed);
        assert_eq!(read("HTTP/1.1 204 x\r\n\r\n").unwrap().body(), Body::Sized(0));
    }
}
