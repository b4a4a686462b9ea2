//! What makes the figures of a run doubtful. A report never leaves it out.

use super::Report;

/// One sentence for each doubt.
pub(super) fn of(report: &Report) -> Vec<String> {
    let mut doubts = Vec::new();
    let mut doubt = |is: bool, text: String| {
        if is {
            doubts.push(text);
        }
    };
    let harness = &report.harness;
    doubt(
        harness.busiest > BUSY_MAX,
        format!(
            "a thread of the viewers was busy {:.0} % of the time: they may be what is measured",
            100.0 * harness.busiest
        ),
    );
    doubt(
        harness.lag_ms.p99 > LAG_MS_MAX,
        format!(
            "the viewers' own threads were late by {:.1} ms (p99): latencies and gaps hold that too",
            harness.lag_ms.p99
        ),
    );
    doubt(
        report.seconds > 0.0 && harness.idle < IDLE_MIN,
        format!(
            "only {:.0} % of the machine was idle: who waits for a processor is late",
            100.0 * harness.idle
        ),
    );
    doubt(
        report.late > 0,
        format!("the ramp was not over: {} viewers were set up while it was measured", report.late),
    );
    doubt(
        report.receive_buffer_drops > 0,
        format!("{} datagrams were dropped by the viewers' own full buffers", report.receive_buffer_drops),
    );
    doubt(
        report.backlog_drops > 0,
        format!("{} packets were dropped by full queues of this machine's processors", report.backlog_drops),
    );
    if let Some(published) = &report.published {
        doubt(
            published.lag_ms.p99 > LAG_MS_MAX,
            format!("pictures left late by {:.1} ms (p99): the publisher lags", published.lag_ms.p99),
        );
        doubt(
            published.to_the_end < published.count,
            format!("{} publishers ended early", published.count - published.to_the_end),
        );
    }
    let failed = report.churn.iter().flat_map(|churn| churn.failures.values()).sum::<usize>();
    doubt(failed > 0, format!("{failed} sessions failed"));
    let played = report.played < report.viewers;
    doubt(played, format!("{} viewers failed", report.viewers - report.played));
    doubts
}

/// Above this part of its time a thread is late for what comes.
const BUSY_MAX: f64 = 0.85;

/// A timer has a millisecond; a fast path over loopback takes a few.
const LAG_MS_MAX: f64 = 5.0;

/// Below this part of the machine every wake-up waits.
const IDLE_MIN: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::super::{Percentiles, Publishing, Report, tests};

    #[test]
    fn a_busy_sink_an_open_ramp_a_full_buffer_and_a_failure_are_said() {
        let doubts = tests::report().doubts;
        assert_eq!(doubts.len(), 5, "{doubts:?}");
        for part in
            ["busy 95 %", "0 % of the machine", "ramp was not over: 1", "10 datagrams", "1 viewers failed"]
        {
            assert!(doubts.iter().any(|doubt| doubt.contains(part)), "{part} in {doubts:?}");
        }
    }

    #[test]
    fn a_publisher_that_lags_is_said_and_a_sound_run_has_no_doubts() {
        assert_eq!(super::of(&Report::default()), Vec::<String>::new());
        let lag_ms = Percentiles { p99: 12.0, ..Percentiles::default() };
        let published = Some(Publishing { count: 2, to_the_end: 1, lag_ms, ..Publishing::default() });
        let doubts = super::of(&Report { published, ..Report::default() });
        assert!(doubts[0].contains("12.0 ms") && doubts[1].contains("1 publishers"), "{doubts:?}");
    }
}
