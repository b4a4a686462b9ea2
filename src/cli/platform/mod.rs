//! What the program asks of the system it runs on; the one place in this room that names a platform.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::{
    close_streams, daemon_supported, new_session, open_files_max, raise_open_files, service, system, unseen,
};
#[cfg(windows)]
pub(super) use windows::{
    close_streams, daemon_supported, new_session, open_files_max, raise_open_files, service, system, unseen,
};
