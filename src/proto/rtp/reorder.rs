//! Packets that came by datagrams, put back in the order of their sequence numbers (RFC 3550 appendix A.1).
//!
//! A packet in its place passes at once and is never copied. One that is early waits for those before it: at most
//! [`PATIENCE`] and at most [`HELD_MAX`] packets, then what is missing counts as lost.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::time::Time;

/// Packets that wait; one more ends the waiting for what is missing.
pub const HELD_MAX: usize = 64;

/// How long a packet that is early waits for those before it.
pub const PATIENCE: Duration = Duration::from_millis(60);

/// A jump of sequence numbers that is a new beginning and neither loss nor disorder (MAX_DROPOUT of RFC 3550
/// appendix A.1).
const JUMP_MIN: i16 = 3_000;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is next: take it, then what [`Reorder::poll`] gives.
    Next,
    /// It is early: [`Reorder::hold`] it.
    Early,
    /// It came before, or what followed it was taken without it.
    Late,
}

/// The packets of one synchronization source.
#[derive(Debug, Default)]
pub struct Reorder {
    /// Sequence number of the next packet, counted on beyond 16 bits; None before the first.
    next: Option<u64>,
    held: BTreeMap<u64, (Time, Bytes)>,
}

impl Reorder {
    /// Nothing came yet: the first packet is in its place, whatever its number.
    pub fn new() -> Reorder {
        Reorder::default()
    }

    /// Finds the place of a packet. One that is [`Place::Next`] counts as taken.
    pub fn place(&mut self, sequence: u16) -> Place {
        let Some(next) = self.next else {
            // Room below, so that what is late has a number, too.
            self.next = Some((1 << 32) + u64::from(sequence) + 1);
            return Place::Next;
        };
        let ahead = sequence.wrapping_sub(next as u16) as i16;
        match ahead {
            0 => {
                self.next = Some(next + 1);
                Place::Next
            }
            _ if ahead.unsigned_abs() >= JUMP_MIN.unsigned_abs() => {
                self.held.clear();
                self.next = None;
                self.place(sequence)
            }
            ahead if ahead < 0 => Place::Late,
            ahead if self.held.contains_key(&(next + ahead as u64)) => Place::Late,
            _ => Place::Early,
        }
    }

    /// Keeps a packet that is early, which came at `now`.
    pub fn hold(&mut self, now: Time, sequence: u16, packet: Bytes) {
        let Some(next) = self.next else { return };
        let ahead = sequence.wrapping_sub(next as u16);
        self.held.insert(next + u64::from(ahead), (now, packet));
    }

    /// The next packet that no longer waits.
    pub fn poll(&mut self, now: Time) -> Option<Bytes> {
        let next = self.next?;
        let first = self.held.first_entry()?;
        let is_next = *first.key() == next;
        let is_due = self.held.len() > HELD_MAX || self.deadline().is_some_and(|at| at <= now);
        if !is_next && !is_due {
            return None;
        }
        let (number, (_, packet)) = self.held.pop_first()?;
        self.next = Some(number + 1);
        Some(packet)
    }

    /// When [`Reorder::poll`] gives up waiting for what is missing; None while nothing waits.
    pub fn deadline(&self) -> Option<Time> {
        self.held.values().map(|(came, _)| *came + PATIENCE).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(sequence: u16) -> Bytes {
        Bytes::copy_from_slice(&sequence.to_be_bytes())
    }

    /// What comes out, in order, when packets come at these times.
    fn taken(packets: &[(u64, u16)], until_ms: u64) -> Vec<u16> {
        let mut reorder = Reorder::new();
        let mut out = Vec::new();
        let poll = |reorder: &mut Reorder, out: &mut Vec<u16>, now| {
            while let Some(packet) = reorder.poll(now) {
                out.push(u16::from_be_bytes([packet[0], packet[1]]));
            }
        };
        for &(at, sequence) in packets {
            let now = Time::from_millis(at);
            poll(&mut reorder, &mut out, now);
            match reorder.place(sequence) {
                Place::Next => out.push(sequence),
                Place::Early => reorder.hold(now, sequence, bytes(sequence)),
                Place::Late => {}
            }
            poll(&mut reorder, &mut out, now);
        }
        poll(&mut reorder, &mut out, Time::from_millis(until_ms));
        out
    }

    #[test]
    fn packets_out_of_order_are_put_right_also_across_the_wrap() {
        let packets = [(0, 65_533), (1, 65_535), (2, 65_534), (3, 1), (4, 0), (5, 0), (6, 2)];
        assert_eq!(taken(&packets, 6), [65_533, 65_534, 65_535, 0, 1, 2]);
    }

    #[test]
    fn what_does_not_come_is_waited_for_only_so_long() {
        assert_eq!(taken(&[(0, 10), (1, 12), (2, 13)], 60), [10]);
        assert_eq!(taken(&[(0, 10), (1, 12), (2, 13)], 61), [10, 12, 13]);
        assert_eq!(taken(&[(0, 10), (1, 12), (70, 11)], 70), [10, 12], "too late by then");
    }

    #[test]
    fn more_than_the_bound_does_not_wait() {
        let mut packets = vec![(0, 10)];
        packets.extend((12..12 + HELD_MAX as u16 + 1).map(|sequence| (1, sequence)));
        assert_eq!(taken(&packets, 1).len(), HELD_MAX + 2);
    }

    #[test]
    fn a_jump_is_a_new_beginning() {
        assert_eq!(taken(&[(0, 10), (1, 12), (2, 20_000), (3, 20_001)], 3), [10, 20_000, 20_001]);
    }

    proptest! {
        #[test]
        fn any_disorder_within_the_bound_is_put_right(
            start: u16, delays in prop::collection::vec(0usize..HELD_MAX / 2, 200),
        ) {
            // The first packet stays: before it there is nothing to wait for.
            let mut order: Vec<usize> = (0..200).collect();
            order[1..].sort_by_key(|index| index + delays[*index]);
            let numbers = |order: &[usize]| -> Vec<u16> {
                order.iter().map(|index| start.wrapping_add(*index as u16)).collect()
            };
            let packets: Vec<_> = numbers(&order).into_iter().map(|sequence| (0, sequence)).collect();
            order.sort_unstable();
            prop_assert_eq!(taken(&packets, 0), numbers(&order));
        }

        #[test]
        fn any_numbers_are_survived_within_bounds(numbers: Vec<u16>) {
            let mut reorder = Reorder::new();
            for (index, sequence) in numbers.into_iter().enumerate() {
                let now = Time::from_millis(index as u64);
                if reorder.place(sequence) == Place::Early {
                    reorder.hold(now, sequence, bytes(sequence));
                }
                while reorder.poll(now).is_some() {}
                prop_assert!(reorder.held.len() <= HELD_MAX);
            }
        }
    }
}
