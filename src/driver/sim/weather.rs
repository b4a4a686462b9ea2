//! What the simulated network does to what passes through it, and how often it did.

use std::ops::Range;
use std::time::Duration;

/// The network's behaviour. Probabilities are from zero to one.
#[derive(Clone, Debug)]
pub struct Weather {
    /// How long bytes and datagrams travel; datagrams that travel shorter overtake.
    pub latency: Range<Duration>,
    /// That a datagram does not arrive.
    pub loss: f64,
    /// That a datagram arrives twice.
    pub duplication: f64,
    /// That a datagram or a write on a connection takes [`Weather::hold`] longer.
    pub delay: f64,
    /// How much longer.
    pub hold: Range<Duration>,
    /// That a write on a connection arrives in two parts.
    pub split: f64,
    /// That a connection is accepted only after the driver has reported that it had no descriptor for it.
    pub refusal: f64,
    /// That a driver reports the close of a connection some turns later.
    pub late_close: f64,
    /// What a connection holds in one direction before its writer must wait.
    pub pipe_bytes: usize,
}

impl Default for Weather {
    /// A local network on a quiet day: one millisecond, nothing is lost.
    fn default() -> Weather {
        let millis = Duration::from_millis;
        Weather {
            latency: millis(1)..millis(2),
            loss: 0.0,
            duplication: 0.0,
            delay: 0.0,
            hold: millis(50)..millis(200),
            split: 0.0,
            refusal: 0.0,
            late_close: 0.0,
            pipe_bytes: 256 * 1024,
        }
    }
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Datagrams lost.
    pub lost: u64,
    /// Datagrams doubled.
    pub duplicated: u64,
    /// Datagrams that a later one of the same way overtook.
    pub reordered: u64,
    /// Datagrams to an address that nobody has.
    pub unreachable: u64,
    /// Datagrams and writes that were held up.
    pub delayed: u64,
    /// Writes that arrived in parts.
    pub split: u64,
    /// Sends of a driver that had to wait for the reader.
    pub waited: u64,
    /// Connections that were accepted late.
    pub refused: u64,
    /// Connections that went from one driver to another.
    pub moved: u64,
    /// Connections that a peer reset.
    pub reset: u64,
    /// Connections that nobody ever answered.
    pub unanswered: u64,
}
