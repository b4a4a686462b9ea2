//! A ring as the server's driver has it, without a driver.

use std::io;

use io_uring::IoUring;

/// Completions of one ring.
const COMPLETIONS: u32 = 4096;

/// Submissions of one ring.
const SUBMISSIONS: u32 = 1024;

pub(crate) fn new() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_cqsize(COMPLETIONS);
    builder.build(SUBMISSIONS)
}

/// Submits, waits for `count` completions and calls `each` with the index and the result of every one.
pub(crate) fn settle(ring: &mut IoUring, count: usize, mut each: impl FnMut(u64, i32)) -> io::Result<()> {
    ring.submit_and_wait(count)?;
    let mut done = 0;
    for completion in ring.completion() {
        done += 1;
        each(completion.user_data(), completion.result());
    }
    if done == count { Ok(()) } else { Err(io::Error::other("completions are missing")) }
}
