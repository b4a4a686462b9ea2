//! What a guard makes of requests: right ones, wrong ones, old ones, repeated ones, and noise.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rtsp::digest::{Algorithm, Asked, Nonces, Qop};
use crate::rtsp::headers::authorization::{Authorization, DigestAuthorization};
use crate::rtsp::headers::www_authenticate::{Challenge, DigestChallenge};
use crate::rtsp::message::{Headers, Method, Request};
use crate::time::Time;

const URL: &str = "rtsp://192.0.2.1:8554/live/cam";
const NOW: Time = Time::from_millis(5_000);

fn guard_of(algorithms: &[Algorithm], takes_basic: bool) -> Guard {
    let account = |name: &str, password: &str| Account {
        name: name.into(),
        secrets: (algorithms.iter())
            .map(|algorithm| (*algorithm, algorithm.secret(name, "r", password)))
            .collect(),
    };
    let accounts = vec![account("admin", "secret"), account("päß: \"x\\", "p@ss w/ö?")];
    Guard::new("r", algorithms.to_vec(), takes_basic, NonceKey::new([3; 64]), accounts)
}

fn guard() -> Guard {
    guard_of(&[Algorithm::MD5], false)
}

/// The Digest challenges of a guard, as a client reads them.
fn asked(guard: &Guard, now: Time, line: &Line, stale: bool) -> Vec<DigestChallenge> {
    let mut headers = Headers::new();
    guard.challenges(now, line, stale).into_iter().for_each(|value| headers.push("WWW-Authenticate", value));
    let digest = |challenge| if let Challenge::Digest(digest) = challenge { Some(digest) } else { None };
    Challenge::parse_list(&headers).into_iter().filter_map(digest).collect()
}

/// A client with what it knows and how it spells.
#[derive(Clone)]
struct Asker {
    user: &'static str,
    password: &'static str,
    nonce: String,
    algorithm: Option<Algorithm>,
    uri: &'static str,
    count: Option<u32>,
}

impl Asker {
    fn new(guard: &Guard, line: &Line) -> Asker {
        let nonce = asked(guard, NOW, line, false)[0].nonce.clone();
        Asker { user: "admin", password: "secret", nonce, algorithm: None, uri: URL, count: None }
    }

    fn request(&self, method: Method, url: &str) -> Request {
        let algorithm = self.algorithm.unwrap_or(Algorithm::MD5);
        let secret = algorithm.secret(self.user, "r", self.password);
        let qop = self.count.map(|count| (Qop::Auth, count));
        let nonces = Nonces { nonce: &self.nonce, cnonce: if qop.is_some() { "c" } else { "" }, qop };
        let asked = Asked { method: &method, uri: self.uri, body: b"" };
        let digest = DigestAuthorization {
            username: self.user.into(),
            realm: "r".into(),
            nonce: self.nonce.clone(),
            uri: self.uri.into(),
            response: algorithm.response(&secret, nonces, asked),
            algorithm: self.algorithm,
            cnonce: qop.map(|_| "c".into()),
            qop,
            ..DigestAuthorization::default()
        };
        Request::new(method, url).header("Authorization", Authorization::Digest(Box::new(digest)).to_string())
    }

    fn describe(&self) -> Request {
        self.request(Method::Describe, URL)
    }
}

fn wrong(user: &str) -> Verdict {
    Verdict::Wrong { user: user.into() }
}

#[test]
fn who_knows_the_password_is_proven_and_nobody_else() {
    let (guard, mut line) = (guard(), Line::new(1));
    let right = Asker::new(&guard, &line);
    let mut verdict = |asker: &Asker| guard.verify(NOW, &mut line, &asker.describe());
    assert_eq!(verdict(&right), Verdict::Proven(0));
    let odd = Asker { user: "päß: \"x\\", password: "p@ss w/ö?", ..right.clone() };
    assert_eq!(verdict(&odd), Verdict::Proven(1));
    assert_eq!(verdict(&Asker { password: "Secret", ..right.clone() }), wrong("admin"));
    assert_eq!(verdict(&Asker { user: "Admin", ..right.clone() }), wrong("Admin"));
    assert_eq!(verdict(&Asker { user: "", ..right.clone() }), wrong(""));
    // A name that nobody has has no password, not even the one that stands in for it.
    assert_eq!(verdict(&Asker { user: "nobody", password: "-", ..right.clone() }), wrong("nobody"));
    // Another method's answer is none.
    let mut request = right.request(Method::Play, URL);
    request.method = Method::Record;
    assert_eq!(guard.verify(NOW, &mut line, &request), wrong("admin"));
}

#[test]
fn digits_in_capitals_are_digits() {
    let (guard, mut line) = (guard(), Line::new(1));
    let mut request = Asker::new(&guard, &line).describe();
    let value = request.headers.get("Authorization").unwrap().to_owned();
    let response = value.split("response=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    request.headers.set("Authorization", value.replace(&response, &response.to_ascii_uppercase()));
    assert_eq!(guard.verify(NOW, &mut line, &request), Verdict::Proven(0));
}

#[test]
fn nothing_and_what_was_not_asked_for_prove_nothing_and_are_no_failure() {
    let (guard, mut line) = (guard(), Line::new(1));
    let basic = Authorization::Basic { user: "admin".into(), password: "secret".into() }.to_string();
    let sha = Asker { algorithm: Some(Algorithm::SHA_256), ..Asker::new(&guard, &line) }.describe();
    let sha = sha.headers.get("Authorization").unwrap().to_owned();
    let bare = Request::new(Method::Describe, URL);
    assert_eq!(guard.verify(NOW, &mut line, &bare), Verdict::Absent);
    for value in ["", "Digest", "Bearer abc", "Digest username=\"admin\"", &basic, &sha] {
        let request = bare.clone().header("Authorization", value);
        assert_eq!(guard.verify(NOW, &mut line, &request), Verdict::Absent, "{value}");
    }
    // Of several headers the one that was asked for counts.
    let mut request = bare.header("Authorization", basic);
    request
        .headers
        .push("Authorization", Asker::new(&guard, &line).describe().headers.get("Authorization").unwrap());
    assert_eq!(guard.verify(NOW, &mut line, &request), Verdict::Proven(0));
}

#[test]
fn basic_is_taken_where_it_was_asked_for() {
    for algorithm in [Algorithm::MD5, Algorithm::SHA_256] {
        let (guard, mut line) = (guard_of(&[algorithm], true), Line::new(1));
        let challenges = guard.challenges(NOW, &line, false);
        assert_eq!(challenges.last().map(String::as_str), Some("Basic realm=\"r\""));
        let mut verdict = |user: &str, password: &str| {
            let basic = Authorization::Basic { user: user.into(), password: password.into() };
            let request = Request::new(Method::Describe, URL).header("Authorization", basic.to_string());
            guard.verify(NOW, &mut line, &request)
        };
        assert_eq!(verdict("admin", "secret"), Verdict::Proven(0));
        assert_eq!(verdict("admin", "secret2"), wrong("admin"));
        assert_eq!(verdict("nobody", "-"), wrong("nobody"));
    }
}

#[test]
fn the_algorithms_are_asked_for_in_order_and_no_others_are_taken() {
    let both = [Algorithm::SHA_256, Algorithm::MD5];
    let (guard, mut line) = (guard_of(&both, false), Line::new(1));
    let challenges = asked(&guard, NOW, &line, false);
    assert_eq!(challenges.iter().map(|c| c.algorithm).collect::<Vec<_>>(), [Some(Algorithm::SHA_256), None]);
    assert!(challenges.iter().all(|c| c.realm == "r" && c.qop == [Qop::Auth] && !c.stale));
    for algorithm in both.map(Some).into_iter().chain([None]) {
        let asker = Asker { algorithm, ..Asker::new(&guard, &line) };
        assert_eq!(guard.verify(NOW, &mut line, &asker.describe()), Verdict::Proven(0), "{algorithm:?}");
    }
    let strict = guard_of(&[Algorithm::SHA_256], false);
    let asker = Asker::new(&strict, &line);
    assert_eq!(strict.verify(NOW, &mut line, &asker.describe()), Verdict::Absent);
}

#[test]
fn the_spelling_of_the_url_is_the_clients() {
    let (guard, mut line) = (guard(), Line::new(1));
    let right = Asker::new(&guard, &line);
    let mut verdict = |uri: &'static str, url: &str| {
        guard.verify(NOW, &mut line, &Asker { uri, ..right.clone() }.request(Method::Setup, url))
    };
    let track = &format!("{URL}/trackID=1");
    for uri in [
        URL,
        "rtsp://192.0.2.1:8554/live/cam/",
        "rtsp://192.0.2.1:8554/live/cam/trackID=1",
        "rtsp://192.0.2.1:8554/live/cam/trackID=0",
        "rtsp://other/live/cam",
        "rtsp://u:p@other/live/cam?t=unicast",
        "/live/cam",
        "live/cam/",
        "/live/c%61m",
    ] {
        assert_eq!(verdict(uri, track), Verdict::Proven(0), "{uri}");
    }
    assert_eq!(verdict(URL, &format!("{URL}/streamid=0")), Verdict::Proven(0));
    assert_eq!(verdict("/live/cam/streamid=0", URL), Verdict::Proven(0));
    for uri in
        ["rtsp://192.0.2.1:8554/live/other", "rtsp://192.0.2.1:8554/live/camera", "/", "*", "", "rtsp://["]
    {
        assert_eq!(verdict(uri, track), wrong("admin"), "{uri}");
    }
}

#[test]
fn an_old_nonce_and_one_of_an_earlier_start_are_stale_if_the_password_is_right() {
    let (guard, mut line) = (guard(), Line::new(1));
    let asker = Asker::new(&guard, &line);
    let later = NOW + NONCE_LIFE;
    assert_eq!(guard.verify(later, &mut line, &asker.describe()), Verdict::Proven(0));
    let later = later + Duration::from_secs(1);
    assert_eq!(guard.verify(later, &mut line, &asker.describe()), Verdict::Stale);
    let guesser = Asker { password: "guess", ..asker.clone() };
    assert_eq!(guard.verify(later, &mut line, &guesser.describe()), wrong("admin"));
    assert!(asked(&guard, later, &line, true)[0].stale);
    for nonce in ["made-up", ""] {
        let foreign = Asker { nonce: nonce.into(), ..asker.clone() };
        let expected = if nonce.is_empty() { Verdict::Absent } else { Verdict::Stale };
        assert_eq!(guard.verify(NOW, &mut line, &foreign.describe()), expected);
    }
}

#[test]
fn a_count_that_was_used_is_refused_on_every_connection() {
    let guard = guard();
    let (mut line, mut other) = (Line::new(1), Line::new(2));
    let first = Asker { count: Some(1), ..Asker::new(&guard, &line) };
    assert_eq!(guard.verify(NOW, &mut line, &first.describe()), Verdict::Proven(0));
    assert_eq!(guard.verify(NOW, &mut line, &first.describe()), Verdict::Stale, "the same again");
    assert_eq!(guard.verify(NOW, &mut other, &first.describe()), Verdict::Stale, "overheard");
    let fifth = Asker { count: Some(5), ..first.clone() };
    assert_eq!(guard.verify(NOW, &mut other, &fifth.describe()), Verdict::Stale, "kept back");
    assert_eq!(guard.verify(NOW, &mut line, &fifth.describe()), Verdict::Proven(0));
    let fourth = Asker { count: Some(4), ..first.clone() };
    assert_eq!(guard.verify(NOW, &mut line, &fourth.describe()), Verdict::Stale);
    assert_eq!(
        guard.verify(NOW, &mut line, &Asker { count: Some(0), ..first.clone() }.describe()),
        Verdict::Stale
    );
    // A newer nonce counts from the start, and the older one is done with.
    let nonce = asked(&guard, NOW + Duration::from_millis(1), &line, true)[0].nonce.clone();
    let renewed = Asker { count: Some(1), nonce, ..first.clone() };
    assert_eq!(guard.verify(NOW, &mut line, &renewed.describe()), Verdict::Proven(0));
    let sixth = Asker { count: Some(6), ..first };
    assert_eq!(guard.verify(NOW, &mut line, &sixth.describe()), Verdict::Stale);
}

#[test]
fn without_a_count_the_nonces_life_is_the_limit() {
    let guard = guard();
    let (mut line, mut other) = (Line::new(1), Line::new(2));
    let asker = Asker::new(&guard, &line);
    for _ in 0..3 {
        assert_eq!(guard.verify(NOW, &mut line, &asker.describe()), Verdict::Proven(0));
        assert_eq!(guard.verify(NOW, &mut other, &asker.describe()), Verdict::Proven(0));
    }
}

#[test]
fn neither_key_nor_passwords_are_shown() {
    let text = format!("{:?}", guard());
    assert!(!text.contains("secret") && !text.contains("03") && !text.contains("admin"), "{text}");
}

proptest! {
    #[test]
    fn no_text_proves_anything(value in "(Digest |Basic |digest username=\"admin\", nonce=\"n\", response=\"r\", )?.{0,80}") {
        let (guard, mut line) = (guard_of(&[Algorithm::MD5, Algorithm::SHA_256], true), Line::new(1));
        let request = Request::new(Method::Describe, URL).header("Authorization", value);
        let verdict = guard.verify(NOW, &mut line, &request);
        prop_assert!(matches!(verdict, Verdict::Absent | Verdict::Wrong { .. }), "{:?}", verdict);
    }

    #[test]
    fn any_parameters_are_judged_without_a_panic(
        username in ".{0,10}", nonce in ".{1,70}", uri in ".{0,30}", response in "[0-9a-fA-F]{0,64}",
        url in ".{0,30}", count in proptest::option::of(any::<u32>()),
    ) {
        let digest = DigestAuthorization {
            username, nonce, uri, response, realm: "r".into(), cnonce: Some(String::new()),
            qop: count.map(|count| (Qop::AuthInt, count)), ..DigestAuthorization::default()
        };
        let value = Authorization::Digest(Box::new(digest)).to_string();
        let request = Request::new(Method::Play, url).header("Authorization", value);
        let verdict = guard().verify(NOW, &mut Line::new(1), &request);
        prop_assert!(matches!(verdict, Verdict::Absent | Verdict::Wrong { .. }), "{:?}", verdict);
    }
}
