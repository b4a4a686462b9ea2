//! Where a server sends the client, and what it may take along.

use super::super::super::AuthError;
use super::*;

fn redirect(location: &str) -> Vec<u8> {
    response("302 Found", &format!("Location: {location}\r\n"), b"moved")
}

/// Host, port and request line behind a redirect.
fn behind(url: &str, location: &str) -> (String, u16, String) {
    let mut link = Link::to(url);
    link.receive(redirect(location));
    assert_eq!((link.endpoints.len(), &link.failure), (2, &None), "{location}");
    let endpoint = link.endpoints.pop().unwrap();
    assert_eq!(endpoint.scheme, link.client.url().scheme);
    (endpoint.host, endpoint.port, link.sent.pop().unwrap().lines().next().unwrap().to_owned())
}

#[test]
fn every_kind_of_location_is_followed() {
    for (location, host, port, target) in [
        ("http://other:81/b", "other", 81, "/b"),
        ("https://other", "other", 443, "/"),
        ("//other/b", "other", 80, "/b"),
        ("/b?next=http://x/", "h", 8080, "/b?next=http://x/"),
        ("b c", "h", 8080, "/d/b%20c"),
        ("?y=2", "h", 8080, "/d/a?y=2"),
        ("../b/./c/..", "h", 8080, "/b/"),
        ("../../../b", "h", 8080, "/b"),
    ] {
        let got = behind("http://h:8080/d/a?x=/1", location);
        assert_eq!(got, (host.to_owned(), port, format!("GET {target} HTTP/1.1")), "{location}");
    }
}

#[test]
fn redirects_end() {
    let mut link = Link::to("http://h/a");
    for count in 0..6 {
        link.receive(redirect(&format!("/{count}")));
    }
    assert_eq!((link.failure, link.sent.len()), (Some(Failure::TooManyRedirects), 6));
    for location in ["rtsp://h/a", "ftp://h/a", "http:///a", "http://h:x/"] {
        let mut link = Link::to("http://h/a");
        link.receive(redirect(location));
        assert_eq!(link.failure, Some(Failure::Redirect), "{location}");
    }
    let mut link = Link::to("http://h/a");
    link.receive("HTTP/1.1 301 x\r\n\r\n");
    assert_eq!(link.failure, Some(Failure::Redirect));
}

#[test]
fn another_server_sees_a_hash_but_never_the_password() {
    let basic = response("401 x", "WWW-Authenticate: Basic realm=\"r\"\r\n", b"");
    let digest = response("401 x", "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n", b"");
    for location in ["http://other/", "https://h:444/", "http://h:81/"] {
        let mut link = Link::to("http://u:p@h/a");
        link.receive(redirect(location));
        link.receive(&basic);
        assert_eq!(link.failure, Some(Failure::Unauthorized(AuthError::Exposed)), "{location}");
        assert!(link.sent.iter().all(|sent| !sent.contains("Authorization")));
        let mut link = Link::to("http://u:p@h/a");
        link.receive(redirect(location));
        link.receive(&digest);
        assert!(link.sent_header("Authorization").unwrap().starts_with("Digest "), "{location}");
    }
    // From TLS to clear text.
    let mut link = Link::to("https://u:p@h/a");
    link.receive(redirect("http://h/a"));
    link.receive(&basic);
    assert_eq!(link.failure, Some(Failure::Unauthorized(AuthError::Exposed)));
}

#[test]
fn the_same_server_behind_tls_may_see_the_password_and_a_url_brings_its_own() {
    let basic = response("401 x", "WWW-Authenticate: Basic realm=\"r\"\r\n", b"");
    for (location, expected) in [("https://h/a", "Basic dTpw"), ("http://a:b@other/", "Basic YTpi")] {
        let mut link = Link::to("http://u:p@h/a");
        link.receive(redirect(location));
        assert_eq!(link.sent_header("Authorization"), None);
        link.receive(&basic);
        assert_eq!(link.sent_header("Authorization"), Some(expected), "{location}");
    }
}
