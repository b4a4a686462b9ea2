//! Leaving the terminal, where the system knows such a thing.

#[cfg(not(unix))]
mod absent;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub(super) use absent::{close_streams, new_session, supported};
#[cfg(unix)]
pub(super) use unix::{close_streams, new_session, supported};
