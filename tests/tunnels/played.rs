//! Every kind of stream comes through every door as it was, and goes in by every door.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use super::bridge::{DOORS, Door, bridge};
use super::server;
use crate::client::viewer::Over;
use crate::corpus::{Recipe, folder};
use crate::judge::{self, Turn, Verdict};
use crate::proxies::servers::watch_beginning_by;
use crate::published::{await_stream, sending, spawn, watch_by};
use crate::server::{Backend, Server, on_both_backends};

/// Pictures and sound that every player takes.
const FILE: &str = "h264_aac.mp4";

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Player {
    /// FFmpeg's own tunnel.
    Ffmpeg,
    /// GStreamer's own tunnel.
    GStreamer,
    /// FFmpeg behind a bridge of ours: it has no WebSocket.
    Bridged(Door),
}

/// All but GStreamer, which compares whole files and comes late to a stream.
const STREAM_PLAYERS: [Player; 3] =
    [Player::Ffmpeg, Player::Bridged(Door::WebSocket), Player::Bridged(Door::Http)];

/// The addresses of a server's HTTP port: IPv4, and IPv6 where the machine has it.
fn addresses(server: &Server) -> Vec<SocketAddr> {
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, server.http_port()));
    [server.http_address()].into_iter().chain(has_ipv6.then_some(v6)).collect()
}

/// Where a player finds a path through a door, and the word that it has for the way there.
fn url(player: Player, address: SocketAddr, path: &str) -> (String, &'static str) {
    match player {
        Player::Ffmpeg => (format!("rtsp://{address}{path}"), "http"),
        // The scheme says that it is a tunnel.
        Player::GStreamer => (format!("rtsph://{address}{path}"), "tcp"),
        Player::Bridged(door) => (format!("rtsp://{}{path}", bridge(address, door)), "tcp"),
    }
}

/// Every player at every address at once; `judge` knows them by a number of their own.
fn judge_all(
    server: &Server,
    players: &[Player],
    judge: impl Fn(Player, SocketAddr, usize) -> Verdict + Sync,
) {
    let pairs = addresses(server).into_iter().flat_map(|at| players.iter().map(move |player| (*player, at)));
    let failures: Vec<String> = thread::scope(|scope| {
        let judges: Vec<_> = pairs
            .enumerate()
            .map(|(number, (player, address))| {
                let judge = &judge;
                scope.spawn(move || {
                    let _turn = Turn::wait();
                    let verdict = judge(player, address, number);
                    verdict.err().map(|problem| format!("{player:?} at {address}: {problem}"))
                })
            })
            .collect();
        judges.into_iter().filter_map(|judge| judge.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn a_file_comes_through_every_door_as_it_lies(backend: Backend) {
    let server = server(backend).media(folder()).ip("127.0.0.1,::1").start();
    let recipe = Recipe::named(FILE);
    judge_all(&server, &[&STREAM_PLAYERS[..], &[Player::GStreamer]].concat(), |player, address, _| {
        let (url, way) = url(player, address, &format!("/{FILE}"));
        match player {
            Player::GStreamer => judge::gstreamer::judge_by(&url, way, recipe),
            _ => judge::ffmpeg::judge_by(&url, way, recipe),
        }
    });
    for transport in ["http", "websocket"] {
        server.wait_for_log(&format!("transport=\"{transport}\" duration_s="), Duration::from_secs(10));
    }
}

fn what_is_published_through_a_door_comes_through_every_door_as_it_was(backend: Backend) {
    let server = server(backend).setting("gop_cache", 2).ip("127.0.0.1,::1").start();
    let recipe = Recipe::named(FILE);
    for door in DOORS {
        judge_all(&server, &STREAM_PLAYERS, |player, address, number| {
            let path = format!("/live/{door:?}{number}");
            let way_in = format!("rtsp://{}{path}", bridge(address, door));
            let _publishing = spawn("ffmpeg", &sending(recipe, Over::Tcp, &way_in));
            await_stream(&server, &server.url(&path))?;
            let (url, way) = url(player, address, &path);
            watch_by(&url, way, recipe)
        });
    }
}

fn what_a_proxy_pulls_comes_through_every_door_as_it_was(backend: Backend) {
    let source = server(backend).media(folder()).start();
    let mut builder = server(backend).setting("gop_cache", 2).ip("127.0.0.1,::1");
    for number in 0..2 * STREAM_PLAYERS.len() {
        builder = builder.proxy(&format!("pulled{number}"), &source.url(&format!("/{FILE}")), &[]);
    }
    let server = builder.start();
    judge_all(&server, &STREAM_PLAYERS, |player, address, number| {
        let (url, way) = url(player, address, &format!("/pulled{number}"));
        watch_beginning_by(&url, way, Recipe::named(FILE))
    });
}

fn gstreamer_publishes_through_its_tunnel(backend: Backend) {
    let server = server(backend).setting("gop_cache", 2).start();
    let recipe = Recipe::named(FILE);
    let (file, http) = (folder().join(FILE), server.http_address());
    let arguments = format!(
        "-q filesrc location={} ! qtdemux name=d d.video_0 ! queue ! h264parse ! \
         rtspclientsink name=s location=rtsph://{http}/live/g d.audio_0 ! queue ! aacparse ! s.",
        file.display()
    );
    let _publishing = spawn("gst-launch-1.0", &arguments);
    await_stream(&server, &server.url("/live/g")).unwrap();
    // Its muxer gives times of its own, so pictures alone are compared; and it does not always end at the end.
    let url = format!("rtsp://{http}/live/g");
    let input = ["-rtsp_transport", "http", "-t", "1.5", "-i", &url];
    let played = judge::ffmpeg::see(&input, recipe, Duration::from_secs(25)).unwrap().pictures.sums;
    let source = judge::ffmpeg::source(recipe);
    let is_part = source.pictures.sums.windows(played.len()).any(|part| *part == played);
    assert!(played.len() > 25 && is_part, "{} pictures", played.len());
}

on_both_backends!(
    a_file_comes_through_every_door_as_it_lies,
    what_is_published_through_a_door_comes_through_every_door_as_it_was,
    what_a_proxy_pulls_comes_through_every_door_as_it_was,
    gstreamer_publishes_through_its_tunnel,
);
