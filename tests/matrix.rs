//! Every kind of stream, a file, a published one and a pulled one, comes by every way over both versions of IP as it
//! was, and goes in by every way.

pub(crate) mod groups;
mod ways;

use std::thread;
use std::time::Duration;

use crate::client::viewer::Over;
use crate::corpus::{Recipe, folder};
use crate::judge::{self, Turn, Verdict};
use crate::proxies::servers::{watch_beginning_by, watch_beginning_by_gstreamer};
use crate::published::gstreamer::watch_by_gstreamer;
use crate::published::{await_stream, once_more, sending, spawn, watch_by};
use crate::server::{Backend, Builder, Server, on_both_backends};
use ways::{Entrance, Family, Player, Way, families, ways};

/// Where a stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    File,
    Live,
    Proxy,
}

/// One way of one family to one player.
#[derive(Clone, Copy, Debug)]
struct Cell {
    way: Way,
    family: Family,
    player: Player,
}

impl Cell {
    fn all() -> Vec<Cell> {
        let of_way = |family: &Family, way: Way| {
            let family = *family;
            way.players().iter().map(move |player| Cell { way, family, player: *player })
        };
        families().iter().flat_map(|family| ways().flat_map(move |way| of_way(family, way))).collect()
    }

    /// Judges again what failed over UDP: programs that a busy machine holds up lose datagrams.
    fn once_more(self, judge: impl Fn() -> Verdict) -> Verdict {
        once_more(if self.way.is_udp() { Over::Udp } else { Over::Tcp }, judge)
    }
}

/// Pictures and sound that the player takes.
fn recipe(player: Player) -> &'static Recipe {
    Recipe::named(match player {
        Player::Ffmpeg => "h264_aac.mp4",
        Player::GStreamer => "h264_ip_aac.mp4",
    })
}

/// A server with every port open.
fn server(backend: Backend) -> Builder {
    let builder = Server::with(backend).http().tls("p256-cert.pem", "p256-key.pem").ip("127.0.0.1,::1");
    builder.media(folder()).setting("gop_cache", 2).lifetime(Duration::from_secs(300))
}

/// Judges all at once, as many as have a turn; each has a number of its own.
fn judge_all<T: Copy + Sync + std::fmt::Debug>(cells: &[T], judge: impl Fn(T, usize) -> Verdict + Sync) {
    let failures: Vec<String> = thread::scope(|scope| {
        let judges: Vec<_> = cells
            .iter()
            .enumerate()
            .map(|(number, cell)| {
                let judge = &judge;
                scope.spawn(move || {
                    let _turn = Turn::wait();
                    judge(*cell, number).err().map(|problem| format!("{cell:?}: {problem}"))
                })
            })
            .collect();
        judges.into_iter().filter_map(|judge| judge.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cells.len(), failures.join("\n"));
}

/// Every cell but those of multicast.
pub(crate) fn comes_by_every_way(backend: Backend, stream: Stream) {
    let cells = Cell::all();
    let source = server(backend).start();
    let mut builder = server(backend);
    for (number, cell) in cells.iter().enumerate().filter(|_| stream == Stream::Proxy) {
        let url = source.url(&format!("/{}", recipe(cell.player).name));
        builder = builder.proxy(&format!("pulled{number}"), &url, &[]);
    }
    let server = builder.start();
    judge_all(&cells, |cell, number| {
        let Cell { way, family, player } = cell;
        let recipe = recipe(player);
        let entrance = |path: &str| Entrance::of(way, player, &server, family, path);
        cell.once_more(|| match stream {
            Stream::File => {
                let Entrance { url, transport, .. } = &entrance(&format!("/{}", recipe.name));
                match player {
                    Player::Ffmpeg => judge::ffmpeg::judge_by(url, transport, recipe),
                    Player::GStreamer => judge::gstreamer::judge_by(url, transport, recipe),
                }
            }
            Stream::Live => {
                let path = format!("/live/{number}");
                let publish = || {
                    let publishing = spawn("ffmpeg", &sending(recipe, Over::Tcp, &server.url(&path)));
                    await_stream(&server, &server.url(&path)).map(|()| publishing)
                };
                let Entrance { url, transport, .. } = &entrance(&path);
                match player {
                    Player::Ffmpeg => publish().and_then(|_publishing| watch_by(url, transport, recipe)),
                    Player::GStreamer => watch_by_gstreamer(url, transport, recipe, publish),
                }
            }
            Stream::Proxy => {
                let Entrance { url, transport, .. } = &entrance(&format!("/pulled{number}"));
                match player {
                    Player::Ffmpeg => watch_beginning_by(url, transport, recipe),
                    Player::GStreamer => watch_beginning_by_gstreamer(url, transport, recipe),
                }
            }
        })
    });
    // Nobody was served by another way than was asked for.
    let encrypted = cells.iter().filter(|cell| matches!(cell.way, Way::Srtp(_))).count();
    assert!(server.lines(" srtp ") >= encrypted, "{encrypted} cells");
    for way in ["udp", "tcp", "http", "websocket"] {
        server.wait_for_log(&format!("transport=\"{way}\" duration_s="), Duration::from_secs(10));
    }
}

fn a_file_comes_by_every_way_as_it_lies(backend: Backend) {
    comes_by_every_way(backend, Stream::File);
    groups::comes_by_multicast(backend, Stream::File);
}

fn what_is_published_comes_by_every_way_as_it_was(backend: Backend) {
    comes_by_every_way(backend, Stream::Live);
    groups::comes_by_multicast(backend, Stream::Live);
}

fn what_a_proxy_pulls_comes_by_every_way_as_it_was(backend: Backend) {
    comes_by_every_way(backend, Stream::Proxy);
    groups::comes_by_multicast(backend, Stream::Proxy);
}

pub(crate) fn what_is_published_by_every_way_comes_as_it_was(backend: Backend) {
    let server = server(backend).start();
    let recipe = recipe(Player::Ffmpeg);
    let ways = ways().filter(|way| !matches!(way, Way::Srtp(_) | Way::Https));
    let cells: Vec<_> = ways.flat_map(|way| families().iter().map(move |family| (way, *family))).collect();
    judge_all(&cells, |(way, family), number| {
        let over = if way == Way::Udp { Over::Udp } else { Over::Tcp };
        once_more(over, || {
            let path = format!("/live/{number}");
            let entrance = Entrance::into(way, &server, family, &path);
            let _publishing = spawn("ffmpeg", &sending(recipe, over, &entrance.url));
            await_stream(&server, &server.url(&path))?;
            watch_by(&server.url(&path), "tcp", recipe)
        })
    });
}

on_both_backends!(
    what_is_published_comes_by_every_way_as_it_was,
    what_is_published_by_every_way_comes_as_it_was;
    "ffmpeg":
    a_file_comes_by_every_way_as_it_lies,
    what_a_proxy_pulls_comes_by_every_way_as_it_was,
);
