//! One direction of a connection: bytes on their way, bytes that have arrived, and a bound on both.

use std::collections::VecDeque;

use bytes::Bytes;
use proto::time::Time;

/// Bytes that arrive in order and wait until they are read. Whoever writes is held up when nobody reads: the bound
/// stands for the send buffer of one kernel and the receive buffer of the other.
#[derive(Debug)]
pub(super) struct Pipe {
    flying: VecDeque<(Time, Bytes)>,
    arrived: VecDeque<Bytes>,
    held_bytes: usize,
    bound_bytes: usize,
    last_arrival: Time,
    finished: Option<Time>,
}

impl Pipe {
    pub(super) fn new(bound_bytes: usize) -> Pipe {
        Pipe {
            flying: VecDeque::new(),
            arrived: VecDeque::new(),
            held_bytes: 0,
            bound_bytes,
            last_arrival: Time::ZERO,
            finished: None,
        }
    }

    /// Bytes that may be written.
    pub(super) fn room(&self) -> usize {
        if self.finished.is_some() { 0 } else { self.bound_bytes.saturating_sub(self.held_bytes) }
    }

    /// Writes what there is room for, to arrive at `at` or behind what arrives later; returns the arrival.
    pub(super) fn write(&mut self, at: Time, bytes: Bytes) -> Time {
        debug_assert!(bytes.len() <= self.room(), "the writer keeps to the room");
        let at = at.max(self.last_arrival);
        self.last_arrival = at;
        self.held_bytes += bytes.len();
        self.flying.push_back((at, bytes));
        at
    }

    /// Ends the direction behind everything written; returns when the end arrives.
    pub(super) fn finish(&mut self, at: Time) -> Time {
        let at = at.max(self.last_arrival);
        self.last_arrival = at;
        self.finished.get_or_insert(at);
        at
    }

    /// Lands what has arrived by now.
    pub(super) fn land(&mut self, now: Time) {
        while self.flying.front().is_some_and(|(at, _)| *at <= now) {
            self.arrived.extend(self.flying.pop_front().map(|(_, bytes)| bytes));
        }
    }

    /// Reads at most `size_max` bytes; None when nothing waits.
    pub(super) fn read(&mut self, size_max: usize) -> Option<Bytes> {
        let first = self.arrived.front_mut()?;
        let read = if first.len() > size_max {
            first.split_to(size_max)
        } else {
            self.arrived.pop_front().unwrap_or_default()
        };
        self.held_bytes -= read.len();
        Some(read)
    }

    /// Whether bytes wait to be read.
    pub(super) fn is_readable(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Whether everything was read and the end has arrived.
    pub(super) fn has_ended(&self, now: Time) -> bool {
        self.arrived.is_empty() && self.flying.is_empty() && self.finished.is_some_and(|at| at <= now)
    }
}
