//! Sockets: picks the backend. Linux has the ring, every platform the fallback, tests the simulation.

pub mod sim;
#[cfg(target_os = "linux")]
pub mod uring;

use std::io;

use proto::io::Driver;

use crate::config::{BackendChoice, ZeroCopy};

/// A driver that was found to work here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring.
    #[cfg(target_os = "linux")]
    Uring,
    /// tokio and plain system calls.
    Fallback,
}

impl Backend {
    /// Picks the backend: the one that is asked for, or the ring where the kernel allows it. An error says why the
    /// one that is asked for cannot be had.
    pub fn choose(choice: BackendChoice) -> Result<Backend, String> {
        if choice == BackendChoice::Fallback {
            return Ok(Backend::Fallback);
        }
        match ring() {
            Ok(backend) => Ok(backend),
            Err(reason) if choice == BackendChoice::Uring => {
                Err(format!("--backend uring: {reason}; --backend fallback serves without it"))
            }
            Err(reason) => {
                tracing::warn!("{reason}; the fallback serves, at more CPU per viewer");
                Ok(Backend::Fallback)
            }
        }
    }

    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring => "io_uring",
            Backend::Fallback => "tokio",
        }
    }

    /// Makes a driver for the calling thread. The fallback always copies.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub fn driver(self, zero_copy: ZeroCopy) -> io::Result<Box<dyn Driver>> {
        match self {
            #[cfg(target_os = "linux")]
            Backend::Uring => {
                let options = uring::UringOptions { zero_copy, ..uring::UringOptions::default() };
                Ok(Box::new(uring::UringDriver::new(options)?))
            }
            Backend::Fallback => Ok(Box::new(fallback::TokioDriver::new()?)),
        }
    }
}

/// What the ring has here, a line each. An error says why there is no ring.
#[cfg(target_os = "linux")]
pub fn ring_report() -> Result<String, String> {
    uring::probe().map(|has| has.to_string()).map_err(|refusal| refusal.to_string())
}

/// What the ring has here, a line each. An error says why there is no ring.
#[cfg(not(target_os = "linux"))]
pub fn ring_report() -> Result<String, String> {
    Err("io_uring is part of Linux".to_owned())
}

#[cfg(target_os = "linux")]
fn ring() -> Result<Backend, String> {
    uring::probe().map(|_| Backend::Uring).map_err(|refusal| refusal.to_string())
}

#[cfg(not(target_os = "linux"))]
fn ring() -> Result<Backend, String> {
    Err("io_uring is part of Linux".to_owned())
}
