//! Medians of a figure's rounds, and their table.

use std::fmt::Write;

use super::cells::Cell;
use super::{Contestant, Figure};
use crate::report::Report;

/// One report of each cell that was measured at all: the round whose leading number is the median, with the medians of
/// the other leading numbers in it, and what all rounds lacked.
pub(super) fn medians(cells: &[Cell], rounds: &[Vec<Report>]) -> Vec<Report> {
    let measured: Vec<_> = cells
        .iter()
        .zip(rounds)
        .filter_map(|(cell, reports)| Some((cell, median_report(reports)?)))
        .collect();
    let with_limit = measured.iter().map(|(cell, report)| {
        let limits = measured.iter().filter(|(other, _)| {
            matches!(other.contestant, Contestant::Bare(_))
                && (other.viewers, Some(other.transport)) == (cell.viewers, cell.transport.bare())
        });
        let limits: Vec<_> = limits.map(|(_, report)| report.clone()).collect();
        let mut report = report.clone();
        report.set_limit(&limits);
        report
    });
    with_limit.collect()
}

fn median_report(reports: &[Report]) -> Option<Report> {
    let mut sorted: Vec<_> = reports.iter().collect();
    sorted.sort_by(|a, b| leading(a).total_cmp(&leading(b)));
    let mut median = (*sorted.get(sorted.len() / 2)?).clone();
    let of = |value: &dyn Fn(&Report) -> f64| median_of(reports.iter().map(value).collect());
    median.gap_ms.p99 = of(&|report| report.gap_ms.p99);
    // The longest of all rounds: a maximum that one round in five exceeds is none.
    median.gap_ms.max = reports.iter().map(|report| report.gap_ms.max).fold(0.0, f64::max);
    median.set_up_ms.p50 = of(&|report| report.set_up_ms.p50);
    median.set_up_ms.p99 = of(&|report| report.set_up_ms.p99);
    median.latency_ms.p50 = of(&|report| report.latency_ms.p50);
    median.latency_ms.p99 = of(&|report| report.latency_ms.p99);
    median.first_keyframe_ms.p50 = of(&|report| report.first_keyframe_ms.p50);
    median.first_keyframe_ms.p99 = of(&|report| report.first_keyframe_ms.p99);
    if let Some(server) = &mut median.server {
        let all = |value: fn(&crate::report::Server) -> Option<f64>| {
            let values: Vec<_> = reports.iter().filter_map(|report| value(report.server.as_ref()?)).collect();
            (!values.is_empty()).then(|| median_of(values))
        };
        server.cpu_s_per_gb = all(|server| server.cpu_s_per_gb);
        server.cpu = all(|server| Some(server.cpu)).unwrap_or_default();
        server.softirq_cpu = all(|server| Some(server.softirq_cpu)).unwrap_or_default();
        server.kb_per_viewer = all(|server| server.kb_per_viewer);
        for moment in 0..server.anonymous_bytes.len() {
            let bytes = reports.iter().filter_map(|report| report.server.as_ref());
            let bytes = bytes.map(|server| server.anonymous_bytes[moment] as f64);
            server.anonymous_bytes[moment] = median_of(bytes.collect()) as u64;
        }
    }
    if let Some(churn) = &mut median.churn {
        let churns = || reports.iter().filter_map(|report| report.churn.as_ref());
        churn.per_s = median_of(churns().map(|churn| churn.per_s).collect());
        churn.cpu_ms = Some(median_of(churns().filter_map(|churn| churn.cpu_ms).collect()));
    }
    median.start_ms = Some(median_of(reports.iter().filter_map(|report| report.start_ms).collect()));
    // A loss or a doubt in any round is one of the figure.
    median.missing = reports.iter().map(|report| report.missing).sum();
    median.pictures[1] = reports.iter().map(|report| report.pictures[1] + report.pictures_behind).sum();
    median.doubts = reports.iter().flat_map(|report| report.doubts.clone()).collect();
    Some(median)
}

/// What a round is judged by: processor time for each session or gigabyte, else memory.
fn leading(report: &Report) -> f64 {
    let server = report.server.as_ref();
    let cost = report.churn.as_ref().and_then(|churn| churn.cpu_ms);
    let cost = cost.or_else(|| server?.cpu_s_per_gb).or_else(|| server?.kb_per_viewer);
    cost.unwrap_or(f64::NAN)
}

fn median_of(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One round of one cell in a line.
pub(super) fn line(report: &Report) -> String {
    let mut line = format!("{} {} {}", report.label, report.transport, report.viewers);
    let mut add = |name: &str, value: Option<f64>| {
        if let Some(value) = value.filter(|value| *value > 0.0) {
            let _ = write!(line, ", {name} {value:.3}");
        }
    };
    let server = report.server.as_ref();
    add("CPU-s/GB", server.and_then(|server| server.cpu_s_per_gb).filter(|_| report.churn.is_none()));
    add("CPU-ms/s", server.map(|server| 1e3 * (server.cpu + server.softirq_cpu)));
    add("p99 ms", Some(report.latency_ms.p99));
    add("sessions/s", report.churn.as_ref().map(|churn| churn.per_s));
    add("CPU-ms/session", report.churn.as_ref().and_then(|churn| churn.cpu_ms));
    add("kB/viewer", server.and_then(|server| server.kb_per_viewer));
    add("missing", Some(report.missing as f64));
    add("failed", Some((report.viewers - report.played) as f64));
    if !report.doubts.is_empty() {
        let _ = write!(line, " (doubts: {})", report.doubts.join("; "));
    }
    line
}

/// The medians as a table for the README.
pub(super) fn table(figure: Figure, medians: &[Report]) -> String {
    let columns: &[(&str, Column)] = match figure {
        Figure::LiveTcp | Figure::LiveUdp => &[
            VIEWERS,
            COST,
            COST_RATIO,
            LATENCY_P50,
            LATENCY,
            LATENCY_RATIO,
            MEMORY,
            MEMORY_MORE,
            MISSING,
            DOUBTS,
        ],
        Figure::Doors => &[VIEWERS, LOAD, COST, COST_RATIO, COST_TO_TCP, LATENCY, MEMORY, MISSING, DOUBTS],
        Figure::Multicast => &[VIEWERS, LOAD, COST, LATENCY, MEMORY, MISSING, DOUBTS],
        Figure::Stall => &[VIEWERS, GAP, COST, MEMORY, MISSING, DOUBTS],
        Figure::Burst => &[VIEWERS, SET_UP_P50, SET_UP, GAP, GAP_MAX, MISSING, DOUBTS],
        Figure::Files => &[VIEWERS, COST, COST_TO_FIRST, MEMORY, MISSING, DOUBTS],
        Figure::Join => &[VIEWERS, KEYFRAME_P50, KEYFRAME, MISSING, DOUBTS],
        Figure::Churn => &[VIEWERS, SESSIONS, SESSION_COST, SESSION_COST_TO_FIRST, GROWTH, DOUBTS],
        Figure::Idle => &[VIEWERS, MEMORY, START, DOUBTS],
    };
    let mut text = String::from("| |");
    columns.iter().for_each(|(name, _)| text += &format!(" {name} |"));
    text += "\n|---|";
    columns.iter().for_each(|_| text += "--:|");
    text.push('\n');
    for report in medians {
        let _ = write!(text, "| {} {} |", report.label, report.transport);
        for (_, column) in columns {
            let _ = write!(text, " {} |", column(report, medians).map_or("–".into(), number));
        }
        text.push('\n');
    }
    text
}

/// As many digits as say something.
fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// What a column shows of a report, beside the others.
type Column = fn(&Report, &[Report]) -> Option<f64>;

const VIEWERS: (&str, Column) = ("viewers", |report, _| Some(report.viewers as f64));
const COST: (&str, Column) = ("CPU-s/GB", |report, _| cost(report));
const COST_RATIO: (&str, Column) = ("x limit", |report, _| report.limit.as_ref()?.cpu_ratio);
/// Part of a processor, in thousandths.
const LOAD: (&str, Column) = ("CPU-ms/s", |report, _| {
    let server = report.server.as_ref()?;
    Some(1e3 * (server.cpu + server.softirq_cpu))
});
const COST_TO_TCP: (&str, Column) = ("x tcp", |report, all| {
    let is_tcp = |other: &&Report| {
        other.transport == "tcp" && (&other.label, other.viewers) == (&report.label, report.viewers)
    };
    Some(cost(report)? / cost(all.iter().find(is_tcp)?)?)
});
const COST_TO_FIRST: (&str, Column) = ("x live", |report, all| Some(cost(report)? / cost(all.first()?)?));
const LATENCY_P50: (&str, Column) = ("latency p50 ms", |report, _| counted(report.latency_ms.p50));
const LATENCY: (&str, Column) = ("p99 ms", |report, _| counted(report.latency_ms.p99));
const LATENCY_RATIO: (&str, Column) = ("x limit's", |report, _| report.limit.as_ref()?.latency_ratio);
const GAP: (&str, Column) = ("gap p99 ms", |report, _| counted(report.gap_ms.p99));
const GAP_MAX: (&str, Column) = ("max ms", |report, _| counted(report.gap_ms.max));
const SET_UP_P50: (&str, Column) = ("set up p50 ms", |report, _| counted(report.set_up_ms.p50));
const SET_UP: (&str, Column) = ("p99 ms", |report, _| counted(report.set_up_ms.p99));
const KEYFRAME_P50: (&str, Column) =
    ("first keyframe p50 ms", |report, _| counted(report.first_keyframe_ms.p50));
const KEYFRAME: (&str, Column) = ("p99 ms", |report, _| counted(report.first_keyframe_ms.p99));
const SESSIONS: (&str, Column) = ("sessions a second", |report, _| Some(report.churn.as_ref()?.per_s));
const SESSION_COST: (&str, Column) = ("CPU-ms each", |report, _| report.churn.as_ref()?.cpu_ms);
/// The first is the bare loop.
const SESSION_COST_TO_FIRST: (&str, Column) = ("x limit", |report, all| {
    let cost = |report: &Report| report.churn.as_ref()?.cpu_ms;
    Some(cost(report)? / cost(all.first()?)?)
});
const GROWTH: (&str, Column) = ("kB more afterwards", |report, _| {
    let [start, .., gone] = report.server.as_ref()?.anonymous_bytes;
    Some((gone as f64 - start as f64) / 1024.0)
});
const MEMORY: (&str, Column) = ("kB a viewer", |report, _| report.server.as_ref()?.kb_per_viewer);
/// From the fewest viewers of the same contestant to these: what a stream needs once is not in it.
const MEMORY_MORE: (&str, Column) = ("kB for one more", |report, all| {
    let is_same = |other: &&Report| (&other.label, &other.transport) == (&report.label, &report.transport);
    let few = all.iter().filter(is_same).min_by_key(|other| other.viewers)?;
    let kb = |report: &Report| Some(report.server.as_ref()?.kb_per_viewer? * report.viewers as f64);
    (report.viewers > few.viewers)
        .then(|| Some((kb(report)? - kb(few)?) / (report.viewers - few.viewers) as f64))?
});
const START: (&str, Column) = ("start to listening ms", |report, _| report.start_ms);
const MISSING: (&str, Column) =
    ("missing packets", |report, _| Some((report.missing + report.pictures[1]) as f64));
const DOUBTS: (&str, Column) = ("doubts", |report, _| Some(report.doubts.len() as f64));

fn cost(report: &Report) -> Option<f64> {
    report.server.as_ref()?.cpu_s_per_gb
}

fn counted(value: f64) -> Option<f64> {
    (value > 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::super::cells::Settings;
    use super::*;
    use crate::report::{Percentiles, Server};

    #[test]
    fn medians_are_compared_with_the_cheapest_loop_of_the_same_count() {
        let settings = Settings { viewers: vec![100, 300], with_gstreamer: false };
        let cells = Figure::LiveTcp.cells(&settings);
        let rounds: Vec<Vec<Report>> = cells
            .iter()
            .map(|cell| {
                let is_bare = matches!(cell.contestant, super::super::Contestant::Bare(_));
                let base = if is_bare { 0.5 } else { 0.6 } * if cell.viewers == 100 { 2.0 } else { 1.0 };
                let report = |factor: f64| Report {
                    label: cell.label.clone(),
                    transport: "tcp".into(),
                    viewers: cell.viewers,
                    missing: 1,
                    packets: factor as u64,
                    gap_ms: Percentiles { max: factor, ..Percentiles::default() },
                    latency_ms: Percentiles { count: 9, p99: factor, ..Percentiles::default() },
                    server: Some(Server { cpu_s_per_gb: Some(base * factor), ..Server::default() }),
                    ..Report::default()
                };
                vec![report(9.0), report(1.0), report(0.1)]
            })
            .collect();
        let medians = medians(&cells, &rounds);
        let ours: Vec<_> = medians.iter().filter(|report| report.label == "ringcaster").collect();
        assert_eq!(ours.len(), 2);
        for report in ours {
            let limit = report.limit.as_ref().unwrap();
            assert!((limit.cpu_ratio.unwrap() - 1.2).abs() < 1e-9, "{limit:?}");
            assert_eq!((report.latency_ms.p99, report.missing), (1.0, 3));
            // The round whose cost is the median, whichever it was, and the longest gap of all.
            assert_eq!((report.packets, report.gap_ms.max), (1, 9.0));
        }
        let table = table(Figure::LiveTcp, &medians);
        assert!(table.contains("| ringcaster tcp | 300 | 0.60 | 1.20 |"), "{table}");
    }
}
