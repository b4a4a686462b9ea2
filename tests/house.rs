//! The rules of the house: which room may know which, where a crate, `unsafe` and a platform may be named, and how
//! long a file may be. The tables at the top are the rules; whoever adds a room or a crate edits them.

mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// For each room the rooms that it may name, besides `proto` and itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("media", &[]),
    ("stream", &["media"]),
    ("egress", &["stream"]),
    // The configuration names the backend.
    ("driver", &["fallback", "config"]),
    ("shard", &["stream", "egress", "driver", "media", "config"]),
    ("control", &["config", "stream", "shard", "media", "driver"]),
    // What formats there are is what media can make.
    ("config", &["media"]),
    ("cli", &["config", "control", "driver", "media", "shard", "stream"]),
    ("fallback", &[]),
    ("loadtest", &[]),
];

/// Where a third-party crate may be named: below any of these paths. An empty list means everywhere.
const CRATES: &[(&str, &[&str])] = &[
    ("bytes", &[]),
    ("smallvec", &[]),
    ("thiserror", &[]),
    ("tracing", &[]),
    ("aes", &["src/proto"]),
    ("aes_gcm", &["src/proto"]),
    ("axum", &["src/control/http"]),
    ("ashpd", &["src/media/capture/pipewire/portal"]),
    ("base64", &["src/proto", "src/config", "loadtest"]),
    ("clap", &["src/cli", "loadtest"]),
    (
        "crossbeam_channel",
        &["src/shard", "src/media", "src/stream/transcoded", "src/control", "src/driver/uring/tests"],
    ),
    ("ctr", &["src/proto"]),
    ("ffmpeg_next", &["src/media/ffmpeg"]),
    ("file_rotate", &["src/cli"]),
    ("futures_util", &["src/media/capture/pipewire/portal", "src/control/http"]),
    ("hdrhistogram", &["loadtest"]),
    ("hmac", &["src/proto"]),
    ("if_addrs", &["src/control", "fallback"]),
    ("http_body_util", &["src/control/hooks"]),
    ("httparse", &["src/proto"]),
    ("hyper", &["src/control/hooks", "src/control/http"]),
    ("hyper_rustls", &["src/control/hooks"]),
    ("hyper_util", &["src/control/hooks", "src/control/http"]),
    ("io_uring", &["src/driver/uring"]),
    ("landlock", &["src/control/confine"]),
    ("libc", &["src/driver/uring"]),
    ("md5", &["src/proto"]),
    ("memchr", &["src/proto"]),
    ("nix", &["fallback", "loadtest", "src/control/privileges"]),
    ("percent_encoding", &["src/proto"]),
    ("memchr", &["src/proto"]),
    ("pipewire", &["src/media/capture/pipewire"]),
    ("quick_xml", &["src/config", "src/proto/metadata"]),
    ("quinn_udp", &["fallback"]),
    ("rand", &["src/control", "src/media", "src/shard", "src/stream"]),
    ("rcgen", &["src/control"]),
    // The load test has a file of that name, too.
    ("ring", &["src/shard", "loadtest"]),
    (
        "rustix",
        &[
            "src/cli",
            "src/control",
            "src/media/capture/camera",
            "src/media/ffmpeg/raw",
            "fallback",
            "loadtest",
        ],
    ),
    ("rustls", &["src/shard", "loadtest"]),
    ("rustls_native_certs", &["src/shard"]),
    ("sd_notify", &["src/control/manager"]),
    ("serde", &["loadtest", "src/control/http"]),
    ("serde_json", &["loadtest", "src/control/http"]),
    ("sha1", &["src/proto"]),
    ("sha2", &["src/proto"]),
    ("signal_hook", &["src/control"]),
    ("slotmap", &["src/shard"]),
    ("socket2", &["fallback", "loadtest", "src/control"]),
    ("subtle", &["src/proto"]),
    (
        "tokio",
        &[
            "fallback",
            "loadtest",
            "src/control/hooks",
            "src/control/documents",
            "src/control/socket",
            "src/control/signals",
            "src/control/http",
            "src/media/capture/pipewire/portal",
        ],
    ),
    ("tokio_uring", &["loadtest"]),
    ("tracing_subscriber", &["src/cli"]),
    ("utoipa", &["src/control/http"]),
    ("v4l", &["src/media/capture/camera"]),
    ("wasapi", &["src/media/ffmpeg/windows"]),
    ("windows_service", &["src/cli/platform"]),
    ("winsafe", &["src/media/capture"]),
    ("x11rb", &["src/media/capture"]),
];

/// The two rooms that may hold `unsafe`.
const UNSAFE: &[&str] = &["src/driver/uring", "src/media/ffmpeg/raw"];

/// Files that may ask which platform they are built for.
const PLATFORM: &[&str] = &[
    "src/driver/mod.rs",
    "src/media/capture/mod.rs",
    "src/media/ffmpeg/mod.rs",
    "src/cli/platform",
    "src/control/confine/mod.rs",
    "src/control/threads.rs",
    "fallback/src/platform",
    // Runs on Linux alone.
    "loadtest/src/lib.rs",
    "loadtest/src/main.rs",
];

/// Lines of code that a file may have before its tests.
const LINES_MAX: usize = 600;

/// Known breaches, as `rule: path`. The list may only shrink: an entry that is no longer needed fails the test.
const EXCEPTIONS: &[&str] = &[];

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    rule: &'static str,
    path: String,
    line: usize,
    what: String,
}

impl Breach {
    fn key(&self) -> String {
        format!("{}: {}", self.rule, self.path)
    }
}

#[test]
fn every_source_file_keeps_the_rules_of_the_house() {
    let files = files(&root());
    assert!(files.len() > 10, "the sources were found: {files:?}");
    let breaches: Vec<Breach> = files
        .iter()
        .flat_map(|path| breaches(path, &fs::read_to_string(root().join(path)).unwrap()))
        .collect();
    let (known, new): (Vec<_>, Vec<_>) =
        breaches.into_iter().partition(|breach| EXCEPTIONS.contains(&breach.key().as_str()));
    let list: Vec<String> =
        new.iter().map(|b| format!("  {}:{}: {}: {}", b.path, b.line, b.rule, b.what)).collect();
    assert!(new.is_empty(), "{} breaches:\n{}", new.len(), list.join("\n"));
    let needed: BTreeSet<String> = known.iter().map(Breach::key).collect();
    let idle: Vec<_> = EXCEPTIONS.iter().filter(|key| !needed.contains(**key)).collect();
    assert!(idle.is_empty(), "exceptions that are no longer needed: {idle:?}");
}

#[test]
fn every_dependency_has_its_rooms_in_the_table() {
    let mut unknown = Vec::new();
    for manifest in ["Cargo.toml", "src/proto/Cargo.toml", "fallback/Cargo.toml", "loadtest/Cargo.toml"] {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        for name in dependencies(&text) {
            let ours = ["proto", "fallback", "bare"].contains(&name.as_str());
            if !ours && !CRATES.iter().any(|(known, _)| *known == name) {
                unknown.push(format!("{manifest}: {name}"));
            }
        }
    }
    assert!(unknown.is_empty(), "crates without a room in tests/house.rs: {unknown:?}");
}

/// All breaches of one file, whose path is relative to the root of the project.
fn breaches(path: &str, text: &str) -> Vec<Breach> {
    let source = Source::new(text);
    let mut found = Vec::new();
    let mut breach = |rule, line, what: String| {
        found.push(Breach { rule, path: path.to_owned(), line, what });
    };
    for used in source.paths() {
        if let Some(target) = arrow(path, &used.segments)
            && !allowed(path, target)
        {
            breach("arrow", used.line, format!("{} may not name {target}", room(path)));
        }
        if let Some((name, places)) = third_party(&used.segments)
            && !places.is_empty()
            && !below(path, places)
        {
            breach("crate", used.line, format!("{name} belongs to {}", places.join(", ")));
        }
    }
    for (line, word) in source.words() {
        match word {
            "unsafe" if !below(path, UNSAFE) => {
                breach("unsafe", line, "unsafe outside the two rooms".to_owned())
            }
            "target_os" | "target_family" if !below(path, PLATFORM) => {
                breach("platform", line, "a platform is named outside the list".to_owned());
            }
            _ => {}
        }
    }
    let lines = source.code_lines();
    if lines > LINES_MAX {
        breach("length", 1, format!("{lines} lines of code, at most {LINES_MAX}"));
    }
    found
}

/// The room of a file: the folder below `src`, or the crate.
fn room(path: &str) -> &str {
    let mut parts = path.split('/');
    match parts.next() {
        Some("src") => match parts.next() {
            Some(name) if !name.ends_with(".rs") => name,
            _ => "root",
        },
        Some(name) => name,
        None => "root",
    }
}

/// The room that a path in the code of `file` leads to; None when it stays at home or leaves the project.
fn arrow<'a>(file: &str, segments: &'a [String]) -> Option<&'a str> {
    let known = |name: &str| ARROWS.iter().any(|(room, _)| *room == name);
    let home = room(file);
    let sealed = ["proto", "fallback", "loadtest", "benches"].contains(&home);
    let ups = segments.iter().take_while(|segment| *segment == "super").count();
    let target = match segments.first().map(String::as_str)? {
        "crate" if !sealed => segments.get(1)?,
        "ringcaster" => segments.get(1)?,
        "proto" | "fallback" | "loadtest" if segments.len() > 1 => &segments[0],
        "super" if !sealed && ups >= depth(file) => segments.get(ups)?,
        _ => return None,
    };
    (known(target) && target != home).then_some(target)
}

/// How many modules a file is below the root of its crate.
fn depth(file: &str) -> usize {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inner.split('/').count()
}

fn allowed(file: &str, target: &str) -> bool {
    let home = room(file);
    if target == "proto" || ["root", "benches"].contains(&home) {
        return true;
    }
    ARROWS.iter().any(|(room, targets)| *room == home && targets.contains(&target))
}

fn third_party(segments: &[String]) -> Option<(&'static str, &'static [&'static str])> {
    CRATES.iter().find(|(name, _)| segments.first().is_some_and(|first| first == name)).copied()
}

fn below(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

/// Names of the dependencies of a manifest that are built into the program, as they are written in code.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies")
                && !section.contains("dev-")
                && !section.starts_with("workspace");
        } else if inside
            && let Some((name, _)) = line.split_once('=')
            && !line.trim_start().starts_with('#')
        {
            names.push(name.trim().trim_end_matches(".workspace").replace('-', "_"));
        }
    }
    names
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All source files of the product, relative to the root.
fn files(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![root.join("src"), root.join("fallback/src"), root.join("loadtest/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

/// Rules broken by `text` when it stands in `path`.
fn broken(path: &str, text: &str) -> Vec<&'static str> {
    breaches(path, text).into_iter().map(|breach| breach.rule).collect()
}

#[test]
fn arrows_against_the_flow_are_found() {
    assert_eq!(broken("src/media/file.rs", "use crate::shard::Shard;"), ["arrow"]);
    assert_eq!(broken("src/stream/gop.rs", "use crate::{egress::Queue, media::Source};"), ["arrow"]);
    assert_eq!(broken("src/media/file.rs", "fn f() { crate::config::load(); }"), ["arrow"]);
    assert_eq!(broken("src/media/mod.rs", "use super::shard;"), ["arrow"]);
    assert_eq!(broken("src/media/file.rs", "use super::super::shard::Shard;"), ["arrow"]);
    assert_eq!(broken("src/proto/io.rs", "use fallback::Tokio;"), ["arrow"]);
    assert_eq!(broken("loadtest/src/lib.rs", "use ringcaster::config;"), ["arrow"]);
}

#[test]
fn arrows_along_the_flow_are_free() {
    assert_eq!(broken("src/shard/mod.rs", "use crate::stream::Stream; use proto::io::Op;"), [""; 0]);
    assert_eq!(broken("src/media/file.rs", "use super::segment; use crate::media::library;"), [""; 0]);
    assert_eq!(broken("src/proto/sdp/mod.rs", "use crate::rtp::batch::Batch;"), [""; 0]);
    assert_eq!(broken("src/driver/mod.rs", "pub use fallback::Tokio;"), [""; 0]);
    assert_eq!(broken("src/main.rs", "fn main() { ringcaster::cli::main() }"), [""; 0]);
    assert_eq!(broken("src/media/file.rs", "// crate::shard\nconst A: &str = \"crate::shard::x\";"), [""; 0]);
}

#[test]
fn crates_outside_their_room_are_found() {
    assert_eq!(broken("src/shard/mod.rs", "use libc::sendmsg;"), ["crate"]);
    assert_eq!(broken("src/media/file.rs", "fn f() { ffmpeg_next::init(); }"), ["crate"]);
    assert_eq!(broken("src/media/ffmpeg/mod.rs", "use ffmpeg_next as ff;"), [""; 0]);
    assert_eq!(broken("src/config/typed.rs", "use {quick_xml::Reader, tokio::net};"), ["crate"]);
}

#[test]
fn unsafe_and_platforms_outside_their_rooms_are_found() {
    assert_eq!(broken("src/shard/mod.rs", "fn f() { unsafe { g() } }"), ["unsafe"]);
    assert_eq!(broken("src/driver/uring/ring.rs", "fn f() { unsafe { g() } }"), [""; 0]);
    assert_eq!(broken("src/shard/mod.rs", "#![deny(unsafe_code)] // unsafe\n"), [""; 0]);
    assert_eq!(broken("src/shard/mod.rs", "#[cfg(target_os = \"linux\")]\nmod a;"), ["platform"]);
    assert_eq!(broken("src/driver/mod.rs", "#[cfg(target_os = \"linux\")]\nmod a;"), [""; 0]);
}

#[test]
fn long_files_are_found_and_tests_do_not_count() {
    let code = "fn f() {}\n".repeat(LINES_MAX);
    assert_eq!(broken("src/shard/mod.rs", &format!("{code}\n// one more\n")), [""; 0]);
    assert_eq!(broken("src/shard/mod.rs", &format!("{code}fn g() {{}}\n")), ["length"]);
    let tested = format!("{code}#[cfg(test)]\nmod tests {{\n{code}}}\n");
    assert_eq!(broken("src/shard/mod.rs", &tested), [""; 0]);
}

#[test]
fn dependencies_are_read_from_a_manifest() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\n# why\nquick-xml = \"1\"\nbytes.workspace = true\n\
                    [target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n";
    assert_eq!(dependencies(manifest), ["quick_xml", "bytes", "libc"]);
}
