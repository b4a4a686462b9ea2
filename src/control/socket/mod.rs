//! Under which name on this machine can programs reach the server, where the system has Unix sockets?

#[cfg(not(unix))]
mod absent;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub use absent::{Connection, Socket};
#[cfg(unix)]
pub use unix::{Connection, Socket};
