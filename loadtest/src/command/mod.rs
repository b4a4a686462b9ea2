//! The command line.

mod bare;
mod options;
mod output;
mod suite;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadtest::plan::{Act, Plan, Transport};
use loadtest::publisher::Publishing;
use loadtest::source::Content;
use loadtest::swarm::Run;

use options::{Beside, Common, Misbehaving, Stream, Viewers};

/// Plays and publishes streams of an RTSP server with many clients at once and measures what they get.
#[derive(Parser)]
#[command(version, after_help = "loadtest/README.md shows how to repeat each published figure.")]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// N viewers play for a while.
    Play {
        #[command(flatten)]
        viewers: Viewers,
        #[command(flatten)]
        beside: Beside,
    },
    /// M publishers send H.264 with a time stamp in each picture.
    Publish {
        /// Where to publish; `{}` stands for the publisher's number.
        #[arg(long)]
        url: String,
        /// Count of publishers.
        #[arg(long, default_value_t = 1)]
        publishers: usize,
        #[command(flatten)]
        stream: Stream,
        #[command(flatten)]
        common: Common,
    },
    /// One publisher, N viewers: how long each picture takes from the one to the others.
    Fanout {
        #[command(flatten)]
        viewers: Viewers,
        #[command(flatten)]
        stream: Stream,
        /// How the publisher sends.
        #[arg(long, value_enum, default_value = "tcp")]
        publish_over: Transport,
        /// Where it publishes, if not where viewers play: on a port without TLS, say.
        #[arg(long)]
        publish_url: Option<String>,
        /// Where the publisher sends plain RTP over UDP, for servers that take nothing else; else it publishes the URL.
        #[arg(long)]
        rtp: Option<SocketAddr>,
        #[command(flatten)]
        misbehaving: Misbehaving,
        #[command(flatten)]
        beside: Beside,
    },
    /// N viewers at different points of one or several files.
    Files {
        #[command(flatten)]
        viewers: Viewers,
        /// Viewer n begins at n times so many seconds of its file.
        #[arg(long, default_value_t = 5.0)]
        spread: f64,
        #[command(flatten)]
        beside: Beside,
    },
    /// K clients come, take one packet, go and come again: sessions a second.
    Churn(Viewers),
    /// N sessions are set up and held, and play nothing: memory of each.
    Idle(Viewers),
    /// Viewers play, and some of them stop reading, or read too slowly: what the others notice of it.
    Stall {
        #[command(flatten)]
        viewers: Viewers,
        #[command(flatten)]
        misbehaving: Misbehaving,
        #[command(flatten)]
        beside: Beside,
    },
    /// What this machine can do: the same viewers, and in place of a server the bare send loops.
    Limit(bare::Limit),
    /// Serves like a bare send loop; `limit` starts it by itself.
    Bare(bare::Serve),
    /// All published figures: limit, server and rivals in turns, medians of five rounds.
    Suite(suite::Suite),
    /// Two reports beside each other.
    Compare {
        /// JSON of the first.
        a: PathBuf,
        /// JSON of the second.
        b: PathBuf,
    },
    /// SVG of latency by percentile and of processor time by count of viewers.
    Chart {
        /// JSON of the reports.
        #[arg(required = true)]
        reports: Vec<PathBuf>,
        /// The charts are NAME-latency.svg and NAME-cpu.svg.
        #[arg(long, default_value = "chart")]
        name: String,
    },
}

/// Runs what the command line asks for: 0 all clients did what they should, 1 some did not, 2 the command line is wrong.
pub(crate) fn main() -> ExitCode {
    match run(Cli::parse().scenario) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            let _ = writeln!(io::stderr(), "loadtest: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(scenario: Scenario) -> Result<bool, String> {
    match scenario {
        Scenario::Play { viewers, beside } => {
            compared("play", viewers.plan(Act::Plays)?, None, &viewers, beside)
        }
        Scenario::Churn(viewers) => alone("churn", viewers.plan(Act::Churns)?, None, &viewers.common),
        Scenario::Idle(viewers) => alone("idle", viewers.plan(Act::Holds)?, None, &viewers.common),
        Scenario::Files { viewers, spread, beside } => {
            options::seconds("spread", spread)?;
            let plan = Plan { spread_s: Some(spread), ..viewers.plan(Act::Plays)? };
            compared("files", plan, None, &viewers, beside)
        }
        Scenario::Stall { viewers, misbehaving, beside } => {
            let plan = misbehaving.among(viewers.plan(Act::Plays)?)?;
            compared("stall", plan, None, &viewers, beside)
        }
        Scenario::Fanout { viewers, stream, publish_over, publish_url, rtp, misbehaving, beside } => {
            let plan = misbehaving.among(viewers.plan(Act::Plays)?)?;
            let urls = publish_url.or_else(|| viewers.urls.first().cloned()).into_iter().collect();
            let publishing = options::publishing(&plan, urls, rtp, publish_over, stream.content()?)?;
            compared("fanout", plan, Some(publishing), &viewers, beside)
        }
        Scenario::Publish { url, publishers, stream, common } => {
            if publishers == 0 || publishers > 1 && !url.contains("{}") {
                return Err(format!("--publishers {publishers}: several need {{}} in the URL"));
            }
            let plan = Plan { viewers: 0, ..common.plan(Vec::new(), 1, Act::Plays)? };
            let urls = (0..publishers).map(|number| url.replace("{}", &number.to_string())).collect();
            let publishing = options::publishing(&plan, urls, None, common.transport, stream.content()?)?;
            alone("publish", plan, Some(publishing), &common)
        }
        Scenario::Limit(limit) => limit.run(),
        Scenario::Bare(serve) => serve.run().map(|()| true),
        Scenario::Suite(suite) => suite.run(),
        Scenario::Compare { a, b } => output::compare(&a, &b).map(|()| true),
        Scenario::Chart { reports, name } => output::chart(&reports, &name).map(|()| true),
    }
}

/// Runs and prints; whether everybody did what was asked.
fn alone(
    scenario: &str,
    plan: Plan,
    publishing: Option<Publishing>,
    common: &Common,
) -> Result<bool, String> {
    let run = Run { plan, publishing, server_pid: common.server_pid };
    let report = output::report(scenario, &common.output.label, &run)?;
    output::print(&report, &common.output)?;
    Ok(report.is_complete())
}

/// The same, with the machine's limit beside it where that is asked for.
fn compared(
    scenario: &str,
    plan: Plan,
    publishing: Option<Publishing>,
    viewers: &Viewers,
    beside: Beside,
) -> Result<bool, String> {
    let common = &viewers.common;
    if !beside.limit {
        return alone(scenario, plan, publishing, common);
    }
    bare::transport_of(common)?;
    // Those who stop reading get next to nothing: the limit is that of the others.
    let readers = plan.viewers - plan.misbehaving();
    let content = publishing.as_ref().map(|publishing| publishing.content.clone());
    let run = Run { plan, publishing, server_pid: common.server_pid };
    let mut report = output::report(scenario, &common.output.label, &run)?;
    let rate = 8.0 * report.window_bytes as f64 / report.seconds / readers as f64;
    let limit = match content {
        Some(content) => bare::measure(common, readers, None, &content),
        None if rate > 0.0 => bare::measure(common, readers, None, &Content::of_rate(rate)),
        None => Err("nothing was delivered to compare with".to_owned()),
    };
    if let Ok(limit) = &limit {
        report.set_limit(limit);
    }
    output::print(&report, &common.output)?;
    limit.map_err(|problem| format!("--limit: {problem}"))?;
    Ok(report.is_complete())
}
