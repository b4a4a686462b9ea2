//! Every file of the corpus comes to every player as it lies on disk.

use crate::client::viewer::Over;
use crate::corpus::{RECIPES, Recipe, Video, folder};
use crate::judge;
use crate::server::{Backend, Server, on_both_backends};

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).lifetime(std::time::Duration::from_secs(600)).start()
}

/// The recipes that are wanted; those alone whose name holds `TEST_FILES`, where that is set.
fn files(wanted: impl Fn(&Recipe) -> bool) -> Vec<&'static Recipe> {
    let names = std::env::var("TEST_FILES").unwrap_or_default();
    RECIPES.iter().filter(|recipe| wanted(recipe) && recipe.name.contains(&names)).collect()
}

fn by_ffmpeg(backend: Backend, over: Over) {
    let server = server(backend);
    // FFmpeg 5 has no depacketizer for AV1.
    let files = files(|recipe| !matches!(recipe.video, Some((Video::Av1, _))));
    judge::all(&files, |recipe| {
        judge::ffmpeg::judge(&server.url(&format!("/{}", recipe.name)), over, recipe)
    });
}

fn by_gstreamer(backend: Backend, over: Over) {
    let server = server(backend);
    let files = files(judge::gstreamer::can);
    judge::all(&files, |recipe| {
        judge::gstreamer::judge(&server.url(&format!("/{}", recipe.name)), over, recipe)
    });
}

fn by_raw_client(backend: Backend, over: Over) {
    let server = server(backend);
    let address = server.address();
    judge::all(&files(|_| true), |recipe| {
        judge::raw::judge(address, &server.url(&format!("/{}", recipe.name)), over, recipe)
    });
}

fn ffmpeg_plays_every_file_over_udp(backend: Backend) {
    by_ffmpeg(backend, Over::Udp);
}

fn ffmpeg_plays_every_file_over_tcp(backend: Backend) {
    by_ffmpeg(backend, Over::Tcp);
}

fn gstreamer_plays_every_file_over_udp(backend: Backend) {
    by_gstreamer(backend, Over::Udp);
}

fn gstreamer_plays_every_file_over_tcp(backend: Backend) {
    by_gstreamer(backend, Over::Tcp);
}

fn every_byte_of_every_file_comes_over_udp(backend: Backend) {
    by_raw_client(backend, Over::Udp);
}

fn every_byte_of_every_file_comes_over_tcp(backend: Backend) {
    by_raw_client(backend, Over::Tcp);
}

on_both_backends!(
    ffmpeg_plays_every_file_over_udp,
    ffmpeg_plays_every_file_over_tcp,
    gstreamer_plays_every_file_over_udp,
    gstreamer_plays_every_file_over_tcp,
    every_byte_of_every_file_comes_over_udp,
    every_byte_of_every_file_comes_over_tcp,
);
