//! Where packets go: along loopback, or along a veth pair into a network namespace of the server's own.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::process::{Command, Stdio};

/// Which network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Network {
    /// The system's loopback.
    Loopback,
    /// A pair of virtual Ethernet devices; making it takes root.
    Veth,
}

/// A network that is there; a veth pair goes with this.
pub(super) struct Open {
    namespace: Option<String>,
    congestion_control: String,
}

impl Open {
    pub(super) fn new(network: Network) -> io::Result<Open> {
        let congestion_control = fs::read_to_string(CONGESTION_CONTROL).unwrap_or_default().trim().to_owned();
        if network == Network::Loopback {
            return Ok(Open { namespace: None, congestion_control });
        }
        let id = std::process::id();
        let (name, ours, theirs) = (format!("loadtest{id}"), format!("lt{id}a"), format!("lt{id}b"));
        ip(&["netns", "add", &name])?;
        // From here on the namespace goes with this.
        let open = Open { namespace: Some(name.clone()), congestion_control };
        ip(&["link", "add", &ours, "type", "veth", "peer", "name", &theirs, "netns", &name])?;
        ip(&["addr", "add", &format!("{CLIENT}/30"), "dev", &ours])?;
        ip(&["link", "set", &ours, "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{SERVER}/30"), "dev", &theirs])?;
        ip(&["-n", &name, "link", "set", &theirs, "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        // The server sends, so its side's choice counts; a new namespace has the system's default.
        let control = format!("net.ipv4.tcp_congestion_control={}", open.congestion_control);
        let _ = open.command("sysctl").args(["-qw", &control]).status();
        Ok(open)
    }

    /// A program that serves on this network. It has the process id of what is started.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.namespace {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]).arg(program);
                command
            }
        }
    }

    /// The server's address.
    pub(super) fn server(&self) -> IpAddr {
        let text = if self.namespace.is_some() { SERVER } else { "127.0.0.1" };
        text.parse().expect("both are addresses")
    }

    pub(super) fn description(&self) -> String {
        let place = if self.namespace.is_some() { "a veth pair (MTU 1500)" } else { "loopback" };
        format!("{place}, congestion control {}", self.congestion_control)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(name) = &self.namespace {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("ip {}: {text}", arguments.join(" "))))
}

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Of the block for benchmarks (RFC 2544 appendix C.2.2).
const CLIENT: &str = "198.18.77.1";
const SERVER: &str = "198.18.77.2";
