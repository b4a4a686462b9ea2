//! Sockets: picks the backend. Linux has the ring, every platform the fallback, tests the simulation.

#[cfg(target_os = "linux")]
pub mod uring;
