//! The lines of one complete head: first line and headers (RFC 2326 sections 4.2, 6.1 and 7.1).

use std::borrow::Cow;
use std::fmt::Write;

use bytes::Bytes;

use super::message::{Headers, Method, Request, Response};
use super::parse::{HttpFault, Item, ParseError};
use super::status::Status;
use super::write::is_token;

/// A head whose body may still be on its way.
#[derive(Debug)]
pub(super) enum Head {
    Request(Request),
    Response(Response),
    Http { head: Request, fault: Option<HttpFault> },
    Bad { cseq: Option<String>, reason: &'static str, position: u64 },
}

impl Head {
    pub(super) fn into_item(self, body: Bytes) -> Item {
        match self {
            Head::Request(request) => Item::Request(Request { body, ..request }),
            Head::Response(response) => Item::Response(Response { body, ..response }),
            Head::Http { head, fault } => Item::Http { head, fault },
            Head::Bad { cseq, reason, position } => Item::BadRequest { cseq, reason, position },
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let (Head::Request(Request { headers, .. }) | Head::Response(Response { headers, .. })) = self else {
            return size_of::<Head>();
        };
        size_of::<Head>() + headers.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>()
    }
}

/// Reads a head that ends with an empty line, and the size of the body that follows. `position` is the head's own.
pub(super) fn parse(bytes: &[u8], position: u64) -> Result<(Head, u64), ParseError> {
    let mut lines = bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let (headers, fault) = parse_headers(lines);
    let line = request_line(first);
    if let Some(head) = as_http(first, &line) {
        // What follows is not RTSP, of whatever length it is said to be.
        let fault = line.err().or(fault).map(HttpFault::Line);
        return Ok((Head::Http { head: Request { headers, ..head }, fault }, 0));
    }
    let size = body_size(&headers).ok_or(ParseError::ContentLength { position })?;

    let head = if first.starts_with(b"RTSP/") {
        // Of a response the lines that cannot be read are left out: cameras write odd ones, and nobody can be told.
        let status = status_line(first).ok_or(ParseError::StatusLine { position })?;
        Head::Response(Response { status, headers, body: Bytes::new() })
    } else {
        match line {
            Ok(Line { method, uri, version, .. }) if fault.is_none() => {
                Head::Request(Request { method, uri, version, headers, body: Bytes::new() })
            }
            wrong => {
                let reason = wrong.err().or(fault).unwrap_or("malformed request");
                let cseq = headers.get("CSeq").filter(|cseq| is_number(cseq)).map(str::to_owned);
                Head::Bad { cseq, reason, position }
            }
        }
    };
    Ok((head, size))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Rtsp,
    Http,
}

struct Line {
    method: Method,
    uri: String,
    protocol: Protocol,
    version: (u8, u8),
}

/// `Method SP Request-URI SP RTSP-Version`. Players leave spaces in a URL: it reaches to the last one.
fn request_line(line: &[u8]) -> Result<Line, &'static str> {
    if line.iter().any(u8::is_ascii_control) {
        return Err("control character in the request line");
    }
    let line = line.trim_ascii_end();
    let at = line.iter().position(|&byte| byte == b' ').ok_or("request line without URL and version")?;
    let (method, rest) = (&line[..at], line[at..].trim_ascii());
    let method = token(method).ok_or("method is not a token")?;
    let (uri, version) = match rest.iter().rposition(|&byte| byte == b' ') {
        Some(at) => (rest[..at].trim_ascii(), &rest[at + 1..]),
        None if parse_version(rest).is_some() => return Err("request line without URL"),
        None => return Err("request line without version"),
    };
    let (protocol, version) = parse_version(version).ok_or("request line without version")?;
    Ok(Line { method: Method::from(method), uri: to_text(uri), protocol, version })
}

/// The first of some lines, of which the last may lack its end, as a request of HTTP without headers; None when it is none.
pub(super) fn http_line(lines: &[u8]) -> Option<Request> {
    let line = lines.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    as_http(line, &request_line(line))
}

/// A request line as one of HTTP, if it is that; one that cannot be read is by its method, if RTSP lacks that, or its version.
fn as_http(bytes: &[u8], line: &Result<Line, &'static str>) -> Option<Request> {
    if let Ok(Line { method, uri, protocol, version }) = line {
        let request = || Request { version: *version, ..Request::new(method.clone(), uri.as_str()) };
        return (*protocol == Protocol::Http).then(request);
    }
    let mut words = bytes.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    let method = words.next().and_then(token)?;
    let has_version = words.next_back().and_then(parse_version).is_some_and(|it| it.0 == Protocol::Http);
    let is_http = has_version || OF_HTTP.contains(&method);
    is_http.then(|| Request { version: (1, 1), ..Request::new(Method::from(method), "") })
}

/// `RTSP-Version SP Status-Code SP Reason-Phrase`, the phrase in any shape or missing.
fn status_line(line: &[u8]) -> Option<Status> {
    let text = str::from_utf8(line.get(..line.len().min(16))?.split(|&byte| byte >= 0x80).next()?).ok()?;
    let (version, rest) = text.split_once(' ')?;
    parse_version(version.as_bytes()).filter(|(protocol, _)| *protocol == Protocol::Rtsp)?;
    let rest = rest.trim_start();
    let (code, phrase) = rest.split_at_checked(3)?;
    if !code.bytes().all(|byte| byte.is_ascii_digit()) || phrase.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    code.parse().ok().filter(|code| (100..1000).contains(code)).map(Status)
}

fn parse_version(word: &[u8]) -> Option<(Protocol, (u8, u8))> {
    let (protocol, numbers) = match word {
        [b'R', b'T', b'S', b'P', b'/', numbers @ ..] => (Protocol::Rtsp, numbers),
        [b'H', b'T', b'T', b'P', b'/', numbers @ ..] => (Protocol::Http, numbers),
        _ => return None,
    };
    let (major, minor) = str::from_utf8(numbers).ok()?.split_once('.')?;
    let number = |digits: &str| if is_number(digits) { digits.parse().ok() } else { None };
    Some((protocol, (number(major)?, number(minor)?)))
}

/// The headers and what is wrong with the first bad line, if any. A bad line is left out.
fn parse_headers<'a>(lines: impl Iterator<Item = &'a [u8]>) -> (Headers, Option<&'static str>) {
    let (mut headers, mut fault) = (Headers::new(), None);
    for line in lines.filter(|line| !line.is_empty()) {
        if let Err(reason) = parse_header(line, &mut headers) {
            fault.get_or_insert(reason);
        }
    }
    (headers, fault)
}

fn parse_header(line: &[u8], headers: &mut Headers) -> Result<(), &'static str> {
    if line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err("control character in a header");
    }
    let folded = matches!(line[0], b' ' | b'\t');
    if folded {
        let value = headers.last_value_mut().ok_or("folded line before the first header")?;
        let more = String::from_utf8_lossy(line.trim_ascii());
        if !value.is_empty() && !more.is_empty() {
            value.push(' ');
        }
        value.push_str(&more);
        return Ok(());
    }
    let colon = line.iter().position(|&byte| byte == b':').ok_or("header line without a colon")?;
    let name = token(line[..colon].trim_ascii_end()).ok_or("header name is not a token")?;
    let name = known(name).map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed);
    headers.push(name, String::from_utf8_lossy(line[colon + 1..].trim_ascii()));
    Ok(())
}

/// What `Content-Length` says, 0 without one; None when it is no number or several disagree.
fn body_size(headers: &Headers) -> Option<u64> {
    let mut size = None;
    for value in headers.get_all("Content-Length") {
        let given = if is_number(value) { value.parse().ok()? } else { return None };
        if size.is_some_and(|size| size != given) {
            return None;
        }
        size = Some(given);
    }
    Some(size.unwrap_or(0))
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn token(word: &[u8]) -> Option<&str> {
    if word.is_empty() || !word.iter().copied().all(is_token) {
        return None;
    }
    str::from_utf8(word).ok()
}

/// Text with the bytes that are not UTF-8 percent-encoded, so that a name in another encoding can still be found.
fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Methods of HTTP that RTSP lacks (RFC 9110 section 9, RFC 5789).
const OF_HTTP: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "TRACE", "PATCH"];

/// The usual spelling of a known name, which costs no allocation.
fn known(name: &str) -> Option<&'static str> {
    KNOWN.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
}

/// Most frequent first.
const KNOWN: &[&str] = &[
    "CSeq",
    "User-Agent",
    "Session",
    "Transport",
    "Accept",
    "Range",
    "Authorization",
    "Content-Length",
    "Content-Type",
    "Content-Base",
    "Server",
    "Date",
    "Public",
    "RTP-Info",
    "Scale",
    "Speed",
    "Require",
    "Proxy-Require",
    "Unsupported",
    "Supported",
    "Allow",
    "Blocksize",
    "Bandwidth",
    "Cache-Control",
    "Connection",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
    "Accept-Encoding",
    "Accept-Language",
    "Accept-Ranges",
    "Media-Properties",
    "Pipelined-Requests",
    "Seek-Style",
    "Timestamp",
    "WWW-Authenticate",
    "Location",
    "Expires",
    "Last-Modified",
    "If-Modified-Since",
    "Referer",
    "Via",
    "Retry-After",
    "KeyMgmt",
    "Rate-Control",
    "Frames",
    "Immediate",
    "Host",
    "Upgrade",
    "x-sessioncookie",
    "x-Dynamic-Rate",
];
