//! The send path beside its rivals: one frame of 16.6 kB to 100 and to 1,000 viewers over loopback.
//!
//! Every variant sends the same frame to sinks of the same kind. The sinks are passive: they are emptied between two
//! frames, outside the measured span, and every byte is counted, so that no variant can win by losing data. What is
//! measured is the CPU time of the process while a frame is handed over, plus that of ksoftirqd, to which softirq work
//! moves when a long call into the kernel leaves it no room; and the allocations beside it. Variants take turns within each round, the order rotates,
//! and medians are compared within one run only.
//!
//! `cargo bench --bench egress -- [--rounds N] [--list] [PART OF A NAME]`

mod driven;
mod loops;
mod runtimes;

use std::io;
use std::rc::Rc;

use ringcaster_benches::compare::{Arguments, Entry, compare};
use ringcaster_benches::frame::Frame;
use ringcaster_benches::sinks::{TcpSinks, UdpSinks};
use ringcaster_benches::{measure, network, sys};

/// Viewers of one frame.
const VIEWERS: [usize; 2] = [100, 1000];

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let network = network::isolate();
    sys::raise_descriptor_limit();
    println!("{}", measure::machine());
    println!("{network}");
    let frame = Frame::usual();
    for viewers in VIEWERS {
        compare_udp(&arguments, &frame, viewers)?;
        compare_tcp(&arguments, &frame, viewers)?;
    }
    Ok(())
}

fn compare_udp(arguments: &Arguments, frame: &Frame, viewers: usize) -> io::Result<()> {
    let sinks = Rc::new(UdpSinks::new(viewers)?);
    let mut entries = Vec::new();
    for maker in loops::UDP.iter().chain(driven::UDP).chain(runtimes::UDP) {
        let name = format!("egress/udp/{viewers}/{}", maker.name);
        if arguments.wants(&name) {
            let variant = (maker.make)(&sinks)?;
            let sinks = sinks.clone();
            let drain = Box::new(move || sinks.drain(frame.rtp().len()));
            entries.push(Entry::new(name, variant, drain));
        }
    }
    compare(arguments, frame, viewers, entries, &["sendmmsg+gso", "uring-bare+gso"])
}

fn compare_tcp(arguments: &Arguments, frame: &Frame, viewers: usize) -> io::Result<()> {
    let mut entries = Vec::new();
    for maker in loops::TCP.iter().chain(driven::TCP).chain(runtimes::TCP) {
        let name = format!("egress/tcp/{viewers}/{}", maker.name);
        if arguments.wants(&name) {
            let sinks = TcpSinks::new(viewers);
            let variant = (maker.make)(&sinks)?;
            let drain = Box::new(move || sinks.drain(frame.interleaved().len()));
            entries.push(Entry::new(name, variant, drain));
        }
    }
    compare(arguments, frame, viewers, entries, &["send", "uring-bare"])
}
