//! A thread for each processor, each with a ring and its share of the clients.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use proto::rtsp::uri::{Scheme, Target};
use tokio::time::sleep_until;

use crate::counter::Shared;
use crate::group::Groups;
use crate::meter::{Live, Meter, Tally, record};
use crate::plan::{Act, Conduct, Plan, Way};
use crate::process::{Snapshot, thread_cpu};
use crate::publisher::{self, Published, Publishing, To, Watched};
use crate::sockets::raise_descriptor_limit;
use crate::{churn, clock, line, ring, viewer};

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
    /// The kernel gives no ring.
    #[error("io_uring: {0}")]
    Ring(io::Error),
    /// No picture was sent.
    #[error("the publisher has failed: {0}")]
    Publisher(String),
}

/// What a run shall do.
#[derive(Clone, Debug)]
pub struct Run {
    /// The viewers.
    pub plan: Plan,
    /// The publishers; viewers come when the first picture is on its way.
    pub publishing: Option<Publishing>,
    /// Process of the server, on this machine.
    pub server_pid: Option<u32>,
}

/// What a run has measured.
#[derive(Debug)]
pub struct Outcome {
    /// Counts of each viewer, in their order.
    pub tallies: Vec<Tally>,
    /// Counts of each publisher.
    pub published: Vec<Published>,
    /// Times of all clients together.
    pub meter: Meter,
    /// Counters before the first client came.
    pub start: Snapshot,
    /// Counters when all viewers were there.
    pub before: Snapshot,
    /// Counters at the end.
    pub after: Snapshot,
    /// Counters a while after the last client has gone.
    pub gone: Snapshot,
    /// Between `before` and `after`.
    pub window: Duration,
    /// Bytes of RTP that viewers got within the window.
    pub window_bytes: u64,
    /// Sessions that came and went within the window.
    pub window_sessions: u64,
    /// Seconds of processor time of each of our threads within the window.
    pub threads_cpu_s: Vec<f64>,
    /// Seconds of them in which records of TLS were opened.
    pub opening_s: f64,
    /// Pictures that each publisher had sent when viewers left.
    pub pictures_sent: Option<u32>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Since the begin.
    pub time: Duration,
    /// Clients that are there.
    pub ready: u64,
    /// Clients that have failed.
    pub failed: u64,
    /// Bits a second that viewers got in the last second.
    pub bits_per_s: f64,
    /// Sessions a second that came and went in the last second.
    pub sessions_per_s: f64,
}

/// Runs everything to its end; blocks for as long. `progress` is called once a second.
pub fn run(run: &Run, progress: impl Fn(Progress)) -> Result<Outcome, SwarmError> {
    let plan = &run.plan;
    let servers = plan.urls.iter().map(|url| resolve(url)).collect::<Result<Vec<_>, _>>()?;
    let publishers = run.publishing.as_ref().map_or(0, |publishing| publishing.to.len());
    let needed = 64 + plan.viewers as u64 * descriptors(plan) + publishers as u64 * 4;
    let allowed = raise_descriptor_limit();
    if allowed < needed {
        return Err(SwarmError::Descriptors { needed, allowed });
    }
    let start = Snapshot::take(run.server_pid);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let sent = Arc::new(AtomicU32::new(0));
    let publishing = wait_for_pictures(publish(run, cores, &sent)?, &sent)?;
    let (began, groups) = (Instant::now(), Groups::default());
    let viewing: Vec<_> = shares(plan, cores)
        .into_iter()
        .map(|numbers| {
            let (plan, servers, groups) = (plan.clone(), servers.clone(), groups.clone());
            Worker::start(move |live| view(plan, servers, (began, groups), numbers, live))
        })
        .collect();
    let (mut viewing, mut publishing) = (viewing, publishing);
    let watched = watch(run, began, &viewing, &publishing, progress);
    let mut outcome = Outcome {
        tallies: vec![Tally::default(); plan.viewers],
        published: Vec::new(),
        meter: Meter::default(),
        start,
        before: watched.before,
        after: watched.after,
        gone: Snapshot::default(),
        window: watched.window,
        window_bytes: watched.bytes,
        window_sessions: watched.sessions,
        threads_cpu_s: watched.threads_cpu_s,
        opening_s: watched.opening_s,
        pictures_sent: None,
    };
    for worker in viewing.drain(..) {
        let (counted, times) = worker.join()?;
        outcome.meter.add(&times);
        for (number, tally) in counted {
            outcome.tallies[number] = tally;
        }
    }
    outcome.pictures_sent = (publishers == 1).then(|| sent.load(Ordering::Relaxed));
    for worker in publishing.drain(..) {
        outcome.published.extend(worker.join()?);
    }
    if plan.act != Act::Plays || run.server_pid.is_some() {
        thread::sleep(GOING);
    }
    outcome.gone = Snapshot::take(run.server_pid);
    Ok(outcome)
}

/// One of our threads.
struct Worker<T> {
    live: Arc<Live>,
    thread: JoinHandle<io::Result<T>>,
}

impl<T: Send + 'static> Worker<T> {
    fn start(work: impl FnOnce(Arc<Live>) -> io::Result<T> + Send + 'static) -> Worker<T> {
        let live = Arc::new(Live::default());
        let theirs = live.clone();
        Worker { live, thread: thread::spawn(move || work(theirs)) }
    }

    fn join(self) -> Result<T, SwarmError> {
        self.thread.join().expect("a worker does not panic").map_err(SwarmError::Ring)
    }
}

/// Starts the publishers: a thread of its own for one, so that it is in time however much the viewers do.
fn publish(
    run: &Run,
    cores: usize,
    sent: &Arc<AtomicU32>,
) -> Result<Vec<Worker<Vec<Published>>>, SwarmError> {
    let Some(publishing) = &run.publishing else { return Ok(Vec::new()) };
    let servers: Vec<_> = publishing
        .to
        .iter()
        .map(|to| match to {
            To::Rtsp(url) => resolve(url),
            To::Rtp(address) => Ok(*address),
        })
        .collect::<Result<_, _>>()?;
    let threads = cores.min(publishing.to.len());
    let workers = (0..threads).map(|index| {
        let (publishing, servers, sent) = (publishing.clone(), servers.clone(), sent.clone());
        let is_burst = run.plan.burst > 0;
        Worker::start(move |live| {
            if is_burst {
                step_forward();
            }
            let plan = Rc::new(publishing);
            let numbers = (index..servers.len()).step_by(threads);
            all(numbers.map(|number| {
                let watched = Watched { live: live.clone(), sent: sent.clone() };
                publisher::run(number, servers[number], plan.clone(), watched)
            }))
        })
    });
    Ok(workers.collect())
}

/// Waits until pictures are on their way.
fn wait_for_pictures(
    publishing: Vec<Worker<Vec<Published>>>,
    sent: &AtomicU32,
) -> Result<Vec<Worker<Vec<Published>>>, SwarmError> {
    let end = Instant::now() + PICTURE_PATIENCE;
    // The second picture has left when the server has seen the first.
    while !publishing.is_empty() && sent.load(Ordering::Relaxed) < 2 {
        if publishing.iter().all(|worker| worker.thread.is_finished()) {
            let published = publishing.into_iter().map(Worker::join).collect::<Result<Vec<_>, _>>()?;
            let reason = published.into_iter().flatten().find_map(|publisher| publisher.failure);
            return Err(SwarmError::Publisher(reason.unwrap_or_else(|| "it has ended at once".into())));
        }
        if Instant::now() > end {
            return Err(SwarmError::Publisher("no picture has left within 10 s".into()));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(publishing)
}

/// What was seen from outside.
struct Seen {
    before: Snapshot,
    after: Snapshot,
    window: Duration,
    bytes: u64,
    sessions: u64,
    threads_cpu_s: Vec<f64>,
    opening_s: f64,
}

/// Takes the snapshots at both ends of the measured time.
fn watch<A, B>(
    run: &Run,
    began: Instant,
    viewing: &[Worker<A>],
    publishing: &[Worker<B>],
    progress: impl Fn(Progress),
) -> Seen {
    let lives: Vec<_> = viewing
        .iter()
        .map(|worker| &worker.live)
        .chain(publishing.iter().map(|worker| &worker.live))
        .collect();
    let sum = |count: fn(&Live) -> &std::sync::atomic::AtomicU64| {
        lives.iter().map(|live| count(live).load(Ordering::Relaxed)).sum::<u64>()
    };
    let mut last = (Instant::now(), 0, 0);
    let mut sleep_to = |moment: Instant| {
        loop {
            let left = moment.saturating_duration_since(Instant::now());
            thread::sleep(left.min(Duration::from_secs(1).saturating_sub(last.0.elapsed())));
            let (now, bytes, sessions) =
                (Instant::now(), sum(|live| &live.bytes), sum(|live| &live.sessions));
            if now - last.0 >= Duration::from_secs(1) {
                let seconds = (now - last.0).as_secs_f64();
                progress(Progress {
                    time: began.elapsed(),
                    ready: sum(|live| &live.ready),
                    failed: sum(|live| &live.failed),
                    bits_per_s: 8.0 * (bytes - last.1) as f64 / seconds,
                    sessions_per_s: (sessions - last.2) as f64 / seconds,
                });
                last = (now, bytes, sessions);
            }
            if now >= moment {
                break;
            }
        }
    };
    sleep_to(began + run.plan.steady());
    let (before, from) = (Snapshot::take(run.server_pid), Instant::now());
    let (cpu, opening_ns) = (thread_cpu(), line::opening_ns());
    let (bytes, sessions) = (sum(|live| &live.bytes), sum(|live| &live.sessions));
    sleep_to(began + run.plan.end());
    let (bytes, sessions) = (sum(|live| &live.bytes) - bytes, sum(|live| &live.sessions) - sessions);
    let opening_s = (line::opening_ns() - opening_ns) as f64 / 1e9;
    let (after, window) = (Snapshot::take(run.server_pid), from.elapsed());
    let threads_cpu_s = thread_cpu()
        .into_iter()
        .map(|(thread, after)| after - cpu.get(&thread).copied().unwrap_or(0.0))
        .collect();
    sleep_to(began + run.plan.leave());
    Seen { before, after, window, bytes, sessions, threads_cpu_s, opening_s }
}

type Viewed = (Vec<(usize, Tally)>, Meter);

/// The viewers of each thread. Those who watch while a burst comes have one of their own, or it would be our own setting
/// up that they notice.
fn shares(plan: &Plan, cores: usize) -> Vec<Vec<usize>> {
    let (coming, watching): (Vec<_>, Vec<_>) =
        (0..plan.viewers).partition(|number| plan.conduct_of(*number) == Conduct::Bursts);
    let is_burst = !coming.is_empty();
    let all = if is_burst { coming } else { (0..plan.viewers).collect() };
    let threads = cores.min(all.len());
    let mut shares: Vec<_> =
        (0..threads).map(|index| all[index..].iter().step_by(threads).copied().collect()).collect();
    if is_burst && !watching.is_empty() {
        shares.push(watching);
    }
    shares
}

/// One thread of viewers.
fn view(
    plan: Plan,
    servers: Vec<SocketAddr>,
    (began, groups): (Instant, Groups),
    numbers: Vec<usize>,
    live: Arc<Live>,
) -> io::Result<Viewed> {
    if plan.burst > 0 && numbers.iter().all(|number| plan.conduct_of(*number) != Conduct::Bursts) {
        step_forward();
    }
    let meter = Rc::new(RefCell::new(Meter::default()));
    let (plan, clock) = (Rc::new(plan), clock::identity());
    let shared = Shared { plan, began, meter: meter.clone(), live, clock, groups };
    let viewers = numbers.into_iter().map(|number| {
        let (shared, server) = (shared.clone(), servers[number % servers.len()]);
        async move {
            sleep_until((began + shared.plan.start_of(number)).into()).await;
            let live = shared.live.clone();
            let tally = match shared.plan.act {
                Act::Plays | Act::Holds => viewer::run(number, server, shared).await,
                Act::Churns => churn::run(number, server, shared).await,
            };
            if tally.failure.is_some() {
                Live::count(&live.failed, 1);
            }
            (number, tally)
        }
    });
    let watch = lag(shared.clone());
    let counted = ring::run(async {
        let watch = tokio_uring::spawn(watch);
        let counted = join_all(viewers).await;
        watch.abort();
        counted
    })?;
    let meter = meter.borrow().clone();
    Ok((counted, meter))
}

/// Lets the calling thread go before those of a burst, where the system permits it: it is to notice the server, not us.
fn step_forward() {
    let _ = rustix::process::setpriority_process(None, -10);
}

/// Notes how late this thread comes to what is due: a late sink looks like a late server.
async fn lag(shared: Shared) {
    let mut due = shared.began + shared.plan.steady();
    loop {
        sleep_until(due.into()).await;
        if shared.is_steady(due) {
            record(&mut shared.meter.borrow_mut().lags, due.elapsed());
        }
        due = (due + LAG_INTERVAL).max(Instant::now());
    }
}

/// Runs futures together on a ring of this thread.
fn all<F>(futures: impl Iterator<Item = F>) -> io::Result<Vec<F::Output>>
where
    F: Future + 'static,
    F::Output: 'static,
{
    ring::run(join_all(futures))
}

async fn join_all<F>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let tasks: Vec<_> = futures.map(tokio_uring::spawn).collect();
    let mut outputs = Vec::with_capacity(tasks.len());
    for task in tasks {
        outputs.push(task.await.expect("a client does not panic"));
    }
    outputs
}

fn resolve(url: &str) -> Result<SocketAddr, SwarmError> {
    let bad = |reason: String| SwarmError::Url { url: url.to_owned(), reason };
    let target = Target::parse(url).map_err(|error| bad(error.to_string()))?;
    let host = target.host.clone().ok_or_else(|| bad("it names no host".into()))?;
    let port = target.port.unwrap_or(if target.scheme == Some(Scheme::Rtsps) { 322 } else { 554 });
    let host = host.trim_matches(['[', ']']).to_owned();
    let addresses = (host.as_str(), port).to_socket_addrs();
    let failed = |error| SwarmError::Resolve { host: format!("{host}:{port}"), error };
    let mut addresses = addresses.map_err(failed)?;
    addresses.next().ok_or_else(|| bad("its host has no address".into()))
}

/// The connections, and over UDP two ports for each of two tracks.
fn descriptors(plan: &Plan) -> u64 {
    let is_udp = |number| plan.transport.way_of(number) == Way::Datagrams;
    plan.transport.connections() + if (0..plan.viewers.min(2)).any(is_udp) { 4 } else { 0 }
}

/// How long the server may take to let go of what clients have left behind.
const GOING: Duration = Duration::from_secs(1);

/// How long a publisher may take to send its second picture.
const PICTURE_PATIENCE: Duration = Duration::from_secs(10);

/// From one look at our own lag to the next.
const LAG_INTERVAL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_notice_a_burst_have_a_thread_of_their_own_and_all_have_one() {
        let shared = shares(&Plan { viewers: 5, ..Plan::idle() }, 2);
        assert_eq!(shared, [vec![0, 2, 4], vec![1, 3]]);
        let apart = shares(&Plan { viewers: 5, burst: 3, ..Plan::idle() }, 2);
        assert_eq!(apart, [vec![2, 4], vec![3], vec![0, 1]]);
        assert_eq!(shares(&Plan { viewers: 1, burst: 1, ..Plan::idle() }, 2), [vec![0]]);
    }
}
