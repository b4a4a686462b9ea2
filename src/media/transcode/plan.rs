//! What has to be done to a track so that it is in the format that is asked for: nothing where it is.

use proto::aac::audio_specific_config;
use proto::track::{BitOrder, Codec, Kind, Law, Track};

use crate::media::format::{
    AudioCodec, AudioFormat, Choice, Format, Framerate, PIXELS_MAX, VideoCodec, VideoFormat,
};

/// Sound of a source that does not tell its rate.
const RATE_BY_DEFAULT: u32 = 48_000;

/// Pictures a second of a source that does not tell.
const FRAMERATE_BY_DEFAULT: f64 = 25.0;

/// Pictures a second of screens where nothing is asked.
pub const FRAMERATE_OF_SCREENS: Framerate = Framerate::whole(15);

/// Pictures a second of cameras that do not tell, where nothing is asked.
pub const FRAMERATE_OF_CAMERAS: Framerate = Framerate::whole(25);

/// Sound of devices where nothing is asked.
const SAMPLE_RATE_OF_DEVICES: u32 = 8_000;

/// Pixels of the largest picture that is made, those of level 6.2 of H.264 (table A-1).
const PICTURE_MAX: u64 = 139_264 * 256;

/// Fewest pixels of a side.
const PIXELS_MIN: u32 = 16;

/// Frame rates that differ by less than this share are the same: containers round.
const FRAMERATE_SLACK: f64 = 0.005;

/// What becomes of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It passes as it is.
    Keep,
    /// It is left out.
    Drop,
    /// Its pictures are made anew.
    Video(VideoTarget),
    /// Its sound is made anew.
    Audio(AudioTarget),
}

/// Pictures as they are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoTarget {
    /// Codec.
    pub codec: VideoCodec,
    /// Pixels a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Pictures a second where others are wanted than the source has.
    pub framerate: Option<Framerate>,
    /// Pictures a second that an encoder reckons with, in thousandths.
    pub thousandths: u32,
    /// Bits a second.
    pub bitrate: u64,
}

/// Sound as it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioTarget {
    /// Codec.
    pub codec: AudioCodec,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u8,
    /// Bits a second; of a codec that has one rate alone, that.
    pub bitrate: u64,
}

/// What becomes of a track where a format is asked for. The error says what cannot be done.
pub fn decide(track: &Track, format: &Format) -> Result<Decision, String> {
    match track.kind() {
        Kind::Video => video(track, &format.video),
        Kind::Audio => Ok(audio(track, &format.audio)),
        Kind::Application => Ok(Decision::Keep),
    }
}

fn video(track: &Track, asked: &VideoFormat) -> Result<Decision, String> {
    let own = video_codec(&track.codec);
    let codec = match asked.codec {
        Choice::Drop => return Ok(Decision::Drop),
        Choice::As(codec) => codec,
        Choice::Keep => own.unwrap_or(VideoCodec::H264),
    };
    let is_other_codec = asked.codec != Choice::Keep && own != Some(codec);
    let asks_size = asked.width.is_some() || asked.height.is_some();
    let framerate = asked.framerate.filter(|rate| !is_rate(*rate, track.framerate));
    if !is_other_codec && !asks_size && framerate.is_none() {
        return Ok(Decision::Keep);
    }
    let source = track.size.filter(|(width, height)| *width > 0 && *height > 0);
    let source = source.ok_or("the size of the pictures is not known")?;
    let (width, height) = size(codec, source, asked.width, asked.height);
    let pixels = u64::from(width) * u64::from(height);
    if width > PIXELS_MAX || height > PIXELS_MAX || pixels > PICTURE_MAX {
        return Err(format!("pictures of {width}x{height} are larger than can be made"));
    }
    if !is_other_codec && (width, height) == source && framerate.is_none() {
        return Ok(Decision::Keep);
    }
    let rate = framerate.map(|rate| f64::from(rate.thousandths()) / 1_000.0);
    let rate = rate.or(track.framerate).filter(|rate| *rate > 0.0).unwrap_or(FRAMERATE_BY_DEFAULT);
    Ok(Decision::Video(target(codec, (width, height), framerate, rate, asked)))
}

fn target(
    codec: VideoCodec,
    (width, height): (u32, u32),
    framerate: Option<Framerate>,
    rate: f64,
    asked: &VideoFormat,
) -> VideoTarget {
    let bitrate = match asked.bitrate_kbps {
        Some(kbps) => u64::from(kbps) * 1_000,
        None => sensible_bitrate(codec, width, height, rate),
    };
    let thousandths = (rate * 1_000.0).round().max(1.0) as u32;
    VideoTarget { codec, width, height, framerate, thousandths, bitrate }
}

/// What pictures of a size are made into that a device gives without a codec.
pub fn pictures(source: (u32, u32), asked: &VideoFormat) -> VideoTarget {
    let codec = codec_of_device(asked);
    let rate = asked.framerate.unwrap_or(FRAMERATE_OF_CAMERAS);
    let size = size(codec, source, asked.width, asked.height);
    target(codec, size, Some(rate), f64::from(rate.thousandths()) / 1_000.0, asked)
}

/// What becomes of pictures that a device has coded: where no codec is asked for they are to be H.264.
pub fn pictures_of_device(track: &Track, asked: &VideoFormat) -> Result<Decision, String> {
    let codec = match asked.codec {
        Choice::Keep => Choice::As(codec_of_device(asked)),
        other => other,
    };
    video(track, &VideoFormat { codec, ..*asked })
}

fn codec_of_device(asked: &VideoFormat) -> VideoCodec {
    match asked.codec {
        Choice::As(codec) => codec,
        Choice::Keep | Choice::Drop => VideoCodec::H264,
    }
}

/// What sound of a device is made into.
pub fn sound_of_device(asked: &AudioFormat) -> AudioTarget {
    let codec = match asked.codec {
        Choice::As(codec) => codec,
        Choice::Keep | Choice::Drop => AudioCodec::G711U,
    };
    let sample_rate = codec.clamp_rate(asked.sample_rate.unwrap_or(SAMPLE_RATE_OF_DEVICES));
    let channels = codec.clamp_channels(asked.channels.unwrap_or(2));
    let bitrate = bitrate_of_sound(codec, sample_rate, channels, asked.bitrate_kbps);
    AudioTarget { codec, sample_rate, channels, bitrate }
}

fn audio(track: &Track, asked: &AudioFormat) -> Decision {
    let (own, rate, channels) = sound(&track.codec);
    let codec = match asked.codec {
        Choice::Drop => return Decision::Drop,
        Choice::As(codec) => codec,
        Choice::Keep => own.unwrap_or(AudioCodec::Aac),
    };
    let sample_rate = codec.clamp_rate(asked.sample_rate.unwrap_or(rate));
    let wanted_channels = codec.clamp_channels(asked.channels.unwrap_or(channels));
    let is_asked = asked.codec != Choice::Keep || asked.sample_rate.is_some() || asked.channels.is_some();
    if !is_asked || (own, sample_rate, wanted_channels) == (Some(codec), rate, channels) {
        return Decision::Keep;
    }
    let bitrate = bitrate_of_sound(codec, sample_rate, wanted_channels, asked.bitrate_kbps);
    Decision::Audio(AudioTarget { codec, sample_rate, channels: wanted_channels, bitrate })
}

fn bitrate_of_sound(codec: AudioCodec, sample_rate: u32, channels: u8, kbps: Option<u32>) -> u64 {
    match (codec, kbps) {
        (AudioCodec::G711A | AudioCodec::G711U, _) => u64::from(sample_rate) * 8 * u64::from(channels),
        (AudioCodec::G722, _) => 64_000 * u64::from(channels),
        (AudioCodec::G726, kbps) => u64::from(kbps.unwrap_or(32).clamp(16, 40) / 8) * 8_000,
        (AudioCodec::Aac | AudioCodec::Opus, Some(kbps)) => u64::from(kbps) * 1_000,
        (AudioCodec::Aac | AudioCodec::Opus, None) => {
            let mono = if sample_rate > 24_000 { 64_000 } else { 32_000 };
            mono * u64::from(channels)
        }
    }
}

/// The size that comes nearest to what is asked: with one side alone the shape stays. Codecs want even sides, JPEG in RTP
/// multiples of 8 (RFC 2435 section 3.1.5).
fn size(codec: VideoCodec, source: (u32, u32), width: Option<u32>, height: Option<u32>) -> (u32, u32) {
    let scaled = |side: u32, asked: u32, of: u32| {
        (u64::from(side) * u64::from(asked) / u64::from(of.max(1))).min(u64::from(u32::MAX)) as u32
    };
    let (width, height) = match (width, height) {
        (Some(width), Some(height)) => (width, height),
        (Some(width), None) => (width, scaled(source.1, width, source.0)),
        (None, Some(height)) => (scaled(source.0, height, source.1), height),
        (None, None) => source,
    };
    let unit = if codec == VideoCodec::Jpeg { 8 } else { 2 };
    let round = |side: u32| (side / unit * unit).max(PIXELS_MIN);
    (round(width), round(height))
}

fn is_rate(asked: Framerate, source: Option<f64>) -> bool {
    let asked = f64::from(asked.thousandths()) / 1_000.0;
    source.is_some_and(|source| (asked - source).abs() <= source * FRAMERATE_SLACK)
}

/// What pictures of a size and rate take to look well.
fn sensible_bitrate(codec: VideoCodec, width: u32, height: u32, rate: f64) -> u64 {
    let bits_a_pixel = match codec {
        VideoCodec::H264 => 0.1,
        VideoCodec::H265 => 0.07,
        VideoCodec::Mpeg4 => 0.14,
        VideoCodec::Jpeg => 1.0,
    };
    let bits = f64::from(width) * f64::from(height) * rate * bits_a_pixel;
    // In whole tens of kilobits.
    ((bits / 10_000.0).round() as u64).max(10) * 10_000
}

/// The codec of sound as it is to be, with what a receiver must know.
pub fn coded(target: &AudioTarget) -> Codec {
    let AudioTarget { codec, sample_rate, channels, bitrate } = *target;
    match codec {
        AudioCodec::G711A => Codec::G711 { law: Law::A, sample_rate, channels },
        AudioCodec::G711U => Codec::G711 { law: Law::Mu, sample_rate, channels },
        AudioCodec::G722 => Codec::G722 { channels },
        AudioCodec::G726 => Codec::G726 { bits: (bitrate / 8_000) as u8, order: BitOrder::LeastFirst },
        AudioCodec::Opus => Codec::Opus { channels },
        // AAC-LC (ISO/IEC 14496-3 section 1.6.2.1).
        AudioCodec::Aac => {
            let config = audio_specific_config(2, sample_rate, channels).unwrap_or_default();
            Codec::Aac { config, sample_rate, channels }
        }
    }
}

fn video_codec(codec: &Codec) -> Option<VideoCodec> {
    match codec {
        Codec::H264 { .. } => Some(VideoCodec::H264),
        Codec::H265 { .. } => Some(VideoCodec::H265),
        Codec::Mpeg4Visual { .. } => Some(VideoCodec::Mpeg4),
        Codec::Jpeg => Some(VideoCodec::Jpeg),
        _ => None,
    }
}

/// What a configuration calls the codec, and its rate and channels.
fn sound(codec: &Codec) -> (Option<AudioCodec>, u32, u8) {
    match codec {
        Codec::Aac { sample_rate, channels, .. } => (Some(AudioCodec::Aac), *sample_rate, *channels),
        Codec::Opus { channels } => (Some(AudioCodec::Opus), 48_000, *channels),
        Codec::G711 { law: Law::A, sample_rate, channels } => {
            (Some(AudioCodec::G711A), *sample_rate, *channels)
        }
        Codec::G711 { law: Law::Mu, sample_rate, channels } => {
            (Some(AudioCodec::G711U), *sample_rate, *channels)
        }
        Codec::G722 { channels } => (Some(AudioCodec::G722), 16_000, *channels),
        Codec::G726 { .. } => (Some(AudioCodec::G726), 8_000, 1),
        Codec::L16 { sample_rate, channels } => (None, *sample_rate, *channels),
        Codec::Other { rtpmap, .. } => {
            let mut numbers = rtpmap.split('/').skip(1).map(|number| number.parse().ok());
            let rate = numbers.next().flatten().unwrap_or(RATE_BY_DEFAULT);
            (
                None,
                rate,
                numbers.next().flatten().and_then(|count: u32| u8::try_from(count).ok()).unwrap_or(1),
            )
        }
        _ => (None, RATE_BY_DEFAULT, 2),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proto::track::Framing;

    use super::*;

    fn h264() -> Track {
        let mut track =
            Track::new(Codec::H264 { sps: Vec::new(), pps: Vec::new(), framing: Framing::AnnexB }, 0);
        (track.size, track.framerate) = (Some((1_920, 1_080)), Some(29.97));
        track
    }

    fn aac() -> Track {
        Track::new(Codec::Aac { config: Bytes::new(), sample_rate: 44_100, channels: 2 }, 1)
    }

    fn asked(track: &Track, parameters: &[(&str, &str)]) -> Decision {
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        decide(track, &Format::default().with_parameters(&parameters).unwrap()).unwrap()
    }

    #[test]
    fn what_agrees_passes() {
        let video = h264();
        for parameters in [
            &[][..],
            &[("ve", "H264")],
            &[("w", "1920")],
            &[("h", "1080"), ("fr", "30")],
            &[("vb", "500")],
            &[("ae", "OPUS")],
        ] {
            assert_eq!(asked(&video, parameters), Decision::Keep, "{parameters:?}");
        }
        for parameters in [&[][..], &[("ae", "AAC"), ("sr", "44100"), ("ch", "2")], &[("ab", "32")]] {
            assert_eq!(asked(&aac(), parameters), Decision::Keep, "{parameters:?}");
        }
        assert_eq!(asked(&aac(), &[("ae", "NONE")]), Decision::Drop);
        assert_eq!(asked(&video, &[("ve", "none")]), Decision::Drop);
    }

    #[test]
    fn sizes_keep_their_shape_and_suit_the_codec() {
        let sized = |parameters: &[(&str, &str)]| match asked(&h264(), parameters) {
            Decision::Video(target) => (target.codec, target.width, target.height),
            other => panic!("{other:?}"),
        };
        assert_eq!(sized(&[("w", "641")]), (VideoCodec::H264, 640, 360));
        assert_eq!(sized(&[("h", "361")]), (VideoCodec::H264, 640, 360));
        assert_eq!(sized(&[("ve", "JPEG"), ("w", "100"), ("h", "75")]), (VideoCodec::Jpeg, 96, 72));
        assert_eq!(sized(&[("ve", "JPEG")]), (VideoCodec::Jpeg, 1_920, 1_080));
        assert_eq!(sized(&[("w", "1"), ("h", "1")]), (VideoCodec::H264, 16, 16));
        assert_eq!(sized(&[("ve", "H265"), ("w", "640")]), (VideoCodec::H265, 640, 360));
        let huge = Format::default().with_parameters(&[("w".into(), "16000".into())]).unwrap();
        assert!(decide(&h264(), &huge).unwrap_err().contains("larger than can be made"));
    }

    #[test]
    fn rates_are_given_only_where_they_differ() {
        let Decision::Video(slower) = asked(&h264(), &[("fr", "10")]) else { panic!() };
        assert_eq!(
            (slower.framerate.map(Framerate::thousandths), slower.thousandths),
            (Some(10_000), 10_000)
        );
        let Decision::Video(other) = asked(&h264(), &[("ve", "MP4"), ("vb", "700")]) else { panic!() };
        assert_eq!((other.framerate, other.thousandths, other.bitrate), (None, 29_970, 700_000));
        let mut unknown = h264();
        unknown.size = None;
        let format = Format::default().with_parameters(&[("ve".into(), "H265".into())]).unwrap();
        assert!(decide(&unknown, &format).is_err());
    }

    #[test]
    fn sound_is_what_its_codec_can_carry() {
        let made = |track: &Track, parameters: &[(&str, &str)]| match asked(track, parameters) {
            Decision::Audio(target) => (target.codec, target.sample_rate, target.channels, target.bitrate),
            other => panic!("{other:?}"),
        };
        assert_eq!(made(&aac(), &[("ae", "OPUS")]), (AudioCodec::Opus, 48_000, 2, 128_000));
        assert_eq!(made(&aac(), &[("ae", "G726")]), (AudioCodec::G726, 8_000, 1, 32_000));
        assert_eq!(made(&aac(), &[("ae", "G726"), ("ab", "24")]), (AudioCodec::G726, 8_000, 1, 24_000));
        assert_eq!(made(&aac(), &[("ae", "G722"), ("ch", "1")]), (AudioCodec::G722, 16_000, 1, 64_000));
        assert_eq!(
            made(&aac(), &[("ae", "PCMU"), ("sr", "8000"), ("ch", "1")]),
            (AudioCodec::G711U, 8_000, 1, 64_000)
        );
        assert_eq!(made(&aac(), &[("sr", "22050")]), (AudioCodec::Aac, 22_050, 2, 64_000));
        let dts = Codec::Other { kind: Kind::Audio, rtpmap: "dts/96000/6".to_owned(), fmtp: None };
        let dts = Track::new(dts, 1);
        let foreign = decide(&dts, &Format::default().of_foreign()).unwrap();
        let Decision::Audio(target) = foreign else { panic!("{foreign:?}") };
        assert_eq!((target.codec, target.sample_rate, target.channels), (AudioCodec::Aac, 48_000, 2));
        let mp3 = Track::new(Codec::MpegAudio, 1);
        assert_eq!(asked(&mp3, &[]), Decision::Keep);
        assert_eq!(made(&mp3, &[("ch", "1")]).0, AudioCodec::Aac);
    }
}
