//! What the head of an HTTP request asks of an RTSP server, and answers to it (RFC 9110, RFC 9112; Apple's "Tunneling
//! RTSP and RTP over HTTP").

use std::fmt::Write;

use bytes::{Bytes, BytesMut};

use super::websocket::upgrade::{self, Upgrade};
use crate::rtsp::message::{Headers, Request};
use crate::rtsp::parse::HttpFault;
use crate::rtsp::write::{put_line, put_rest};

/// Letters of a cookie. Players send 16 to 32.
pub const COOKIE_BYTES_MAX: usize = 128;

/// Names a tunnel: both of its connections bring it as `x-sessioncookie`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cookie(Box<str>);

impl Cookie {
    /// A cookie of visible letters; None when it is empty, too long or has others.
    pub fn parse(text: &str) -> Option<Cookie> {
        let fits = (1..=COOKIE_BYTES_MAX).contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Cookie(text.into()))
    }
}

/// What a head asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A GET that becomes the way out of a tunnel.
    TunnelOut(Cookie),
    /// A POST that becomes the way in.
    TunnelIn(Cookie),
    /// To become a WebSocket.
    WebSocket(Upgrade),
    /// A page by its path, without parameters; whether only its head is wanted.
    Page {
        /// Decoded no further than it came.
        path: String,
        /// HEAD in place of GET.
        is_head: bool,
    },
    /// What a browser asks before it sends a request to another origin than its page's (OPTIONS).
    Preflight,
    /// Something that is answered with this status and sentence.
    Wrong(Code, &'static str),
}

impl Ask {
    /// What a head asks for.
    pub fn of(request: &Request) -> Ask {
        if request.version.0 != 1 {
            return Ask::Wrong(Code::VersionNotSupported, "HTTP/1.0 and HTTP/1.1 are understood");
        }
        // Who passes it on may go by the one, and who answers by the other (RFC 9112 section 3.2).
        if request.headers.get_all("Host").nth(1).is_some() {
            return Ask::Wrong(Code::BadRequest, "a request has one Host");
        }
        let method = request.method.as_str();
        if let Some(text) = request.headers.get("x-sessioncookie")
            && matches!(method, "GET" | "POST")
        {
            return match Cookie::parse(text) {
                Some(cookie) if method == "GET" => Ask::TunnelOut(cookie),
                Some(cookie) => Ask::TunnelIn(cookie),
                None => Ask::Wrong(Code::BadRequest, "x-sessioncookie has 1 to 128 visible letters"),
            };
        }
        match method {
            "GET" if upgrade::is_asked_for(&request.headers) => match Upgrade::of(request) {
                Ok(upgrade) => Ask::WebSocket(upgrade),
                Err((code, reason)) => Ask::Wrong(code, reason),
            },
            "GET" | "HEAD" => {
                let path = request.uri.split(['?', '#']).next().unwrap_or_default();
                Ask::Page { path: path.to_owned(), is_head: method == "HEAD" }
            }
            "OPTIONS" => Ask::Preflight,
            "POST" => Ask::Wrong(Code::NotFound, "a tunnel's POST has an x-sessioncookie"),
            _ => Ask::Wrong(Code::NotAllowed, "GET, HEAD, POST and OPTIONS are answered"),
        }
    }
}

/// The answer to a head that cannot be read: its status and sentence.
pub fn blame(fault: HttpFault) -> (Code, &'static str) {
    match fault {
        HttpFault::Line(reason) => (Code::BadRequest, reason),
        HttpFault::FirstLineTooLong => (Code::UriTooLong, "the first line is too long"),
        HttpFault::HeadersTooLong => (Code::HeadersTooLong, "the headers are too many or too long"),
    }
}

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 101.
    SwitchingProtocols,
    /// 200.
    Ok,
    /// 204.
    NoContent,
    /// 400.
    BadRequest,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 405.
    NotAllowed,
    /// 409.
    Conflict,
    /// 414.
    UriTooLong,
    /// 426.
    UpgradeRequired,
    /// 431 (RFC 6585 section 5).
    HeadersTooLong,
    /// 503.
    Unavailable,
    /// 505.
    VersionNotSupported,
}

impl Code {
    /// Number and phrase.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::SwitchingProtocols => "101 Switching Protocols",
            Code::Ok => "200 OK",
            Code::NoContent => "204 No Content",
            Code::BadRequest => "400 Bad Request",
            Code::Forbidden => "403 Forbidden",
            Code::NotFound => "404 Not Found",
            Code::NotAllowed => "405 Method Not Allowed",
            Code::Conflict => "409 Conflict",
            Code::UriTooLong => "414 URI Too Long",
            Code::UpgradeRequired => "426 Upgrade Required",
            Code::HeadersTooLong => "431 Request Header Fields Too Large",
            Code::Unavailable => "503 Service Unavailable",
            Code::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    code: Code,
    headers: Headers,
    body: Bytes,
}

impl Answer {
    /// An answer without headers and body.
    pub fn new(code: Code) -> Answer {
        Answer { code, headers: Headers::new(), body: Bytes::new() }
    }

    /// A refusal with its sentence, behind which the connection is closed.
    pub fn refusal(code: Code, reason: &str) -> Answer {
        let answer = match code {
            Code::NotAllowed => Answer::new(code).header("Allow", "GET, HEAD, POST, OPTIONS"),
            Code::UpgradeRequired => upgrade::other_version(),
            _ => Answer::new(code),
        };
        answer.header("Connection", "close").body("text/plain; charset=utf-8", format!("{reason}\r\n"))
    }

    /// The same with one header more.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push(name, value);
        self
    }

    /// The same with a body of that type.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Answer {
        self.headers.set("Content-Type", content_type);
        self.body = body.into();
        self
    }

    /// Its bytes, in the version that was asked in.
    pub fn to_bytes(&self, version: (u8, u8)) -> Bytes {
        let mut out = BytesMut::with_capacity(256 + self.body.len());
        let minor = version.1.min(1);
        // Writing to a BytesMut only fails when memory does.
        let _ = write!(out, "HTTP/1.{minor} {}\r\n", self.code.as_str());
        put_rest(&mut out, &self.headers, &self.body);
        out.freeze()
    }
}

/// Appends a request's head as it came, known names in their usual letters, for somebody else who reads HTTP: every header,
/// its lengths too, and no body.
pub fn put_head(out: &mut BytesMut, head: &Request) {
    let minor = head.version.1.min(1);
    put_line(out, &[head.method.as_str(), " ", &head.uri, " HTTP/1.", if minor == 0 { "0" } else { "1" }]);
    for (name, value) in head.headers.iter() {
        put_line(out, &[name, ": ", value]);
    }
    put_line(out, &[]);
}

/// The answer to a tunnel's GET: everything that follows is RTSP, without a length, until the connection ends.
pub fn tunnel_opens() -> Answer {
    Answer::new(Code::Ok)
        .header("Connection", "close")
        .header("Cache-Control", "no-store")
        .header("Pragma", "no-cache")
        .header("Content-Type", "application/x-rtsp-tunnelled")
}

/// The answer to what a browser asks before a tunnel of another origin's page.
pub fn preflight() -> Answer {
    Answer::new(Code::NoContent)
        .header("Allow", "GET, HEAD, POST, OPTIONS")
        .header("Access-Control-Allow-Methods", "GET, POST")
        .header(
            "Access-Control-Allow-Headers",
            "x-sessioncookie, Accept, Content-Type, Cache-Control, Pragma",
        )
        .header("Access-Control-Max-Age", "86400")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::parse::{Item, Limits, Parser};

    pub(crate) fn head(text: &str) -> Request {
        let mut parser = Parser::new(Limits::DEFAULT);
        parser.handle_bytes(text.as_bytes());
        match parser.poll() {
            Ok(Some(Item::Http { head, .. })) => head,
            other => panic!("{other:?}"),
        }
    }

    fn ask(text: &str) -> Ask {
        Ask::of(&head(text))
    }

    #[test]
    fn a_cookie_makes_a_tunnel_in_any_spelling_of_its_header() {
        let cookie = Cookie::parse("abc1").unwrap();
        for name in ["x-sessioncookie", "X-Sessioncookie", "X-SessionCookie"] {
            let get =
                format!("GET /a HTTP/1.0\r\n{name}: abc1\r\nAccept: application/x-rtsp-tunnelled\r\n\r\n");
            assert_eq!(ask(&get), Ask::TunnelOut(cookie.clone()));
            let post = format!("POST / HTTP/1.1\r\n{name}:abc1\r\nContent-Length: 32767\r\n\r\n");
            assert_eq!(ask(&post), Ask::TunnelIn(cookie.clone()));
        }
    }

    #[test]
    fn a_cookie_is_bounded() {
        for cookie in [String::new(), "x".repeat(COOKIE_BYTES_MAX + 1), "a b".into(), "\u{fc}".into()] {
            let asked = ask(&format!("GET / HTTP/1.0\r\nx-sessioncookie: {cookie}\r\n\r\n"));
            assert!(matches!(asked, Ask::Wrong(Code::BadRequest, _)), "{asked:?}");
        }
    }

    #[test]
    fn a_browser_gets_pages_and_nothing_else_is_served() {
        let page = |path: &str, is_head| Ask::Page { path: path.into(), is_head };
        assert_eq!(ask("GET /?a=1 HTTP/1.1\r\nHost: x\r\n\r\n"), page("/", false));
        assert_eq!(ask("HEAD /b HTTP/1.1\r\n\r\n"), page("/b", true));
        assert_eq!(ask("OPTIONS * HTTP/1.1\r\n\r\n"), Ask::Preflight);
        assert!(matches!(ask("POST / HTTP/1.1\r\n\r\n"), Ask::Wrong(Code::NotFound, _)));
        assert!(matches!(ask("PUT / HTTP/1.1\r\n\r\n"), Ask::Wrong(Code::NotAllowed, _)));
        assert!(matches!(ask("GET / HTTP/2.0\r\n\r\n"), Ask::Wrong(Code::VersionNotSupported, _)));
        let two = "GET / HTTP/1.1\r\nHost: a\r\nx-sessioncookie: c\r\nhost: a\r\n\r\n";
        assert!(matches!(ask(two), Ask::Wrong(Code::BadRequest, _)));
    }

    #[test]
    fn a_head_is_passed_on_as_it_came_and_nothing_in_it_can_begin_another() {
        let came = "POST /api/v1/a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n";
        let mut out = BytesMut::new();
        put_head(&mut out, &head(came));
        assert_eq!(out, came);
        let odd = Request::new("GET".into(), "/a\r\nX: y").header("A", "b\r\n\r\nGET / HTTP/1.1");
        out.clear();
        put_head(&mut out, &odd);
        assert_eq!(out, "GET /a  X: y HTTP/1.0\r\nA: b    GET / HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn answers_have_the_version_of_the_question_and_the_length_of_the_body() {
        let answer = Answer::new(Code::Ok).body("text/plain", "abc");
        assert_eq!(
            answer.to_bytes((1, 0)),
            "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc"
        );
        assert!(answer.to_bytes((1, 1)).starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}
