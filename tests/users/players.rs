//! Real players and publishers with a name and a password.

use std::time::Duration;

use super::{FILE, PASSWORD, PATIENCE, USER, asking, user};
use crate::client::Client;
use crate::client::viewer::{BOTH, Over};
use crate::corpus::{Recipe, folder};
use crate::judge::{Turn, Verdict, ffmpeg, gstreamer, run};
use crate::published::{once_more, spawn};
use crate::server::{Backend, Server, on_both_backends};

/// Names and passwords as people have them, and as they stand in a URL.
const ODD: [[&str; 3]; 3] = [
    [USER, PASSWORD, "admin:secret-12"],
    ["us@er", "p@ss:w/rd#1?x=%41&amp;y", "us%40er:p%40ss%3Aw%2Frd%231%3Fx%3D%2541%26amp%3By"],
    ["päß", "100% ö", "p%C3%A4%C3%9F:100%25%20%C3%B6"],
];

fn server(backend: Backend) -> Server {
    let users = ODD[1..].iter().map(|[name, password, _]| user(name, password, &[]));
    asking(backend).xml(&users.collect::<String>()).lifetime(Duration::from_secs(300)).start()
}

/// The URL of a path with name and password before an address.
fn url(host: &str, server: &Server, userinfo: &str, path: &str) -> String {
    format!("rtsp://{userinfo}@{host}:{}{path}", server.port())
}

fn ffmpeg_plays_with_name_and_password(backend: Backend) {
    let server = server(backend);
    let recipe = Recipe::named(&FILE[1..]);
    for (over, [_, _, userinfo]) in BOTH.into_iter().zip(ODD.iter().cycle().skip(1)) {
        let _turn = Turn::wait();
        let verdict =
            once_more(over, || ffmpeg::judge(&url("127.0.0.1", &server, userinfo, FILE), over, recipe));
        assert_eq!(verdict, Ok(()), "{over:?} {userinfo}");
    }
    assert_eq!(server.lines("log-in failed"), 0);
    assert!(!server.log().contains("p@ss") && !server.log().contains("p%40ss"));
}

fn gstreamer_plays_with_name_and_password(backend: Backend) {
    let server = server(backend);
    let recipe = Recipe::named("h264_ip_aac.mp4");
    for (over, [_, _, userinfo]) in BOTH.into_iter().zip(&ODD) {
        let _turn = Turn::wait();
        let url = url("127.0.0.1", &server, userinfo, "/h264_ip_aac.mp4");
        let verdict = once_more(over, || gstreamer::judge(&url, over, recipe));
        assert_eq!(verdict, Ok(()), "{over:?} {userinfo}");
    }
    assert_eq!(server.lines("log-in failed"), 0);
}

fn players_come_in_over_ipv6(backend: Backend) {
    let server = asking(backend).ip("127.0.0.1,::1").start();
    let _turn = Turn::wait();
    let url = url("[::1]", &server, "admin:secret-12", FILE);
    assert_eq!(ffmpeg::judge(&url, Over::Tcp, Recipe::named(&FILE[1..])), Ok(()));
    assert!(server.log().contains("peer=[::1]:"));
}

fn ffmpeg_plays_where_a_stronger_hash_is_offered_before_md5(backend: Backend) {
    let server = asking(backend).setting("auth_algorithm", "SHA-256, MD5").setting("auth_basic", 1).start();
    let _turn = Turn::wait();
    let url = url("127.0.0.1", &server, "admin:secret-12", FILE);
    assert_eq!(ffmpeg::judge(&url, Over::Tcp, Recipe::named(&FILE[1..])), Ok(()));
}

/// Runs a player that must fail by itself.
fn is_refused(program: &str, arguments: &str) -> Verdict {
    let arguments: Vec<_> = arguments.split(' ').map(str::to_owned).collect();
    match run(program, &arguments, Duration::from_secs(20)) {
        Ok(_) => Err("it is let in".into()),
        Err(problem) if problem.contains("has not ended") => Err(problem),
        Err(_) => Ok(()),
    }
}

fn players_with_a_wrong_password_give_up_after_one_attempt(backend: Backend) {
    for userinfo in ["admin:wrong", "nobody:secret-12", ""] {
        for program in ["ffmpeg", "gst-launch-1.0"] {
            let server = asking(backend).start();
            let url = url("127.0.0.1", &server, userinfo, FILE).replace("//@", "//");
            let arguments = match program {
                "ffmpeg" => format!("-v error -nostdin -rtsp_transport tcp -i {url} -f null -"),
                _ => format!("-q rtspsrc location={url} protocols=tcp ! fakesink"),
            };
            assert_eq!(is_refused(program, &arguments), Ok(()), "{program} {userinfo}");
            let failures = server.lines("log-in failed");
            assert_eq!(failures, usize::from(!userinfo.is_empty()), "{program} {userinfo}: {}", server.log());
            assert!(server.lines("method=DESCRIBE uri=") <= 3, "{program} {userinfo}: {}", server.log());
            assert!(!server.log().contains("wrong"), "{}", server.log());
        }
    }
}

/// Whether somebody who may watches a stream that is published with these words.
fn is_published(server: &Server, path: &str, program: &str, arguments: &str) -> Verdict {
    let _turn = Turn::wait();
    let _publishing = spawn(program, arguments);
    let url = server.url(path);
    let end = std::time::Instant::now() + PATIENCE;
    while Client::connect(server.address()).request("DESCRIBE", &url, &[]).status != 200 {
        if std::time::Instant::now() > end {
            return Err("nothing is published".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn ffmpeg_and_gstreamer_publish_with_name_and_password(backend: Backend) {
    let server = Server::with(backend)
        .setting("publish", "auth")
        .xml(&user("us@er", "p@ss:1", &["publish /live/*"]))
        .xml(&user("viewer", "v", &["play"]))
        .start();
    let file = folder().join("h264_ip_aac.mp4");
    for over in BOTH {
        let to =
            |who: &str, name: &str| url("127.0.0.1", &server, who, &format!("/live/{name}{}", over.name()));
        let by_ffmpeg = |url: &str| {
            let input = format!("-v error -re -i {}", file.display());
            format!("{input} -map 0:v -c copy -f rtsp -rtsp_transport {} {url}", over.name())
        };
        let right = "us%40er:p%40ss%3A1";
        let path = format!("/live/f{}", over.name());
        let verdict = is_published(&server, &path, "ffmpeg", &by_ffmpeg(&to(right, "f")));
        assert_eq!(verdict, Ok(()), "{over:?}");
        let elements = "qtdemux ! h264parse ! s.";
        let source = format!("filesrc location={} ! {elements}", file.display());
        let sink = format!("rtspclientsink name=s protocols={} location={}", over.name(), to(right, "g"));
        let path = format!("/live/g{}", over.name());
        let arguments = format!("-k 1 12 gst-launch-1.0 -q {sink} {source}");
        assert_eq!(is_published(&server, &path, "timeout", &arguments), Ok(()), "{over:?}");
        for wrong in ["us%40er:wrong", "viewer:v"] {
            assert_eq!(is_refused("ffmpeg", &by_ffmpeg(&to(wrong, "x"))), Ok(()), "{over:?} {wrong}");
        }
    }
    assert_eq!((server.lines("log-in failed"), server.lines("not permitted")), (2, 2));
}

on_both_backends!(
    players_with_a_wrong_password_give_up_after_one_attempt,
    ffmpeg_and_gstreamer_publish_with_name_and_password;
    "ffmpeg":
    ffmpeg_plays_with_name_and_password,
    gstreamer_plays_with_name_and_password,
    players_come_in_over_ipv6,
    ffmpeg_plays_where_a_stronger_hash_is_offered_before_md5,
);
