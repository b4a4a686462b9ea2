//! The built-in channel `/test`: a moving picture with a running clock, and a tone.

pub mod canvas;
pub mod pcm;

use super::source::Source;

/// The best synthetic source that this build and this machine have.
pub fn source() -> Box<dyn Source> {
    Box::new(pcm::PcmSource::new())
}
