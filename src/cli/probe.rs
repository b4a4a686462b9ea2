//! `probe`: what this machine offers, with advice.

use std::fmt::Write;
use std::path::Path;

use super::advice::advice;
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
    for finding in machine().into_iter().chain(ring()).chain(codecs()) {
        let line = format!("{:<22} {:<18} {}", finding.name, finding.has, finding.note);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.push_str(&advice(Path::new("/proc/sys"), platform::open_files_max()));
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
