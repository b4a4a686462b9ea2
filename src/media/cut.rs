//! Packetizes stretches of a file into segments.

use std::sync::Arc;

use bytes::BytesMut;
use proto::frame::Frame;
use proto::rtp::batch::{Batch, Numbering};
use proto::rtp::packetize::Packetizer;
use proto::time::MediaTime;
use smallvec::SmallVec;

use super::library::{FileInfo, MediaError, Wanted};
use super::reader::{Reader, Stretch};
use super::segment::{Canonical, Entry, Position, Segment};

/// One open file with its packetizers.
///
/// Segments that follow each other come out with sequence numbers that run on; a segment elsewhere begins with any.
/// Timestamps depend on the file alone.
pub struct Cutter {
    reader: Reader,
    packetizers: Vec<Packetizer>,
    end: MediaTime,
    info: Arc<FileInfo>,
}

impl Cutter {
    /// A cutter of `info`'s file. `mtu_bytes` is the largest RTP packet; `sequence` is where numbering begins.
    pub fn new(reader: Reader, info: Arc<FileInfo>, mtu_bytes: usize, sequence: u16) -> Cutter {
        let packetizers = (info.tracks.iter().enumerate())
            .map(|(index, track)| {
                let numbering = Numbering {
                    ssrc: info.ssrc[index],
                    payload_type: track.payload_type,
                    sequence,
                    timestamp: info.timestamp_base[index],
                };
                Packetizer::new(track, index as u8, numbering, mtu_bytes)
            })
            .collect();
        Cutter { reader, packetizers, end: MediaTime::ZERO, info }
    }

    /// The file it cuts.
    pub fn info(&self) -> &Arc<FileInfo> {
        &self.info
    }

    /// The position that is read without going elsewhere; None at the end or before the first use.
    pub fn next(&self) -> Option<Position> {
        self.reader.next()
    }

    /// Goes to a wanted place and says which position it is.
    pub fn go_to(&mut self, wanted: Wanted) -> Result<Position, MediaError> {
        let before = self.reader.next();
        let position = match wanted {
            Wanted::Seek(time) => self.reader.seek(time)?,
            Wanted::At(position) => self.reader.go_to(position).map(|()| position)?,
        };
        if before != Some(position) {
            self.end = position.keyframe.max(self.reader.passed());
        }
        Ok(position)
    }

    /// Makes the segment at the cutter's position; None behind the last one.
    pub fn segment(&mut self) -> Result<Option<Segment>, MediaError> {
        let Some(Stretch { position, next, frames }) = self.reader.stretch()? else { return Ok(None) };
        let mut first: SmallVec<[Canonical; 4]> = (self.packetizers.iter())
            .map(|packetizer| Canonical { sequence: packetizer.numbering().sequence, packets: 0 })
            .collect();
        let mut entries = Vec::with_capacity(frames.len());
        // What is dropped together is allocated together.
        let hints = frames.iter().map(|frame| self.packetizers[usize::from(frame.track)].size_hint(frame));
        let mut stock = BytesMut::with_capacity(hints.sum());
        for frame in &frames {
            self.end = self.end.max(self.end_of(frame));
            let Some(batch) = self.packetize(&mut stock, frame) else { continue };
            first[usize::from(frame.track)].packets += batch.packets().len() as u32;
            let meta = batch.meta();
            entries.push(Entry { due: meta.dts, track: meta.track, batch: Arc::new(batch) });
        }
        let held: usize = entries.iter().map(|entry| entry.batch.memory_bytes()).sum();
        let bytes = held + entries.len() * size_of::<Entry>() + size_of::<Segment>();
        Ok(Some(Segment { position, next, entries, first, end: self.end, bytes }))
    }

    /// A frame that cannot be packetized is left out: the others still play.
    fn packetize(&mut self, stock: &mut BytesMut, frame: &Frame) -> Option<Batch> {
        match self.packetizers[usize::from(frame.track)].packetize_on(stock, frame) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::debug!(file = self.info.name, track = frame.track, %error, "a frame is left out");
                None
            }
        }
    }

    fn end_of(&self, frame: &Frame) -> MediaTime {
        let rate = self.info.tracks[usize::from(frame.track)].clock_rate;
        MediaTime::from_ticks(frame.pts.saturating_add(i64::from(frame.duration)), rate)
    }
}
