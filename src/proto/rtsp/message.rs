//! A request, a response and what both are made of (RFC 2326 sections 4 to 7).

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::status::Status;

/// What a request asks for. Names are case-sensitive (RFC 2326 section 6.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `OPTIONS`.
    Options,
    /// `DESCRIBE`.
    Describe,
    /// `ANNOUNCE`.
    Announce,
    /// `SETUP`.
    Setup,
    /// `PLAY`.
    Play,
    /// `PAUSE`.
    Pause,
    /// `TEARDOWN`.
    Teardown,
    /// `GET_PARAMETER`.
    GetParameter,
    /// `SET_PARAMETER`.
    SetParameter,
    /// `RECORD`.
    Record,
    /// `REDIRECT`.
    Redirect,
    /// Any other token, also a known name in other case.
    Other(String),
}

impl Method {
    /// The name as it stands in a request line.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Options => "OPTIONS",
            Method::Describe => "DESCRIBE",
            Method::Announce => "ANNOUNCE",
            Method::Setup => "SETUP",
            Method::Play => "PLAY",
            Method::Pause => "PAUSE",
            Method::Teardown => "TEARDOWN",
            Method::GetParameter => "GET_PARAMETER",
            Method::SetParameter => "SET_PARAMETER",
            Method::Record => "RECORD",
            Method::Redirect => "REDIRECT",
            Method::Other(name) => name,
        }
    }
}

impl From<&str> for Method {
    fn from(name: &str) -> Method {
        match name {
            "OPTIONS" => Method::Options,
            "DESCRIBE" => Method::Describe,
            "ANNOUNCE" => Method::Announce,
            "SETUP" => Method::Setup,
            "PLAY" => Method::Play,
            "PAUSE" => Method::Pause,
            "TEARDOWN" => Method::Teardown,
            "GET_PARAMETER" => Method::GetParameter,
            "SET_PARAMETER" => Method::SetParameter,
            "RECORD" => Method::Record,
            "REDIRECT" => Method::Redirect,
            other => Method::Other(other.to_owned()),
        }
    }
}

impl FromStr for Method {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Method, Infallible> {
        Ok(Method::from(name))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The headers of a message in their order; names keep no case, repeated names stay apart.
#[derive(Clone, Debug, Default)]
pub struct Headers(Vec<(Cow<'static, str>, String)>);

impl Headers {
    /// No headers; allocates nothing.
    pub const fn new() -> Headers {
        Headers(Vec::new())
    }

    /// Appends a header, also when one of that name is there.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Puts one header in place of all of its name.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let name = name.into();
        self.0.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        self.0.push((name, value.into()));
    }

    /// The value of the last header, to which a folded line is added.
    pub(super) fn last_value_mut(&mut self) -> Option<&mut String> {
        self.0.last_mut().map(|(_, value)| value)
    }

    /// The first value of that name in any case; None when there is none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// All values of that name in any case, in order.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, value.as_str()))
    }

    /// Count of headers.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Equal when names, whatever their case, values and order are.
impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|(a, b)| a.0.eq_ignore_ascii_case(b.0) && a.1 == b.1)
    }
}

impl Eq for Headers {}

/// A request (RFC 2326 section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// Of what: the URL as the peer wrote it. Bytes that are not UTF-8 stand percent-encoded.
    pub uri: String,
    /// Major and minor version; a server of this one refuses all but `(1, 0)` with 505.
    pub version: (u8, u8),
    /// Its headers.
    pub headers: Headers,
    /// Its body; empty when there is none.
    pub body: Bytes,
}

impl Request {
    /// A request of version 1.0 without headers and body.
    pub fn new(method: Method, uri: impl Into<String>) -> Request {
        Request { method, uri: uri.into(), version: (1, 0), headers: Headers::new(), body: Bytes::new() }
    }

    /// The same with one header more.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Request {
        self.headers.push(name, value);
        self
    }

    /// The same with a body of that type.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Request {
        self.headers.set("Content-Type", content_type);
        self.body = body.into();
        self
    }
}

/// A response (RFC 2326 section 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// What became of the request.
    pub status: Status,
    /// Its headers.
    pub headers: Headers,
    /// Its body; empty when there is none.
    pub body: Bytes,
}

impl Response {
    /// A response without headers and body.
    pub fn new(status: Status) -> Response {
        Response { status, headers: Headers::new(), body: Bytes::new() }
    }

    /// The same with one header more.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Response {
        self.headers.push(name, value);
        self
    }

    /// The same with a body of that type.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Response {
        self.headers.set("Content-Type", content_type);
        self.body = body.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_in_other_case_is_another_method() {
        assert_eq!(Method::from("PLAY"), Method::Play);
        assert_eq!(Method::from("play"), Method::Other("play".into()));
        assert_eq!(Method::from("GET_PARAMETER").to_string(), "GET_PARAMETER");
    }

    #[test]
    fn headers_are_found_in_any_case_and_in_order() {
        let mut headers = Headers::new();
        headers.push("Require", "a");
        headers.push("cseq", "1");
        headers.push("REQUIRE", "b");
        assert_eq!(headers.get("CSeq"), Some("1"));
        assert_eq!(headers.get_all("require").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(headers.get("Session"), None);
        headers.set("require", "c");
        assert_eq!(headers.get_all("Require").collect::<Vec<_>>(), ["c"]);
    }
}
