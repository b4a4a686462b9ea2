//! Real servers as sources: GStreamer's, and our own, also behind each other and in a circle.

use std::thread;
use std::time::{Duration, Instant};

use super::{PATH, PATIENCE, describe, pulling, watch};
use crate::client::Client;
use crate::client::viewer::{BOTH, Over, Viewer};
use crate::corpus::{Recipe, folder};
use crate::judge::ffmpeg::{see, source};
use crate::judge::gstreamer::{self, Until};
use crate::judge::{self, Turn, Verdict, constant};
use crate::server::{Backend, Builder, Server, free_ports, on_both_backends};
use crate::upstream::gstreamer::GstServer;
use crate::upstream::network::{ADDRESSES, Networks};

const FILE: &str = "h264_aac.mp4";

/// Files of all kinds that FFmpeg can judge.
const FILES: &[&str] =
    &[FILE, "h265_aac.mp4", "mpeg4_aac.mp4", "h264_opus.mkv", "jpeg_pcmu.mov", "vp8_opus.webm"];

/// How far the first reports of a source may move times: pictures that came before them are placed by their arrival, and
/// a source holds pictures back that others depend on.
const FIRST_REPORT_S: f64 = 0.13;

/// By when the first reports of a source have come.
const REPORTED_S: f64 = 1.0;

/// What comes before them is placed by its arrival, which a busy machine holds up for longer.
const HELD_UP_S: f64 = 0.5;

/// Watches with FFmpeg and compares with the beginning of the file, which the source begins again at its end.
pub(crate) fn watch_beginning(url: &str, over: Over, recipe: &'static Recipe) -> Verdict {
    watch_beginning_by(url, over.name(), recipe)
}

/// The same by a transport of FFmpeg's.
pub(crate) fn watch_beginning_by(url: &str, transport: &str, recipe: &'static Recipe) -> Verdict {
    let _turn = Turn::wait();
    let input = ["-copyts", "-rtsp_transport", transport, "-buffer_size", "4000000", "-t", "2.4", "-i", url];
    let played = see(&input, recipe, Duration::from_secs(25))?;
    let source = source(recipe);
    let pictures = begins("pictures", &source.pictures.sums, &played.pictures.sums, 0)?;
    // Sound before the first picture is not waited for.
    let packets = begins("packets of sound", &source.packets.sums, &played.packets.sums, 8)?;
    begins("bytes of sound", &source.samples, &played.samples, 2_000)?;
    // FFmpeg gives the first packet of some formats no time of its own.
    let behind = |times: &[f64], from: usize| times.get(from..).unwrap_or_default().to_vec();
    let (wanted, found) = (behind(&source.pictures.times, pictures + 1), behind(&played.pictures.times, 1));
    let shown = settled("picture", &wanted, &found)?;
    let (wanted, found) = (behind(&source.packets.times, packets + 3), behind(&played.packets.times, 3));
    let heard = settled("packet", &wanted, &found)?;
    if played.packets.times.len() > 3 && (shown - heard).abs() > FIRST_REPORT_S {
        return Err(format!("sound is moved by {heard:.6} s, pictures by {shown:.6} s"));
    }
    Ok(())
}

/// By how much all times differ once reports have come.
fn settled(what: &str, source: &[f64], played: &[f64]) -> Result<f64, String> {
    constant(what, source, played, HELD_UP_S)?;
    let is_reported = |time: &f64| *time >= source[0] + REPORTED_S;
    let from = source.iter().position(is_reported).unwrap_or_default();
    constant(what, &source[from..], played.get(from..).unwrap_or_default(), FIRST_REPORT_S)
}

/// The same by GStreamer, over some of its protocols.
pub(crate) fn watch_beginning_by_gstreamer(url: &str, protocols: &str, recipe: &'static Recipe) -> Verdict {
    let source = gstreamer::content(recipe)?;
    let mut verdict = Err("GStreamer has lost its race each time".to_owned());
    for _ in 0..gstreamer::RUNS_MAX {
        verdict = match gstreamer::played(url, protocols, recipe, Until::FourFifths) {
            Ok(None) => continue,
            Ok(Some(played)) => begins("pictures", &source.pictures, &played.pictures, 0)
                .and_then(|_| begins("packets of sound", &source.packets, &played.packets, 8))
                .map(|_| ()),
            Err(problem) => Err(problem),
        };
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

/// How many items of the source came before the first that was played, at most `missed`; two thirds must have come.
fn begins<T: PartialEq>(what: &str, source: &[T], played: &[T], missed: usize) -> Result<usize, String> {
    if played.len() * 3 < source.len() * 2 {
        return Err(format!("only {} of {} {what} came", played.len(), source.len()));
    }
    // The picture at which FFmpeg was stopped may not be whole.
    let played = &played[..played.len().saturating_sub(1).min(source.len().saturating_sub(missed))];
    let starts = |start: &usize| source.get(*start..).is_some_and(|rest| rest.starts_with(played));
    let start = (0..=missed).find(starts);
    start.ok_or_else(|| {
        let place = (0..source.len()).find(starts);
        format!("{} {what} are not the beginning of the file, but begin at {place:?} of it", played.len())
    })
}

/// Judges again what failed over UDP: programs that a busy machine holds up lose datagrams.
fn once_more(is_udp: bool, judge: impl Fn() -> Verdict) -> Verdict {
    let verdict = judge();
    match &verdict {
        Err(problem) if is_udp => {
            println!("once more: {problem}");
            judge()
        }
        _ => verdict,
    }
}

/// A server that serves the corpus.
fn corpus(backend: Backend) -> Server {
    Server::with(backend).media(folder()).lifetime(Duration::from_secs(300)).start()
}

fn long(builder: Builder) -> Server {
    builder.lifetime(Duration::from_secs(300)).start()
}

fn files_of_our_own_server_come_as_they_are(backend: Backend) {
    let first = corpus(backend);
    let recipes: Vec<_> = FILES.iter().map(|name| Recipe::named(name)).collect();
    for transfer in ["TCP", "UDP"] {
        judge::all(&recipes, |recipe| {
            for over in BOTH {
                once_more(transfer == "UDP" || over == Over::Udp, || {
                    // Anew each time: the first viewer is there from the first picture on.
                    let source = first.url(&format!("/{}", recipe.name));
                    let server = pulling(backend, &source, &[("transfer", transfer)]).start();
                    watch_beginning(&server.url(PATH), over, recipe)
                })
                .map_err(|problem| format!("{transfer} to {over:?}: {problem}"))?;
            }
            Ok(())
        });
    }
}

fn a_file_of_gstreamers_server_comes_as_it_is(backend: Backend) {
    let recipe = Recipe::named(FILE);
    for (transfer, allowed) in [("TCP", "tcp"), ("UDP", "udp"), ("TCP", "udp"), ("UDP", "tcp")] {
        let gst = GstServer::start(recipe, &[allowed]);
        for over in BOTH {
            let verdict = once_more(allowed == "udp" || over == Over::Udp, || {
                let server = pulling(backend, &gst.url("", "/file"), &[("transfer", transfer)]).start();
                watch_beginning(&server.url(PATH), over, recipe)
            });
            assert_eq!(verdict, Ok(()), "{transfer} from a server of {allowed} to {over:?}");
        }
    }
}

fn gstreamers_server_lets_in_who_knows_the_password(backend: Backend) {
    let recipe = Recipe::named(FILE);
    for scheme in ["basic", "digest"] {
        let gst = GstServer::start(recipe, &["tcp", scheme, "user", "p@ss word"]);
        let server = pulling(backend, &gst.url("user:p%40ss%20word@", "/live"), &[]).start();
        let mut viewer = watch(&server, Over::Tcp);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].units().len() > 10), "{scheme}");
        let server = pulling(backend, &gst.url("", "/live"), &[("user", "user"), ("pass", "p@ss")]).start();
        let answer = describe(&server).expect(503);
        assert!(answer.text().contains("refuses this user"), "{scheme}: {}", answer.text());
    }
}

fn our_own_server_lets_in_who_knows_the_password(backend: Backend) {
    let user = "<user><username>us@er</username><password>p@ss word</password></user>";
    for algorithm in ["MD5", "SHA-256", "MD5, SHA-256"] {
        let first = Server::with(backend)
            .media(folder())
            .setting("need_auth", 1)
            .setting("auth_algorithm", algorithm)
            .xml(user)
            .start();
        let source = first.url(&format!("/{FILE}"));
        for transfer in ["TCP", "UDP"] {
            let nodes = [("transfer", transfer), ("user", "us@er"), ("pass", "p@ss word")];
            let server = pulling(backend, &source, &nodes).start();
            let mut viewer = watch(&server, Over::Tcp);
            let has_come =
                viewer.receive_until(PATIENCE, |viewer| viewer.tracks.iter().all(|t| t.units().len() > 10));
            assert!(has_come, "{algorithm} over {transfer}");
            first.wait_for_log("user=\"us@er\"", PATIENCE);
        }
        assert_eq!(first.lines("log-in failed"), 0, "{algorithm}");
        let server = pulling(backend, &source, &[("user", "us@er"), ("pass", "p@ss")]).start();
        let answer = describe(&server).expect(503);
        assert!(answer.text().contains("refuses this user"), "{algorithm}: {}", answer.text());
    }
}

fn viewers_go_on_when_gstreamers_server_is_started_again(backend: Backend) {
    let recipe = Recipe::named(FILE);
    go_on_when_it_is_started_again(backend, "/live", |port| {
        GstServer::start_at("127.0.0.1", port, recipe, &[])
    });
}

fn viewers_go_on_when_our_own_server_is_started_again(backend: Backend) {
    go_on_when_it_is_started_again(backend, "/test", |port| long(Server::with(backend).port(port)));
}

/// A server is ended without a word while viewers watch one of its streams, and started again: twice, each way.
fn go_on_when_it_is_started_again<S>(backend: Backend, path: &str, start: impl Fn(u16) -> S) {
    for transfer in ["TCP", "UDP"] {
        let port = free_ports();
        let mut source = start(port);
        let url = format!("rtsp://127.0.0.1:{port}{path}");
        let server = long(pulling(backend, &url, &[("transfer", transfer)]));
        let mut viewers = BOTH.map(|over| watch(&server, over));
        for round in 0..2 {
            for viewer in &mut viewers {
                let count = viewer.tracks[0].units().len();
                let enough = |viewer: &Viewer| viewer.tracks[0].units().len() > count + 20;
                assert!(viewer.receive_until(PATIENCE, enough), "{transfer} round {round}");
            }
            drop(source);
            for viewer in &mut viewers {
                viewer.receive(Duration::from_millis(700));
            }
            source = start(port);
            let back = Instant::now();
            for viewer in &mut viewers {
                let has_more = |viewer: &Viewer| {
                    viewer.tracks.iter().all(|track| track.packets.last().is_some_and(|last| last.at > back))
                };
                assert!(viewer.receive_until(PATIENCE, has_more), "{transfer} round {round}");
            }
            println!("{transfer}: on {:?} after the return", back.elapsed());
        }
        for track in viewers.iter().flat_map(|viewer| &viewer.tracks) {
            assert_eq!(track.gaps(), []);
            assert!(!track.has_ended());
            let grows = |pair: &[crate::client::rtp::Packet]| {
                pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32 >= 0
            };
            assert!(track.packets.windows(2).all(grows));
        }
    }
}

fn a_group_is_joined_through_a_network(backend: Backend) {
    let Some(networks) = Networks::new() else { return };
    let recipe = Recipe::named(FILE);
    let gst = networks.inside(1, || GstServer::start_at(ADDRESSES[1], 8554, recipe, &["mcast"]));
    networks.inside(0, || {
        for over in BOTH {
            let verdict = once_more(true, || {
                let nodes = [("transfer", "MULTICAST")];
                let server =
                    pulling(backend, &gst.url("", "/file"), &nodes).setting("udp_to_tcp_ms", 60_000).start();
                watch_beginning(&server.url(PATH), over, recipe)
            });
            assert_eq!(verdict, Ok(()), "{over:?}");
        }
        let server = pulling(backend, &gst.url("", "/live"), &[("transfer", "MULTICAST")]).start();
        let mut viewer = watch(&server, Over::Tcp);
        assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].units().len() > 50));
        server.wait_for_lines("transfer=Multicast", 1);
        assert_eq!(server.lines("another transfer"), 0);
    });
}

fn a_group_of_our_own_server_is_joined_through_a_network(backend: Backend) {
    let Some(networks) = Networks::new() else { return };
    let recipe = Recipe::named(FILE);
    let serving = |first: &str, last: &str| {
        let builder = Server::with(backend).media(folder()).ip("0.0.0.0").setting("multicast", 1);
        let builder = builder.setting("multicast_ip_min", first).setting("multicast_ip_max", last);
        networks.inside(1, || long(builder))
    };
    // Of any source, and of one alone.
    for (first, last) in [("239.71.0.1", "239.71.0.99"), ("232.71.0.1", "232.71.0.99")] {
        let source = serving(first, last);
        let url = |path: &str| format!("rtsp://{}:{}/{path}", ADDRESSES[1], source.port());
        networks.inside(0, || {
            for over in BOTH {
                let verdict = once_more(true, || {
                    let nodes = [("transfer", "MULTICAST")];
                    let server =
                        pulling(backend, &url(FILE), &nodes).setting("udp_to_tcp_ms", 60_000).start();
                    let ended = source.lines("session ended");
                    let verdict = watch_beginning(&server.url(PATH), over, recipe);
                    // Who has taken part in the group says goodbye: the next finds it at the beginning of the file.
                    server.signal("TERM");
                    source.wait_for_lines("session ended", ended + 1);
                    verdict
                });
                assert_eq!(verdict, Ok(()), "{first} {over:?}");
            }
            // Two that pull the same: one transmission.
            let begun = source.lines("multicast begins");
            let servers =
                [0, 1].map(|_| pulling(backend, &url("test"), &[("transfer", "MULTICAST")]).start());
            for server in &servers {
                let mut viewer = watch(server, Over::Tcp);
                assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].units().len() > 50));
                assert_eq!(viewer.tracks[0].gaps(), []);
                server.wait_for_lines("transfer=Multicast", 1);
                assert_eq!(server.lines("another transfer"), 0);
            }
            source.wait_for_lines("multicast begins", begun + 1);
        });
    }
}

fn a_group_that_nothing_comes_of_is_left_for_tcp(backend: Backend) {
    let Some(networks) = Networks::new() else { return };
    let recipe = Recipe::named(FILE);
    let gst = networks.inside(1, || GstServer::start_at(ADDRESSES[1], 8554, recipe, &["udp"]));
    networks.inside(0, || {
        let server = pulling(backend, &gst.url("", "/live"), &[("transfer", "MULTICAST")])
            .setting("source_start_ms", 3_000)
            .start();
        let answer = describe(&server);
        // Neither groups nor TCP are served: the reason is the source's.
        assert_eq!(answer.status, 503, "{}", answer.text());
        server.wait_for_log("another transfer", PATIENCE);
    });
}

fn a_proxy_of_a_proxy_is_as_good_as_one(backend: Backend) {
    let (first, recipe) = (corpus(backend), Recipe::named(FILE));
    for transfer in ["TCP", "UDP"] {
        let verdict = once_more(transfer == "UDP", || {
            let nodes = [("transfer", transfer)];
            let middle = pulling(backend, &first.url(&format!("/{FILE}")), &nodes).start();
            let last = pulling(backend, &middle.url(PATH), &nodes).start();
            watch_beginning(&last.url(PATH), Over::Tcp, recipe)
        });
        assert_eq!(verdict, Ok(()), "{transfer}");
    }
}

/// What a circle of proxies may cost: it never has a stream, says so, and comes to rest.
#[track_caller]
fn comes_to_rest(server: &Server) {
    let began = Instant::now();
    let mut client = Client::connect(server.address());
    client.request("DESCRIBE", &server.url(PATH), &[]).expect(503);
    assert!(began.elapsed() < PATIENCE);
    thread::sleep(Duration::from_secs(4));
    let before = server.lines("connection peer=");
    assert!(before < 30, "{before} connections");
    thread::sleep(Duration::from_secs(4));
    server.wait_for_lines("connection peer=", before);
    Client::connect(server.address()).request("DESCRIBE", &server.url("/test"), &[]).expect(200);
}

fn a_proxy_of_itself_has_no_stream_and_comes_to_rest(backend: Backend) {
    let port = free_ports();
    let url = format!("rtsp://127.0.0.1:{port}{PATH}");
    comes_to_rest(&pulling(backend, &url, &[]).port(port).setting("source_start_ms", 1_500).start());
}

fn two_proxies_of_each_other_have_no_stream_and_come_to_rest(backend: Backend) {
    let ports = [free_ports(), free_ports()];
    let url = |port: u16| format!("rtsp://127.0.0.1:{port}{PATH}");
    let server = |own: usize| {
        let pulling = pulling(backend, &url(ports[1 - own]), &[]).port(ports[own]);
        pulling.setting("source_start_ms", 1_500).start()
    };
    let servers = [server(0), server(1)];
    comes_to_rest(&servers[0]);
}

on_both_backends!(
    a_file_of_gstreamers_server_comes_as_it_is,
    gstreamers_server_lets_in_who_knows_the_password,
    viewers_go_on_when_gstreamers_server_is_started_again,
    a_group_is_joined_through_a_network,
    a_group_that_nothing_comes_of_is_left_for_tcp,
    a_proxy_of_itself_has_no_stream_and_comes_to_rest,
    two_proxies_of_each_other_have_no_stream_and_come_to_rest;
    "ffmpeg":
    viewers_go_on_when_our_own_server_is_started_again,
    files_of_our_own_server_come_as_they_are,
    our_own_server_lets_in_who_knows_the_password,
    a_group_of_our_own_server_is_joined_through_a_network,
    a_proxy_of_a_proxy_is_as_good_as_one,
);
