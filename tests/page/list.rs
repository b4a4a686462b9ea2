//! What there is: streams and files with stills, numbers and URLs, on desktops and phones, dark and light.

use std::fs;

use super::{Running, in_all_windows, look, page, server};
use crate::browser::Browser;
use crate::corpus::folder;
use crate::judge::Turn;
use crate::judge::ffmpeg::Scratch;
use crate::server::{Backend, on_both_backends, scratch};

/// Names that people and recorders give: with and without a place to break the line, of markup, and of what escapes nothing.
const NAMES: [&str; 4] = [
    "the yard and the gate as the camera behind the house has seen them on the 27th of November.mp4",
    "Recording_of_camera_0123456789_from_2026-11-27T19-30-00Z_to_2026-11-27T19-40-00Z.mp4",
    "<script>alert(1)<.mp4",
    "50%.mp4",
];

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

fn names_of_any_length_and_letters_are_shown_in_their_cards_and_play(backend: Backend) {
    let _turn = Turn::wait();
    let files = Scratch(scratch("names"));
    for name in NAMES {
        fs::copy(folder().join("h264_aac.mp4"), files.path().join(name)).unwrap();
    }
    let server = server(backend).media(files.path()).start();
    let stream = "live/the-gate-of-the-yard-behind-the-house-as-its-second-camera-sees-it";
    let _publisher = Running::publisher(&server, &format!("/{stream}"));
    let mut browser = Browser::start();
    browser.open(&page(&server, ""));
    let card = |name: &str| {
        format!("[...document.querySelectorAll('article')].find(card => card.dataset.path === {name:?})")
    };
    for name in NAMES.into_iter().chain([stream]) {
        let card = card(name);
        browser.wait_for(&format!("{card}.scrollIntoView() || {card}.querySelector('img').naturalWidth > 0"));
        let shown = browser.ask(&format!("{card}.querySelector('h3').textContent"));
        assert_eq!(shown, name);
        if name.len() > 60 {
            let is_cut =
                format!("(link => link.scrollWidth > link.clientWidth)({card}.querySelector('h3 a'))");
            assert_eq!(browser.ask(&is_cut), true, "{name} has room");
        }
        browser.ask(&format!("{card}.querySelector('button').click()"));
        browser.wait_for(&format!("{card}.querySelector('.links')"));
    }
    assert_eq!(browser.ask("document.querySelectorAll('main script').length"), 0);
    browser.ask("scrollTo(0, 0)");
    in_all_windows(&mut browser, "names", 900, backend);
    for name in NAMES {
        browser.ask("location.hash = '#/'");
        browser.wait_for(&format!("{}.querySelector('a.still').click() || true", card(name)));
        browser.wait_for(&format!("document.querySelector('canvas')?.player?.path === {name:?}"));
        let shown = look(&mut browser);
        assert!(shown.pictures >= 15, "{name}: {shown:?}");
    }
    // An address as people type it, in which the percent sign stands for itself.
    browser.ask("location.hash = '#/'");
    browser.wait_for(&card(NAMES[0]));
    browser.ask("location.hash = '#/play/50%.mp4'");
    browser.wait_for("document.querySelector('canvas')?.player?.path === '50%.mp4'");
    assert!(look(&mut browser).pictures >= 15);
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
    names_of_any_length_and_letters_are_shown_in_their_cards_and_play,
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
