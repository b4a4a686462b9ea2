//! Messages to bytes (RFC 2326 sections 6 and 7). Nothing that a peer sent and a header repeats can end a line.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

use super::message::{Headers, Request, Response};

impl Request {
    /// Appends the request to `out`, `Content-Length` as the body asks for it.
    pub fn write(&self, out: &mut BytesMut) {
        put_word(out, self.method.as_str());
        out.put_u8(b' ');
        put_clean(out, &self.uri);
        let (major, minor) = self.version;
        // Writing to a BytesMut only fails when memory does.
        let _ = write!(out, " RTSP/{major}.{minor}\r\n");
        put_rest(out, &self.headers, &self.body);
    }

    /// The request as bytes of its own.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256 + self.body.len());
        self.write(&mut out);
        out.freeze()
    }
}

impl Response {
    /// Appends the response to `out`, `Content-Length` as the body asks for it.
    pub fn write(&self, out: &mut BytesMut) {
        let _ = write!(out, "RTSP/1.0 {}\r\n", self.status);
        put_rest(out, &self.headers, &self.body);
    }

    /// The response as bytes of its own.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256 + self.body.len());
        self.write(&mut out);
        out.freeze()
    }
}

/// Appends headers, an empty line and the body.
pub(crate) fn put_rest(out: &mut BytesMut, headers: &Headers, body: &[u8]) {
    for (name, value) in headers.iter() {
        // The length is the body's, whatever a header claims: two lengths would let a peer see two messages.
        if name.eq_ignore_ascii_case("Content-Length") {
            continue;
        }
        put_word(out, name);
        out.put_slice(b": ");
        put_clean(out, value);
        out.put_slice(b"\r\n");
    }
    if !body.is_empty() {
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    out.put_slice(b"\r\n");
    out.put_slice(body);
}

/// Appends one line of these parts, which nothing in them can end.
pub(crate) fn put_line(out: &mut BytesMut, parts: &[&str]) {
    for part in parts {
        put_clean(out, part);
    }
    out.put_slice(b"\r\n");
}

/// Text of one line: control characters become spaces.
fn put_clean(out: &mut BytesMut, text: &str) {
    let mut bytes = text.as_bytes();
    while let Some(at) = bytes.iter().position(u8::is_ascii_control) {
        out.put_slice(&bytes[..at]);
        out.put_u8(b' ');
        bytes = &bytes[at + 1..];
    }
    out.put_slice(bytes);
}

/// A token: what cannot stand in one becomes a dash.
fn put_word(out: &mut BytesMut, word: &str) {
    if word.bytes().all(is_token) {
        out.put_slice(word.as_bytes());
    } else {
        out.extend(word.bytes().map(|byte| if is_token(byte) { byte } else { b'-' }));
    }
}

/// Whether a byte may stand in a method or a header name (RFC 2326 section 15.1).
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Visible ASCII but for separators; a table, because every byte of every header name is asked for.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = true;
        byte += 1;
    }
    let separators = b"()<>@,;:\\\"/[]?={}";
    let mut at = 0;
    while at < separators.len() {
        table[separators[at] as usize] = false;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::message::Method;
    use crate::rtsp::status::Status;

    #[test]
    fn separators_and_blanks_are_in_no_token() {
        let others: String = (0..=127).filter(|&byte| !is_token(byte)).map(char::from).collect();
        let controls: String = (0..=32).map(char::from).collect();
        assert_eq!(others, format!("{controls}\"(),/:;<=>?@[\\]{{}}\u{7f}"));
        assert!((128..=255).all(|byte| !is_token(byte)));
    }

    #[test]
    fn the_length_is_the_bodys_own() {
        let response = Response::new(Status::OK)
            .header("CSeq", "2")
            .header("Content-length", "9999")
            .body("application/sdp", "v=0\r\n");
        let expected =
            "RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";
        assert_eq!(response.to_bytes(), expected);
    }

    #[test]
    fn no_value_can_start_a_line_of_its_own() {
        let request = Request::new(Method::Other("A\r\nB".into()), "rtsp://h/\r\nX: 1")
            .header("Na\nme: x", "va\r\n\r\nlue\0\x7f");
        let expected = "A--B rtsp://h/  X: 1 RTSP/1.0\r\nNa-me--x: va    lue  \r\n\r\n";
        assert_eq!(request.to_bytes(), expected);
    }
}
