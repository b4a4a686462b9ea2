//! The frame under way and the frames that are ready.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{DepacketizeError, DepacketizedFrame, FRAME_BYTES_MAX, FRAMES_READY_MAX};

/// Where payload formats put what they read.
#[derive(Default)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
    /// RTP timestamp of the frame under way; None between two frames.
    timestamp: Option<u32>,
    keyframe: bool,
    lost: bool,
    ready: VecDeque<DepacketizedFrame>,
}

impl Assembly {
    /// Begins a frame unless one is under way.
    pub(super) fn start(&mut self, timestamp: u32, lost: bool) {
        self.timestamp.get_or_insert(timestamp);
        self.lost |= lost;
    }

    /// Begins a frame anew with the timestamp of its first fragment.
    pub(super) fn restart(&mut self, timestamp: u32) {
        self.bytes.clear();
        self.timestamp = Some(timestamp);
    }

    /// Whether a frame with another timestamp is under way.
    pub(super) fn is_of_other_time(&self, timestamp: u32) -> bool {
        self.timestamp.is_some_and(|own| own != timestamp)
    }

    /// Adds bytes to the frame under way.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), DepacketizeError> {
        if self.bytes.len() + bytes.len() > FRAME_BYTES_MAX {
            self.bytes = Vec::new();
            self.lost = true;
            return Err(DepacketizeError::FrameTooLarge);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// The frame under way.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes back all but the first `size` bytes.
    pub(super) fn truncate(&mut self, size: usize) {
        self.bytes.truncate(size);
    }

    /// Says that decoding can begin with the frame under way.
    pub(super) fn mark_keyframe(&mut self) {
        self.keyframe = true;
    }

    /// Says that packets of the frame under way, or in front of it, are missing.
    pub(super) fn mark_lost(&mut self) {
        self.lost = true;
    }

    /// Ends the frame under way. A loss stays known until a frame is there to tell it.
    pub(super) fn finish(&mut self) {
        let Some(timestamp) = self.timestamp.take() else { return };
        if self.bytes.is_empty() {
            self.keyframe = false;
            return;
        }
        // The next frame is likely to be no larger than a few times this one.
        let next = Vec::with_capacity(self.bytes.len().min(1 << 16));
        let payload = Bytes::from(std::mem::replace(&mut self.bytes, next));
        let keyframe = std::mem::take(&mut self.keyframe);
        self.push(timestamp, payload, keyframe);
    }

    /// Gives a whole frame of sound.
    pub(super) fn emit(&mut self, timestamp: u32, payload: &[u8]) {
        self.timestamp = None;
        self.push(timestamp, Bytes::copy_from_slice(payload), true);
    }

    fn push(&mut self, timestamp: u32, payload: Bytes, keyframe: bool) {
        let mut lost = std::mem::take(&mut self.lost);
        if self.ready.len() == FRAMES_READY_MAX {
            self.ready.pop_front();
            match self.ready.front_mut() {
                Some(oldest) => oldest.lost = true,
                None => lost = true,
            }
        }
        self.ready.push_back(DepacketizedFrame { timestamp, payload, keyframe, lost });
    }

    pub(super) fn poll(&mut self) -> Option<DepacketizedFrame> {
        self.ready.pop_front()
    }
}
