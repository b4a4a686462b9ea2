//! What is asked of PipeWire, as pods: its formats of sound and pictures, and how buffers shall be.

use std::io::Cursor;

use pipewire::spa::param::ParamType;
use pipewire::spa::param::audio::{AudioFormat, AudioInfoRaw};
use pipewire::spa::param::format::{FormatProperties, MediaSubtype, MediaType};
use pipewire::spa::param::video::VideoFormat;
use pipewire::spa::pod::serialize::PodSerializer;
use pipewire::spa::pod::{ChoiceValue, Object, Property, Value};
use pipewire::spa::sys;
use pipewire::spa::utils::{Choice, ChoiceEnum, ChoiceFlags, Fraction, Id, Rectangle, SpaTypes};

use crate::media::capture::Pixels;
use crate::media::format::PIXELS_MAX;
use crate::media::library::MediaError;

/// Formats of pictures in the order in which they are liked, with how their pixels lie.
const PICTURES: [(VideoFormat, Pixels); 8] = [
    (VideoFormat::BGRx, Pixels::Bgr0),
    (VideoFormat::BGRA, Pixels::Bgr0),
    (VideoFormat::RGBx, Pixels::Rgb0),
    (VideoFormat::RGBA, Pixels::Rgb0),
    (VideoFormat::RGB, Pixels::Rgb24),
    (VideoFormat::BGR, Pixels::Bgr24),
    (VideoFormat::YUY2, Pixels::Yuyv422),
    (VideoFormat::UYVY, Pixels::Uyvy422),
];

/// How pixels lie in a format; None for formats that were not asked for.
pub(super) fn pixels(format: VideoFormat) -> Option<Pixels> {
    PICTURES.iter().find(|(known, _)| *known == format).map(|(_, pixels)| *pixels)
}

/// Samples of 16 bits at a rate, for one channel or for left and right.
pub(super) fn sound(sample_rate: u32, channels: u32) -> Result<Vec<u8>, MediaError> {
    let mut sound = AudioInfoRaw::new();
    sound.set_format(AudioFormat::S16LE);
    sound.set_rate(sample_rate);
    sound.set_channels(channels);
    let mut position = [0; sys::SPA_AUDIO_MAX_CHANNELS as usize];
    match channels {
        1 => position[0] = sys::SPA_AUDIO_CHANNEL_MONO,
        _ => position[..2].copy_from_slice(&[sys::SPA_AUDIO_CHANNEL_FL, sys::SPA_AUDIO_CHANNEL_FR]),
    }
    sound.set_position(position);
    pod(SpaTypes::ObjectParamFormat, ParamType::EnumFormat, sound.into())
}

/// Pictures of any size, no more of them a second than this.
pub(super) fn pictures(rate_max: u32) -> Result<Vec<u8>, MediaError> {
    let id = |id: u32| Value::Id(Id(id));
    let rate = |num: u32| Fraction { num, denom: 1 };
    let size = |width, height| Rectangle { width, height };
    let formats = ChoiceEnum::Enum {
        default: Id(PICTURES[0].0.as_raw()),
        alternatives: PICTURES.iter().map(|(format, _)| Id(format.as_raw())).collect(),
    };
    let sizes =
        ChoiceEnum::Range { default: size(1_920, 1_080), min: size(2, 2), max: size(PIXELS_MAX, PIXELS_MAX) };
    // Portals send a picture when something has changed, which is called 0 a second.
    let rates = ChoiceEnum::Range { default: rate(rate_max), min: rate(0), max: rate(rate_max) };
    let rates_max = ChoiceEnum::Range { default: rate(rate_max), min: rate(1), max: rate(rate_max) };
    let properties = vec![
        Property::new(FormatProperties::MediaType.as_raw(), id(MediaType::Video.as_raw())),
        Property::new(FormatProperties::MediaSubtype.as_raw(), id(MediaSubtype::Raw.as_raw())),
        Property::new(FormatProperties::VideoFormat.as_raw(), choice(formats, ChoiceValue::Id)),
        Property::new(FormatProperties::VideoSize.as_raw(), choice(sizes, ChoiceValue::Rectangle)),
        Property::new(FormatProperties::VideoFramerate.as_raw(), choice(rates, ChoiceValue::Fraction)),
        Property::new(FormatProperties::VideoMaxFramerate.as_raw(), choice(rates_max, ChoiceValue::Fraction)),
    ];
    pod(SpaTypes::ObjectParamFormat, ParamType::EnumFormat, properties)
}

/// Buffers in memory that can be read: those of graphics processors cannot, by us.
pub(super) fn memory() -> Result<Vec<u8>, MediaError> {
    let kinds = (1_i32 << sys::SPA_DATA_MemPtr) | (1 << sys::SPA_DATA_MemFd);
    let kinds = ChoiceEnum::Flags { default: kinds, flags: Vec::new() };
    let properties = vec![Property::new(sys::SPA_PARAM_BUFFERS_dataType, choice(kinds, ChoiceValue::Int))];
    pod(SpaTypes::ObjectParamBuffers, ParamType::Buffers, properties)
}

fn choice<T: pipewire::spa::pod::CanonicalFixedSizedPod>(
    values: ChoiceEnum<T>,
    kind: fn(Choice<T>) -> ChoiceValue,
) -> Value {
    Value::Choice(kind(Choice(ChoiceFlags::empty(), values)))
}

fn pod(kind: SpaTypes, id: ParamType, properties: Vec<Property>) -> Result<Vec<u8>, MediaError> {
    let object = Value::Object(Object { type_: kind.as_raw(), id: id.as_raw(), properties });
    let serialized = PodSerializer::serialize(Cursor::new(Vec::new()), &object);
    let (cursor, _) = serialized
        .map_err(|error| MediaError::Broken(format!("a format cannot be written for PipeWire: {error:?}")))?;
    Ok(cursor.into_inner())
}

#[cfg(test)]
mod tests {
    use pipewire::spa::pod::Pod;
    use pipewire::spa::pod::deserialize::PodDeserializer;

    use super::*;

    #[test]
    fn sound_is_asked_for_as_pipewire_reads_it() {
        for (channels, first) in [(1, sys::SPA_AUDIO_CHANNEL_MONO), (2, sys::SPA_AUDIO_CHANNEL_FL)] {
            let bytes = sound(48_000, channels).unwrap();
            let mut read = AudioInfoRaw::new();
            read.parse(Pod::from_bytes(&bytes).unwrap()).unwrap();
            assert_eq!((read.format(), read.rate(), read.channels()), (AudioFormat::S16LE, 48_000, channels));
            assert_eq!(read.position()[0], first);
        }
    }

    #[test]
    fn pictures_and_buffers_are_asked_for_as_pipewire_reads_it() {
        for (bytes, count) in [(pictures(30).unwrap(), 6), (memory().unwrap(), 1)] {
            let (rest, value) = PodDeserializer::deserialize_any_from(&bytes).unwrap();
            assert!(rest.is_empty());
            let Value::Object(object) = value else { panic!("{value:?}") };
            assert_eq!(object.properties.len(), count);
        }
        assert_eq!(pixels(VideoFormat::RGBA), Some(Pixels::Rgb0));
        assert_eq!(pixels(VideoFormat::GRAY8), None);
    }
}
