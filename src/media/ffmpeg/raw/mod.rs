//! FFmpeg's C interface as far as its safe wrapper does not reach: custom input, extradata, positions, parsers.
//!
//! Whatever leaves this room is plain data or owns what it points to.

#![allow(unsafe_code)]

pub mod decoder;
pub mod device;
pub mod hardware;
mod input;
mod io;
mod packet;
mod parameters;
mod parser;
mod scaler;

pub use input::{Input, Next, Stream};
pub use packet::Packet;
pub use parameters::Parameters;
pub use parser::Parser;
pub use scaler::Scaler;

use std::ffi::CStr;
use std::ptr;
use std::sync::Once;

use ffmpeg_next::ffi;

/// Keeps FFmpeg from writing to standard error. Its messages repeat what our errors say.
pub fn silence() {
    static ONCE: Once = Once::new();
    // SAFETY: the call only stores an integer that FFmpeg reads atomically.
    ONCE.call_once(|| unsafe { ffi::av_log_set_level(ffi::AV_LOG_QUIET) });
}

/// FFmpeg's version as its packager wrote it, such as `5.1.9-0+deb12u1`.
pub fn version() -> String {
    // SAFETY: the function has no preconditions and returns a pointer to a constant.
    let text = unsafe { ffi::av_version_info() };
    // SAFETY: the constant is a string that ends with zero and lives as long as the program.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Whether there is a demuxer of this name.
pub fn has_demuxer(name: &CStr) -> bool {
    // SAFETY: the name ends with zero and is only read during the call.
    !unsafe { ffi::av_find_input_format(name.as_ptr()) }.is_null()
}

/// What FFmpeg says about one of its error numbers.
fn message(error: i32) -> String {
    ffmpeg_next::Error::from(error).to_string()
}

/// Gives a context that is not open a copy of its codec's parameters.
fn set_extradata(codec: &mut ffi::AVCodecContext, extradata: &[u8]) {
    let Ok(size) = i32::try_from(extradata.len()) else { return };
    // SAFETY: any size may be asked for; null is looked at below.
    let copy = unsafe { ffi::av_mallocz(extradata.len() + PADDING_BYTES) }.cast::<u8>();
    if copy.is_null() {
        return;
    }
    // SAFETY: the copy was made just before with room for all of them.
    unsafe { ptr::copy_nonoverlapping(extradata.as_ptr(), copy, extradata.len()) };
    // The context frees it.
    (codec.extradata, codec.extradata_size) = (copy, size);
}

/// AV_INPUT_BUFFER_PADDING_SIZE.
const PADDING_BYTES: usize = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
