//! A report as lines for people.

use std::fmt::{Result, Write};

use super::{Percentiles, Report};

pub(super) fn write(report: &Report, out: &mut String) -> Result {
    let named = [&report.scenario, &report.label, &report.transport];
    let named: Vec<_> = named.into_iter().filter(|name| !name.is_empty()).map(String::as_str).collect();
    writeln!(out, "{}, {:.1} s measured, {}", named.join(", "), report.seconds, report.machine)?;
    if report.viewers > 0 {
        write_viewers(report, out)?;
    }
    write_published(report, out)?;
    write_times(report, out)?;
    write_server(report, out)?;
    let harness = &report.harness;
    if harness.opening > 0.0 {
        writeln!(out, "opening TLS    {:.3} s/s of the harness", harness.opening)?;
    }
    writeln!(
        out,
        "harness        {:.3} s/s, busiest thread {:.2}, late by {:.1} ms (p99); machine {:.0} % idle",
        harness.cpu,
        harness.busiest,
        harness.lag_ms.p99,
        100.0 * harness.idle
    )?;
    report.doubts.iter().try_for_each(|doubt| writeln!(out, "DOUBT          {doubt}"))
}

fn write_viewers(report: &Report, out: &mut String) -> Result {
    writeln!(out, "viewers        {} of {} to the end", report.played, report.viewers)?;
    if report.stalled + report.slow > 0 {
        let (stalled, slow) = (report.stalled, report.slow);
        writeln!(
            out,
            "               {stalled} of them stopped reading, {slow} read a tenth; the figures are the others'"
        )?;
    }
    if report.burst > 0 {
        let burst = report.burst;
        writeln!(
            out,
            "               {burst} of them came all at once: \"set up\" is theirs, \"gap\" the others'"
        )?;
    }
    for (failure, count) in &report.failures {
        writeln!(out, "FAILED         {count}: {failure}")?;
    }
    if report.silent > 0 {
        writeln!(out, "SILENT         {} viewers got no packet", report.silent)?;
    }
    if let Some(churn) = &report.churn {
        writeln!(out, "sessions       {} came and went, {:.0} a second", churn.sessions, churn.per_s)?;
        for (failure, count) in &churn.failures {
            writeln!(out, "FAILED         {count} sessions: {failure}")?;
        }
    }
    if report.packets == 0 || report.churn.is_some() {
        return Ok(());
    }
    let [least, most] = report.bits_per_s.map(|bits| bits / 1e6);
    let rate = 8.0 * report.window_bytes as f64 / report.seconds.max(1e-3) / 1e6;
    writeln!(
        out,
        "received       {} packets, {:.3} GB; {rate:.1} Mbit/s",
        report.packets,
        report.bytes as f64 / 1e9
    )?;
    writeln!(out, "per viewer     {least:.2} to {most:.2} Mbit/s")?;
    let per_mille = 1e3 * report.missing as f64 / (report.packets + report.missing).max(1) as f64;
    writeln!(
        out,
        "missing        {} packets ({per_mille:.3} per mille), {} viewers",
        report.missing, report.viewers_missing
    )?;
    let [pictures, missing] = report.pictures;
    if pictures > 0 {
        writeln!(
            out,
            "pictures       {pictures} came, {missing} are missing, {} more at the end",
            report.pictures_behind
        )?;
    }
    writeln!(out, "reordered      {} packets", report.reordered)
}

fn write_published(report: &Report, out: &mut String) -> Result {
    let Some(published) = &report.published else { return Ok(()) };
    writeln!(
        out,
        "published      {} of {} to the end: {} pictures, {} packets, {:.3} GB",
        published.to_the_end,
        published.count,
        published.pictures,
        published.packets,
        published.bytes as f64 / 1e9
    )?;
    published
        .failures
        .iter()
        .try_for_each(|(failure, count)| writeln!(out, "FAILED         {count}: {failure}"))
}

fn write_times(report: &Report, out: &mut String) -> Result {
    let none = Percentiles::default();
    let rows = [
        ("set up", &report.set_up_ms),
        ("first packet", &report.first_packet_ms),
        ("first keyframe", &report.first_keyframe_ms),
        ("gap", &report.gap_ms),
        ("latency", &report.latency_ms),
        ("of keyframes", &report.keyframe_latency_ms),
        ("session", report.churn.as_ref().map_or(&none, |churn| &churn.session_ms)),
        ("publisher late", report.published.as_ref().map_or(&none, |published| &published.lag_ms)),
    ];
    writeln!(
        out,
        "\n{:<14} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "ms", "count", "p50", "p90", "p99", "p99.9", "max"
    )?;
    for (name, p) in rows.into_iter().filter(|(_, p)| p.count > 0) {
        let Percentiles { count, p50, p90, p99, p999, max, .. } = p;
        writeln!(out, "{name:<14} {count:>10} {p50:>9.2} {p90:>9.2} {p99:>9.2} {p999:>9.2} {max:>9.2}")?;
    }
    writeln!(out)
}

fn write_server(report: &Report, out: &mut String) -> Result {
    let Some(server) = &report.server else { return Ok(()) };
    writeln!(out, "server CPU     {:.3} s/s, ksoftirqd {:.3} s/s", server.cpu, server.softirq_cpu)?;
    if let Some(cost) = server.cpu_s_per_gb.filter(|_| report.churn.is_none()) {
        writeln!(out, "               {cost:.3} s per GB delivered")?;
    }
    if let Some(cost) = report.churn.as_ref().and_then(|churn| churn.cpu_ms) {
        writeln!(out, "               {cost:.4} ms per session")?;
    }
    let [start, before, after, gone] = server.anonymous_bytes.map(|bytes| bytes / 1024);
    write!(
        out,
        "server memory  {start} kB at the start, {before} with all, {after} at the end, {gone} after; {} kB resident",
        server.resident_bytes[2] / 1024
    )?;
    match server.kb_per_viewer {
        Some(kb) => writeln!(out, "; {kb:.1} kB a viewer")?,
        None => writeln!(out)?,
    }
    writeln!(out, "switches       {:.0} a second", server.switches_per_s)?;
    let Some(limit) = &report.limit else { return Ok(()) };
    write!(out, "limit          {}: {:.3} s per GB", limit.name, limit.cpu_s_per_gb)?;
    if let Some(ratio) = limit.cpu_ratio {
        write!(out, ", the server {ratio:.2} times that")?;
    }
    if let Some(ratio) = limit.latency_ratio {
        write!(out, "; p99 latency {:.2} ms, the server {ratio:.2} times that", limit.latency_p99_ms)?;
    }
    writeln!(out)
}
