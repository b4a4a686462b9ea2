//! `--daemon`: the same program started again in the background.
//!
//! A process with threads cannot fork. So the parent starts itself anew with `--daemon-child`, relays what the child
//! prints until it says that it is ready, and leaves. The child has a session of its own and, once ready, no terminal.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::args::Serve;
use super::pid_file::PidFile;
use super::{Failure, platform, say};
use crate::config::Settings;

/// The options with the files that a daemon needs.
pub(super) fn with_defaults(args: &Serve) -> Serve {
    let mut args = args.clone();
    if args.daemon {
        args.pid_file.get_or_insert_with(|| PathBuf::from("rtspserver.pid"));
    }
    args
}

/// Starts the child and waits until it serves.
///
/// Errors: it already runs, or the child ends instead of serving.
pub(super) fn start(args: &Serve, settings: &Settings) -> Result<(), Failure> {
    platform::daemon_supported().map_err(|sentence| Failure::Other(sentence.to_string()))?;
    if let Some(path) = &args.pid_file {
        PidFile::check_free(path)?;
    }
    let beside = args.pid_file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let log_file = settings.log_file.clone().unwrap_or_else(|| beside.join("rtspserver.log"));
    let mut command = child_command(args, &log_file)?;
    let mut child =
        command.spawn().map_err(|error| Failure::Other(format!("the daemon cannot be started: {error}")))?;
    let output = child.stdout.take();
    let is_ready = output.is_some_and(|output| relay(BufReader::new(output)));
    if is_ready {
        let (process, log) = (child.id(), log_file.display());
        say(&format!("running in the background as process {process}, log in {log}\n"));
        return Ok(());
    }
    let status = child.wait().map_err(|error| Failure::Other(format!("the daemon is lost: {error}")))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|&code| code > 0);
    Err(Failure::Said(code.unwrap_or(1)))
}

/// In the child, first: a session without a terminal.
pub(super) fn leave_terminal() {
    if let Err(error) = platform::new_session() {
        eprintln!("rtspserver: no session of its own: {error}");
    }
}

/// In the child, when it serves: tells the parent and lets go of its streams.
pub(super) fn ready() {
    let mut out = std::io::stdout().lock();
    // The parent sees the end of the stream if it does not see the word.
    let _ = writeln!(out, "{READY}").and_then(|()| out.flush());
    drop(out);
    if let Err(error) = platform::close_streams() {
        tracing::warn!("the standard streams stay open: {error}");
    }
}

fn child_command(args: &Serve, log_file: &Path) -> Result<Command, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::Other(format!("the program's own file cannot be found: {error}")))?;
    let mut command = Command::new(program);
    command.args(["serve", "--daemon-child", "--log-file"]).arg(log_file);
    let paths = [("--config", &args.file.config), ("--pid-file", &args.pid_file)];
    for (option, path) in paths {
        if let Some(path) = path {
            command.arg(option).arg(path);
        }
    }
    for (key, text) in args.overrides().command_line {
        match key {
            "backend" => command.arg("--backend").arg(text),
            "shards" => command.arg("--shards").arg(text),
            "log_format" => command.arg("--log-format").arg(text),
            _ => &mut command,
        };
    }
    if let Some(dir) = &args.dir {
        command.arg("--").arg(dir);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    Ok(command)
}

/// Prints what the child prints; true when it says that it is ready, false when it ends before.
fn relay(output: impl BufRead) -> bool {
    for line in output.lines().map_while(Result::ok) {
        if line == READY {
            return true;
        }
        say(&format!("{line}\n"));
    }
    false
}

/// The child's last line to its parent.
const READY: &str = "rtspserver: ready";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_means_ready() {
        assert!(relay(&b"rtsp://192.0.2.1/test\nrtspserver: ready\n"[..]));
        assert!(!relay(&b"rtsp://192.0.2.1/test\n"[..]));
        assert!(!relay(&b""[..]));
    }

    #[test]
    fn the_child_gets_every_option_of_its_parent() {
        let args = Serve {
            dir: Some(PathBuf::from("-odd name")),
            shards: Some(2),
            pid_file: Some(PathBuf::from("a.pid")),
            ..Serve::default()
        };
        let command = child_command(&args, Path::new("a.log")).unwrap();
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let expected = "serve --daemon-child --log-file a.log --pid-file a.pid --shards 2 --";
        assert_eq!(words[..words.len() - 1].join(" "), expected);
        assert_eq!(words[words.len() - 1], "-odd name");
    }
}
