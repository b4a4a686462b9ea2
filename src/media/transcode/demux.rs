//! A container whose tracks are in another format than they were put into it.

use std::collections::VecDeque;

use proto::frame::Frame;
use proto::time::MediaTime;
use proto::track::{Codec, Track};

use super::jpeg::Pictures;
use super::plan::{Decision, decide};
use super::{Convert, KEYFRAME_NANOS, Keyframes, Makes, Still};
use crate::media::demux::Demux;
use crate::media::format::{Format, VideoCodec};
use crate::media::library::MediaError;
use crate::media::opener::Opened;

/// Sound is decoded from so much earlier on, in nanoseconds: the first frames behind a jump set decoders and encoders up.
const PREROLL_NANOS: i64 = 200_000_000;

/// A container with converters behind it.
struct Transcoded {
    inner: Box<dyn Demux>,
    /// By track of the source.
    lanes: Vec<Lane>,
    /// Where keyframes are.
    keyframes: Landing,
    ready: VecDeque<Frame>,
    has_ended: bool,
}

enum Lane {
    Keep(u8),
    Drop,
    Convert(u8, Box<dyn Convert>),
}

/// Where reading may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Landing {
    /// Where the source's keyframes are: its pictures stay one by one, and its sound stays.
    AsBefore,
    /// There, and sound needs what lies before it.
    Earlier,
    /// At multiples of [`KEYFRAME_NANOS`]: the pictures are made anew.
    OnGrid,
}

/// The same file in the format that is asked for; itself where it agrees. `still` makes those pictures in JPEG anew that
/// RTP does not carry; None leaves them out where that would lose something.
pub fn transcoded(
    mut opened: Opened,
    format: &Format,
    makes: &dyn Makes,
    still: Option<Still>,
) -> Result<Opened, MediaError> {
    let source = std::mem::take(&mut opened.tracks);
    let mut work =
        Work { tracks: Vec::new(), lanes: Vec::new(), keyframes: Landing::AsBefore, is_needed: false };
    for (number, track) in source.iter().enumerate() {
        let foreign = opened.foreign.get_mut(number).and_then(Option::take);
        let Some(foreign) = foreign else {
            let decision = decide(track, format).map_err(MediaError::Unsupported)?;
            opened.is_transcoded |= matches!(decision, Decision::Video(_) | Decision::Audio(_));
            work.add(track, decision, makes, still)?;
            continue;
        };
        // Pictures in JPEG stay what they are, one by one.
        let wanted = if track.codec == Codec::Jpeg { *format } else { format.of_foreign() };
        let made = decide(track, &wanted).map_err(MediaError::Unsupported);
        match made.and_then(|decision| work.add(track, decision, &*foreign.makes, still).map(|()| decision)) {
            Ok(decision) => {
                opened.is_transcoded |= decision != Decision::Drop;
                opened.made_anew.extend(said(number, &foreign.reason, decision));
            }
            Err(error) => {
                work.leave_out();
                opened.left_out.push(format!("track {number} is left out: {}; {error}", foreign.reason));
            }
        }
    }
    if work.tracks.is_empty() {
        let reason = match &opened.left_out[..] {
            [] => "nothing of it is asked for: both codecs are NONE".to_owned(),
            left_out => left_out.join("; "),
        };
        return Err(MediaError::Unsupported(reason));
    }
    let Work { tracks, lanes, keyframes, is_needed } = work;
    if !is_needed {
        return Ok(Opened { tracks: source, ..opened });
    }
    let (ready, has_ended) = (VecDeque::new(), false);
    let demux = Transcoded { inner: opened.demux, lanes, keyframes, ready, has_ended };
    Ok(Opened { demux: Box::new(demux), tracks, ..opened })
}

/// What becomes of the tracks that were looked at.
struct Work {
    tracks: Vec<Track>,
    lanes: Vec<Lane>,
    keyframes: Landing,
    /// Whether anything is different from what it was.
    is_needed: bool,
}

impl Work {
    /// Leaves one more track out. The keyframes of the source may have been its.
    fn leave_out(&mut self) {
        self.lanes.push(Lane::Drop);
        self.is_needed = true;
        if self.keyframes == Landing::AsBefore {
            self.keyframes = Landing::Earlier;
        }
    }

    /// Does what was decided of one more track. After an error nothing has changed.
    fn add(
        &mut self,
        track: &Track,
        decision: Decision,
        makes: &dyn Makes,
        still: Option<Still>,
    ) -> Result<(), MediaError> {
        let index = self.tracks.len() as u8;
        let converter: Box<dyn Convert> = match decision {
            Decision::Drop => {
                self.leave_out();
                return Ok(());
            }
            Decision::Keep if track.codec == Codec::Jpeg => Box::new(Pictures::new(track, index, still)),
            Decision::Keep => {
                self.tracks.push(track.moved_to(index));
                self.lanes.push(Lane::Keep(index));
                return Ok(());
            }
            Decision::Video(target) => {
                let converter = makes.video(track, index, &target, Keyframes::OnGrid)?;
                // Of pictures that stand alone each is one.
                if converter.track().codec != Codec::Jpeg {
                    self.keyframes = Landing::OnGrid;
                }
                converter
            }
            Decision::Audio(target) => makes.audio(track, index, &target)?,
        };
        if decision != Decision::Keep && self.keyframes == Landing::AsBefore {
            self.keyframes = Landing::Earlier;
        }
        self.is_needed = true;
        self.tracks.push(converter.track().clone());
        self.lanes.push(Lane::Convert(index, converter));
        Ok(())
    }
}

/// What is said of a track that was made anew because RTP does not carry it.
fn said(number: usize, reason: &str, decision: Decision) -> Option<String> {
    let codec = match decision {
        Decision::Video(target) => target.codec.name(),
        Decision::Audio(target) => target.codec.name(),
        Decision::Keep => VideoCodec::Jpeg.name(),
        Decision::Drop => return None,
    };
    Some(format!("track {number} is made anew as {codec}: {reason}"))
}

impl Transcoded {
    fn reset(&mut self, from: MediaTime) {
        self.ready.clear();
        self.has_ended = false;
        for lane in &mut self.lanes {
            if let Lane::Convert(_, converter) = lane {
                converter.reset(from);
            }
        }
    }

    fn take(&mut self, mut frame: Frame) -> Result<(), MediaError> {
        let ready = &mut self.ready;
        match self.lanes.get_mut(usize::from(frame.track)) {
            Some(Lane::Keep(index)) => {
                frame.track = *index;
                ready.push_back(frame);
            }
            Some(Lane::Convert(index, converter)) => {
                let index = *index;
                converter.push(&frame, &mut |made| ready.push_back(Frame { track: index, ..made }))?;
            }
            Some(Lane::Drop) | None => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), MediaError> {
        let ready = &mut self.ready;
        for lane in &mut self.lanes {
            if let Lane::Convert(index, converter) = lane {
                let index = *index;
                converter.finish(&mut |made| ready.push_back(Frame { track: index, ..made }))?;
            }
        }
        Ok(())
    }
}

impl Demux for Transcoded {
    fn next_frame(&mut self) -> Result<Option<Frame>, MediaError> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(frame));
            }
            if self.has_ended {
                return Ok(None);
            }
            match self.inner.next_frame()? {
                Some(frame) => self.take(frame)?,
                None => {
                    self.has_ended = true;
                    self.finish()?;
                }
            }
        }
    }

    fn seek(&mut self, time: MediaTime) -> Result<(), MediaError> {
        let from = match self.keyframes {
            Landing::OnGrid => MediaTime(time.0.max(0) / KEYFRAME_NANOS * KEYFRAME_NANOS),
            Landing::Earlier => time,
            Landing::AsBefore => {
                self.inner.seek(time)?;
                self.reset(MediaTime(i64::MIN));
                return Ok(());
            }
        };
        if from.0 <= PREROLL_NANOS {
            return self.rewind();
        }
        self.inner.seek(MediaTime(from.0 - PREROLL_NANOS))?;
        self.reset(from);
        Ok(())
    }

    fn rewind(&mut self) -> Result<(), MediaError> {
        self.inner.rewind()?;
        self.reset(MediaTime(i64::MIN));
        Ok(())
    }

    fn has_exact_index(&self) -> bool {
        // Else it lands before the place, for the sake of sound.
        self.keyframes == Landing::AsBefore && self.inner.has_exact_index()
    }
}
