//! All published figures by one command.

use std::path::PathBuf;

use clap::Args;
use loadtest::suite::{self, Figure, Network};

use super::{options, output};

/// What is measured.
#[derive(Args, Clone)]
pub(crate) struct Suite {
    /// The program to measure.
    #[arg(long, default_value = "target/release/rtspserver")]
    server: PathBuf,
    /// Which figures; all without it.
    #[arg(long = "figure", value_enum)]
    figures: Vec<Figure>,
    /// Measures GStreamer's RTSP server beside it (Debian: python3-gi gir1.2-gst-rtsp-server-1.0).
    #[arg(long)]
    gstreamer: bool,
    /// Rounds, of which medians are shown.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds for which each contestant is measured in each round.
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Counts of viewers of a live stream.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 300, 600, 1000])]
    viewers: Vec<usize>,
    /// Along loopback, or along a veth pair into a namespace of the server's own.
    #[arg(long, value_enum, default_value = "loopback")]
    network: Network,
    /// Where reports, tables and charts are left.
    #[arg(long, default_value = "loadtest-figures")]
    out: PathBuf,
}

impl Suite {
    /// Whether every contestant of every figure was measured, and no client failed.
    pub(crate) fn run(&self) -> Result<bool, String> {
        options::seconds("duration", self.duration)?;
        let suite = suite::Suite {
            figures: if self.figures.is_empty() { Figure::ALL.to_vec() } else { self.figures.clone() },
            server: self.server.clone(),
            with_gstreamer: self.gstreamer,
            rounds: self.rounds.max(1),
            duration_s: self.duration,
            viewers: self.viewers.clone(),
            network: self.network,
            folder: self.out.clone(),
        };
        let mut say = |line: &str| drop(output::write_out(&format!("{line}\n")));
        suite::run(&suite, &mut say).map_err(|error| error.to_string())
    }
}
