//! The clock that senders and viewers on one machine share.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on the machine's monotonic clock, the same in all its processes and network namespaces.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The time since a moment of that clock; zero when it lies ahead.
pub fn since_ns(moment_ns: u64) -> Duration {
    Duration::from_nanos(now_ns().saturating_sub(moment_ns))
}

/// Names the clock: the same for all processes that share it, another after each start of the machine.
pub fn identity() -> u32 {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // Eight hexadecimal digits stand before the first dash.
    u32::from_str_radix(boot.split('-').next().unwrap_or_default(), 16).unwrap_or(0)
}
