//! The URL of a server, as people and configurations write it: with user and password, and odd characters in them.

use std::fmt::{self, Write as _};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::credentials::Credentials;
use super::scheme::Scheme;
use crate::rtsp::uri::{UriError, parse_authority};

/// Where a presentation is, and who asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Which protocol is spoken, and whether with TLS.
    pub scheme: Scheme,
    /// Name or address, an IPv6 address without its brackets and with its zone.
    pub host: String,
    /// None when the URL has none: [`Url::effective_port`].
    pub port: Option<u16>,
    /// Path and query from the first `/` on, as they came but for what cannot stand in a request line.
    pub path: String,
    /// User and password, percent-decoded; None when the URL has none.
    pub credentials: Option<Credentials>,
}

impl Url {
    /// Takes a URL of an RTSP server apart. A `/`, `?` or `#` that stands in a password as it is ends the host's part
    /// for other readers; here it does so only where a host precedes it. Errors: [`UriError::Scheme`],
    /// [`UriError::Authority`].
    pub fn parse(text: &str) -> Result<Url, UriError> {
        let text = without_second_scheme(text.trim());
        let (scheme, rest) =
            with_scheme(text).filter(|(scheme, _)| !scheme.is_http()).ok_or(UriError::Scheme)?;
        Url::from_parts(scheme, rest)
    }

    /// The same for a URL of an HTTP server. Errors: [`UriError::HttpScheme`], [`UriError::Authority`].
    pub fn parse_http(text: &str) -> Result<Url, UriError> {
        let parts = with_scheme(text.trim()).filter(|(scheme, _)| scheme.is_http());
        let (scheme, rest) = parts.ok_or(UriError::HttpScheme)?;
        Url::from_parts(scheme, rest)
    }

    /// What stands before and behind the `://`.
    fn from_parts(scheme: Scheme, rest: &str) -> Result<Url, UriError> {
        let (authority, path) = split_authority(rest);
        let (host, port) = parse_authority(authority)?;
        let credentials =
            authority.rsplit_once('@').map(|(userinfo, _)| Credentials::from_userinfo(userinfo));
        Ok(Url {
            scheme,
            host: host.ok_or(UriError::Authority)?,
            port,
            path: absolute(path),
            credentials: credentials.filter(|credentials| !credentials.is_empty()),
        })
    }

    /// Where a `Location` leads that a response for this URL names: a URL of its own, or a path on the same server.
    /// It has the credentials that it brings, not those of this one, and the same protocol with or without TLS.
    pub fn resolve(&self, location: &str) -> Result<Url, UriError> {
        let location = location.trim();
        if self.scheme.is_http() {
            return self.resolve_http(location);
        }
        if location.contains("://") {
            return Url::parse(location);
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let path = &self.path[..self.path.find(['?', '#']).unwrap_or(self.path.len())];
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            format!("{folder}{location}")
        };
        Ok(Url { path: absolute(&path), credentials: None, ..self.clone() })
    }

    /// Every kind of reference (RFC 3986 section 5.2): a whole URL, one without scheme, a path, a query alone.
    fn resolve_http(&self, location: &str) -> Result<Url, UriError> {
        let end = location.find(['/', '?', '#']).unwrap_or(location.len());
        if location[..end].ends_with(':') && location[end..].starts_with("//") {
            return Url::parse_http(location);
        }
        if location.starts_with("//") {
            return Url::parse_http(&format!("{}:{location}", self.scheme.as_str()));
        }
        let base = &self.path[..self.path.find(['?', '#']).unwrap_or(self.path.len())];
        let (path, query) = location.split_at(location.find(['?', '#']).unwrap_or(location.len()));
        let path = match path {
            "" => base.to_owned(),
            _ if path.starts_with('/') => without_dots(path),
            _ => without_dots(&format!("{}/{path}", base.rsplit_once('/').map_or("", |(folder, _)| folder))),
        };
        Ok(Url { path: absolute(&format!("{path}{query}")), credentials: None, ..self.clone() })
    }

    /// The URL as it stands in a request line, which never holds user and password.
    pub fn request_uri(&self) -> String {
        format!("{}{}", self.origin(""), self.path)
    }

    /// The port, or the scheme's when the URL names none.
    pub fn effective_port(&self) -> u16 {
        self.port.unwrap_or(self.scheme.default_port())
    }

    /// Whether both lead to one server over one protocol.
    pub fn is_same_server(&self, other: &Url) -> bool {
        self.scheme == other.scheme
            && self.host.eq_ignore_ascii_case(&other.host)
            && self.effective_port() == other.effective_port()
    }

    /// Whether this is the encrypted door of the server that the other names, both at the ports of their scheme: what
    /// may be told the one in clear text may be told the other.
    pub(super) fn is_https_of(&self, other: &Url) -> bool {
        let is_usual = |url: &Url| url.effective_port() == url.scheme.default_port();
        (other.scheme, self.scheme) == (Scheme::Http, Scheme::Https)
            && self.host.eq_ignore_ascii_case(&other.host)
            && is_usual(self)
            && is_usual(other)
    }

    fn origin(&self, userinfo: &str) -> String {
        let mut origin = format!("{}://{userinfo}", self.scheme.as_str());
        // Writing to a String cannot fail.
        let _ = match self.host.contains(':') {
            // The sign before a zone is percent-encoded in a URL (RFC 6874).
            true => write!(origin, "[{}]", self.host.replace('%', "%25")),
            false => write!(origin, "{}", self.host),
        };
        if let Some(port) = self.port {
            let _ = write!(origin, ":{port}");
        }
        origin
    }
}

/// For logs: passwords are three stars, also those in the path and query as some cameras have them.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let userinfo = match &self.credentials {
            None => String::new(),
            Some(credentials) => format!("{}:***@", utf8_percent_encode(&credentials.user, USERINFO)),
        };
        f.write_str(&self.origin(&userinfo))?;
        f.write_str(&redacted(&self.path))
    }
}

/// What a server names as a base or a control URL, fit for a request line: without user and password, and nothing in
/// it that could end the line. Not taken apart further: devices give hosts that are none, and expect them back.
pub(super) fn for_request(text: &str) -> String {
    let text = without_second_scheme(text.trim());
    let Some((scheme, rest)) = text.split_once("://") else { return encoded(text) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
    encoded(&format!("{scheme}://{}", &rest[start..]))
}

/// The scheme of a URL, and what follows it; None when it has none that is known.
fn with_scheme(text: &str) -> Option<(Scheme, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    Some((Scheme::from_name(scheme)?, rest))
}

/// Follows the `.` and `..` in an absolute path (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/').skip(1) {
        match name {
            "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    // A path that ends with either names the folder.
    if path.ends_with("/.") || path.ends_with("/..") {
        names.push("");
    }
    format!("/{}", names.join("/"))
}

/// Some cameras write `rtsp://rtsp://host/`.
fn without_second_scheme(text: &str) -> &str {
    let second = text.split_once("://").map(|(_, rest)| rest);
    second
        .filter(|rest| rest.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("rtsp://")))
        .unwrap_or(text)
}

/// Splits behind the host and port. Where that is not what precedes the first `/`, `?` or `#`, these may belong to a
/// password, which then ends at the first `@` that a host follows.
fn split_authority(rest: &str) -> (&str, &str) {
    let end = |from: usize| rest[from..].find(['/', '?', '#']).map_or(rest.len(), |at| from + at);
    let first = end(0);
    if parse_authority(&rest[..first]).is_ok() {
        return rest.split_at(first);
    }
    let hosts = rest.match_indices('@').map(|(at, _)| at + 1).filter(|&at| at > first);
    let mut ends = hosts.map(|at| (at, end(at)));
    let found = ends.find(|&(at, end)| matches!(parse_authority(&rest[at..end]), Ok((Some(_), _))));
    rest.split_at(found.map_or(first, |(_, end)| end))
}

fn absolute(path: &str) -> String {
    let path = encoded(path);
    if path.starts_with('/') { path } else { format!("/{path}") }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNFIT).to_string()
}

/// Puts stars in place of what follows the name of a password, up to the next parameter.
fn redacted(path: &str) -> String {
    // The same length as the path: only ASCII letters change.
    let lower = path.to_ascii_lowercase();
    let (mut out, mut at) = (String::with_capacity(path.len()), 0);
    while let Some(start) =
        SECRETS.iter().filter_map(|name| lower[at..].find(name).map(|found| at + found + name.len())).min()
    {
        out.push_str(&path[at..start]);
        at = path[start..].find(['&', '?', '#', '/']).map_or(path.len(), |end| start + end);
        out.push_str("***");
    }
    out + &path[at..]
}

/// What cannot stand in a request line. A `%` stays: the text is percent-encoded already.
const UNFIT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// What cannot stand in a user's name in a URL.
const USERINFO: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'/')
    .add(b'?')
    .add(b'#')
    .add(b'@')
    .add(b':')
    .add(b'%');

/// How parameters are named that hold a password.
const SECRETS: [&str; 5] = ["password=", "passwd=", "pass=", "pwd=", "token="];

/// Reads a part of a URL; what is no UTF-8 becomes a replacement character.
pub(super) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn user_and_password_are_decoded_and_never_in_the_request() {
        let cases = [
            ("rtsp://admin:p%40ss%2Fw%3Ard%25@cam:8554/a?x=1", "admin", "p@ss/w:rd%"),
            ("rtsp://admin:p@ss:w@cam:8554/a?x=1", "admin", "p@ss:w"),
            ("rtsp://admin:pa/s?s#w@cam:8554/a?x=1", "admin", "pa/s?s#w"),
            ("rtsp://admin:100%@cam:8554/a?x=1", "admin", "100%"),
            ("rtsp://a%3Ab:@cam:8554/a?x=1", "a:b", ""),
            ("rtsp://admin@cam:8554/a?x=1", "admin", ""),
        ];
        for (text, user, password) in cases {
            let got = url(text);
            let credentials = got.credentials.clone().unwrap();
            assert_eq!(
                (credentials.user.as_str(), credentials.password.as_str()),
                (user, password),
                "{text}"
            );
            assert_eq!(got.request_uri(), "rtsp://cam:8554/a?x=1", "{text}");
        }
        assert_eq!(url("rtsp://cam/user@home:1/a").path, "/user@home:1/a");
        assert_eq!(url("rtsp://:@cam/a").credentials, None);
    }

    #[test]
    fn a_log_never_shows_a_password() {
        for text in [
            "rtsp://u%40v:hidden@h/a",
            "rtsps://u%40v:hidden@h/a?password=hidden&x=1",
            "rtsp://u%40v:h@h/user=admin_Password=hidden_channel=1",
            "rtsp://u%40v:h@h/a?token=hidden/b?pwd=hidden",
        ] {
            let got = url(text);
            let shown = got.to_string();
            assert!(!shown.contains("hidden") && shown.contains("u%40v:***@h/"), "{shown}");
            assert!(!format!("{:?}", got.credentials).contains('h'), "{got:?}");
        }
        assert_eq!(url("rtsp://h/a?x=1").to_string(), "rtsp://h/a?x=1");
    }

    #[test]
    fn addresses_names_and_ports_are_read() {
        let got = url("RTSPS://[fe80::1%25eth0]:322");
        assert_eq!((got.host.as_str(), got.port, got.path.as_str()), ("fe80::1%eth0", Some(322), "/"));
        assert_eq!(got.request_uri(), "rtsps://[fe80::1%25eth0]:322/");
        assert_eq!(url("rtsp://h?x y").request_uri(), "rtsp://h/?x%20y");
        assert_eq!(url("rtsp://rtsp://h/a").request_uri(), "rtsp://h/a");
        assert_eq!((url("rtsp://h").effective_port(), url("rtsps://h").effective_port()), (554, 322));
        assert!(url("rtsp://H/a").is_same_server(&url("rtsp://h:554/b")));
        assert!(!url("rtsp://h/a").is_same_server(&url("rtsps://h:554/a")));
        for (text, error) in [
            ("http://h/", UriError::Scheme),
            ("/a", UriError::Scheme),
            ("rtsp:///a", UriError::Authority),
            ("rtsp://u:p@/a", UriError::Authority),
            ("rtsp://h:x/a", UriError::Authority),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn http_is_read_only_where_it_is_wanted() {
        let got = Url::parse_http("HTTP://u:p%40@cam/a b?x=1#y").unwrap();
        assert_eq!((got.scheme, got.host.as_str(), got.effective_port()), (Scheme::Http, "cam", 80));
        assert_eq!((got.path.as_str(), got.credentials.unwrap().password.as_str()), ("/a%20b?x=1#y", "p@"));
        assert_eq!(Url::parse_http("https://[::1]").unwrap().effective_port(), 443);
        assert_eq!(Url::parse_http("https://u:p@h:1/a").unwrap().to_string(), "https://u:***@h:1/a");
        for (text, error) in [
            ("rtsp://h/", UriError::HttpScheme),
            ("h/a", UriError::HttpScheme),
            ("http:///a", UriError::Authority),
            ("http://h:x/a", UriError::Authority),
        ] {
            assert_eq!(Url::parse_http(text), Err(error), "{text}");
        }
        assert_eq!(Url::parse("https://h/"), Err(UriError::Scheme));
    }

    #[test]
    fn a_location_may_be_a_url_or_a_path() {
        let from = url("rtsp://u:p@h:1/d/a?x=/1");
        for (location, expected) in
            [("rtsps://other/b", "rtsps://other/b"), ("/b c", "rtsp://h:1/b%20c"), ("b", "rtsp://h:1/d/b")]
        {
            let got = from.resolve(location).unwrap();
            assert_eq!((got.request_uri().as_str(), got.credentials), (expected, None));
        }
        assert_eq!(from.resolve("rtsp://a:b@h/").unwrap().credentials.unwrap().user, "a");
        assert_eq!(from.resolve("http://h/"), Err(UriError::Scheme));
    }

    #[test]
    fn what_a_server_names_keeps_its_form_but_for_credentials() {
        for (text, expected) in [
            ("rtsp://u:p@192.168.1.2/a/", "rtsp://192.168.1.2/a/"),
            ("rtsp://::ffff:192.168.1.123/onvif/profile.1/", "rtsp://::ffff:192.168.1.123/onvif/profile.1/"),
            ("rtsp://rtsp://cam.lan:554/stream1/", "rtsp://cam.lan:554/stream1/"),
            ("rtsp://h/track 1?x=a@b", "rtsp://h/track%201?x=a@b"),
        ] {
            assert_eq!(for_request(text), expected);
        }
    }
}
