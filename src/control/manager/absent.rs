//! A system without a service manager that listens.

use std::time::Duration;

/// Nobody.
pub(in crate::control) struct Manager;

impl Manager {
    /// Nobody.
    pub(in crate::control) fn of_this_process() -> Manager {
        Manager
    }

    /// Not told.
    pub(in crate::control) fn ready(&self, _: &str, _: usize) {}

    /// Not told.
    pub(in crate::control) fn alive(&self) {}

    /// Not told.
    pub(in crate::control) fn stopping(&self) {}

    /// Nobody waits.
    pub(in crate::control) fn watchdog_period(&self) -> Option<Duration> {
        None
    }
}
