//! `/metrics`: the numbers as Prometheus reads them (text format 0.0.4), and as OpenMetrics 1.0 where that is asked for.
//!
//! Written here and not by a crate: those count in atomics or locks of their own, and what shards count is theirs alone.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::IntoResponse;
use proto::histogram::Histogram;

use super::openapi::Refusals;
use super::problem::Problem;
use super::process;
use super::state::App;
use super::streams::{self, Stream};
use crate::shard::steering::{Account, Question, Totals};

/// Streams that have numbers of their own, those with the most viewers: each is a time series for whoever collects them.
const STREAMS_MAX: usize = 100;

/// Users that have numbers of their own, those who have sent and got the most.
const USERS_MAX: usize = 100;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    /// Only grows; its samples end with `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many values there were up to each size.
    Histogram,
}

/// The text as it grows.
struct Page {
    text: String,
    is_open_metrics: bool,
}

/// Tells all numbers to Prometheus and its like.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "stats", responses(
    (status = 200, description = "The numbers", body = String, content_type = "text/plain"), Refusals))]
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let mut accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_open_metrics = accepts.any(|value| value.contains("application/openmetrics-text"));
    let totals = app.ask_all(Question::Totals).await?;
    let streams = streams::all(&app).await?;
    let users = app.ask_all(Question::Users).await?;
    let mut page = Page { text: String::with_capacity(16 * 1024), is_open_metrics };
    page.process(&app)?;
    page.shards(&totals);
    page.streams(streams);
    page.users(users);
    if is_open_metrics {
        page.text.push_str("# EOF\n");
    }
    let kind = if is_open_metrics { OPEN_METRICS } else { TEXT };
    Ok(([(CONTENT_TYPE, kind)], page.text))
}

impl Page {
    fn process(&mut self, app: &App) -> Result<(), Problem> {
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("backend", app.program()?.backend)];
        self.head("ringcaster_build_info", Type::Gauge, "The program, always 1.");
        self.sample("ringcaster_build_info", Type::Gauge, &labels, 1);
        if let Some(time) = process::cpu_time() {
            let text = "Processor time in seconds.";
            self.single("process_cpu_seconds", Type::Counter, text, time.as_secs_f64());
        }
        if let Some(bytes) = process::memory_bytes() {
            self.single("process_resident_memory_bytes", Type::Gauge, "Memory that is held.", bytes);
        }
        if let Some(count) = process::open_files() {
            self.single("process_open_fds", Type::Gauge, "Descriptors that are open.", count);
        }
        let began = app.began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.single("process_start_time_seconds", Type::Gauge, "When it was started, since 1970.", began);
        let served = app.connection_count();
        self.single("ringcaster_api_connections", Type::Gauge, "Connections that ask for the API.", served);
        let listeners = app.listeners.load(Ordering::Relaxed);
        self.single("ringcaster_api_listeners", Type::Gauge, "Clients that listen to events.", listeners);
        let failed = app.log_ins_failed.load(Ordering::Relaxed);
        let text = "Wrong passwords for the API.";
        self.single("ringcaster_api_log_ins_failed", Type::Counter, text, failed);
        Ok(())
    }

    fn shards(&mut self, totals: &[Totals]) {
        type Pick = fn(&Totals) -> u64;
        let counters: [(&str, &str, Pick); 15] = [
            ("connections_accepted", "Connections that were let in.", |it| it.connections_accepted),
            ("refused", "Clients that were turned away: banned, denied, or beyond a bound.", |it| it.refused),
            ("log_ins_failed", "Wrong passwords.", |it| it.log_ins_failed),
            ("sessions_begun", "Sessions that began.", |it| it.sessions_begun),
            ("sessions_ended", "Sessions that ended.", |it| it.sessions_ended),
            ("sent_bytes", "Media that was sent to viewers.", |it| it.bytes_sent),
            ("received_bytes", "Media that publishers, proxies and pushers have brought.", |it| {
                it.bytes_received
            }),
            (
                "inbound_packets_lost",
                "Packets of publishers, proxies and pushers that have not come, by the gaps in their numbers.",
                |it| it.packets_missing,
            ),
            ("packets_lost", "Packets that viewers have reported as lost.", |it| it.packets_lost),
            ("frames_shed", "Frames that were left out for viewers who were too slow.", |it| it.batches_shed),
            ("operations", "Operations that were handed to the kernel.", |it| it.driver.submitted),
            ("datagrams", "Datagrams that were handed to the kernel.", |it| it.driver.datagrams),
            ("datagrams_failed", "Datagrams that the kernel refused.", |it| it.driver.datagrams_failed),
            ("datagrams_shed", "Datagrams that were left out because a socket stayed full.", |it| {
                it.driver.datagrams_shed
            }),
            (
                "sends_lent",
                "Sends on connections that lent their bytes to the kernel in place of a copy.",
                |it| it.driver.sends_lent,
            ),
        ];
        let gauges: [(&str, &str, Pick); 2] = [
            ("connections", "Connections that there are.", |it| it.connections as u64),
            ("sessions", "Sessions that there are.", |it| it.sessions as u64),
        ];
        let counters = counters.map(|metric| (Type::Counter, metric));
        for (kind, (name, help, pick)) in counters.into_iter().chain(gauges.map(|it| (Type::Gauge, it))) {
            let name = format!("ringcaster_{name}");
            self.head(&name, kind, help);
            for (index, shard) in totals.iter().enumerate() {
                self.sample(&name, kind, &[("shard", &index.to_string())], pick(shard));
            }
        }
        self.histograms(totals);
    }

    fn histograms(&mut self, totals: &[Totals]) {
        type Pick = fn(&Totals) -> &Histogram;
        let histograms: [(&str, &str, f64, Pick); 3] = [
            (
                "ringcaster_work_seconds",
                "Time that a shard was at work before it handed over what was due and looked at its sockets again.",
                1e-6,
                |it| &it.driver.work,
            ),
            (
                "ringcaster_batch_operations",
                "Operations that were handed to the kernel at once.",
                1.0,
                |it| &it.driver.operations,
            ),
            (
                "ringcaster_first_media_seconds",
                "Time from a viewer's first PLAY to the first media that left for it.",
                1e-6,
                |it| &it.first_media,
            ),
        ];
        for (name, help, unit, pick) in histograms {
            self.head(name, Type::Histogram, help);
            for (index, shard) in totals.iter().enumerate() {
                self.histogram(name, &index.to_string(), pick(shard), unit);
            }
        }
    }

    fn histogram(&mut self, name: &str, shard: &str, histogram: &Histogram, unit: f64) {
        let (count, sum) = (histogram.count(), histogram.sum() as f64 * unit);
        // Writing to a string cannot fail.
        for (bound, below) in histogram.up_to() {
            let bound = bound as f64 * unit;
            let _ = writeln!(self.text, "{name}_bucket{{shard=\"{shard}\",le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(self.text, "{name}_bucket{{shard=\"{shard}\",le=\"+Inf\"}} {count}");
        let _ = writeln!(self.text, "{name}_sum{{shard=\"{shard}\"}} {sum}");
        let _ = writeln!(self.text, "{name}_count{{shard=\"{shard}\"}} {count}");
    }

    fn streams(&mut self, mut streams: Vec<Stream>) {
        let mut counts = BTreeMap::new();
        for stream in &streams {
            *counts.entry((stream.source, stream.state)).or_insert(0) += 1;
        }
        self.head("ringcaster_streams", Type::Gauge, "Live streams that there are.");
        for ((source, state), count) in counts {
            let [source, state] = [format!("{source:?}"), format!("{state:?}")].map(|it| it.to_lowercase());
            let labels = [("source", &*source), ("state", &*state)];
            self.sample("ringcaster_streams", Type::Gauge, &labels, count);
        }
        streams.sort_by_key(|stream| std::cmp::Reverse(stream.viewers));
        streams.truncate(STREAMS_MAX);
        self.head("ringcaster_stream_viewers", Type::Gauge, "Sessions that play a stream.");
        for stream in &streams {
            let labels = [("path", &*stream.path)];
            self.sample("ringcaster_stream_viewers", Type::Gauge, &labels, stream.viewers);
        }
        let text = "Media that the source of a stream has sent since the stream began.";
        self.head("ringcaster_stream_received_bytes", Type::Counter, text);
        for stream in &streams {
            if let Some(bytes) = stream.received_bytes {
                let labels = [("path", &*stream.path)];
                self.sample("ringcaster_stream_received_bytes", Type::Counter, &labels, bytes);
            }
        }
        let text = "Packets of a stream's source that have not come, by the gaps in their numbers.";
        self.head("ringcaster_stream_inbound_packets_lost", Type::Counter, text);
        for stream in &streams {
            if let Some(lost) = stream.packets_lost {
                let labels = [("path", &*stream.path)];
                self.sample("ringcaster_stream_inbound_packets_lost", Type::Counter, &labels, lost);
            }
        }
    }

    fn users(&mut self, shards: Vec<HashMap<Arc<str>, Account>>) {
        let mut users: BTreeMap<Arc<str>, Account> = BTreeMap::new();
        for (name, account) in shards.into_iter().flatten() {
            let sum = users.entry(name).or_default();
            *sum = sum.with(&account);
        }
        let mut users: Vec<_> = users.into_iter().collect();
        users.sort_by_key(|(_, account)| std::cmp::Reverse(account.bytes_sent + account.bytes_received));
        users.truncate(USERS_MAX);
        type Pick = fn(&Account) -> u64;
        let metrics: [(&str, Type, &str, Pick); 4] = [
            ("sessions", Type::Gauge, "Sessions of a user that there are.", |it| it.sessions),
            ("sessions_begun", Type::Counter, "Sessions of a user that began.", |it| it.sessions_begun),
            ("sent_bytes", Type::Counter, "Media that was sent to a user.", |it| it.bytes_sent),
            ("received_bytes", Type::Counter, "Media that a user has published.", |it| it.bytes_received),
        ];
        for (name, kind, help, pick) in metrics {
            let name = format!("ringcaster_user_{name}");
            self.head(&name, kind, help);
            for (user, account) in &users {
                self.sample(&name, kind, &[("user", user)], pick(account));
            }
        }
    }

    fn single(&mut self, name: &str, kind: Type, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, kind, &[], value);
    }

    /// OpenMetrics names a counter without the ending of its samples, the older format with it.
    fn head(&mut self, name: &str, kind: Type, help: &str) {
        let ending = if kind == Type::Counter && !self.is_open_metrics { "_total" } else { "" };
        let word = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name}{ending} {help}\n# TYPE {name}{ending} {word}");
    }

    fn sample(&mut self, name: &str, kind: Type, labels: &[(&str, &str)], value: impl Display) {
        let ending = if kind == Type::Counter { "_total" } else { "" };
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{ending}{labels} {value}");
    }
}

/// A label's value, which may be a path that a client has chosen.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_leave_its_label_and_counters_are_named_as_each_format_wants() {
        let mut page = Page { text: String::new(), is_open_metrics: false };
        page.head("a", Type::Counter, "It.");
        page.sample("a", Type::Counter, &[("path", "x\"} 1\n\\")], 2);
        assert_eq!(
            page.text,
            "# HELP a_total It.\n# TYPE a_total counter\na_total{path=\"x\\\"} 1\\n\\\\\"} 2\n"
        );
        let mut page = Page { text: String::new(), is_open_metrics: true };
        page.single("a", Type::Counter, "It.", 3);
        assert_eq!(page.text, "# HELP a It.\n# TYPE a counter\na_total 3\n");
    }
}
