//! Counts the packets of one track of one viewer.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::group::Groups;
use crate::keyframe::{Coding, Watch};
use crate::meter::{Live, Meter, Place, Pulse, Sequence, Tally, record};
use crate::plan::{Conduct, Plan};
use crate::sink::{Depth, Merged};
use crate::stamp::Stamp;

/// What a viewer shares with the others of its thread.
#[derive(Clone)]
pub struct Shared {
    /// What to do.
    pub plan: Rc<Plan>,
    /// When the run began.
    pub began: Instant,
    /// Times of all viewers.
    pub meter: Rc<RefCell<Meter>>,
    /// Counts for those who watch.
    pub live: Arc<Live>,
    /// The clock whose stamps can be compared with ours.
    pub clock: u32,
    /// Groups that are listened to, by whichever thread.
    pub groups: Groups,
}

impl Shared {
    /// Whether what happens is measured: all viewers are there, none leaves yet.
    pub fn is_steady(&self, now: Instant) -> bool {
        (self.began + self.plan.steady()..self.began + self.plan.end()).contains(&now)
    }

    /// When viewers leave.
    pub fn leave(&self) -> Instant {
        self.began + self.plan.leave()
    }
}

/// The counter of a track.
pub struct Counter {
    shared: Shared,
    tally: Rc<RefCell<Tally>>,
    conduct: Conduct,
    asked: Instant,
    sequence: Sequence,
    /// None for tracks whose rhythm is not measured.
    pulse: Option<Pulse>,
    /// None once the first keyframe has come, or where none is waited for.
    watch: Option<Watch>,
    /// The stamp of the picture that is coming; how many packets may still hold it.
    stamp: Option<Stamp>,
    searches: u8,
}

impl Counter {
    /// Counts from the moment at which PLAY was sent; `coding` is None for a track whose rhythm is not measured.
    pub fn new(
        shared: Shared,
        tally: Rc<RefCell<Tally>>,
        conduct: Conduct,
        asked: Instant,
        coding: Option<Coding>,
    ) -> Counter {
        let pulse = coding.map(|_| Pulse::default());
        let watch = coding.filter(|coding| *coding != Coding::Other).map(Watch::new);
        let sequence = Sequence::default();
        Counter { shared, tally, conduct, asked, sequence, pulse, watch, stamp: None, searches: 0 }
    }

    /// How much of what comes this counter must see.
    pub fn depth(&self) -> Depth {
        if self.watch.is_some() { Depth::Whole } else { self.shared.plan.depth }
    }

    /// Takes merged datagrams of which perhaps only the head was read.
    pub fn take_merged(&mut self, merged: Merged<'_>, now: Instant) {
        let mut offset = 0;
        while offset < merged.size {
            let size = merged.segment.min(merged.size - offset);
            let seen = merged.bytes.get(offset..).unwrap_or_default();
            if seen.len() < HEAD_BYTES && size > seen.len() {
                break;
            }
            let seen = &seen[..size.min(seen.len())];
            self.take(seen, size, now);
            offset += size;
        }
        let unseen = (merged.size - offset).div_ceil(merged.segment);
        if unseen > 0 {
            self.sequence.skip(unseen as u16);
            self.count(unseen as u64, (merged.size - offset) as u64);
            // Their marker will not be seen: the picture has come as far as can be told.
            self.arrive(now);
        }
    }

    /// Takes a packet of `size` bytes, of which the first ones are there.
    pub fn take(&mut self, packet: &[u8], size: usize, now: Instant) {
        self.count(1, size as u64);
        let Some(head) = packet.first_chunk::<HEAD_BYTES>() else { return };
        let place = {
            let mut tally = self.tally.borrow_mut();
            if tally.first_packet.is_none() {
                let time = now.saturating_duration_since(self.asked);
                tally.first_packet = Some(time);
                record(&mut self.shared.meter.borrow_mut().first_packets, time);
            }
            self.sequence.take(head, &mut tally)
        };
        if self.pulse.is_none() {
            return;
        }
        if self.watch.as_mut().is_some_and(|watch| watch.take(packet, place)) {
            self.watch = None;
            let time = now.saturating_duration_since(self.asked);
            self.tally.borrow_mut().first_keyframe = Some(time);
            record(&mut self.shared.meter.borrow_mut().first_keyframes, time);
        }
        if let Place::Begins(_) = place {
            self.begin(now);
        }
        if self.searches > 0 && place != Place::Late {
            self.search(packet);
        }
        if head[1] & 0x80 != 0 {
            self.arrive(now);
        }
    }

    fn count(&self, packets: u64, bytes: u64) {
        let mut tally = self.tally.borrow_mut();
        tally.packets += packets;
        tally.bytes += bytes;
        if matches!(self.conduct, Conduct::Reads | Conduct::Bursts) {
            Live::count(&self.shared.live.bytes, bytes);
        }
    }

    /// A picture begins.
    fn begin(&mut self, now: Instant) {
        self.stamp = None;
        self.searches = STAMPED_PACKETS_MAX;
        let gap = self.pulse.as_mut().and_then(|pulse| pulse.beat(now));
        if let Some(gap) = gap.filter(|_| self.is_measured(now)) {
            record(&mut self.shared.meter.borrow_mut().gaps, gap);
        }
    }

    fn search(&mut self, packet: &[u8]) {
        self.searches -= 1;
        let Some(stamp) = Stamp::find(packet).filter(|stamp| stamp.clock == self.shared.clock) else {
            return;
        };
        self.searches = 0;
        self.stamp = Some(stamp);
        let mut tally = self.tally.borrow_mut();
        tally.pictures += 1;
        let first = tally.numbers.map_or(stamp.picture, |(first, _)| first);
        tally.numbers = Some((first, stamp.picture));
    }

    /// The picture that is coming has come. A stamp of before PLAY is one from the server's past, sent so that the
    /// viewer sees a picture at once: it says nothing about the way.
    fn arrive(&mut self, now: Instant) {
        let Some(stamp) = self.stamp.take() else { return };
        let latency = clock::since_ns(stamp.sent_ns);
        if !self.is_measured(now) || latency > now.saturating_duration_since(self.asked) {
            return;
        }
        let mut meter = self.shared.meter.borrow_mut();
        let latencies = if stamp.is_keyframe { &mut meter.keyframe_latencies } else { &mut meter.latencies };
        record(latencies, latency.max(Duration::from_micros(1)));
    }

    fn is_measured(&self, now: Instant) -> bool {
        self.conduct == Conduct::Reads && self.shared.is_steady(now)
    }
}

/// RFC 3550 section 5.1.
const HEAD_BYTES: usize = 12;

/// Delimiter, parameter sets and stamp may have a packet each.
const STAMPED_PACKETS_MAX: u8 = 4;

#[cfg(test)]
mod tests {
    use proto::rtp::header::Header;

    use super::*;

    fn shared() -> Shared {
        let plan = Plan { duration: Duration::from_secs(10), ..Plan::idle() };
        let began = Instant::now() - plan.steady() - Duration::from_millis(100);
        Shared {
            plan: Rc::new(plan),
            began,
            meter: Rc::default(),
            live: Arc::default(),
            groups: Groups::default(),
            clock: clock::identity(),
        }
    }

    fn train(sequence: u16, timestamp: u32, stamp: Stamp) -> Vec<u8> {
        let packet = |index: u16, payload: &[u8]| {
            let header = Header {
                marker: index == 2,
                payload_type: 96,
                sequence: sequence.wrapping_add(index),
                timestamp,
                ssrc: 1,
            };
            [&header.to_bytes()[..], payload].concat()
        };
        [packet(0, &stamp.to_unit(1_388)), packet(1, &[1; 1_388]), packet(2, &[2; 100])].concat()
    }

    #[test]
    fn heads_of_merged_datagrams_count_as_the_whole_does() {
        for seen in [268, usize::MAX] {
            let (shared, tally) = (shared(), Rc::new(RefCell::new(Tally::default())));
            let asked = shared.began;
            let mut counter =
                Counter::new(shared.clone(), tally.clone(), Conduct::Reads, asked, Some(Coding::Other));
            for number in 0..3u16 {
                let stamp = Stamp {
                    clock: shared.clock,
                    sent_ns: clock::now_ns(),
                    picture: u32::from(number),
                    is_keyframe: number == 1,
                };
                let bytes = train(65_530u16.wrapping_add(3 * number), u32::from(number), stamp);
                let (bytes, size) = (&bytes[..bytes.len().min(seen)], bytes.len());
                counter.take_merged(Merged { bytes, size, segment: 1_400 }, Instant::now());
            }
            let tally = tally.borrow();
            assert_eq!((tally.packets, tally.bytes, tally.missing), (9, 3 * 2_912, 0), "{seen} bytes seen");
            assert_eq!((tally.pictures, tally.numbers), (3, Some((0, 2))));
            let meter = shared.meter.borrow();
            assert_eq!((meter.latencies.len(), meter.keyframe_latencies.len(), meter.gaps.len()), (2, 1, 2));
        }
    }

    #[test]
    fn merged_datagrams_of_any_shape_are_counted_once() {
        for (size, segment) in [(1, 1), (11, 11), (12, 5), (300, 100), (4_000, 1_400), (268, 268)] {
            let tally = Rc::new(RefCell::new(Tally::default()));
            let asked = Instant::now();
            let mut counter = Counter::new(shared(), tally.clone(), Conduct::Reads, asked, None);
            let bytes = vec![0x80; size.min(268)];
            counter.take_merged(Merged { bytes: &bytes, size, segment }, asked);
            let tally = tally.borrow();
            assert_eq!((tally.packets, tally.bytes), (size.div_ceil(segment) as u64, size as u64));
        }
    }
}
