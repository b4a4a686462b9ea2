//! A live stream's recent past on one shard: viewers are cursors in it, so a slow one costs no memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proto::rtp::batch::Batch;
use proto::time::Time;

/// How far back a stream's past reaches.
#[derive(Clone, Copy, Debug)]
pub struct WindowLimits {
    /// Oldest keyframe that a viewer begins with.
    pub age: Duration,
    /// Memory of all batches.
    pub bytes: usize,
    /// How long those who are behind find what they have not taken, where the keyframe before it is too old.
    pub lag: Duration,
}

impl Default for WindowLimits {
    fn default() -> WindowLimits {
        WindowLimits { age: Duration::from_secs(15), bytes: 16 * 1024 * 1024, lag: BEHIND }
    }
}

/// What lies before the keyframe serves only those who are a little behind, or have begun just before it came: they
/// find it for so long.
const BEHIND: Duration = Duration::from_secs(1);

/// Bytes that a batch holds: its packets and their interleaved form, which may be rendered later.
pub(super) fn memory_bytes(batch: &Batch) -> usize {
    2 * batch.rtp().len() + size_of::<Batch>()
}

#[derive(Debug)]
struct Entry {
    arrival: Time,
    batch: Arc<Batch>,
    bytes: usize,
}

/// Batches in the order they were published, each under an index that never repeats.
#[derive(Debug)]
pub struct Window {
    batches: VecDeque<Entry>,
    first: u64,
    keyframe: Option<u64>,
    /// Indices of all keyframes behind the oldest batch.
    keyframes: VecDeque<u64>,
    bytes: usize,
    limits: WindowLimits,
}

impl Window {
    /// An empty window.
    pub fn new(limits: WindowLimits) -> Window {
        Window {
            batches: VecDeque::new(),
            first: 0,
            keyframe: None,
            keyframes: VecDeque::new(),
            bytes: 0,
            limits,
        }
    }

    /// Adds a batch that came at `now`. Beyond the limits even the last keyframe goes, and nobody begins before the
    /// next.
    pub fn push(&mut self, now: Time, batch: Arc<Batch>, is_leading_keyframe: bool) {
        if is_leading_keyframe {
            self.keyframe = Some(self.end());
            self.keyframes.push_back(self.end());
        }
        let bytes = memory_bytes(&batch);
        self.bytes += bytes;
        self.batches.push_back(Entry { arrival: now, batch, bytes });
        self.shrink(now);
    }

    /// The batch at an index; None before the tail and beyond the head.
    pub fn get(&self, index: u64) -> Option<&Arc<Batch>> {
        Some(&self.entry(index)?.batch)
    }

    /// When the batch at an index came.
    pub fn arrival(&self, index: u64) -> Option<Time> {
        Some(self.entry(index)?.arrival)
    }

    /// Index of the oldest batch.
    pub fn start(&self) -> u64 {
        self.first
    }

    /// Index of the batch that comes next.
    pub fn end(&self) -> u64 {
        self.first + self.batches.len() as u64
    }

    /// Index of the latest batch that decoding can begin with; None when it has left the window.
    pub fn keyframe(&self) -> Option<u64> {
        self.keyframe
    }

    /// Where a viewer begins that was last at `paused`, or nowhere yet: at the latest keyframe, but never behind what
    /// it has seen already.
    pub fn begin_or_resume(&self, paused: Option<u64>) -> Option<u64> {
        match paused {
            Some(paused)
                if paused >= self.first && self.keyframe.is_none_or(|keyframe| keyframe < paused) =>
            {
                Some(paused)
            }
            _ => self.keyframe,
        }
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        self.batches.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn shrink(&mut self, now: Time) {
        let begun = self.keyframe.and_then(|keyframe| self.arrival(keyframe));
        if begun.is_some_and(|arrival| now.since(arrival) > self.limits.age) {
            self.keyframe = None;
        }
        let lag = BEHIND.max(self.limits.lag);
        while let Some(&Entry { arrival, bytes, .. }) = self.batches.front() {
            while self.keyframes.front().is_some_and(|keyframe| *keyframe <= self.first) {
                self.keyframes.pop_front();
            }
            let is_over = self.bytes > self.limits.bytes;
            let is_spent = match self.keyframes.front().and_then(|next| self.arrival(*next)) {
                Some(next) if self.keyframe.is_some() => now.since(next) > BEHIND,
                _ => self.keyframe.is_none() && now.since(arrival) > lag,
            };
            if !(is_over || is_spent) || self.batches.len() == 1 {
                return;
            }
            self.bytes -= bytes;
            self.batches.pop_front();
            self.first += 1;
            if self.keyframe.is_some_and(|keyframe| keyframe < self.first) {
                self.keyframe = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::rtp::batch::{BatchWriter, Meta, Numbering};
    use proto::time::MediaTime;

    fn batch(size: usize) -> Arc<Batch> {
        let mut writer =
            BatchWriter::new(Numbering { ssrc: 1, payload_type: 96, sequence: 0, timestamp: 0 }, size);
        writer.packet(true, &[&vec![0; size]]);
        let meta = Meta { track: 0, keyframe: false, dts: MediaTime::ZERO, pts: MediaTime::ZERO };
        Arc::new(writer.finish(meta).unwrap())
    }

    #[test]
    fn the_window_reaches_back_to_the_keyframe() {
        let mut window = Window::new(WindowLimits::default());
        for index in 0..100 {
            window.push(Time::from_millis(index * 100), batch(100), index == 20 || index == 50);
        }
        assert_eq!((window.keyframe(), window.start(), window.end()), (Some(50), 50, 100));
    }

    #[test]
    fn a_group_of_pictures_stays_for_a_second_behind_the_next_keyframe() {
        let mut window = Window::new(WindowLimits::default());
        let mut start = |index: u64| {
            window.push(Time::from_millis(index * 100), batch(100), index.is_multiple_of(50));
            window.start()
        };
        let starts: Vec<_> = (0..=100).map(&mut start).collect();
        assert_eq!((starts[49], starts[60], starts[61], starts[100]), (0, 0, 50, 50));
    }

    #[test]
    fn keyframes_that_follow_closely_leave_no_more_than_a_second() {
        let mut window = Window::new(WindowLimits::default());
        for index in 0..1_000 {
            window.push(Time::from_millis(index * 100), batch(100), index.is_multiple_of(2));
        }
        assert_eq!(window.end() - window.start(), 12);
    }

    #[test]
    fn a_paused_viewer_goes_on_where_it_was_unless_a_keyframe_has_come() {
        let mut window = Window::new(WindowLimits::default());
        for index in 0..10 {
            window.push(Time::from_millis(index * 100), batch(100), index == 2);
        }
        assert_eq!(window.begin_or_resume(None), Some(2));
        assert_eq!(window.begin_or_resume(Some(1)), Some(2));
        assert_eq!(window.begin_or_resume(Some(7)), Some(7));
        assert_eq!(window.begin_or_resume(Some(10)), Some(10));
    }

    #[test]
    fn a_keyframe_that_is_too_old_is_no_start_and_those_behind_go_on() {
        let limits =
            WindowLimits { age: Duration::from_secs(1), lag: Duration::from_secs(2), ..Default::default() };
        let mut window = Window::new(limits);
        let mut push = |index: u64| {
            window.push(Time::from_millis(index * 100), batch(100), index.is_multiple_of(50));
            (window.keyframe(), window.start())
        };
        let seen: Vec<_> = (0..=60).map(&mut push).collect();
        assert_eq!(seen[10], (Some(0), 0));
        assert_eq!(seen[11], (None, 0));
        assert_eq!(seen[49], (None, 29));
        assert_eq!(seen[60], (Some(50), 29));
    }

    #[test]
    fn bytes_are_bounded_even_without_a_keyframe() {
        let limits = WindowLimits { age: Duration::from_secs(60), bytes: 10_000, ..WindowLimits::default() };
        let mut window = Window::new(limits);
        for index in 0..1_000 {
            window.push(Time::from_millis(index), batch(1_000), index == 0);
        }
        assert_eq!(window.keyframe(), None);
        assert!(window.end() - window.start() < 10);
    }
}
