//! What differs between operating systems: options of sockets, bursts, timers. The only place with conditions on the target.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(not(target_os = "linux"))]
pub use portable::*;

/// Bytes of a UDP socket's send buffer, where the system allows it: some 480 frames of 16 kB.
const UDP_SEND_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of a UDP socket's receive buffer, where the system allows it: a second of 16 Mbit/s.
const UDP_RECEIVE_BYTES: usize = 2 * 1024 * 1024;

/// Bytes of a connection's send buffer: half a second of 4 Mbit/s.
const TCP_SEND_BYTES: usize = 256 * 1024;

/// Bytes that a connection's send buffer holds beyond what is on its way. More would only add delay.
#[cfg(target_os = "linux")]
const TCP_UNSENT_BYTES: u32 = 32 * 1024;
