//! What the kernel knows about the server, about us and about lost datagrams.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use rustix::param::clock_ticks_per_second;

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Seconds of processor time of the server, user and system, all threads.
    pub cpu_s: f64,
    /// Seconds of processor time of all `ksoftirqd`: work for the server's packets that was put off.
    pub softirq_s: f64,
    /// Resident anonymous memory of the server in bytes.
    pub anonymous_bytes: u64,
    /// All resident memory of the server in bytes.
    pub resident_bytes: u64,
    /// Times the server's threads gave way or were made to.
    pub switches: u64,
    /// Datagrams that were dropped because the buffer of one of our open sockets was full.
    pub receive_buffer_drops: u64,
    /// Packets that were dropped since the start of the system on their way to receivers because a processor's queue was full.
    pub backlog_drops: u64,
    /// Seconds of all processors since the start of the system: idle, and in all.
    pub machine_s: (f64, f64),
}

impl Snapshot {
    /// Reads the counters; those of the server are zero without its process id.
    pub fn take(server: Option<u32>) -> Snapshot {
        let snapshot = Snapshot {
            receive_buffer_drops: receive_buffer_drops(),
            backlog_drops: backlog_drops(&fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default()),
            machine_s: machine_s(&fs::read_to_string("/proc/stat").unwrap_or_default()),
            ..Snapshot::default()
        };
        let Some(pid) = server else { return snapshot };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        Snapshot {
            cpu_s: cpu_s(pid),
            softirq_s: softirq_s(),
            anonymous_bytes: 1024 * field(&status, "RssAnon:"),
            resident_bytes: 1024 * field(&status, "VmRSS:"),
            switches: switches(pid),
            ..snapshot
        }
    }
}

/// Whether there is such a process.
pub fn exists(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}/stat")).is_ok()
}

/// Seconds of processor time of each of our own threads.
pub fn thread_cpu() -> BTreeMap<String, f64> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return BTreeMap::new() };
    let times = threads
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, scheduled_s(&entry.path())?)));
    times.collect()
}

/// Processor, count of processors and kernel.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{}, {count} processors, Linux {}", model.trim_start_matches(['\t', ' ', ':']), kernel.trim())
}

/// All threads of a process, also those that have ended, to the nanosecond.
fn cpu_s(pid: u32) -> f64 {
    let clock = i32::try_from(pid).ok().and_then(|pid| clock_getcpuclockid(Pid::from_raw(pid)).ok());
    let time = clock.and_then(|clock| clock_gettime(clock).ok());
    time.map_or(0.0, |time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

fn softirq_s() -> f64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0.0 };
    let paths = processes.flatten().map(|entry| entry.path()).filter(|path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
    });
    paths.filter_map(|path| scheduled_s(&path)).sum()
}

/// The first number of `schedstat`: nanoseconds on a processor.
fn scheduled_s(path: &Path) -> Option<f64> {
    let text = fs::read_to_string(path.join("schedstat")).ok()?;
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? as f64 / 1e9)
}

/// Columns of the line `cpu` of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; then guests', which
/// are part of user.
fn machine_s(stat: &str) -> (f64, f64) {
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let ticks: Vec<u64> =
        line.unwrap_or_default().split_whitespace().take(8).filter_map(|ticks| ticks.parse().ok()).collect();
    let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
    let idle = ticks.iter().skip(3).take(2).sum();
    (seconds(idle), seconds(ticks.iter().sum()))
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

fn receive_buffer_drops() -> u64 {
    let Ok(files) = fs::read_dir("/proc/self/fd") else { return 0 };
    let links = files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok()?.into_os_string().into_string().ok());
    let own: BTreeSet<_> =
        links.filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().map(|table| drops(table, &own)).sum()
}

/// The last column of those sockets whose inode, in the tenth, is among `own`.
fn drops(table: &str, own: &BTreeSet<String>) -> u64 {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row.get(9).is_some_and(|inode| own.contains(*inode)));
    ours.filter_map(|row| row.last()?.parse::<u64>().ok()).sum()
}

/// The second column, a line for each processor, hexadecimal.
fn backlog_drops(softnet: &str) -> u64 {
    let drops = softnet.lines().filter_map(|line| line.split_whitespace().nth(1));
    drops.filter_map(|drops| u64::from_str_radix(drops, 16).ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name() {
        let row = |inode, drops| format!(" 1: 0100007F:1F90 0:0 07 0:0 00:0 0 0 0 {inode} 2 ffff {drops}\n");
        let table = format!("head\n{}{}{}", row(77, 40), row(78, 5), row(79, 2));
        assert_eq!(drops(&table, &["77".to_owned(), "79".to_owned()].into()), 42);
        assert_eq!(backlog_drops("00ff 00000010 0\n0001 00000001 2\n"), 17);
        assert_eq!(field("Name:\tx\nRssAnon:\t  120 kB\n", "RssAnon:"), 120);
    }

    #[test]
    fn a_full_buffer_of_ours_is_noticed() {
        let receiver = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket2::SockRef::from(&receiver).set_recv_buffer_size(4_096).unwrap();
        let sender = std::net::UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        for _ in 0..50 {
            sender.send_to(&[0; 1_000], receiver.local_addr().unwrap()).unwrap();
        }
        assert!(receive_buffer_drops() > 0);
    }

    #[test]
    fn idle_time_is_part_of_all_time() {
        let hertz = clock_ticks_per_second();
        let stat = format!("cpu  {hertz} 0 {hertz} {hertz} {hertz} 0 0 0 {hertz} 0\ncpu0 1 2\n");
        assert_eq!(machine_s(&stat), (2.0, 4.0));
        assert_eq!(machine_s(""), (0.0, 0.0));
    }

    #[test]
    fn our_own_processor_time_grows() {
        let own = std::process::id();
        let before = Snapshot::take(Some(own));
        let mut sum = 0_u64;
        while Snapshot::take(Some(own)).cpu_s < before.cpu_s + 0.02 {
            sum =
                (0..1_000_000_u64).fold(sum, |sum, value| sum.wrapping_mul(31) ^ std::hint::black_box(value));
        }
        assert!(before.cpu_s > 0.0 && before.anonymous_bytes > 0 && !thread_cpu().is_empty(), "{sum}");
    }
}
