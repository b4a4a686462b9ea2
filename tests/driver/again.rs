//! Runs a scenario once more in a process of its own: with few descriptors, or in a network of its own.

use std::process::Command;
use std::{env, fs, thread};

/// Set in that process.
const AGAIN: &str = "RINGCASTER_TEST_AGAIN";

/// Whether this process may have only so many descriptors; else runs the calling scenario in one that may.
pub fn with_descriptors(count: u32) -> bool {
    if is_again() {
        return true;
    }
    run(Command::new("sh"), &format!("ulimit -n {count}"));
    false
}

/// Whether this process is in a network of its own that `setup` has prepared; else runs the calling scenario in one,
/// unless the system lacks what that takes.
pub fn in_own_network(setup: &str) -> bool {
    if is_again() {
        return true;
    }
    let unshared = || {
        let mut command = Command::new("unshare");
        command.args(["-Urn", "sh"]);
        command
    };
    if unshared().args(["-c", setup]).output().is_ok_and(|output| output.status.success()) {
        run(unshared(), setup);
    } else {
        eprintln!("skipped, for this system lacks user namespaces, or what is needed for: {setup}");
    }
    false
}

/// The index of a device that has an IPv6 address.
pub fn device_index(device: &str) -> u32 {
    let addresses = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
    let line = addresses.lines().find(|line| line.split(' ').next_back() == Some(device)).unwrap();
    u32::from_str_radix(line.split(' ').nth(1).unwrap(), 16).unwrap()
}

fn is_again() -> bool {
    env::var_os(AGAIN).is_some()
}

/// Runs the calling scenario by a shell that has done `setup`.
fn run(mut shell: Command, setup: &str) {
    let thread = thread::current();
    let name = thread.name().and_then(|name| name.split_once("::")).unwrap().1;
    let output = shell
        .args(["-c", &format!("{setup} && exec \"$0\" --exact \"$1\" --nocapture")])
        .arg(env::current_exe().unwrap())
        .arg(name)
        .env(AGAIN, "1")
        .output()
        .unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}
