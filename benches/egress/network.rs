//! A network of our own, where we may have one: no traffic of others, no filters, and a congestion control without timers.

use std::fs;

use crate::sys;

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Moves this thread, and all that it starts, to a network with nothing but loopback. Says what came of it.
pub fn isolate() -> String {
    let place = match sys::new_network() {
        Ok(()) => "a network of its own (MTU 1500)",
        Err(_) => "the system's network (no permission for another)",
    };
    // BBR without fq paces by timers, which would be measured instead of the send.
    let _ = fs::write(CONGESTION_CONTROL, "cubic").or_else(|_| fs::write(CONGESTION_CONTROL, "reno"));
    let control = fs::read_to_string(CONGESTION_CONTROL).unwrap_or_default();
    format!("loopback of {place}, congestion control {}", control.trim())
}
