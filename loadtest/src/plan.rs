//! What a run shall do.

use std::time::Duration;

/// How packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Interleaved on the RTSP connection.
    Tcp,
    /// Every other viewer the one, the rest the other.
    Mixed,
}

impl Transport {
    /// Whether the viewer of that number takes datagrams.
    pub fn is_udp(self, number: usize) -> bool {
        match self {
            Transport::Udp => true,
            Transport::Tcp => false,
            Transport::Mixed => number.is_multiple_of(2),
        }
    }
}

/// A run of the play and stall scenarios.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What each viewer plays: viewer n takes URL n modulo their count.
    pub urls: Vec<String>,
    /// Count of viewers.
    pub viewers: usize,
    /// How packets come to them.
    pub transport: Transport,
    /// Time over which the viewers connect, evenly.
    pub ramp: Duration,
    /// Time for which they all play, after the ramp.
    pub duration: Duration,
    /// Count of viewers, the first ones, that stop reading once the ramp is over.
    pub stalled: usize,
    /// Count of viewers, those behind them, that read at a tenth of the rate from then on. Over TCP only, as stopping is.
    pub slow: usize,
    /// Receive buffer of each socket for media, in bytes.
    pub receive_buffer: usize,
    /// Where each viewer begins, in seconds: viewer n at n times this; None begins where the server does.
    pub spread_s: Option<f64>,
}

/// How a viewer reads once the ramp is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Whatever comes.
    Reads,
    /// No more.
    Stops,
    /// A tenth.
    Trickles,
}

impl Plan {
    /// How the viewer of that number reads.
    pub fn conduct_of(&self, number: usize) -> Conduct {
        match number {
            _ if number < self.stalled => Conduct::Stops,
            _ if number < self.misbehaving() => Conduct::Trickles,
            _ => Conduct::Reads,
        }
    }

    /// Count of viewers, the first ones, that do not read as they should: nothing of them is measured.
    pub fn misbehaving(&self) -> usize {
        self.stalled + self.slow
    }

    /// When the viewer of that number connects, from the start of the run.
    pub fn start_of(&self, number: usize) -> Duration {
        self.ramp.mul_f64(number as f64 / self.viewers.max(1) as f64)
    }

    /// From the start of the run to its end.
    pub fn end(&self) -> Duration {
        self.ramp + self.duration
    }

    /// The URL of the viewer of that number.
    pub fn url_of(&self, number: usize) -> &str {
        &self.urls[number % self.urls.len()]
    }
}
