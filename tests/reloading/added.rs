//! Proxies that the API adds, changes and removes.

use std::thread;

use serde_json::{Value, json};

use super::{FILE, PATIENCE, Subject, goes_on, is_over, proxy, serving};
use crate::client::pictures::pictures;
use crate::client::viewer::{BOTH, Over};
use crate::server::{Backend, Server, on_both_backends};
use crate::steering::happening::Listener;
use crate::steering::{Answer, curl, get, http};
use crate::upstream::camera::{Camera, Script};

/// Asks for something to become of the proxy at a path.
#[track_caller]
pub(super) fn ask(server: &Server, method: &str, path: &str, wish: &Value) -> Answer {
    let url = http(server, &format!("/api/v1/proxies/{path}"));
    let kind = "Content-Type: application/json";
    curl(&url, &["-X", method, "-H", kind, "--data-binary", &wish.to_string()])
}

fn one(server: &Server, path: &str) -> Value {
    get(server, &format!("/api/v1/proxies/{path}"))
}

fn paths(server: &Server) -> Vec<String> {
    let list = get(server, "/api/v1/proxies");
    list["proxies"].as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap().to_owned()).collect()
}

fn a_proxy_is_added_changed_and_removed_and_nobody_else_notices(backend: Backend) {
    let [kept, first, second] =
        [0, 0, 5_000].map(|first_picture| Camera::start(Script { first_picture, ..Script::default() }));
    let subject = Subject::start(serving(backend).http().xml(&proxy("kept", &kept.url(), "")));
    let server = &subject.server;
    let mut watching: Vec<_> = BOTH.iter().map(|over| subject.watch("/kept", *over)).collect();
    if cfg!(feature = "ffmpeg") {
        watching.extend(BOTH.map(|over| subject.watch(FILE, over)));
    }
    assert_eq!(subject.status("/gate/cam"), 404);
    let wish =
        json!({"url": first.url(), "user": "ann", "pass": "s3cret", "transfer": "UDP", "ondemand": false});
    let added = ask(server, "POST", "gate/cam", &wish).expect(201).json();
    assert_eq!(
        (&added["origin"], &added["keep"], &added["user"]),
        (&"api".into(), &false.into(), &"ann".into())
    );
    assert_eq!(
        (&added["transfer"], &added["ondemand"], &added["output"]),
        (&"UDP".into(), &false.into(), &Value::Null)
    );
    assert!(!added.to_string().contains("s3cret"), "{added}");
    let mut viewers = BOTH.map(|over| subject.watch("/gate/cam", over));
    let seen = one(server, "gate/cam");
    assert_eq!(
        (&seen["state"], &seen["connected"], &seen["last_error"]),
        (&"running".into(), &true.into(), &Value::Null)
    );
    assert_eq!((&seen["transport"], &seen["url"]), (&"UDP".into(), &first.url().into()));
    assert_eq!(paths(server), ["gate/cam", "kept"]);
    assert_eq!(one(server, "kept")["origin"], "file");
    ask(server, "PUT", "gate/cam", &json!({"url": second.url()})).expect(200);
    viewers.iter_mut().for_each(is_over);
    first.wait_for("TEARDOWN", 1, PATIENCE);
    let mut viewer = subject.watch("/gate/cam", Over::Tcp);
    assert!(pictures(&viewer)[0] >= 5_000, "{:?}", pictures(&viewer));
    assert_eq!(one(server, "gate/cam")["user"], "");
    ask(server, "DELETE", "gate/cam", &Value::Null).expect(204);
    is_over(&mut viewer);
    assert_eq!((subject.status("/gate/cam"), paths(server).len()), (404, 1));
    watching.iter_mut().for_each(goes_on);
    assert_eq!(kept.connections(), 1);
}

fn what_cannot_be_had_is_refused_with_the_settings_name_and_changes_nothing(backend: Backend) {
    let server = serving(backend).http().proxy("gate", "rtsp://192.0.2.1/", &[]).start();
    let server = &server;
    let right = json!({"url": "rtsp://192.0.2.2/x"});
    ask(server, "POST", "yard", &right).expect(201);
    ask(server, "POST", "gate", &right).expect_problem(409, "the configuration has a <proxy> \"gate\"");
    ask(server, "PUT", "gate", &right).expect_problem(409, "change it there");
    ask(server, "DELETE", "gate", &Value::Null).expect_problem(409, "change it there");
    ask(server, "POST", "yard", &right).expect_problem(409, "change it by PUT");
    ask(server, "PUT", "none", &right).expect_problem(404, "no proxy");
    ask(server, "DELETE", "none", &Value::Null).expect_problem(404, "no proxy");
    curl(&http(server, "/api/v1/proxies/none"), &[]).expect_problem(404, "no proxy");
    let wrong = json!({"url": "ftp://x/", "transfer": "PIGEON", "output": {"video": {"codec": "H266", "width": 20_000}}});
    let said = ask(server, "POST", "a%20b", &wrong).expect(422).json();
    let subjects: Vec<_> =
        said["errors"].as_array().unwrap().iter().map(|it| it["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["path", "url", "transfer", "output/video/codec", "output/video/width"], "{said}");
    for (wish, named) in [
        (json!({}), "url"),
        (json!({"url": "rtsp://h/", "ondemnad": true}), "ondemnad"),
        (json!({"url": "rtsp://h/", "output": {"video": {"width": "wide"}}}), "output.video.width"),
        (json!(["rtsp://h/"]), "an object"),
        (
            json!({"url": "rtsp://h/", "output": [null, null]}),
            "output: invalid type: sequence, expected an object",
        ),
        (json!({"url": "rtsp://h/", "output": {"audio": []}}), "output.audio: invalid type: sequence"),
    ] {
        ask(server, "POST", "new", &wish).expect_problem(422, named);
    }
    let whole = json!({"url": "rtsp://h/", "output": {"video": {"width": 640.0}}});
    let made = ask(server, "POST", "whole", &whole).expect(201).json();
    assert_eq!(made["output"]["video"]["width"], 640);
    ask(server, "DELETE", "whole", &Value::Null).expect(204);
    ask(server, "POST", "test", &right).expect_problem(409, "belongs to a built-in stream");
    ask(server, "POST", "screenlive", &right).expect_problem(409, "take another path");
    let url = http(server, "/api/v1/proxies/new");
    let json = "Content-Type: application/json";
    curl(&url, &["-H", json, "--data-binary", "{"]).expect_problem(400, "JSON");
    curl(&url, &["--data-binary", "{}"]).expect_problem(415, "Content-Type");
    let large = server.configuration_file().with_extension("large");
    std::fs::write(&large, format!("{{\"url\":\"{}\"}}", "x".repeat(2 << 20))).unwrap();
    curl(&url, &["-H", json, "--data-binary", &format!("@{}", large.display())]).expect(413);
    curl(&url, &["-X", "PATCH"]).expect_problem(405, "PATCH");
    curl(&http(server, "/api/v1/proxies/%ff"), &[]).expect(400);
    assert_eq!(paths(server), ["gate", "yard"]);
}

fn of_those_who_want_one_path_at_once_one_gets_it(backend: Backend) {
    let server = serving(backend).http().start();
    let writers: Vec<_> = (0..12)
        .map(|index| {
            let wish = json!({"url": format!("rtsp://192.0.2.1/{index}")}).to_string();
            let urls = ["same".to_owned(), format!("own{index}")];
            let urls = urls.map(|path| http(&server, &format!("/api/v1/proxies/{path}")));
            thread::spawn(move || {
                urls.map(|url| curl(&url, &["-H", "Content-Type: application/json", "-d", &wish]).status)
            })
        })
        .collect();
    let answers: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
    // Who comes while too many wait is told so.
    let mut same: Vec<_> = answers.iter().map(|answer| answer[0]).collect();
    same.sort_unstable();
    assert_eq!(same[0], 201);
    assert!(same[1..].iter().all(|status| [409, 503].contains(status)), "{same:?}");
    let own = answers.iter().filter(|answer| answer[1] == 201).count();
    assert_eq!(paths(&server).len(), own + 1);
}

fn a_reload_keeps_what_was_added_unless_the_file_has_the_path(backend: Backend) {
    let [added, of_file] =
        [0, 5_000].map(|first_picture| Camera::start(Script { first_picture, ..Script::default() }));
    let subject = Subject::start(serving(backend).http());
    let server = &subject.server;
    ask(server, "POST", "cam", &json!({"url": added.url()})).expect(201);
    let mut viewer = subject.watch("/cam", Over::Udp);
    assert_eq!(subject.reload("<test>0</test>"), "test");
    goes_on(&mut viewer);
    let changes = subject.reload(&proxy("cam", &of_file.url(), ""));
    assert_eq!(changes, "proxies +0 -0, 1 changed; test");
    server.wait_for_lines("the configuration has a <proxy> at this path", 1);
    is_over(&mut viewer);
    let mut viewer = subject.watch("/cam", Over::Tcp);
    assert!(pictures(&viewer)[0] >= 5_000, "{:?}", pictures(&viewer));
    assert_eq!(one(server, "cam")["origin"], "file");
    ask(server, "DELETE", "cam", &Value::Null).expect_problem(409, "the configuration");
    subject.reload("");
    is_over(&mut viewer);
    assert_eq!(one(server, "cam")["origin"], "api");
    let viewer = subject.watch("/cam", Over::Tcp);
    assert!(pictures(&viewer)[0] < 5_000, "{:?}", pictures(&viewer));
    // The same in the file is the same: nobody notices.
    let mut viewer = viewer;
    subject.reload(&proxy("cam", &added.url(), ""));
    goes_on(&mut viewer);
    assert_eq!(one(server, "cam")["origin"], "file");
}

fn those_who_listen_are_told_when_a_source_comes_and_why_it_is_gone(backend: Backend) {
    let server = serving(backend).http().start();
    let listener = Listener::of(&server);
    Listener::wait_for(&server, 1);
    let camera = Camera::start(Script::default());
    let address = camera.address();
    ask(&server, "POST", "cam", &json!({"url": camera.url(), "ondemand": false})).expect(201);
    assert_eq!(listener.next("proxy_up"), json!({"path": "cam"}));
    drop(camera);
    let down = listener.next("proxy_down");
    assert!(down["path"] == "cam" && down["reason"].as_str().is_some_and(|it| !it.is_empty()), "{down}");
    let _camera = Camera::start_at(address, Script::default());
    while listener.next_one().0 != "proxy_up" {}
    ask(&server, "DELETE", "cam", &Value::Null).expect(204);
    assert!(listener.next("proxy_down")["reason"].as_str().unwrap().contains("removed the proxy"));
}

on_both_backends!(
    a_proxy_is_added_changed_and_removed_and_nobody_else_notices,
    what_cannot_be_had_is_refused_with_the_settings_name_and_changes_nothing,
    of_those_who_want_one_path_at_once_one_gets_it,
    a_reload_keeps_what_was_added_unless_the_file_has_the_path,
    those_who_listen_are_told_when_a_source_comes_and_why_it_is_gone,
);
