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
mod frame;
mod loops;
mod measure;
mod network;
mod runtimes;
mod sinks;
mod sys;

use std::io;
use std::rc::Rc;

use crate::frame::Frame;
use crate::measure::{Clock, Series};
use crate::sinks::{TcpSinks, UdpSinks};

/// Viewers of one frame.
const VIEWERS: [usize; 2] = [100, 1000];

/// Frames to a viewer in one round, times viewers: as many sends are measured at once.
const SENDS_A_ROUND: usize = 2000;

/// One way to send a frame to all viewers.
trait Variant {
    /// Short name, as in the group.
    fn name(&self) -> &'static str;

    /// Sends one frame to every viewer and returns when the kernel has all of it.
    fn send(&mut self, frame: &Frame) -> io::Result<()>;
}

/// How a variant is made for some viewers.
struct Maker<V: ?Sized> {
    name: &'static str,
    make: fn(&V) -> io::Result<Box<dyn Variant>>,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let network = network::isolate();
    sys::raise_descriptor_limit();
    println!("{}", measure::machine());
    println!("{network}");
    let frame = Frame::new();
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
            entries.push(Entry { name, variant, drain, series: Series::default() });
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
            entries.push(Entry { name, variant, drain, series: Series::default() });
        }
    }
    compare(arguments, frame, viewers, entries, &["send", "uring-bare"])
}

/// A variant in one comparison.
struct Entry<'a> {
    name: String,
    variant: Box<dyn Variant>,
    drain: Box<dyn Fn() -> io::Result<()> + 'a>,
    series: Series,
}

/// Measures all variants in turns and prints what a send to one viewer costs, and how that stands to the cheapest of
/// `base`.
fn compare(
    arguments: &Arguments,
    frame: &Frame,
    viewers: usize,
    mut entries: Vec<Entry>,
    base: &[&str],
) -> io::Result<()> {
    if arguments.lists {
        entries.iter().for_each(|entry| println!("{}: benchmark", entry.name));
        return Ok(());
    }
    let clock = Clock::new();
    let frames = SENDS_A_ROUND.div_ceil(viewers);
    for round in 0..=arguments.rounds {
        let count = entries.len().max(1);
        entries.rotate_left(1 % count);
        for entry in &mut entries {
            let mut span = clock.span();
            for _ in 0..frames {
                span.start();
                let sent = entry.variant.send(frame);
                span.stop();
                sent.map_err(|error| named(&entry.name, &error))?;
                (entry.drain)().map_err(|error| named(&entry.name, &error))?;
            }
            // The first round warms caches and windows.
            if round > 0 {
                entry.series.push(span.finish(), frames * viewers);
            }
        }
    }
    if !entries.is_empty() {
        report(entries, base);
    }
    Ok(())
}

fn report(mut entries: Vec<Entry>, base: &[&str]) {
    let is_base = |entry: &Entry| base.contains(&entry.variant.name());
    let cheapest = entries.iter().filter(|entry| is_base(entry)).map(|entry| entry.series.median());
    let cheapest = cheapest.fold(f64::NAN, f64::min);
    entries.sort_by(|a, b| a.series.median().total_cmp(&b.series.median()));
    println!("\n{:<30} {:>9} {:>19} {:>9} {:>12}", "", "us a send", "quartiles", "x base", "allocations");
    for entry in entries {
        let (low, median, high) = entry.series.quartiles();
        let (ratio, allocations) = (median / cheapest, entry.series.allocations());
        println!("{:<30} {median:9.3} {low:9.3} {high:9.3} {ratio:9.2} {allocations:12.3}", entry.name);
    }
}

fn named(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

/// The command line, as `cargo bench` passes it on.
struct Arguments {
    rounds: usize,
    lists: bool,
    filters: Vec<String>,
}

impl Arguments {
    fn parse() -> Arguments {
        let mut arguments = Arguments { rounds: 25, lists: false, filters: Vec::new() };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--rounds" => {
                    let rounds = words.next().and_then(|count| count.parse().ok());
                    arguments.rounds = rounds.unwrap_or(arguments.rounds);
                }
                "--list" => arguments.lists = true,
                // What cargo itself passes.
                word if word.starts_with("--") => {}
                word => arguments.filters.push(word.to_owned()),
            }
        }
        arguments
    }

    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}
