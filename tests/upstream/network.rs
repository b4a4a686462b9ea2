//! Networks of their own, joined by a cable or a switch, as machines have it. Only root may make them.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Network namespaces that are joined; gone when the test lets go of them.
pub(crate) struct Networks {
    names: Vec<String>,
}

/// The addresses of the first two.
pub(crate) const ADDRESSES: [&str; 2] = ["10.71.0.1", "10.71.0.2"];

impl Networks {
    /// Two, joined by a cable. None when that is not permitted, which is said.
    pub(crate) fn new() -> Option<Networks> {
        let networks = Networks::apart(2)?;
        networks.join([0, 1], "cable", 71);
        Some(networks)
    }

    /// So many at a switch, which is one more behind them.
    pub(crate) fn at_a_switch(count: usize) -> Option<Networks> {
        let networks = Networks::apart(count + 1)?;
        let hub = &networks.names[count];
        // Every port hears every group: this switch does not look into packets.
        networks.ip(count, "link add name switch type bridge mcast_snooping 0");
        networks.ip(count, "link set switch up");
        for end in 0..count {
            networks.ip(end, &format!("link add cable type veth peer name port{end} netns {hub}"));
            networks.ip(count, &format!("link set port{end} master switch"));
            networks.ip(count, &format!("link set port{end} up"));
            networks.address(end, "cable", 71, end + 1);
        }
        Some(networks)
    }

    /// Joins two of them by a cable of its own, with addresses `10.NET.0.1` and `10.NET.0.2`, `fd00:NET::1` and so on.
    pub(crate) fn join(&self, ends: [usize; 2], device: &str, net: u8) {
        let [one, other] = ends;
        let peer = &self.names[other];
        self.ip(one, &format!("link add {device} type veth peer name {device} netns {peer}"));
        self.address(one, device, net, 1);
        self.address(other, device, net, 2);
    }

    fn apart(count: usize) -> Option<Networks> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let names = (0..count).map(|end| format!("rc{}-{number}-{end}", std::process::id())).collect();
        let networks = Networks { names };
        if !networks.names.iter().all(|name| ip(&format!("netns add {name}"))) {
            eprintln!("LEFT OUT: network namespaces cannot be made here, which takes root and iproute2");
            return None;
        }
        Some(networks)
    }

    /// Gives a device of one of them its addresses; the first one has the default route.
    fn address(&self, end: usize, device: &str, net: u8, host: usize) {
        self.ip(end, &format!("addr add 10.{net}.0.{host}/24 dev {device}"));
        self.ip(end, &format!("addr add fd00:{net}::{host}/64 dev {device} nodad"));
        self.ip(end, &format!("link set {device} up"));
        self.ip(end, "link set lo up");
        // By a gateway, though nobody has that address: where the default route names none, Wine lists no interfaces.
        ip(&format!("-n {} route add default via 10.{net}.0.254 dev {device}", self.names[end]));
    }

    #[track_caller]
    fn ip(&self, end: usize, step: &str) {
        let step = format!("-n {} {step}", self.names[end]);
        assert!(ip(&step), "ip {step}");
    }

    /// Does something in one of them, with whatever programs it starts.
    pub(crate) fn inside<T: Send>(&self, end: usize, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.names[end])).unwrap();
        thread::scope(|scope| {
            let worker = scope.spawn(move || {
                // Of this thread alone, and of what it starts.
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns del {name}"));
        }
    }
}

fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}
