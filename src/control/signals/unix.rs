//! Signals of POSIX.

use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Signal, Teller};
use crate::control::RunError;

/// Passes on what comes, from a thread of its own.
pub(super) fn listen(teller: Teller) -> Result<(), RunError> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| RunError::System("signals cannot be received", error))?;
    let thread = thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let signal = if signal == SIGHUP { Signal::Reload } else { Signal::Stop };
            if !teller.tell(signal) {
                return;
            }
        }
    });
    thread.map(drop).map_err(|error| RunError::System("no thread for signals", error))
}
