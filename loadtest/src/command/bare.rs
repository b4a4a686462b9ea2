//! The bare loops: as a server for others, and measured.

use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;

use clap::Args;
use loadtest::limit::{self, Loop, Options};
use loadtest::plan::{Act, Plan, Transport};
use loadtest::report::Report;
use loadtest::source::Content;
use loadtest::swarm::Run;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::options::{self, Common, Stream};
use super::output;

/// What the bare server serves.
#[derive(Args, Clone)]
pub(crate) struct Serve {
    /// Where it listens; port 0 is any.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// How pictures leave.
    #[arg(long = "loop", value_enum, default_value = "sendmmsg")]
    by: Loop,
    /// Threads; one a processor without it.
    #[arg(long)]
    threads: Option<usize>,
    #[command(flatten)]
    stream: Stream,
}

/// What the loops are measured with.
#[derive(Args, Clone)]
pub(crate) struct Limit {
    /// Count of viewers.
    #[arg(long, default_value_t = 100)]
    viewers: usize,
    /// One of the loops; else all of the transport's.
    #[arg(long = "loop", value_enum)]
    by: Option<Loop>,
    #[command(flatten)]
    stream: Stream,
    #[command(flatten)]
    common: Common,
}

impl Serve {
    /// Serves until it is killed, or until who started it is gone.
    pub(crate) fn run(&self) -> Result<(), String> {
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        let content = self.stream.content()?;
        let threads = self.threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from));
        let options = Options { listen: self.listen, by: self.by, content, threads };
        let ready = |address| {
            let _ = writeln!(io::stdout(), "rtsp://{address}/bare");
        };
        limit::serve(&options, ready).map_err(|error| format!("--listen {}: {error}", self.listen))
    }
}

impl Limit {
    pub(crate) fn run(&self) -> Result<bool, String> {
        let reports = measure(&self.common, self.viewers, self.by, &self.stream.content()?)?;
        let complete = reports.iter().all(Report::is_complete);
        output::print_all(&reports, &self.common.output)?;
        Ok(complete)
    }
}

/// How the loops send for the same.
pub(crate) fn transport_of(common: &Common) -> Result<Transport, String> {
    let name = common.transport.name();
    common.transport.bare().ok_or_else(|| format!("--transport {name}: there is no bare loop"))
}

/// The same viewers play from one of the loops, or from all of their transport's.
pub(crate) fn measure(
    common: &Common,
    viewers: usize,
    by: Option<Loop>,
    content: &Content,
) -> Result<Vec<Report>, String> {
    let transport = transport_of(common)?;
    let loops = by.as_ref().map_or(Loop::all(transport), std::slice::from_ref);
    let reports = loops.iter().map(|by| {
        let (server, url) = Bare::start(*by, content).map_err(|error| format!("{}: {error}", by.name()))?;
        let plan = Plan { transport, ..common.plan(vec![url], viewers, Act::Plays)? };
        let run = Run { plan, publishing: None, server_pid: Some(server.0.id()) };
        output::report("limit", by.name(), &run)
    });
    reports.collect()
}

/// A bare server in a process of its own, so that its processor time is its own.
struct Bare(Child);

impl Bare {
    fn start(by: Loop, content: &Content) -> io::Result<(Bare, String)> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["bare", "--loop"]).arg(by.argument()).args(options::arguments(content));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take();
        let server = Bare(child);
        let mut line = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line)?;
        }
        if line.is_empty() {
            return Err(io::Error::other("the bare server has not started"));
        }
        Ok((server, line.trim().to_owned()))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
