//! The talk button: what the microphone hears comes to the camera.

use super::{page, server};
use crate::browser::Browser;
use crate::judge::Turn;
use crate::server::{Backend, on_both_backends};
use crate::talking::door::{Door, Ear};

fn what_is_said_in_the_page_comes_to_the_camera(backend: Backend) {
    let _turn = Turn::wait();
    let door = Door::start(Ear::Tcp);
    let url = door.url();
    let proxy = format!("<proxy><suffix>door</suffix><url>{url}</url></proxy>");
    let server = server(backend).xml(&proxy).start();
    let mut browser = Browser::start();
    browser.open(&page(&server, "#/play/test"));
    browser.wait_for("document.querySelector('.stage')?.dataset.state === 'playing'");
    assert_eq!(browser.ask("document.querySelector('#talk').hidden"), true, "nothing listens there");
    browser.ask("location.hash = '#/play/door'");
    browser.wait_for("document.querySelector('#talk')?.hidden === false");
    browser.click("#talk");
    let heard = door.wait_for_sound(50);
    for pair in heard.windows(2) {
        assert_eq!(pair[0].sequence.wrapping_add(1), pair[1].sequence);
        assert_eq!(pair[0].timestamp.wrapping_add(160), pair[1].timestamp);
    }
    assert!(heard.iter().all(|packet| packet.payload_type == 0), "G.711 µ law");
    browser.wait_for("/Stop/.test(document.querySelector('#talk').innerText)");
    browser.click("#talk");
    browser.wait_for("document.querySelector('#talk').innerText === 'Talk'");
}

on_both_backends!(what_is_said_in_the_page_comes_to_the_camera);
