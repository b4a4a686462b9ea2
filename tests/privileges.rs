//! What the process may still do once it serves: whom it runs as, and which files it can open.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::corpus::folder;
use crate::judge::ffmpeg::words;
use crate::judge::run;
use crate::server::{Backend, Server, can_be_unprivileged, free_ports, on_both_backends, scratch};

/// How long the machine may take for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A file of the corpus.
const FILM: &str = "h264_aac.mp4";

on_both_backends!(;
    "ffmpeg":
    a_server_that_root_starts_listens_below_1024_and_serves_as_its_user,
    under_landlock_links_lead_nowhere_and_files_play,
);

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A user of this machine who is in more groups than one, where there is such a user.
pub(crate) fn user() -> String {
    let groups = fs::read_to_string("/etc/group").unwrap();
    let members =
        groups.lines().filter_map(|line| line.rsplit(':').next()).flat_map(|members| members.split(','));
    let user =
        members.filter(|name| !name.is_empty() && *name != "root").find(|name| !ids("-G", name).is_empty());
    user.unwrap_or("nobody").to_owned()
}

/// Numbers of a user or of the user's groups, as `id` knows them.
fn ids(option: &str, user: &str) -> BTreeSet<u64> {
    let output = Command::new("id").args([option, user]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// The numbers in a line of the status of a thread.
fn status(task: &Path, name: &str) -> BTreeSet<u64> {
    let status = fs::read_to_string(task.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap().to_owned();
    line.split_whitespace()
        .map(|id| u64::from_str_radix(id, if name == "CapEff" { 16 } else { 10 }).unwrap())
        .collect()
}

fn plays(url: &str, transport: &str) {
    let mut arguments = words("-v error -select_streams v -read_intervals %+1 -count_packets");
    arguments.extend(words(&format!(
        "-rtsp_transport {transport} -show_entries stream=nb_read_packets -of csv=p=0 {url}"
    )));
    let output = run("ffprobe", &arguments, PATIENCE).unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let packets: u32 = said.lines().next().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
    assert!(packets >= 10, "{url} by {transport}: {said:?} {}", String::from_utf8_lossy(&output.stderr));
}

fn a_server_that_root_starts_listens_below_1024_and_serves_as_its_user(backend: Backend) {
    if !is_root() || !can_be_unprivileged() {
        eprintln!("left out: only root can step down, and the folders of tests must be open to others");
        return;
    }
    let user = user();
    let port = (600..1024).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
    let media = free_ports();
    let server = Server::with(backend)
        .port(port)
        .media(folder())
        .setting("udp_port_min", media)
        .setting("udp_port_max", media + 30)
        .setting("run_as", &user)
        .start();
    server.wait_for_log("stepped down from root", PATIENCE);
    plays(&server.url(&format!("/{FILM}")), "udp");
    plays(&server.url(&format!("/{FILM}")), "tcp");
    plays(&server.url("/test"), "udp");
    let tasks: Vec<PathBuf> = fs::read_dir(format!("/proc/{}/task", server.pid()))
        .unwrap()
        .map(|task| task.unwrap().path())
        .collect();
    assert!(tasks.len() > 3, "{tasks:?}");
    for task in tasks {
        assert_eq!(status(&task, "Uid"), ids("-u", &user), "{task:?}");
        assert_eq!(status(&task, "Gid"), ids("-g", &user), "{task:?}");
        assert_eq!(status(&task, "Groups"), ids("-G", &user), "{task:?}");
        assert_eq!(status(&task, "CapEff"), BTreeSet::from([0]), "{task:?}");
    }
}

#[test]
fn a_user_that_cannot_be_had_ends_the_start_with_the_settings_name() {
    let end = |builder: crate::server::Builder| {
        let ended = builder.run_to_end(PATIENCE);
        assert_eq!(ended.status.code(), Some(1), "{}", ended.output);
        ended.output
    };
    let unknown = end(Server::with(Backend::Fallback).setting("run_as", "nobody-of-this-name"));
    assert!(
        unknown.contains("run_as: there is no user \"nobody-of-this-name\" on this machine"),
        "{unknown}"
    );
    let group = end(Server::with(Backend::Fallback).setting("run_as", "nobody:no-group-of-this-name"));
    assert!(group.contains("run_as: there is no group \"no-group-of-this-name\" on this machine"), "{group}");
    if !can_be_unprivileged() {
        eprintln!("left out: the folders of tests must be open to others");
        return;
    }
    let denied = end(Server::with(Backend::Fallback).unprivileged().setting("run_as", "root"));
    assert!(denied.contains("run_as: only root can become root, and the program was started as"), "{denied}");
    if is_root() {
        let closed = scratch("closed");
        fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let ended = end(Server::with(Backend::Fallback).media(&closed).setting("run_as", "nobody"));
        assert!(ended.contains("run_as: nobody cannot read media_dir"), "{ended}");
        fs::remove_dir(closed).unwrap();
    }
}

/// A media folder with a file, and links to the same file outside of it.
struct Linked {
    media: PathBuf,
    outside: PathBuf,
}

/// Links that lead out of a [`Linked`], by their paths in URLs.
const LINKS: [&str; 3] = ["/absolute.mp4", "/above.mp4", "/folder/film.mp4"];

impl Linked {
    fn new() -> Linked {
        let (media, outside) = (scratch("media"), scratch("outside"));
        fs::copy(folder().join(FILM), media.join("film.mp4")).unwrap();
        fs::copy(folder().join(FILM), outside.join("film.mp4")).unwrap();
        let above = Path::new("..").join(outside.file_name().unwrap());
        symlink(outside.join("film.mp4"), media.join("absolute.mp4")).unwrap();
        symlink(above.join("film.mp4"), media.join("above.mp4")).unwrap();
        symlink(above, media.join("folder")).unwrap();
        Linked { media, outside }
    }

    /// What the server that was started so answers to DESCRIBE of the links.
    fn answers(&self, backend: Backend, landlock: &str) -> Vec<u16> {
        let server = Server::with(backend)
            .media(&self.media)
            // The server itself would go after every link.
            .setting("follow_symlinks", 1)
            .setting("landlock", landlock)
            .start();
        plays(&server.url("/film.mp4"), "tcp");
        let mut client = Client::connect(server.address());
        LINKS.iter().map(|path| client.request("DESCRIBE", &server.url(path), &[]).status).collect()
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        for folder in [&self.media, &self.outside] {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn under_landlock_links_lead_nowhere_and_files_play(backend: Backend) {
    if !has_landlock() {
        eprintln!("left out: this kernel has no Landlock");
        return;
    }
    let linked = Linked::new();
    assert_eq!(linked.answers(backend, "0"), [200; 3]);
    // Links are what follow_symlinks asks for, and Landlock is not.
    assert_eq!(linked.answers(backend, "auto"), [200; 3]);
    let confined = linked.answers(backend, "1");
    assert!(confined.iter().all(|status| [403, 404].contains(status)), "{confined:?}");
}

/// Whether the kernel lets a server insist on Landlock.
pub(crate) fn has_landlock() -> bool {
    let server = Server::with(Backend::Fallback).start();
    server.wait_for_log("landlock", PATIENCE);
    server.log().contains("landlock: only the folders of the configuration can be opened")
}

#[test]
fn under_landlock_a_full_log_is_put_aside() {
    let kept = scratch("log");
    let file = kept.join("rtspserver.log");
    let server = Server::with(Backend::Fallback)
        .setting("log_file", file.display())
        .setting("log_file_mb", 1)
        .setting("log_level", 0)
        .setting("log_format", "json")
        .start();
    let end = Instant::now() + Duration::from_secs(60);
    while !kept.join("rtspserver.log.1").exists() {
        assert!(Instant::now() < end, "the log is {} bytes long", fs::metadata(&file).unwrap().len());
        let mut client = Client::connect(server.address());
        for _ in 0..100 {
            client.request("DESCRIBE", &server.url("/nowhere"), &[]);
        }
    }
    assert!(fs::read_to_string(&file).unwrap().ends_with("}\n"), "the new log is written");
    drop(server);
    fs::remove_dir_all(kept).unwrap();
}
