//! Memory that is needed soon: with 1,000 viewers a session is no longer in the processor's cache when its turn comes.

/// Asks the processor to bring `bytes` from `start` on near, so that who reads them a little later does not wait.
pub(super) fn need_soon(start: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..bytes).step_by(LINE_BYTES) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint reads nothing that a program could notice, whatever the address.
        unsafe { _mm_prefetch(start.wrapping_add(offset).cast(), _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, bytes);
}

/// Of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;
