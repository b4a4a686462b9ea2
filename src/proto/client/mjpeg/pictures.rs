//! JPEG files in a stream of bytes, found by their own markers (ITU-T T.81 annex B).
//!
//! ```text
//! … ff d8 │ ff e0 00 10 (14 bytes) … ff c0 … ff da … │ scan ff 00 scan ff d0 scan │ ff d9 …
//!  outside │ segments, each with its length           │ scan                       │ outside
//! ```
//!
//! What a segment holds is stepped over, so that the end of a preview in it is not taken for that of the picture.

use bytes::{BufMut, Bytes, BytesMut};
use memchr::{memchr, memmem};

use super::error::MjpegError;

/// Finds the pictures of one stream.
#[derive(Debug)]
pub(super) struct Pictures {
    /// The boundary without dashes; empty when there is none. It only tells where a picture ends that has no end marker.
    boundary: String,
    place: Place,
    /// The picture from its start marker on, as far as it has come.
    picture: BytesMut,
    /// Whether it has said its width and height.
    has_frame: bool,
    /// Where in it its first scan begins.
    scan: Option<usize>,
    /// Since the last picture, outside of any.
    skipped_bytes: usize,
    /// What the next picture is expected to need.
    expected_bytes: usize,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a picture, behind so many bytes of `ff d8 ff`.
    Outside(usize),
    /// Before the `ff` of a segment.
    Between,
    /// Behind it.
    Marker,
    /// Behind that marker.
    Length(u8),
    /// Behind that marker and the first byte of its length.
    LengthEnd(u8, u8),
    /// In the segment of that marker, with so many bytes to come.
    Segment(u8, usize),
    /// In entropy-coded data.
    Scan,
    /// Behind an `ff` in it.
    ScanMarker,
}

/// What the bytes were that a step took.
enum Step {
    /// Not of a picture.
    Skipped,
    /// Of the picture, or the beginning of one.
    Taken,
    /// Of the picture, and its last.
    Ended,
    /// The start marker of another picture, in the midst of this one.
    Restarted,
}

impl Pictures {
    pub(super) fn new() -> Pictures {
        Pictures {
            boundary: String::new(),
            place: Place::Outside(0),
            picture: BytesMut::new(),
            has_frame: false,
            scan: None,
            skipped_bytes: 0,
            expected_bytes: EXPECTED_BYTES_MIN,
        }
    }

    /// Begins with another body, whose parts have that boundary.
    pub(super) fn begin(&mut self, boundary: String) {
        self.boundary = boundary;
        self.place = Place::Outside(0);
        self.skipped_bytes = 0;
    }

    /// Takes bytes from the front up to the end of the next picture, or all of them.
    pub(super) fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Bytes>, MjpegError> {
        while !bytes.is_empty() {
            let (step, count) = self.step(bytes);
            let (taken, rest) = bytes.split_at(count);
            *bytes = rest;
            let found = match step {
                Step::Skipped => {
                    self.skip(count)?;
                    None
                }
                Step::Taken => {
                    self.append(taken)?;
                    None
                }
                Step::Ended => {
                    self.append(taken)?;
                    self.take()
                }
                Step::Restarted => {
                    let cut = self.take_cut_at_boundary();
                    self.place = Place::Outside(2);
                    cut
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The body is over, all of which has come: the picture that has no end marker, if there is one.
    pub(super) fn finish(&mut self) -> Option<Bytes> {
        if !matches!(self.place, Place::Scan | Place::ScanMarker) {
            return None;
        }
        self.take_cut(self.picture.len())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.picture.capacity()
    }

    /// Goes on from one place to the next, over at least one byte.
    fn step(&mut self, bytes: &[u8]) -> (Step, usize) {
        let byte = bytes[0];
        match self.place {
            Place::Outside(0) => match memchr(0xff, bytes) {
                Some(at) => self.go(Place::Outside(1), Step::Skipped, at + 1),
                None => (Step::Skipped, bytes.len()),
            },
            Place::Outside(seen) => self.step_outside(seen, byte),
            Place::Between => {
                // What stands where no segment begins is stepped over, as decoders do.
                let count = memchr(0xff, bytes).map_or(bytes.len(), |at| at + 1);
                let is_found = bytes[count - 1] == 0xff;
                self.go(if is_found { Place::Marker } else { Place::Between }, Step::Taken, count)
            }
            Place::Marker => self.step_marker(byte),
            Place::Length(marker) => self.go(Place::LengthEnd(marker, byte), Step::Taken, 1),
            Place::LengthEnd(marker, high) => {
                // The length counts itself.
                let left = usize::from(u16::from_be_bytes([high, byte])).saturating_sub(2);
                if left == 0 {
                    self.end_segment(marker, 1);
                } else {
                    self.place = Place::Segment(marker, left);
                }
                (Step::Taken, 1)
            }
            Place::Segment(marker, left) => {
                let count = left.min(bytes.len());
                if count == left {
                    self.end_segment(marker, count);
                } else {
                    self.place = Place::Segment(marker, left - count);
                }
                (Step::Taken, count)
            }
            Place::Scan => match memchr(0xff, bytes) {
                Some(at) => self.go(Place::ScanMarker, Step::Taken, at + 1),
                None => (Step::Taken, bytes.len()),
            },
            Place::ScanMarker => self.step_scan_marker(byte),
        }
    }

    fn step_outside(&mut self, seen: usize, byte: u8) -> (Step, usize) {
        match (seen, byte) {
            (2, 0xff) => {
                self.picture.clear();
                self.has_frame = false;
                self.scan = None;
                if self.picture.capacity() < self.expected_bytes {
                    self.picture = BytesMut::with_capacity(self.expected_bytes);
                }
                self.picture.put_slice(&[0xff, SOI]);
                self.go(Place::Marker, Step::Taken, 1)
            }
            (1, SOI) => self.go(Place::Outside(2), Step::Skipped, 1),
            (1, 0xff) => (Step::Skipped, 1),
            _ => self.go(Place::Outside(0), Step::Skipped, 1),
        }
    }

    fn step_marker(&mut self, byte: u8) -> (Step, usize) {
        match byte {
            0xff => (Step::Taken, 1),
            SOI => (Step::Restarted, 1),
            EOI => self.go(Place::Outside(0), Step::Ended, 1),
            SOF0..=0xfe if !is_restart(byte) => self.go(Place::Length(byte), Step::Taken, 1),
            _ => self.go(Place::Between, Step::Taken, 1),
        }
    }

    fn step_scan_marker(&mut self, byte: u8) -> (Step, usize) {
        match byte {
            0xff => (Step::Taken, 1),
            SOI => (Step::Restarted, 1),
            EOI => self.go(Place::Outside(0), Step::Ended, 1),
            // What may stand between two scans.
            DHT | SOS | DQT | DNL | DRI | COM | APP0..=APP15 => self.go(Place::Length(byte), Step::Taken, 1),
            // A zero, a restart, or damage that decoders cope with.
            _ => self.go(Place::Scan, Step::Taken, 1),
        }
    }

    /// Behind a segment, the last `count` bytes of which are not appended yet.
    fn end_segment(&mut self, marker: u8, count: usize) {
        self.place = Place::Between;
        match marker {
            SOS => {
                self.place = Place::Scan;
                self.scan.get_or_insert(self.picture.len() + count);
            }
            DHT | JPG | DAC => {}
            SOF0..=SOF15 => self.has_frame = true,
            _ => {}
        }
    }

    fn go(&mut self, place: Place, step: Step, count: usize) -> (Step, usize) {
        self.place = place;
        (step, count)
    }

    fn skip(&mut self, count: usize) -> Result<(), MjpegError> {
        self.skipped_bytes += count;
        if self.skipped_bytes > SKIPPED_BYTES_MAX { Err(MjpegError::NoPicture) } else { Ok(()) }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), MjpegError> {
        if self.picture.len() + bytes.len() > PICTURE_BYTES_MAX {
            return Err(MjpegError::PictureTooLarge);
        }
        self.picture.put_slice(bytes);
        Ok(())
    }

    /// The picture as it has come; None when it has no frame or no scan, so that nothing could be seen.
    fn take(&mut self) -> Option<Bytes> {
        if !self.has_frame || self.scan.is_none() {
            return None;
        }
        self.skipped_bytes = 0;
        let bytes = self.picture.len();
        self.expected_bytes = (bytes + bytes / 8).max(EXPECTED_BYTES_MIN);
        // A small picture does not keep the room of a large one.
        if self.picture.capacity() > 2 * self.expected_bytes {
            return Some(Bytes::copy_from_slice(&std::mem::take(&mut self.picture)));
        }
        Some(std::mem::take(&mut self.picture).freeze())
    }

    /// The picture without end marker that ends at the boundary in front of the next one; None without boundary: then
    /// it is cut short, and nobody knows where.
    fn take_cut_at_boundary(&mut self) -> Option<Bytes> {
        let scan = self.scan?;
        let from = scan.max(self.picture.len().saturating_sub(PART_HEAD_BYTES_MAX));
        let at = last_delimiter(&self.picture[from..], self.boundary.as_bytes())?;
        self.take_cut(from + at)
    }

    /// The picture up to there, with the end marker that it lacks.
    fn take_cut(&mut self, end: usize) -> Option<Bytes> {
        self.picture.truncate(end);
        while self.picture.last() == Some(&0xff) {
            self.picture.truncate(self.picture.len() - 1);
        }
        self.place = Place::Outside(0);
        self.scan.filter(|scan| *scan < self.picture.len())?;
        self.picture.put_slice(&[0xff, EOI]);
        self.take()
    }
}

/// Where the line end and the dashes in front of the last boundary begin; None without one. Without a line end there
/// must be two dashes at least, without dashes a line end.
fn last_delimiter(bytes: &[u8], boundary: &[u8]) -> Option<usize> {
    if boundary.is_empty() {
        return None;
    }
    let mut end = bytes.len();
    while let Some(at) = memmem::rfind(&bytes[..end], boundary) {
        let before = &bytes[..at];
        let dashes = before.iter().rev().take_while(|byte| **byte == b'-').count();
        let line = &before[..at - dashes];
        if let Some(line) = line.strip_suffix(b"\n") {
            return Some(line.strip_suffix(b"\r").unwrap_or(line).len());
        }
        if dashes >= 2 {
            return Some(line.len());
        }
        // Others may overlap with this one.
        end = at + boundary.len() - 1;
    }
    None
}

fn is_restart(marker: u8) -> bool {
    (0xd0..=0xd7).contains(&marker)
}

// Markers (ITU-T T.81 table B.1).
const SOF0: u8 = 0xc0;
const DHT: u8 = 0xc4;
const JPG: u8 = 0xc8;
const DAC: u8 = 0xcc;
const SOF15: u8 = 0xcf;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DNL: u8 = 0xdc;
const DRI: u8 = 0xdd;
const APP0: u8 = 0xe0;
const APP15: u8 = 0xef;
const COM: u8 = 0xfe;

/// Of one picture: 4K at the best quality is some 8 MB. The stream fails at the bound.
pub(super) const PICTURE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Between two pictures: heads of parts, and parts with sound or text. The stream fails at the bound.
pub(super) const SKIPPED_BYTES_MAX: usize = 1024 * 1024;

/// How far ahead of a picture the boundary of its part can be.
const PART_HEAD_BYTES_MAX: usize = 4 * 1024;

const EXPECTED_BYTES_MIN: usize = 16 * 1024;
