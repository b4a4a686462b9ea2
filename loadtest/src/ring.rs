//! One thread's ring.

use std::future::Future;
use std::io;
use std::mem;

/// Runs a future, and what it spawns, on a ring of this thread.
///
/// The runtime is given up afterwards, not dropped. When tokio-uring 0.5 drops its driver it first replaces the state
/// of every operation that is still in flight, and with it frees the buffer of each one whose future is gone (aborted,
/// timed out); only then it cancels the operations and waits for them (`impl Drop for Driver`, `runtime/driver/mod.rs`).
/// Between the two the kernel may complete a read into freed memory: with 500 viewers whose last read had timed out, one
/// run in three ended with "free(): corrupted unsorted chunks". A buffer whose destructor sends a datagram to the socket
/// shows it every time: the datagram is found in the buffer's former memory. A runtime that is never dropped keeps these
/// buffers. They are few and small, a viewer that leaves shuts its connection down, and the process ends soon after.
pub fn run<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let mut builder = tokio_uring::builder();
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(COMPLETIONS);
    builder.entries(SUBMISSIONS).uring_builder(&ring);
    let runtime = tokio_uring::Runtime::new(&builder)?;
    let output = runtime.block_on(future);
    mem::forget(runtime);
    Ok(output)
}

/// Entries of the submission queue.
const SUBMISSIONS: u32 = 4_096;

/// Entries of the completion queue: thousands of answers may come within one turn.
const COMPLETIONS: u32 = 32_768;
