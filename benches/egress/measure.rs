//! CPU time, wherever it is spent on our behalf.

use std::fs;
use std::path::PathBuf;

use crate::sys;

/// Reads the process's CPU time, and that of every ksoftirqd.
pub struct Clock {
    softirq: Vec<PathBuf>,
}

impl Clock {
    pub fn new() -> Clock {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let is_softirq = |path: &PathBuf| {
            fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
        };
        let softirq = processes.map(|entry| entry.path()).filter(is_softirq);
        Clock { softirq: softirq.map(|path| path.join("schedstat")).collect() }
    }

    /// A span that counts from its first start.
    pub fn span(&self) -> Span<'_> {
        Span { clock: self, softirq_ns: self.softirq_ns(), process_ns: 0, started_ns: 0 }
    }

    fn softirq_ns(&self) -> u64 {
        let read =
            |path: &PathBuf| fs::read_to_string(path).ok()?.split_whitespace().next()?.parse::<u64>().ok();
        self.softirq.iter().filter_map(read).sum()
    }
}

/// The CPU time of several stretches.
pub struct Span<'a> {
    clock: &'a Clock,
    softirq_ns: u64,
    process_ns: u64,
    started_ns: u64,
}

impl Span<'_> {
    pub fn start(&mut self) {
        self.started_ns = sys::process_cpu_ns();
    }

    pub fn stop(&mut self) {
        self.process_ns += sys::process_cpu_ns() - self.started_ns;
    }

    /// Microseconds of the stretches in all, and of ksoftirqd from the first start to now.
    pub fn finish(self) -> f64 {
        let softirq = self.clock.softirq_ns() - self.softirq_ns;
        (self.process_ns + softirq) as f64 / 1e3
    }
}

/// The values of one variant.
#[derive(Default)]
pub struct Series(Vec<f64>);

impl Series {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn median(&self) -> f64 {
        self.quartiles().1
    }

    /// First quartile, median, third quartile.
    pub fn quartiles(&self) -> (f64, f64, f64) {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |part: usize| sorted.get(sorted.len() * part / 4).copied().unwrap_or(f64::NAN);
        (at(1), at(2), at(3))
    }
}

/// What a figure needs beside it.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown CPU");
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{}, {count} cores, Linux {}", model.trim_start_matches(['\t', ' ', ':']), kernel.trim())
}
