//! The one request that there is (RFC 9112 section 3).

use std::fmt::Write;

use bytes::{Bytes, BytesMut};

use super::super::url::Url;
use crate::rtsp::message::Headers;
use crate::rtsp::write::put_rest;

/// Asks for a URL; an empty `user_agent` is left out.
pub(super) fn get(url: &Url, authorization: Option<String>, user_agent: &str) -> Bytes {
    let mut headers = Headers::new();
    headers.push("Host", host(url));
    if let Some(authorization) = authorization {
        headers.push("Authorization", authorization);
    }
    if !user_agent.is_empty() {
        headers.push("User-Agent", user_agent);
    }
    headers.push("Accept", "*/*");
    let mut out = BytesMut::with_capacity(256);
    // Writing to a BytesMut only fails when memory does. A path holds nothing that could end the line.
    let _ = write!(out, "GET {} HTTP/1.1\r\n", target(url));
    put_rest(&mut out, &headers, &[]);
    out.freeze()
}

/// Path and query, which is what a request line and a hash hold; a fragment stays at home.
pub(super) fn target(url: &Url) -> &str {
    url.path.split('#').next().unwrap_or("/")
}

/// The server as `Host` names it (RFC 9110 section 7.2): without the zone, which only means something here, and
/// without a port that goes without saying.
fn host(url: &Url) -> String {
    let name = url.host.split('%').next().unwrap_or_default();
    let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    match url.effective_port() {
        port if port == url.scheme.default_port() => name,
        port => format!("{name}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_server_and_what_is_wanted() {
        for (url, host, target) in [
            ("http://u:p@h", "h", "/"),
            ("http://h:80/a b?x=1#part", "h", "/a%20b?x=1"),
            ("https://h:8443/\r\nX: y", "h:8443", "/%0D%0AX:%20y"),
            ("https://[fe80::1%25eth0]:443/a", "[fe80::1]", "/a"),
        ] {
            let got = get(&Url::parse_http(url).unwrap(), None, "");
            let expected = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
            assert_eq!(got, expected, "{url}");
        }
        let got = get(&Url::parse_http("http://h").unwrap(), Some("Basic x".into()), "a\r\nb");
        let text = str::from_utf8(&got).unwrap();
        assert!(text.contains("\r\nAuthorization: Basic x\r\nUser-Agent: a"), "{text}");
        assert_eq!(text.lines().count(), 6, "{text}");
    }
}
