//! Two networks of their own, joined by a cable, as two machines have it. Only root may make them.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Two network namespaces with a pair of virtual interfaces; gone when the test lets go of it.
pub(crate) struct Networks {
    names: [String; 2],
}

/// The address of each end.
pub(crate) const ADDRESSES: [&str; 2] = ["10.71.0.1", "10.71.0.2"];

impl Networks {
    /// Makes them. None when that is not permitted, which is said.
    pub(crate) fn new() -> Option<Networks> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let names = ["a", "b"].map(|end| format!("rc{}-{number}{end}", std::process::id()));
        let networks = Networks { names };
        let [a, b] = &networks.names;
        if !networks.names.iter().all(|name| ip(&format!("netns add {name}"))) {
            eprintln!("LEFT OUT: network namespaces cannot be made here, which takes root and iproute2");
            return None;
        }
        let mut steps = vec![format!("-n {a} link add cable type veth peer name cable netns {b}")];
        for (name, address) in networks.names.iter().zip(ADDRESSES) {
            steps.push(format!("-n {name} addr add {address}/24 dev cable"));
            steps.push(format!("-n {name} link set cable up"));
            steps.push(format!("-n {name} link set lo up"));
            steps.push(format!("-n {name} route add default dev cable"));
        }
        for step in &steps {
            assert!(ip(step), "ip {step}");
        }
        Some(networks)
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
