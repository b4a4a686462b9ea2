//! Programs of the machine itself that come by a Unix socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{Answer, PATIENCE, curl, http, server};
use crate::privileges::{has_landlock, is_root, user};
use crate::server::{Backend, Builder, Server, can_be_unprivileged, on_both_backends, scratch};

const URL: &str = "http://localhost/api/v1/stats";

fn with_socket(backend: Backend, socket: &Path) -> Builder {
    let user = "<user><username>root</username><password>secret</password></user>";
    server(backend).setting("need_auth", 1).setting("api_socket", socket.display()).xml(user)
}

/// Starts it: clients may be there a moment before the socket is.
fn started(builder: Builder) -> Server {
    let server = builder.start();
    server.wait_for_log("who may open it may use the API", PATIENCE);
    server
}

#[track_caller]
fn ask(socket: &Path, url: &str, arguments: &[&str]) -> Answer {
    let by = ["--unix-socket", socket.to_str().unwrap()];
    curl(url, &[&by[..], arguments].concat())
}

fn mode(socket: &Path) -> u32 {
    fs::metadata(socket).unwrap().permissions().mode() & 0o777
}

fn who_may_open_the_socket_is_asked_nothing(backend: Backend) {
    let folder = scratch("socket");
    let socket = folder.join("api");
    let server = started(with_socket(backend, &socket));
    curl(&http(&server, "/api/v1/stats"), &[]).expect(401);
    assert_eq!(ask(&socket, URL, &[URL, URL]).expect(200).connections, 0, "all on one connection");
    assert_eq!(mode(&socket), 0o660);
    // Whatever the name that it asks by, and also to change something.
    ask(&socket, "http://anything/metrics", &[]).expect(200);
    let kick = "http://localhost/api/v1/sessions/0123456789ABCDEF";
    ask(&socket, kick, &["-X", "DELETE"]).expect_problem(404, "no session");
    ask(&socket, "http://localhost/api/v1/config/reload", &["-X", "POST"]).expect(200);
    assert_eq!(ask(&socket, "http://localhost/healthz", &[]).expect(200).body, "ok\n");
    // Media is not to be had here.
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    server.signal("TERM");
    assert!(server.wait(PATIENCE).unwrap().success());
    assert!(fs::read_dir(&folder).unwrap().next().is_none(), "its name has gone with it");
    fs::remove_dir_all(folder).unwrap();
}

fn a_socket_that_was_left_behind_is_taken_over_and_no_other(backend: Backend) {
    let folder = scratch("socket");
    let socket = folder.join("api");
    let first = started(with_socket(backend, &socket));
    first.signal("KILL");
    first.wait(PATIENCE);
    assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
    let second = started(with_socket(backend, &socket));
    ask(&socket, URL, &[]).expect(200);
    let refuse = |socket: &Path, why: &str| {
        let ended = with_socket(backend, socket).run_to_end(PATIENCE);
        let said = format!("cannot listen on {}: {why}", socket.display());
        assert!(!ended.status.success() && ended.output.contains(&said), "{}", ended.output);
        assert!(ended.output.contains("api_socket, "), "{}", ended.output);
    };
    refuse(&socket, "another program listens there");
    ask(&socket, URL, &[]).expect(200);
    let file = folder.join("file");
    fs::write(&file, "of somebody").unwrap();
    refuse(&file, "there is something else under this name");
    assert_eq!(fs::read(&file).unwrap(), b"of somebody");
    refuse(&folder.join("none/api"), "No such file or directory");
    drop(second);
    fs::remove_dir_all(folder).unwrap();
}

fn who_opens_many_and_says_nothing_keeps_nobody_else_out_for_long(backend: Backend) {
    let folder = scratch("socket");
    let socket = folder.join("api");
    let server = started(with_socket(backend, &socket));
    let silent: Vec<_> = (0..64).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let until = |status: u16| {
        let end = Instant::now() + 2 * PATIENCE;
        while ask(&socket, URL, &[]).status != status {
            assert!(Instant::now() < end, "{status} does not come");
            thread::sleep(Duration::from_millis(200));
        }
    };
    until(503);
    // Others do not come by it.
    curl(&http(&server, "/healthz"), &[]).expect(200);
    until(200);
    drop(silent);
    fs::remove_dir_all(folder).unwrap();
}

fn it_is_of_the_user_that_the_server_becomes(backend: Backend) {
    if !is_root() || !can_be_unprivileged() || !has_landlock() {
        eprintln!("left out: only root can step down, and this needs Landlock");
        return;
    }
    let folder = scratch("socket");
    let user = user();
    let id = nix::unistd::User::from_name(&user).unwrap().unwrap().uid.as_raw();
    std::os::unix::fs::chown(&folder, Some(id), None).unwrap();
    let socket = folder.join("api");
    let server = started(with_socket(backend, &socket).setting("run_as", &user).setting("landlock", 1));
    ask(&socket, URL, &[]).expect(200);
    assert_eq!((fs::metadata(&socket).unwrap().uid(), mode(&socket)), (id, 0o660));
    server.signal("TERM");
    assert!(server.wait(PATIENCE).unwrap().success());
    assert!(!socket.exists());
    fs::remove_dir_all(folder).unwrap();
}

on_both_backends!(
    who_may_open_the_socket_is_asked_nothing,
    a_socket_that_was_left_behind_is_taken_over_and_no_other,
    who_opens_many_and_says_nothing_keeps_nobody_else_out_for_long,
    it_is_of_the_user_that_the_server_becomes,
);
