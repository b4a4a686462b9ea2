//! FFmpeg's parsers on whole access units: is it a keyframe, and when is it shown among its neighbours?

use std::ptr::{self, NonNull};

use ffmpeg_next::codec::Id;
use ffmpeg_next::ffi;

use super::{PADDING_BYTES, set_extradata};

/// What a parser says about one access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Whether decoding can begin here.
    pub is_key: bool,
    /// Picture order count (ITU-T H.264 section 8.2.1, H.265 section 8.3.1).
    pub order: i32,
}

/// A parser of one stream.
pub struct Parser {
    parser: NonNull<ffi::AVCodecParserContext>,
    codec: NonNull<ffi::AVCodecContext>,
}

// SAFETY: both contexts are heap allocations that are bound to no thread; they are used through `&mut self` only.
unsafe impl Send for Parser {}

impl Parser {
    /// None when FFmpeg has no parser for this codec. `extradata` tells how units stand in an access unit.
    pub fn new(id: Id, extradata: &[u8]) -> Option<Parser> {
        let id: ffi::AVCodecID = id.into();
        // SAFETY: any number may be asked for; an unknown one yields null.
        let mut parser = NonNull::new(unsafe { ffi::av_parser_init(id as i32) })?;
        // SAFETY: a context without codec is what parsers expect.
        let Some(mut codec) = NonNull::new(unsafe { ffi::avcodec_alloc_context3(ptr::null()) }) else {
            // SAFETY: the parser was made just before.
            unsafe { ffi::av_parser_close(parser.as_ptr()) };
            return None;
        };
        // SAFETY: the parser was made just before and nobody else has it.
        unsafe { parser.as_mut() }.flags |= ffi::PARSER_FLAG_COMPLETE_FRAMES;
        // SAFETY: the context was made just before and nobody else has it.
        let fields = unsafe { codec.as_mut() };
        fields.codec_id = id;
        set_extradata(fields, extradata);
        Some(Parser { parser, codec })
    }

    /// Looks at one whole access unit.
    pub fn parse(&mut self, unit: &[u8]) -> Parsed {
        // Parsers read up to 64 bytes behind the data, so that a copy with zeros behind it is needed.
        let mut padded = Vec::with_capacity(unit.len() + PADDING_BYTES);
        padded.extend_from_slice(unit);
        padded.resize(unit.len() + PADDING_BYTES, 0);
        let (mut out, mut out_size) = (ptr::null_mut(), 0);
        // SAFETY: both contexts live as long as this value; the input is followed by the padding that FFmpeg wants;
        // the output is not looked at.
        unsafe {
            ffi::av_parser_parse2(
                self.parser.as_ptr(),
                self.codec.as_ptr(),
                &mut out,
                &mut out_size,
                padded.as_ptr(),
                unit.len().min(i32::MAX as usize - PADDING_BYTES) as i32,
                ffi::AV_NOPTS_VALUE,
                ffi::AV_NOPTS_VALUE,
                0,
            )
        };
        // SAFETY: the parser lives as long as this value.
        let parser = unsafe { self.parser.as_ref() };
        Parsed { is_key: parser.key_frame == 1, order: parser.output_picture_number }
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        // SAFETY: the parser came from av_parser_init and is not used again.
        unsafe { ffi::av_parser_close(self.parser.as_ptr()) };
        let mut codec = self.codec.as_ptr();
        // SAFETY: the context came from avcodec_alloc_context3 and is not used again.
        unsafe { ffi::avcodec_free_context(&mut codec) };
    }
}
