//! The figures that are published.

use super::cells::{Cell, Scenario, Settings};
use super::contestant::Contestant;
use crate::limit::Loop;
use crate::plan::Transport;

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Figure {
    /// Processor time and latency of a live stream over TCP, by count of viewers.
    LiveTcp,
    /// The same over UDP.
    LiveUdp,
    /// What 500 viewers notice of one that stops reading.
    Stall,
    /// What 100 viewers notice of 1,000 that come at once, and how long those wait.
    Burst,
    /// Files, all viewers near each other and all apart, beside a live stream.
    Files,
    /// First keyframe of 300 viewers who join within two seconds.
    Join,
    /// Sessions a second, 64 at once.
    Churn,
    /// Memory of 10,000 sessions that play nothing.
    Idle,
}

impl Figure {
    /// All of them.
    pub const ALL: [Figure; 8] = [
        Figure::LiveTcp,
        Figure::LiveUdp,
        Figure::Stall,
        Figure::Burst,
        Figure::Files,
        Figure::Join,
        Figure::Churn,
        Figure::Idle,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Figure::LiveTcp => "live-tcp",
            Figure::LiveUdp => "live-udp",
            Figure::Stall => "stall",
            Figure::Burst => "burst",
            Figure::Files => "files",
            Figure::Join => "join",
            Figure::Churn => "churn",
            Figure::Idle => "idle",
        }
    }

    pub(super) fn cells(self, settings: &Settings) -> Vec<Cell> {
        let live = Scenario::Live { stalled: 0, burst: 0 };
        match self {
            Figure::LiveTcp => lives(settings, Transport::Tcp),
            Figure::LiveUdp => lives(settings, Transport::Udp),
            Figure::Stall => {
                let stalled = Scenario::Live { stalled: 1, burst: 0 };
                let mut cells = each(&servers(settings), &live, 500, Transport::Tcp, 3.0);
                cells.extend(each(&servers(settings), &stalled, 501, Transport::Tcp, 3.0));
                for cell in &mut cells {
                    let is_alone = cell.scenario == live;
                    cell.label += if is_alone { "" } else { ", one stalled" };
                }
                cells
            }
            Figure::Burst => {
                let burst = Scenario::Live { stalled: 0, burst: 1_000 };
                let mut cells = each(&servers(settings), &burst, 1_100, Transport::Tcp, 2.0);
                cells.extend(each(&servers(settings), &burst, 1_100, Transport::Udp, 2.0));
                cells
            }
            Figure::Files => {
                let tcp = Transport::Tcp;
                let ours = [Contestant::Ring];
                let mut cells = each(&ours, &live, 100, tcp, 2.0);
                for name in ["clip.mp4", "clip.mkv", "clip.ts"] {
                    for (place, spread_s) in [("together", 0.0), ("apart", 3.0)] {
                        let mut more = each(&ours, &Scenario::File { name, spread_s }, 100, tcp, 2.0);
                        more.iter_mut().for_each(|cell| cell.label += &format!(", {name} {place}"));
                        cells.extend(more);
                    }
                }
                if settings.with_gstreamer {
                    let apart = Scenario::File { name: "clip.mp4", spread_s: 3.0 };
                    let mut more = each(&[Contestant::Gstreamer], &apart, 100, tcp, 2.0);
                    more.iter_mut().for_each(|cell| cell.label += ", clip.mp4 apart");
                    cells.extend(more);
                }
                cells
            }
            Figure::Join => {
                let mut cells = each(&servers(settings), &live, 300, Transport::Tcp, 2.0);
                cells.extend(each(&servers(settings), &live, 300, Transport::Udp, 2.0));
                cells
            }
            Figure::Churn => {
                let bare = Contestant::Bare(Loop::Send);
                let mut cells = each(&[bare], &Scenario::Churn, 64, Transport::Tcp, 1.0);
                cells.extend(each(&servers(settings), &Scenario::Churn, 64, Transport::Tcp, 1.0));
                cells
            }
            Figure::Idle => each(&servers(settings), &Scenario::Idle, 10_000, Transport::Tcp, 10.0),
        }
    }
}

/// The servers that are measured.
fn servers(settings: &Settings) -> Vec<Contestant> {
    let mut servers = vec![Contestant::Ring, Contestant::Fallback];
    if settings.with_gstreamer {
        servers.push(Contestant::Gstreamer);
    }
    servers
}

fn lives(settings: &Settings, transport: Transport) -> Vec<Cell> {
    // The loop that sends packet by packet is never the limit, and it takes what the others need ten times.
    let loops = Loop::all(transport == Transport::Udp).iter().filter(|by| **by != Loop::Sendto);
    let contestants: Vec<_> = loops.map(|by| Contestant::Bare(*by)).chain(servers(settings)).collect();
    let live = Scenario::Live { stalled: 0, burst: 0 };
    settings.viewers.iter().flat_map(|viewers| each(&contestants, &live, *viewers, transport, 3.0)).collect()
}

fn each(
    contestants: &[Contestant],
    scenario: &Scenario,
    viewers: usize,
    transport: Transport,
    ramp_s: f64,
) -> Vec<Cell> {
    let cells = contestants.iter().map(|contestant| Cell {
        label: contestant.name().to_owned(),
        contestant: contestant.clone(),
        scenario: scenario.clone(),
        viewers,
        transport,
        ramp_s,
    });
    cells.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_live_count_has_its_limit_and_its_rival() {
        let settings = Settings { viewers: vec![100, 600], with_gstreamer: true };
        for (figure, loops) in [(Figure::LiveTcp, 2), (Figure::LiveUdp, 2)] {
            let cells = figure.cells(&settings);
            for viewers in [100, 600] {
                let of = cells.iter().filter(|cell| cell.viewers == viewers);
                let bare = of.clone().filter(|cell| matches!(cell.contestant, Contestant::Bare(_))).count();
                assert_eq!((bare, of.count()), (loops, loops + 3));
            }
        }
    }

    #[test]
    fn labels_of_a_figure_differ() {
        let settings = Settings { viewers: vec![100], with_gstreamer: true };
        for figure in Figure::ALL {
            let cells = figure.cells(&settings);
            let mut names: Vec<_> =
                cells.iter().map(|cell| (&cell.label, cell.transport.name(), cell.viewers)).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), cells.len(), "{figure:?}");
        }
    }
}
