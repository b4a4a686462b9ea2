//! What there is: streams and files with stills, numbers and URLs, on desktops and phones, dark and light.

use super::{Running, in_all_windows, page, server};
use crate::browser::Browser;
use crate::judge::Turn;
use crate::server::{Backend, on_both_backends};

fn streams_and_files_are_shown_with_stills_numbers_and_urls(backend: Backend) {
    let _turn = Turn::wait();
    let server = server(backend).start();
    let _publisher = Running::publisher(&server, "/gate");
    let mut browser = Browser::start();
    browser.open(&page(&server, ""));
    let card = "document.querySelector('[data-path=\"gate\"]')";
    browser.wait_for(&format!("{card}?.querySelector('img').naturalWidth == 480"));
    let text = browser.wait_for(&format!("/bit\\/s · 0 viewers/.test({card}.innerText) && {card}.innerText"));
    let text = text.as_str().unwrap();
    assert!(text.contains("published · H.264 · AAC"), "{text}");
    assert!(text.contains("live"), "{text}");
    let idle = "document.querySelector('[data-path=\"test\"]')";
    let text = browser.ask(&format!("{idle}.innerText"));
    assert!(text.as_str().unwrap().contains("begins with its first viewer"), "{text}");
    // A still that is there is of the stream, not of one colour.
    let colours = browser.ask(&format!(
        "(() => {{
            const canvas = new OffscreenCanvas(48, 27), brush = canvas.getContext('2d')
            brush.drawImage({card}.querySelector('img'), 0, 0, 48, 27)
            return new Set(new Uint32Array(brush.getImageData(0, 0, 48, 27).data.buffer)).size
        }})()"
    ));
    assert!(colours.as_u64().unwrap() > 50, "{colours}");
    // Files come with what is in them as they come into view.
    let file = "document.querySelector('[data-path=\"av1.mkv\"]')";
    browser.ask(&format!("{file}.scrollIntoView()"));
    browser
        .wait_for(&format!("/AV1/.test({file}.innerText) && {file}.querySelector('img').naturalWidth > 0"));
    browser.ask("scrollTo(0, 0)");
    browser.click("[data-path=\"gate\"] button");
    let urls = browser.wait_for(&format!("{card}.querySelector('.links')?.innerText"));
    let urls = urls.as_str().unwrap();
    for url in [
        server.url("/gate"),
        format!("rtsp://127.0.0.1:{}/gate", server.http_port()),
        format!("ws://127.0.0.1:{}/websocket", server.http_port()),
        page(&server, "api/v1/snapshot/gate.jpg"),
    ] {
        assert!(urls.contains(&url), "{url} is not in {urls}");
    }
    browser.click("[data-path=\"gate\"] button");
    in_all_windows(&mut browser, "list", 900, backend);
    // The rest of the streams' stills are refused: nobody watches them. Nothing else went wrong.
    assert_eq!(browser.complaints(), [""; 0]);
}

fn the_page_can_be_used_by_keyboard_alone(backend: Backend) {
    let _turn = Turn::wait();
    let server = server(backend).start();
    let mut browser = Browser::start();
    browser.open(&page(&server, ""));
    browser.wait_for("document.querySelector('[data-path=\"test\"]')");
    browser.ask("document.querySelector('#name').focus()");
    for _ in 0..2 {
        browser.press("Tab");
    }
    browser.wait_for("document.activeElement.closest('article')?.dataset.path === 'test'");
    browser.press("Enter");
    browser.wait_for("location.hash === '#/play/test'");
    browser.wait_for("document.querySelector('canvas')?.player?.numbers().shown > 5");
}

on_both_backends!(
    the_page_can_be_used_by_keyboard_alone;
    "ffmpeg":
    streams_and_files_are_shown_with_stills_numbers_and_urls,
);

#[cfg_attr(feature = "ffmpeg", test)]
fn pictures_that_are_shown_no_more_are_given_back() {
    let _turn = Turn::wait();
    let server = server(Backend::Fallback).start();
    let mut browser = Browser::start();
    browser.open(&page(&server, ""));
    browser.ask(
        "(() => {
            window.held = new Set()
            const [give, take] = [URL.createObjectURL, URL.revokeObjectURL]
            URL.createObjectURL = blob => { const url = give.call(URL, blob); held.add(url); return url }
            URL.revokeObjectURL = url => { held.delete(url); take.call(URL, url) }
        })()",
    );
    for _ in 0..2 {
        browser.ask("location.hash = '#/server'");
        browser.wait_for("document.querySelector('#config') && held.size === 0");
        browser.ask("location.hash = '#/'");
        browser.wait_for("document.querySelector('#files article')");
        browser.ask("document.querySelector('#files').scrollIntoView()");
        browser.wait_for("held.size > 0");
    }
    browser.ask("location.hash = '#/server'");
    browser.wait_for("held.size === 0");
}
