//! A thread for each processor, each with a ring and its share of the viewers.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use proto::rtsp::uri::Target;

use crate::meter::{Meter, Tally};
use crate::plan::Plan;
use crate::process::Snapshot;
use crate::sockets::raise_descriptor_limit;
use crate::viewer::{self, Shared};

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// The URL is none.
    #[error("{url}: not an RTSP URL: {reason}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server's name has no address.
    #[error("{host}: {error}")]
    Resolve {
        /// Name and port.
        host: String,
        /// What the resolver says.
        error: io::Error,
    },
    /// More sockets are needed than a process may have.
    #[error("{needed} descriptors are needed, {allowed} are allowed: raise the hard limit (ulimit -Hn)")]
    Descriptors {
        /// By the plan.
        needed: u64,
        /// By the system.
        allowed: u64,
    },
}

/// What a run has measured.
#[derive(Debug)]
pub struct Outcome {
    /// Counts of each viewer, in their order.
    pub tallies: Vec<Tally>,
    /// Times of all viewers together.
    pub meter: Meter,
    /// Counters when all viewers were there.
    pub before: Snapshot,
    /// Counters at the end.
    pub after: Snapshot,
    /// Between the two.
    pub window: Duration,
}

/// Runs the plan to its end; blocks for as long. `progress` is called once a second with the time since the begin.
pub fn run(
    plan: &Plan,
    server_pid: Option<u32>,
    progress: impl Fn(Duration) + Sync,
) -> Result<Outcome, SwarmError> {
    let servers = plan.urls.iter().map(|url| resolve(url)).collect::<Result<Vec<_>, _>>()?;
    let needed = 64 + plan.viewers as u64 * DESCRIPTORS_PER_VIEWER;
    let allowed = raise_descriptor_limit();
    if allowed < needed {
        return Err(SwarmError::Descriptors { needed, allowed });
    }
    let threads = thread::available_parallelism().map_or(1, usize::from).min(plan.viewers.max(1));
    let began = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|index| {
                let servers = &servers;
                scope.spawn(move || work(plan.clone(), servers, began, index, threads))
            })
            .collect();
        let (before, after, window) = watch(plan, server_pid, began, progress);
        let mut tallies = vec![Tally::default(); plan.viewers];
        let mut meter = Meter::default();
        for worker in workers {
            let (counted, times) = worker.join().expect("a worker does not panic");
            meter.add(&times);
            for (number, tally) in counted {
                tallies[number] = tally;
            }
        }
        Ok(Outcome { tallies, meter, before, after, window })
    })
}

/// Takes the snapshots at both ends of the measured time.
fn watch(
    plan: &Plan,
    server: Option<u32>,
    began: Instant,
    progress: impl Fn(Duration),
) -> (Snapshot, Snapshot, Duration) {
    thread::sleep((began + plan.ramp).saturating_duration_since(Instant::now()));
    let (before, from) = (Snapshot::take(server), Instant::now());
    loop {
        let left = (began + plan.end()).saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        thread::sleep(left.min(Duration::from_secs(1)));
        progress(began.elapsed());
    }
    (before, Snapshot::take(server), from.elapsed())
}

/// One thread: every `threads`th viewer from `index` on.
fn work(
    plan: Plan,
    servers: &[SocketAddr],
    began: Instant,
    index: usize,
    threads: usize,
) -> (Vec<(usize, Tally)>, Meter) {
    let meter = Rc::new(RefCell::new(Meter::default()));
    let shared = Shared { plan: Rc::new(plan), began, meter: meter.clone() };
    let mut builder = tokio_uring::builder();
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(COMPLETIONS);
    builder.entries(SUBMISSIONS).uring_builder(&ring);
    let counted = builder.start(async {
        let viewers: Vec<_> = (index..shared.plan.viewers)
            .step_by(threads)
            .map(|number| {
                let (shared, server) = (shared.clone(), servers[number % servers.len()]);
                let viewer = tokio_uring::spawn(async move {
                    tokio::time::sleep_until((began + shared.plan.start_of(number)).into()).await;
                    viewer::run(number, server, shared).await
                });
                (number, viewer)
            })
            .collect();
        let mut counted = Vec::new();
        for (number, viewer) in viewers {
            counted.push((number, viewer.await.expect("a viewer does not panic")));
        }
        counted
    });
    let meter = meter.borrow().clone();
    (counted, meter)
}

fn resolve(url: &str) -> Result<SocketAddr, SwarmError> {
    let bad = |reason: String| SwarmError::Url { url: url.to_owned(), reason };
    let target = Target::parse(url).map_err(|error| bad(error.to_string()))?;
    let host = target.host.clone().ok_or_else(|| bad("it names no host".into()))?;
    let port = target.port.unwrap_or(554);
    let host = host.trim_matches(['[', ']']).to_owned();
    let addresses = (host.as_str(), port).to_socket_addrs();
    let failed = |error| SwarmError::Resolve { host: format!("{host}:{port}"), error };
    let mut addresses = addresses.map_err(failed)?;
    addresses.next().ok_or_else(|| bad("its host has no address".into()))
}

/// The connection, and two ports for each of two tracks.
const DESCRIPTORS_PER_VIEWER: u64 = 5;

/// Entries of a thread's submission queue.
const SUBMISSIONS: u32 = 4_096;

/// Entries of a thread's completion queue: a keyframe completes a read of every viewer at once.
const COMPLETIONS: u32 = 32_768;
