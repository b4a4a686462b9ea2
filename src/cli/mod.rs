//! What did the person at the terminal ask for, and what do they get to read?
//!
//! The only room that prints.

#![allow(clippy::print_stderr)]

mod advice;
mod args;
mod check;
mod daemon;
mod devices;
mod hash_password;
mod logging;
mod overview;
mod pid_file;
mod platform;
mod probe;
mod serve;
mod sink;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::config::ConfigError;
use args::{Args, Command};

/// Runs the program; its exit code is 0, 2 for a wrong usage or configuration, 1 for anything else.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let done = match args.command {
        None => serve::serve(&args.serve),
        Some(Command::Serve(serve)) => serve::serve(&serve),
        Some(Command::Check(check)) => check::check(&check),
        Some(Command::HashPassword(user)) => hash_password::hash_password(&user),
        Some(Command::Devices(file)) => devices::devices(&file),
        Some(Command::Probe) => probe::probe(),
        Some(Command::Service(service)) => platform::service(&service),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Why the program ends without having done what was asked.
#[derive(Debug)]
enum Failure {
    /// The configuration or the command line is wrong.
    Configuration(ConfigError),
    /// Everything else, in one sentence.
    Other(String),
    /// Somebody else has said it already; the exit code.
    Said(u8),
}

impl Failure {
    fn report(self) -> ExitCode {
        match self {
            Failure::Configuration(error) => {
                for problem in &error.problems {
                    eprintln!("rtspserver: {problem}");
                }
                ExitCode::from(2)
            }
            Failure::Other(sentence) => {
                eprintln!("rtspserver: {sentence}");
                ExitCode::from(1)
            }
            Failure::Said(code) => ExitCode::from(code),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Configuration(error)
    }
}

/// Prints an answer. A reader that has gone, as `head` does, is no reason to fail.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints what clap has to say: help and version are answers, the rest are mistakes.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to tell anyone when the terminal is gone.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}
