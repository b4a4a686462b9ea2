//! What the operating system tells the program.

#[cfg(not(any(unix, windows)))]
compile_error!("nobody tells the program to stop on this system");
#[cfg(windows)]
mod console;
#[cfg(unix)]
mod unix;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::RunError;
#[cfg(windows)]
use console::listen;
#[cfg(unix)]
use unix::listen;

/// One thing that it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End in order.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// What was said, in order.
#[derive(Clone, Debug)]
pub struct Signals(pub(super) Receiver<Signal>);

/// The end that says it.
#[derive(Clone, Debug)]
pub struct Teller(Sender<Signal>);

/// Both ends, for one who hears of it elsewhere: a service is told by its manager.
pub fn told() -> (Teller, Signals) {
    let (sender, receiver) = unbounded();
    (Teller(sender), Signals(receiver))
}

/// What the system says to a process.
pub fn of_system() -> Result<Signals, RunError> {
    let (teller, signals) = told();
    listen(teller)?;
    Ok(signals)
}

impl Teller {
    /// Says it. False when nobody listens any more.
    pub fn tell(&self, signal: Signal) -> bool {
        self.0.send(signal).is_ok()
    }
}
