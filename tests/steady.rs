//! What a viewer more costs the shards for each picture of a live stream: no allocation, no copy of a payload, and no
//! word with the kernel but the sends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::publisher::Publisher;
use crate::client::viewer::{Over, Viewer};
use crate::server::{Backend, Server, on_both_backends, scratch};
use crate::tunnels::bridge::{Door, connect};

/// Viewers at first, and those that join them.
const VIEWERS: [usize; 2] = [4, 44];

/// Pictures over which is counted: two seconds.
const PICTURES: u32 = 50;

const PICTURE: Duration = Duration::from_millis(40);

/// Pictures from keyframe to keyframe.
const GOP: u32 = 25;

/// Allocations and futex calls for each viewer and picture: one would be 1. Reports, of which there is one in some
/// seconds, may cost, and what else the shards do meanwhile on a busy machine is in the counts as well.
const COST_MAX: f64 = 0.25;

/// Packets of a picture and their payload in bytes, and what may be copied for each viewer: headers, and the server's
/// own records of what it sends.
const PAYLOAD: (usize, usize) = (16, 1_400);
const COPIED_MAX: f64 = 11_000.0;

/// What a viewer costs is in every try; what disturbed one on a busy machine is not in the next.
const TRIES_MAX: u32 = 3;

/// Of all shards together.
#[derive(Clone, Copy, Debug)]
struct Counts {
    allocations: u64,
    futexes: u64,
    copied_bytes: u64,
}

/// The library that counts, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = scratch("steady").join("count.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/steady/count.c");
        let mut compiler = Command::new("gcc");
        compiler.args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        assert!(compiler.status().unwrap().success());
        library
    })
}

/// Reads the table of `count.c`: thread, allocations, futex calls and copied bytes in each row.
fn counts(server: &Server, table: &Path) -> Counts {
    let bytes = fs::read(table).unwrap();
    let numbers: Vec<_> =
        bytes.chunks(8).map(|number| u64::from_ne_bytes(number.try_into().unwrap())).collect();
    let mut counts = Counts { allocations: 0, futexes: 0, copied_bytes: 0 };
    let mut shards = 0;
    for row in numbers.chunks(4).filter(|row| row[0] != 0) {
        let name = fs::read_to_string(format!("/proc/{}/task/{}/comm", server.pid(), row[0]));
        if name.is_ok_and(|name| name.starts_with("shard")) {
            shards += 1;
            counts.allocations += row[1];
            counts.futexes += row[2];
            counts.copied_bytes += row[3];
        }
    }
    assert_eq!(shards, 2, "the table knows both shards");
    counts
}

/// For each viewer more and picture.
#[derive(Clone, Copy, Debug)]
struct Costs {
    allocations: f64,
    futexes: f64,
    copied_bytes: f64,
}

impl Costs {
    fn between(few: Counts, many: Counts) -> Self {
        let shares = f64::from(PICTURES) * (VIEWERS[1] - VIEWERS[0]) as f64;
        let share = |few: u64, many: u64| (many as f64 - few as f64) / shares;
        Costs {
            allocations: share(few.allocations, many.allocations),
            futexes: share(few.futexes, many.futexes),
            copied_bytes: share(few.copied_bytes, many.copied_bytes),
        }
    }

    fn are_none(self) -> bool {
        self.allocations < COST_MAX && self.futexes < COST_MAX && self.copied_bytes < COPIED_MAX
    }
}

/// Sends pictures at their pace while all viewers take them; what the shards did meanwhile.
fn play(
    server: &Server,
    table: &Path,
    publisher: &mut Publisher,
    viewers: &mut [Viewer],
    first: u32,
) -> Counts {
    let before = counts(server, table);
    let began = Instant::now();
    thread::scope(|scope| {
        for viewer in viewers {
            scope.spawn(|| viewer.receive(PICTURE * PICTURES));
        }
        for index in 0..PICTURES {
            publisher.picture_of(first + index, (first + index).is_multiple_of(GOP), PAYLOAD.0, PAYLOAD.1);
            thread::sleep((PICTURE * (index + 1)).saturating_sub(began.elapsed()));
        }
    });
    let after = counts(server, table);
    Counts {
        allocations: after.allocations - before.allocations,
        futexes: after.futexes - before.futexes,
        copied_bytes: after.copied_bytes - before.copied_bytes,
    }
}

/// How a viewer watches.
#[derive(Clone, Copy, Debug)]
enum Way {
    Plain(Over),
    Through(Door),
}

const WAYS: [Way; 4] =
    [Way::Plain(Over::Udp), Way::Plain(Over::Tcp), Way::Through(Door::Http), Way::Through(Door::WebSocket)];

impl Way {
    fn open(self, server: &Server, url: &str) -> Viewer {
        match self {
            Way::Plain(over) => Viewer::open(server.address(), url, over),
            Way::Through(door) => {
                Viewer::describe_on(connect(server.http_address(), door), url, Over::Tcp).set_up()
            }
        }
    }
}

/// What viewers who join on `way` cost a server of their own.
fn measured(backend: Backend, way: Way) -> Costs {
    let folder = scratch("steady");
    let table = folder.join("counts");
    let server = Server::with(backend)
        .http()
        .environment("LD_PRELOAD", library().to_str().unwrap())
        .environment("COUNTS", table.to_str().unwrap())
        .start();
    let url = server.url("/live");
    let mut publisher = Publisher::start(server.address(), &url, Over::Tcp);
    let mut viewers = Vec::new();
    let mut first = 0;
    let [few, many] = VIEWERS.map(|count| {
        while viewers.len() < count {
            let mut viewer = way.open(&server, &url);
            viewer.play(&[]);
            viewers.push(viewer);
        }
        // They come to the present, and buffers to their size.
        play(&server, &table, &mut publisher, &mut viewers, first);
        let counts = play(&server, &table, &mut publisher, &mut viewers, first + PICTURES);
        first += 2 * PICTURES;
        counts
    });
    for viewer in &viewers[..VIEWERS[0]] {
        let packets = viewer.tracks[0].packets.len();
        assert!(packets > 3 * PAYLOAD.0 * PICTURES as usize, "{way:?}: {packets} packets have come");
    }
    let _ = fs::remove_dir_all(folder);
    Costs::between(few, many)
}

fn a_viewer_more_costs_no_allocation_no_copy_and_no_futex_call_for_a_picture(backend: Backend) {
    for way in WAYS {
        let is_none = (0..TRIES_MAX).any(|_| {
            let costs = measured(backend, way);
            println!("{way:?}: {costs:.3?}");
            costs.are_none()
        });
        assert!(is_none, "{way:?}: a viewer and picture cost as much in {TRIES_MAX} tries");
    }
}

on_both_backends!(a_viewer_more_costs_no_allocation_no_copy_and_no_futex_call_for_a_picture);
