//! A click plays: pictures move and sound is decoded, whatever the format, and it goes on by itself.

use super::{Running, listen, look, page, server};
use crate::browser::Browser;
use crate::judge::Turn;
use crate::server::{Backend, on_both_backends};

fn files_and_streams_play_with_moving_pictures_and_sound(backend: Backend) {
    let _turn = Turn::wait();
    let server = server(backend).start();
    let _publisher = Running::publisher(&server, "/gate");
    let mut browser = Browser::start();
    browser.open(&page(&server, ""));
    browser.click("[data-path=\"gate\"] a.still");
    let plays = [
        // Path, codecs as they reach the browser, least pictures in three seconds.
        ("gate", &["H264", "MPEG4-GENERIC"][..]),
        ("h264_aac.mp4", &["H264", "MPEG4-GENERIC"]),
        ("h264_opus.mkv", &["H264", "OPUS"]),
        ("h264_pcma.mkv", &["H264", "PCMA"]),
        ("jpeg_pcmu.mov", &["JPEG", "PCMU"]),
        ("vp8_opus.webm", &["VP8", "OPUS"]),
        ("vp9_opus.webm", &["VP9", "OPUS"]),
        ("av1_opus.webm", &["AV1", "OPUS"]),
        ("l16.mkv", &["L16"]),
        // What browsers lack comes in another format.
        ("h265_opus.mkv", &["H264", "OPUS"]),
        ("mpeg4_aac.mp4", &["H264", "MPEG4-GENERIC"]),
        ("jpeg_g722.mkv", &["JPEG", "MPEG4-GENERIC"]),
    ];
    for (path, formats) in plays {
        browser.ask(&format!("location.hash = '#/play/{path}'"));
        browser.wait_for(&format!("document.querySelector('canvas')?.player?.path === '{path}'"));
        if formats.len() > 1 {
            let shown = look(&mut browser);
            println!("{path}: {shown:?}");
            assert!(shown.pictures >= 15, "{path}: {shown:?}");
            assert_eq!(shown.numbers["lost"], 0, "{path}: {shown:?}");
            assert_eq!(shown.numbers["samples"], 0, "{path}: sound is off until it is wanted");
        } else {
            browser.wait_for("document.querySelector('.stage').dataset.state === 'playing'");
        }
        listen(&mut browser);
        let named = browser.ask("document.querySelector('canvas').player.numbers().formats");
        assert_eq!(named, serde_json::json!(formats), "{path}");
    }
    assert_eq!(browser.complaints(), [""; 0]);
    server.wait_for_log("transport=\"websocket\" duration_s=", crate::browser::PATIENCE);
}

fn a_player_shows_its_latency_and_begins_again_by_itself(backend: Backend) {
    let _turn = Turn::wait();
    let server = server(backend).start();
    let publisher = Running::publisher(&server, "/gate");
    let mut browser = Browser::start();
    browser.open(&page(&server, "#/play/gate"));
    look(&mut browser);
    let latency = browser.wait_for("document.querySelector('canvas').player.numbers().latency");
    println!("latency: {latency} ms");
    assert!(latency.as_f64().unwrap() > 0.0, "{latency}");
    browser.wait_for("/ms/.test(document.querySelector('[data-fact=latency]').innerText)");
    for (window, (width, height, is_phone)) in [("desktop", (1_280, 900, false)), ("phone", (390, 844, true))]
    {
        browser.resize(width, height, is_phone);
        browser.color(if is_phone { "light" } else { "dark" });
        browser.ask("new Promise(resolve => setTimeout(resolve, 300))");
        browser.picture(&format!("play-{window}-{}", backend.name()));
    }
    drop(publisher);
    browser.wait_for("document.querySelector('.stage').dataset.state !== 'playing'");
    let before = "document.querySelector('canvas').player.screen?.count";
    let _publisher = Running::publisher(&server, "/gate");
    browser.wait_for("document.querySelector('.stage').dataset.state === 'playing'");
    browser.wait_for(&format!("{before} > 5"));
    look(&mut browser);
}

fn a_page_without_decoders_gets_jpeg_and_g711(backend: Backend) {
    let _turn = Turn::wait();
    let server = server(backend).start();
    let mut browser = Browser::start();
    // A name is not this machine's, so that the page is not secure; and that name is not let into the API.
    browser.open(&format!("http://media.example:{}/", server.http_port()));
    browser.wait_for("/Type the name of one/.test(document.body.innerText)");
    browser.fill("#name", "h264_aac.mp4");
    browser.click(".by-name button");
    let shown = look(&mut browser);
    assert!(shown.pictures >= 15, "{shown:?}");
    listen(&mut browser);
    let named = browser.ask("document.querySelector('canvas').player.numbers().formats");
    assert_eq!(named, serde_json::json!(["JPEG", "PCMU"]));
    assert_eq!(browser.ask("isSecureContext || typeof VideoDecoder !== 'undefined'"), false);
    browser.color("light");
    browser.picture(&format!("plain-{}", backend.name()));
}

on_both_backends!(
    a_player_shows_its_latency_and_begins_again_by_itself;
    "ffmpeg":
    files_and_streams_play_with_moving_pictures_and_sound,
    a_page_without_decoders_gets_jpeg_and_g711,
);

#[cfg_attr(feature = "ffmpeg", test)]
fn a_file_that_ends_says_so_and_plays_again() {
    let _turn = Turn::wait();
    let server = server(Backend::Fallback).setting("loop_nums", 1).start();
    let mut browser = Browser::start();
    browser.open(&page(&server, "#/play/h264_aac.mp4"));
    browser.wait_for("document.querySelector('.stage')?.dataset.state === 'ended'");
    browser.click("#again");
    browser.wait_for("document.querySelector('.stage').dataset.state === 'playing'");
    browser.ask("location.hash = '#/play/nowhere'");
    browser.wait_for("/no stream or file by this name/.test(document.body.innerText)");
}
