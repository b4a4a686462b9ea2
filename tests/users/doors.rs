//! Names and passwords behind every door: it is RTSP that asks for them.

use std::time::Duration;

use super::{FILE, PASSWORD, PATIENCE, USER, user};
use crate::client::Client;
use crate::client::login::Login;
use crate::client::publisher::{Publisher, SDP};
use crate::client::viewer::{Over, Viewer};
use crate::corpus::{Recipe, folder};
use crate::judge::{Turn, ffmpeg, gstreamer};
use crate::server::{Backend, Server, on_both_backends};
use crate::tunnels::bridge::{DOORS, bridge, connect};

fn server(backend: Backend) -> Server {
    Server::with(backend)
        .http()
        .media(folder())
        .shards(3)
        .setting("need_auth", 1)
        .setting("ban_after", 3)
        .xml(&user(USER, PASSWORD, &["play /h264*", "publish /live/*"]))
        .lifetime(Duration::from_secs(120))
        .start()
}

fn whoever_comes_through_a_door_is_asked_as_all_the_others(backend: Backend) {
    for door in DOORS {
        let server = server(backend);
        let url = server.url(FILE);
        for address in [server.address(), server.http_address()] {
            for is_counted in [false, true] {
                let mut client = connect(address, door);
                client.request("OPTIONS", &url, &[]).expect(200);
                for method in ["DESCRIBE", "SETUP", "PLAY", "RECORD"] {
                    let tcp = ("Transport", "RTP/AVP/TCP;unicast");
                    client.request(method, &url, &[tcp]).expect(401);
                }
                let mut client = client.log_in(&url, USER, PASSWORD);
                if is_counted {
                    client.login = client.login.map(Login::counted);
                }
                client.request("DESCRIBE", &server.url("/mpeg4_aac.mp4"), &[]).expect(403);
                let mut viewer = Viewer::describe_on(client, &url, Over::Tcp).set_up();
                viewer.play(&[]);
                assert!(viewer.receive_until(PATIENCE, |viewer| viewer.tracks[0].packets.len() > 10));
                viewer.teardown();
                viewer.client.session = None;
                Publisher::announce_on(&mut viewer.client, &server.url("/other"), SDP).expect(403);
                Publisher::announce_on(&mut viewer.client, &server.url("/live/a"), SDP).expect(200);
            }
        }
        // Whatever shards the guesses come to, and whatever stands around them.
        let idle = connect(server.http_address(), door);
        let mut guessing: Vec<Client> = (0..3)
            .map(|number| {
                let client = connect(server.http_address(), door);
                let mut client = client.log_in(&url, USER, &format!("guess-{number}"));
                client.ask("DESCRIBE", &url, &[]);
                client
            })
            .collect();
        for client in &mut guessing {
            client.response().expect(401);
            assert!(client.is_closed_within(PATIENCE));
        }
        server.wait_for_log("banned: too many wrong passwords", PATIENCE);
        assert!({ idle }.is_closed_within(PATIENCE), "{door:?}: who has proven nothing goes");
        server.wait_for_lines("log-in failed", 3);
    }
}

fn players_come_through_doors_with_name_and_password(backend: Backend) {
    let server = server(backend);
    let _turn = Turn::wait();
    let recipe = Recipe::named("h264_ip_aac.mp4");
    let path = "/h264_ip_aac.mp4";
    let whole = format!("{USER}:{PASSWORD}@{}{path}", server.http_address());
    assert_eq!(ffmpeg::judge_by(&format!("rtsp://{whole}"), "http", recipe), Ok(()), "FFmpeg's tunnel");
    assert_eq!(gstreamer::judge_by(&format!("rtsph://{whole}"), "tcp", recipe), Ok(()), "GStreamer's tunnel");
    for door in DOORS {
        let url = format!("rtsp://{USER}:{PASSWORD}@{}{path}", bridge(server.http_address(), door));
        assert_eq!(ffmpeg::judge_by(&url, "tcp", recipe), Ok(()), "{door:?}");
    }
    assert_eq!(server.lines("log-in failed"), 0);
    assert!(!server.log().contains(PASSWORD));
}

on_both_backends!(;
    "ffmpeg":
    whoever_comes_through_a_door_is_asked_as_all_the_others,
    players_come_through_doors_with_name_and_password,
);
