//! Proxies that the API has added and that are there again after a restart.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use super::added::ask;
use super::{PATIENCE, serving};
use crate::client::Client;
use crate::privileges::{has_landlock, is_root, user};
use crate::server::{Backend, Server, can_be_unprivileged, on_both_backends, scratch};
use crate::steering::{curl, get, http};
use crate::upstream::camera::{Camera, Script};

const FILE: &str = "rtspserver-proxies.xml";

/// A server that keeps what it makes in a folder.
fn keeping(backend: Backend, folder: &Path) -> crate::server::Builder {
    serving(backend).http().setting("state_dir", folder.display())
}

fn plays(server: &Server, path: &str) {
    Client::connect(server.address()).request("DESCRIBE", &server.url(path), &[]).expect(200);
}

fn what_is_kept_is_there_after_a_restart_and_nobody_else_can_read_it(backend: Backend) {
    let folder = scratch("kept");
    let camera = Camera::start(Script::default());
    let server = keeping(backend, &folder).start();
    let output = json!({"video": {"width": 320, "framerate": 12.5}, "audio": {"codec": "NONE"}});
    let wish = json!({"url": camera.url(), "user": "ann", "pass": "a<&>\"b", "keep": true});
    ask(&server, "POST", "gate/cam", &wish).expect(201);
    ask(&server, "POST", "passing", &json!({"url": camera.url()})).expect(201);
    let large = json!({"url": "http://192.0.2.1/video", "output": output, "keep": true});
    ask(&server, "POST", "made", &large).expect(201);
    let mode = || fs::metadata(folder.join(FILE)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    plays(&server, "/gate/cam");
    let before = get(&server, "/api/v1/proxies/made");
    drop(server);
    let server = keeping(backend, &folder).start();
    let list = get(&server, "/api/v1/proxies");
    let paths: Vec<_> =
        list["proxies"].as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["gate/cam", "made"]);
    assert_eq!(get(&server, "/api/v1/proxies/made")["output"], before["output"]);
    assert_eq!(before["output"]["video"]["framerate"], 12.5);
    plays(&server, "/gate/cam");
    // Kept no longer, and gone for good.
    ask(&server, "PUT", "gate/cam", &json!({"url": camera.url()})).expect(200);
    assert!(!fs::read_to_string(folder.join(FILE)).unwrap().contains("gate"));
    ask(&server, "DELETE", "made", &Value::Null).expect(204);
    assert!(fs::read_dir(&folder).unwrap().next().is_none());
    drop(server);
    let server = keeping(backend, &folder).start();
    assert_eq!(get(&server, "/api/v1/proxies")["total"], 0);
    fs::remove_dir_all(folder).unwrap();
}

fn what_cannot_be_written_down_changes_nothing(backend: Backend) {
    let folder = scratch("unkept");
    let gone = folder.join("gone");
    fs::create_dir(&gone).unwrap();
    let server = keeping(backend, &gone).start();
    let kept = |url: &str| json!({"url": url, "keep": true});
    ask(&server, "POST", "first", &kept("rtsp://192.0.2.1/1")).expect(201);
    fs::rename(&gone, folder.join("elsewhere")).unwrap();
    let problem = |method: &str, path: &str, wish: &Value| {
        ask(&server, method, path, wish).expect_problem(503, "keep: ");
    };
    problem("POST", "second", &kept("rtsp://192.0.2.1/2"));
    problem("PUT", "first", &kept("rtsp://192.0.2.1/3"));
    // What is not kept needs no file.
    ask(&server, "POST", "third", &json!({"url": "rtsp://192.0.2.1/3"})).expect(201);
    let list = get(&server, "/api/v1/proxies");
    assert_eq!((&list["total"], &list["proxies"][0]["url"]), (&2.into(), &"rtsp://192.0.2.1/1".into()));
    drop(server);
    // What somebody has spoilt is not written over, and the server starts.
    fs::create_dir(&gone).unwrap();
    fs::write(gone.join(FILE), "<config><proxy><suffix>x</suffix></proxy></config>").unwrap();
    let server = keeping(backend, &gone).start();
    server.wait_for_log("proxies that the API has added are not back", PATIENCE);
    ask(&server, "POST", "second", &kept("rtsp://192.0.2.1/2")).expect_problem(503, "put the file right");
    curl(&http(&server, "/api/v1/proxies/second"), &[]).expect(404);
    assert!(fs::read_to_string(gone.join(FILE)).unwrap().contains("<suffix>x"));
    fs::remove_dir_all(folder).unwrap();
}

fn it_is_kept_by_whom_the_server_has_become_and_within_its_folders(backend: Backend) {
    if !is_root() || !can_be_unprivileged() || !has_landlock() {
        eprintln!("left out: only root can step down, and this needs Landlock");
        return;
    }
    let folder = scratch("kept");
    let user = user();
    let (id, mode) = (nix::unistd::User::from_name(&user).unwrap().unwrap().uid, 0o700);
    fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
    std::os::unix::fs::chown(&folder, Some(id.as_raw()), None).unwrap();
    let start = || keeping(backend, &folder).setting("run_as", &user).setting("landlock", 1).start();
    let server = start();
    for url in ["rtsp://192.0.2.1/1", "rtsp://192.0.2.1/2"] {
        let method = if url.ends_with('1') { "POST" } else { "PUT" };
        ask(&server, method, "cam", &json!({"url": url, "keep": true}));
    }
    assert_eq!(fs::metadata(folder.join(FILE)).unwrap().uid(), id.as_raw());
    drop(server);
    let server = start();
    assert_eq!(get(&server, "/api/v1/proxies/cam")["url"], "rtsp://192.0.2.1/2");
    fs::remove_dir_all(folder).unwrap();
}

on_both_backends!(
    what_is_kept_is_there_after_a_restart_and_nobody_else_can_read_it,
    what_cannot_be_written_down_changes_nothing,
    it_is_kept_by_whom_the_server_has_become_and_within_its_folders,
);
