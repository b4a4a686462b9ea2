//! The driver interface on tokio: the backend of Windows, and of Linux where io_uring is absent or forbidden.
//!
//! One [`TokioDriver`] a thread. It owns a runtime of that one thread, of which it uses the reactor and the timer
//! only: there is no task per connection or operation. Each socket has one waker that puts the socket on a ready
//! list; a turn sends what is queued by plain system calls, works off the ready list and sleeps in the reactor
//! until something of it is true again.

#[cfg(test)]
mod allocations;
pub mod clock;
mod connecting;
mod connection;
mod door;
mod driver;
mod inbox;
mod membership;
mod platform;
mod ready;
mod slots;
mod sockets;
mod turn;
mod udp;

pub use driver::TokioDriver;
