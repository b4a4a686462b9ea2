//! Who asks: passwords of every kind, in the URL and beside it, and never in the log.

use super::{PATIENCE, describe, of, pulling, see, watch};
use crate::client::viewer::Over;
use crate::server::{Backend, Server, on_both_backends};
use crate::upstream::camera::{Camera, Reply, Request, Script};
use crate::upstream::digest::Lock;

/// A camera that lets in who opens one of the locks, and asks for all of them.
fn locked(locks: &'static [Lock], user: &'static str, password: &'static str) -> Camera {
    Camera::start(Script::answering(move |request| {
        // Some cameras tell what they can do before they ask who it is.
        match request.method == "OPTIONS" || locks.iter().any(|lock| lock.is_opened(request, user, password))
        {
            true => Reply::Usual,
            false => Reply::With(401, locks.iter().map(|lock| lock.challenge()).collect()),
        }
    }))
}

/// The camera's URL with something before the host.
fn with_userinfo(camera: &Camera, userinfo: &str) -> String {
    camera.url().replace("rtsp://", &format!("rtsp://{userinfo}@"))
}

fn every_scheme_is_answered_and_the_best_is_chosen(backend: Backend) {
    let cases: [(&'static [Lock], &str); 4] = [
        (&[Lock::Basic], "Basic "),
        (&[Lock::Md5], "Digest "),
        (&[Lock::Sha256], "Digest "),
        (&[Lock::Basic, Lock::Md5, Lock::Sha256], "algorithm=SHA-256"),
    ];
    for (locks, shown) in cases {
        let camera = locked(locks, "admin", "secret-12");
        let server = of(backend, &camera, &[("user", "admin"), ("pass", "secret-12")]);
        see(&mut watch(&server, Over::Tcp), 3);
        let given = camera.asked("PLAY")[0].header("Authorization").unwrap().to_owned();
        assert!(given.contains(shown), "{locks:?}: {given}");
        // Asked once, told unasked from then on.
        assert_eq!((camera.asked("DESCRIBE").len(), camera.asked("SETUP").len()), (2, 2), "{locks:?}");
        assert!(!server.log().contains("secret-12"), "{locks:?}");
    }
}

/// Passwords as people have them.
const ODD: &[&str] = &["p@ss:w/rd#1?x=%41&y", "a b\"c\\d<e>", "päß wört", "100%", "'; drop", ""];

/// Percent-encodes all that is no letter or digit.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn odd_passwords_open_in_the_url_and_beside_it(backend: Backend) {
    for &password in ODD {
        let camera = locked(&[Lock::Md5], "us@er", password);
        let in_url = with_userinfo(&camera, &format!("us%40er:{}", encoded(password)));
        // An empty node is none: a user alone.
        let server = Server::with(backend)
            .proxy("beside", &camera.url(), &[("user", "us@er"), ("pass", password)])
            .proxy("within", &in_url, &[])
            .proxy("both", &with_userinfo(&camera, "other:wrong"), &[("user", "us@er"), ("pass", password)])
            .start();
        for path in ["/beside", "/within", "/both"] {
            let mut client = crate::client::Client::connect(server.address());
            let answer = client.request("DESCRIBE", &server.url(path), &[]);
            assert_eq!(answer.status, 200, "{password:?} {path}: {}", answer.text());
        }
        if password.len() > 4 {
            assert!(!server.log().contains(password) && !server.log().contains(&encoded(password)));
        }
        assert!(!server.log().contains("wrong"), "{}", server.log());
    }
}

fn a_password_that_stands_in_the_url_as_it_is_opens(backend: Backend) {
    for password in ["p@ss", "p#ss?x", "p/s@s", "100%"] {
        let camera = locked(&[Lock::Basic], "admin", password);
        let server = pulling(backend, &with_userinfo(&camera, &format!("admin:{password}")), &[]).start();
        let answer = describe(&server);
        assert_eq!(answer.status, 200, "{password}: {}", answer.text());
    }
}

fn a_wrong_password_is_told_at_once_and_not_shown(backend: Backend) {
    let began = std::time::Instant::now();
    for (nodes, reason) in [
        (&[("user", "admin"), ("pass", "not-this-one")][..], "the server refuses this user and password"),
        (&[][..], "the server asks for a user and password, and none is given"),
    ] {
        let camera = locked(&[Lock::Md5, Lock::Basic], "admin", "secret-12");
        let server = pulling(backend, &camera.url(), nodes).setting("source_start_ms", 60_000).start();
        let answer = describe(&server).expect(503);
        assert!(answer.text().contains(reason), "{}", answer.text());
        server.wait_for_log(reason, PATIENCE);
        assert!(!server.log().contains("not-this-one"), "{}", server.log());
        assert!(camera.asked("DESCRIBE").len() <= 2, "a wrong password is tried once");
    }
    assert!(began.elapsed() < PATIENCE * 2, "nobody has waited for a minute");
}

fn a_new_nonce_is_taken_while_a_session_runs(backend: Backend) {
    // A camera whose nonces hold for one answer each.
    let stale = |request: &Request| {
        let given = request.header("Authorization").unwrap_or_default();
        let nonce =
            format!("n{}", request.header("CSeq").unwrap_or_default().parse::<u32>().unwrap_or(0) / 2);
        match given.contains(&format!("nonce=\"{nonce}\"")) {
            true => Reply::Usual,
            false => {
                let next: u32 = request.header("CSeq").and_then(|cseq| cseq.parse().ok()).unwrap_or(0) + 1;
                let challenge = format!("Digest realm=\"r\", nonce=\"n{}\", stale=TRUE", next / 2);
                Reply::With(401, format!("WWW-Authenticate: {challenge}\r\n"))
            }
        }
    };
    let camera = Camera::start(Script { timeout: Some(2), ..Script::answering(stale) });
    let server = of(backend, &camera, &[("user", "admin"), ("pass", "secret-12")]);
    see(&mut watch(&server, Over::Tcp), 60);
    assert_eq!(camera.connections(), 1);
}

on_both_backends!(
    every_scheme_is_answered_and_the_best_is_chosen,
    odd_passwords_open_in_the_url_and_beside_it,
    a_password_that_stands_in_the_url_as_it_is_opens,
    a_wrong_password_is_told_at_once_and_not_shown,
    a_new_nonce_is_taken_while_a_session_runs,
);
