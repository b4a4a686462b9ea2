//! Every file of the corpus comes to every player as it lies on disk.

use crate::client::viewer::Over;
use crate::corpus::{RECIPES, Recipe, folder};
use crate::judge;
use crate::server::{Backend, Server, on_both_backends};

fn server(backend: Backend) -> Server {
    Server::with(backend).media(folder()).lifetime(std::time::Duration::from_secs(600)).start()
}

/// What a player cannot receive, and why. The raw client judges these files as it does all others.
struct Limit {
    player: &'static str,
    file: &'static str,
    reason: &'static str,
}

const NO_AV1: &str = "it has no depacketizer for AV1";

const LIMITS: &[Limit] = &[
    Limit { player: "FFmpeg 5", file: "av1_opus.webm", reason: NO_AV1 },
    Limit { player: "FFmpeg 5", file: "av1.mp4", reason: NO_AV1 },
    Limit { player: "FFmpeg 5", file: "av1.mkv", reason: NO_AV1 },
    Limit { player: "GStreamer 1.22", file: "av1_opus.webm", reason: NO_AV1 },
    Limit { player: "GStreamer 1.22", file: "av1.mp4", reason: NO_AV1 },
    Limit { player: "GStreamer 1.22", file: "av1.mkv", reason: NO_AV1 },
];

/// The files that a player can receive; the others are named with the reason.
fn files_for(player: &str) -> Vec<&'static Recipe> {
    let limit = |recipe: &Recipe| {
        LIMITS.iter().find(|limit| limit.player.starts_with(player) && limit.file == recipe.name)
    };
    for limit in RECIPES.iter().filter_map(limit) {
        println!("{} cannot receive {}: {}", limit.player, limit.file, limit.reason);
    }
    RECIPES.iter().filter(|recipe| limit(recipe).is_none()).collect()
}

fn by_ffmpeg(backend: Backend, over: Over) {
    let server = server(backend);
    let files = files_for("FFmpeg");
    judge::all(&files, |recipe| {
        judge::ffmpeg::judge(&server.url(&format!("/{}", recipe.name)), over, recipe)
    });
}

fn by_gstreamer(backend: Backend, over: Over) {
    let server = server(backend);
    let files = files_for("GStreamer");
    judge::all(&files, |recipe| {
        judge::gstreamer::judge(&server.url(&format!("/{}", recipe.name)), over, recipe)
    });
}

fn by_raw_client(backend: Backend, over: Over) {
    let server = server(backend);
    let address = server.address();
    let files: Vec<_> = RECIPES.iter().collect();
    judge::all(&files, |recipe| {
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

#[test]
fn every_limit_of_a_player_names_a_file() {
    for limit in LIMITS {
        assert!(RECIPES.iter().any(|recipe| recipe.name == limit.file), "{}", limit.file);
    }
}

on_both_backends!(;
    "ffmpeg":
    ffmpeg_plays_every_file_over_udp,
    ffmpeg_plays_every_file_over_tcp,
    gstreamer_plays_every_file_over_udp,
    gstreamer_plays_every_file_over_tcp,
    every_byte_of_every_file_comes_over_udp,
    every_byte_of_every_file_comes_over_tcp,
);
