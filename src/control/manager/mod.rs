//! What is the program that started this one told of its life?
//!
//! A service manager, such as systemd, that wants to know is told when clients can connect, that all shards turn, and
//! that the end has begun.

#[cfg(not(unix))]
mod absent;
#[cfg(unix)]
mod systemd;

#[cfg(not(unix))]
pub(super) use absent::Manager;
#[cfg(unix)]
pub(super) use systemd::Manager;
