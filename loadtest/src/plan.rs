//! What the clients of a run shall do.

use std::time::Duration;

use crate::line::Security;
use crate::sink::Depth;

/// How packets come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Interleaved on the RTSP connection.
    Tcp,
    /// Interleaved through an HTTP tunnel.
    Http,
    /// Interleaved in a WebSocket.
    Ws,
    /// Interleaved on the RTSP connection, in TLS.
    Rtsps,
    /// Interleaved through an HTTP tunnel, in TLS.
    Https,
    /// Interleaved in a WebSocket, in TLS.
    Wss,
    /// Datagrams to a group, which all clients share.
    Multicast,
    /// Every other client by datagrams, the rest interleaved.
    Mixed,
}

impl Transport {
    /// How packets come to the client of that number.
    pub fn way_of(self, number: usize) -> Way {
        match self {
            Transport::Udp => Way::Datagrams,
            Transport::Multicast => Way::Group,
            Transport::Mixed if number.is_multiple_of(2) => Way::Datagrams,
            _ => Way::Interleaved,
        }
    }

    /// Whether its connections are in TLS.
    pub fn security(self) -> Security {
        match self {
            Transport::Rtsps | Transport::Https | Transport::Wss => Security::Tls,
            _ => Security::Plain,
        }
    }

    /// Connections that a client has.
    pub fn connections(self) -> u64 {
        if matches!(self, Transport::Http | Transport::Https) { 2 } else { 1 }
    }

    /// How the bare loops send for the same: what a door costs is measured by what the same bytes cost without it. None
    /// where there is no such loop.
    pub fn bare(self) -> Option<Transport> {
        match self {
            Transport::Udp => Some(Transport::Udp),
            Transport::Tcp | Transport::Http | Transport::Ws => Some(Transport::Tcp),
            Transport::Rtsps | Transport::Https | Transport::Wss => Some(Transport::Rtsps),
            Transport::Multicast | Transport::Mixed => None,
        }
    }

    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Http => "http",
            Transport::Ws => "ws",
            Transport::Rtsps => "rtsps",
            Transport::Https => "https",
            Transport::Wss => "wss",
            Transport::Multicast => "multicast",
            Transport::Mixed => "mixed",
        }
    }
}

/// How packets come to one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To ports of its own.
    Datagrams,
    /// To the ports of a group.
    Group,
    /// Along its connection.
    Interleaved,
}

/// What each viewer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Plays to the end of the run.
    Plays,
    /// Sets up and then only keeps its session alive.
    Holds,
    /// Comes, takes one packet, goes and comes again.
    Churns,
}

/// The viewers of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What each viewer plays: viewer n takes URL n modulo their count.
    pub urls: Vec<String>,
    /// Count of viewers.
    pub viewers: usize,
    /// What they do.
    pub act: Act,
    /// How packets come to them.
    pub transport: Transport,
    /// Time over which the viewers connect, evenly.
    pub ramp: Duration,
    /// Time that is measured, after the ramp and a moment to settle.
    pub duration: Duration,
    /// Count of viewers, the first ones, that stop reading once the ramp is over.
    pub stalled: usize,
    /// Count of viewers, those behind them, that read at a tenth of the rate from then on. Over TCP only, as stopping is.
    pub slow: usize,
    /// Count of viewers, the last ones, that connect all at once in the middle of the measured time. Where there are any,
    /// times of setting up are theirs, and all other times are those of the viewers that were there before.
    pub burst: usize,
    /// Receive buffer of each socket for media, in bytes.
    pub receive_buffer: usize,
    /// Where each viewer begins, in seconds: viewer n at n times this; None begins where the server does.
    pub spread_s: Option<f64>,
    /// How closely datagrams are looked at.
    pub depth: Depth,
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
    /// Whatever comes, from the burst that it belongs to on.
    Bursts,
}

impl Plan {
    /// One viewer who plays nothing for no time at all.
    #[cfg(test)]
    pub(crate) fn idle() -> Plan {
        Plan {
            urls: Vec::new(),
            viewers: 1,
            act: Act::Plays,
            transport: Transport::Udp,
            ramp: Duration::ZERO,
            duration: Duration::ZERO,
            stalled: 0,
            slow: 0,
            burst: 0,
            receive_buffer: 0,
            spread_s: None,
            depth: Depth::Heads,
        }
    }

    /// How the viewer of that number reads.
    pub fn conduct_of(&self, number: usize) -> Conduct {
        match number {
            _ if number < self.stalled => Conduct::Stops,
            _ if number < self.misbehaving() => Conduct::Trickles,
            _ if number >= self.viewers - self.burst.min(self.viewers) => Conduct::Bursts,
            _ => Conduct::Reads,
        }
    }

    /// Count of viewers, the first ones, that do not read as they should: nothing of them is measured.
    pub fn misbehaving(&self) -> usize {
        self.stalled + self.slow
    }

    /// When the viewer of that number connects, from the start of the run.
    pub fn start_of(&self, number: usize) -> Duration {
        if self.conduct_of(number) == Conduct::Bursts {
            return self.steady() + self.duration / 2;
        }
        self.ramp.mul_f64(number as f64 / (self.viewers - self.burst.min(self.viewers)).max(1) as f64)
    }

    /// From the start of the run to the begin of what is measured.
    pub fn steady(&self) -> Duration {
        self.ramp + SETTLE
    }

    /// From the start of the run to the end of what is measured; publishers stop then.
    pub fn end(&self) -> Duration {
        self.steady() + self.duration
    }

    /// From the start of the run until viewers leave: what was sent last has come by then, or is lost.
    pub fn leave(&self) -> Duration {
        self.end() + DRAIN
    }

    /// The URL of the viewer of that number.
    pub fn url_of(&self, number: usize) -> &str {
        &self.urls[number % self.urls.len()]
    }
}

/// Time behind the ramp in which the last viewers catch up with the stream.
const SETTLE: Duration = Duration::from_millis(500);

/// Time behind the end in which viewers still take what comes.
const DRAIN: Duration = Duration::from_millis(500);
