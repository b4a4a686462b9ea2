//! A file as a live channel: its frames as they are due, again and again.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use proto::frame::Frame;
use proto::rtsp::uri::percent_encode;
use proto::time::MediaTime;
use proto::track::Track;

use super::folder::Folder;
use super::format::Format;
use super::library::MediaError;
use super::opener::Opener;
use super::reader::Reader;
use super::source::{Demand, Pace, Source};
use super::transcode::slots::{Slot, Slots};

/// One file that is played to all who watch it at once.
pub struct Channel {
    folder: Folder,
    name: String,
    opener: Arc<dyn Opener>,
    slots: Slots,
    opened: Option<(Reader, Vec<Track>)>,
    /// While some of it is made anew because RTP does not carry it.
    slot: Option<Slot>,
}

impl Channel {
    /// The channel of a file, by its name below the folder.
    /// `slots` are the places that there are for all that is made anew.
    pub fn new(folder: Folder, name: &str, opener: Arc<dyn Opener>, slots: Slots) -> Channel {
        Channel { folder, name: name.to_owned(), opener, slots, opened: None, slot: None }
    }
}

impl Source for Channel {
    fn tracks(&mut self) -> Result<Vec<Track>, MediaError> {
        let found = self.folder.find(&percent_encode(&self.name))?;
        let file = File::open(&found.path)
            .map_err(|error| MediaError::Forbidden(format!("{} cannot be read: {error}", found.name)))?;
        let opened = self.opener.open(file, &found.path, &Format::default())?;
        for sentence in opened.left_out.iter().chain(&opened.made_anew) {
            tracing::info!(file = %found.name, "{sentence}");
        }
        if opened.is_transcoded {
            self.slot = Some(self.slots.take()?);
        }
        let reader = Reader::open(opened.demux, &opened.tracks, opened.duration)?;
        self.opened = Some((reader, opened.tracks.clone()));
        Ok(opened.tracks)
    }

    fn run(self: Box<Self>, sink: &mut dyn FnMut(Option<Frame>) -> Demand) -> Result<(), MediaError> {
        let Channel { opened, slot: _slot, name, .. } = *self;
        let Some((mut reader, tracks)) = opened else { return Err(MediaError::NotFound) };
        let rates: Vec<u32> = tracks.iter().map(|track| track.clock_rate).collect();
        let mut pace = Pace::start();
        let mut begins = MediaTime::ZERO;
        loop {
            let mut play = Play { rates: &rates, begins, shift: None, ends: begins };
            while let Some(stretch) = reader.stretch()? {
                for frame in stretch.frames {
                    let frame = play.place(frame);
                    pace.wait_until(play.due(&frame));
                    if sink(Some(frame)) == Demand::Nothing {
                        return Ok(());
                    }
                }
                if stretch.next.is_none() {
                    break;
                }
            }
            if play.ends.since(begins) < SHORTEST {
                return Err(MediaError::Broken(format!("{} is too short for a live channel", name)));
            }
            begins = play.ends;
            reader.seek(MediaTime::ZERO)?;
        }
    }
}

/// A file must last for so long that playing it again and again is no busy loop.
const SHORTEST: Duration = Duration::from_millis(100);

/// One play of the file on the channel's timeline.
struct Play<'a> {
    rates: &'a [u32],
    /// Where it begins.
    begins: MediaTime,
    /// From the file's times to the channel's; None before the first frame.
    shift: Option<MediaTime>,
    /// Where the latest frame ends.
    ends: MediaTime,
}

impl Play<'_> {
    /// Moves a frame to its time on the channel. Sound that sets a decoder up may lie before the file's first moment, as
    /// may pictures that are decoded before they are shown: nothing comes before the play begins.
    fn place(&mut self, mut frame: Frame) -> Frame {
        let rate = self.rate(&frame);
        let first = MediaTime::from_ticks(frame.pts.min(frame.dts), rate).0.min(0);
        let shift = *self.shift.get_or_insert(MediaTime(self.begins.0 - first));
        let ticks = shift.to_ticks(rate);
        frame.pts = frame.pts.saturating_add(ticks);
        frame.dts = frame.dts.saturating_add(ticks);
        let end = frame.pts.saturating_add(i64::from(frame.duration));
        self.ends = self.ends.max(MediaTime::from_ticks(end, rate));
        frame
    }

    /// When a placed frame leaves, from the start of the channel.
    fn due(&self, frame: &Frame) -> Duration {
        MediaTime::from_ticks(frame.dts, self.rate(frame)).since(MediaTime::ZERO)
    }

    fn rate(&self, frame: &Frame) -> u32 {
        self.rates.get(usize::from(frame.track)).copied().unwrap_or(90_000)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(track: u8, pts: i64, dts: i64) -> Frame {
        Frame { track, pts, dts, duration: 10, keyframe: true, payload: Bytes::new() }
    }

    #[test]
    fn plays_follow_each_other_without_a_step_back() {
        let rates = [1_000, 500];
        let mut first = Play { rates: &rates, begins: MediaTime::ZERO, shift: None, ends: MediaTime::ZERO };
        // Sound begins 20 ms before the file's first moment, and all of it is 20 ms later for that.
        let times = |frame: Frame| (frame.pts, frame.dts);
        assert_eq!(times(first.place(frame(1, -10, -10))), (0, 0));
        assert_eq!(times(first.place(frame(0, 40, 0))), (60, 20));
        assert_eq!(times(first.place(frame(1, 0, 0))), (10, 10));
        assert_eq!(first.ends, MediaTime(70_000_000));
        let mut second = Play { begins: first.ends, shift: None, ..first };
        let placed = second.place(frame(1, -10, -10));
        assert_eq!((second.due(&placed), times(placed)), (Duration::from_millis(70), (35, 35)));
        assert_eq!(times(second.place(frame(0, 40, 0))), (130, 90));
    }
}
