//! 401: who may see what, and when it is enough.

use super::super::super::AuthError;
use super::*;

const BASIC: &str = "WWW-Authenticate: Basic realm=\"r\"\r\n";

fn digest(rest: &str) -> String {
    format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"{rest}\r\n")
}

fn unauthorized(challenge: &str) -> Vec<u8> {
    response(
        "401 Unauthorized",
        &format!("Content-Type: text/html\r\n{challenge}"),
        b"<html>\r\n\r\nNo</html>",
    )
}

#[test]
fn challenges_are_answered_on_the_same_connection_when_it_lasts() {
    let md5 = digest(", qop=\"auth\", algorithm=MD5");
    let sha = digest(", qop=\"auth\", algorithm=SHA-256");
    for (challenge, expected) in [
        (BASIC.to_owned(), vec!["Basic dTpwQHNz"]),
        (digest(""), vec!["Digest username=\"u\"", "uri=\"/a?x=1\"", "response="]),
        (format!("{BASIC}{md5}"), vec!["uri=\"/a?x=1\"", "qop=auth", "nc=00000001", "algorithm=MD5"]),
        (format!("{md5}{sha}{BASIC}"), vec!["uri=\"/a?x=1\"", "algorithm=SHA-256"]),
    ] {
        let mut link = Link::to("http://u:p%40ss@h/a?x=1#f");
        link.receive(unauthorized(&challenge));
        assert_eq!((link.sent.len(), link.endpoints.len()), (2, 1), "{challenge}");
        let sent = link.sent_header("Authorization").unwrap();
        assert!(expected.iter().all(|part| sent.contains(part)), "{sent}");
        link.receive(STREAM);
        assert_eq!((link.playing, link.failure), (1, None));
    }
}

/// RFC 7616 section 3.9.1, but for the client's nonce.
#[test]
fn the_hash_is_that_of_the_path_and_query() {
    use crate::rtsp::digest::{Algorithm, Asked, Nonces, Qop};
    use crate::rtsp::message::Method;

    let mut link = Link::to("http://Mufasa:Circle%20of%20Life@www.example.org/dir/index.html");
    link.receive(unauthorized(
        "WWW-Authenticate: Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm=SHA-256, \
         nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\"\r\n",
    ));
    let sent = link.sent_header("Authorization").unwrap();
    let value = |name: &str| {
        let (_, rest) = sent.split_once(&format!(" {name}=\"")).expect(name);
        rest.split('"').next().unwrap()
    };
    let nonces = Nonces {
        nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        cnonce: value("cnonce"),
        qop: Some((Qop::Auth, 1)),
    };
    let secret = Algorithm::SHA_256.secret("Mufasa", "http-auth@example.org", "Circle of Life");
    let asked = Asked { method: &Method::from("GET"), uri: "/dir/index.html", body: b"" };
    assert_eq!(value("response"), Algorithm::SHA_256.response(&secret, nonces, asked));
}

#[test]
fn a_connection_that_does_not_last_is_replaced_for_the_answer() {
    let mut closing = Link::to("http://u:p@h/a");
    closing.receive(unauthorized(&format!("Connection: close\r\n{BASIC}")));
    let mut old = Link::to("http://u:p@h/a");
    old.receive(format!("HTTP/1.0 401 x\r\n{BASIC}\r\n"));
    let mut long = Link::to("http://u:p@h/a");
    long.receive(response("401 x", BASIC, &[b'x'; 100_000]));
    // It ends before the page does, or before it has seen the request.
    let mut cut = Link::to("http://u:p@h/a");
    cut.receive(format!("HTTP/1.1 401 x\r\n{BASIC}Content-Length: 5\r\n\r\nab"));
    cut.close();
    let mut idle = Link::to("http://u:p@h/a");
    idle.receive(unauthorized(BASIC));
    idle.close();
    for (name, mut link) in [("closing", closing), ("old", old), ("long", long), ("cut", cut), ("idle", idle)]
    {
        assert_eq!((link.endpoints.len(), &link.failure), (2, &None), "{name}");
        assert_eq!(link.sent_header("Authorization"), Some("Basic dTpw"), "{name}");
        link.receive(STREAM);
        assert_eq!(link.playing, 1, "{name}");
    }
}

#[test]
fn a_wrong_password_is_tried_once() {
    for challenge in [BASIC.to_owned(), digest("")] {
        let mut link = Link::to("http://u:wrong@h/a");
        link.receive(unauthorized(&challenge));
        link.receive(unauthorized(&challenge));
        assert_eq!(link.failure, Some(Failure::Unauthorized(AuthError::Refused)));
        assert_eq!(link.sent.len(), 2);
    }
    // Also when every answer ends the connection.
    let mut link = Link::to("http://u:wrong@h/a");
    for _ in 0..2 {
        link.receive(format!("HTTP/1.0 401 x\r\n{}\r\n", digest(", stale=false")));
    }
    assert_eq!(link.failure, Some(Failure::Unauthorized(AuthError::Refused)));
    assert_eq!(link.endpoints.len(), 2);
}

#[test]
fn a_server_for_which_every_nonce_is_stale_does_not_keep_the_client_busy() {
    let mut link = Link::to("http://u:p@h/a");
    for count in 0..10 {
        link.receive(unauthorized(&format!(
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"{count}\", stale=true\r\n"
        )));
    }
    assert_eq!(link.failure, Some(Failure::Unauthorized(AuthError::Refused)));
    assert_eq!(link.sent.len(), 3);
}

#[test]
fn what_cannot_be_answered_is_said() {
    let mut link = Link::to("http://h/a");
    link.receive(unauthorized(BASIC));
    assert_eq!(link.failure, Some(Failure::Unauthorized(AuthError::NoCredentials)));
    for challenge in ["WWW-Authenticate: Bearer x\r\n", ""] {
        let mut link = Link::to("http://u:p@h/a");
        link.receive(unauthorized(challenge));
        assert_eq!(link.failure, Some(Failure::Unauthorized(AuthError::UnknownScheme)));
    }
}

#[test]
fn credentials_of_the_configuration_win_over_those_of_the_url() {
    let credentials = Some(super::super::super::Credentials { user: "a".into(), password: "b".into() });
    let mut link = Link::new(MjpegConfig { credentials, ..config("http://u:p@h/a") });
    link.receive(unauthorized(BASIC));
    assert_eq!(link.sent_header("Authorization"), Some("Basic YTpi"));
}
