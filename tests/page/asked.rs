//! Passwords: the page is useful to everybody, and whoever logs in sees and plays what is permitted.

use super::{listen, look, page, server};
use crate::browser::Browser;
use crate::judge::Turn;
use crate::server::{Backend, Builder, on_both_backends};

fn with_users(backend: Backend) -> Builder {
    let user = |name: &str, permissions: &str| {
        format!("<user><username>{name}</username><password>pass-of-{name}</password>{permissions}</user>")
    };
    let users = user("ann", "") + &user("bob", "<permission>play</permission>");
    server(backend).setting("need_auth", 1).setting("api", "auth").setting("ban_after", 0).xml(&users)
}

fn log_in(browser: &mut Browser, name: &str, password: &str) {
    browser.click("#log-in");
    browser.fill("dialog [name=user]", name);
    browser.fill("dialog [name=password]", password);
    browser.click("dialog .primary");
}

fn who_logs_in_sees_the_list_and_plays(backend: Backend) {
    let _turn = Turn::wait();
    for algorithm in ["MD5", "SHA-256"] {
        let server = with_users(backend).setting("auth_algorithm", algorithm).start();
        let mut browser = Browser::start();
        browser.open(&page(&server, ""));
        browser.wait_for("/users with the permission admin/.test(document.body.innerText)");
        log_in(&mut browser, "ann", "wrong");
        browser.wait_for("/password is wrong/.test(document.querySelector('dialog').innerText)");
        browser.picture(&format!("log-in-{}", backend.name()));
        browser.fill("dialog [name=password]", "pass-of-ann");
        browser.click("dialog .primary");
        browser.wait_for("document.querySelector('[data-path=\"av1.mkv\"] img').naturalWidth > 0");
        browser.click("[data-path=\"h264_aac.mp4\"] a.still");
        let shown = look(&mut browser);
        assert!(shown.pictures >= 15, "{shown:?}");
        listen(&mut browser);
        browser.ask("location.hash = '#/server'");
        browser.wait_for("/up \\d/.test(document.querySelector('#about').innerText)");
    }
}

fn who_may_only_play_types_a_name(backend: Backend) {
    let _turn = Turn::wait();
    let server = with_users(backend).start();
    let mut browser = Browser::start();
    browser.open(&page(&server, "#/play/h264_aac.mp4"));
    browser.wait_for("/asks for a password/.test(document.querySelector('.over')?.innerText)");
    browser.picture(&format!("password-{}", backend.name()));
    browser.click(".over .primary");
    browser.fill("dialog [name=user]", "bob");
    browser.fill("dialog [name=password]", "pass-of-bob");
    browser.click("dialog .primary");
    let shown = look(&mut browser);
    assert!(shown.pictures >= 15, "{shown:?}");
    browser.ask("location.hash = '#/'");
    browser.wait_for("/Type the name of a stream/.test(document.body.innerText)");
}

on_both_backends!(;
    "ffmpeg":
    who_logs_in_sees_the_list_and_plays,
    who_may_only_play_types_a_name,
);

#[cfg_attr(feature = "ffmpeg", test)]
fn with_the_api_off_a_stream_plays_by_its_name() {
    let _turn = Turn::wait();
    let server = server(Backend::Fallback).setting("api", "off").start();
    let mut browser = Browser::start();
    browser.open(&page(&server, ""));
    browser.wait_for("/api is off/.test(document.body.innerText)");
    browser.fill("#name", "/test");
    browser.click(".by-name button");
    let shown = look(&mut browser);
    assert!(shown.pictures >= 15, "{shown:?}");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[cfg_attr(feature = "ffmpeg", test)]
fn pages_from_elsewhere_start_nothing_and_get_in_by_no_name_that_leads_here() {
    let _turn = Turn::wait();
    let server = server(Backend::Fallback).setting("api", "on").start();
    let mut browser = Browser::start();
    for spelling in ["start=1", "%73tart=1"] {
        let still = page(&server, &format!("api/v1/snapshot/test.jpg?{spelling}"));
        let shown = browser.ask(&format!(
            "new Promise(done => {{
                const picture = new Image()
                picture.onload = () => done('shown')
                picture.onerror = () => done('refused')
                picture.src = '{still}'
            }})"
        ));
        assert_eq!(shown, "refused", "{spelling}");
    }
    server.wait_for_lines("pages of other origins", 2);
    assert_eq!(server.lines("source started"), 0);
    // A page of this server's own, as far as the browser knows.
    browser.open(&format!("http://media.example:{}/", server.http_port()));
    browser.wait_for("/by localhost/.test(document.querySelector('.invitation')?.innerText)");
    for (method, path) in
        [("GET", "sessions"), ("POST", "config/reload"), ("GET", "snapshot/test.jpg?start=1")]
    {
        let ask = format!("fetch('/api/v1/{path}', {{ method: '{method}' }}).then(answer => answer.status)");
        assert_eq!(browser.ask(&ask), 403, "{method} {path}");
    }
    assert_eq!(server.lines("source started"), 0);
    browser.open(&page(&server, ""));
    browser.wait_for("document.querySelector('[data-path=\"test\"] button')");
}
