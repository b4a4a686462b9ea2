//! systemd's protocol: lines in a datagram to the socket that `NOTIFY_SOCKET` names (`man sd_notify`).

use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager of this process; where there is none, nothing is sent.
pub(in crate::control) struct Manager {
    watchdog_period: Option<Duration>,
    /// What there is to say of a server that serves.
    status: String,
}

impl Manager {
    /// The one that the environment names; it is told of the server's driver and how many shards there are.
    pub(in crate::control) fn of_this_process(backend: &str, shards: usize) -> Manager {
        Manager {
            watchdog_period: sd_notify::watchdog_enabled().filter(|period| !period.is_zero()),
            status: format!("serving by {backend}, shards: {shards}"),
        }
    }

    /// Clients can connect, and the configuration is the one of the moment.
    pub(in crate::control) fn ready(&self) {
        tell(&[NotifyState::Ready, NotifyState::Status(&self.status)]);
    }

    /// The configuration is read again; [`Manager::ready`] or [`Manager::stays`] follows.
    pub(in crate::control) fn reloading(&self) {
        // Without the moment, by which it is told from those before, it would not count (systemd 253 and later).
        match NotifyState::monotonic_usec_now() {
            Ok(now) => {
                tell(&[NotifyState::Reloading, now, NotifyState::Status("reading the configuration again")])
            }
            Err(error) => tracing::warn!(%error, "the service manager cannot be told of a reload: no clock"),
        }
    }

    /// Another configuration could not be had: why it is the one before that is obeyed.
    pub(in crate::control) fn stays(&self, why: &str) {
        let status = format!("{}; not reloaded: {why}", self.status);
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
