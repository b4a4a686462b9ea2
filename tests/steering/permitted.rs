//! Who may use the API, and who may not.

use super::{Answer, PATIENCE, curl, exchange, http, server};
use crate::judge::run;
use crate::server::{Backend, on_both_backends};

const STATS: &str = "/api/v1/stats";

fn user(name: &str, permissions: &str) -> String {
    format!("<user><username>{name}</username><password>pass-of-{name}</password>{permissions}</user>")
}

fn with_users(backend: Backend) -> crate::server::Builder {
    let users = [
        ("root", ""),
        ("ann", "<permission>admin</permission>"),
        ("bob", "<permission>play, publish</permission>"),
    ];
    let users = users.map(|(name, permissions)| user(name, permissions)).concat();
    server(backend).tls("p256-cert.pem", "p256-key.pem").setting("need_auth", 1).xml(&users)
}

fn only_users_with_the_permission_admin_get_in_where_passwords_are_asked_for(backend: Backend) {
    let server = with_users(backend).setting("ban_after", 0).start();
    let secure = format!("https://{}", server.https_address());
    let plain = format!("http://{}", server.http_address());
    let digest =
        |name: &str| curl(&format!("{plain}{STATS}"), &["--digest", "-u", &format!("{name}:pass-of-{name}")]);
    let basic = |door: &str, login: &str| curl(&format!("{door}{STATS}"), &["--basic", "-u", login]);
    for path in [STATS, "/metrics", "/api/v1/openapi.json", "/api/v1/nothing"] {
        curl(&format!("{plain}{path}"), &[]).expect_problem(401, "permission admin");
    }
    digest("root").expect(200);
    digest("ann").expect(200);
    digest("bob").expect_problem(403, "needs the permission admin");
    basic(&secure, "ann:pass-of-ann").expect(200);
    basic(&secure, "bob:pass-of-bob").expect(403);
    basic(&secure, "ann:wrong").expect_problem(401, "wrong");
    basic(&secure, "nobody:pass-of-ann").expect(401);
    basic(&plain, "ann:pass-of-ann").expect_problem(401, "permission admin");
    let challenge = curl(&format!("{plain}{STATS}"), &["-i"]).body;
    assert!(challenge.contains("www-authenticate: Digest realm=\"rtspserver\""), "{challenge}");
    assert!(!challenge.contains("Basic"), "{challenge}");
    assert!(curl(&format!("{secure}{STATS}"), &["-i"]).body.contains("www-authenticate: Basic"));
    // What only says that the server is there is for everybody.
    curl(&format!("{plain}/healthz"), &[]).expect(200);
    curl(&format!("{plain}/readyz"), &[]).expect(200);
}

fn who_guesses_passwords_of_the_api_is_banned_as_with_rtsp(backend: Backend) {
    let server = with_users(backend).setting("ban_after", 2).start();
    let guess = |word: &str| curl(&http(&server, STATS), &["--digest", "-u", &format!("ann:{word}")]);
    guess("one").expect(401);
    guess("two").expect(401);
    server.wait_for_log("banned: too many wrong passwords", PATIENCE);
    assert!(std::net::TcpStream::connect(server.http_address()).is_ok_and(|mut stream| {
        use std::io::{Read, Write};
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n");
        !matches!(stream.read(&mut [0]), Ok(1..))
    }));
}

/// Asks as a client of another machine would, by a proxy that says so.
fn from_afar(server: &crate::server::Server, request: &str) -> String {
    let preface = "PROXY TCP4 192.0.2.7 127.0.0.1 1234 8080\r\n";
    exchange(server.http_address(), format!("{preface}{request}").as_bytes())
}

fn without_passwords_only_this_machine_may_ask_and_no_page_may_by_a_name_of_its_own(backend: Backend) {
    let server = server(backend).setting("proxy_protocol", "127.0.0.1").start();
    let ask = |peer: &str, method: &str, path: &str, headers: &str| {
        let preface = format!("PROXY TCP4 {peer} 127.0.0.1 1234 8080\r\n");
        let request = format!("{preface}{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        exchange(server.http_address(), request.as_bytes())
    };
    let is = |answer: String, status: &str| {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}")
    };
    is(ask("127.0.0.1", "GET", STATS, "Host: localhost:8080\r\n"), "200");
    is(ask("127.0.0.1", "GET", STATS, "Host: 127.0.0.1\r\n"), "200");
    is(ask("127.0.0.1", "GET", STATS, "Host: evil.example\r\n"), "403");
    is(ask("192.0.2.7", "GET", STATS, "Host: 127.0.0.1\r\n"), "403");
    is(ask("192.0.2.7", "GET", "/metrics", "Host: 127.0.0.1\r\n"), "403");
    is(ask("192.0.2.7", "GET", "/healthz", "Host: a.example\r\n"), "200");
    let kick = "/api/v1/sessions/0123456789ABCDEF";
    is(ask("127.0.0.1", "DELETE", kick, "Host: localhost\r\n"), "404");
    is(ask("127.0.0.1", "DELETE", kick, "Host: localhost\r\nOrigin: http://localhost\r\n"), "404");
    is(ask("127.0.0.1", "DELETE", kick, "Host: localhost\r\nOrigin: https://evil.example\r\n"), "403");
    is(ask("127.0.0.1", "DELETE", kick, "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n"), "403");
    is(
        ask(
            "127.0.0.1",
            "POST",
            "/api/v1/config/check",
            "Host: localhost\r\nOrigin: null\r\nContent-Length: 0\r\n",
        ),
        "403",
    );
}

fn the_setting_api_opens_and_closes_it(backend: Backend) {
    let proxied = |api: &str| server(backend).setting("proxy_protocol", "127.0.0.1").setting("api", api);
    let open = proxied("on").start();
    let afar = |host: &str, method: &str, headers: &str| {
        let request =
            format!("{method} {STATS} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        from_afar(&open, &request)
    };
    let own = run("uname", &["-n".into()], PATIENCE).unwrap().stdout;
    let own = String::from_utf8(own).unwrap().trim().to_owned();
    for host in ["192.0.2.1:8080", "[2001:db8::1]:8080", "localhost", &own, &format!("{own}.local:8080")] {
        let answer = afar(host, "GET", "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
        let by_page = format!("Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n");
        let answer = afar(host, "POST", &by_page);
        assert!(answer.starts_with("HTTP/1.1 405 "), "{host}: {answer}");
    }
    // A page whose name was made to lead here, by whoever has it, is of the same origin as far as browsers see.
    for (method, headers) in [
        ("GET", ""),
        ("POST", "Origin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n"),
        ("DELETE", "Origin: http://evil.example\r\n"),
    ] {
        let answer = afar("evil.example", method, headers);
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("by localhost"), "{method}: {answer}");
    }
    let closed = server(backend).setting("api", "off").start();
    let ask = |path: &str| -> Answer { curl(&http(&closed, path), &[]) };
    ask(STATS).expect_problem(403, "api is off");
    ask("/metrics").expect_problem(403, "api is off");
    ask("/healthz").expect(200);
    // With passwords for it alone, viewers are not asked.
    let asking = server(backend).setting("api", "auth").xml(&user("ann", "")).start();
    curl(&http(&asking, STATS), &[]).expect(401);
    curl(&http(&asking, STATS), &["--digest", "-u", "ann:pass-of-ann"]).expect(200);
    let mut client = crate::client::Client::connect(asking.address());
    client.request("DESCRIBE", &asking.url("/test"), &[]).expect(200);
    let wrong = server(backend).setting("api", "auth").run_to_end(PATIENCE);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.output.contains("auth without a <user>; allowed: off, local, on"), "{}", wrong.output);
}

on_both_backends!(
    who_guesses_passwords_of_the_api_is_banned_as_with_rtsp,
    without_passwords_only_this_machine_may_ask_and_no_page_may_by_a_name_of_its_own,
    the_setting_api_opens_and_closes_it;
    "tls":
    only_users_with_the_permission_admin_get_in_where_passwords_are_asked_for,
);
