//! Every kind of stream comes by every way in TLS as it was, and goes in by every way.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::thread;

use super::builder;
use super::opener::Opener;
use crate::client::viewer::Over;
use crate::corpus::Recipe;
use crate::judge::{self, Turn, Verdict};
use crate::proxies::servers::watch_beginning_by;
use crate::published::{await_stream, sending, spawn, watch_by};
use crate::server::{Backend, Server, on_both_backends};
use crate::tunnels::bridge::{Door, bridge};

/// Pictures and sound that every player takes.
const FILE: &str = "h264_aac.mp4";

/// How FFmpeg comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By itself.
    Rtsps,
    /// By its own tunnel in TLS.
    Https,
    /// Behind OpenSSL and a bridge of ours: it has no WebSocket.
    Wss,
}

const WAYS: [Way; 3] = [Way::Rtsps, Way::Https, Way::Wss];

/// A URL for FFmpeg, the word that it has for the way there, and what leads there.
struct Entrance {
    url: String,
    transport: &'static str,
    _opener: Option<Opener>,
}

fn entrance(way: Way, server: &Server, is_ipv6: bool, path: &str) -> Entrance {
    let at = |address: SocketAddr| {
        if is_ipv6 { SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())) } else { address }
    };
    let (rtsps, https) = (at(server.secure_address()), at(server.https_address()));
    match way {
        Way::Rtsps => Entrance { url: format!("rtsps://{rtsps}{path}"), transport: "tcp", _opener: None },
        Way::Https => Entrance { url: format!("rtsp://{https}{path}"), transport: "https", _opener: None },
        Way::Wss => {
            let opener = Opener::before(https, &[]);
            let url = format!("rtsp://{}{path}", bridge(opener.address, Door::WebSocket));
            Entrance { url, transport: "tcp", _opener: Some(opener) }
        }
    }
}

/// Every way over IPv4, and over IPv6 where the machine has it, at once; `judge` knows them by a number of their own.
fn judge_all(server: &Server, judge: impl Fn(Way, bool, usize) -> Verdict + Sync) {
    let has_ipv6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let families = if has_ipv6 { &[false, true][..] } else { &[false] };
    let cells = families.iter().flat_map(|family| WAYS.iter().map(move |way| (*way, *family)));
    let failures: Vec<String> = thread::scope(|scope| {
        let judges: Vec<_> = cells
            .enumerate()
            .map(|(number, (way, is_ipv6))| {
                let judge = &judge;
                scope.spawn(move || {
                    let _turn = Turn::wait();
                    let verdict = judge(way, is_ipv6, number);
                    verdict.err().map(|problem| format!("{way:?}, IPv6 {is_ipv6}: {problem}"))
                })
            })
            .collect();
        judges.into_iter().filter_map(|judge| judge.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{} of port {}", failures.join("\n"), server.port());
}

fn a_file_comes_by_every_way_as_it_lies(backend: Backend) {
    let server = builder(backend).ip("127.0.0.1,::1").start();
    judge_all(&server, |way, is_ipv6, _| {
        let entrance = entrance(way, &server, is_ipv6, &format!("/{FILE}"));
        judge::ffmpeg::judge_by(&entrance.url, entrance.transport, Recipe::named(FILE))
    });
}

fn what_is_published_by_every_way_comes_by_every_way_as_it_was(backend: Backend) {
    let server = builder(backend).setting("gop_cache", 2).ip("127.0.0.1,::1").start();
    let recipe = Recipe::named(FILE);
    judge_all(&server, |way, is_ipv6, number| {
        let path = format!("/live/{number}");
        // Its tunnel is for players alone.
        let into = if way == Way::Wss { Way::Wss } else { Way::Rtsps };
        let into = entrance(into, &server, is_ipv6, &path);
        let _publishing = spawn("ffmpeg", &sending(recipe, Over::Tcp, &into.url));
        await_stream(&server, &server.url(&path))?;
        let entrance = entrance(way, &server, is_ipv6, &path);
        watch_by(&entrance.url, entrance.transport, recipe)
    });
}

fn what_a_proxy_pulls_in_tls_comes_by_every_way_as_it_was(backend: Backend) {
    let source = builder(backend).start();
    let mut proxies = builder(backend).setting("gop_cache", 2).ip("127.0.0.1,::1");
    for number in 0..2 * WAYS.len() {
        proxies = proxies.proxy(&format!("pulled{number}"), &source.secure_url(&format!("/{FILE}")), &[]);
    }
    let server = proxies.start();
    judge_all(&server, |way, is_ipv6, number| {
        let entrance = entrance(way, &server, is_ipv6, &format!("/pulled{number}"));
        watch_beginning_by(&entrance.url, entrance.transport, Recipe::named(FILE))
    });
}

on_both_backends!(
    a_file_comes_by_every_way_as_it_lies,
    what_is_published_by_every_way_comes_by_every_way_as_it_was,
    what_a_proxy_pulls_in_tls_comes_by_every_way_as_it_was,
);
