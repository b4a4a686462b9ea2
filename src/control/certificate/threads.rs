//! The threads that shake hands.

use std::io;
use std::thread;

use crossbeam_channel::Receiver;

use crate::control::threads::step_back;
use crate::shard::tls::HandshakeJob;

/// Starts one thread for each two processors: pictures come first.
pub(super) fn start(jobs: &Receiver<HandshakeJob>) -> io::Result<()> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    for number in 0..processors.div_ceil(2) {
        let jobs = jobs.clone();
        let run = move || {
            step_back();
            jobs.iter().for_each(HandshakeJob::run);
        };
        thread::Builder::new().name(format!("handshakes {number}")).spawn(run)?;
    }
    Ok(())
}
