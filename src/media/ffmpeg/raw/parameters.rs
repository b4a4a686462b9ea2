//! What a container knows of a stream, for its decoder.

use ffmpeg_next::codec;
use ffmpeg_next::ffi;

/// A copy that outlives the container.
#[derive(Clone)]
pub struct Parameters(codec::Parameters);

impl Parameters {
    /// Copies those of a stream; None when memory is short.
    pub(super) fn of(stream: *const ffi::AVStream) -> Option<Parameters> {
        // SAFETY: the caller took the pointer from an open context that it borrows.
        let parameters = unsafe { (*stream).codecpar };
        let mut copy = codec::Parameters::new();
        // SAFETY: the pointer is read for the moment that the copy is ours.
        let own = unsafe { copy.as_mut_ptr() };
        if own.is_null() {
            return None;
        }
        // SAFETY: every stream has parameters as long as it lives, and the copy was made just before.
        let code = unsafe { ffi::avcodec_parameters_copy(own, parameters) };
        (code >= 0).then_some(Parameters(copy))
    }

    /// For a decoder.
    pub(super) fn to_context(&self) -> Result<codec::Context, ffmpeg_next::Error> {
        codec::Context::from_parameters(self.0.clone())
    }
}
