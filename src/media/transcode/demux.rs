//! A container whose tracks are in another format than they were put into it.

use std::collections::VecDeque;

use proto::frame::Frame;
use proto::time::MediaTime;
use proto::track::{Codec, Kind, Track};

use super::plan::{Decision, decide};
use super::{Convert, KEYFRAME_NANOS, Keyframes, Makes};
use crate::media::demux::Demux;
use crate::media::format::Format;
use crate::media::library::MediaError;
use crate::media::opener::Opened;

/// Sound is decoded from so much earlier on, in nanoseconds: the first frames behind a jump set decoders and encoders up.
const PREROLL_NANOS: i64 = 200_000_000;

/// A container with converters behind it.
struct Transcoded {
    inner: Box<dyn Demux>,
    /// By track of the source.
    lanes: Vec<Lane>,
    /// Whether the pictures are made anew: keyframes are elsewhere then.
    has_own_keyframes: bool,
    ready: VecDeque<Frame>,
    has_ended: bool,
}

enum Lane {
    Keep(u8),
    Drop,
    Convert(u8, Box<dyn Convert>),
}

/// The same file in the format that is asked for; itself where it agrees.
pub fn transcoded(opened: Opened, format: &Format, makes: &dyn Makes) -> Result<Opened, MediaError> {
    let decisions = opened.tracks.iter().map(|track| decide(track, format));
    let decisions: Vec<_> = decisions.collect::<Result<_, _>>().map_err(MediaError::Unsupported)?;
    if decisions.iter().all(|decision| *decision == Decision::Keep) {
        return Ok(opened);
    }
    let (mut tracks, mut lanes, mut has_own_keyframes) = (Vec::<Track>::new(), Vec::new(), false);
    for (track, decision) in opened.tracks.iter().zip(&decisions) {
        let index = tracks.len() as u8;
        let converter = match decision {
            Decision::Drop => {
                lanes.push(Lane::Drop);
                continue;
            }
            Decision::Keep => None,
            Decision::Video(target) => Some(makes.video(track, index, target, Keyframes::OnGrid)?),
            Decision::Audio(target) => Some(makes.audio(track, index, target)?),
        };
        match converter {
            None => {
                tracks.push(track.moved_to(index));
                lanes.push(Lane::Keep(index));
            }
            Some(converter) => {
                tracks.push(converter.track().clone());
                // Of pictures that stand alone each is one.
                let stands_alone = converter.track().codec == Codec::Jpeg;
                has_own_keyframes |= track.kind() == Kind::Video && !stands_alone;
                lanes.push(Lane::Convert(index, converter));
            }
        }
    }
    if tracks.is_empty() {
        return Err(MediaError::Unsupported("nothing of it is asked for: both codecs are NONE".to_owned()));
    }
    let demux = Transcoded {
        inner: opened.demux,
        lanes,
        has_own_keyframes,
        ready: VecDeque::new(),
        has_ended: false,
    };
    Ok(Opened { demux: Box::new(demux), tracks, is_transcoded: true, ..opened })
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
        let from = if self.has_own_keyframes {
            MediaTime(time.0.max(0) / KEYFRAME_NANOS * KEYFRAME_NANOS)
        } else {
            time
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
        // It lands before the place, for the sake of sound.
        false
    }
}
