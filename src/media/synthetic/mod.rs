//! The built-in channel `/test`: a moving picture with a running clock, and a tone.

pub mod canvas;
#[cfg(feature = "ffmpeg")]
pub mod encoded;
pub mod pcm;

use super::source::Source;

/// The best synthetic source that this build and this machine have.
#[cfg(feature = "ffmpeg")]
pub fn source() -> Box<dyn Source> {
    match encoded::EncodedSource::open() {
        Ok(source) => Box::new(source),
        Err(reason) => {
            tracing::warn!(%reason, "the test channel is not encoded: it has a small picture and telephone sound");
            Box::new(pcm::PcmSource::new())
        }
    }
}

/// The best synthetic source that this build has.
#[cfg(not(feature = "ffmpeg"))]
pub fn source() -> Box<dyn Source> {
    Box::new(pcm::PcmSource::new())
}
