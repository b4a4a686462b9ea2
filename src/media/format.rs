//! The format that a stream is asked for in: by the configuration or by a URL's parameters.

use std::fmt;

/// How a stream is sent; what is not said stays as the source has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Format {
    /// Pictures.
    pub video: VideoFormat,
    /// Sound.
    pub audio: AudioFormat,
}

/// How video is sent; None keeps what the source has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VideoFormat {
    /// Codec.
    pub codec: Choice<VideoCodec>,
    /// Pixels a line.
    pub width: Option<u32>,
    /// Lines.
    pub height: Option<u32>,
    /// Pictures a second.
    pub framerate: Option<Framerate>,
    /// Kilobits a second.
    pub bitrate_kbps: Option<u32>,
}

/// How sound is sent; None keeps what the source has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AudioFormat {
    /// Codec.
    pub codec: Choice<AudioCodec>,
    /// Samples a second.
    pub sample_rate: Option<u32>,
    /// 1 or 2.
    pub channels: Option<u8>,
    /// Kilobits a second.
    pub bitrate_kbps: Option<u32>,
}

/// Pictures in a thousand seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Framerate(u32);

/// Highest frame rate that is understood.
const FRAMERATE_MAX: f64 = 240.0;

/// Longest side of a picture that is understood, in pixels.
pub const PIXELS_MAX: u32 = 16_384;

/// Highest bit rate that is understood, in kilobits a second.
pub const BITRATE_KBPS_MAX: u32 = 1_000_000;

impl Framerate {
    /// The rate that a text of digits and a point names: up to 240 pictures a second.
    pub fn parse(text: &str) -> Option<Framerate> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let rate: f64 = text.parse().ok().filter(|_| is_plain)?;
        Framerate::new(rate).or((rate == 0.0).then_some(Framerate::default()))
    }

    /// So many pictures a second; None for none and for more than is understood.
    pub fn new(rate: f64) -> Option<Framerate> {
        let thousandths = (rate * 1_000.0).round();
        (rate <= FRAMERATE_MAX && thousandths >= 1.0).then_some(Framerate(thousandths as u32))
    }

    /// So many pictures in a thousand seconds; None for none.
    pub fn of_thousandths(thousandths: u32) -> Option<Framerate> {
        (thousandths > 0).then_some(Framerate(thousandths))
    }

    /// So many pictures a second.
    pub const fn whole(rate: u32) -> Framerate {
        Framerate(rate * 1_000)
    }

    /// Pictures in a thousand seconds.
    pub fn thousandths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Framerate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1_000.0)
    }
}

impl Format {
    /// The same for a track that RTP does not carry: where no codec is asked for, H.264 and AAC.
    pub fn of_foreign(mut self) -> Format {
        self.video.codec = self.video.codec.or(VideoCodec::H264);
        self.audio.codec = self.audio.codec.or(AudioCodec::Aac);
        self
    }

    /// The format with what the parameters of a URL ask for in place of its own; the error says which cannot be met.
    pub fn with_parameters(mut self, parameters: &[(String, String)]) -> Result<Format, String> {
        for (name, value) in parameters {
            let wrong = || format!("{name}={value} is not understood");
            let number = |most| match value.parse::<u32>() {
                Ok(number) if number <= most => Ok(Some(number).filter(|number| *number > 0)),
                _ => Err(wrong()),
            };
            match name.to_ascii_lowercase().as_str() {
                "ve" => self.video.codec = Choice::parse(value, VideoCodec::parse).ok_or_else(wrong)?,
                "ae" => self.audio.codec = Choice::parse(value, AudioCodec::parse).ok_or_else(wrong)?,
                "w" => self.video.width = number(PIXELS_MAX)?,
                "h" => self.video.height = number(PIXELS_MAX)?,
                "fr" => {
                    let rate = Framerate::parse(value).ok_or_else(wrong)?;
                    self.video.framerate = Some(rate).filter(|rate| *rate != Framerate::default());
                }
                "vb" => self.video.bitrate_kbps = number(BITRATE_KBPS_MAX)?,
                "sr" => {
                    let rate = number(48_000)?;
                    if rate.is_some_and(|rate| !SAMPLE_RATES.contains(&rate)) {
                        return Err(wrong());
                    }
                    self.audio.sample_rate = rate;
                }
                "ch" => self.audio.channels = number(2)?.map(|channels| channels as u8),
                "ab" => self.audio.bitrate_kbps = number(BITRATE_KBPS_MAX)?,
                _ => {}
            }
        }
        Ok(self)
    }
}

/// As the parameters of a URL that ask for it.
impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codec = |choice: Choice<&'static str>| match choice {
            Choice::Keep => None,
            Choice::Drop => Some("NONE".to_owned()),
            Choice::As(name) => Some(name.to_owned()),
        };
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let Format { video, audio } = self;
        let parts = [
            ("ve", codec(video.codec.map(VideoCodec::name))),
            ("w", number(video.width)),
            ("h", number(video.height)),
            ("fr", video.framerate.map(|rate| rate.to_string())),
            ("vb", number(video.bitrate_kbps)),
            ("ae", codec(audio.codec.map(AudioCodec::name))),
            ("sr", number(audio.sample_rate)),
            ("ch", number(audio.channels.map(u32::from))),
            ("ab", number(audio.bitrate_kbps)),
        ];
        let said = parts.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)));
        f.write_str(&said.collect::<Vec<_>>().join("&"))
    }
}

/// Video codecs of `<codec>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
    /// MPEG-4 part 2, spelled `MP4`.
    Mpeg4,
    /// Motion JPEG.
    Jpeg,
}

/// Audio codecs of `<codec>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// G.711 A-law.
    G711A,
    /// G.711 mu-law; `G711` alone means it too.
    G711U,
    /// G.722.
    G722,
    /// G.726.
    G726,
    /// AAC.
    Aac,
    /// Opus.
    Opus,
}

/// What is to become of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Choice<C> {
    /// Keep the source's codec; devices take H264 and G711U.
    #[default]
    Keep,
    /// Leave the track out (`NONE`).
    Drop,
    /// Send it in this codec.
    As(C),
}

impl<C> Choice<C> {
    /// The same, with a codec in place of the source's.
    fn or(self, codec: C) -> Choice<C> {
        match self {
            Choice::Keep => Choice::As(codec),
            Choice::Drop | Choice::As(_) => self,
        }
    }

    /// The same of another kind of codec.
    pub fn map<D>(self, other: impl FnOnce(C) -> D) -> Choice<D> {
        match self {
            Choice::Keep => Choice::Keep,
            Choice::Drop => Choice::Drop,
            Choice::As(codec) => Choice::As(other(codec)),
        }
    }

    /// What `text` names: a codec, `NONE`, or nothing.
    pub fn parse(text: &str, codec: impl FnOnce(&str) -> Option<C>) -> Option<Choice<C>> {
        match text {
            "" => Some(Choice::Keep),
            _ if text.eq_ignore_ascii_case("NONE") => Some(Choice::Drop),
            _ => codec(text).map(Choice::As),
        }
    }
}

impl VideoCodec {
    /// All of them.
    pub const ALL: [VideoCodec; 4] =
        [VideoCodec::H264, VideoCodec::H265, VideoCodec::Mpeg4, VideoCodec::Jpeg];

    /// The codec that `text` names, case ignored.
    pub fn parse(text: &str) -> Option<VideoCodec> {
        let found = VideoCodec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(text));
        found.or_else(|| text.eq_ignore_ascii_case("MJPEG").then_some(VideoCodec::Jpeg))
    }

    /// The word the configuration has for it.
    pub fn name(self) -> &'static str {
        match self {
            VideoCodec::H264 => "H264",
            VideoCodec::H265 => "H265",
            VideoCodec::Mpeg4 => "MP4",
            VideoCodec::Jpeg => "JPEG",
        }
    }
}

impl AudioCodec {
    /// All of them.
    pub const ALL: [AudioCodec; 6] = [
        AudioCodec::G711A,
        AudioCodec::G711U,
        AudioCodec::G722,
        AudioCodec::G726,
        AudioCodec::Aac,
        AudioCodec::Opus,
    ];

    /// The codec that `text` names, case ignored; `PCMA` and `PCMU` are the RFC's words for G.711.
    pub fn parse(text: &str) -> Option<AudioCodec> {
        let found = AudioCodec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(text));
        found.or_else(|| match text.to_ascii_uppercase().as_str() {
            "G711" | "PCMU" => Some(AudioCodec::G711U),
            "PCMA" => Some(AudioCodec::G711A),
            _ => None,
        })
    }

    /// The word the configuration has for it.
    pub fn name(self) -> &'static str {
        match self {
            AudioCodec::G711A => "G711A",
            AudioCodec::G711U => "G711U",
            AudioCodec::G722 => "G722",
            AudioCodec::G726 => "G726",
            AudioCodec::Aac => "AAC",
            AudioCodec::Opus => "OPUS",
        }
    }

    /// The rate in hertz at which the codec carries sound when `rate` is asked: the next higher one it has.
    pub fn clamp_rate(self, rate: u32) -> u32 {
        let rates: &[u32] = match self {
            AudioCodec::G711A | AudioCodec::G711U | AudioCodec::Aac => &SAMPLE_RATES,
            AudioCodec::G722 => &[16_000],
            AudioCodec::G726 => &[8_000],
            AudioCodec::Opus => &[8_000, 12_000, 16_000, 24_000, 48_000],
        };
        let highest = rates[rates.len() - 1];
        rates.iter().copied().find(|&has| has >= rate).unwrap_or(highest)
    }

    /// The number of channels it carries when `channels` are asked.
    pub fn clamp_channels(self, channels: u8) -> u8 {
        if self == AudioCodec::G726 { 1 } else { channels.clamp(1, 2) }
    }
}

/// Sample rates that `<samplerate>` takes, in hertz.
pub const SAMPLE_RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_by_their_other_spellings() {
        assert_eq!(AudioCodec::parse("g711"), Some(AudioCodec::G711U));
        assert_eq!(AudioCodec::parse("Pcma"), Some(AudioCodec::G711A));
        assert_eq!(AudioCodec::parse("opus"), Some(AudioCodec::Opus));
        assert_eq!(AudioCodec::parse("G729"), None);
        assert_eq!(VideoCodec::parse("mp4"), Some(VideoCodec::Mpeg4));
        assert_eq!(VideoCodec::parse("MJPEG"), Some(VideoCodec::Jpeg));
        assert_eq!(VideoCodec::parse("H266"), None);
    }

    #[test]
    fn parameters_of_a_url_are_taken_in_place_of_the_configurations() {
        let asked = |text: &str| {
            let parameters = text.split('&').map(|part| part.split_once('=').unwrap());
            let parameters: Vec<_> =
                parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let mut rule = Format::default();
            rule.video.width = Some(640);
            rule.audio.channels = Some(1);
            rule.with_parameters(&parameters)
        };
        let format = asked("ve=h265&W=0&h=480&fr=12.5&vb=300&ae=pcma&sr=16000&ab=0&t=unicast&x=y").unwrap();
        assert_eq!(format.to_string(), "ve=H265&h=480&fr=12.5&vb=300&ae=G711A&sr=16000&ch=1");
        assert_eq!(format.video.codec, Choice::As(VideoCodec::H265));
        assert_eq!((format.video.width, format.video.height), (None, Some(480)));
        assert_eq!(format.video.framerate.unwrap().to_string(), "12.5");
        assert_eq!(format.video.bitrate_kbps, Some(300));
        assert_eq!(format.audio.codec, Choice::As(AudioCodec::G711A));
        assert_eq!((format.audio.sample_rate, format.audio.channels), (Some(16_000), Some(1)));
        assert_eq!(asked("ae=none").unwrap().audio.codec, Choice::Drop);
        for wrong in ["ve=H266", "w=-1", "h=20000", "fr=1e2", "fr=241", "sr=9000", "ch=3", "vb=x"] {
            assert_eq!(asked(wrong), Err(format!("{wrong} is not understood")));
        }
    }

    #[test]
    fn rates_go_to_the_next_higher_one_that_the_codec_has() {
        assert_eq!(AudioCodec::Opus.clamp_rate(22_050), 24_000);
        assert_eq!(AudioCodec::Opus.clamp_rate(32_000), 48_000);
        assert_eq!(AudioCodec::G722.clamp_rate(48_000), 16_000);
        assert_eq!(AudioCodec::G722.clamp_rate(8_000), 16_000);
        assert_eq!(AudioCodec::G726.clamp_rate(44_100), 8_000);
        assert_eq!(AudioCodec::Aac.clamp_rate(11_025), 11_025);
        assert_eq!(AudioCodec::G726.clamp_channels(2), 1);
        assert_eq!(AudioCodec::Aac.clamp_channels(2), 2);
    }
}
