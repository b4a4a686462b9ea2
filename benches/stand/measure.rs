//! CPU time, wherever it is spent on our behalf.

use std::fs;
use std::path::PathBuf;

use crate::sys;

/// Reads the process's CPU time, and that of every ksoftirqd.
pub struct Clock {
    softirq: Vec<PathBuf>,
}

impl Clock {
    pub fn open() -> Clock {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let is_softirq = |path: &PathBuf| {
            fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("ksoftirqd/"))
        };
        let softirq = processes.map(|entry| entry.path()).filter(is_softirq);
        Clock { softirq: softirq.map(|path| path.join("schedstat")).collect() }
    }

    /// A span that counts from its first start.
    pub fn span(&self) -> Span<'_> {
        Span {
            clock: self,
            softirq_ns: self.softirq_ns(),
            process_ns: 0,
            started_ns: 0,
            allocations: 0,
            allocated: 0,
        }
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
    /// Allocations within the stretches, and before the one that runs.
    allocations: u64,
    allocated: u64,
}

impl Span<'_> {
    pub fn start(&mut self) {
        self.allocated = sys::allocations();
        self.started_ns = sys::process_cpu_ns();
    }

    pub fn stop(&mut self) {
        self.process_ns += sys::process_cpu_ns() - self.started_ns;
        self.allocations += sys::allocations() - self.allocated;
    }

    /// Cost of the stretches in all, and of ksoftirqd from the first start to now.
    pub fn finish(self) -> Cost {
        let softirq = self.clock.softirq_ns() - self.softirq_ns;
        Cost { cpu_us: (self.process_ns + softirq) as f64 / 1e3, allocations: self.allocations as f64 }
    }
}

/// What something cost.
#[derive(Clone, Copy)]
pub struct Cost {
    pub cpu_us: f64,
    pub allocations: f64,
}

/// The values of one variant, each of one round and divided by its sends.
#[derive(Default)]
pub struct Series {
    cpu_us: Vec<f64>,
    allocations: Vec<f64>,
}

impl Series {
    pub fn push(&mut self, cost: Cost, sends: usize) {
        self.cpu_us.push(cost.cpu_us / sends as f64);
        self.allocations.push(cost.allocations / sends as f64);
    }

    /// Median of the CPU time.
    pub fn median(&self) -> f64 {
        self.quartiles().1
    }

    /// First quartile, median and third quartile of the CPU time.
    pub fn quartiles(&self) -> (f64, f64, f64) {
        (quantile(&self.cpu_us, 1), quantile(&self.cpu_us, 2), quantile(&self.cpu_us, 3))
    }

    /// Median of the allocations.
    pub fn allocations(&self) -> f64 {
        quantile(&self.allocations, 2)
    }
}

fn quantile(values: &[f64], quarter: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() * quarter / 4).copied().unwrap_or(f64::NAN)
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
