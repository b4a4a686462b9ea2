//! 401: who may see what, and when it is enough.

use super::*;
use crate::rtsp::digest::{Algorithm, Hash, Qop};
use crate::rtsp::headers::www_authenticate::{Challenge, DigestChallenge};

fn digest(algorithm: Option<Algorithm>, qop: &[Qop], nonce: &str) -> Challenge {
    let (realm, nonce) = ("IP \"Camera\"".to_owned(), nonce.to_owned());
    let opaque = Some("o".to_owned());
    let qop = qop.to_vec();
    Challenge::Digest(DigestChallenge { realm, nonce, opaque, algorithm, qop, ..DigestChallenge::default() })
}

fn basic() -> Challenge {
    Challenge::Basic { realm: "IP Camera".into() }
}

fn locked(challenges: &[Challenge]) -> Camera {
    Camera { challenges: challenges.to_vec(), password: "p@ss/w:rd%", ..Camera::new() }
}

const URL: &str = "rtsp://admin:p%40ss%2Fw%3Ard%25@h/a";

#[test]
fn the_best_challenge_is_answered_once_and_then_unasked() {
    let md5 = digest(Some(Algorithm::MD5), &[Qop::Auth], "n");
    let session = Algorithm { hash: Hash::Md5, session: true };
    for (challenges, expected) in [
        (vec![basic()], "Basic "),
        (vec![basic(), digest(None, &[], "n")], "response="),
        (vec![md5.clone(), basic()], "algorithm=MD5, opaque=\"o\", qop=auth, nc=00000004, cnonce="),
        (vec![digest(Some(session), &[], "n")], "algorithm=MD5-sess, opaque=\"o\", cnonce="),
        (vec![digest(None, &[Qop::AuthInt], "n")], "qop=auth-int, nc=00000004"),
        (vec![md5, digest(Some(Algorithm::SHA_256), &[Qop::Auth], "n"), basic()], "algorithm=SHA-256"),
        (vec![digest(Some(Algorithm::SHA_512_256), &[Qop::Auth], "n")], "algorithm=SHA-512-256"),
    ] {
        let mut link = Link::to(URL);
        link.talk(&mut locked(&challenges));
        assert!(link.is_playing(), "{:?}", link.failure());
        assert_eq!(link.methods(), ["OPTIONS", "OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY"]);
        // The fourth request with the nonce.
        let sent = link.sent[4].headers.get("Authorization").unwrap();
        assert!(sent.contains(expected), "{sent}");
        assert_eq!(sent.contains("qop="), expected.contains("qop=") || expected.contains("SHA"), "{sent}");
    }
}

#[test]
fn a_wrong_password_is_tried_once() {
    for challenge in [basic(), digest(None, &[], "n")] {
        let mut link = Link::to("rtsp://admin:wrong@h/a");
        link.talk(&mut locked(&[challenge]));
        assert_eq!(link.failure(), Some(Failure::Unauthorized(AuthError::Refused)));
        assert_eq!(link.sent.len(), 2);
    }
    // Servers give a fresh nonce with every refusal.
    let mut camera = Camera::new();
    camera.special = |request| {
        let challenge = format!("Digest realm=\"r\", nonce=\"{}\"", request.headers.get("CSeq").unwrap());
        Some(Response::new(Status::UNAUTHORIZED).header("WWW-Authenticate", challenge))
    };
    let mut link = Link::to("rtsp://admin:wrong@h/a");
    link.talk(&mut camera);
    assert_eq!(link.failure(), Some(Failure::Unauthorized(AuthError::Refused)));
    assert_eq!(link.sent.len(), 2);

    let mut link = Link::to("rtsp://h/a");
    link.talk(&mut locked(&[basic()]));
    assert_eq!(link.failure(), Some(Failure::Unauthorized(AuthError::NoCredentials)));
    let mut link = Link::to(URL);
    let response = reply(&link.requests()[0], Status::UNAUTHORIZED).header("WWW-Authenticate", "Bearer x");
    link.receive(&response.to_bytes());
    assert_eq!(link.failure(), Some(Failure::Unauthorized(AuthError::UnknownScheme)));
}

#[test]
fn a_stale_nonce_is_renewed_whether_the_server_says_so_or_not() {
    for stale in [true, false] {
        let mut camera = locked(&[digest(None, &[Qop::Auth], "first")]);
        let mut link = Link::to(URL);
        link.talk(&mut camera);
        let Challenge::Digest(first) = camera.challenges[0].clone() else { unreachable!() };
        camera.challenges =
            vec![Challenge::Digest(DigestChallenge { nonce: "second".into(), stale, ..first })];
        let count = link.sent.len();
        link.wait();
        link.talk(&mut camera);
        assert_eq!(link.methods()[count..], ["GET_PARAMETER", "GET_PARAMETER"]);
        let sent = link.sent.last().unwrap().headers.get("Authorization").unwrap();
        assert!(sent.contains("nonce=\"second\"") && sent.contains("nc=00000001"), "{sent}");
        assert_eq!(link.failure(), None);
    }
}

#[test]
fn a_server_for_which_every_nonce_is_stale_does_not_keep_the_client_busy() {
    let mut camera = locked(&[basic()]);
    camera.special = |request| {
        let nonce = request.headers.get("CSeq").unwrap();
        let challenge = format!("Digest realm=\"r\", nonce=\"{nonce}\", stale=true");
        Some(Response::new(Status::UNAUTHORIZED).header("WWW-Authenticate", challenge))
    };
    let mut link = Link::to(URL);
    link.talk(&mut camera);
    assert_eq!(link.failure(), Some(Failure::Unauthorized(AuthError::Refused)));
    assert_eq!(link.sent.len(), 3);
}

#[test]
fn another_server_sees_a_hash_but_never_the_password() {
    fn away(request: &Request) -> Option<Response> {
        let moved = Response::new(Status::MOVED_PERMANENTLY).header("Location", "rtsp://other/b");
        request.uri.starts_with("rtsp://h/").then_some(moved)
    }
    let mut link = Link::to(URL);
    link.talk(&mut Camera { special: away, ..locked(&[basic()]) });
    assert_eq!(link.failure(), Some(Failure::Unauthorized(AuthError::Exposed)));
    assert!(link.sent.iter().all(|request| request.headers.get("Authorization").is_none()));
    let mut link = Link::to(URL);
    link.talk(&mut Camera { special: away, ..locked(&[digest(None, &[], "n")]) });
    assert!(link.is_playing());
}

#[test]
fn credentials_of_the_configuration_win_over_those_of_the_url() {
    let credentials = Some(Credentials { user: "admin".into(), password: "p@ss/w:rd%".into() });
    let mut link = Link::new(Config { credentials, ..config("rtsp://x:y@h/a") });
    link.talk(&mut locked(&[digest(None, &[], "n")]));
    assert!(link.is_playing());
}

#[test]
fn a_server_that_closes_behind_its_challenge_is_answered_on_a_new_connection() {
    let mut camera = locked(&[digest(None, &[], "n")]);
    let mut link = Link::to(URL);
    let request = link.requests().remove(0);
    link.receive(&camera.answer(&request));
    link.requests();
    camera.challenges = vec![digest(None, &[], "of the new connection")];
    link.close();
    link.talk(&mut camera);
    assert_eq!((link.connections, link.is_playing()), (2, true));

    // But only once.
    let mut link = Link::to(URL);
    for _ in 0..2 {
        let request = link.requests().remove(0);
        link.receive(&locked(&[digest(None, &[], link.connections.to_string().as_str())]).answer(&request));
        link.requests();
        link.close();
    }
    assert_eq!((link.connections, link.failure()), (2, Some(Failure::Closed)));
}
