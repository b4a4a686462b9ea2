//! The figures that are published.

use super::cells::{Cell, Place, Scenario, Settings};
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
    /// Processor time of a live stream by every door, plain and in TLS, by count of viewers.
    Doors,
    /// Processor time of a live stream to a group, by count of those who listen to it.
    Multicast,
    /// What 500 viewers notice of one that stops reading.
    Stall,
    /// What 100 viewers notice of 1,000 that come at once, and how long those wait.
    Burst,
    /// Files, all viewers near each other, all apart and all alone, beside a live stream.
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
    pub const ALL: [Figure; 10] = [
        Figure::LiveTcp,
        Figure::LiveUdp,
        Figure::Doors,
        Figure::Multicast,
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
            Figure::Doors => "doors",
            Figure::Multicast => "multicast",
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
            Figure::Doors => doors(settings),
            Figure::Multicast => {
                let members = [1, 10, 100, 1_000];
                let of = |members| each(&[Contestant::Ring], &live, members, Transport::Multicast, RAMP_S);
                members.into_iter().flat_map(of).collect()
            }
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
                    let places =
                        [(Place::Together, "together"), (Place::Apart, "apart"), (Place::Alone, "alone")];
                    for (place, said) in places {
                        let file = Scenario::File { name, place, cache_mb: CACHE_MB };
                        let mut more = each(&ours, &file, 100, tcp, 2.0);
                        more.iter_mut().for_each(|cell| cell.label += &format!(", {name} {said}"));
                        cells.extend(more);
                    }
                }
                // What the cache may hold is not what a viewer needs.
                let (name, place) = ("clip.mp4", Place::Alone);
                let small = Scenario::File { name, place, cache_mb: CACHE_MB_MIN };
                let mut more = each(&ours, &small, 100, tcp, 2.0);
                more.iter_mut().for_each(|cell| cell.label += ", clip.mp4 alone, small cache");
                cells.extend(more);
                if settings.with_gstreamer {
                    let alone = Scenario::File { name, place, cache_mb: 0 };
                    let mut more = each(&[Contestant::Gstreamer], &alone, 100, tcp, 2.0);
                    more.iter_mut().for_each(|cell| cell.label += ", clip.mp4 alone");
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
    let contestants: Vec<_> = bare(transport).chain(servers(settings)).collect();
    let live = Scenario::Live { stalled: 0, burst: 0 };
    settings.viewers.iter().flat_map(|viewers| each(&contestants, &live, *viewers, transport, 3.0)).collect()
}

/// The loops that may be the limit of a transport. The one that sends packet by packet never is, and it takes what the
/// others need ten times.
fn bare(transport: Transport) -> impl Iterator<Item = Contestant> {
    let loops = Loop::all(transport).iter().filter(|by| **by != Loop::Sendto);
    loops.map(|by| Contestant::Bare(*by))
}

fn doors(settings: &Settings) -> Vec<Cell> {
    let live = Scenario::Live { stalled: 0, burst: 0 };
    let mut cells = Vec::new();
    for viewers in &settings.viewers {
        for transport in DOORS {
            // Doors of one kind share their limit.
            let limit = bare(transport).filter(|_| transport.bare() == Some(transport));
            let contestants: Vec<_> = limit.chain([Contestant::Ring]).collect();
            cells.extend(each(&contestants, &live, *viewers, transport, RAMP_S));
        }
    }
    cells
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

/// What the server's cache of files holds at most, as it is without a setting.
const CACHE_MB: u32 = 256;

/// The smallest that it takes.
const CACHE_MB_MIN: u32 = 16;

/// Seconds in which viewers of the doors come: a group sees nothing before the next keyframe, which takes two.
const RAMP_S: f64 = 2.0;

/// The doors that are compared.
const DOORS: [Transport; 7] = [
    Transport::Tcp,
    Transport::Http,
    Transport::Ws,
    Transport::Rtsps,
    Transport::Https,
    Transport::Wss,
    Transport::Multicast,
];

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
    fn every_door_has_the_limit_of_the_same_bytes_and_groups_grow() {
        let settings = Settings { viewers: vec![100], with_gstreamer: false };
        let cells = Figure::Doors.cells(&settings);
        for transport in DOORS {
            let is_limit = |cell: &&Cell| {
                matches!(cell.contestant, Contestant::Bare(_)) && Some(cell.transport) == transport.bare()
            };
            let has_limit = cells.iter().any(|cell| is_limit(&cell));
            assert_eq!(has_limit, transport != Transport::Multicast, "{transport:?}");
        }
        assert_eq!(cells.len(), 2 + 1 + DOORS.len());
        let members: Vec<_> = Figure::Multicast.cells(&settings).iter().map(|cell| cell.viewers).collect();
        assert_eq!(members, [1, 10, 100, 1_000]);
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
