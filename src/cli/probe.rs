//! `probe`: what this machine offers, with advice.

use std::fmt::Write;

use super::{Failure, platform};

/// One line of the report.
struct Finding {
    /// What was looked at.
    name: String,
    /// What there is.
    has: String,
    /// What it means or what to do; may be empty.
    note: &'static str,
}

/// Prints what this machine offers.
pub(super) fn probe() -> Result<(), Failure> {
    let mut text = String::new();
    for finding in machine().into_iter().chain(limits()) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:<28} {:<24} {}", finding.name, finding.has, finding.note);
    }
    print!("{text}");
    Ok(())
}

fn machine() -> Vec<Finding> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        Finding { name: "rtspserver".to_string(), has: env!("CARGO_PKG_VERSION").to_string(), note: "" },
        Finding { name: "system".to_string(), has: platform::system(), note: "" },
        Finding {
            name: "cores".to_string(),
            has: cores.to_string(),
            note: "one shard each unless shards says otherwise",
        },
    ]
}

fn limits() -> Vec<Finding> {
    let files = platform::open_files_max();
    let mut findings = vec![Finding {
        name: "open files".to_string(),
        has: files.map_or("no limit".to_string(), |files| files.to_string()),
        note: if files.is_some_and(|files| files < FILES_ADVISED) {
            "few: each viewer over TCP needs one; raise LimitNOFILE= or ulimit -n"
        } else {
            "enough"
        },
    }];
    findings.extend(SYSCTLS.iter().filter_map(Sysctl::finding));
    findings
}

/// A kernel setting that is a number of bytes.
struct Sysctl {
    name: &'static str,
    file: &'static str,
    advised: u64,
    advice: &'static str,
}

impl Sysctl {
    /// None where the system does not have it.
    fn finding(&self) -> Option<Finding> {
        let text = std::fs::read_to_string(self.file).ok()?;
        let value: u64 = text.trim().parse().ok()?;
        let note = if value < self.advised { self.advice } else { "enough" };
        Some(Finding { name: self.name.to_string(), has: value.to_string(), note })
    }
}

/// Bounds of socket buffers; with CAP_NET_ADMIN the server goes beyond them by itself.
const SYSCTLS: &[Sysctl] = &[
    Sysctl {
        name: "net.core.wmem_max",
        file: "/proc/sys/net/core/wmem_max",
        advised: BUFFER_ADVISED,
        advice: "small: bursts to many UDP viewers wait; sysctl -w net.core.wmem_max=8388608",
    },
    Sysctl {
        name: "net.core.rmem_max",
        file: "/proc/sys/net/core/rmem_max",
        advised: BUFFER_ADVISED,
        advice: "small: UDP from publishers may be lost; sysctl -w net.core.rmem_max=8388608",
    },
];
/// The server asks for 8 MiB of send buffer.
const BUFFER_ADVISED: u64 = 8 << 20;
/// 10,000 sessions, and their files.
const FILES_ADVISED: u64 = 20_000;
