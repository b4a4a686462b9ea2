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

#[test]
fn a_stream_from_elsewhere_is_added_and_removed() {
    let _turn = Turn::wait();
    let source = server(Backend::Fallback).start();
    let server = server(Backend::Fallback).proxy("gate", &source.url("/test"), &[]).start();
    let mut browser = Browser::start();
    browser.open(&page(&server, "#/server"));
    browser
        .wait_for("/in the file/.test(document.querySelector('#proxies [data-path=\"gate\"]')?.innerText)");
    browser.ask("document.querySelector('#proxy-add').closest('details').open = true");
    browser.fill("#proxy-path", "yard/one");
    browser.fill("#proxy-url", "ftp://somewhere");
    browser.click("#proxy-add");
    browser.wait_for("/url: .*is not a URL/.test(document.querySelector('#proxy-add').form.innerText)");
    browser.fill("#proxy-url", &source.url("/test"));
    browser.ask("document.querySelector('#proxy-add').scrollIntoView({ block: 'center' })");
    browser.picture("proxies-added");
    browser.click("#proxy-add");
    let row = "document.querySelector('#proxies [data-path=\"yard/one\"]')";
    browser.wait_for(&format!("/begins with its first viewer/.test({row}?.innerText)"));
    in_all_windows(&mut browser, "proxies", 1_600, Backend::Fallback);
    let player = Running::player(&server, "/yard/one");
    browser.wait_for(&format!("/runs/.test({row}.innerText)"));
    drop(player);
    browser.click("#proxies [data-path=\"yard/one\"] button");
    browser.wait_for(&format!("!{row}"));
    assert!(
        browser.complaints().iter().all(|said| said.contains("proxies/yard/one")),
        "{:?}",
        browser.complaints()
    );
}

#[cfg_attr(feature = "tls", test)]
fn a_page_that_is_open_sees_that_the_api_is_closed_and_opened_and_which_ports_there_are() {
    let _turn = Turn::wait();
    let server = server(Backend::Fallback).start();
    let file = server.configuration_file();
    let before = fs::read_to_string(&file).unwrap();
    let mut browser = Browser::start();
    browser.open(&page(&server, ""));
    browser.wait_for("document.querySelector('[data-path=\"test\"]')");
    let reload = |xml: &str, count: usize| {
        fs::write(&file, xml).unwrap();
        server.signal("HUP");
        server.wait_for_lines("configuration reloaded", count);
    };
    let port = server.port() + 2;
    let other = format!("<api>off</api><rtsps_port>{port}</rtsps_port>");
    reload(&before.replace("<api>local</api>", &other).replace("<rtsps_port>0</rtsps_port>", ""), 1);
    browser
        .wait_for("/Type the name of one to play it/.test(document.querySelector('.invitation')?.innerText)");
    reload(
        &before
            .replace("<api>local</api>", &other.replace("off", "local"))
            .replace("<rtsps_port>0</rtsps_port>", ""),
        2,
    );
    browser.wait_for("document.querySelector('[data-path=\"test\"] button')");
    browser.click("[data-path=\"test\"] button");
    browser.wait_for(&format!(
        "/rtsps:.*:{port}/.test(document.querySelector('[data-path=\"test\"] .links')?.innerText)"
    ));
}
