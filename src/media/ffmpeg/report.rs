//! What this FFmpeg can do, for people.

use ffmpeg_next::codec::{decoder, encoder};

/// Version of libavcodec, such as `59.37.100`.
pub fn version() -> String {
    let version = ffmpeg_next::codec::version();
    format!("{}.{}.{}", version >> 16, (version >> 8) & 0xff, version & 0xff)
}

/// The codecs that a configuration can name or a file is likely to have, with what there is of each.
pub fn codecs() -> Vec<Codec> {
    NAMES
        .iter()
        .map(|(name, decoders, encoders)| Codec {
            name,
            decoder: decoders.iter().copied().find(|name| decoder::find_by_name(name).is_some()),
            encoder: encoders.iter().copied().find(|name| encoder::find_by_name(name).is_some()),
        })
        .collect()
}

/// What there is for one codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec {
    /// The configuration's word for it where it has one.
    pub name: &'static str,
    /// FFmpeg's decoder. None means that there is none.
    pub decoder: Option<&'static str>,
    /// FFmpeg's encoder. None means that there is none.
    pub encoder: Option<&'static str>,
}

/// Name, decoders and encoders of FFmpeg, the preferred ones first.
const NAMES: &[(&str, &[&str], &[&str])] = &[
    ("H264", &["h264"], &["libx264", "libopenh264"]),
    ("H265", &["hevc"], &["libx265"]),
    ("MP4", &["mpeg4"], &["mpeg4"]),
    ("JPEG", &["mjpeg"], &["mjpeg"]),
    ("VP8", &["vp8"], &["libvpx"]),
    ("VP9", &["vp9"], &["libvpx-vp9"]),
    ("AV1", &["libdav1d", "av1"], &["libsvtav1", "libaom-av1"]),
    ("G711A", &["pcm_alaw"], &["pcm_alaw"]),
    ("G711U", &["pcm_mulaw"], &["pcm_mulaw"]),
    ("G722", &["g722"], &["g722"]),
    ("G726", &["g726le"], &["g726le"]),
    ("AAC", &["aac"], &["aac"]),
    ("OPUS", &["opus", "libopus"], &["libopus"]),
    ("MP3", &["mp3", "mp3float"], &["libmp3lame"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codecs_that_every_ffmpeg_has_are_found() {
        let codecs = codecs();
        for name in ["H264", "AAC", "G711U", "JPEG"] {
            assert!(codecs.iter().any(|codec| codec.name == name && codec.decoder.is_some()), "{name}");
        }
        assert_eq!(version().split('.').count(), 3);
    }
}
