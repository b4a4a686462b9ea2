//! The command line.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use loadtest::plan::{Plan, Transport};
use loadtest::report::Report;
use loadtest::{process, swarm};

/// Plays an RTSP server's streams with many viewers at once and measures what they get.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// N viewers play for a while.
    Play(Play),
    /// The same, and some of them stop reading, or read too slowly, once all are there: what the others notice of it.
    Stall {
        #[command(flatten)]
        play: Play,
        /// Viewers that stop reading.
        #[arg(long, default_value_t = 1)]
        stalled: usize,
        /// Viewers that read at a tenth of the rate.
        #[arg(long, default_value_t = 0)]
        slow: usize,
    },
}

#[derive(Args)]
struct Play {
    /// What to play, such as rtsp://127.0.0.1:8554/test; several are taken in turn.
    #[arg(long = "url", required = true)]
    urls: Vec<String>,
    /// Count of viewers.
    #[arg(long, default_value_t = 1)]
    viewers: usize,
    /// How packets come.
    #[arg(long, value_enum, default_value = "tcp")]
    transport: Transport,
    /// Seconds for which all play.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Seconds over which the viewers connect.
    #[arg(long, default_value_t = 1.0)]
    ramp: f64,
    /// Viewer n begins at n times so many seconds of a file.
    #[arg(long)]
    spread: Option<f64>,
    /// Receive buffer of each media socket in bytes.
    #[arg(long, default_value_t = 4 << 20)]
    receive_buffer: usize,
    /// Process of the server, on this machine: adds what it used.
    #[arg(long)]
    server_pid: Option<u32>,
    /// Prints JSON in place of a table.
    #[arg(long)]
    json: bool,
}

/// Runs what the command line asks for: 0 all viewers played, 1 some did not, 2 the command line is wrong.
pub(crate) fn main() -> ExitCode {
    let (play, stalled, slow) = match Cli::parse().scenario {
        Scenario::Play(play) => (play, 0, 0),
        Scenario::Stall { play, stalled, slow } => (play, stalled, slow),
    };
    match run(&play, stalled, slow) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(problem) => {
            let _ = writeln!(io::stderr(), "loadtest: {problem}");
            ExitCode::from(2)
        }
    }
}

fn run(play: &Play, stalled: usize, slow: usize) -> Result<bool, String> {
    let plan = plan(play, stalled, slow)?;
    if let Some(pid) = play.server_pid.filter(|pid| !process::exists(*pid)) {
        return Err(format!("there is no process {pid}"));
    }
    let total = plan.end().as_secs_f64();
    let show = io::stderr().is_terminal();
    let progress = |time: Duration| {
        if show {
            let _ = write!(io::stderr(), "\r{:5.0} of {total:.0} s ", time.as_secs_f64());
        }
    };
    let outcome = swarm::run(&plan, play.server_pid, progress).map_err(|error| error.to_string())?;
    if show {
        let _ = write!(io::stderr(), "\r                    \r");
    }
    let report = Report::new(&plan, &outcome, play.server_pid.is_some());
    let text = if play.json {
        serde_json::to_string_pretty(&report).map_err(|error| error.to_string())? + "\n"
    } else {
        report.table()
    };
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(report.played == report.viewers && report.silent == 0)
}

fn plan(play: &Play, stalled: usize, slow: usize) -> Result<Plan, String> {
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value).map_err(|_| format!("--{name} {value}: not a time in seconds"))
    };
    if play.viewers == 0 {
        return Err("--viewers 0: at least one is needed".into());
    }
    let misbehaving = stalled.saturating_add(slow);
    if misbehaving >= play.viewers && misbehaving > 0 {
        return Err(format!("--stalled {stalled} --slow {slow}: fewer than the {} viewers", play.viewers));
    }
    Ok(Plan {
        urls: play.urls.clone(),
        viewers: play.viewers,
        transport: play.transport,
        ramp: seconds("ramp", play.ramp)?,
        duration: seconds("duration", play.duration)?,
        stalled,
        slow,
        receive_buffer: play.receive_buffer,
        spread_s: play.spread,
    })
}
