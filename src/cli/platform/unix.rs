//! Sessions, standard streams and limits of POSIX.

use std::fs::OpenOptions;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::cli::Failure;
use crate::cli::args::Service;

/// Whether a daemon can be made here, else why not.
pub(crate) fn daemon_supported() -> Result<(), &'static str> {
    Ok(())
}

/// Says that services are Windows' own.
pub(crate) fn service(_: &Service) -> Result<(), Failure> {
    let sentence = "services are part of Windows; use --daemon here, or a unit of systemd";
    Err(Failure::Other(sentence.to_owned()))
}

/// Puts this process into a session of its own, so that no terminal can end it.
pub(crate) fn new_session() -> io::Result<()> {
    rustix::process::setsid().map(drop).map_err(io::Error::from)
}

/// Lets the standard streams lead nowhere.
pub(crate) fn close_streams() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Raises the number of files that may be open as far as the system lets us: every viewer over TCP is one.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// How many files may be open. None means that there is no limit.
pub(crate) fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Name and version of the system.
pub(crate) fn system() -> String {
    let name = rustix::system::uname();
    format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
}

/// Does something while the terminal at the standard input does not show what is typed.
pub(crate) fn unseen<T>(act: impl FnOnce() -> T) -> T {
    let input = io::stdin();
    let Ok(before) = tcgetattr(&input) else { return act() };
    let mut quiet = before.clone();
    quiet.local_modes -= LocalModes::ECHO;
    // A terminal that cannot be told goes on to show.
    let _ = tcsetattr(&input, OptionalActions::Flush, &quiet);
    let done = act();
    let _ = tcsetattr(&input, OptionalActions::Flush, &before);
    done
}
