//! What was tried of the ring's send path: the decisions that the server stands on, each beside what it turned down.
//!
//! Measured as `egress` measures; the bare ring sends in all rows. `lo` is loopback with passive viewers, `pit` a device
//! behind which packets are thrown away, so that the sender's half is all there is.
//!
//! `cargo bench --bench tried -- [--rounds N] [--list] [PART OF A NAME]`

mod ring;
mod streams;
mod trains;

use std::io;
use std::rc::Rc;

use ringcaster_benches::compare::{Arguments, Entry, compare};
use ringcaster_benches::frame::Frame;
use ringcaster_benches::network::Abyss;
use ringcaster_benches::sinks::{TcpSinks, UdpSinks};
use ringcaster_benches::{measure, network, sys};

use crate::trains::{Trains, Way};

/// Viewers of one frame.
const VIEWERS: [usize; 2] = [100, 1000];

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let place = network::isolate();
    network::widen_streams();
    sys::raise_descriptor_limit();
    println!("{}", measure::machine());
    println!("{place}");
    let abyss = Abyss::open();
    if let Err(error) = &abyss {
        println!("without the rows of pit/: {error}");
    }
    let abyss = abyss.ok();
    for viewers in VIEWERS {
        let sinks = UdpSinks::new(viewers)?;
        for (name, ways, frame) in [
            ("trains", trains::WAYS, Frame::usual()),
            ("loans", trains::LOANS, Frame::usual()),
            ("large-loans", trains::LOANS, Frame::large()),
        ] {
            compare_seen(&arguments, &frame, name, ways, &sinks)?;
            if let Some(abyss) = &abyss {
                compare_lost(&arguments, &frame, name, ways, abyss, viewers)?;
            }
        }
    }
    compare_streams(&arguments, "loans", &Frame::usual())?;
    compare_streams(&arguments, "large-loans", &Frame::large())
}

/// To viewers on loopback.
fn compare_seen(
    arguments: &Arguments,
    frame: &Frame,
    group: &str,
    ways: &[Way],
    sinks: &UdpSinks,
) -> io::Result<()> {
    let viewers = sinks.addresses();
    let mut entries = Vec::new();
    for way in ways {
        let name = format!("tried/{group}/lo/{}/{}", viewers.len(), way.name);
        if arguments.wants(&name) {
            let trains = Box::new(Trains::new(*way, viewers)?);
            entries.push(Entry::new(name, trains, Box::new(|| sinks.drain(frame.rtp().len()))));
        }
    }
    compare(arguments, frame, viewers.len(), entries, &["base"])
}

/// To nobody.
fn compare_lost(
    arguments: &Arguments,
    frame: &Frame,
    group: &str,
    ways: &[Way],
    abyss: &Abyss,
    viewers: usize,
) -> io::Result<()> {
    let addresses = abyss.addresses(viewers);
    let mut entries = Vec::new();
    for way in ways {
        let name = format!("tried/{group}/pit/{viewers}/{}", way.name);
        if arguments.wants(&name) {
            let trains = Box::new(Trains::new(*way, &addresses)?);
            entries.push(Entry::new(name, trains, Box::new(|| abyss.drain(viewers))));
        }
    }
    compare(arguments, frame, viewers, entries, &["base"])
}

fn compare_streams(arguments: &Arguments, group: &str, frame: &Frame) -> io::Result<()> {
    let viewers = VIEWERS[1];
    let mut entries = Vec::new();
    for way in streams::WAYS {
        let name = format!("tried/{group}/tcp/{viewers}/{}", way.name);
        if arguments.wants(&name) {
            let sinks = Rc::new(TcpSinks::new(viewers));
            let streams = Box::new(streams::Streams::new(*way, &sinks)?);
            let drain = Box::new(move || sinks.drain(frame.interleaved().len()));
            entries.push(Entry::new(name, streams, drain));
        }
    }
    compare(arguments, frame, viewers, entries, &["base"])
}
