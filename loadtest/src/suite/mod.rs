//! Which figures are published, and how does one measure each of them with its rivals in one run?
//!
//! A figure is a table of cells: a contestant and a scenario. Every round starts each contestant anew, measures it by a
//! process of ours, and begins at another cell, so that nobody is always first; medians over the rounds are shown.

mod cells;
mod contestant;
mod figures;
mod media;
mod network;
mod summary;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub use contestant::Contestant;
pub use figures::Figure;
pub use network::Network;

use crate::report::Report;
use cells::{Cell, Settings};
use contestant::Running;
use media::Media;

/// What a suite shall measure.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Which figures.
    pub figures: Vec<Figure>,
    /// The `rtspserver` program.
    pub server: PathBuf,
    /// Whether GStreamer's server is measured beside it.
    pub with_gstreamer: bool,
    /// Rounds of which medians are shown.
    pub rounds: usize,
    /// Seconds that each cell is measured.
    pub duration_s: f64,
    /// Counts of viewers of a live stream.
    pub viewers: Vec<usize>,
    /// Where packets go.
    pub network: Network,
    /// Where reports, tables and charts are left.
    pub folder: PathBuf,
}

/// Measures all figures; `say` is called with every line for people. Whether every contestant was measured in every round,
/// by clients all of which did what they should.
pub fn run(suite: &Suite, say: &mut dyn FnMut(&str)) -> io::Result<bool> {
    fs::create_dir_all(&suite.folder)?;
    let network = network::Open::new(suite.network)?;
    let media = Media::new(&suite.folder, &suite.figures, say)?;
    say(&format!("{}, {}", crate::process::machine(), network.description()));
    let mut is_whole = true;
    for figure in &suite.figures {
        let settings = Settings::new(suite);
        let cells = figure.cells(&settings);
        let mut reports: Vec<Vec<Report>> = vec![Vec::new(); cells.len()];
        for round in 0..suite.rounds {
            for step in 0..cells.len() {
                let at = (round + step) % cells.len();
                let cell = &cells[at];
                match measure(suite, &network, &media, cell, &format!("{}-{at}-{round}", figure.name())) {
                    Ok(report) => {
                        say(&format!("  round {}: {}", round + 1, summary::line(&report)));
                        is_whole &= report.is_complete();
                        reports[at].push(report);
                    }
                    Err(error) => {
                        is_whole = false;
                        say(&format!("  round {}: {} FAILED: {error}", round + 1, cell.label));
                    }
                }
            }
        }
        let medians = summary::medians(&cells, &reports);
        let table = summary::table(*figure, &medians);
        say(&table);
        fs::write(suite.folder.join(format!("{}.md", figure.name())), table)?;
        let json = serde_json::to_string_pretty(&medians)?;
        fs::write(suite.folder.join(format!("{}.json", figure.name())), json)?;
        for (kind, svg) in
            [("latency", crate::chart::latencies(&medians)), ("cpu", crate::chart::costs(&medians))]
        {
            if let Some(svg) = svg {
                fs::write(suite.folder.join(format!("{}-{kind}.svg", figure.name())), svg)?;
            }
        }
    }
    Ok(is_whole)
}

/// Starts the contestant, runs one scenario against it in a process of its own, and ends it.
fn measure(
    suite: &Suite,
    network: &network::Open,
    media: &Media,
    cell: &Cell,
    name: &str,
) -> io::Result<Report> {
    let server = Running::start(cell, suite, network, media)?;
    let path = suite.folder.join(format!("{name}.json"));
    if let Some(words) = cell.warm_up(&server) {
        let mut command = Command::new("/proc/self/exe");
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    }
    let mut command = Command::new("/proc/self/exe");
    command
        .args(cell.arguments(&server, suite))
        .args(["--label", &cell.label, "--json", "--save"])
        .arg(&path);
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    // 1: some clients failed, which the report says.
    if !matches!(output.status.code(), Some(0 | 1)) {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let mut report: Report = serde_json::from_slice(&fs::read(&path)?)?;
    report.start_ms = Some(server.start_ms);
    Ok(report)
}
