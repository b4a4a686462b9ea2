//! systemd's protocol: lines in a datagram to the socket that `NOTIFY_SOCKET` names (`man sd_notify`).

use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager of this process; where there is none, nothing is sent.
pub(in crate::control) struct Manager {
    watchdog_period: Option<Duration>,
}

impl Manager {
    /// The one that the environment names.
    pub(in crate::control) fn of_this_process() -> Manager {
        Manager { watchdog_period: sd_notify::watchdog_enabled().filter(|period| !period.is_zero()) }
    }

    /// Clients can connect.
    pub(in crate::control) fn ready(&self, backend: &str, shards: usize) {
        let status = format!("serving by {backend}, shards: {shards}");
        tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// All shards turn.
    pub(in crate::control) fn alive(&self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// The end has begun.
    pub(in crate::control) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("saying goodbye")]);
    }

    /// After how long without [`Manager::alive`] the process is taken for dead. None when nobody waits for it.
    pub(in crate::control) fn watchdog_period(&self) -> Option<Duration> {
        self.watchdog_period
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told of the server's state (NOTIFY_SOCKET)");
    }
}
