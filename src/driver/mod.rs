//! Sockets: picks the backend. Linux has the ring, every platform the fallback, tests the simulation.

#[cfg(target_os = "linux")]
pub mod uring;

use std::io;

use proto::io::Driver;

/// A driver that was found to work here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// tokio and plain system calls.
    Fallback,
}

impl Backend {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Fallback => "tokio",
        }
    }

    /// Makes a driver for the calling thread.
    pub fn driver(self) -> io::Result<Box<dyn Driver>> {
        match self {
            Backend::Fallback => Ok(Box::new(fallback::TokioDriver::new()?)),
        }
    }
}
