//! What came out of a run, for people and for machines.

use std::collections::BTreeMap;
use std::fmt::Write;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::meter::Tally;
use crate::plan::Plan;
use crate::swarm::Outcome;

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Viewers that were asked for.
    pub viewers: usize,
    /// Viewers that played to the end.
    pub played: usize,
    /// Viewers that stopped reading, on purpose; they are in no other figure but `viewers` and `played`.
    pub stalled: usize,
    /// Viewers that read at a tenth of the rate.
    pub slow: usize,
    /// Why viewers failed, with how many did so.
    pub failures: BTreeMap<String, usize>,
    /// Viewers to whom no packet came.
    pub silent: usize,
    /// RTP packets of all viewers.
    pub packets: u64,
    /// Bytes of RTP of all viewers.
    pub bytes: u64,
    /// Sequence numbers that have not come.
    pub missing: u64,
    /// Viewers that miss something.
    pub viewers_missing: usize,
    /// Packets behind a later one.
    pub reordered: u64,
    /// Datagrams that the receivers' own full buffers dropped, on the whole machine.
    pub receive_buffer_errors: u64,
    /// Least and most bits a second that a viewer got, from its first packet on.
    pub bits_per_s: [f64; 2],
    /// From connect to the answer to PLAY, in milliseconds.
    pub set_up_ms: Percentiles,
    /// From PLAY to the first packet, in milliseconds.
    pub first_packet_ms: Percentiles,
    /// Between the begins of two pictures of a viewer, in milliseconds.
    pub gap_ms: Percentiles,
    /// What the server used; None without its process id.
    pub server: Option<Server>,
}

/// What the server used in the measured window.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Seconds of processor time a second.
    pub cpu: f64,
    /// The same for all `ksoftirqd` of the machine.
    pub softirq_cpu: f64,
    /// Seconds of processor time, softirq included, for each gigabyte (1e9) of RTP that was delivered.
    pub cpu_s_per_gb: f64,
    /// Anonymous memory in bytes at the begin and at the end of the window.
    pub memory_bytes: [u64; 2],
    /// Context switches a second.
    pub switches_per_s: f64,
}

/// A distribution.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    /// Count of values.
    pub count: u64,
    /// Half are at most this.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Percentiles {
        let ms = |us: u64| us as f64 / 1_000.0;
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        let (count, max) = (histogram.len(), ms(histogram.max()));
        Percentiles { count, p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max }
    }
}

impl Report {
    /// Sums up a run.
    pub fn new(plan: &Plan, outcome: &Outcome, with_server: bool) -> Report {
        let mut failures = BTreeMap::new();
        for failure in outcome.tallies.iter().filter_map(|tally| tally.failure.as_ref()) {
            *failures.entry(failure.clone()).or_default() += 1;
        }
        let measured = &outcome.tallies[plan.misbehaving().min(outcome.tallies.len())..];
        let sum = |value: fn(&Tally) -> u64| measured.iter().map(value).sum::<u64>();
        let bytes = sum(|tally| tally.bytes);
        let server = with_server.then(|| Server::new(outcome, bytes, plan));
        Report {
            viewers: plan.viewers,
            played: outcome.tallies.iter().filter(|tally| tally.failure.is_none()).count(),
            stalled: plan.stalled,
            slow: plan.slow,
            failures,
            silent: measured.iter().filter(|tally| tally.packets == 0 && tally.failure.is_none()).count(),
            packets: sum(|tally| tally.packets),
            bytes,
            missing: sum(|tally| tally.missing),
            viewers_missing: measured.iter().filter(|tally| tally.missing > 0).count(),
            reordered: sum(|tally| tally.reordered),
            receive_buffer_errors: outcome.after.receive_buffer_errors - outcome.before.receive_buffer_errors,
            bits_per_s: rates(measured, plan),
            set_up_ms: Percentiles::of(&outcome.meter.set_ups),
            first_packet_ms: Percentiles::of(&outcome.meter.first_packets),
            gap_ms: Percentiles::of(&outcome.meter.gaps),
            server,
        }
    }

    /// The report as lines for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "viewers        {} of {} played to the end", self.played, self.viewers)?;
        if self.stalled + self.slow > 0 {
            let (stalled, slow) = (self.stalled, self.slow);
            writeln!(
                out,
                "               {stalled} of them stopped reading, {slow} read a tenth; the figures are the others'"
            )?;
        }
        for (failure, count) in &self.failures {
            writeln!(out, "FAILED         {count}: {failure}")?;
        }
        if self.silent > 0 {
            writeln!(out, "SILENT         {} viewers got no packet", self.silent)?;
        }
        let [least, most] = self.bits_per_s.map(|bits| bits / 1e6);
        writeln!(out, "received       {} packets, {:.3} GB", self.packets, self.bytes as f64 / 1e9)?;
        writeln!(out, "per viewer     {least:.2} to {most:.2} Mbit/s")?;
        let per_mille = 1e3 * self.missing as f64 / (self.packets + self.missing).max(1) as f64;
        writeln!(
            out,
            "missing        {} packets ({per_mille:.3} per mille), {} viewers",
            self.missing, self.viewers_missing
        )?;
        writeln!(out, "reordered      {} packets", self.reordered)?;
        writeln!(out, "RcvbufErrors   {} datagrams on this machine", self.receive_buffer_errors)?;
        writeln!(
            out,
            "\n{:<14} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "ms", "count", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for (name, p) in
            [("set up", &self.set_up_ms), ("first packet", &self.first_packet_ms), ("gap", &self.gap_ms)]
        {
            let Percentiles { count, p50, p90, p99, p999, max } = p;
            writeln!(
                out,
                "{name:<14} {count:>10} {p50:>10.2} {p90:>10.2} {p99:>10.2} {p999:>10.2} {max:>10.2}"
            )?;
        }
        let Some(server) = &self.server else { return Ok(()) };
        let [before, after] = server.memory_bytes.map(|bytes| bytes as f64 / 1024.0);
        let per_viewer = after / self.viewers.max(1) as f64;
        writeln!(out, "\nserver CPU     {:.3} s/s, ksoftirqd {:.3} s/s", server.cpu, server.softirq_cpu)?;
        writeln!(out, "               {:.3} s per GB delivered", server.cpu_s_per_gb)?;
        writeln!(
            out,
            "server memory  {before:.0} kB, then {after:.0} kB ({per_viewer:.1} kB a viewer in all)"
        )?;
        writeln!(out, "switches       {:.0} a second", server.switches_per_s)
    }
}

impl Server {
    fn new(outcome: &Outcome, bytes: u64, plan: &Plan) -> Server {
        let (before, after) = (&outcome.before, &outcome.after);
        let seconds = outcome.window.as_secs_f64().max(1e-3);
        let (cpu_s, softirq_s) = (after.cpu_s - before.cpu_s, after.softirq_s - before.softirq_s);
        // Packets are counted from the first viewer on, processor time in the window: the ramp's share is taken off.
        let share = plan.duration.as_secs_f64() / (plan.duration + plan.ramp / 2).as_secs_f64().max(1e-3);
        let gigabytes = bytes as f64 * share / 1e9;
        Server {
            cpu: cpu_s / seconds,
            softirq_cpu: softirq_s / seconds,
            cpu_s_per_gb: if gigabytes > 0.0 { (cpu_s + softirq_s) / gigabytes } else { 0.0 },
            memory_bytes: [before.memory_bytes, after.memory_bytes],
            switches_per_s: after.switches.saturating_sub(before.switches) as f64 / seconds,
        }
    }
}

/// The least and the greatest rate of a viewer.
fn rates(tallies: &[Tally], plan: &Plan) -> [f64; 2] {
    let mut rates = [f64::MAX, 0.0];
    for (number, tally) in tallies.iter().enumerate().filter(|(_, tally)| tally.failure.is_none()) {
        let lead = tally.set_up.unwrap_or_default() + tally.first_packet.unwrap_or_default();
        let played =
            plan.end().saturating_sub(plan.start_of(number + plan.misbehaving())).saturating_sub(lead);
        let rate = 8.0 * tally.bytes as f64 / played.as_secs_f64().max(1e-3);
        rates = [rates[0].min(rate), rates[1].max(rate)];
    }
    if rates[0] == f64::MAX { [0.0, 0.0] } else { rates }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::meter::Meter;
    use crate::plan::Transport;
    use crate::process::Snapshot;

    #[test]
    fn failures_losses_and_the_stalled_are_told_apart() {
        let plan = Plan {
            urls: vec!["rtsp://host/x".into()],
            viewers: 4,
            transport: Transport::Tcp,
            ramp: Duration::ZERO,
            duration: Duration::from_secs(10),
            stalled: 1,
            slow: 0,
            receive_buffer: 0,
            spread_s: None,
        };
        let tally = |packets, missing, failure: Option<&str>| Tally {
            packets,
            bytes: 1_000 * packets,
            missing,
            failure: failure.map(str::to_owned),
            ..Tally::default()
        };
        let tallies =
            vec![tally(1, 900, None), tally(100, 0, None), tally(90, 10, None), tally(0, 0, Some("refused"))];
        let (before, after) =
            (Snapshot::default(), Snapshot { receive_buffer_errors: 10, ..Snapshot::default() });
        let window = Duration::from_secs(10);
        let outcome = Outcome { tallies, meter: Meter::default(), before, after, window };
        let report = Report::new(&plan, &outcome, false);
        assert_eq!((report.packets, report.missing, report.viewers_missing), (190, 10, 1));
        assert_eq!((report.played, report.silent, report.receive_buffer_errors), (3, 0, 10));
        assert_eq!(report.failures["refused"], 1);
        assert!(report.table().contains("FAILED         1: refused"));
    }
}
