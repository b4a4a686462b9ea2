//! A network of our own, where we may have one: no traffic of others, no filters, and a congestion control without timers.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::sys;

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Least, first and largest buffers of a connection.
const STREAM_BUFFERS: [&str; 2] = ["/proc/sys/net/ipv4/tcp_rmem", "/proc/sys/net/ipv4/tcp_wmem"];

/// Whether devices to come have IPv6, and so something of their own to say.
const WITHOUT_IPV6: &str = "/proc/sys/net/ipv6/conf/default/disable_ipv6";

/// Port of viewers who are not there.
const PORT: u16 = 5000;

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

/// Lets connections of this network hold a large frame from the start.
pub fn widen_streams() {
    for setting in STREAM_BUFFERS {
        let _ = fs::write(setting, "4096 1048576 6291456");
    }
}

/// A device behind which every packet is thrown away: a veth pair, the far end of which is a blocked port of a bridge.
/// What is sent is built, handed to a driver and freed, and nobody's receive path runs: as near to a network card
/// as a machine without one comes, and the only way here on which the kernel does not copy what was lent to it.
pub struct Abyss {
    sent_before: std::cell::Cell<u64>,
}

impl Abyss {
    /// Needs the network that [`isolate`] makes, and the program `ip`.
    pub fn open() -> io::Result<Abyss> {
        const STEPS: [&str; 9] = [
            "link add near type veth peer name far",
            "link add pit type bridge",
            "link set far master pit",
            "link set pit up",
            "link set far up",
            "link set near arp off mtu 1500 up",
            "address add 10.77.0.1/24 dev near",
            "route add 10.78.0.0/16 via 10.77.0.2 dev near",
            "link set far type bridge_slave state 4",
        ];
        let _ = fs::write(WITHOUT_IPV6, "1");
        for step in STEPS {
            let output = Command::new("ip").args(step.split(' ')).output()?;
            if !output.status.success() {
                let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(io::Error::other(format!("ip {step}: {reason}")));
            }
        }
        Ok(Abyss { sent_before: Default::default() })
    }

    /// As many addresses behind it.
    pub fn addresses(&self, viewers: usize) -> Vec<SocketAddr> {
        let address =
            |index| (Ipv4Addr::from_bits(Ipv4Addr::new(10, 78, 1, 0).to_bits() + index), PORT).into();
        (0..viewers as u32).map(address).collect()
    }

    /// Sees that `count` packets of the network, trains or single ones, were handed to the device since the last time.
    pub fn drain(&self, count: usize) -> io::Result<()> {
        let devices = fs::read_to_string("/proc/net/dev")?;
        let near = devices.lines().find_map(|line| line.trim().strip_prefix("near:"));
        // Bytes and packets received, six more columns, bytes and packets sent.
        let sent = near.and_then(|counters| counters.split_whitespace().nth(9)?.parse::<u64>().ok());
        let sent = sent.ok_or_else(|| io::Error::other("the device is gone"))?;
        let new = sent - self.sent_before.replace(sent);
        if new == count as u64 {
            Ok(())
        } else {
            Err(io::Error::other(format!("{new} of {count} were sent")))
        }
    }
}
