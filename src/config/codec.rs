//! The codecs a configuration can name, and what each can carry.

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
