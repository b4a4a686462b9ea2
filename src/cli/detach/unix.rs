//! Sessions and standard streams of POSIX.

use std::fs::OpenOptions;
use std::io;

/// Whether a daemon can be made here.
pub(crate) fn supported() -> Result<(), &'static str> {
    Ok(())
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
