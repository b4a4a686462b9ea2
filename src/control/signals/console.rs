//! What the console of Windows says: Ctrl-C and Ctrl-Break, the window closed, the user logged off, the machine shut down.

use std::io;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};

use super::{Signal, Teller};
use crate::control::RunError;

/// Passes on what comes, from a thread of its own.
pub(super) fn listen(teller: Teller) -> Result<(), RunError> {
    let refused = |error| RunError::System("the console cannot be heard", error);
    let runtime = Builder::new_current_thread().build().map_err(refused)?;
    // From here on the system's own answer, which is to end at once, is off.
    let stops = runtime.block_on(async {
        io::Result::Ok((ctrl_c()?, ctrl_break()?, ctrl_close()?, ctrl_logoff()?, ctrl_shutdown()?))
    });
    let (mut c, mut pause, mut close, mut logoff, mut shutdown) = stops.map_err(refused)?;
    let thread = thread::Builder::new().name("console".into()).spawn(move || {
        let mut heard = true;
        while heard {
            runtime.block_on(async {
                tokio::select! {
                    _ = c.recv() => {}
                    _ = pause.recv() => {}
                    _ = close.recv() => {}
                    _ = logoff.recv() => {}
                    _ = shutdown.recv() => {}
                }
            });
            heard = teller.tell(Signal::Stop);
        }
    });
    thread.map(drop).map_err(|error| RunError::System("no thread for the console", error))
}
