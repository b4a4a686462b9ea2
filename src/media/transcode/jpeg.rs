//! Pictures in JPEG that RTP does not carry as they are: the same coefficients in another form where that is all that is
//! wrong with them, else decoded and encoded.

use bytes::Bytes;
use proto::frame::Frame;
use proto::rtp::jpeg::{check, rewrite};
use proto::time::MediaTime;
use proto::track::Track;

use super::{Convert, Still};
use crate::media::library::MediaError;

/// A picture as RTP carries it. An error when it is damaged, or would have to be decoded and nothing is there that does.
pub fn carried(picture: &Bytes, still: Option<Still>) -> Result<Bytes, MediaError> {
    let Err(reason) = check(picture) else { return Ok(picture.clone()) };
    match (rewrite(picture), still) {
        (Ok(rewritten), _) => Ok(rewritten.into()),
        (Err(_), Some(still)) => still(picture),
        (Err(_), None) => Err(MediaError::Unsupported(format!(
            "RTP does not carry this JPEG picture: {reason}; transcode_unsupported is 0"
        ))),
    }
}

/// The pictures of a track, each as RTP carries it.
pub struct Pictures {
    track: Track,
    still: Option<Still>,
    /// Pictures that were left out.
    left_out: u64,
}

impl Pictures {
    /// Those of a track that becomes track `index`.
    pub fn new(track: &Track, index: u8, still: Option<Still>) -> Pictures {
        Pictures { track: track.moved_to(index), still, left_out: 0 }
    }
}

impl Convert for Pictures {
    fn track(&self) -> &Track {
        &self.track
    }

    fn push(&mut self, frame: &Frame, out: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        match carried(&frame.payload, self.still) {
            Ok(payload) => out(Frame { payload, ..frame.clone() }),
            Err(error) => {
                self.left_out += 1;
                // The first, second, fourth, eighth and so on.
                if self.left_out.is_power_of_two() {
                    tracing::warn!(%error, count = self.left_out, "pictures of a file are left out");
                }
            }
        }
        Ok(())
    }

    /// Nothing: none needs another.
    fn skip(&mut self, _: &Frame) -> Result<(), MediaError> {
        Ok(())
    }

    fn want_keyframe(&mut self) {}

    fn finish(&mut self, _: &mut dyn FnMut(Frame)) -> Result<(), MediaError> {
        Ok(())
    }

    fn reset(&mut self, _: MediaTime) {}
}
