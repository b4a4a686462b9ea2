//! One cell of a figure: a contestant and what is done with it.

use super::Suite;
use super::contestant::{Contestant, Running};
use crate::plan::Transport;

/// What all cells share.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) viewers: Vec<usize>,
    pub(super) with_gstreamer: bool,
}

impl Settings {
    pub(super) fn new(suite: &Suite) -> Settings {
        Settings { viewers: suite.viewers.clone(), with_gstreamer: suite.with_gstreamer }
    }
}

/// A contestant and a scenario.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    /// The row's name.
    pub(super) label: String,
    pub(super) contestant: Contestant,
    pub(super) scenario: Scenario,
    pub(super) viewers: usize,
    pub(super) transport: Transport,
    /// Seconds over which viewers connect.
    pub(super) ramp_s: f64,
}

/// What viewers do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scenario {
    /// Play what one publisher sends; so many of them stop reading, so many come all at once in the middle.
    Live { stalled: usize, burst: usize },
    /// Play a file, each so many seconds further than the one before.
    File { name: &'static str, spread_s: f64, cache_mb: u32 },
    /// Come and go.
    Churn,
    /// Hold sessions.
    Idle,
}

impl Cell {
    /// The command line of what comes before, where memory is the point: what the first clients need once, a file that
    /// is opened say, is not what each of them costs.
    pub(super) fn warm_up(&self, server: &Running) -> Option<Vec<String>> {
        let (url, transport) = (server.static_url(), self.transport.name());
        let words = ["churn", "--viewers", "64", "--duration", "1", "--transport", transport, "--url", &url];
        let is_wanted = matches!(self.scenario, Scenario::Churn | Scenario::Idle);
        is_wanted.then(|| words.map(str::to_owned).to_vec())
    }

    /// The command line that measures it.
    pub(super) fn arguments(&self, server: &Running, suite: &Suite) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        let is_bare = matches!(self.contestant, Contestant::Bare(_));
        match &self.scenario {
            // A bare loop makes its own pictures.
            Scenario::Live { .. } if is_bare => add(&["play"]),
            Scenario::Live { stalled, burst } => {
                add(&["fanout", "--stalled", &stalled.to_string(), "--burst", &burst.to_string()]);
                match server.rtp {
                    Some(address) => add(&["--rtp", &address.to_string()]),
                    // By the same door whatever viewers do.
                    None => add(&["--publish-url", &server.publish_url()]),
                }
            }
            Scenario::File { spread_s, .. } => add(&["files", "--spread", &spread_s.to_string()]),
            Scenario::Churn => add(&["churn"]),
            Scenario::Idle => add(&["idle"]),
        }
        let url = match &self.scenario {
            Scenario::File { name, .. } => server.file_url(name),
            Scenario::Live { .. } => server.live_url(),
            Scenario::Churn | Scenario::Idle => server.static_url(),
        };
        // Held sessions do nothing that a longer look would show.
        let seconds = if self.scenario == Scenario::Idle { 3.0 } else { suite.duration_s };
        add(&["--url", &url, "--viewers", &self.viewers.to_string(), "--transport", self.transport.name()]);
        add(&["--ramp", &self.ramp_s.to_string(), "--duration", &seconds.to_string()]);
        add(&["--server-pid", &server.pid().to_string()]);
        words
    }
}
