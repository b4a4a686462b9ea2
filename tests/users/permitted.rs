//! What a user may do, and who is asked at all.

use std::fs;

use super::{FILE, PASSWORD, USER, asking, logging_in, user};
use crate::client::Client;
use crate::client::login::Login;
use crate::client::publisher::{Publisher, SDP};
use crate::client::viewer::{Over, Viewer};
use crate::corpus::folder;
use crate::judge::ffmpeg::Scratch;
use crate::server::{Backend, Server, on_both_backends, scratch};
use crate::upstream::digest::Lock;

fn play(server: &Server, path: &str, name: &str) -> u16 {
    logging_in(server, path, name, "p").request("DESCRIBE", &server.url(path), &[]).status
}

fn publish(server: &Server, path: &str, name: &str) -> u16 {
    let mut client = logging_in(server, path, name, "p");
    Publisher::announce_on(&mut client, &server.url(path), SDP).status
}

/// A publisher who was asked, and has set up both tracks.
#[track_caller]
fn set_up(server: &Server, url: &str, over: Over) -> Publisher {
    let mut client = Client::connect(server.address());
    let asked = Publisher::announce_on(&mut client, url, SDP).expect(401);
    client.login = Some(Login::to(&asked, Lock::Md5, USER, PASSWORD));
    Publisher::announce_on(&mut client, url, SDP).expect(200);
    let mut publisher = Publisher::of(client, url, over);
    publisher.setup(96);
    publisher.setup(8);
    publisher
}

fn a_user_may_what_the_permissions_say_and_nothing_else(backend: Backend) {
    let server = Server::with(backend)
        .media(folder())
        .setting("need_auth", 1)
        .xml(&user("viewer", "p", &["play"]))
        .xml(&user("camera", "p", &["publish /live/*, /gate"]))
        .xml(&user("guest", "p", &["play /h264*.mp4", "play,publish /guest/*"]))
        .xml(&user("all", "p", &[]))
        .start();
    let cases = [
        ("viewer", FILE, 200, 403),
        ("viewer", "/live/a", 404, 403),
        ("camera", FILE, 403, 403),
        ("camera", "/live/a", 403, 200),
        ("camera", "/gate", 403, 200),
        ("camera", "/gates", 403, 403),
        ("camera", "/liv%65/%62", 403, 200),
        ("guest", FILE, 200, 403),
        ("guest", "/h265_aac.mp4", 403, 403),
        ("guest", "/nowhere", 403, 403),
        ("guest", "/guest/x", 404, 200),
        ("all", FILE, 200, 405),
        ("all", "/any", 404, 200),
    ];
    for (name, path, played, published) in cases {
        assert_eq!(play(&server, path, name), played, "{name} plays {path}");
        assert_eq!(publish(&server, path, name), published, "{name} publishes {path}");
    }
    server.wait_for_log("not permitted user=\"viewer\" action=\"publish\"", super::PATIENCE);
    assert_eq!(server.lines("log-in failed"), 0, "who has no permission has a password");
}

fn a_publisher_with_the_permission_for_its_path_sets_up_tracks_of_any_name(backend: Backend) {
    let server = Server::with(backend)
        .setting("need_auth", 1)
        .xml(&user("camera", "p", &["publish /live/cam"]))
        .xml(&user("other", "p", &["publish"]))
        .start();
    let url = server.url("/live/cam");
    let mut client = logging_in(&server, "/live/cam", "camera", "p");
    Publisher::announce_on(&mut client, &url, SDP).expect(200);
    let mut publisher = Publisher::of(client, &url, Over::Tcp);
    publisher.setup(96);
    publisher.setup(8);
    // Another user on its connection is another user.
    let own = publisher.client.login.clone();
    let asked = Client::connect(server.address()).request("DESCRIBE", &url, &[]).expect(401);
    publisher.client.login = Some(Login::to(&asked, Lock::Md5, "other", "p"));
    publisher.client.request("RECORD", &url, &[]).expect(454);
    publisher.client.login = own;
    publisher.client.request("RECORD", &url, &[]).expect(200);
}

fn what_was_announced_opens_no_path_below_it(backend: Backend) {
    let server = Server::with(backend)
        .setting("need_auth", 1)
        .xml(&user("camera", "p", &["publish /live/cam"]))
        .start();
    let mut client = logging_in(&server, "/live/cam", "camera", "p");
    Publisher::announce_on(&mut client, &server.url("/live/cam"), SDP).expect(200);
    for below in ["/live/cam/2", "/live/cam/streamid=0"] {
        Publisher::announce_on(&mut client, &server.url(below), SDP).expect(403);
    }
    Publisher::announce_on(&mut client, &server.url("/live/cam"), SDP).expect(200);
    let mut publisher = Publisher::of(client, &server.url("/live/cam"), Over::Tcp);
    publisher.setup(96);
}

fn a_files_whole_name_must_be_permitted(backend: Backend) {
    let media = Scratch(scratch("media"));
    for name in ["open.mp4", "open&shut.mp4"] {
        fs::copy(folder().join(&FILE[1..]), media.path().join(name)).unwrap();
    }
    fs::create_dir(media.path().join("shut")).unwrap();
    fs::copy(folder().join(&FILE[1..]), media.path().join("shut/a.mp4")).unwrap();
    let server = Server::with(backend)
        .media(media.path())
        .setting("need_auth", 1)
        .xml(&user("u", "p", &["play /open.mp4 /open /ope/* /*/*/a.mp4"]))
        .start();
    for (path, status) in [
        ("/open.mp4", 200),
        ("/open.mp4&t=unicast", 200),
        ("/open.mp4?x=1/trackID=0", 200),
        // A name that exists comes before one that is cut at its parameters.
        ("/open&shut.mp4", 403),
        ("/open%26shut.mp4", 403),
        ("/ope/../shut/a.mp4", 404),
        ("/ope/%2e%2e/shut/a.mp4", 404),
        ("/shut/a.mp4", 403),
        ("/shut//a.mp4", 403),
        ("/shut/./a.mp4", 403),
        ("/./shut/a.mp4", 403),
        ("/shut/%2e%2fa.mp4", 403),
    ] {
        assert_eq!(play(&server, path, "u"), status, "{path}");
    }
}

fn a_session_opens_no_other_path(backend: Backend) {
    let server = Server::with(backend)
        .media(folder())
        .setting("need_auth", 1)
        .xml(&user("viewer", "p", &["play /h264_aac.mp4"]))
        .xml(&user("camera", "p", &["publish /live/cam"]))
        .start();
    let client = logging_in(&server, FILE, "viewer", "p");
    let mut viewer = Viewer::describe_on(client, &server.url(FILE), Over::Tcp).set_up();
    let other = ("Transport", "RTP/AVP/TCP;unicast;interleaved=8-9");
    for path in ["/h265_aac.mp4", "/test"] {
        viewer.client.request("DESCRIBE", &server.url(path), &[]).expect(403);
        viewer.client.request("SETUP", &server.url(&format!("{path}/trackID=0")), &[other]).expect(403);
    }
    Publisher::announce_on(&mut viewer.client, &server.url("/live/cam"), SDP).expect(403);
    viewer.play(&[]);
    let url = server.url("/live/cam");
    let mut client = logging_in(&server, "/live/cam", "camera", "p");
    Publisher::announce_on(&mut client, &url, SDP).expect(200);
    let mut publisher = Publisher::of(client, &url, Over::Tcp);
    publisher.setup(96);
    publisher.client.request("DESCRIBE", &server.url(FILE), &[]).expect(403);
    publisher.client.request("SETUP", &server.url("/test/trackID=0"), &[other]).expect(403);
}

fn whoever_is_not_asked_cannot_name_a_session_of_who_is(backend: Backend) {
    // Viewers are asked and publishers are not, then the other way round.
    let server = asking(backend).setting("publish", "on").start();
    let client = logging_in(&server, FILE, USER, PASSWORD);
    let mut viewer = Viewer::describe_on(client, &server.url(FILE), Over::Udp).set_up();
    viewer.play(&[]);
    let mut stranger = Client::connect(server.address());
    stranger.session = viewer.client.session.clone();
    for method in ["RECORD", "OPTIONS"] {
        stranger.request(method, &server.url(FILE), &[]).expect(401);
    }
    Publisher::announce_on(&mut stranger, &server.url("/live/cam"), SDP).expect(401);
    viewer.teardown();

    let server = Server::with(backend).setting("publish", "auth").xml(&user(USER, PASSWORD, &[])).start();
    let url = server.url("/live/cam");
    let mut publisher = set_up(&server, &url, Over::Udp);
    let mut stranger = Client::connect(server.address());
    stranger.session = publisher.client.session.clone();
    for method in ["DESCRIBE", "PLAY", "RECORD", "TEARDOWN", "OPTIONS"] {
        stranger.request(method, &server.url("/test"), &[]).expect(401);
    }
    publisher.client.request("RECORD", &url, &[]).expect(200);
}

fn publishers_alone_are_asked_where_the_setting_says_so(backend: Backend) {
    let server = Server::with(backend)
        .media(folder())
        .setting("publish", "auth")
        .xml(&user(USER, PASSWORD, &[]))
        .start();
    Client::connect(server.address()).request("DESCRIBE", &server.url(FILE), &[]).expect(200);
    let url = server.url("/live/cam");
    let mut publisher = set_up(&server, &url, Over::Tcp);
    let login = publisher.client.login.take();
    publisher.client.request("RECORD", &url, &[]).expect(401);
    publisher.client.login = login;
    publisher.client.request("RECORD", &url, &[]).expect(200);
    publisher.picture(0, true);
    let mut viewer = Viewer::open(server.address(), &url, Over::Tcp);
    viewer.play(&[]);
    viewer.client.request("GET_PARAMETER", &url, &[]).expect(200);
    viewer.teardown();
}

fn what_publish_says_goes_before_what_viewers_are_asked(backend: Backend) {
    for (setting, status) in [("", 401), ("auth", 401), ("on", 200), ("local", 200), ("off", 403)] {
        let server = asking(backend).setting("publish", setting).start();
        let (_, answer) = Publisher::announce(server.address(), &server.url("/live/cam"), SDP);
        assert_eq!(answer.status, status, "{setting:?}");
        Client::connect(server.address()).request("DESCRIBE", &server.url(FILE), &[]).expect(401);
    }
}

fn the_start_warns_of_open_doors_only(backend: Backend) {
    let warning = "anyone who reaches this server can publish";
    for (setting, value, warns) in
        [("mtu", "1400", 1), ("need_auth", "1", 0), ("publish", "auth", 0), ("allow", "127.0.0.0/8", 0)]
    {
        let server =
            Server::with(backend).ip("0.0.0.0").setting(setting, value).xml(&user("u", "p", &[])).start();
        server.wait_for_log("/test", super::PATIENCE);
        server.wait_for_lines(warning, warns);
    }
}

on_both_backends!(
    a_publisher_with_the_permission_for_its_path_sets_up_tracks_of_any_name,
    what_was_announced_opens_no_path_below_it,
    what_publish_says_goes_before_what_viewers_are_asked,
    the_start_warns_of_open_doors_only;
    "ffmpeg":
    a_user_may_what_the_permissions_say_and_nothing_else,
    a_files_whole_name_must_be_permitted,
    a_session_opens_no_other_path,
    whoever_is_not_asked_cannot_name_a_session_of_who_is,
    publishers_alone_are_asked_where_the_setting_says_so,
);
