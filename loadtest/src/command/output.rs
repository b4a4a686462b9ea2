//! What people and machines get to see of a run.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use loadtest::report::Report;
use loadtest::swarm::{self, Progress, Run};
use loadtest::{chart, compare as comparison};
use serde::{Deserialize, Serialize};

use super::options::Output;

/// Runs, with a line that says how far it is where somebody looks.
pub(crate) fn report(scenario: &str, label: &str, run: &Run) -> Result<Report, String> {
    let total = run.plan.leave().as_secs_f64();
    let show = io::stderr().is_terminal();
    let progress = |now: Progress| {
        if show {
            let Progress { time, ready, failed, bits_per_s, sessions_per_s } = now;
            let _ = write!(
                io::stderr(),
                "\r{:5.0} of {total:.0} s, {ready} there, {failed} failed, {:.1} Mbit/s, {sessions_per_s:.0} sessions/s  ",
                time.as_secs_f64(),
                bits_per_s / 1e6
            );
        }
    };
    let outcome = swarm::run(run, progress).map_err(|error| error.to_string())?;
    if show {
        let _ = write!(io::stderr(), "\r{:79}\r", "");
    }
    Ok(Report::new(scenario, label, run, &outcome))
}

/// Prints a report, and saves it where that is asked for.
pub(crate) fn print(report: &Report, output: &Output) -> Result<(), String> {
    hand_over(report, || report.table(), output)
}

/// The same for several of one run: in JSON one list.
pub(crate) fn print_all(reports: &[Report], output: &Output) -> Result<(), String> {
    match reports {
        [report] => print(report, output),
        _ => hand_over(reports, || reports.iter().map(Report::table).collect(), output),
    }
}

fn hand_over<T: Serialize + ?Sized>(
    value: &T,
    table: impl FnOnce() -> String,
    output: &Output,
) -> Result<(), String> {
    let json = serde_json::to_string_pretty(value).map_err(|error| error.to_string())? + "\n";
    if let Some(path) = &output.save {
        fs::write(path, &json).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    write_out(&if output.json { json } else { table() })
}

/// Prints two saved reports beside each other.
pub(crate) fn compare(a: &Path, b: &Path) -> Result<(), String> {
    write_out(&comparison::table(&parse(a)?, &parse(b)?))
}

/// Draws the charts of saved reports.
pub(crate) fn chart(paths: &[PathBuf], name: &str) -> Result<(), String> {
    let saved = paths.iter().map(|path| parse(path)).collect::<Result<Vec<Saved>, _>>()?;
    let reports: Vec<_> = saved.into_iter().flat_map(Saved::into_reports).collect();
    let charts = [("latency", chart::latencies(&reports)), ("cpu", chart::costs(&reports))];
    let mut count = 0;
    for (kind, svg) in charts {
        let Some(svg) = svg else { continue };
        let path = format!("{name}-{kind}.svg");
        fs::write(&path, svg).map_err(|error| format!("{path}: {error}"))?;
        write_out(&format!("{path}\n"))?;
        count += 1;
    }
    if count == 0 { Err("the reports have neither latencies nor processor time".into()) } else { Ok(()) }
}

/// What a file holds: one report, or those of a suite's figure or of several loops.
#[derive(Deserialize)]
#[serde(untagged)]
enum Saved {
    One(Box<Report>),
    Several(Vec<Report>),
}

impl Saved {
    fn into_reports(self) -> Vec<Report> {
        match self {
            Saved::One(report) => vec![*report],
            Saved::Several(reports) => reports,
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

pub(crate) fn write_out(text: &str) -> Result<(), String> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())
}
