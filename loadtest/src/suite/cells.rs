//! One cell of a figure: a contestant and what is done with it.

use super::Suite;
use super::contestant::{Contestant, Running};
use super::media;
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
    /// Play a file with a cache of that size.
    File { name: &'static str, place: Place, cache_mb: u32 },
    /// Come and go.
    Churn,
    /// Hold sessions.
    Idle,
}

/// Where viewers of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// All at the same point.
    Together,
    /// Each at a point of its own.
    Apart,
    /// Each in a part that nobody else plays for long: in one of several files of the same content, far from all others.
    Alone,
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
            Scenario::File { place: Place::Together, .. } => add(&["files", "--spread", "0"]),
            Scenario::File { place: Place::Apart | Place::Alone, .. } => {
                add(&["files", "--spread", SPREAD_S])
            }
            Scenario::Churn => add(&["churn"]),
            Scenario::Idle => add(&["idle"]),
        }
        let urls = match &self.scenario {
            Scenario::File { name, place: Place::Together | Place::Apart, .. } => vec![server.file_url(name)],
            Scenario::File { name, place: Place::Alone, .. } => {
                media::names_of(name).map(|name| server.file_url(&name)).collect()
            }
            Scenario::Live { .. } => vec![server.live_url()],
            Scenario::Churn | Scenario::Idle => vec![server.static_url()],
        };
        urls.iter().for_each(|url| add(&["--url", url]));
        // Held sessions do nothing that a longer look would show.
        let seconds = if self.scenario == Scenario::Idle { 3.0 } else { suite.duration_s };
        add(&["--viewers", &self.viewers.to_string(), "--transport", self.transport.name()]);
        add(&["--ramp", &self.ramp_s.to_string(), "--duration", &seconds.to_string()]);
        add(&["--server-pid", &server.pid().to_string()]);
        words
    }
}

/// Seconds from each viewer to the next: 100 of them fill a file, and those of one file are as many times farther apart as
/// there are files.
const SPREAD_S: &str = "3.9";
