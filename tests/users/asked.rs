//! The dialogue: what is asked of whom, what is taken for an answer, and for how long.

use std::time::{Duration, Instant};

use super::{FILE, PASSWORD, PATIENCE, USER, asking, logging_in};
use crate::client::login::{Login, challenges, is_stale};
use crate::client::publisher::{Publisher, SDP};
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::client::{Client, Message};
use crate::server::{Backend, Server, on_both_backends};
use crate::upstream::digest::Lock;

const TCP: (&str, &str) = ("Transport", "RTP/AVP/TCP;unicast");

fn everything_but_options_is_asked_and_a_first_request_is_no_failure(backend: Backend) {
    let server = asking(backend).start();
    let mut client = Client::connect(server.address());
    let url = server.url(FILE);
    client.request("OPTIONS", &url, &[]).expect(200);
    client.request("OPTIONS", "*", &[]).expect(200);
    // A sign of life of a connection that has no session is nobody's.
    client.request("GET_PARAMETER", &url, &[]).expect(200);
    for _ in 0..5 {
        for method in ["DESCRIBE", "SETUP", "PLAY", "RECORD"] {
            let answer = client.request(method, &url, &[TCP]).expect(401);
            let challenges = challenges(&answer);
            assert_eq!(challenges.len(), 1, "{answer:?}");
            assert!(challenges[0].starts_with("Digest realm=\"rtspserver\", nonce=\""), "{challenges:?}");
            assert!(!is_stale(&answer));
        }
    }
    // What is there is not told.
    client.request("DESCRIBE", &server.url("/nowhere"), &[]).expect(401);
    Publisher::announce_on(&mut client, &server.url("/live"), SDP).expect(401);
    let basic = ("Authorization", "Basic YWRtaW46c2VjcmV0LTEy");
    client.request("DESCRIBE", &url, &[basic]).expect(401);
    client.request("BREW", &url, &[]).expect(501);
    assert_eq!(server.lines("log-in failed"), 0);
}

fn who_knows_the_password_watches_and_publishes(backend: Backend) {
    let server = asking(backend).start();
    for over in BOTH {
        for is_counted in [false, true] {
            let mut client = logging_in(&server, FILE, USER, PASSWORD);
            if is_counted {
                client.login = client.login.map(Login::counted);
            }
            let mut viewer = Viewer::describe_on(client, &server.url(FILE), over).set_up();
            viewer.play(&[]);
            assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 20));
            viewer.pause();
            viewer.play(&[]);
            viewer.teardown();
        }
        let url = server.url("/live/cam");
        let mut client = logging_in(&server, "/live/cam", USER, PASSWORD);
        Publisher::announce_on(&mut client, &url, SDP).expect(200);
        let mut publisher = Publisher::of(client, &url, over);
        publisher.setup(96);
        publisher.setup(8);
        publisher.client.request("RECORD", &url, &[]).expect(200);
        publisher.picture(0, true);
        let client = logging_in(&server, "/live/cam", USER, PASSWORD);
        Viewer::describe_on(client, &url, over).set_up().play(&[]);
        publisher.client.request("TEARDOWN", &url, &[]).expect(200);
    }
    assert_eq!(server.lines("log-in failed"), 0);
    assert!(server.lines("user=\"admin\" url=") >= 6, "the log says whose session it is");
}

fn a_wrong_answer_is_kept_back_told_and_closed_behind_and_delays_nobody_else(backend: Backend) {
    let server = asking(backend).shards(1).start();
    let url = server.url(FILE);
    for (count, user, password) in [(1, USER, "secret-13"), (2, USER, ""), (3, "no\\\\bo\\\"dy", PASSWORD)] {
        let mut client = logging_in(&server, FILE, user, password);
        let began = Instant::now();
        client.ask("DESCRIBE", &url, &[]);
        client.ask("OPTIONS", &url, &[]);
        // Others are served meanwhile, right answers too.
        let mut other = logging_in(&server, FILE, USER, PASSWORD);
        other.request("DESCRIBE", &url, &[]).expect(200);
        let Some(Message::Response(answer)) = client.next(PATIENCE) else { panic!("no answer") };
        assert!(
            began.elapsed() >= Duration::from_millis(200 << (count - 1)),
            "{count}: {:?}",
            began.elapsed()
        );
        assert_eq!(answer.status, 401);
        assert!(!is_stale(&answer) && challenges(&answer).len() == 1);
        assert_eq!(client.next(PATIENCE), Some(Message::Closed));
        server.wait_for_log("log-in failed", PATIENCE);
    }
    let log = server.log();
    assert!(log.contains("user=\"admin\" method=DESCRIBE path=/h264_aac.mp4"), "{log}");
    assert!(log.contains(r#"user="no\\bo\"dy""#), "{log}");
    assert!(!log.contains("secret-1"), "{log}");
}

fn an_answer_that_was_counted_is_refused_and_a_new_nonce_goes_on(backend: Backend) {
    let server = asking(backend).start();
    let url = server.url(FILE);
    let mut client = logging_in(&server, FILE, USER, PASSWORD);
    let mut login = client.login.take().unwrap().counted();
    let first = login.authorization("DESCRIBE", &url);
    let second = login.authorization("DESCRIBE", &url);
    client.request("DESCRIBE", &url, &[("Authorization", &first)]).expect(200);
    let answer = client.request("DESCRIBE", &url, &[("Authorization", &first)]);
    assert!(is_stale(&answer), "{answer:?}");
    // Somebody has overheard it, or kept it back, and asks on a connection of their own.
    for overheard in [&first, &second] {
        let answer =
            Client::connect(server.address()).request("DESCRIBE", &url, &[("Authorization", overheard)]);
        assert!(is_stale(&answer), "{answer:?}");
    }
    client.request("DESCRIBE", &url, &[("Authorization", &second)]).expect(200);
    client.login = Some(Login::to(&answer, Lock::Md5, USER, PASSWORD).counted());
    client.request("DESCRIBE", &url, &[]).expect(200);
    assert_eq!(server.lines("log-in failed"), 0, "who answers so knew the password");
}

fn without_a_count_an_answer_holds_on_other_connections_too(backend: Backend) {
    let server = asking(backend).start();
    let url = server.url(FILE);
    let mut client = logging_in(&server, FILE, USER, PASSWORD);
    client.request("DESCRIBE", &url, &[]).expect(200);
    // Shards share the key of nonces.
    for _ in 0..8 {
        let mut other = Client::connect(server.address());
        other.login = client.login.clone();
        other.request("DESCRIBE", &url, &[]).expect(200);
    }
}

fn a_nonce_of_an_earlier_start_is_stale_and_no_failure(backend: Backend) {
    let login = logging_in(&asking(backend).start(), FILE, USER, PASSWORD).login;
    let server = asking(backend).start();
    let mut client = Client::connect(server.address());
    client.login = login;
    let answer = client.request("DESCRIBE", &server.url(FILE), &[]);
    assert!(is_stale(&answer), "{answer:?}");
    client.login = Some(Login::to(&answer, Lock::Md5, USER, PASSWORD));
    client.request("DESCRIBE", &server.url(FILE), &[]).expect(200);
    assert_eq!(server.lines("log-in failed"), 0);
}

fn the_url_may_be_spelled_otherwise_and_must_be_meant(backend: Backend) {
    let server = asking(backend).start();
    let url = server.url(FILE);
    let mut client = logging_in(&server, FILE, USER, PASSWORD);
    client.request("DESCRIBE", &url, &[]).expect(200);
    for uri in
        [format!("{url}/"), FILE.to_owned(), url.replace("127.0.0.1", "camera"), format!("{url}/trackID=1")]
    {
        client.login.as_mut().unwrap().uri = Some(uri.clone());
        let answer = client.request("SETUP", &format!("{url}/trackID=0"), &[TCP]);
        assert_eq!(answer.status, 200, "{uri}");
        client.session = answer.session().map(str::to_owned);
        client.request("TEARDOWN", &url, &[]).expect(200);
        client.session = None;
    }
    client.login.as_mut().unwrap().uri = Some(server.url("/other.mp4"));
    client.request("SETUP", &format!("{url}/trackID=0"), &[TCP]).expect(401);
}

/// A viewer over UDP, and its session.
fn watching(server: &Server, user: &str, password: &str) -> (Viewer, String) {
    let client = logging_in(server, FILE, user, password);
    let mut viewer = Viewer::describe_on(client, &server.url(FILE), Over::Udp).set_up();
    viewer.play(&[]);
    let session = viewer.client.session.clone().unwrap();
    (viewer, session)
}

fn what_keeps_or_ends_a_session_of_its_own_connection_needs_no_fresh_answer(backend: Backend) {
    let server = asking(backend).start();
    let (mut viewer, _) = watching(&server, USER, PASSWORD);
    let login = viewer.client.login.take();
    let url = server.url(FILE);
    for method in ["OPTIONS", "GET_PARAMETER", "SET_PARAMETER", "PAUSE"] {
        viewer.client.request(method, &url, &[]).expect(200);
    }
    viewer.client.request("PLAY", &url, &[]).expect(401);
    viewer.client.login = login;
    viewer.client.request("PLAY", &url, &[]).expect(200);
    viewer.client.login = None;
    viewer.client.request("TEARDOWN", &url, &[]).expect(200);
}

fn a_session_is_its_users_on_whatever_connection_and_shard(backend: Backend) {
    let server = asking(backend).xml(&super::user("other", "o", &[])).shards(3).start();
    let url = server.url(FILE);
    // Which shard a connection comes to is the kernel's choice: some of these must move.
    for _ in 0..8 {
        let (mut viewer, session) = watching(&server, USER, PASSWORD);
        let login = viewer.client.login.take();
        let mut stranger = Client::connect(server.address());
        stranger.session = Some(session.clone());
        for method in ["PLAY", "PAUSE", "OPTIONS", "GET_PARAMETER", "TEARDOWN"] {
            stranger.request(method, &url, &[]).expect(401);
        }
        let mut other = logging_in(&server, FILE, "other", "o");
        other.session = Some(session.clone());
        for method in ["PLAY", "PAUSE", "GET_PARAMETER", "TEARDOWN"] {
            other.request(method, &url, &[]).expect(454);
        }
        drop(viewer);
        let mut own = Client::connect(server.address());
        own.session = Some(session);
        own.login = login;
        own.request("PAUSE", &url, &[]).expect(200);
        own.request("PLAY", &url, &[]).expect(200);
        own.login = None;
        own.request("GET_PARAMETER", &url, &[]).expect(200);
        own.request("TEARDOWN", &url, &[]).expect(200);
    }
}

fn a_count_goes_on_when_its_connection_moves_to_another_shard(backend: Backend) {
    let server = asking(backend).shards(3).start();
    let url = server.url(FILE);
    for _ in 0..8 {
        let (viewer, session) = watching(&server, USER, PASSWORD);
        let mut own = logging_in(&server, FILE, USER, PASSWORD);
        own.login = own.login.map(Login::counted);
        own.request("DESCRIBE", &url, &[]).expect(200);
        own.session = Some(session);
        own.request("PLAY", &url, &[]).expect(200);
        own.request("TEARDOWN", &url, &[]).expect(200);
        drop(viewer);
    }
}

fn other_algorithms_are_offered_in_the_order_of_the_setting(backend: Backend) {
    for (setting, offered) in [
        ("SHA-256", &[Lock::Sha256][..]),
        ("SHA-256, MD5", &[Lock::Sha256, Lock::Md5]),
        ("md5 sha-256", &[Lock::Md5, Lock::Sha256]),
    ] {
        let server = asking(backend).setting("auth_algorithm", setting).setting("realm", "gate ä").start();
        let url = server.url(FILE);
        let mut client = Client::connect(server.address());
        let answer = client.request("DESCRIBE", &url, &[]).expect(401);
        let found: Vec<_> = challenges(&answer)
            .iter()
            .map(|value| if value.contains("algorithm=SHA-256") { Lock::Sha256 } else { Lock::Md5 })
            .collect();
        assert_eq!(found, offered, "{setting}");
        for lock in offered {
            client.login = Some(Login::to(&answer, *lock, USER, PASSWORD));
            client.request("DESCRIBE", &url, &[]).expect(200);
            let mut wrong = Client::connect(server.address());
            wrong.login = Some(Login::to(&answer, *lock, USER, "wrong"));
            wrong.request("DESCRIBE", &url, &[]).expect(401);
        }
        server.wait_for_lines("log-in failed", offered.len());
    }
}

fn passwords_as_they_are_are_taken_only_where_the_setting_says_so(backend: Backend) {
    let server = asking(backend).setting("auth_basic", 1).start();
    let url = server.url(FILE);
    let mut client = Client::connect(server.address());
    let answer = client.request("DESCRIBE", &url, &[]).expect(401);
    assert_eq!(challenges(&answer).len(), 2, "Digest comes first: {answer:?}");
    assert!(
        challenges(&answer)[0].starts_with("Digest ")
            && challenges(&answer)[1] == "Basic realm=\"rtspserver\""
    );
    client.login = Some(Login::to(&answer, Lock::Basic, USER, PASSWORD));
    Viewer::describe_on(client, &url, Over::Tcp).set_up().play(&[]);
    let mut client = Client::connect(server.address());
    client.login = Some(Login::to(&answer, Lock::Basic, USER, "secret-13"));
    client.request("DESCRIBE", &url, &[]).expect(401);
    assert!(client.is_closed_within(PATIENCE));
    assert!(!server.log().contains("secret-1") && server.lines("log-in failed") == 1);
}

fn a_hash_stands_for_a_password(backend: Backend) {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut program = Command::new(env!("CARGO_BIN_EXE_rtspserver"));
    program.args(["hash-password", "ann", "--realm", "gate"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut program = program.spawn().unwrap();
    program.stdin.take().unwrap().write_all(b"p\xc3\xa4ss w\xc3\xb6rd\n").unwrap();
    let hashes = String::from_utf8(program.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(hashes.lines().count(), 2, "{hashes}");
    let server = Server::with(backend)
        .media(crate::corpus::folder())
        .setting("need_auth", 1)
        .setting("realm", "gate")
        .setting("auth_basic", 1)
        .setting("auth_algorithm", "SHA-256,MD5")
        .xml(&format!("<user><username>ann</username>{hashes}</user>"))
        .start();
    for lock in [Lock::Md5, Lock::Sha256, Lock::Basic] {
        for (password, status) in [("päss wörd", 200), ("pass word", 401)] {
            let mut client = Client::connect(server.address());
            let answer = client.request("DESCRIBE", &server.url(FILE), &[]).expect(401);
            client.login = Some(Login::to(&answer, lock, "ann", password));
            let answer = client.request("DESCRIBE", &server.url(FILE), &[]);
            assert_eq!(answer.status, status, "{lock:?} {password}");
        }
    }
}

on_both_backends!(
    everything_but_options_is_asked_and_a_first_request_is_no_failure;
    "ffmpeg":
    who_knows_the_password_watches_and_publishes,
    a_wrong_answer_is_kept_back_told_and_closed_behind_and_delays_nobody_else,
    an_answer_that_was_counted_is_refused_and_a_new_nonce_goes_on,
    without_a_count_an_answer_holds_on_other_connections_too,
    a_nonce_of_an_earlier_start_is_stale_and_no_failure,
    the_url_may_be_spelled_otherwise_and_must_be_meant,
    what_keeps_or_ends_a_session_of_its_own_connection_needs_no_fresh_answer,
    a_session_is_its_users_on_whatever_connection_and_shard,
    a_count_goes_on_when_its_connection_moves_to_another_shard,
    other_algorithms_are_offered_in_the_order_of_the_setting,
    passwords_as_they_are_are_taken_only_where_the_setting_says_so,
    a_hash_stands_for_a_password,
);
