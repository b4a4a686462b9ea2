//! What the program asks of the system it runs on; the one place in this room that names a platform.

#[cfg(not(unix))]
mod absent;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(super) use absent::{
    close_streams, daemon_supported, new_session, open_files_max, raise_open_files, system, unseen,
};
#[cfg(unix)]
pub(super) use unix::{
    close_streams, daemon_supported, new_session, open_files_max, raise_open_files, system, unseen,
};
