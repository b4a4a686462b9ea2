//! `serve`: settings, log, then the control room until it ends.

use std::path::Path;
use std::sync::Arc;

use super::args::Serve;
use super::pid_file::PidFile;
use super::{Failure, daemon, logging, overview, platform, say};
use crate::config::{self, Loaded, Overrides, Problem, Settings};
use crate::control::signals::{self, Signals};
use crate::control::{self, Rereading, RunError};

/// Serves until stopped.
pub(super) fn serve(args: &Serve) -> Result<(), Failure> {
    let args = daemon::with_defaults(args);
    let loaded = config::load(args.file.config.as_deref(), &args.overrides())?;
    if args.daemon {
        return daemon::start(&args, &loaded.settings);
    }
    let _pid_file = args.pid_file.as_deref().map(PidFile::take).transpose()?;
    if args.daemon_child {
        daemon::leave_terminal();
    }
    let panics = if args.daemon_child { Panics::Logged } else { Panics::Printed };
    run(&args, loaded, panics, signals::of_system, |started, settings| {
        announce(started, settings);
        if args.daemon_child {
            daemon::ready();
        }
    })
}

/// Where panics go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panics {
    /// Somebody may read the standard error.
    Printed,
    /// Nobody does.
    Logged,
}

/// The log, then the control room until its signals end it; `ready` is called once clients can connect.
pub(super) fn run(
    args: &Serve,
    loaded: Loaded,
    panics: Panics,
    signals: impl FnOnce() -> Result<Signals, RunError>,
    ready: impl FnOnce(&control::Started, &Settings),
) -> Result<(), Failure> {
    // Before the first thread: those that run already would stay free.
    let confined = control::confine(&loaded, args.pid_file.as_deref()).map_err(Failure::Other)?;
    let log = logging::start(&loaded.settings)?;
    if panics == Panics::Logged || loaded.settings.log_file.is_some() {
        logging::log_panics();
    }
    say_at_start(loaded.file.as_deref(), &loaded.warnings);
    confined.log();
    platform::raise_open_files();
    let settings = loaded.settings;
    let is_confined = confined.narrows(&settings);
    let overrides = Overrides { is_confined, ..args.overrides() };
    let rereading = Rereading {
        load: Arc::new(move |file| config::load(Some(file), &overrides)),
        file: loaded.file,
        set_log_level: log.set_level,
        confined,
    };
    let ended = signals().and_then(|signals| {
        control::run(&settings, rereading, &signals, |started| ready(started, &settings))
    });
    ended.map_err(|error| {
        let sentence = error.to_string();
        logging::fatal(&settings, &sentence);
        match error {
            RunError::Certificate(error) if error.is_of_configuration() => {
                Failure::Configuration(Problem { place: None, subject: None, text: sentence }.into())
            }
            _ => Failure::Other(sentence),
        }
    })
}

fn say_at_start(file: Option<&Path>, warnings: &[config::Problem]) {
    let file = file.map_or_else(|| "none, defaults".to_string(), |file| file.display().to_string());
    tracing::info!("rtspserver {} starts; configuration: {file}", env!("CARGO_PKG_VERSION"));
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Prints the URLs that can be played, and where streams are pushed to.
fn announce(started: &control::Started, settings: &Settings) {
    let mut text: String = started.urls.iter().map(|url| format!("{url}\n")).collect();
    if started.more > 0 {
        text.push_str(&format!("and {} more\n", started.more));
    }
    if let Some(base) = &started.secure {
        text.push_str(&format!("in TLS: {base}NAME\n"));
    }
    if !started.tunnels.is_empty() {
        text.push_str(&format!("in a browser, and where only HTTP passes: {}\n", started.tunnels.join(", ")));
    }
    text.push_str(&overview::pushed(settings));
    say(&text);
}
