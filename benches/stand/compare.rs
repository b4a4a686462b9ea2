//! Variants measured in turns within one run, and what comes of it as a table.

use std::io;

use crate::frame::Frame;
use crate::measure::{Clock, Series};

/// Frames to a viewer in one round, times viewers: as many sends are measured at once.
const SENDS_A_ROUND: usize = 2000;

/// One way to send a frame to all viewers.
pub trait Variant {
    /// Short name, as in the group.
    fn name(&self) -> &'static str;

    /// Sends one frame to every viewer and returns when the kernel has all of it.
    fn send(&mut self, frame: &Frame) -> io::Result<()>;

    /// What the kernel said beside it.
    fn remark(&self) -> String {
        String::new()
    }
}

/// How a variant is made for some viewers.
pub struct Maker<V: ?Sized> {
    pub name: &'static str,
    pub make: fn(&V) -> io::Result<Box<dyn Variant>>,
}

/// A variant in one comparison.
pub struct Entry<'a> {
    name: String,
    variant: Box<dyn Variant>,
    drain: Box<dyn Fn() -> io::Result<()> + 'a>,
    series: Series,
}

impl<'a> Entry<'a> {
    /// A variant by its full name; `drain` takes one frame out of every viewer and counts it.
    pub fn new(name: String, variant: Box<dyn Variant>, drain: Box<dyn Fn() -> io::Result<()> + 'a>) -> Self {
        Entry { name, variant, drain, series: Series::default() }
    }
}

/// Measures all variants in turns and prints what a send to one viewer costs, and how that stands to the cheapest of
/// `base`.
pub fn compare(
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
    let clock = Clock::open();
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
    println!("\n{:<42} {:>9} {:>19} {:>9} {:>12}", "", "us a send", "quartiles", "x base", "allocations");
    for entry in entries {
        let (low, median, high) = entry.series.quartiles();
        let (ratio, allocations) = (median / cheapest, entry.series.allocations());
        let (name, remark) = (&entry.name, entry.variant.remark());
        println!("{name:<42} {median:9.3} {low:9.3} {high:9.3} {ratio:9.2} {allocations:12.3} {remark}");
    }
}

fn named(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

/// The command line, as `cargo bench` passes it on.
pub struct Arguments {
    rounds: usize,
    lists: bool,
    filters: Vec<String>,
}

impl Arguments {
    pub fn parse() -> Arguments {
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

    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}
