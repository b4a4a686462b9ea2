//! No daemons here.

use std::io;

/// Whether a daemon can be made here.
pub(crate) fn supported() -> Result<(), &'static str> {
    Err("--daemon is not available on this system")
}

/// Nothing to leave.
pub(crate) fn new_session() -> io::Result<()> {
    Ok(())
}

/// Nothing to close.
pub(crate) fn close_streams() -> io::Result<()> {
    Ok(())
}
