//! What the kernel knows about the server and about lost datagrams.

use std::fs;

use rustix::param::clock_ticks_per_second;

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Seconds of processor time of the server, user and system, all threads.
    pub cpu_s: f64,
    /// Seconds of processor time of all `ksoftirqd`: work for the server's packets that was put off.
    pub softirq_s: f64,
    /// Resident anonymous memory of the server in bytes.
    pub memory_bytes: u64,
    /// Times the server's threads gave way or were made to.
    pub switches: u64,
    /// Datagrams that were dropped since the start of the system because a receiver's buffer was full.
    pub receive_buffer_errors: u64,
}

impl Snapshot {
    /// Reads the counters; those of the server are zero without its process id.
    pub fn take(server: Option<u32>) -> Snapshot {
        let snmp = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
        let snapshot =
            Snapshot { receive_buffer_errors: receive_buffer_errors(&snmp), ..Snapshot::default() };
        let Some(pid) = server else { return snapshot };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        Snapshot {
            cpu_s: fs::read_to_string(format!("/proc/{pid}/stat")).map_or(0.0, |stat| cpu_s(&stat)),
            softirq_s: softirq_s(),
            memory_bytes: 1024 * field(&status, "RssAnon:"),
            switches: switches(pid),
            ..snapshot
        }
    }
}

/// Whether there is such a process.
pub fn exists(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}/stat")).is_ok()
}

/// Fields 14 and 15, counted behind the name, which may hold blanks.
fn cpu_s(stat: &str) -> f64 {
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    ticks as f64 / clock_ticks_per_second() as f64
}

fn softirq_s() -> f64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0.0 };
    let names = processes.flatten().map(|entry| entry.path()).filter(|path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
    });
    names.filter_map(|path| fs::read_to_string(path.join("stat")).ok()).map(|stat| cpu_s(&stat)).sum()
}

fn switches(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let texts = threads.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    texts
        .map(|text| field(&text, "voluntary_ctxt_switches:") + field(&text, "nonvoluntary_ctxt_switches:"))
        .sum()
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The column `RcvbufErrors` of the two `Udp:` lines.
fn receive_buffer_errors(snmp: &str) -> u64 {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Udp:"));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let column = names.split_whitespace().position(|name| name == "RcvbufErrors");
    column.and_then(|column| values.split_whitespace().nth(column)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let snmp = "Tcp: a b\nTcp: 1 2\nUdp: InDatagrams RcvbufErrors SndbufErrors\nUdp: 7 42 9\n";
        assert_eq!(receive_buffer_errors(snmp), 42);
        assert_eq!(field("Name:\tx\nRssAnon:\t  120 kB\n", "RssAnon:"), 120);
    }

    #[test]
    fn processor_time_is_found_behind_a_name_with_blanks() {
        let ticks = clock_ticks_per_second();
        let stat = format!("7 (a b) c) S 1 1 1 0 -1 4 5 6 7 8 {ticks} {ticks} 0 0");
        assert_eq!(cpu_s(&stat), 2.0);
    }
}
