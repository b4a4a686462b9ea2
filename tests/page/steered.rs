//! The server's tab: charts, sessions that can be ended, the log, and configurations that are checked.

use std::fs;

use super::{Running, in_all_windows, page, server};
use crate::browser::Browser;
use crate::judge::Turn;
use crate::server::{Backend, on_both_backends};

fn a_session_is_ended_by_its_button(backend: Backend) {
    let _turn = Turn::wait();
    let server = server(backend).start();
    let mut player = Running::player(&server, "/test");
    let mut browser = Browser::start();
    browser.open(&page(&server, "#/server"));
    browser.wait_for("document.querySelector('#sessions tr')");
    let row = browser.ask("document.querySelector('#sessions tr').innerText");
    assert!(row.as_str().unwrap().contains("test") && row.as_str().unwrap().contains("tcp"), "{row}");
    browser.wait_for("/bit\\/s/.test(document.querySelector('#sessions tr').innerText)");
    browser.wait_for("document.querySelectorAll('.chart .line[d]').length === 4");
    browser.wait_for("/session=|serving/.test(document.querySelector('#log').innerText)");
    in_all_windows(&mut browser, "server", 1_600, backend);
    browser.click("#sessions button");
    browser.wait_for("!document.querySelector('#sessions tr')");
    let end = std::time::Instant::now() + crate::browser::PATIENCE;
    while !player.has_ended() {
        assert!(std::time::Instant::now() < end, "the player goes on");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(browser.complaints(), [""; 0]);
}

on_both_backends!(a_session_is_ended_by_its_button);

#[test]
fn a_wrong_and_a_right_configuration_are_told_apart() {
    let _turn = Turn::wait();
    let server = server(Backend::Fallback).start();
    let mut browser = Browser::start();
    browser.open(&page(&server, "#/server"));
    browser.wait_for("/loop_nums/.test(document.querySelector('#config')?.innerText)");
    browser.ask("document.querySelector('#check').closest('details').open = true");
    browser.fill("#config-text", "<config>\n<serverport>x</serverport>\n</config>");
    browser.click("#check");
    browser
        .wait_for("/would not start with it: 1 error/.test(document.querySelector('#findings').innerText)");
    browser.wait_for("/line 2/.test(document.querySelector('#findings').innerText)");
    browser.color("dark");
    browser.ask("document.querySelector('#findings').scrollIntoView({ block: 'center' })");
    browser.picture("config-wrong");
    browser.fill("#config-text", "<config><serverport>1554</serverport></config>");
    browser.click("#check");
    browser.wait_for("/It is right/.test(document.querySelector('#findings').innerText)");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_wrong_and_a_right_file_are_read_again() {
    let _turn = Turn::wait();
    let server = server(Backend::Fallback).start();
    let file = server.configuration_file();
    let before = fs::read_to_string(&file).unwrap();
    let mut browser = Browser::start();
    browser.open(&page(&server, "#/server"));
    browser.wait_for("document.querySelector('#reload')?.hidden === false");
    fs::write(&file, before.replace("<config>", "<config>\n<mtu>huge</mtu>")).unwrap();
    browser.click("#reload");
    browser.wait_for(
        "/Not obeyed: the configuration stays as it was/.test(document.querySelector('#findings').innerText)",
    );
    browser.wait_for("/line 3.*packet size/.test(document.querySelector('#findings').innerText)");
    browser.picture("reload-wrong");
    fs::write(&file, before.replace("<config>", "<config>\n<max_sessions>77</max_sessions><mtu>1300</mtu>"))
        .unwrap();
    browser.click("#reload");
    browser.wait_for("/is obeyed.*max_sessions/s.test(document.querySelector('#findings').innerText)");
    browser.wait_for("/next start.*mtu/s.test(document.querySelector('#findings').innerText)");
    browser.wait_for("/max_sessions\\s*77/.test(document.querySelector('#config').innerText)");
    browser.picture("reload-right");
    // The browser itself says that an answer was 422.
    assert!(
        browser.complaints().iter().all(|said| said.contains("config/reload")),
        "{:?}",
        browser.complaints()
    );
}
