//! Decoders of streams that no container describes.

use ffmpeg_next::codec::{self, Context, Id, decoder::Opened};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::{Dictionary, Error, Rational, ffi};

use super::{Parameters, set_extradata};

/// Pixels of the largest picture that is decoded: 8192 by 8192.
const PIXELS_MAX: u64 = 1 << 26;

/// What a decoder must know before the first access unit.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Which codec.
    pub id: Id,
    /// Parameters as FFmpeg has them; empty when they stand in access units.
    pub extradata: &'a [u8],
    /// Ticks a second of the times that access units come with.
    pub clock_rate: u32,
    /// Samples a second and channels, where access units do not tell.
    pub sound: Option<(u32, u8)>,
    /// How pixels lie, and their size, of pictures that are not coded.
    pub pixels: Option<(Pixel, u32, u32)>,
    /// Bits of a coded sample; zero where that says nothing.
    pub bits: u8,
}

/// Opens a decoder of a stream as its container describes it; times come in so many ticks a second. It works in the thread
/// that calls it.
pub fn open_described(parameters: &Parameters, clock_rate: u32) -> Result<Opened, Error> {
    let mut context = parameters.to_context()?;
    let codec = codec::decoder::find(context.id()).ok_or(Error::DecoderNotFound)?;
    // SAFETY: the pointer is read for the moment that the context is ours.
    let pointer = unsafe { context.as_mut_ptr() };
    // SAFETY: making the context fails where it would be null, and nobody else has it.
    let fields = unsafe { &mut *pointer };
    fields.pkt_timebase = Rational(1, clock_rate.min(i32::MAX as u32) as i32).into();
    fields.thread_count = 1;
    let mut options = Dictionary::new();
    options.set("max_pixels", &PIXELS_MAX.to_string());
    // Resamplers take no sound whose channels have no places.
    let layout = &fields.ch_layout;
    if layout.order == ffi::AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC && layout.nb_channels > 0 {
        options.set("ch_layout", &layout_of(layout.nb_channels as u32));
    }
    context.decoder().open_as_with(codec, options)
}

/// The usual places of so many channels.
fn layout_of(channels: u32) -> String {
    // Some decoders take none but those with a name.
    match channels {
        1 => "mono".to_owned(),
        2 => "stereo".to_owned(),
        more => format!("{more}c"),
    }
}

/// Opens a decoder. It works in the thread that calls it.
pub fn open(setup: Setup<'_>) -> Result<Opened, Error> {
    let codec = codec::decoder::find(setup.id).ok_or(Error::DecoderNotFound)?;
    let mut context = Context::new_with_codec(codec);
    // SAFETY: the pointer is read for the moment that the context is ours.
    let pointer = unsafe { context.as_mut_ptr() };
    if pointer.is_null() {
        return Err(Error::DecoderNotFound);
    }
    // SAFETY: it is not null, the context was made just before, and nobody else has it.
    let fields = unsafe { &mut *pointer };
    fields.pkt_timebase = Rational(1, setup.clock_rate.min(i32::MAX as u32) as i32).into();
    fields.bits_per_coded_sample = i32::from(setup.bits);
    fields.thread_count = 1;
    if let Some((pixels, width, height)) = setup.pixels {
        fields.pix_fmt = pixels.into();
        (fields.width, fields.height) = (width as i32, height as i32);
    }
    // Some decoders take what is empty for what is wrong.
    if !setup.extradata.is_empty() {
        set_extradata(fields, setup.extradata);
    }
    let mut options = Dictionary::new();
    // A picture that is larger than any that is made takes memory from all.
    options.set("max_pixels", &PIXELS_MAX.to_string());
    if let Some((rate, channels)) = setup.sound {
        fields.sample_rate = rate.min(i32::MAX as u32) as i32;
        options.set("ch_layout", &layout_of(channels.into()));
    }
    context.decoder().open_as_with(codec, options)
}
