//! `probe`: what this machine offers, with advice.

use std::fmt::Write;

use super::{Failure, platform, say};
use crate::driver;

/// One line of the report.
struct Finding {
    /// What was looked at.
    name: String,
    /// What there is.
    has: String,
    /// What it means or what to do; may be empty.
    note: String,
}

impl Finding {
    fn new(name: impl Into<String>, has: impl Into<String>, note: impl Into<String>) -> Finding {
        Finding { name: name.into(), has: has.into(), note: note.into() }
    }
}

/// Prints what this machine offers.
pub(super) fn probe() -> Result<(), Failure> {
    let mut text = String::new();
    for finding in machine().into_iter().chain(ring()).chain(codecs()).chain(limits()) {
        let line = format!("{:<22} {:<18} {}", finding.name, finding.has, finding.note);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    say(&text);
    Ok(())
}

fn machine() -> Vec<Finding> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        Finding::new("rtspserver", env!("CARGO_PKG_VERSION"), ""),
        Finding::new("system", platform::system(), ""),
        Finding::new("cores", cores.to_string(), "one shard each unless shards says otherwise"),
    ]
}

fn ring() -> Vec<Finding> {
    let report = match driver::ring_report() {
        Ok(report) => report,
        Err(reason) => return vec![Finding::new("io_uring", "no", format!("{reason}; the fallback serves"))],
    };
    let lines = report.lines().filter_map(|line| line.split_once(": ")).map(|(name, has)| {
        let (has, note) = has.split_once(", ").unwrap_or((has, ""));
        Finding::new(format!("  {name}"), has, note)
    });
    std::iter::once(Finding::new("io_uring", "yes", "")).chain(lines).collect()
}

#[cfg(feature = "ffmpeg")]
fn codecs() -> Vec<Finding> {
    use crate::media::ffmpeg::report;

    let lines = report::codecs().into_iter().map(|codec| {
        let named = |name: Option<&str>| name.unwrap_or("none").to_string();
        let has = format!("decoder {}", named(codec.decoder));
        Finding::new(format!("  {}", codec.name), has, format!("encoder {}", named(codec.encoder)))
    });
    std::iter::once(Finding::new("FFmpeg, libavcodec", report::version(), "")).chain(lines).collect()
}

#[cfg(not(feature = "ffmpeg"))]
fn codecs() -> Vec<Finding> {
    vec![Finding::new("FFmpeg", "no", "this build is without it: files do not play")]
}

fn limits() -> Vec<Finding> {
    let (has, note) = match platform::open_files_max() {
        None => ("no limit".to_string(), "enough"),
        Some(files) if files < FILES_ADVISED => {
            (files.to_string(), "few: each viewer over TCP needs one; raise LimitNOFILE= or ulimit -n")
        }
        Some(files) => (files.to_string(), "enough"),
    };
    let sysctls = SYSCTLS.iter().filter_map(Sysctl::finding);
    std::iter::once(Finding::new("open files", has, note)).chain(sysctls).collect()
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
        Some(Finding::new(self.name, value.to_string(), note))
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
