//! A system without a service manager that listens.

use std::time::Duration;

/// Nobody.
pub(in crate::control) struct Manager;

impl Manager {
    /// Nobody.
    pub(in crate::control) fn of_this_process(_: &str, _: usize) -> Manager {
        Manager
    }

    /// Not told.
    pub(in crate::control) fn ready(&self) {}

    /// Not told.
    pub(in crate::control) fn reloading(&self) {}

    /// Not told.
    pub(in crate::control) fn stays(&self, _: &str) {}

    /// Not told.
    pub(in crate::control) fn alive(&self) {}

    /// Not told.
    pub(in crate::control) fn stopping(&self) {}

    /// Nobody waits.
    pub(in crate::control) fn watchdog_period(&self) -> Option<Duration> {
        None
    }
}
