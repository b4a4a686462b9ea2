//! Bytes of a connection to messages and `$` frames, at whatever splits they arrive (RFC 2326 sections 4, 9, 10.12).
//!
//! An incomplete message is no error: [`Parser::poll`] answers None until the rest has come. A message whose end is
//! known but whose text is wrong is an [`Item::BadRequest`]: it can be answered and the connection goes on. A
//! [`ParseError`] means that the next message cannot be found: answer it and close.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use super::head::{self, Head};
use super::message::{Request, Response};
use super::status::Status;
use super::write::is_token;

/// What a peer may make us hold before its message is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one line, its end included.
    pub line_bytes_max: usize,
    /// Count of header lines, folded ones included.
    pub headers_max: usize,
    /// Bytes of the first line and all headers.
    pub head_bytes_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
}

impl Limits {
    /// 8 KiB a line, 64 headers in 16 KiB, a body of 256 KiB: an SDP of many tracks is a tenth of that.
    pub const DEFAULT: Limits = Limits {
        line_bytes_max: 8 * 1024,
        headers_max: 64,
        head_bytes_max: 16 * 1024,
        body_bytes_max: 256 * 1024,
    };
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::DEFAULT
    }
}

/// One thing that a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A request.
    Request(Request),
    /// A response to a request of ours.
    Response(Response),
    /// A message that is no RTSP but whose end is known. Answer 400; the connection stays in step.
    BadRequest {
        /// Its `CSeq`, to be repeated in the answer; None when it has none that can be read.
        cseq: Option<String>,
        /// What is wrong with it.
        reason: &'static str,
        /// Where it begins, in bytes since the connection's first.
        position: u64,
    },
    /// The head of an HTTP request: a tunnel, a WebSocket or a browser. What follows it is not RTSP: it stays in
    /// the parser until [`Parser::take_buffered`] fetches it.
    Http {
        /// The head, without lines that cannot be read; of one that is too long the first line alone.
        head: Request,
        /// What is wrong with it. Answer that, in HTTP.
        fault: Option<HttpFault>,
    },
    /// A packet between messages (RFC 2326 section 10.12).
    Interleaved {
        /// Its channel.
        channel: u8,
        /// The packet; shares memory with its neighbours, so who keeps one for long copies it.
        payload: Bytes,
    },
}

/// What is wrong with the head of an HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// Its first line or one of its headers cannot be read.
    Line(&'static str),
    /// The first line passes [`Limits::line_bytes_max`].
    FirstLineTooLong,
    /// The headers, or one of them, pass a limit.
    HeadersTooLong,
}

/// Why the next message cannot be found. Positions are in bytes since the connection's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// A byte that begins neither a message nor a `$` frame.
    #[error("byte {byte:#04x} at {position} begins neither an RTSP message nor an interleaved packet")]
    NotRtsp {
        /// Of the byte.
        position: u64,
        /// What it is.
        byte: u8,
    },
    /// A line passes [`Limits::line_bytes_max`].
    #[error("the line at byte {position} has more than {limit} bytes")]
    LineTooLong {
        /// Of the line.
        position: u64,
        /// The limit.
        limit: usize,
        /// Whether it is the first of its message, which holds the URL.
        first: bool,
    },
    /// The headers pass [`Limits::head_bytes_max`].
    #[error("the message at byte {position} has more than {limit} bytes of headers")]
    HeadTooLong {
        /// Of the message.
        position: u64,
        /// The limit.
        limit: usize,
    },
    /// The headers pass [`Limits::headers_max`].
    #[error("the message at byte {position} has more than {limit} header lines")]
    TooManyHeaders {
        /// Of the message.
        position: u64,
        /// The limit.
        limit: usize,
    },
    /// `Content-Length` is not a number or is given twice with different numbers.
    #[error("the message at byte {position} has no usable Content-Length")]
    ContentLength {
        /// Of the message.
        position: u64,
    },
    /// The body passes [`Limits::body_bytes_max`].
    #[error("the message at byte {position} has a body of {size} bytes, the limit is {limit}")]
    BodyTooLong {
        /// Of the message.
        position: u64,
        /// What the message claims.
        size: u64,
        /// The limit.
        limit: usize,
    },
    /// A response whose first line is none.
    #[error("the response at byte {position} has no status line")]
    StatusLine {
        /// Of the response.
        position: u64,
    },
}

impl ParseError {
    /// Where the fault is, in bytes since the connection's first.
    pub fn position(&self) -> u64 {
        match *self {
            ParseError::NotRtsp { position, .. }
            | ParseError::LineTooLong { position, .. }
            | ParseError::HeadTooLong { position, .. }
            | ParseError::TooManyHeaders { position, .. }
            | ParseError::ContentLength { position }
            | ParseError::BodyTooLong { position, .. }
            | ParseError::StatusLine { position } => position,
        }
    }

    /// The status of the last answer before the connection is closed.
    pub fn status(&self) -> Status {
        match self {
            ParseError::LineTooLong { first: true, .. } => Status::REQUEST_URI_TOO_LARGE,
            ParseError::BodyTooLong { .. } => Status::REQUEST_ENTITY_TOO_LARGE,
            _ => Status::BAD_REQUEST,
        }
    }
}

/// The parser of one direction of one connection. Holds no memory while nothing is incomplete.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    buffer: BytesMut,
    /// Bytes of the connection before `buffer`.
    position: u64,
    state: State,
    /// Whether something was cut from the buffer's front, so that its memory is larger than what is left.
    cut: bool,
}

#[derive(Debug)]
enum State {
    /// Between messages.
    Start,
    /// In a head, so far looked through.
    Head(Scan),
    /// Behind a head, waiting for a body of that size.
    Body(Box<Head>, usize),
    /// Behind an HTTP head: what follows belongs to another parser.
    HandedOver,
    /// The next message cannot be found.
    Failed(ParseError),
}

/// How far the search for the end of a head has come, in bytes from the buffer's front.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    /// Without a line end up to here.
    looked: usize,
    /// Start of the line that is not yet complete.
    line: usize,
    /// Count of complete lines.
    lines: usize,
}

impl Parser {
    /// A parser at the beginning of a connection.
    pub fn new(limits: Limits) -> Parser {
        Parser { limits, buffer: BytesMut::new(), position: 0, state: State::Start, cut: false }
    }

    /// Takes bytes as they came. Poll until None before the next: that bounds what is held.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Failed(_)) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Takes bytes that `write` appends to the buffer, which must change nothing else. None behind an error, where
    /// nothing is taken any more.
    pub fn handle_with<R>(&mut self, write: impl FnOnce(&mut BytesMut) -> R) -> Option<R> {
        if matches!(self.state, State::Failed(_)) { None } else { Some(write(&mut self.buffer)) }
    }

    /// The next complete item; None when more bytes are needed or after [`Item::Http`]. An error is final: the same
    /// again on every later call.
    pub fn poll(&mut self) -> Result<Option<Item>, ParseError> {
        let polled = match &self.state {
            State::Start => self.poll_start(),
            State::Head(scan) => self.poll_head(*scan),
            State::Body(..) => Ok(self.poll_body()),
            State::HandedOver => Ok(None),
            State::Failed(error) => Err(*error),
        };
        let polled = polled.or_else(|error| self.as_http(error));
        match polled {
            Ok(Some(_)) => {}
            Ok(None) => self.release(),
            Err(error) => {
                self.state = State::Failed(error);
                self.buffer = BytesMut::new();
            }
        }
        polled
    }

    /// Takes out what has arrived behind an [`Item::Http`], or of an incomplete message, and begins anew behind it.
    pub fn take_buffered(&mut self) -> BytesMut {
        self.state = State::Start;
        self.cut = false;
        self.position += self.buffer.len() as u64;
        mem::take(&mut self.buffer)
    }

    /// Count of bytes held of what is incomplete.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes of memory held beside the parser itself.
    pub fn memory_bytes(&self) -> usize {
        let head = if let State::Body(head, _) = &self.state { head.memory_bytes() } else { 0 };
        self.buffer.capacity() + head
    }

    fn poll_start(&mut self) -> Result<Option<Item>, ParseError> {
        // Empty lines before a message are skipped (RFC 2326 section 4.1); some clients send them to keep alive.
        let blank = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.skip(blank);
        match self.buffer.first() {
            None => Ok(None),
            Some(b'$') => Ok(self.poll_interleaved()),
            Some(&byte) if is_token(byte) => self.poll_head(Scan::default()),
            Some(&byte) => Err(ParseError::NotRtsp { position: self.position, byte }),
        }
    }

    fn poll_interleaved(&mut self) -> Option<Item> {
        let &[_, channel, high, low] = self.buffer.first_chunk::<4>()?;
        let size = usize::from(u16::from_be_bytes([high, low]));
        if self.buffer.len() < 4 + size {
            return None;
        }
        self.skip(4);
        let payload = self.take(size).freeze();
        Some(Item::Interleaved { channel, payload })
    }

    fn poll_head(&mut self, mut scan: Scan) -> Result<Option<Item>, ParseError> {
        let position = self.position;
        let limit = self.limits.line_bytes_max;
        loop {
            let found = self.buffer[scan.looked..].iter().position(|&byte| byte == b'\n');
            let end = found.map_or(self.buffer.len(), |at| scan.looked + at + 1);
            if end - scan.line > limit {
                let (position, first) = (position + scan.line as u64, scan.lines == 0);
                return Err(ParseError::LineTooLong { position, limit, first });
            }
            if end > self.limits.head_bytes_max {
                return Err(ParseError::HeadTooLong { position, limit: self.limits.head_bytes_max });
            }
            scan.looked = end;
            if found.is_none() {
                self.state = State::Head(scan);
                return Ok(None);
            }
            if matches!(&self.buffer[scan.line..end], b"\n" | b"\r\n") {
                return self.finish_head(end);
            }
            // The first line is none of the headers.
            if scan.lines > self.limits.headers_max {
                return Err(ParseError::TooManyHeaders { position, limit: self.limits.headers_max });
            }
            scan.lines += 1;
            scan.line = end;
        }
    }

    fn finish_head(&mut self, head_bytes: usize) -> Result<Option<Item>, ParseError> {
        let (head, size) = head::parse(&self.buffer[..head_bytes], self.position)?;
        if let Head::Http { .. } = head {
            self.skip(head_bytes);
            self.state = State::HandedOver;
            return Ok(Some(head.into_item(Bytes::new())));
        }
        if size > self.limits.body_bytes_max as u64 {
            let limit = self.limits.body_bytes_max;
            return Err(ParseError::BodyTooLong { position: self.position, size, limit });
        }
        self.skip(head_bytes);
        if size == 0 {
            self.state = State::Start;
            return Ok(Some(head.into_item(Bytes::new())));
        }
        self.state = State::Body(Box::new(head), size as usize);
        Ok(self.poll_body())
    }

    /// What a head that passes a limit is where it begins as one of HTTP: whoever sent it reads no other answer.
    fn as_http(&mut self, error: ParseError) -> Result<Option<Item>, ParseError> {
        let fault = match error {
            ParseError::LineTooLong { first: true, .. } => HttpFault::FirstLineTooLong,
            ParseError::LineTooLong { .. }
            | ParseError::HeadTooLong { .. }
            | ParseError::TooManyHeaders { .. } => HttpFault::HeadersTooLong,
            _ => return Err(error),
        };
        let begin = &self.buffer[..self.buffer.len().min(self.limits.line_bytes_max)];
        let head = head::http_line(begin).ok_or(error)?;
        self.skip(self.buffer.len());
        self.state = State::HandedOver;
        Ok(Some(Item::Http { head, fault: Some(fault) }))
    }

    fn poll_body(&mut self) -> Option<Item> {
        let State::Body(_, size) = &self.state else { return None };
        if self.buffer.len() < *size {
            return None;
        }
        let State::Body(head, size) = mem::replace(&mut self.state, State::Start) else { return None };
        // A copy, so that a body that is kept does not hold the whole receive buffer.
        let body = Bytes::copy_from_slice(&self.take(size));
        Some(head.into_item(body))
    }

    fn skip(&mut self, count: usize) {
        self.buffer.advance(count);
        self.position += count as u64;
        self.cut |= count > 0;
    }

    fn take(&mut self, count: usize) -> BytesMut {
        self.position += count as u64;
        self.cut = true;
        self.buffer.split_to(count)
    }

    /// Gives memory back: the rest of an incomplete item moves to a buffer of its size. At most once an item, so
    /// that the copying stays in proportion to what arrives.
    fn release(&mut self) {
        if mem::take(&mut self.cut) {
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::message::Method;

    fn parser() -> Parser {
        Parser::new(Limits::DEFAULT)
    }

    fn one(bytes: &[u8]) -> Item {
        let mut parser = parser();
        parser.handle_bytes(bytes);
        let item = parser.poll().unwrap().unwrap();
        assert_eq!(parser.poll(), Ok(None));
        assert_eq!(parser.buffered(), 0);
        item
    }

    fn request(bytes: &[u8]) -> Request {
        match one(bytes) {
            Item::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn bad(bytes: &[u8]) -> (Option<String>, &'static str) {
        match one(bytes) {
            Item::BadRequest { cseq, reason, .. } => (cseq, reason),
            other => panic!("{other:?}"),
        }
    }

    fn error(bytes: &[u8]) -> ParseError {
        let mut parser = parser();
        parser.handle_bytes(bytes);
        let error = parser.poll().unwrap_err();
        assert_eq!(parser.poll(), Err(error), "an error is final");
        parser.handle_bytes(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
        assert_eq!(parser.poll(), Err(error), "an error is final");
        assert_eq!(parser.memory_bytes(), 0);
        error
    }

    #[test]
    fn a_request_is_read_with_headers_and_body() {
        let got = request(b"SET_PARAMETER rtsp://h/a RTSP/1.0\r\ncseq:7\r\nContent-length: 3\r\n\r\na:1");
        assert_eq!((got.method, got.uri.as_str(), got.version), (Method::SetParameter, "rtsp://h/a", (1, 0)));
        assert_eq!(got.headers.get("CSeq"), Some("7"));
        assert_eq!(got.body, "a:1");
    }

    #[test]
    fn a_response_is_read_with_and_without_a_phrase() {
        for (line, code) in
            [("RTSP/1.0 200 OK", 200), ("RTSP/1.0 404", 404), ("RTSP/1.0 551 Option \u{fc}", 551)]
        {
            let Item::Response(got) = one(format!("{line}\r\nCSeq: 1\r\n\r\n").as_bytes()) else {
                panic!("{line}")
            };
            assert_eq!(got.status, Status(code));
        }
        for line in ["RTSP/1.0", "RTSP/1.0 OK", "RTSP/1.0 2000 OK", "RTSP/1 200 OK", "RTSP/1.0 099 x"] {
            let got = error(format!("{line}\r\nCSeq: 1\r\n\r\n").as_bytes());
            assert_eq!(got, ParseError::StatusLine { position: 0 }, "{line}");
        }
    }

    #[test]
    fn bare_line_feeds_end_lines_and_empty_lines_before_a_message_are_skipped() {
        let got = request(b"\r\n\n\r\nOPTIONS * RTSP/1.0\nCSeq: 1\r\nUser-Agent: x\n\n");
        assert_eq!((got.uri.as_str(), got.headers.len()), ("*", 2));
    }

    #[test]
    fn a_folded_header_is_one_value() {
        let got =
            request(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP,\r\n\tRTP/AVP/TCP\r\n  \r\n\r\n");
        assert_eq!(got.headers.get("Transport"), Some("RTP/AVP, RTP/AVP/TCP"));
        let got = request(b"OPTIONS * RTSP/1.0\r\nCSeq:\r\n 1\r\n\r\n");
        assert_eq!(got.headers.get("CSeq"), Some("1"));
    }

    #[test]
    fn a_url_may_hold_spaces_and_foreign_bytes() {
        let got = request(b"DESCRIBE rtsp://h/my film \xc3\xbc \xfc.mp4 RTSP/1.0\r\nCSeq: 1\r\n\r\n");
        assert_eq!(got.uri, "rtsp://h/my film \u{fc} %FC.mp4");
    }

    #[test]
    fn another_version_is_left_to_the_server() {
        assert_eq!(request(b"OPTIONS rtsp://x RTSP/2.0\r\nCSeq: 1\r\n\r\n").version, (2, 0));
    }

    #[test]
    fn a_message_without_url_or_version_is_answered_and_the_connection_stays_in_step() {
        let mut parser = parser();
        parser.handle_bytes(
            b"OPTIONS RTSP/1.0\r\nCSeq: 5\r\nContent-Length: 2\r\n\r\nxxOPTIONS * RTSP/1.0\r\n\r\n",
        );
        let cseq = Some("5".to_owned());
        assert_eq!(
            parser.poll(),
            Ok(Some(Item::BadRequest { cseq, reason: "request line without URL", position: 0 }))
        );
        assert!(matches!(parser.poll(), Ok(Some(Item::Request(_)))));
        assert_eq!(
            bad(b"OPTIONS rtsp://x\r\nCSeq: 6\r\n\r\n"),
            (Some("6".into()), "request line without version")
        );
        assert_eq!(bad(b"OPTIONS\r\nCSeq: 6\r\n\r\n").1, "request line without URL and version");
        assert_eq!(bad(b"OPTIONS * RTSP/1.x\r\nCSeq: 6\r\n\r\n").1, "request line without version");
        assert_eq!(bad(b"OPT[]IONS * RTSP/1.0\r\nCSeq: 6\r\n\r\n").1, "method is not a token");
    }

    #[test]
    fn control_characters_are_refused_and_never_repeated() {
        assert_eq!(
            bad(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\x002\r\n\r\n"),
            (None, "control character in a header")
        );
        assert_eq!(bad(b"OPTIONS *\x00 RTSP/1.0\r\nCSeq: 3\r\n\r\n").0.as_deref(), Some("3"));
        assert_eq!(bad(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\rX: 2\r\n\r\n").0, None);
        assert_eq!(bad(b"OPTIONS * RTSP/1.0\r\nno colon\r\nCSeq: 9\r\n\r\n").0.as_deref(), Some("9"));
        assert_eq!(bad(b"OPTIONS * RTSP/1.0\r\n folded\r\nCSeq: 9\r\n\r\n").0.as_deref(), Some("9"));
    }

    #[test]
    fn an_http_head_hands_the_connection_over() {
        let mut parser = parser();
        parser.handle_bytes(b"POST /tunnel HTTP/1.0\r\nContent-Length: 2147483647\r\n\r\nT1BU");
        let Ok(Some(Item::Http { head, fault: None })) = parser.poll() else { panic!() };
        assert_eq!((head.method.as_str(), head.version), ("POST", (1, 0)));
        parser.handle_bytes(b"SU9O");
        assert_eq!(parser.poll(), Ok(None));
        assert_eq!(parser.take_buffered(), "T1BUSU9O");
        parser.handle_bytes(b"OPTIONS * RTSP/1.0\r\n\r\n");
        assert!(matches!(parser.poll(), Ok(Some(Item::Request(_)))));
    }

    #[test]
    fn what_begins_as_http_is_http_however_long_or_wrong_it_is() {
        let http = |text: &str| {
            let mut parser = parser();
            parser.handle_bytes(text.as_bytes());
            match parser.poll() {
                Ok(Some(Item::Http { head, fault })) => (head.uri, fault.unwrap()),
                other => panic!("{other:?}"),
            }
        };
        let long = "x".repeat(70_000);
        let header = format!("A: {}\r\n", "x".repeat(4000));
        for method in ["GET", "POST", "HEAD", "PUT", "DELETE"] {
            let uri = http(&format!("{method} /{long} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!(uri, (String::new(), HttpFault::FirstLineTooLong), "{method}");
            assert_eq!(http(&format!("{method} /{long}")).1, HttpFault::FirstLineTooLong, "{method}");
        }
        for headers in [format!("A: {long}\r\n"), header.repeat(5), "A: b\r\n".repeat(100)] {
            // OPTIONS is of both, and the version tells.
            for method in ["GET", "OPTIONS"] {
                let text = format!("{method} /a HTTP/1.1\r\n{headers}\r\n");
                assert_eq!(http(&text), ("/a".to_owned(), HttpFault::HeadersTooLong));
            }
        }
        for line in ["GET", "GET /", "GET / HTTP/1.x", "POST /a\x01 HTTP/1.1", "OPTIONS /\x01 HTTP/1.1"] {
            let (_, fault) = http(&format!("{line}\r\nHost: a\r\n\r\n"));
            assert!(matches!(fault, HttpFault::Line(_)), "{line}: {fault:?}");
        }
        // Those of RTSP stay what they were.
        error(format!("GET rtsp://h/a RTSP/1.0\r\nA: {long}\r\n\r\n").as_bytes());
        error(format!("GET_PARAMETER /{long} HTTP/1.1\r\n\r\n").as_bytes());
        bad(b"GET_PARAMETER /a\r\nCSeq: 1\r\n\r\n");
    }

    #[test]
    fn packets_between_pipelined_requests_are_told_apart() {
        let mut parser = parser();
        parser.handle_bytes(b"$\x01\x00\x02abOPTIONS * RTSP/1.0\r\n\r\n$\x05\x00\x00$\x00\x00\x01$");
        let packet = |channel, payload: &'static [u8]| {
            Ok(Some(Item::Interleaved { channel, payload: Bytes::from_static(payload) }))
        };
        assert_eq!(parser.poll(), packet(1, b"ab"));
        assert!(matches!(parser.poll(), Ok(Some(Item::Request(_)))));
        assert_eq!(parser.poll(), packet(5, b""));
        assert_eq!(parser.poll(), packet(0, b"$"));
        assert_eq!(parser.poll(), Ok(None));
    }

    #[test]
    fn each_limit_has_an_error_of_its_own_with_the_position() {
        let long = "x".repeat(8 * 1024);
        let got = error(format!("\r\nDESCRIBE rtsp://h/{long}").as_bytes());
        assert_eq!(got, ParseError::LineTooLong { position: 2, limit: 8192, first: true });
        assert_eq!(got.status(), Status::REQUEST_URI_TOO_LARGE);

        let got = error(format!("OPTIONS * RTSP/1.0\r\nA: {long}\r\n\r\n").as_bytes());
        assert_eq!(got, ParseError::LineTooLong { position: 20, limit: 8192, first: false });

        let line = format!("A: {}\r\n", "x".repeat(4000));
        let got = error(format!("OPTIONS * RTSP/1.0\r\n{}\r\n", line.repeat(5)).as_bytes());
        assert_eq!(got, ParseError::HeadTooLong { position: 0, limit: 16384 });

        let head = |count: usize| format!("OPTIONS * RTSP/1.0\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!(request(head(64).as_bytes()).headers.len(), 64);
        assert_eq!(error(head(65).as_bytes()), ParseError::TooManyHeaders { position: 0, limit: 64 });

        let got =
            error(b"$\x00\x00\x00ANNOUNCE * RTSP/1.0\r\nContent-Length: 262145\r\n\r\n".get(4..).unwrap());
        assert_eq!(got, ParseError::BodyTooLong { position: 0, size: 262_145, limit: 262_144 });
        assert_eq!(got.status(), Status::REQUEST_ENTITY_TOO_LARGE);
    }

    #[test]
    fn a_length_that_cannot_be_trusted_loses_the_frame() {
        for value in ["-1", "x", "+5", "", "1\r\nContent-Length: 2", "99999999999999999999"] {
            let got = error(format!("OPTIONS * RTSP/1.0\r\nContent-Length: {value}\r\n\r\n").as_bytes());
            assert_eq!(got, ParseError::ContentLength { position: 0 }, "{value}");
        }
        assert_eq!(request(b"A * RTSP/1.0\r\nContent-Length: 1\r\nContent-Length: 01\r\n\r\nb").body, "b");
    }

    #[test]
    fn what_is_no_rtsp_is_refused_at_its_first_byte() {
        assert_eq!(error(b"\r\n\x16\x03\x01"), ParseError::NotRtsp { position: 2, byte: 0x16 });
    }

    #[test]
    fn an_idle_parser_holds_no_memory() {
        let mut parser = parser();
        parser.handle_bytes(&[&b"OPTIONS * RTSP/1.0\r\n\r\n$\x00\xff\x00"[..], &[0; 0xff00]].concat());
        assert!(parser.poll().unwrap().is_some());
        assert!(parser.poll().unwrap().is_some());
        assert_eq!(parser.poll(), Ok(None));
        assert_eq!(parser.memory_bytes(), 0);
        assert!(size_of::<Parser>() <= 160, "{}", size_of::<Parser>());

        parser.handle_bytes(&[&b"$\x00\xff\x00"[..], &[0; 0xff00], b"O"].concat());
        assert!(parser.poll().unwrap().is_some());
        assert_eq!(parser.poll(), Ok(None));
        assert_eq!((parser.buffered(), parser.memory_bytes()), (1, 1));
    }
}
