//! The program of Windows without FFmpeg: what comes to it goes on as it was, and what it lacks is said.

mod service;
mod words;

use super::{PORTABLE, ends_by_ctrl_c, the_test_channel_plays};
use crate::client::Client;
use crate::client::viewer::BOTH;
use crate::corpus::{Recipe, folder};
use crate::proxies::servers::watch_beginning;
use crate::published::{await_stream, sending, spawn, watch};
use crate::pushed::what_is_pushed_is_what_ffmpeg_plays;
use crate::server::{Backend, Server};

#[test]
fn the_test_channel_is_there() {
    the_test_channel_plays(PORTABLE);
}

#[test]
fn what_is_published_is_relayed() {
    let server = Server::with(PORTABLE).setting("gop_cache", 2).start();
    let recipe = Recipe::named("h264_aac.mp4");
    for over in BOTH {
        let url = server.url(&format!("/live/{}", over.name()));
        let _publishing = spawn("ffmpeg", &sending(recipe, over, &url));
        await_stream(&server, &url).unwrap();
        assert_eq!(watch(&url, over, recipe), Ok(()), "{over:?}");
    }
}

#[test]
fn what_is_pushed_is_relayed() {
    what_is_pushed_is_what_ffmpeg_plays(PORTABLE);
}

#[test]
fn what_is_pulled_is_relayed() {
    let recipe = Recipe::named("h264_aac.mp4");
    let source = Server::with(Backend::Fallback).media(folder()).start();
    for over in BOTH {
        let builder = Server::with(PORTABLE).setting("gop_cache", 2);
        let server = builder.proxy("gate", &source.url("/h264_aac.mp4"), &[]).start();
        assert_eq!(watch_beginning(&server.url("/gate"), over, recipe), Ok(()), "{over:?}");
    }
}

#[test]
fn ctrl_c_ends_it() {
    ends_by_ctrl_c(PORTABLE);
}

#[test]
fn files_are_refused_with_what_it_lacks() {
    let server = Server::with(PORTABLE).media(folder()).start();
    let answer = Client::connect(server.address()).request("DESCRIBE", &server.url("/h264_aac.mp4"), &[]);
    assert!(answer.status == 415 && answer.text().contains("without FFmpeg"), "{answer:?}");
}
