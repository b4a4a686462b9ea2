//! The protocols that a stream can be fetched over, as a URL names them.

use crate::rtsp::uri;

/// What precedes `://` in the URL of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RTSP.
    Rtsp,
    /// RTSP over TLS.
    Rtsps,
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The scheme of that name in any case; None for another protocol's.
    pub fn from_name(name: &str) -> Option<Scheme> {
        match uri::Scheme::from_name(name) {
            Some(uri::Scheme::Rtsp) => Some(Scheme::Rtsp),
            Some(uri::Scheme::Rtsps) => Some(Scheme::Rtsps),
            None if name.eq_ignore_ascii_case("http") => Some(Scheme::Http),
            None if name.eq_ignore_ascii_case("https") => Some(Scheme::Https),
            None => None,
        }
    }

    /// The scheme's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Rtsp => uri::Scheme::Rtsp.as_str(),
            Scheme::Rtsps => uri::Scheme::Rtsps.as_str(),
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port when the URL names none (RFC 2326 section 3.2, RFC 7826 section 4.2, RFC 9110 section 4.2).
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Rtsp => uri::Scheme::Rtsp.default_port(),
            Scheme::Rtsps => uri::Scheme::Rtsps.default_port(),
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    /// Whether the connection begins with TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Scheme::Rtsps | Scheme::Https)
    }

    /// Whether HTTP is spoken.
    pub fn is_http(self) -> bool {
        matches!(self, Scheme::Http | Scheme::Https)
    }
}
