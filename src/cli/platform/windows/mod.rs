//! Windows, which has services in place of daemons.

mod service;

use std::io;

pub(crate) use service::service;

/// Whether a daemon can be made here, else why not.
pub(crate) fn daemon_supported() -> Result<(), &'static str> {
    Err("Windows has services in place of --daemon: install one with `rtspserver service install`")
}

/// Nothing to leave.
pub(crate) fn new_session() -> io::Result<()> {
    Ok(())
}

/// Nothing to close.
pub(crate) fn close_streams() -> io::Result<()> {
    Ok(())
}

/// Nothing to raise.
pub(crate) fn raise_open_files() {}

/// How many files may be open. None means that there is no limit.
pub(crate) fn open_files_max() -> Option<u64> {
    None
}

/// Name of the system.
pub(crate) fn system() -> String {
    std::env::consts::OS.to_string()
}

/// Typing is seen here.
pub(crate) fn unseen<T>(act: impl FnOnce() -> T) -> T {
    act()
}
