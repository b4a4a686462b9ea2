//! What came out of a run: the figures, and what makes them doubtful.

mod doubts;
mod percentiles;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use percentiles::Percentiles;

use crate::meter::{Tally, histogram};
use crate::plan::{Act, Plan, Transport};
use crate::process;
use crate::swarm::{Outcome, Run};

/// The figures of one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which scenario it was.
    pub scenario: String,
    /// What was measured, in the words of who started the run.
    pub label: String,
    /// Processor and kernel.
    pub machine: String,
    /// How packets came.
    pub transport: String,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Viewers that were asked for.
    pub viewers: usize,
    /// Viewers that stayed to the end.
    pub played: usize,
    /// Viewers that stopped reading, on purpose; they are in no other figure but `viewers` and `played`.
    pub stalled: usize,
    /// Viewers that read at a tenth of the rate.
    pub slow: usize,
    /// Viewers that came all at once in the middle; of them is `set_up_ms`, of the others are all other times.
    #[serde(default)]
    pub burst: usize,
    /// Why viewers failed, with how many did so.
    pub failures: BTreeMap<String, usize>,
    /// Viewers to whom no packet came.
    pub silent: usize,
    /// Viewers that were not there yet when measuring began.
    pub late: usize,
    /// RTP packets of all viewers.
    pub packets: u64,
    /// Bytes of RTP of all viewers.
    pub bytes: u64,
    /// Bytes of RTP that came while it was measured.
    pub window_bytes: u64,
    /// Sequence numbers that have not come.
    pub missing: u64,
    /// Viewers that miss something.
    pub viewers_missing: usize,
    /// Packets behind a later one.
    pub reordered: u64,
    /// Datagrams that the full buffers of our own sockets dropped.
    pub receive_buffer_drops: u64,
    /// Packets that were dropped before they reached a receiver's buffer, on the whole machine.
    pub backlog_drops: u64,
    /// Pictures with a stamp that viewers got, and that have not come between the first and the last.
    pub pictures: [u64; 2],
    /// Pictures that our publisher sent last and that have not come.
    pub pictures_behind: u64,
    /// Least and most bits a second that a viewer got, from its first packet on.
    pub bits_per_s: [f64; 2],
    /// From connect to the answer to PLAY.
    pub set_up_ms: Percentiles,
    /// From PLAY to the first packet.
    pub first_packet_ms: Percentiles,
    /// From PLAY to the last packet of the first keyframe.
    pub first_keyframe_ms: Percentiles,
    /// Between the begins of two pictures of a viewer.
    pub gap_ms: Percentiles,
    /// From the sender's stamp to the viewer, keyframes excepted.
    pub latency_ms: Percentiles,
    /// The same of keyframes.
    pub keyframe_latency_ms: Percentiles,
    /// Clients that came and went; None in other scenarios.
    pub churn: Option<Churn>,
    /// What was published; None where nothing was.
    pub published: Option<Publishing>,
    /// What the server used; None without its process id.
    pub server: Option<Server>,
    /// What we ourselves used.
    pub harness: Harness,
    /// From the server's start until it took a connection, in milliseconds; None where it was there before.
    pub start_ms: Option<f64>,
    /// The machine's own limit beside it; None where it was not measured.
    pub limit: Option<Limit>,
    /// What makes the figures doubtful.
    pub doubts: Vec<String>,
}

/// Sessions that came and went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Churn {
    /// How many, while it was measured.
    pub sessions: u64,
    /// A second.
    pub per_s: f64,
    /// Why others failed, in the whole run, with how many did so.
    pub failures: BTreeMap<String, usize>,
    /// From connect to the answer to TEARDOWN.
    pub session_ms: Percentiles,
    /// Milliseconds of the server's processor time for each; None without its process id.
    pub cpu_ms: Option<f64>,
}

/// What our publishers sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Publishing {
    /// Publishers.
    pub count: usize,
    /// Those that sent to the end.
    pub to_the_end: usize,
    /// Why others did not.
    pub failures: BTreeMap<String, usize>,
    /// Pictures.
    pub pictures: u64,
    /// RTP packets.
    pub packets: u64,
    /// Bytes of RTP.
    pub bytes: u64,
    /// How late pictures left.
    pub lag_ms: Percentiles,
}

/// What the server used while it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Seconds of processor time a second.
    pub cpu: f64,
    /// The same for all `ksoftirqd` of the machine.
    pub softirq_cpu: f64,
    /// Seconds of processor time, softirq included, for each gigabyte (1e9) of RTP that was delivered; None where
    /// nothing was.
    pub cpu_s_per_gb: Option<f64>,
    /// Anonymous memory in bytes: before the first client, when all were there, at the end, and after they had gone.
    pub anonymous_bytes: [u64; 4],
    /// All resident memory at the same moments.
    pub resident_bytes: [u64; 4],
    /// Growth of anonymous memory from before the first client to the end, for each viewer, in kB (1024); None where
    /// viewers do not stay, or some have failed.
    pub kb_per_viewer: Option<f64>,
    /// Context switches a second.
    pub switches_per_s: f64,
}

/// What we ourselves used while it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Harness {
    /// Seconds of processor time a second, all threads.
    pub cpu: f64,
    /// Of it, to open records of TLS.
    #[serde(default)]
    pub opening: f64,
    /// The busiest thread's.
    pub busiest: f64,
    /// How late our threads came to what was due on them; timers have a millisecond.
    pub lag_ms: Percentiles,
    /// Part of the machine that was idle, 0 to 1.
    pub idle: f64,
}

/// What the cheaper of the bare loops needed for the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Which loop.
    pub name: String,
    /// Seconds of processor time for each gigabyte.
    pub cpu_s_per_gb: f64,
    /// How many times that the server needed.
    pub cpu_ratio: Option<f64>,
    /// 99 % of its pictures were with the viewer within so many milliseconds.
    pub latency_p99_ms: f64,
    /// How many times that it took with the server.
    pub latency_ratio: Option<f64>,
}

impl Report {
    /// Sums up a run.
    pub fn new(scenario: &str, label: &str, run: &Run, outcome: &Outcome) -> Report {
        let plan = &run.plan;
        let misbehaving = plan.misbehaving().min(outcome.tallies.len());
        let measured = &outcome.tallies[misbehaving..];
        let sum = |value: fn(&Tally) -> u64| measured.iter().map(value).sum::<u64>();
        // Who listens to a group counts for all others.
        let is_heard =
            plan.transport == Transport::Multicast && measured.iter().any(|tally| tally.packets > 0);
        let plays = plan.act != Act::Holds && !is_heard;
        let silent = |tally: &&Tally| plays && tally.packets == 0 && tally.failure.is_none();
        let late = |tally: &&Tally| tally.ready.is_some_and(|ready| ready > plan.steady());
        let before_burst = &measured[..measured.len().saturating_sub(plan.burst)];
        let behind = |tally: &Tally| match (outcome.pictures_sent, tally.numbers) {
            (Some(sent), Some((_, last))) => u64::from(sent.saturating_sub(1).saturating_sub(last)),
            _ => 0,
        };
        let meter = &outcome.meter;
        let mut report = Report {
            scenario: scenario.to_owned(),
            label: label.to_owned(),
            machine: process::machine(),
            transport: plan.transport.name().to_owned(),
            seconds: outcome.window.as_secs_f64(),
            viewers: plan.viewers,
            played: outcome.tallies.iter().filter(|tally| tally.failure.is_none()).count(),
            stalled: plan.stalled,
            slow: plan.slow,
            burst: plan.burst,
            failures: reasons(outcome.tallies.iter().filter_map(|tally| tally.failure.as_ref())),
            silent: measured.iter().filter(silent).count(),
            late: before_burst.iter().filter(late).count(),
            packets: sum(|tally| tally.packets),
            bytes: sum(|tally| tally.bytes),
            window_bytes: outcome.window_bytes,
            missing: sum(|tally| tally.missing),
            viewers_missing: measured.iter().filter(|tally| tally.missing > 0).count(),
            reordered: sum(|tally| tally.reordered),
            receive_buffer_drops: outcome.after.receive_buffer_drops,
            backlog_drops: outcome.after.backlog_drops - outcome.start.backlog_drops,
            pictures: [sum(|tally| tally.pictures), sum(Tally::pictures_missing)],
            pictures_behind: measured.iter().map(behind).sum(),
            bits_per_s: rates(measured, plan),
            set_up_ms: Percentiles::of(&meter.set_ups),
            first_packet_ms: Percentiles::of(&meter.first_packets),
            first_keyframe_ms: Percentiles::of(&meter.first_keyframes),
            gap_ms: Percentiles::of(&meter.gaps),
            latency_ms: Percentiles::of(&meter.latencies),
            keyframe_latency_ms: Percentiles::of(&meter.keyframe_latencies),
            churn: (plan.act == Act::Churns).then(|| Churn::new(outcome, run.server_pid.is_some())),
            published: Publishing::new(outcome),
            server: run.server_pid.map(|_| Server::new(outcome, plan)),
            harness: Harness::new(outcome),
            start_ms: None,
            limit: None,
            doubts: Vec::new(),
        };
        report.doubts = doubts::of(&report);
        report
    }

    /// The report as lines for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = table::write(self, &mut text);
        text
    }

    /// Whether everybody did what was asked for.
    pub fn is_complete(&self) -> bool {
        let published =
            self.published.as_ref().is_none_or(|published| published.to_the_end == published.count);
        let churned = self.churn.as_ref().is_none_or(|churn| churn.failures.is_empty());
        self.played == self.viewers && self.silent == 0 && published && churned
    }

    /// Sets what the cheapest of the bare loops needed beside what this server did.
    pub fn set_limit(&mut self, bare: &[Report]) {
        let cost = |report: &Report| report.server.as_ref().and_then(|server| server.cpu_s_per_gb);
        let cheapest = bare.iter().filter_map(|report| Some((cost(report)?, report)));
        let Some((cpu_s_per_gb, limit)) = cheapest.min_by(|a, b| a.0.total_cmp(&b.0)) else { return };
        let latency_p99_ms = limit.latency_ms.p99;
        self.limit = Some(Limit {
            name: limit.label.clone(),
            cpu_s_per_gb,
            cpu_ratio: cost(self).map(|cost| cost / cpu_s_per_gb),
            latency_p99_ms,
            latency_ratio: (latency_p99_ms > 0.0 && self.latency_ms.count > 0)
                .then(|| self.latency_ms.p99 / latency_p99_ms),
        });
    }
}

impl Churn {
    fn new(outcome: &Outcome, has_server: bool) -> Churn {
        let mut failures = BTreeMap::new();
        for (reason, count) in outcome.tallies.iter().flat_map(|tally| &tally.session_failures) {
            *failures.entry(reason.clone()).or_default() += count;
        }
        let (sessions, seconds) = (outcome.window_sessions, outcome.window.as_secs_f64().max(1e-3));
        let cpu_s =
            outcome.after.cpu_s - outcome.before.cpu_s + outcome.after.softirq_s - outcome.before.softirq_s;
        Churn {
            sessions,
            per_s: sessions as f64 / seconds,
            failures,
            session_ms: Percentiles::of(&outcome.meter.sessions),
            cpu_ms: (has_server && sessions > 0).then(|| 1e3 * cpu_s / sessions as f64),
        }
    }
}

impl Publishing {
    fn new(outcome: &Outcome) -> Option<Publishing> {
        let published = &outcome.published;
        let mut lags = histogram();
        for publisher in published {
            // Both have the same bounds.
            let _ = lags.add(&publisher.lags);
        }
        (!published.is_empty()).then(|| Publishing {
            count: published.len(),
            to_the_end: published.iter().filter(|publisher| publisher.failure.is_none()).count(),
            failures: reasons(published.iter().filter_map(|publisher| publisher.failure.as_ref())),
            pictures: published.iter().map(|publisher| u64::from(publisher.pictures)).sum(),
            packets: published.iter().map(|publisher| publisher.packets).sum(),
            bytes: published.iter().map(|publisher| publisher.bytes).sum(),
            lag_ms: Percentiles::of(&lags),
        })
    }
}

impl Server {
    fn new(outcome: &Outcome, plan: &Plan) -> Server {
        let (before, after) = (&outcome.before, &outcome.after);
        let seconds = outcome.window.as_secs_f64().max(1e-3);
        let (cpu_s, softirq_s) = (after.cpu_s - before.cpu_s, after.softirq_s - before.softirq_s);
        let gigabytes = outcome.window_bytes as f64 / 1e9;
        let moments = [&outcome.start, before, after, &outcome.gone];
        let anonymous_bytes = moments.map(|moment| moment.anonymous_bytes);
        let stays = plan.act != Act::Churns
            && plan.viewers > 0
            && outcome.tallies.iter().all(|tally| tally.failure.is_none());
        let grown = anonymous_bytes[2].saturating_sub(anonymous_bytes[0]);
        Server {
            cpu: cpu_s / seconds,
            softirq_cpu: softirq_s / seconds,
            cpu_s_per_gb: (gigabytes > 0.0).then(|| (cpu_s + softirq_s) / gigabytes),
            anonymous_bytes,
            resident_bytes: moments.map(|moment| moment.resident_bytes),
            kb_per_viewer: stays.then(|| grown as f64 / 1024.0 / plan.viewers as f64),
            switches_per_s: after.switches.saturating_sub(before.switches) as f64 / seconds,
        }
    }
}

impl Harness {
    fn new(outcome: &Outcome) -> Harness {
        let seconds = outcome.window.as_secs_f64().max(1e-3);
        let (before, after) = (outcome.before.machine_s, outcome.after.machine_s);
        Harness {
            cpu: outcome.threads_cpu_s.iter().sum::<f64>() / seconds,
            opening: outcome.opening_s / seconds,
            busiest: outcome.threads_cpu_s.iter().copied().fold(0.0, f64::max) / seconds,
            lag_ms: Percentiles::of(&outcome.meter.lags),
            idle: (after.0 - before.0) / (after.1 - before.1).max(1e-3),
        }
    }
}

fn reasons<'a>(failures: impl Iterator<Item = &'a String>) -> BTreeMap<String, usize> {
    failures.fold(BTreeMap::new(), |mut reasons, failure| {
        *reasons.entry(failure.clone()).or_default() += 1;
        reasons
    })
}

/// The least and the greatest rate of a viewer.
fn rates(tallies: &[Tally], plan: &Plan) -> [f64; 2] {
    let rates = tallies.iter().filter(|tally| tally.failure.is_none()).filter_map(|tally| {
        let lead = tally.ready? + tally.first_packet?;
        Some(8.0 * tally.bytes as f64 / plan.leave().saturating_sub(lead).as_secs_f64().max(1e-3))
    });
    let span = rates.fold(None, |span: Option<[f64; 2]>, rate| {
        let [least, most] = span.unwrap_or([rate, rate]);
        Some([least.min(rate), most.max(rate)])
    });
    span.unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::meter::Meter;
    use crate::plan::Transport;
    use crate::process::Snapshot;
    use crate::sink::Depth;

    fn run() -> Run {
        let plan = Plan {
            urls: vec!["rtsp://host/x".into()],
            viewers: 4,
            act: Act::Plays,
            transport: Transport::Tcp,
            ramp: Duration::ZERO,
            duration: Duration::from_secs(10),
            stalled: 1,
            slow: 0,
            burst: 0,
            receive_buffer: 0,
            spread_s: None,
            depth: Depth::Heads,
        };
        Run { plan, publishing: None, server_pid: Some(1) }
    }

    fn outcome(tallies: Vec<Tally>) -> Outcome {
        Outcome {
            tallies,
            published: Vec::new(),
            meter: Meter::default(),
            start: Snapshot::default(),
            before: Snapshot::default(),
            after: Snapshot { receive_buffer_drops: 10, cpu_s: 3.0, softirq_s: 1.0, ..Snapshot::default() },
            gone: Snapshot::default(),
            window: Duration::from_secs(10),
            window_bytes: 2_000_000_000,
            window_sessions: 0,
            opening_s: 0.0,
            threads_cpu_s: vec![1.0, 9.5],
            pictures_sent: Some(31),
        }
    }

    pub(crate) fn report() -> Report {
        let tally = |packets, missing, failure: Option<&str>| Tally {
            packets,
            bytes: 1_000 * packets,
            missing,
            pictures: 10,
            numbers: Some((20, 30)),
            ready: Some(Duration::from_secs(if packets == 90 { 5 } else { 0 })),
            failure: failure.map(str::to_owned),
            ..Tally::default()
        };
        let tallies =
            vec![tally(1, 900, None), tally(100, 0, None), tally(90, 10, None), tally(0, 0, Some("refused"))];
        Report::new("fanout", "x", &run(), &outcome(tallies))
    }

    #[test]
    fn failures_losses_and_the_stalled_are_told_apart() {
        let report = report();
        assert_eq!((report.packets, report.missing, report.viewers_missing), (190, 10, 1));
        assert_eq!((report.played, report.silent, report.receive_buffer_drops), (3, 0, 10));
        assert_eq!((report.pictures, report.pictures_behind, report.late), ([30, 3], 0, 1));
        assert_eq!(report.failures["refused"], 1);
        assert!(!report.is_complete());
        assert!(report.table().contains("FAILED         1: refused"));
    }

    #[test]
    fn cost_is_that_of_the_window_and_compared_with_the_cheapest_loop() {
        let mut report = report();
        assert_eq!(report.server.as_ref().unwrap().cpu_s_per_gb, Some(2.0));
        let bare = |label: &str, cost| {
            let server = Some(Server { cpu_s_per_gb: Some(cost), ..Server::default() });
            Report { label: label.into(), server, ..Report::default() }
        };
        report.set_limit(&[bare("a", 1.9), bare("b", 1.6), Report::default()]);
        let limit = report.limit.as_ref().unwrap();
        assert_eq!((limit.name.as_str(), limit.cpu_ratio, limit.latency_ratio), ("b", Some(1.25), None));
    }

    #[test]
    fn what_is_written_for_machines_is_read_again() {
        let text = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report());
    }
}
