//! The log: which lines, how they look, where they go.

use std::fs::OpenOptions;
use std::path::Path;

use file_rotate::compression::Compression;
use file_rotate::suffix::AppendCount;
use file_rotate::{ContentLimit, FileRotate};
use tracing_subscriber::EnvFilter;

use super::Failure;
use super::sink::{Flush, Sink};
use crate::config::{LogFormat, LogLevel, Problem, Settings};

/// A log that has begun.
pub(super) struct Log {
    _flush: Option<Flush>,
    /// Logs the lines of another level from now on.
    pub(super) set_level: Box<dyn Fn(LogLevel)>,
}

/// Starts logging as the settings say; `RUST_LOG` goes before `log_level`.
///
/// Errors: the log file cannot be written.
pub(super) fn start(settings: &Settings) -> Result<Log, Failure> {
    if !settings.log_enable {
        return Ok(Log { _flush: None, set_level: Box::new(|_| {}) });
    }
    let started = match &settings.log_file {
        Some(file) => Sink::start(open(file, settings)?),
        None => Sink::start(std::io::stderr()),
    };
    let (sink, flush) = started.map_err(|error| Failure::Other(format!("no thread for the log: {error}")))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(settings.log_level))
        .with_ansi(settings.log_file.is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(sink);
    // The subscriber lives as long as the program: it takes every filter.
    let (set, set_level): (_, Box<dyn Fn(LogLevel)>) = match settings.log_format {
        LogFormat::Text => {
            let builder = builder.with_target(false).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |level| change(|filter| handle.reload(filter), level)))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |level| change(|filter| handle.reload(filter), level)))
        }
    };
    set.map_err(|error| Failure::Other(format!("the log was started twice: {error}")))?;
    Ok(Log { _flush: Some(flush), set_level })
}

/// Writes what ends the program into the log file; on a terminal it is said without the log.
pub(super) fn fatal(settings: &Settings, sentence: &str) {
    if settings.log_enable && settings.log_file.is_some() {
        tracing::error!(target: FATAL, "{sentence}");
    }
}

/// Lets a panic of any thread reach the log file, with its place: on standard error it stands anyway.
pub(super) fn log_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tracing::error!(target: FATAL, "our bug: {info}");
        print(info);
    }));
}

/// Takes another filter, unless that of the environment stays in force.
fn change<E>(set: impl FnOnce(EnvFilter) -> Result<(), E>, level: LogLevel) {
    if asked_for().is_some() {
        return tracing::warn!(
            "log_level: RUST_LOG is set and goes before it: nothing changes until it is not"
        );
    }
    // The subscriber lives as long as the program.
    let _ = set(filter(level));
}

/// The filter that `RUST_LOG` asks for.
fn asked_for() -> Option<EnvFilter> {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    EnvFilter::try_new(&asked).ok().filter(|_| !asked.is_empty())
}

fn filter(level: LogLevel) -> EnvFilter {
    if let Some(filter) = asked_for() {
        return filter;
    }
    // The bus that desktop portals are on warns of properties that it does not need.
    let directives = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug,zbus=error",
        LogLevel::Info => "info,zbus=error",
        LogLevel::Warn => "warn,zbus=error",
        LogLevel::Error => "error",
        LogLevel::Fatal => "off,fatal=error",
    };
    EnvFilter::new(directives)
}

/// The log file, which becomes `FILE.1` when it is full.
fn open(file: &Path, settings: &Settings) -> Result<FileRotate<AppendCount>, Failure> {
    let refuse = |error: std::io::Error| {
        let text = format!("{} cannot be written: {error}", file.display());
        Failure::Configuration(Problem::outside(settings.cite("log_file"), text).into())
    };
    // The rotating writer keeps silent when it cannot open its file.
    OpenOptions::new().append(true).create(true).open(file).map_err(refuse)?;
    let limit = ContentLimit::BytesSurpassed(settings.log_file_mb as usize * 1024 * 1024);
    let keep = AppendCount::new(settings.log_files as usize);
    let path = std::path::absolute(file).map_err(refuse)?;
    Ok(FileRotate::new(path, keep, limit, Compression::None, None))
}

/// Target of the lines that level 5 lets through.
const FATAL: &str = "fatal";

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_full_log_file_is_put_aside_and_only_some_are_kept() {
        let folder = std::env::temp_dir().join(format!("ringcaster-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("a.log");
        let mut settings = Settings::default();
        (settings.log_file_mb, settings.log_files) = (1, 2);
        let mut log = open(&file, &settings).unwrap();
        let line = [b'x'; 1024];
        for _ in 0..5 * 1100 {
            log.write_all(&line).unwrap();
        }
        let mut names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.log", "a.log.1", "a.log.2"]);
        assert!(std::fs::metadata(folder.join("a.log.1")).unwrap().len() <= (1 << 20) + 2048);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_log_file_that_cannot_be_written_is_named_with_its_setting() {
        let file = Path::new("/nowhere/a.log");
        match open(file, &Settings::default()) {
            Err(Failure::Configuration(error)) => assert_eq!(
                error.to_string(),
                "log_file, default: /nowhere/a.log cannot be written: No such file or directory (os error 2)"
            ),
            _ => panic!("it cannot be written"),
        }
    }
}
